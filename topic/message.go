package topic

import (
	"encoding/binary"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/openmnq/mnq/queue"
)

// kind says what a message is to those that get it.
type kind byte

const (
	notification kind = iota
	subscriptionConfirmation
	unsubscribeConfirmation
)

// String is the kind as it stands in the field Type.
func (k kind) String() string {
	switch k {
	case subscriptionConfirmation:
		return typeSubscribed
	case unsubscribeConfirmation:
		return typeUnsubscribed
	default:
		return typeNotification
	}
}

// message is what lies in a topic's stream: once where it was published, and then
// for each subscription that it has to be delivered to by itself (see DESIGN.md).
type message struct {
	kind        kind
	id          uuid.UUID
	seq         uint64    // of the stream, where it was published
	publishedAt time.Time // milliseconds
	subject     string
	structure   string // "json": the body has a text for each protocol
	group       string
	dedup       string
	trace       string
	sender      string
	attrs       []queue.Attribute // sorted by name
	body        string

	parent string // of the spans of its deliveries, "" for none; not part of the record
}

const messageVersion = 1

// encode writes the message as one binary record. Nothing of it goes into NATS
// headers, so that nothing a client sends can act as one.
//
//	version(1) kind(1) id(16) published-ms(8) sequence
//	subject structure group dedup trace sender count { name type value }* body…
//
// where sequence and count are uvarints, each string is a uvarint length and its
// bytes, and body is the rest.
func (m *message) encode() []byte {
	n := 2 + 16 + 8 + 9*binary.MaxVarintLen64 + len(m.subject) + len(m.structure) + len(m.group) + len(m.dedup) + len(m.trace) + len(m.sender) + len(m.body)
	for _, a := range m.attrs {
		n += 3*binary.MaxVarintLen32 + len(a.Name) + len(a.DataType) + len(a.Value)
	}
	b := make([]byte, 0, n)
	b = append(b, messageVersion, byte(m.kind))
	b = append(b, m.id[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(m.publishedAt.UnixMilli()))
	b = binary.AppendUvarint(b, m.seq)
	for _, s := range [...]string{m.subject, m.structure, m.group, m.dedup, m.trace, m.sender} {
		b = appendBytes(b, s)
	}
	b = binary.AppendUvarint(b, uint64(len(m.attrs)))
	for _, a := range m.attrs {
		b = appendBytes(b, a.Name)
		b = appendBytes(b, a.DataType)
		b = appendBytes(b, a.Value)
	}
	return append(b, m.body...)
}

func appendBytes[T string | []byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

var errDamaged = errors.New("stored message is damaged")

// decodeMessage reads what encode wrote. Anything else is errDamaged.
func decodeMessage(b []byte) (*message, error) {
	const fixed = 2 + 16 + 8
	if len(b) < fixed || b[0] != messageVersion || b[1] > byte(unsubscribeConfirmation) {
		return nil, errDamaged
	}
	m := &message{kind: kind(b[1])}
	copy(m.id[:], b[2:18])
	m.publishedAt = time.UnixMilli(int64(binary.BigEndian.Uint64(b[18:fixed]))).UTC() //nolint:gosec // written from an int64
	r := reader{rest: b[fixed:]}
	m.seq = r.uvarint()
	for _, s := range [...]*string{&m.subject, &m.structure, &m.group, &m.dedup, &m.trace, &m.sender} {
		*s = string(r.bytes())
	}
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		return nil, errDamaged
	}
	for range n {
		m.attrs = append(m.attrs, queue.Attribute{Name: string(r.bytes()), DataType: string(r.bytes()), Value: r.bytes()})
	}
	if r.bad {
		return nil, errDamaged
	}
	m.body = string(r.rest)
	return m, nil
}

type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		r.bad, r.rest = true, nil
		return nil
	}
	v := r.rest[:n:n]
	r.rest = r.rest[n:]
	return v
}
