package wire

import (
	"context"
	"strconv"
	"time"
)

// ackTimeout is how long an acknowledgement waits for the consumer before the message
// is removed from the stream itself. The consumer does not answer for a delivery that
// it has forgotten in a crash.
const ackTimeout = time.Second

// Finish acknowledges deliveries of a work-queue stream. Nil for each means that the
// message is gone for good.
func (w *Wire) Finish(ctx context.Context, stream string, ps []*Pulled) []error {
	errs := make([]error, len(ps))
	reqs := make([]Request, len(ps))
	for i, p := range ps {
		reqs[i] = p.Ack()
	}
	var silent []int
	for i, a := range w.Exchange(ctx, reqs, ackTimeout) {
		if a.Done() != nil {
			silent = append(silent, i)
		}
	}
	reqs = reqs[:0]
	for _, i := range silent {
		reqs = append(reqs, Remove(stream, ps[i].Sequence))
	}
	for j, a := range w.Exchange(ctx, reqs, Timeout) {
		errs[silent[j]] = a.Removed()
	}
	return errs
}

// Remove is the request that removes a message from a stream; [Answer.Removed] reads
// the answer.
func Remove(stream string, seq uint64) Request {
	return Request{
		Subject: "$JS.API.STREAM.MSG.DELETE." + stream,
		Data:    []byte(`{"no_erase":true,"seq":` + strconv.FormatUint(seq, 10) + `}`),
	}
}
