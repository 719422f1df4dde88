package queue

import (
	"crypto/md5" //nolint:gosec // MD5 is what the protocol asks for
	"encoding/binary"
	"encoding/hex"
	"errors"
	"time"

	"github.com/google/uuid"
)

// Attribute is a message attribute. For the types Binary and Binary.* the value
// is raw bytes, for all others UTF-8 text.
type Attribute struct {
	Name     string
	DataType string // String, Number or Binary, with an optional .label
	Value    []byte
}

// Binary reports whether the value is raw bytes.
func (a Attribute) Binary() bool { return len(a.DataType) >= 6 && a.DataType[:6] == "Binary" }

// Send is one message to send. Body and attributes have been validated by the
// front door (characters, names, types); size and quota are checked here.
type Send struct {
	Body        string
	Attributes  []Attribute    // sorted by name
	TraceHeader string         // system attribute AWSTraceHeader, "" when absent
	GroupID     string         // MessageGroupId
	DedupID     string         // MessageDeduplicationId
	Delay       *time.Duration // nil: the queue's DelaySeconds
	SenderID    string
	Once        string         // names the message to a standard queue: a second one of that name within a minute is not stored
	BodyMD5     [md5.Size]byte // of Body, if the sender has it already
	NoGroup     bool           // lets a FIFO queue take it without a GroupID; all such messages form one group
}

// size is what counts against MaximumMessageSize: the body and each attribute's
// name, type and value (SQS developer guide, message quotas).
func (s Send) size() int {
	n := len(s.Body)
	for _, a := range s.Attributes {
		n += len(a.Name) + len(a.DataType) + len(a.Value)
	}
	return n
}

// Message is one received message.
type Message struct {
	ID            string // UUID
	Handle        string // receipt handle, opaque, new for every receive
	Body          string
	BodyMD5       string // hex
	Attributes    []Attribute
	TraceHeader   string
	GroupID       string
	DedupID       string
	SenderID      string
	SentAt        time.Time
	FirstReceived time.Time
	ReceiveCount  int

	SequenceNumber   string // FIFO only
	DeadLetterSource string // ARN of the queue it was dead-lettered from
}

// stored is a message as it lies in the stream.
type stored struct {
	id      uuid.UUID
	sentAt  time.Time // milliseconds
	bodyMD5 [md5.Size]byte
	sender  string
	group   string
	dedup   string
	trace   string
	source  string // ARN of the queue it was dead-lettered from
	attrs   []Attribute
	body    string

	// Of a message that was dead-lettered: what happened to it before.
	received uint64    // how often it had been received
	first    time.Time // when it was first received (milliseconds)
}

func newStored(s Send, now time.Time) stored {
	if s.BodyMD5 == [md5.Size]byte{} {
		s.BodyMD5 = md5.Sum([]byte(s.Body)) //nolint:gosec // as above
	}
	return stored{
		id: uuid.New(), sentAt: now, bodyMD5: s.BodyMD5,
		sender: s.SenderID, group: s.GroupID, dedup: s.DedupID, trace: s.TraceHeader,
		attrs: s.Attributes, body: s.Body,
	}
}

// A message has version 2 when it has been received in another queue before;
// then the fixed part is followed by count(uvarint) first-receive-ms(8).
const (
	storedVersion   = 1
	storedWithPast  = 2
	storedPastBytes = binary.MaxVarintLen64 + 8
)

// encode writes the message as one binary record. Nothing of it goes into NATS
// headers, so that nothing a client sends can act as one.
//
//	version(1) id(16) sent-ms(8) md5(16) sender group dedup trace source
//	count { name type value }* body…
//
// where each string is a uvarint length and its bytes, and body is the rest.
func (m stored) encode() []byte {
	n := 1 + 16 + 8 + md5.Size + storedPastBytes + 6*binary.MaxVarintLen32 + len(m.sender) + len(m.group) + len(m.dedup) + len(m.trace) + len(m.source) + len(m.body)
	for _, a := range m.attrs {
		n += 3*binary.MaxVarintLen32 + len(a.Name) + len(a.DataType) + len(a.Value)
	}
	b := make([]byte, 0, n)
	version := byte(storedVersion)
	if m.received > 0 {
		version = storedWithPast
	}
	b = append(b, version)
	b = append(b, m.id[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(m.sentAt.UnixMilli()))
	b = append(b, m.bodyMD5[:]...)
	if version == storedWithPast {
		b = binary.AppendUvarint(b, m.received)
		first := int64(0) // not known
		if !m.first.IsZero() {
			first = m.first.UnixMilli()
		}
		b = binary.BigEndian.AppendUint64(b, uint64(first))
	}
	for _, s := range [...]string{m.sender, m.group, m.dedup, m.trace, m.source} {
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

// decodeStored reads what encode wrote. Anything else is errDamaged.
func decodeStored(b []byte) (stored, error) {
	const fixed = 1 + 16 + 8 + md5.Size
	if len(b) < fixed || b[0] != storedVersion && b[0] != storedWithPast {
		return stored{}, errDamaged
	}
	var m stored
	copy(m.id[:], b[1:17])
	m.sentAt = time.UnixMilli(int64(binary.BigEndian.Uint64(b[17:25]))) //nolint:gosec // written from an int64
	copy(m.bodyMD5[:], b[25:fixed])
	r := reader{rest: b[fixed:]}
	if b[0] == storedWithPast {
		m.received = r.uvarint()
		if first := r.uint64(); first > 0 {
			m.first = time.UnixMilli(int64(first)) //nolint:gosec // written from an int64
		}
	}
	for _, s := range [...]*string{&m.sender, &m.group, &m.dedup, &m.trace, &m.source} {
		*s = string(r.bytes())
	}
	n := r.uvarint()
	if n > uint64(len(r.rest)) {
		return stored{}, errDamaged
	}
	for range n {
		m.attrs = append(m.attrs, Attribute{Name: string(r.bytes()), DataType: string(r.bytes()), Value: r.bytes()})
	}
	if r.bad {
		return stored{}, errDamaged
	}
	m.body = string(r.rest)
	return m, nil
}

// message turns a stored message into what a receiver gets, but for the handle
// and the counts.
func (m stored) message() Message {
	return Message{
		ID: m.id.String(), Body: m.body, BodyMD5: hex.EncodeToString(m.bodyMD5[:]), Attributes: m.attrs,
		TraceHeader: m.trace, GroupID: m.group, DedupID: m.dedup, SenderID: m.sender, SentAt: m.sentAt,
		DeadLetterSource: m.source,
	}
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

func (r *reader) take(n int) []byte {
	if len(r.rest) < n {
		r.bad, r.rest = true, nil
		return make([]byte, n)
	}
	v := r.rest[:n:n]
	r.rest = r.rest[n:]
	return v
}

func (r *reader) byte() byte     { return r.take(1)[0] }
func (r *reader) uint32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }
func (r *reader) uint64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }

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
