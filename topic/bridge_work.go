package topic

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/wire"
	"github.com/openmnq/mnq/queue"
)

const (
	bridgeWait      = 3 * wire.Timeout    // before somebody else gets what a process has taken
	bridgeRetention = 14 * 24 * time.Hour // of a stream of our own
	bridgeWidth     = 256                 // messages that one process works on at a time
	bridgeBatch     = 10

	attributeNATSSubject = "Mnq-Nats-Subject"
	attributeEncoding    = "Mnq-Encoding" // base64: the payload was no text
	attributeHops        = "Mnq-Hops"     // bridges that the message has crossed
)

// bridgeSource takes the messages of a bridge from its stream.
func (s *Service) bridgeSource(r *bridgeRecord) *source {
	id := r.ID
	x := &source{
		svc: s, namespaceID: r.source, consumer: wire.Consumer{Stream: r.Stream, Name: bridgeConsumer(id)},
		config: r.consumerConfig(), prepare: r.prepare, width: bridgeWidth, batch: bridgeBatch,
		alive: func() bool { return s.bridgeAlive(id) },
		work:  func(ctx context.Context, w *wire.Wire, msgs []*wire.Pulled) { s.cross(ctx, w, id, msgs) },
	}
	if isFIFO(r.Target.Name) {
		x.width, x.batch = 1, 1
	}
	return x
}

func (s *Service) bridgeAlive(id string) bool {
	if s.bridges.bridge(id) != nil {
		return true
	}
	s.bridges.mu.Lock()
	defer s.bridges.mu.Unlock()
	delete(s.bridges.sources, id)
	return false
}

// bridgeStore stores messages in the target; the errors are in order.
type bridgeStore func(ctx context.Context, msgs []crossing) []error

// bridgeTarget finds the target of a bridge. Missing: NotFound, code "queue" or "topic".
func (s *Service) bridgeTarget(r *bridgeRecord) (bridgeStore, error) {
	missing := func(code string, err error) error {
		return &mnq.Error{Kind: mnq.NotFound, Code: code, Op: "topic.bridge", Resource: r.Target.Name, Msg: "The " + code + " does not exist.", Err: err}
	}
	ns, err := s.cfg.Namespace(r.Target.Namespace)
	if r.Target.Service == mnq.ServiceSNS {
		var t *Topic
		if err == nil {
			t, err = s.Topic(ns, r.Target.Name)
		}
		if err != nil {
			return nil, missing("topic", err)
		}
		return func(ctx context.Context, msgs []crossing) []error { return t.cross(ctx, ns, msgs) }, nil
	}
	var q *queue.Queue
	if err == nil {
		q, err = s.cfg.Queues.Queue(ns, r.Target.Name)
	}
	if err != nil {
		return nil, missing("queue", err)
	}
	return func(ctx context.Context, msgs []crossing) []error {
		sends := make([]queue.Send, len(msgs))
		for i, m := range msgs {
			sends[i] = queue.Send{
				Body: m.body, Attributes: m.attributes, TraceHeader: m.trace, GroupID: m.group, SenderID: bridgeSender,
			}
			if q.FIFO() {
				sends[i].GroupID, sends[i].DedupID = m.groupOr(), m.dedup
			}
		}
		errs := make([]error, len(msgs))
		for i, r := range q.Send(ctx, sends) {
			errs[i] = r.Err
		}
		return errs
	}, nil
}

// bridgeSender is the SenderId of messages that come from NATS.
const bridgeSender = "nats"

func (t *Topic) cross(ctx context.Context, ns mnq.Namespace, msgs []crossing) []error {
	pubs := make([]Publication, len(msgs))
	for i, m := range msgs {
		pubs[i] = Publication{
			Message: m.body, Subject: m.subject, Attributes: m.attributes, TraceHeader: m.trace, GroupID: m.group, SenderID: bridgeSender,
		}
		if t.FIFO() {
			pubs[i].GroupID, pubs[i].DedupID = m.groupOr(), m.dedup
		}
	}
	errs := make([]error, len(msgs))
	for i, p := range t.Publish(ctx, ns, pubs) {
		errs[i] = p.Err
	}
	return errs
}

// cross brings messages to the target of a bridge. What the target refuses for good is
// dropped and logged; for everything else they come again.
func (s *Service) cross(ctx context.Context, w *wire.Wire, id string, msgs []*wire.Pulled) {
	r := s.bridges.bridge(id)
	if r == nil {
		return // its consumer goes too
	}
	ctx, cancel := context.WithTimeout(ctx, bridgeWait*2/3)
	defer cancel()
	store, err := s.bridgeTarget(r)
	if err != nil {
		s.crossLater(ctx, w, msgs)
		return
	}
	var good, done []*wire.Pulled
	var out []crossing
	for _, p := range msgs {
		m, refused := crossingOf(id, p)
		if refused != "" {
			s.log.WarnContext(ctx, "message not bridged", "bridge", id, "namespace_id", r.source, "sequence", p.Sequence, "reason", refused)
			done = append(done, p)
			continue
		}
		good, out = append(good, p), append(out, m)
	}
	var later []*wire.Pulled
	for i, err := range store(ctx, out) {
		switch mnq.KindOf(err) {
		case mnq.Invalid, mnq.Unsupported:
			s.log.WarnContext(ctx, "message not bridged", "bridge", id, "namespace_id", r.source, "sequence", good[i].Sequence, "error", err)
			done = append(done, good[i])
		default:
			if err == nil {
				done = append(done, good[i])
			} else {
				later = append(later, good[i])
			}
		}
	}
	s.crossLater(ctx, w, later)
	if r.Own {
		w.Finish(ctx, r.Stream, done) // what is not acknowledged comes again
		return
	}
	acks := make([]wire.Request, len(done)) // the messages are not ours to remove
	for i, p := range done {
		acks[i] = p.Ack()
	}
	w.Exchange(ctx, acks, wire.Timeout)
}

// crossLater has messages delivered again after a pause that grows.
func (s *Service) crossLater(ctx context.Context, w *wire.Wire, msgs []*wire.Pulled) {
	reqs := make([]wire.Request, len(msgs))
	for i, p := range msgs {
		reqs[i] = p.Again(time.Second << min(max(p.Count-1, 0), 6))
	}
	w.Exchange(ctx, reqs, wire.Timeout)
}

// crossing is a NATS message as a queue or topic takes it.
type crossing struct {
	body       string
	subject    string // of SNS, "" for none
	attributes []queue.Attribute
	trace      string
	group      string // as the publisher chose it, "" for none
	dedup      string
	natsOn     string // the NATS subject
}

// groupOr is the message group in a FIFO target: that of the publisher, else one for
// each subject.
func (m crossing) groupOr() string {
	if m.group != "" {
		return m.group
	}
	if validID(m.natsOn) {
		return m.natsOn
	}
	sum := sha256.Sum256([]byte(m.natsOn))
	return hex.EncodeToString(sum[:])
}

// crossingOf translates a message. refused says why it cannot cross.
func crossingOf(bridgeID string, p *wire.Pulled) (m crossing, refused string) {
	if len(p.Data) == 0 {
		return m, "it is empty, which neither queues nor topics take"
	}
	hops, _ := strconv.Atoi(p.Header.Get(attributeHops))
	if hops >= maxHops {
		return m, "it has crossed too many bridges"
	}
	m.natsOn, m.body = p.Subject, string(p.Data)
	put := func(name, dataType, value string) {
		m.attributes = append(m.attributes, queue.Attribute{Name: name, DataType: dataType, Value: []byte(value)})
	}
	put(attributeNATSSubject, "String", p.Subject)
	put(attributeHops, "Number", strconv.Itoa(hops+1))
	if !validText(m.body) {
		m.body = base64.StdEncoding.EncodeToString(p.Data)
		put(attributeEncoding, "String", "base64")
	}
	if !validText(p.Subject) {
		m.attributes = m.attributes[1:]
	}
	m.attributes = append(m.attributes, headerAttributes(p.Header, 10-len(m.attributes))...)
	slices.SortFunc(m.attributes, func(a, b queue.Attribute) int { return strings.Compare(a.Name, b.Name) })
	if v := p.Header.Get(headerSubject); CheckSubject(v) == nil {
		m.subject = v
	}
	if v := p.Header.Get(headerTrace); len(v) <= 1024 && validText(v) {
		m.trace = v
	}
	if v := p.Header.Get(headerGroup); validID(v) {
		m.group = v
	}
	if m.dedup = p.Header.Get(headerDedup); !validID(m.dedup) {
		m.dedup = bridgeID + "." + strconv.FormatUint(p.Sequence, 10) // the same message never twice
	}
	return m, ""
}

// headerAttributes returns up to n headers as attributes, in the order of their names.
func headerAttributes(h nats.Header, n int) (out []queue.Attribute) {
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if len(out) == n {
			return out
		}
		a := queue.Attribute{Name: name, DataType: "String", Value: []byte(h.Get(name))}
		if rest, binary := strings.CutPrefix(name, headerBinary); binary {
			v, err := base64.StdEncoding.DecodeString(h.Get(name))
			if err != nil {
				continue
			}
			a = queue.Attribute{Name: rest, DataType: "Binary", Value: v}
		}
		lower := strings.ToLower(a.Name)
		taken := slices.ContainsFunc(out, func(o queue.Attribute) bool { return o.Name == a.Name })
		if taken || reservedHeader(a.Name) || strings.HasPrefix(lower, "aws.") || strings.HasPrefix(lower, "amazon.") ||
			len(a.Value) == 0 || !a.Binary() && !validText(string(a.Value)) || CheckAttributes([]queue.Attribute{a}) != nil {
			continue
		}
		out = append(out, a)
	}
	return out
}

// validText reports whether SQS takes s as a message: XML 1.0's characters, in UTF-8.
func validText(s string) bool {
	if !utf8.ValidString(s) {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xFFFE || r == 0xFFFF
	})
}

// validID reports whether s can be a message group or deduplication id: 1 to 128
// letters, digits and punctuation marks in ASCII.
func validID(s string) bool {
	return s != "" && len(s) <= 128 && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
