package topic

import (
	"testing"
	"time"
)

// TestSequencesComeAgain: what is published after a topic's stream has lost its last
// messages, as in a power failure without --fsync always, is not taken for them.
func TestSequencesComeAgain(t *testing.T) {
	t.Parallel()
	alone(t, func(t *testing.T, b *bundle) {
		a := b.topic("a")
		b.queue("direct")
		b.queue("parked")
		b.subscribe(a, "direct", raw, "true")
		parked := b.subscribe(a, "parked", raw, "true")
		b.publish(a, "before")
		wantBodies(t, b.drain("direct", 1), "before")
		wantBodies(t, b.drain("parked", 1), "before")
		b.idle(a)
		js, st := b.processes[0].js, a.state.Load()
		if err := js.DeleteStream(t.Context(), st.stream()); err != nil {
			t.Fatal(err)
		}
		if _, err := js.CreateStream(t.Context(), st.streamConfig(1)); err != nil {
			t.Fatal(err)
		}
		a.svc.direct.failed(a.svc.subscriptionByID(parked.ID), time.Now())
		b.publish(a, "after")
		wantBodies(t, b.drain("direct", 1), "after")
		wantBodies(t, b.drain("parked", 1), "after")
	})
}
