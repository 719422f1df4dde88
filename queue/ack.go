package queue

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/wire"
)

// ackTimeout is how long a delete waits for the consumer before it goes to the
// stream. The consumer does not answer for a delivery that it has forgotten in a
// crash.
const ackTimeout = time.Second

// DeleteMessages removes messages by receipt handle; one result for each. Nil is
// durable. Deleting twice succeeds, and so does deleting with an older handle.
// What is not a handle of this queue is Invalid, code ReceiptHandleIsInvalid.
//
// In a FIFO queue a handle ends with its visibility timeout: while the message is
// still there, an older one is Invalid, code InvalidParameterValue.
func (q *Queue) DeleteMessages(ctx context.Context, handles []string) []error {
	errs := q.deleteMessages(ctx, handles)
	q.countDeleted(errs)
	return errs
}

func (q *Queue) deleteMessages(ctx context.Context, handles []string) []error {
	if q.fifo != nil {
		return repeatFor(ctx, q.svc, handles, q.fifo.delete)
	}
	errs, receipts, w := q.openHandles(ctx, handles)
	if w == nil {
		return errs
	}
	q.svc.repeat(ctx, len(handles), func(open []int) (again []int) {
		for _, i := range q.acknowledge(ctx, w, receipts, open, errs) {
			if unknown(errs[i]) {
				again = append(again, i)
			}
		}
		return again
	})
	for i := range handles {
		if errs[i] == nil {
			q.left(receipts[i])
		}
	}
	return errs
}

// acknowledge removes those of open that are without an error so far, or whose fate is
// unknown, and returns them.
func (q *Queue) acknowledge(ctx context.Context, w *link, receipts []receipt, open []int, errs []error) (index []int) {
	var reqs []request
	for _, i := range open {
		if errs[i] == nil || unknown(errs[i]) {
			errs[i] = nil
			reqs, index = append(reqs, request{Subject: q.ackSubject(receipts[i]), Data: []byte("+ACK")}), append(index, i)
		}
	}
	var silent []int
	for j, a := range w.Exchange(ctx, reqs, ackTimeout) {
		if a.Err != nil || wire.NoResponders(a.Msg) {
			silent = append(silent, index[j])
		}
	}
	if len(silent) > 0 {
		q.remove(ctx, w, receipts, silent, errs)
	}
	q.svc.distrust(index, errs)
	return index
}

// distrust makes the fate of those that were confirmed unknown while confirmations are
// worth nothing.
func (s *Service) distrust(index []int, errs []error) {
	if s.cfg.Stored == nil {
		return
	}
	err := s.cfg.Stored()
	if err == nil {
		return
	}
	for _, i := range index {
		errs[i] = cmp.Or(errs[i], err)
	}
}

// remove deletes messages from the stream itself.
func (q *Queue) remove(ctx context.Context, w *link, receipts []receipt, index []int, errs []error) {
	const op = "queue.Delete"
	reqs := make([]request, len(index))
	for j, i := range index {
		reqs[j] = q.deleteRequest(receipts[i].stream)
	}
	answers := w.Exchange(ctx, reqs, q.svc.patience.Try)
	for j, i := range index {
		switch a := answers[j]; {
		case a.Err != nil:
			errs[i] = unavailable(op, q.name, a.Err)
		case wire.NoResponders(a.Msg):
			errs[i] = q.streamError(op, nats.ErrNoResponders)
		default:
			errs[i] = q.removed(a.Msg.Data)
		}
	}
}

// removed reads the answer to a delete from the stream. A message that is not
// there is as good as deleted.
func (q *Queue) removed(data []byte) error {
	var r removal
	err := json.Unmarshal(data, &r)
	switch {
	case err != nil:
		return unavailable("queue.Delete", q.name, err)
	case r.done():
		return nil
	case r.noStream():
		return q.streamError("queue.Delete", errors.New("stream not found"))
	default:
		return unavailable("queue.Delete", q.name, r.err(data))
	}
}

// removal is the server's answer to the request that removes a message from its stream.
type removal struct {
	Success bool `json:"success"`
	Error   *struct {
		Code    int    `json:"err_code"`
		Message string `json:"description"`
	} `json:"error"`
}

// done reports whether the message is not there any more. When the store says no to a
// removal (10057) that is so only for one reason; a disk that failed is another.
func (r removal) done() bool {
	switch {
	case r.Error == nil:
		return r.Success
	case r.Error.Code == 10037, r.Error.Code == 10043: // no message found; sequence not found
		return true
	default:
		return r.Error.Code == 10057 && (r.Error.Message == "no message found" || r.Error.Message == "stream store EOF")
	}
}

func (r removal) noStream() bool { return r.Error != nil && r.Error.Code == 10059 }

func (r removal) err(data []byte) error {
	if r.Error == nil {
		return fmt.Errorf("answer without success: %.100s", data)
	}
	return fmt.Errorf("%s (%d)", r.Error.Message, r.Error.Code)
}

// Visibility is one change of ChangeVisibility.
type Visibility struct {
	Handle  string
	Timeout time.Duration // 0 to MaxVisibility
}

// ChangeVisibility makes messages visible after a time counted from now; one
// result for each. Zero is at once. It works with an older handle of the same
// message and on a message that has become visible again. A message that does
// not exist any more is Invalid, code InvalidParameterValue, and so is a time that
// ends more than MaxVisibility after the receive that the handle is from. In a
// FIFO queue so is a message whose visibility timeout has passed.
func (q *Queue) ChangeVisibility(ctx context.Context, changes []Visibility) []error {
	if q.fifo != nil {
		again := false
		return repeatFor(ctx, q.svc, changes, func(ctx context.Context, changes []Visibility) []error {
			errs := q.fifo.changeVisibility(ctx, changes)
			for i, err := range errs {
				// Its first attempt may have made it visible, and that is what was wanted.
				if again && changes[i].Timeout == 0 && mnq.KindOf(err) == mnq.Invalid {
					errs[i] = nil
				}
			}
			again = true
			return errs
		})
	}
	handles := make([]string, len(changes))
	for i, c := range changes {
		handles[i] = c.Handle
	}
	errs, receipts, w := q.openHandles(ctx, handles)
	if w == nil {
		return errs
	}
	now := time.Now()
	for i, c := range changes {
		if errs[i] == nil && c.Timeout > 0 && now.Add(c.Timeout).After(receipts[i].received.Add(MaxVisibility+time.Second)) {
			errs[i] = tooLongHidden(c.Timeout)
		}
	}
	q.svc.repeat(ctx, len(changes), func(open []int) (again []int) {
		for _, i := range open {
			if errs[i] == nil || unknown(errs[i]) {
				again = append(again, i)
			}
		}
		q.hideAgain(ctx, w, receipts, again, changes, errs)
		return slices.DeleteFunc(again, func(i int) bool { return !unknown(errs[i]) })
	})
	return errs
}

// hideAgain makes the changes of those in index.
func (q *Queue) hideAgain(ctx context.Context, w *link, receipts []receipt, index []int, changes []Visibility, errs []error) { //nolint:revive // what repeat needs
	now := time.Now()
	reqs := make([]request, 0, 2*len(index))
	for _, i := range index {
		// The consumer confirms a NAK of a message that is gone just the same, so
		// the stream is asked too. Both go out together, in this order.
		reqs = append(reqs,
			q.hide(w, receipts[i], changes[i].Timeout),
			q.getRequest(`{"seq":`+strconv.FormatUint(receipts[i].stream, 10)+`}`),
		)
	}
	const op = "queue.ChangeVisibility"
	answers := w.Exchange(ctx, reqs, q.svc.patience.Try)
	for j, i := range index {
		claimed := answers[2*j]
		message, err := q.got(op, answers[2*j+1])
		switch {
		case claimed.Err != nil:
			errs[i] = unavailable(op, q.name, claimed.Err)
		case wire.NoResponders(claimed.Msg):
			errs[i] = q.streamError(op, nats.ErrNoResponders)
		case err == nil && message == nil:
			errs[i] = notThere(changes[i].Handle)
		case err != nil && q.svc.cfg.Replicas > 1:
			errs[i] = err // whoever answered first may have been the old leader
		default:
			errs[i] = nil
			q.rehidden(receipts[i], now.Add(changes[i].Timeout))
		}
	}
}

// openHandles reads the handles and finds the connection. A nil wire means that
// errs says all there is to say.
func (q *Queue) openHandles(ctx context.Context, handles []string) (errs []error, receipts []receipt, w *link) {
	errs, receipts = make([]error, len(handles)), make([]receipt, len(handles))
	all := q.finishCreate(ctx)
	if all == nil && q.record.Load().State == stateDeleted {
		all = missing(q.name)
	}
	if all == nil {
		w, all = q.svc.connection(ctx, q.space)
	}
	for i, h := range handles {
		if all != nil {
			errs[i] = all
			continue
		}
		receipts[i], errs[i] = q.svc.sealer.open(q.id, h)
	}
	if all != nil {
		return errs, receipts, nil
	}
	return errs, receipts, w
}

// left notes that a message is gone, wherever it was handed out. When this process
// did not have it hidden, another one may.
func (q *Queue) left(r receipt) {
	if was := q.flight.forget(r.stream); !was || r.holder != q.svc.ledger.me {
		q.svc.ledger.tell(q, r, time.Time{})
	}
	q.svc.ledger.change()
}

// rehidden notes a new deadline of a message, which from now on is with the process
// that the handle is from.
func (q *Queue) rehidden(r receipt, until time.Time) {
	if r.holder != q.svc.ledger.me {
		q.flight.move(r.stream, time.Time{})
		q.svc.ledger.tell(q, r, until)
	} else if was := q.flight.move(r.stream, until); !was {
		q.svc.ledger.tell(q, r, until)
	}
	q.svc.ledger.change()
}

func tooLongHidden(timeout time.Duration) error {
	return &mnq.Error{
		Kind: mnq.Invalid, Code: "InvalidParameterValue", Op: "queue.ChangeVisibility", Field: "VisibilityTimeout",
		Msg: fmt.Sprintf("Value %d for parameter VisibilityTimeout is invalid. Reason: "+
			"Total VisibilityTimeout for the message is beyond the limit [43200 seconds]", int64(timeout/time.Second)),
	}
}

func notThere(handle string) error {
	return &mnq.Error{
		Kind: mnq.Invalid, Code: "InvalidParameterValue", Op: "queue.ChangeVisibility", Field: "ReceiptHandle",
		Msg: "Value " + clip(handle) + " for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility timeout change.",
	}
}
