package topic

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openmnq/mnq"
)

// definitions counts what lies in the bucket.
func (b *bundle) definitions() int {
	b.t.Helper()
	kv, err := b.node.Control().KeyValue(context.Background(), bucket)
	if err != nil {
		b.t.Fatal(err)
	}
	keys, err := kv.ListKeys(context.Background())
	if err != nil {
		b.t.Fatal(err)
	}
	n := 0
	for range keys.Keys() {
		n++
	}
	return n
}

func TestWhatIsGoneLeavesNothing(t *testing.T) {
	t.Parallel()
	make := func(b *bundle) *Topic {
		a := b.topic("a")
		b.topic("b.fifo", attrFifo, "true")
		b.queue("q")
		b.subscribe(a, "q")
		return a
	}
	t.Run("WhenSNSIsSwitchedOff", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			a := make(b)
			other := b.process()
			if err := other.topics.DeleteAll(t.Context(), b.ns.ID); err != nil {
				t.Fatal(err)
			}
			if n := b.definitions(); n != 0 {
				t.Errorf("%d definitions are left", n)
			}
			time.Sleep(time.Second)
			wantError(t, a.Publish(t.Context(), b.ns, []Publication{{Message: "x"}})[0].Err, mnq.NotFound, "NotFound", "Topic does not exist")
			b.queue("other")
			b.subscribe(b.topic("a"), "other", raw, "true")
			b.publish(b.mustTopic("a"), "y")
			b.drain("q", 0)
			b.drain("other", 1)
		})
	})
	t.Run("WhenTheNamespaceIsDeleted", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			make(b)
			other := b.process()
			for _, p := range []*process{b.processes[0], other} { // as the directory does
				p.lose()
			}
			if err := b.node.DeleteAccount(t.Context(), b.ns.ID); err != nil {
				t.Fatal(err)
			}
			for _, p := range []*process{b.processes[0], other} {
				p.topics.NamespaceGone(b.ns.ID)
				p.topics.NamespaceGone(b.ns.ID)
			}
			time.Sleep(time.Minute)
			if n := b.definitions(); n != 0 {
				t.Errorf("%d definitions are left", n)
			}
			if names, _ := other.topics.List(b.ns, "", 10); len(names) != 0 {
				t.Error(names)
			}
		})
	})
	t.Run("WhenNobodySaidThatTheNamespaceIsDeleted", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			var exists, sure atomic.Bool // the sweeper asks while the test goes on
			exists.Store(true)
			sure.Store(true)
			b.change = func(c *Config) {
				c.Exists = func(string) (bool, bool) { return exists.Load(), sure.Load() }
			}
			b.restart()
			make(b)
			sure.Store(false)
			exists.Store(false)
			time.Sleep(time.Hour)
			if n := b.definitions(); n != 3 {
				t.Fatalf("%d definitions while the directory was not sure", n)
			}
			sure.Store(true)
			time.Sleep(orphanAfter + 2*sweepEvery)
			if n := b.definitions(); n != 0 {
				t.Errorf("%d definitions are left", n)
			}
		})
	})
	t.Run("WhenItWasMadeWhileItsTopicWasDeleted", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			a := make(b)
			s := b.processes[0].topics
			stray := *s.subscribers(a.id)[0]
			if err := s.Delete(t.Context(), b.ns, "a"); err != nil {
				t.Fatal(err)
			}
			stray.ID = "11111111-1111-4111-8111-111111111111"
			value, err := json.Marshal(stray)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.defs.create(t.Context(), stray.key, value); err != nil {
				t.Fatal(err)
			}
			time.Sleep(strayAfter + 3*sweepEvery)
			if n := b.definitions(); n != 1 {
				t.Errorf("%d definitions are left, want that of the other topic", n)
			}
		})
	})
	t.Run("WhenADeletionWasCutOff", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			a := make(b)
			err := a.change(t.Context(), "test", func(r *record) error {
				r.Deleted = time.Now()
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(3 * sweepEvery)
			if n := b.definitions(); n != 1 {
				t.Errorf("%d definitions are left, want that of the other topic", n)
			}
			b.topic("a")
		})
	})
}
