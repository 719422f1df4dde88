package topic

import (
	"testing"
	"time"

	"github.com/openmnq/mnq"
)

func TestWhatAnotherProcessMadeIsThere(t *testing.T) {
	t.Parallel()
	// Success must mean that it is gone, not that the news of it had not come yet.
	t.Run("ForDeleteAndUnsubscribe", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			ctx, other := t.Context(), b.process().topics
			b.queue("q")
			lasting := b.topic("lasting")
			for range 50 {
				time.Sleep(time.Second) // links ask the store some times a second only
				topic := b.topic("t")
				if _, err := other.Find(t.Context(), b.ns, "t"); err != nil {
					t.Fatal(err)
				}
				if err := other.Delete(ctx, b.ns, topic.Name()); err != nil {
					t.Fatal(err)
				}
				if err := b.processes[0].topics.defs.fresh(ctx); err != nil {
					t.Fatal(err)
				}
				if _, err := b.processes[0].topics.Topic(b.ns, "t"); !mnq.IsNotFound(err) {
					t.Fatalf("the deleted topic is still there: %v", err)
				}
				for _, unsubscribe := range []func(Subscription) error{
					func(s Subscription) error { return other.Unsubscribe(ctx, b.ns, s.Topic, s.ID) },
					func(s Subscription) error { return other.UnsubscribeLink(ctx, s.ARN()) },
				} {
					sub := b.subscribe(lasting, "q")
					if err := unsubscribe(sub); err != nil {
						t.Fatal(err)
					}
					if err := b.processes[0].topics.defs.fresh(ctx); err != nil {
						t.Fatal(err)
					}
					if _, err := b.processes[0].topics.Subscription(t.Context(), b.ns, sub.Topic, sub.ID); !mnq.IsNotFound(err) {
						t.Fatalf("the removed subscription is still there: %v", err)
					}
				}
			}
		})
	})
}
