package queue

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// Sent is the answer to an accepted message, which is durable by then.
type Sent struct {
	MessageID      string // UUID
	SequenceNumber string // FIFO only
}

// SendResult is the outcome of one message of Send.
type SendResult struct {
	Sent
	Err error
}

// MaxDelay is the longest DelaySeconds.
const MaxDelay = 15 * time.Minute

// Send stores messages, all at once. The result has one entry for each, in
// order; an entry without error is durable. Errors: Invalid with code
// InvalidParameterValue for a message that is too long, QuotaExceeded (OverLimit)
// when the namespace's storage is full, NotFound, and Unavailable when nobody
// knows whether the message was stored.
func (q *Queue) Send(ctx context.Context, msgs []Send) []SendResult {
	ctx, traced := q.traceSend(ctx, msgs)
	out := q.send(ctx, msgs)
	traced(out)
	q.countSent(msgs, out)
	return out
}

func (q *Queue) send(ctx context.Context, msgs []Send) []SendResult {
	out := make([]SendResult, len(msgs))
	fail := func(err error) []SendResult {
		for i := range out {
			if out[i].Err == nil {
				out[i].Err = err
			}
		}
		return out
	}
	r := q.record.Load()
	if r.State != stateActive {
		if r.State == stateDeleted {
			return fail(missing(q.name))
		}
		if err := q.finishCreate(ctx); err != nil {
			return fail(err)
		}
	}
	if accepts := q.svc.cfg.Accepts; accepts != nil {
		if err := accepts(ctx); err != nil {
			return fail(err)
		}
	}
	w, err := q.svc.connection(ctx, q.space)
	if err != nil {
		return fail(err)
	}
	bytes := int64(0)
	for _, m := range msgs {
		bytes += int64(m.size()) + overhead
	}
	if err := q.admit(ctx, w, bytes); err != nil {
		return fail(err)
	}
	if q.fifo != nil {
		q.fifo.send(ctx, w, msgs, out)
		return out
	}
	now := time.Now()
	limit := r.Settings.int(attrMaxSize)
	reqs, index := make([]request, 0, len(msgs)), make([]int, 0, len(msgs))
	for i, m := range msgs {
		if int64(m.size()) > limit {
			out[i].Err = tooLong(limit)
			continue
		}
		s := newStored(m, now)
		out[i].MessageID = s.id.String()
		subject := r.ready()
		if m.GroupID != "" {
			subject = q.trackFor(ctx, w, m.GroupID)
		}
		reqs, index = append(reqs, q.publish(r, subject, m, s)), append(index, i)
	}
	for j, a := range q.publishAll(ctx, w, reqs) {
		out[index[j]].Err = a
	}
	q.lastSend.Store(time.Now().UnixNano())
	return out
}

func delayOf(r *record, m Send) time.Duration {
	if m.Delay != nil {
		return *m.Delay
	}
	return r.Settings.seconds(attrDelay)
}

// publish is the request that stores one message: on the subject given, or as a
// schedule that puts it there when its delay has passed.
func (q *Queue) publish(r *record, subject string, m Send, s stored) request {
	req := request{Subject: subject, Data: s.encode()}
	if delay := delayOf(r, m); delay > 0 {
		// One schedule a subject: a second one on it would replace the first.
		req.Subject = r.delayed(nuid.Next())
		req.Header = nats.Header{
			"Nats-Schedule":        {"@at " + s.sentAt.Add(delay).UTC().Format(time.RFC3339Nano)},
			"Nats-Schedule-Target": {subject},
		}
	}
	name := m.Once
	if name == "" && q.svc.patient() {
		name = s.id.String() // the answer may get lost with a leader, so the request must be repeatable
	}
	if name != "" {
		if req.Header == nil {
			req.Header = nats.Header{}
		}
		req.Header["Nats-Msg-Id"] = []string{name}
	}
	return req
}

// publishAll sends the requests and turns each answer into an error or nil.
func (q *Queue) publishAll(ctx context.Context, w *link, reqs []request) []error {
	errs := make([]error, len(reqs))
	q.svc.repeat(ctx, len(reqs), func(open []int) (again []int) {
		batch := make([]request, len(open))
		for j, i := range open {
			batch[j] = reqs[i]
		}
		for j, a := range q.write(ctx, w, batch) {
			i := open[j]
			if _, errs[i] = q.written("queue.Send", a); unknown(errs[i]) {
				again = append(again, i)
			}
		}
		return again
	})
	return errs
}

func tooLong(limit int64) error {
	return invalid("InvalidParameterValue", "MessageBody",
		fmt.Sprintf("One or more parameters are invalid. Reason: Message must be shorter than %d bytes.", limit))
}
