package queue

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func sendGroup(t *testing.T, q *Queue, group string, n int) {
	t.Helper()
	for i := 0; i < n; i += 100 {
		msgs := make([]Send, min(100, n-i))
		for j := range msgs {
			msgs[j] = Send{Body: fmt.Sprint(group, i+j), GroupID: group}
		}
		for _, r := range q.Send(t.Context(), msgs) {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
	}
}

func TestFairDelivery(t *testing.T) {
	t.Parallel()

	t.Run("AQuietGroupOvertakesANoisyOne", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", nil)
			sendGroup(t, q, "noisy", 10_000)
			sendGroup(t, q, "quiet", 1)
			before := -1
			for seen := 0; before < 0 && seen < 10_001; {
				got := receive(t, q, now)
				if len(got) == 0 {
					t.Fatal("nothing more to receive")
				}
				if i := slices.IndexFunc(got, func(m Message) bool { return m.GroupID == "quiet" }); i >= 0 {
					before = seen + i
				}
				seen += len(got)
			}
			t.Logf("%d messages of the noisy group came before", before)
			if before > 2*crowdAt {
				t.Errorf("%d messages of the noisy group came before", before)
			}
		})
	})
	t.Run("TheNoisyGroupIsServedToo", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", nil)
			sendGroup(t, q, "noisy", 1000)
			noisy, turns := 0, 0
			for noisy < 500 && turns < 400 {
				sendGroup(t, q, fmt.Sprint("quiet", turns%7), 10)
				got := receive(t, q, now)
				for _, m := range got {
					if m.GroupID == "noisy" {
						noisy++
					}
				}
				remove(t, q, got...)
				turns++
			}
			if noisy < 500 {
				t.Errorf("%d of the noisy group in %d receives", noisy, turns)
			}
		})
	})
	t.Run("EverythingArrivesOnceAndIsDeleted", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", nil)
			sendGroup(t, q, "noisy", 500)
			sendGroup(t, q, "quiet", 5)
			wantCounts(t, q, Counts{Visible: 505})
			b.process()
			seen := map[string]int{}
			for i := range 200 {
				got := receive(t, b.queue(i%2, "q"), Receive{Max: 10, Wait: time.Second, Visibility: -1})
				for _, m := range got {
					seen[m.Body]++
				}
				remove(t, b.queue((i+1)%2, "q"), got...)
				if len(seen) == 505 {
					break
				}
			}
			if len(seen) != 505 {
				t.Errorf("%d messages", len(seen))
			}
			for body, n := range seen {
				if n != 1 {
					t.Errorf("%s came %d times", body, n)
				}
			}
			wantCounts(t, q, Counts{})
			// A long poll sees what comes, whichever way it goes.
			go func() {
				time.Sleep(time.Second)
				sendGroup(t, q, "noisy", 1)
			}()
			wantBodies(t, receive(t, q, Receive{Max: 10, Wait: 10 * time.Second, Visibility: -1}), "noisy0")
		})
	})
	t.Run("ALongPollSeesTheNoisyGroupAtOnce", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", nil)
			sendGroup(t, q, "noisy", 300)
			for taken := 0; taken < 300; {
				taken += len(receive(t, q, Receive{Max: 10, Visibility: time.Hour}))
			}
			go func() {
				time.Sleep(5 * time.Second)
				sendGroup(t, q, "noisy", 1)
			}()
			begun := time.Now()
			wantBodies(t, receive(t, q, Receive{Max: 10, Wait: 20 * time.Second, Visibility: -1}), "noisy0")
			if d := time.Since(begun); d > 5*time.Second+time.Second {
				t.Errorf("after %v", d)
			}
		})
	})
}
