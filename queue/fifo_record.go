package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq/internal/wire"
)

// dedupWindow is how long after a message was accepted another one with the same
// deduplication id is taken for the same.
const dedupWindow = 5 * time.Minute

// tombstoneLinger is the shortest life of a tombstone: long enough for other
// processes to see it.
const tombstoneLinger = 10 * time.Second

// What lies in the stream of a FIFO queue besides message bodies is in headers,
// because the processes' indexes read headers only. Nothing of it comes from clients.
const (
	headGone   = "Mnq-Gone"   // of a tombstone: sequence and time (Unix ns) of the message that was there
	headLease  = "Mnq-Lease"  // of a lease: its claims
	headPurged = "Mnq-Purged" // of the purge mark: everything up to this sequence is gone
	headFrom   = "Mnq-From"   // of a message that was moved here: where it lay before
	headMoved  = "Mnq-Moved"  // of a tombstone: the message is in another queue
	headIntent = "Mnq-Intent" // of a record that only holds the place of a message which is about to be moved here
)

// fifoStreamConfig is one stream for messages, tombstones and leases. A message
// must not be dropped before its deduplication window ends, so a retention below
// that is kept by the processes alone.
func (r record) fifoStreamConfig(replicas int) jetstream.StreamConfig {
	age := max(r.Settings.seconds(attrRetention), dedupWindow+tombstoneLinger)
	return jetstream.StreamConfig{
		Name: r.stream(), Subjects: []string{r.subjects()},
		Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage, Replicas: replicas,
		MaxMsgs: -1, MaxBytes: -1, // the account's quota refuses instead
		MaxMsgsPerSubject: 1, // a tombstone takes the place of its message, a lease that of the one before
		MaxAge:            age, Duplicates: time.Minute,
		AllowDirect: true, AllowAtomicPublish: true, AllowMsgTTL: true,
	}
}

// The subjects of a FIFO queue. The deduplication id comes first, so that the
// server finds all records of one by a prefix.
func (r record) fifoSubject(dedup, group hash, id uuid.UUID) string {
	return "q." + r.ID + ".f." + dedup.String() + "." + group.String() + "." + hash(id).String()
}

func (r record) fifoMessages() string           { return "q." + r.ID + ".f.>" }
func (r record) leases() string                 { return "q." + r.ID + ".l.>" }
func (r record) leaseSubject(group hash) string { return "q." + r.ID + ".l." + group.String() }
func (r record) purgeMark() string              { return "q." + r.ID + ".p" }

// sameDedup covers the records that a message with this deduplication id may
// be a duplicate of.
func (r record) sameDedup(dedup, group hash) string {
	if r.Settings[attrScope] == scopeGroup {
		return "q." + r.ID + ".f." + dedup.String() + "." + group.String() + ".>"
	}
	return "q." + r.ID + ".f." + dedup.String() + ".>"
}

// parts are the tokens of a message's subject.
type parts struct {
	dedup, group hash
	id           uuid.UUID
}

// parseSubject reads what fifoSubject and leaseSubject write. For a lease only
// the group is set.
func parseSubject(subject string) (kind byte, p parts, ok bool) {
	t := strings.Split(subject, ".")
	if len(t) < 3 || len(t[2]) != 1 {
		return 0, p, false
	}
	kind = t[2][0]
	switch {
	case kind == 'p' && len(t) == 3:
		return kind, p, true
	case kind == 'l' && len(t) == 4:
		p.group, ok = parseHash(t[3])
	case kind == 'f' && len(t) == 6:
		var id hash
		var a, b, c bool
		p.dedup, a = parseHash(t[3])
		p.group, b = parseHash(t[4])
		id, c = parseHash(t[5])
		p.id, ok = uuid.UUID(id), a && b && c
	}
	return kind, p, ok
}

// compareAndSet are the headers of a write that is refused unless the last record
// on subject has that sequence; 0 means that there is none.
func compareAndSet(subject string, seq uint64) nats.Header {
	return nats.Header{
		"Nats-Expected-Last-Subject-Sequence":         {strconv.FormatUint(seq, 10)},
		"Nats-Expected-Last-Subject-Sequence-Subject": {subject},
	}
}

// leaseWrite replaces the group's lease l.seq by l.
func (r record) leaseWrite(group hash, l lease) request {
	subject := r.leaseSubject(group)
	h := compareAndSet(subject, l.seq)
	h[headLease] = []string{l.encode()}
	return request{Subject: subject, Header: h}
}

// tombstone puts a record of its deduplication id in the message's place.
func (r record) tombstone(m fifoReceipt, now time.Time) request {
	left := max(m.sent.Add(dedupWindow).Sub(now), tombstoneLinger)
	return request{Subject: r.fifoSubject(m.dedup, m.group, m.id), Header: nats.Header{
		"Nats-TTL": {strconv.Itoa(int((left + time.Second - 1) / time.Second))},
		headGone:   {goneValue(m.seq, m.sent)},
	}}
}

func goneValue(seq uint64, sent time.Time) string {
	return strconv.FormatUint(seq, 10) + " " + strconv.FormatInt(sent.UnixNano(), 10)
}

func parseGone(s string) (seq uint64, sent int64, ok bool) {
	a, b, _ := strings.Cut(s, " ")
	seq, err := strconv.ParseUint(a, 10, 64)
	sent, err2 := strconv.ParseInt(b, 10, 64)
	return seq, sent, err == nil && err2 == nil
}

// errRefused is a compare-and-set write that came too late.
var errRefused = wire.ErrSequence

// written reads the answer to a publish: the sequence, errRefused, or our error.
func (q *Queue) written(op string, a answer) (uint64, error) {
	seq, _, err := a.Stored()
	switch {
	case err == nil:
		return seq, nil
	case errors.Is(err, errRefused):
		return 0, errRefused
	case wire.OverQuota(err):
		return 0, storageFull(op, q.name, err)
	case a.Err == nil && errors.Is(err, nats.ErrNoResponders):
		return 0, q.streamError(op, err)
	default:
		return 0, unavailable(op, q.name, err)
	}
}

// raw is a record as it lies in the stream.
type raw struct {
	subject string
	seq     uint64
	sent    time.Time
	header  nats.Header
	data    []byte
}

// getRequest asks the stream's leader for one record. Answers of other replicas
// may be old by much, those of a leader that has just lost its place by little.
func (q *Queue) getRequest(body string) request { return q.getFrom(q.id, body) }

func (q *Queue) getFrom(id, body string) request {
	if q.svc.cfg.Replicas > 1 {
		return request{Subject: "$JS.API.STREAM.MSG.GET.q_" + id, Data: []byte(body)}
	}
	return request{Subject: "$JS.API.DIRECT.GET.q_" + id, Data: []byte(body)}
}

// got reads the answer to a getRequest; nil means that there is no such record.
func (q *Queue) got(op string, a answer) (*raw, error) {
	switch {
	case a.Err != nil:
		return nil, unavailable(op, q.name, a.Err)
	case wire.NoResponders(a.Msg):
		return nil, q.streamError(op, nats.ErrNoResponders)
	case q.svc.cfg.Replicas > 1:
		return q.gotFromLeader(op, a.Msg.Data)
	}
	switch status := a.Msg.Header.Get("Status"); status {
	case "":
		return directRecord(a.Msg)
	case "404":
		return nil, nil //nolint:nilnil // none is an answer
	default:
		return nil, unavailable(op, q.name, errors.New(status+" "+a.Msg.Header.Get("Description")))
	}
}

func (q *Queue) gotFromLeader(op string, data []byte) (*raw, error) {
	const noMessage = 10037
	var r struct {
		Message *struct {
			Subject string    `json:"subject"`
			Seq     uint64    `json:"seq"`
			Header  []byte    `json:"hdrs"`
			Data    []byte    `json:"data"`
			Time    time.Time `json:"time"`
		} `json:"message"`
		Error *struct {
			Code    int    `json:"err_code"`
			Message string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return nil, unavailable(op, q.name, err)
	}
	switch {
	case r.Error != nil && r.Error.Code == noMessage:
		return nil, nil //nolint:nilnil // none is an answer
	case r.Error != nil:
		return nil, unavailable(op, q.name, fmt.Errorf("%s (%d)", r.Error.Message, r.Error.Code))
	case r.Message == nil:
		return nil, unavailable(op, q.name, errors.New("answer without a message"))
	}
	out := &raw{subject: r.Message.Subject, seq: r.Message.Seq, sent: r.Message.Time, data: r.Message.Data}
	if len(r.Message.Header) > 0 {
		h, err := nats.DecodeHeadersMsg(r.Message.Header)
		if err != nil {
			return nil, unavailable(op, q.name, err)
		}
		out.header = h
	}
	return out, nil
}

// place is where a message lies or lay.
type place struct {
	queue   string // incarnation
	subject string // the message's own
	seq     uint64
}

// vanished reports whether the message of that place does not exist any more. Yes
// is certain: an answer that is older than the message does not count. errNoStream
// means that the whole stream is gone.
func (q *Queue) vanished(ctx context.Context, w *link, p place) (bool, error) {
	const op = "queue.find"
	a := w.Exchange(ctx, []request{q.getFrom(p.queue, `{"last_by_subj":"`+p.subject+`"}`)}, answerTimeout)[0]
	if a.Err == nil && !wire.NoResponders(a.Msg) {
		rec, err := q.got(op, a)
		if err != nil || rec != nil && rec.seq >= p.seq {
			return rec != nil && rec.seq > p.seq, err
		}
	}
	// Nothing in its place, or no such stream. Who knows the next sequence tells.
	info, err := w.streamInfo(ctx, p.queue, p.subject)
	switch {
	case err != nil:
		return false, unavailable(op, q.name, err)
	case info.gone:
		return false, errNoStream
	case info.last < p.seq, info.found: // what was found may be the message or the tombstone in its place
		return false, unavailable(op, q.name, errOldAnswer)
	default:
		return true, nil
	}
}

var (
	errOldAnswer = errors.New("the server that answered is behind")
	errNoStream  = errors.New("stream not found")
)

// streamInfo is what a stream's leader knows at one moment.
type streamInfo struct {
	gone  bool   // there is no such stream
	last  uint64 // sequence that was assigned last
	found bool   // there is a record on the subject asked for
}

func (w *link) streamInfo(ctx context.Context, id, subject string) (streamInfo, error) {
	const noStream = 10059
	body, err := json.Marshal(map[string]string{"subjects_filter": subject})
	if err != nil {
		return streamInfo{}, err
	}
	a := w.Exchange(ctx, []request{{Subject: "$JS.API.STREAM.INFO.q_" + id, Data: body}}, answerTimeout)[0]
	switch {
	case a.Err != nil:
		return streamInfo{}, a.Err
	case wire.NoResponders(a.Msg):
		return streamInfo{}, nats.ErrNoResponders
	}
	var r struct {
		State *struct {
			Last     uint64            `json:"last_seq"`
			Subjects map[string]uint64 `json:"subjects"`
		} `json:"state"`
		Error *struct {
			Code    int    `json:"err_code"`
			Message string `json:"description"`
		} `json:"error"`
	}
	switch err := json.Unmarshal(a.Msg.Data, &r); {
	case err != nil:
		return streamInfo{}, err
	case r.Error != nil && r.Error.Code == noStream:
		return streamInfo{gone: true}, nil
	case r.Error != nil:
		return streamInfo{}, fmt.Errorf("%s (%d)", r.Error.Message, r.Error.Code)
	case r.State == nil:
		return streamInfo{}, errors.New("answer without a state")
	}
	return streamInfo{last: r.State.Last, found: r.State.Subjects[subject] > 0}, nil
}

// directRecord reads the answer to a direct get.
func directRecord(m *nats.Msg) (*raw, error) {
	seq, err := strconv.ParseUint(m.Header.Get("Nats-Sequence"), 10, 64)
	if err != nil {
		return nil, err
	}
	sent, err := time.Parse(time.RFC3339Nano, m.Header.Get("Nats-Time-Stamp"))
	if err != nil {
		return nil, err
	}
	return &raw{subject: m.Header.Get("Nats-Subject"), seq: seq, sent: sent, header: m.Header, data: m.Data}, nil
}

// same returns the records of a deduplication id: messages and tombstones. It may
// be old by as much as a replica is behind; compare-and-set decides afterwards.
func (q *Queue) same(ctx context.Context, w *link, filter string) ([]raw, error) {
	const op = "queue.Send"
	body, err := json.Marshal(struct {
		Last []string `json:"multi_last"`
	}{[]string{filter}})
	if err != nil {
		return nil, err
	}
	var out []raw
	var many bool
	err = w.Collect(ctx, request{Subject: "$JS.API.DIRECT.GET.q_" + q.id, Data: body}, func(m *nats.Msg) (done bool, err error) {
		switch status := m.Header.Get("Status"); status {
		case "":
			r, err := directRecord(m)
			if err == nil {
				out = append(out, *r)
			}
			return false, err
		case "204", "404":
			return true, nil
		case "413": // more records than the server hands out at once: one id was sent a thousand times and never received
			many = true
			return true, nil
		default:
			return true, errors.New(status + " " + m.Header.Get("Description"))
		}
	})
	if err == nil && many {
		var last *raw
		a := w.Exchange(ctx, []request{q.getRequest(`{"last_by_subj":` + strconv.Quote(filter) + `}`)}, answerTimeout)
		if last, err = q.got(op, a[0]); last != nil {
			out = []raw{*last}
		}
	}
	if err != nil {
		return nil, unavailable(op, q.name, err)
	}
	return out, nil
}
