package queue

import (
	"context"
	"testing"
	"time"
)

// wantSurvey holds a survey of the first process to what is in each queue.
func wantSurvey(t *testing.T, b *bundle, want map[string]Counts) {
	t.Helper()
	for i, s := range b.services {
		got, err := s.Survey(t.Context(), b.ns)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != len(want) {
			t.Errorf("process %d: %d queues", i, len(got))
		}
		for name, w := range want {
			g := got[name]
			if (w == Counts{}) != g.Oldest.IsZero() {
				t.Errorf("process %d: %s: oldest %v", i, name, g.Oldest)
			}
			if g.Oldest = (time.Time{}); g != w {
				t.Errorf("process %d: %s: %+v, want %+v", i, name, g, w)
			}
		}
	}
}

func (b *bundle) indexes() (n int) {
	for _, s := range b.services {
		for _, q := range s.all() {
			if q.fifo != nil && q.fifo.following() != nil {
				n++
			}
		}
	}
	return n
}

func TestSurvey(t *testing.T) {
	t.Parallel()
	t.Run("CountsWhatCountsDoes", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", nil)
			b.create("empty", nil)
			b.create("slow", map[string]string{"DelaySeconds": "600"})
			b.process()
			send(t, q, "1", "2", "3")
			send(t, b.queue(1, "slow"), "later")
			receive(t, b.queue(1, "q"), Receive{Max: 1, Visibility: 30 * time.Second})
			time.Sleep(time.Second)
			wantSurvey(t, b, map[string]Counts{"q": {Visible: 2, InFlight: 1}, "empty": {}, "slow": {Delayed: 1}})
			time.Sleep(10 * time.Minute)
			wantSurvey(t, b, map[string]Counts{"q": {Visible: 3}, "empty": {}, "slow": {Visible: 1}})
		})
	})
	t.Run("MakesNoIndexOfAFIFOQueue", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.fifo(nil)
			put(t, q, "a/1", "a/2", "b/3", "c/4")
			b.process()
			for range 3 {
				wantSurvey(t, b, map[string]Counts{"q.fifo": {Visible: 4}})
				time.Sleep(time.Minute)
			}
			if n := b.indexes(); n != 0 {
				t.Fatalf("%d indexes", n)
			}
			got := receive(t, b.queue(1, "q.fifo"), Receive{Max: 10, Visibility: time.Hour})
			remove(t, b.queue(1, "q.fifo"), got[0])
			time.Sleep(2 * time.Second)
			// The process that has no index asks the one that has.
			wantSurvey(t, b, map[string]Counts{"q.fifo": {InFlight: 3, Groups: 3}})
			if n := b.indexes(); n != 1 {
				t.Fatalf("%d indexes", n)
			}
			for range 12 {
				time.Sleep(time.Minute)
				wantSurvey(t, b, map[string]Counts{"q.fifo": {InFlight: 3, Groups: 3}})
			}
			if n := b.indexes(); n != 0 {
				t.Fatalf("%d indexes after nobody but surveys has used one", n)
			}
			time.Sleep(time.Hour)
			wantSurvey(t, b, map[string]Counts{"q.fifo": {Visible: 3}})
		})
	})
	t.Run("KnowsWhatAnEndedProcessHid", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.fifo(map[string]string{"DelaySeconds": "60"})
			put(t, q, "a/1", "a/2", "b/3")
			time.Sleep(time.Minute)
			put(t, q, "c/4")
			got := receive(t, q, Receive{Max: 2, Visibility: time.Hour})
			remove(t, q, got[0])
			b.restart()
			time.Sleep(dedupWindow)
			put(t, b.queue(0, "q.fifo"), "d/5", "d/6")
			time.Sleep(30 * time.Second)
			wantSurvey(t, b, map[string]Counts{"q.fifo": {Visible: 2, InFlight: 1, Delayed: 2, Groups: 1}})
			if n := b.indexes(); n != 0 {
				t.Fatalf("%d indexes", n)
			}
			c, err := b.queue(0, "q.fifo").Counts(context.Background())
			if c.Oldest = (time.Time{}); err != nil || c != (Counts{Visible: 2, InFlight: 1, Delayed: 2, Groups: 1}) {
				t.Errorf("the index says %+v, %v", c, err)
			}
			if err := b.queue(0, "q.fifo").Purge(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(followIdle + 2*time.Minute)
			wantSurvey(t, b, map[string]Counts{"q.fifo": {}})
		})
	})
}
