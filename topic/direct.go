package topic

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/semaphore"

	"github.com/openmnq/mnq/internal/wire"
)

// The bounds of writing queues directly. What a queue does not take in time goes to the
// subscription's own deliveries.
const (
	maxDirect   = 2048            // messages on their way into queues, of one process
	minPatience = 2 * time.Second // how long one queue may take for a batch…
	maxPatience = wire.Timeout    // …and how long when all are slow
	minTrouble  = 5 * time.Second // how long a queue is left alone that took too long
	maxTrouble  = time.Minute
)

// direct watches over the writing of queues by the fan-out. A queue that fails is left
// alone for a while, longer each time, so that it holds up nobody: meanwhile everything
// for it goes through its subscription's deliveries. Then one batch tries it again.
type direct struct {
	places *semaphore.Weighted

	mu       sync.Mutex
	took     time.Duration // a batch of late, on average
	troubles map[string]trouble
}

// trouble is a subscription whose queue failed.
type trouble struct {
	until time.Time
	pause time.Duration
}

func newDirect() *direct {
	return &direct{places: semaphore.NewWeighted(maxDirect), troubles: map[string]trouble{}}
}

// open reports whether the queue of a subscription is to be tried now.
func (d *direct) open(sub *subscriptionRecord, now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	t, ok := d.troubles[sub.ID]
	if !ok {
		return true
	}
	if now.Before(t.until) {
		return false
	}
	t.until = now.Add(maxPatience) // for all others, until it is known how this one ends
	d.troubles[sub.ID] = t
	return true
}

// failed notes that the queue of a subscription did not take everything in time.
func (d *direct) failed(sub *subscriptionRecord, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.troubles[sub.ID]
	t.pause = min(max(2*t.pause, minTrouble), maxTrouble)
	t.until = now.Add(t.pause)
	d.troubles[sub.ID] = t
}

// worked notes that the queue of a subscription took everything.
func (d *direct) worked(sub *subscriptionRecord, took time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.troubles, sub.ID)
	d.took += (took - d.took) / 16
}

// patience is how long to wait for a queue: much longer than they take of late.
func (d *direct) patience() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return min(max(8*d.took, minPatience), maxPatience)
}

// park notes that a subscription has deliveries of its own, so that every process looks
// for them. Those of other protocols than sqs always have.
func (s *Service) park(ctx context.Context, sub *subscriptionRecord) error {
	if sub.Protocol != protoSQS || sub.Parked {
		return nil
	}
	for range maxRaces {
		sub = s.subscriptionByID(sub.ID)
		if sub == nil || sub.Parked {
			return nil
		}
		err := s.rewrite(ctx, sub, func(r *subscriptionRecord) error {
			r.Parked = true
			return nil
		})
		if err == nil || !wire.LostRace(err) {
			return err
		}
		if err := s.defs.fresh(ctx); err != nil {
			return err
		}
	}
	return unavailable("topic.park", "", errBusy)
}

func onceHeader(name string) nats.Header { return nats.Header{"Nats-Msg-Id": {name}} }
