package queue

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/wire"
)

// outgoing is a message of a FIFO queue on its way into the stream.
type outgoing struct {
	i      int // in the call
	m      stored
	parts  parts
	filter string // covers the records that it may be a duplicate of
	last   uint64 // the last of them, after which its window has ended
}

// send stores messages. Those of one group go one after the other, in the order
// given, and none after one that failed: what is sent again must not come behind
// its successors. Nor does one overtake an earlier one that it may be a duplicate
// of. The rest goes side by side.
func (f *fifo) send(ctx context.Context, w *link, msgs []Send, out []SendResult) {
	r, now := f.q.record.Load(), time.Now()
	var left []outgoing
	for i, m := range msgs {
		if err := f.check(r, &m); err != nil {
			out[i].Err = err
			continue
		}
		s := newStored(m, now)
		o := outgoing{i: i, m: s, parts: parts{hashOf(m.DedupID), hashOf(m.GroupID), s.id}}
		o.filter = r.sameDedup(o.parts.dedup, o.parts.group)
		left = append(left, o)
	}
	failed := map[hash]error{}
	for len(left) > 0 {
		var wave, later []outgoing
		groups, filters := map[hash]bool{}, map[string]bool{}
		for _, o := range left {
			switch err := failed[o.parts.group]; {
			case err != nil:
				out[o.i].Err = err
			case groups[o.parts.group] || filters[o.filter]:
				later = append(later, o)
			default:
				wave = append(wave, o)
			}
			groups[o.parts.group], filters[o.filter] = true, true
		}
		f.store(ctx, w, slices.Clone(wave), out)
		for _, o := range wave {
			if err := out[o.i].Err; err != nil {
				failed[o.parts.group] = err
			}
		}
		left = later
	}
}

// check refuses what a FIFO queue does not take, and fills in the deduplication id.
func (f *fifo) check(r *record, m *Send) error {
	switch limit := r.Settings.int(attrMaxSize); {
	case int64(m.size()) > limit:
		return tooLong(limit)
	case m.GroupID == "" && !m.NoGroup:
		return invalid("MissingParameter", "MessageGroupId", "The request must contain the parameter MessageGroupId.")
	case m.Delay != nil && *m.Delay > 0:
		return invalid("InvalidParameterValue", "DelaySeconds",
			fmt.Sprintf("Value %d for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for this queue type.", *m.Delay/time.Second))
	case m.DedupID == "" && r.Settings[attrContent] != "true":
		return invalid("InvalidParameterValue", "MessageDeduplicationId",
			"The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")
	case m.DedupID == "":
		sum := sha256.Sum256([]byte(m.Body))
		m.DedupID = hex.EncodeToString(sum[:])
	}
	return nil
}

// store writes messages of different groups, each unless one with the same
// deduplication id was accepted less than five minutes ago: then the answer is
// that one's. A message is its own record of that, so a write that may or may not
// have happened is simply repeated.
func (f *fifo) store(ctx context.Context, w *link, wave []outgoing, out []SendResult) {
	r := f.q.record.Load()
	unanswered, until := 0, time.Now().Add(f.q.svc.patience.Total)
	for races := 0; len(wave) > 0; {
		reqs := make([]request, len(wave))
		for i, o := range wave {
			reqs[i] = request{
				Subject: r.fifoSubject(o.parts.dedup, o.parts.group, o.parts.id),
				Header:  compareAndSet(o.filter, o.last), Data: o.m.encode(), Key: o.filter,
			}
		}
		var again []outgoing
		silent, refused := false, false
		for i, a := range f.q.write(ctx, w, reqs) {
			o := wave[i]
			seq, err := f.q.written("queue.Send", a)
			out[o.i].Err = err
			switch {
			case err == nil:
				f.accepted(&out[o.i], o.m.id.String(), seq)
			case errors.Is(err, errRefused):
				refused = true
				again = append(again, o)
			case a.Err != nil && errors.Is(a.Err, nats.ErrTimeout) || errors.Is(err, wire.ErrLost) || unknown(err) && f.q.svc.patient():
				silent = true
				again = append(again, o)
			}
		}
		over := false
		if silent {
			over = unanswered >= 3 && !f.q.svc.pauseUntil(ctx, min(firstPause<<min(unanswered, 8), maxPause), until)
			unanswered++
		}
		if refused {
			races++
		}
		if ctx.Err() != nil || over || races > maxRaces {
			for _, o := range again {
				if errors.Is(out[o.i].Err, errRefused) {
					out[o.i].Err = unavailable("queue.Send", f.q.name, errors.New("too many others send the same"))
				}
			}
			return
		}
		var stale bool
		if wave, stale = f.resolve(ctx, w, again, out); stale && refused {
			select { // the replica that was asked is behind, or another write is under way
			case <-time.After(min(time.Millisecond<<min(races, 8), settle)):
			case <-ctx.Done():
			}
		}
	}
}

func (f *fifo) accepted(out *SendResult, id string, seq uint64) {
	out.Sent, out.Err = Sent{MessageID: id, SequenceNumber: sequenceNumber(seq)}, nil
	f.noteSent(seq)
}

// resolve looks why messages were refused. Duplicates are answered; what remains
// is to be sent again. stale says that for some nothing explains it.
func (f *fifo) resolve(ctx context.Context, w *link, refused []outgoing, out []SendResult) (again []outgoing, stale bool) {
	for _, o := range refused {
		records, err := f.q.same(ctx, w, o.filter)
		if err != nil && f.q.svc.patient() {
			again = append(again, o) // the write tells
			continue
		}
		if err != nil {
			out[o.i].Err = err
			continue
		}
		first, last := original(records, time.Now())
		if first != nil {
			f.accepted(&out[o.i], first.id, first.seq)
			continue
		}
		stale = stale || o.last == last
		o.last = last
		again = append(again, o)
	}
	return again, stale
}

// accepted is a message that was accepted before, whether it is still there or not.
type acceptedBefore struct {
	id   string
	seq  uint64
	sent time.Time
}

// original returns the message among the records whose deduplication window is
// open at now, if there is one, and the last sequence of all records.
func original(records []raw, now time.Time) (first *acceptedBefore, last uint64) {
	for _, rec := range records {
		last = max(last, rec.seq)
		_, p, ok := parseSubject(rec.subject)
		if !ok || rec.header.Get(headIntent) != "" {
			continue
		}
		b := acceptedBefore{id: p.id.String(), seq: rec.seq, sent: rec.sent}
		if gone := rec.header.Get(headGone); gone != "" {
			seq, sent, ok := parseGone(gone)
			if !ok {
				continue
			}
			b.seq, b.sent = seq, time.Unix(0, sent)
		}
		if now.Sub(b.sent) < dedupWindow && (first == nil || b.seq < first.seq) {
			first = &b
		}
	}
	return first, last
}

// sequenceNumber is a stream sequence as SQS shows it: 20 digits.
func sequenceNumber(seq uint64) string { return fmt.Sprintf("%020d", seq) }

// FIFO reports whether the queue is a FIFO queue.
func (q *Queue) FIFO() bool { return q.fifo != nil }

// CheckGroup returns the error of a message without a group or without a
// deduplication id that a FIFO queue needs; SendMessageBatch fails as a whole then.
func (q *Queue) CheckGroup(m Send) error {
	if q.fifo == nil {
		return nil
	}
	s := Send{GroupID: m.GroupID, DedupID: m.DedupID, NoGroup: m.NoGroup}
	err := q.fifo.check(q.record.Load(), &s)
	if e, ok := errors.AsType[*mnq.Error](err); ok {
		whole := *e
		whole.Code = "InvalidParameterValue"
		return &whole
	}
	return err
}
