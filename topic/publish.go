package topic

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/service"
	"github.com/openmnq/mnq/internal/wire"
	"github.com/openmnq/mnq/queue"
)

// Publication is one message to publish. That everything is UTF-8 has been checked by the
// front door.
type Publication struct {
	Message     string
	Subject     string
	Structure   string            // MessageStructure: "" or "json"
	Attributes  []queue.Attribute // sorted by name; the types String.Array too
	GroupID     string            // MessageGroupId
	DedupID     string            // MessageDeduplicationId
	TraceHeader string            // X-Amzn-Trace-Id, "" when absent
	SenderID    string
}

// size is what counts against the limit: the message and each attribute's name, type
// and value.
func (p *Publication) size() int {
	n := len(p.Message)
	for _, a := range p.Attributes {
		n += len(a.Name) + len(a.DataType) + len(a.Value)
	}
	return n
}

// Published is the outcome of one message of Publish; without Err it is durable.
type Published struct {
	MessageID      string // UUID
	SequenceNumber string // FIFO topics only
	Err            error
}

// Publish stores messages. The result has one entry for each, in order. What is stored
// goes to every subscription that was made before the call and is not removed before
// it, as far as its filter policy matches. Errors: Invalid (InvalidParameter),
// QuotaExceeded, NotFound, and Unavailable when nobody knows whether it was stored.
func (t *Topic) Publish(ctx context.Context, ns mnq.Namespace, msgs []Publication) []Published {
	out := make([]Published, len(msgs))
	ctx, traced := t.tracePublish(ctx, msgs)
	defer traced(out)
	w, err := t.open(ctx, ns, msgs)
	if err != nil {
		for i := range out {
			out[i].Err = err
		}
		return out
	}
	defer t.countPublished(msgs, out)
	if t.FIFO() {
		t.publishOrdered(ctx, ns, w, msgs, out)
		return out
	}
	now := time.Now()
	limit := maxMessage(ns)
	st := t.state.Load()
	reqs, index := make([]wire.Request, 0, len(msgs)), make([]int, 0, len(msgs))
	for i := range msgs {
		if out[i].Err = msgs[i].check(limit, false); out[i].Err != nil {
			continue
		}
		m := newMessage(&msgs[i], now)
		m.parent = service.ParentOf(ctx)
		out[i].MessageID = m.id.String()
		reqs, index = append(reqs, t.svc.write(st.published(), m)), append(index, i)
	}
	for j, err := range t.svc.writeAll(ctx, w, reqs) {
		out[index[j]].Err = t.writeError(err)
	}
	return out
}

// open prepares for storing messages.
func (t *Topic) open(ctx context.Context, ns mnq.Namespace, msgs []Publication) (*wire.Wire, error) {
	if t.deleted() {
		return nil, missing(t.name)
	}
	if err := t.ready(ctx); err != nil {
		return nil, err
	}
	if accepts := t.svc.cfg.Accepts; accepts != nil {
		if err := accepts(ctx); err != nil {
			return nil, err
		}
	}
	bytes := int64(0)
	for i := range msgs {
		bytes += int64(msgs[i].size())
	}
	if err := t.svc.cfg.Queues.Admit(ctx, ns, bytes); mnq.KindOf(err) == mnq.QuotaExceeded {
		return nil, storageFull("topic.Publish", t.name, err)
	} else if err != nil {
		return nil, err
	}
	return t.svc.wire(ctx, t.namespaceID)
}

// maxMessage is the largest message that the namespace may publish. SNS's own limit is
// 256 KiB, whatever queues take.
func maxMessage(ns mnq.Namespace) int {
	const most = 256 << 10
	if n := ns.Quota.MessageBytes; n >= 0 && n < most {
		return max(int(n), 1024)
	}
	return most
}

func (p *Publication) check(limit int, fifo bool) error {
	switch {
	case p.Message == "":
		return invalid("Empty message")
	case p.size() > limit:
		return invalid("Message too long")
	}
	if err := CheckSubject(p.Subject); err != nil {
		return err
	}
	if _, err := MessageFor("default", p.Message, p.Structure); err != nil {
		return err
	}
	if err := CheckAttributes(p.Attributes); err != nil {
		return err
	}
	if p.DedupID != "" && !fifo {
		return invalid("MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is not valid for this topic type")
	}
	return cmp.Or(checkID("MessageGroupId", p.GroupID), checkID("MessageDeduplicationId", p.DedupID))
}

// checkID refuses what is not a message group or deduplication id; "" is none.
func checkID(name, id string) error {
	if id != "" && !validID(id) {
		return invalid(name + " Reason: " + name + " can only include alphanumeric and punctuation characters. 1 to 128 in length")
	}
	return nil
}

func newMessage(p *Publication, now time.Time) *message {
	return &message{
		id: uuid.New(), publishedAt: now, subject: p.Subject, structure: p.Structure, group: p.GroupID, dedup: p.DedupID,
		trace: p.TraceHeader, sender: p.SenderID, attrs: p.Attributes, body: p.Message,
	}
}

// write is the request that stores a message under a subject.
func (s *Service) write(subject string, m *message) wire.Request {
	r := wire.Request{Subject: subject, Data: m.encode(), Header: m.mark(nil)}
	if s.cfg.Replicas > 1 {
		// The answer may get lost with a leader, so the request must be repeatable.
		r.Header = m.mark(nats.Header{"Nats-Msg-Id": {m.id.String()}})
	}
	return r
}

// writeAll sends the requests and returns an error or nil for each. Where requests are
// repeatable, those without an answer are sent again for a while.
func (s *Service) writeAll(ctx context.Context, w *wire.Wire, reqs []wire.Request) []error {
	errs := make([]error, len(reqs))
	open := make([]int, len(reqs))
	for i := range open {
		open[i] = i
	}
	tries := 1
	if s.cfg.Replicas > 1 {
		tries = 4
	}
	for ; tries > 0 && len(open) > 0; tries-- {
		batch := make([]wire.Request, len(open))
		for j, i := range open {
			batch[j] = reqs[i]
		}
		var again []int
		for j, a := range w.Exchange(ctx, batch, wire.Timeout) {
			i := open[j]
			if _, _, errs[i] = a.Stored(); errs[i] != nil && !wire.OverQuota(errs[i]) && ctx.Err() == nil {
				again = append(again, i)
			}
		}
		open = again
	}
	return errs
}

// writeError turns a failure to store a message into ours.
func (t *Topic) writeError(err error) error {
	if err == nil {
		return nil
	}
	return t.streamError("topic.Publish", err)
}

// streamError turns a failure of the topic's stream into ours. A stream that is missing
// although the topic exists is a fault, not an empty topic.
func (t *Topic) streamError(op string, err error) error {
	select {
	case <-t.closed:
		return missing(t.name)
	default:
	}
	if wire.OverQuota(err) {
		return storageFull(op, t.name, err)
	}
	if errors.Is(err, wire.ErrNoStream) {
		return &mnq.Error{
			Kind: mnq.Unavailable, Op: op, Resource: t.name, Err: err, Msg: "The topic's storage is missing.",
			Hint: "the stream of an existing topic is not there: restore it from a backup, or delete the topic",
		}
	}
	return unavailable(op, t.name, err)
}

// sequenceNumber is a stream sequence as SNS shows it: 20 digits.
func sequenceNumber(seq uint64) string { return fmt.Sprintf("%020d", seq) }
