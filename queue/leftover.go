package queue

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A server that is killed between storing that a message was acknowledged and removing
// the message keeps it: no consumer hands it out any more, and nobody removes it. A
// server that stands alone does not look for these (members of a cluster do), so a count
// that finds more messages than consumers know does. Everything of a consumer's up to its
// floor has been acknowledged.

const (
	leftoverEvery = 5 * time.Second // at most so often, since delayed messages look the same at first
	maxLeftover   = 256             // removed at a time; a crash leaves a few
)

// floor is up to where a consumer has nothing left to hand out.
type floor struct {
	filter string
	seq    uint64
}

func floorOf(c *jetstream.ConsumerInfo) floor {
	return floor{c.Config.FilterSubject, c.AckFloor.Stream}
}

// removeLeftover removes what a crash has left below the floors, and returns how much
// that was.
func (q *Queue) removeLeftover(ctx context.Context, w *link, first uint64, floors []floor) (removed int64, err error) {
	const op = "queue.Counts"
	now, last := time.Now().UnixNano(), q.lastLook.Load()
	if q.record.Load().replicas() > 1 || now-last < int64(leftoverEvery) || !q.lastLook.CompareAndSwap(last, now) {
		return 0, nil
	}
	for _, f := range floors {
		for next := first; next <= f.seq && removed < maxLeftover; removed++ {
			body := fmt.Sprintf(`{"seq":%d,"next_by_subj":%s}`, next, strconv.Quote(f.filter))
			rec, err := q.got(op, w.Exchange(ctx, []request{q.getRequest(body)}, answerTimeout)[0])
			if err != nil {
				return removed, err
			}
			if rec == nil || rec.seq > f.seq {
				break
			}
			a := w.Exchange(ctx, []request{q.deleteRequest(rec.seq)}, answerTimeout)[0]
			if a.Err != nil {
				return removed, unavailable(op, q.name, a.Err)
			}
			if err := q.removed(a.Msg.Data); err != nil {
				return removed, err
			}
			next = rec.seq + 1
		}
	}
	return removed, nil
}

// deleteRequest removes a message from the stream by its sequence.
func (q *Queue) deleteRequest(seq uint64) request {
	return request{Subject: "$JS.API.STREAM.MSG.DELETE.q_" + q.id, Data: fmt.Appendf(nil, `{"no_erase":true,"seq":%d}`, seq)}
}
