package queue

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// TestCountsAfterACrash lets the stream fall back behind its consumer, as a server that is killed
// does which has stored that messages were acknowledged and has not removed them yet.
func TestCountsAfterACrash(t *testing.T) {
	t.Parallel()
	t.Run("LeaveOutWhatWasAcknowledged", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", nil)
			send(t, q, "1", "2", "3")
			wait := time.Minute
			if r := q.Send(t.Context(), []Send{{Body: "later", SenderID: "me", Delay: &wait}})[0]; r.Err != nil {
				t.Fatal(r.Err)
			}
			got := receive(t, q, now)
			msgs := filepath.Join(b.dir, "nats", "jetstream", b.ns.ID, "streams", "q_"+q.id, "msgs")
			before := t.TempDir()
			b.stop()
			if err := os.CopyFS(before, os.DirFS(msgs)); err != nil {
				t.Fatal(err)
			}
			b.start()
			q = b.queue(0, "q")
			remove(t, q, got[0], got[1])
			time.Sleep(time.Second) // until the consumer's state is stored
			b.stop()
			if err := os.RemoveAll(msgs); err != nil {
				t.Fatal(err)
			}
			if err := os.Remove(filepath.Join(b.dir, "stopped")); err != nil { // it was killed
				t.Fatal(err)
			}
			if err := os.CopyFS(msgs, os.DirFS(before)); err != nil {
				t.Fatal(err)
			}
			b.start()
			q = b.queue(0, "q")
			time.Sleep(2 * time.Second)
			wantCounts(t, q, Counts{InFlight: 1, Delayed: 1})
			remove(t, q, got[2])
			time.Sleep(time.Minute)
			m := receive(t, q, now)
			wantBodies(t, m, "later")
			remove(t, q, m[0])
			wantCounts(t, q, Counts{})
		})
	})
}

func TestCountsOfSeveralProcesses(t *testing.T) {
	t.Parallel()

	t.Run("AgreeOnWhatIsHidden", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			a := b.create("q", nil)
			b.process()
			other := b.queue(1, "q")
			send(t, a, "1", "2", "3", "4")
			mine := receive(t, a, Receive{Max: 2, Visibility: 20 * time.Second})
			theirs := receive(t, other, Receive{Max: 2, Visibility: 40 * time.Second})
			time.Sleep(time.Second)
			wantCounts(t, a, Counts{InFlight: 4})
			wantCounts(t, other, Counts{InFlight: 4})

			remove(t, other, mine[0]) // at another process than the one that received it
			remove(t, a, theirs[0])
			time.Sleep(time.Second)
			wantCounts(t, a, Counts{InFlight: 2})
			wantCounts(t, other, Counts{InFlight: 2})

			time.Sleep(20 * time.Second)
			wantCounts(t, a, Counts{Visible: 1, InFlight: 1})
			wantCounts(t, other, Counts{Visible: 1, InFlight: 1})
			if err := a.ChangeVisibility(t.Context(), []Visibility{{theirs[1].Handle, 0}})[0]; err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			wantCounts(t, a, Counts{Visible: 2})
			wantCounts(t, other, Counts{Visible: 2})
		})
	})
	t.Run("FollowADeadlineMovedElsewhere", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			a := b.create("q", nil)
			b.process()
			other := b.queue(1, "q")
			send(t, a, "1")
			m := receive(t, a, Receive{Max: 1, Visibility: 10 * time.Second})[0]
			for range 3 { // a heartbeat that a load balancer spreads
				time.Sleep(5 * time.Second)
				for _, q := range []*Queue{other, a} {
					if err := q.ChangeVisibility(t.Context(), []Visibility{{m.Handle, 20 * time.Second}})[0]; err != nil {
						t.Fatal(err)
					}
				}
			}
			time.Sleep(15 * time.Second)
			wantCounts(t, a, Counts{InFlight: 1})
			wantCounts(t, other, Counts{InFlight: 1})
			remove(t, other, m)
			send(t, a, "2")
			receive(t, other, Receive{Max: 1, Visibility: 0})
			time.Sleep(time.Second)
			wantCounts(t, a, Counts{Visible: 1})
			wantCounts(t, other, Counts{Visible: 1})
		})
	})
	t.Run("SurviveARestart", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", nil)
			send(t, q, "1", "2", "3", "4", "5")
			got := receive(t, q, Receive{Max: 3, Visibility: time.Minute})
			receive(t, q, Receive{Max: 1, Visibility: 10 * time.Second})
			time.Sleep(time.Second)
			b.restart()
			q = b.queue(0, "q")
			wantCounts(t, q, Counts{Visible: 1, InFlight: 4})
			time.Sleep(10 * time.Second)
			wantCounts(t, q, Counts{Visible: 2, InFlight: 3})
			remove(t, q, got[0]) // with a handle of the process that has ended
			if err := q.ChangeVisibility(t.Context(), []Visibility{{got[1].Handle, 0}})[0]; err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			wantCounts(t, q, Counts{Visible: 3, InFlight: 1})
			time.Sleep(time.Minute)
			wantCounts(t, q, Counts{Visible: 4})
		})
	})
	t.Run("KnowTheFirstReceive", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			a := b.create("q", nil)
			b.process()
			send(t, a, "1")
			first := receive(t, a, Receive{Max: 1, Visibility: 10 * time.Second})[0]
			time.Sleep(time.Minute)
			again := receive(t, b.queue(1, "q"), now)[0]
			if !again.FirstReceived.Equal(first.FirstReceived.Truncate(time.Millisecond)) || again.ReceiveCount != 2 {
				t.Errorf("%v, first %v", again, first)
			}
		})
	})
	for _, name := range []string{"q", "q.fifo"} {
		t.Run("TellTheOldest/"+name, func(t *testing.T) {
			virtual(t, func(t *testing.T, b *bundle) { oldest(t, b, name) })
		})
	}
}

func oldest(t *testing.T, b *bundle, name string) {
	t.Helper()
	var attrs map[string]string
	group := ""
	if isFIFO(name) {
		attrs, group = map[string]string{"FifoQueue": "true", "ContentBasedDeduplication": "true"}, "g"
	}
	q := b.create(name, attrs)
	want := func(since time.Time) {
		t.Helper()
		for range 2 {
			synctest.Wait()
			c, err := b.queue(0, name).Counts(t.Context())
			if err != nil || since.IsZero() != c.Oldest.IsZero() || c.Oldest.Sub(since).Abs() > time.Second {
				t.Fatal(c, err, since)
			}
			b.restart()
		}
		q = b.queue(0, name)
	}
	one := func(body string) time.Time {
		t.Helper()
		if r := q.Send(t.Context(), []Send{{Body: body, GroupID: group}})[0]; r.Err != nil {
			t.Fatal(r.Err)
		}
		return time.Now()
	}
	want(time.Time{})
	first := one("1")
	time.Sleep(time.Minute)
	second := one("2")
	want(first)
	m := receive(t, q, Receive{Max: 1, Visibility: time.Hour})
	want(first) // what is hidden is there
	remove(t, q, m...)
	want(second)
	remove(t, q, receive(t, q, Receive{Max: 1, Visibility: time.Hour})...)
	want(time.Time{})
}

func TestLimitsOfReceiving(t *testing.T) {
	t.Parallel()

	t.Run("OverLimitWhenTooManyAreInFlight", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			b.services[0].maxInFlight = 5
			q := b.create("q", nil)
			send(t, q, "1", "2", "3", "4", "5", "6", "7")
			var got []Message
			for len(got) < 5 {
				got = append(got, receive(t, q, Receive{Max: 3, Visibility: time.Minute})...)
			}
			for range 5 { // many ask at once, and ask again
				errs := make(chan error, 4)
				for range cap(errs) {
					go func() {
						_, err := q.Receive(context.Background(), now)
						errs <- err
					}()
				}
				for range cap(errs) {
					wantCode(t, <-errs, "OverLimit")
				}
			}
			begun := time.Now()
			wantBodies(t, receive(t, q, Receive{Max: 1, Wait: 3 * time.Second, Visibility: -1}))
			if time.Since(begun) < 3*time.Second {
				t.Error("the long poll did not wait")
			}
			remove(t, q, got[0])
			wantBodies(t, receive(t, q, Receive{Max: 1, Wait: time.Second, Visibility: -1}), "6")
		})
	})
	t.Run("TwelveHoursFromTheReceive", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", nil)
			send(t, q, "1")
			m := receive(t, q, Receive{Max: 1, Visibility: time.Hour})[0]
			change := func(d time.Duration) error {
				return q.ChangeVisibility(t.Context(), []Visibility{{m.Handle, d}})[0]
			}
			if err := change(MaxVisibility); err != nil {
				t.Fatal(err)
			}
			time.Sleep(11 * time.Hour)
			wantCode(t, change(2*time.Hour), "InvalidParameterValue")
			if err := change(time.Hour); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Hour)
			wantCode(t, change(time.Second), "InvalidParameterValue")
			if err := change(0); err != nil {
				t.Errorf("it may be given back at any time: %v", err)
			}
		})
	})
}
