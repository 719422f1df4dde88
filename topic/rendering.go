package topic

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"sync"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/queue"
)

// rendering is a published message in the forms that subscriptions get. Each form is
// made when it is first needed and then serves all of them. It is safe for concurrent
// use.
type rendering struct {
	topic *Topic
	m     *message

	mu       sync.Mutex
	attrs    map[string]Attribute
	texts    map[string]protocolText // by protocol
	envelope *envelope               // for queues
}

// protocolText is what a message says to one protocol.
type protocolText struct {
	text string
	body *Body // for filters, when needed
}

func (t *Topic) render(m *message) *rendering { return &rendering{topic: t, m: m} }

// text is what the message says to a protocol.
func (r *rendering) text(protocol string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.textLocked(protocol).text
}

func (r *rendering) textLocked(protocol string) protocolText {
	if r.m.structure == "" {
		protocol = "" // all the same
	}
	if p, ok := r.texts[protocol]; ok {
		return p
	}
	p := protocolText{text: r.m.body}
	if protocol != "" {
		p.text, _ = MessageFor(protocol, r.m.body, r.m.structure) // it was checked when it was published
	}
	if r.texts == nil {
		r.texts = map[string]protocolText{}
	}
	r.texts[protocol] = p
	return p
}

// matches reports whether the message passes the subscription's filter policy.
func (r *rendering) matches(sub *subscriptionRecord) bool {
	if sub.filter == nil {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if sub.filter.Scope() == ScopeAttributes {
		if r.attrs == nil {
			r.attrs = filterAttributes(r.m.attrs)
		}
		return sub.filter.MatchAttributes(r.attrs)
	}
	p := r.textLocked(sub.Protocol)
	if p.body == nil {
		p.body = ParseBody(p.text)
		key := sub.Protocol
		if r.m.structure == "" {
			key = ""
		}
		r.texts[key] = p
	}
	return sub.filter.MatchBody(p.body)
}

func filterAttributes(list []queue.Attribute) map[string]Attribute {
	attrs := make(map[string]Attribute, len(list))
	for _, a := range list {
		if a.Binary() {
			attrs[a.Name] = Attribute{Type: a.DataType, Binary: a.Value}
		} else {
			attrs[a.Name] = Attribute{Type: a.DataType, Value: string(a.Value)}
		}
	}
	return attrs
}

// notice is the message as its envelope shows it.
func (r *rendering) notice(ns mnq.Namespace, text string) *notice {
	n := &notice{
		id: r.m.id.String(), topicARN: r.topic.ARN(ns), subject: r.m.subject, text: text, at: r.m.publishedAt, attributes: r.m.attrs,
	}
	if r.topic.FIFO() {
		n.sequence = sequenceNumber(r.m.seq)
	}
	return n
}

// senderID is the SenderId of messages that come from topics.
const senderID = "sns.amazonaws.com"

// maxQueueAttributes is how many attributes a message of a queue can have.
const maxQueueAttributes = 10

// rawFault is why a message cannot go to a queue as it is; nil when it can.
func (r *rendering) rawFault(text string) error {
	var fault string
	switch {
	case len(r.m.attrs) > maxQueueAttributes:
		fault = "A message with more than 10 attributes cannot be delivered raw to a queue."
	case !queue.ValidText(text) || slices.ContainsFunc(r.m.attrs, func(a queue.Attribute) bool { return !a.Binary() && !queue.ValidText(string(a.Value)) }):
		fault = "A message with characters that queues do not take cannot be delivered raw."
	default:
		return nil
	}
	return &mnq.Error{Kind: mnq.Invalid, Code: "InvalidParameterValue", Op: "topic.forQueue", Msg: fault}
}

// forQueue is the message as a subscription of protocol sqs, or a dead-letter queue,
// gets it.
func (r *rendering) forQueue(ctx context.Context, ns mnq.Namespace, sub *subscriptionRecord) (queue.Send, error) {
	out := queue.Send{SenderID: senderID, TraceHeader: r.m.trace, Once: onceName(r.m, sub)}
	text := r.text(sub.Protocol)
	if sub.Settings[attrRaw] == "true" {
		if err := r.rawFault(text); err != nil {
			return out, err
		}
		out.Body, out.Attributes = text, r.m.attrs
	} else {
		e, err := r.queueEnvelope(ctx, ns, text)
		if err != nil {
			return out, err
		}
		out.Body = string(e.body(r.topic.ARN(ns) + ":" + sub.ID))
	}
	to, _ := parseQueueARN(sub.Endpoint)
	switch {
	case isFIFO(to.name):
		out.GroupID, out.DedupID, out.NoGroup = r.m.group, r.m.dedup, r.m.group == ""
		if out.DedupID == "" {
			out.DedupID = contentID(r.m.body)
		}
	case !r.topic.FIFO():
		out.GroupID = r.m.group
	}
	return out, nil
}

func (r *rendering) queueEnvelope(ctx context.Context, ns mnq.Namespace, text string) (*envelope, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.envelope != nil {
		return r.envelope, nil
	}
	n := r.notice(ns, text)
	sig, err := r.topic.sign(ctx, n.stringToSign())
	if err != nil {
		return nil, err
	}
	e := n.envelope(sig, r.topic.svc.cfg.PublicURL())
	r.envelope = &e
	return r.envelope, nil
}

// sign signs a text as the topic's SignatureVersion says. Messages of FIFO topics have
// no signature.
func (t *Topic) sign(ctx context.Context, text string) (signed, error) {
	if t.FIFO() {
		return signed{}, nil
	}
	version := t.state.Load().Settings[attrSignature]
	if version == "" {
		version = "1"
	}
	return t.svc.signer.sign(ctx, version, text)
}

// contentID is the deduplication id of a message that was published without one.
func contentID(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:])
}

// onceName names a published message on its way to one subscription. It has the id and
// not the sequence: a stream that has lost its last messages in a power failure gives
// their sequences to new ones, which queues must not take for the old.
func onceName(m *message, sub *subscriptionRecord) string { return "t." + m.id.String() + "." + sub.ID }
