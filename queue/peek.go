package queue

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Looking at messages reads them from the stream by their sequence. No consumer has
// a part in it, so it changes nothing: no receive count, no visibility, no order.

const (
	// MaxPeek is how many messages one [Queue.Peek] returns at most.
	MaxPeek = 100
	// MaxPeekScan is how many records one [Queue.Peek] looks at at most.
	MaxPeekScan = 10_000

	peekBytes    = 4 << 20 // of messages in one answer; the last one may go beyond
	peekBatch    = 256     // records asked for at once
	peekMaxBytes = 1 << 20 // of one batch
	peekRequests = 100     // batches of one call
	peekReach    = 1 << 20 // sequences that one step towards older messages spans
)

// Peek says what to look at.
type Peek struct {
	Newest bool      // from new to old; else from old to new
	From   uint64    // the sequence to begin at, itself included; 0: the end that Newest names
	At     time.Time // begin at the first message stored at or after it, with Newest the last one before it; zero: no matter
	Max    int       // messages, 1 to MaxPeek
	Scan   int       // records to look at, 1 to MaxPeekScan; what matches may be rare
	Match  Match
}

// Match chooses messages. The zero value matches all.
type Match struct {
	Text      string // is part of the body, or of an attribute's text value
	Attribute string // there is a message attribute of that name
	Value     string // and this is its value; "": any
}

// PeekState is what a message waits for.
type PeekState string

// The states of a message that is looked at.
const (
	PeekVisible  PeekState = "visible"   // can be received; in a FIFO queue perhaps after others of its group
	PeekInFlight PeekState = "in_flight" // was received and is hidden
	PeekDelayed  PeekState = "delayed"   // cannot be received yet
	PeekUnknown  PeekState = "unknown"   // was received; who hid it is not there to be asked for how long
)

// Peeked is a message that was looked at. Its Handle is empty, and its ReceiveCount
// -1 when nobody knows any more how often it was received.
type Peeked struct {
	Message

	Sequence uint64    // its place in the queue; changes when a delay ends
	StoredAt time.Time // when it got that place
	State    PeekState
	Until    time.Time // in flight and delayed: when that ends, as far as it is known
}

// PeekResult is the answer to a [Peek].
type PeekResult struct {
	Messages []Peeked // in the order asked for
	Scanned  int      // records looked at
	Next     uint64   // From of the call that goes on; 0: there is nothing more
}

// Peek returns messages without receiving them: nothing changes. What it returns may be
// received or deleted by others at the same time, and with replicas be old by a
// moment. Errors: Invalid (InvalidParameterValue), NotFound, Unavailable.
func (q *Queue) Peek(ctx context.Context, in Peek) (PeekResult, error) {
	switch {
	case in.Max < 1 || in.Max > MaxPeek:
		return PeekResult{}, invalid("InvalidParameterValue", "Max", "Must be between 1 and 100.")
	case in.Scan < 1 || in.Scan > MaxPeekScan:
		return PeekResult{}, invalid("InvalidParameterValue", "Scan", "Must be between 1 and 10000.")
	}
	if err := q.finishCreate(ctx); err != nil {
		return PeekResult{}, err
	}
	w, err := q.svc.connection(ctx, q.space)
	if err != nil {
		return PeekResult{}, err
	}
	p := &peeker{q: q, w: w, r: q.record.Load(), in: in, now: time.Now()}
	st, err := w.js.Stream(ctx, p.r.stream())
	if err != nil {
		return PeekResult{}, q.streamError("queue.Peek", err)
	}
	p.first, p.last = st.CachedInfo().State.FirstSeq, st.CachedInfo().State.LastSeq
	if st.CachedInfo().State.Msgs == 0 {
		return PeekResult{}, nil
	}
	if err := p.begin(ctx); err != nil {
		return PeekResult{}, err
	}
	if in.Newest {
		err = p.back(ctx)
	} else {
		err = p.forth(ctx)
	}
	if err == nil {
		err = p.complete(ctx)
	}
	if err != nil {
		return PeekResult{}, err
	}
	return p.out, nil
}

// peeker is one Peek at work.
type peeker struct {
	q           *Queue
	w           *link
	r           *record
	in          Peek
	now         time.Time
	first, last uint64 // of the stream when it began
	at          uint64 // where it begins
	requests    int
	bytes       int
	out         PeekResult
	found       []peekFound // what out.Messages was made of
	purged      uint64      // of a FIFO queue: everything up to it is gone
}

// peekFound is what the stream says about a message.
type peekFound struct {
	track track
	group hash // of a FIFO queue
}

// begin finds the sequence to begin at.
func (p *peeker) begin(ctx context.Context) error {
	if p.q.fifo != nil {
		a := p.w.Exchange(ctx, []request{p.q.getRequest(`{"last_by_subj":"` + p.r.purgeMark() + `"}`)}, answerTimeout)[0]
		mark, err := p.q.got("queue.Peek", a)
		if err != nil {
			return err
		}
		if mark != nil {
			p.purged, _, _ = parseGone(mark.header.Get(headPurged) + " 0")
		}
	}
	switch {
	case p.in.From > 0:
		p.at = p.in.From
	case !p.in.At.IsZero():
		recs, _, err := p.read(ctx, readFrom{time: p.in.At, n: 1})
		if err != nil {
			return err
		}
		p.at = p.last + 1
		if len(recs) > 0 {
			p.at = recs[0].seq
		}
		if p.in.Newest {
			p.at--
		}
	case p.in.Newest:
		p.at = p.last
	default:
		p.at = p.first
	}
	return nil
}

// forth looks from old to new.
func (p *peeker) forth(ctx context.Context) error {
	next := max(p.at, p.first)
	for next <= p.last && p.goOn() {
		recs, _, err := p.read(ctx, readFrom{seq: next, n: p.batch()})
		if err != nil {
			return err
		}
		if len(recs) == 0 {
			next = p.last + 1
		}
		for _, rec := range recs {
			if !p.goOn() {
				break
			}
			p.look(rec)
			next = rec.seq + 1
		}
	}
	if next <= p.last {
		p.out.Next = next
	}
	return nil
}

// back looks from new to old: at what lies in a span of sequences, and then in the
// span before it. Spans grow where little is left and shrink where too much is.
func (p *peeker) back(ctx context.Context) error {
	span := uint64(p.batch()) //nolint:gosec // small and positive
	end := min(p.at, p.last) + 1
	for end > p.first && p.goOn() {
		begin := max(p.first, end-min(span, end))
		recs, more, err := p.read(ctx, readFrom{seq: begin, n: peekBatch})
		if err != nil {
			return err
		}
		inside := slices.IndexFunc(recs, func(r raw) bool { return r.seq >= end })
		if inside < 0 {
			if inside = len(recs); more && inside > 0 && recs[inside-1].seq+1 < end && span > 1 {
				span = max(1, span/4)
				continue // there is more inside than one batch
			}
		}
		stopped := false
		for _, rec := range slices.Backward(recs[:inside]) {
			if stopped = !p.goOn(); stopped {
				break
			}
			p.look(rec)
			end = rec.seq
		}
		if stopped {
			break
		}
		end = begin
		if uint64(inside) < span/4+1 {
			span = min(span*4, peekReach)
		}
	}
	if end > p.first {
		p.out.Next = end - 1
	}
	return nil
}

// goOn reports whether there is room for another record.
func (p *peeker) goOn() bool {
	return len(p.out.Messages) < p.in.Max && p.out.Scanned < p.in.Scan && p.bytes < peekBytes && p.requests < peekRequests
}

// batch is how many records to ask for: no more than are needed when all match.
func (p *peeker) batch() int {
	n := min(peekBatch, p.in.Scan-p.out.Scanned)
	if p.in.Match == (Match{}) && p.q.fifo == nil {
		n = min(n, p.in.Max-len(p.out.Messages))
	}
	return n
}

// readFrom says which records to read: n from a sequence or a time on.
type readFrom struct {
	seq  uint64
	time time.Time
	n    int
}

// read returns records in their order, fewer than asked for when they are large.
// more says that there are others behind them.
func (p *peeker) read(ctx context.Context, from readFrom) (recs []raw, more bool, err error) {
	p.requests++
	body, err := json.Marshal(struct {
		Seq   uint64     `json:"seq,omitempty"`
		Time  *time.Time `json:"start_time,omitempty"`
		Batch int        `json:"batch"`
		Bytes int        `json:"max_bytes"`
	}{from.seq, notZero(from.time), from.n, peekMaxBytes})
	if err != nil {
		return nil, false, err
	}
	err = p.w.Collect(ctx, request{Subject: "$JS.API.DIRECT.GET.q_" + p.q.id, Data: body}, func(m *nats.Msg) (bool, error) {
		switch status := m.Header.Get("Status"); status {
		case "":
			r, err := directRecord(m)
			if err == nil {
				recs, more = append(recs, *r), m.Header.Get("Nats-Num-Pending") != "0"
			}
			return false, err
		case "204", "404":
			return true, nil
		default:
			return true, errors.New(status + " " + m.Header.Get("Description"))
		}
	})
	if err != nil {
		return nil, false, p.q.streamError("queue.Peek", err)
	}
	return recs, more, nil
}

func notZero(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return new(t.UTC())
}

// look takes a record into the answer if it is a message that matches.
func (p *peeker) look(rec raw) {
	p.out.Scanned++
	m, found, ok := p.open(rec)
	if !ok || !p.in.Match.of(m.Message) {
		return
	}
	p.bytes += len(rec.data)
	p.out.Messages, p.found = append(p.out.Messages, m), append(p.found, found)
}

// open reads a record as a message; not ok when it is none, or gone.
func (p *peeker) open(rec raw) (m Peeked, found peekFound, ok bool) {
	if p.q.fifo != nil {
		kind, parts, ok := parseSubject(rec.subject)
		if !ok || kind != 'f' || rec.header.Get(headGone) != "" || rec.header.Get(headIntent) != "" || rec.seq <= p.purged ||
			p.q.fifo.rules().expired(waiting{seq: rec.seq, sent: rec.sent.UnixNano()}, p.now) {
			return m, found, false
		}
		found.group = parts.group
	}
	s, err := decodeStored(rec.data)
	if err != nil {
		return m, found, false
	}
	m = Peeked{Message: s.message(), Sequence: rec.seq, StoredAt: rec.sent, State: PeekVisible}
	m.ReceiveCount, m.FirstReceived = int(s.received), s.first //nolint:gosec // a count of receives
	if p.q.fifo != nil {
		m.SequenceNumber = sequenceNumber(rec.seq)
		return m, found, true
	}
	switch rest := strings.TrimPrefix(rec.subject, "q."+p.q.id+"."); rest[:min(2, len(rest))] {
	case "d.":
		m.State = PeekDelayed
		at, _ := strings.CutPrefix(rec.header.Get("Nats-Schedule"), "@at ")
		m.Until, _ = time.Parse(time.RFC3339Nano, at) // zero: not known
	case "n.":
		found.track = trackCrowd
	}
	return m, found, true
}

// of reports whether the message matches.
func (c Match) of(m Message) bool {
	if c.Attribute != "" && !slices.ContainsFunc(m.Attributes, func(a Attribute) bool {
		return a.Name == c.Attribute && (c.Value == "" || string(a.Value) == c.Value)
	}) {
		return false
	}
	return c.Text == "" || strings.Contains(m.Body, c.Text) || slices.ContainsFunc(m.Attributes, func(a Attribute) bool {
		return !a.Binary() && bytes.Contains(a.Value, []byte(c.Text))
	})
}

// complete says of each message whether it was received.
func (p *peeker) complete(ctx context.Context) error {
	if len(p.out.Messages) == 0 {
		return nil
	}
	if p.q.fifo != nil {
		return p.completeFIFO(ctx)
	}
	delivered, err := p.delivered(ctx)
	if err != nil {
		return err
	}
	var received []uint64
	for i, m := range p.out.Messages {
		if m.State == PeekVisible && m.Sequence <= delivered[p.found[i].track] {
			received = append(received, m.Sequence)
		}
	}
	known := p.q.whoKnows(ctx, received, p.now)
	for i := range p.out.Messages {
		m := &p.out.Messages[i]
		if slices.Contains(received, m.Sequence) {
			m.wasReceived(known.of[m.Sequence], known.hidesMore, p.now)
		}
	}
	return nil
}

// delivered returns the last sequence that each track's consumer has handed out.
func (p *peeker) delivered(ctx context.Context) (last [2]uint64, err error) {
	for l := trackReady; l <= trackCrowd && (l == trackReady || p.r.Crowd); l++ {
		c, err := p.w.js.Consumer(ctx, p.r.stream(), l.consumer())
		if errors.Is(err, jetstream.ErrConsumerNotFound) {
			continue // the queue was deleted, or restored without it
		}
		if err != nil {
			return last, p.q.streamError("queue.Peek", err)
		}
		last[l] = c.CachedInfo().Delivered.Stream
	}
	return last, nil
}

// wasReceived takes over what is known of a message that has been delivered. When
// that is nothing, somebody who has ended may have hidden it still.
func (m *Peeked) wasReceived(k receivedMessage, hidesMore bool, now time.Time) {
	before, until := m.ReceiveCount, time.UnixMilli(k.Until)
	switch {
	case k.Count == 0 && until.After(now):
		m.State, m.Until, m.ReceiveCount = PeekInFlight, until, -1
		return
	case k.Count == 0 && hidesMore:
		m.State, m.ReceiveCount = PeekUnknown, -1
		return
	case k.Count == 0:
		m.ReceiveCount = -1
		return
	}
	m.ReceiveCount = before + k.Count
	if m.FirstReceived.IsZero() && k.First > 0 {
		m.FirstReceived = time.UnixMilli(k.First)
	}
	if until.After(now) {
		m.State, m.Until = PeekInFlight, until
	}
}

// completeFIFO reads the leases of the messages' groups.
func (p *peeker) completeFIFO(ctx context.Context) error {
	var groups []hash
	for _, f := range p.found {
		if !slices.Contains(groups, f.group) {
			groups = append(groups, f.group)
		}
	}
	leases, err := p.q.fifo.refresh(ctx, p.w, groups)
	if err != nil {
		return err
	}
	rules := p.q.fifo.rules()
	for i := range p.out.Messages {
		m := &p.out.Messages[i]
		c, claimed := leases[p.found[i].group].find(m.Sequence)
		if claimed {
			m.ReceiveCount += int(c.count)
			if m.FirstReceived.IsZero() {
				m.FirstReceived = c.first
			}
		}
		until := rules.visibleAt(waiting{seq: m.Sequence, sent: m.StoredAt.UnixNano()}, leases[p.found[i].group])
		if !until.After(p.now) {
			continue
		}
		m.State, m.Until = PeekDelayed, until
		if claimed {
			m.State = PeekInFlight
		}
	}
	return nil
}

// PeekOne returns the message with that sequence, if it is there.
func (q *Queue) PeekOne(ctx context.Context, seq uint64) (Peeked, error) {
	r, err := q.Peek(ctx, Peek{From: seq, Max: 1, Scan: 1})
	if err == nil && (len(r.Messages) == 0 || r.Messages[0].Sequence != seq) {
		err = noResource("There is no message with the sequence " + strconv.FormatUint(seq, 10) + ".")
	}
	if err != nil {
		return Peeked{}, err
	}
	return r.Messages[0], nil
}
