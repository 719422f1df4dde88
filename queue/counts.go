package queue

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Counts are numbers of messages: approximate, since others may be working on
// the queue meanwhile.
type Counts struct {
	Visible, InFlight, Delayed int64
	Groups                     int64 // message groups with messages in flight; FIFO queues only
	// Oldest is when the oldest message still here came into the queue, or for a
	// delayed one became due; zero when the queue is empty.
	Oldest time.Time
}

// Counts says how many messages there are. It is right within a second of the last
// change by any process, also after a restart; a process that was killed may have
// handed out messages in its last half second that count as visible until they are
// received again or deleted.
func (q *Queue) Counts(ctx context.Context) (Counts, error) {
	if q.fifo != nil {
		return q.fifo.counts(ctx)
	}
	w, err := q.svc.connection(ctx, q.space)
	if err != nil {
		return Counts{}, err
	}
	r := q.record.Load()
	s, err := retried(ctx, q.svc, func(ctx context.Context) (jetstream.Stream, error) { return w.js.Stream(ctx, r.stream()) })
	if err != nil {
		return Counts{}, q.streamError("queue.Counts", err)
	}
	tracks := []track{trackReady}
	if r.Crowd {
		tracks = append(tracks, trackCrowd)
	}
	var waiting, unacked int64
	var floors []floor
	for _, l := range tracks {
		c, err := retried(ctx, q.svc, func(ctx context.Context) (jetstream.Consumer, error) {
			return w.js.Consumer(ctx, r.stream(), l.consumer())
		})
		if err != nil {
			return Counts{}, q.streamError("queue.Counts", err)
		}
		waiting += int64(c.CachedInfo().NumPending) //nolint:gosec // counts of messages
		unacked += int64(c.CachedInfo().NumAckPending)
		floors = append(floors, floorOf(c.CachedInfo()))
	}
	now, st := time.Now(), s.CachedInfo().State
	if int64(st.Msgs) > waiting+unacked { //nolint:gosec // a count of messages
		removed, err := q.removeLeftover(ctx, w, st.FirstSeq, floors)
		if err != nil {
			return Counts{}, err
		}
		st.Msgs -= min(st.Msgs, uint64(removed)) //nolint:gosec // a count of messages
		if removed > 0 && st.Msgs > 0 {
			return q.Counts(ctx) // the oldest is another one now
		}
	}
	hidden := q.flight.hiddenNow(now, st.FirstSeq) + q.svc.ledger.elsewhere(q.id, now, st.FirstSeq)
	return counts(st, waiting, unacked, hidden), nil
}

// counts derives the numbers from what the server reports: messages not delivered
// yet, and those delivered and not acknowledged, of which hidden are hidden still.
func counts(st jetstream.StreamState, waiting, unacked, hidden int64) Counts {
	hidden = min(max(hidden, 0), unacked)
	c := Counts{
		Visible:  waiting + unacked - hidden,
		InFlight: hidden,
		Delayed:  max(0, int64(st.Msgs)-waiting-unacked), //nolint:gosec // a count of messages
	}
	if st.Msgs > 0 {
		c.Oldest = st.FirstTime
	}
	return c
}
