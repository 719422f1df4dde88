package topic

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/service"
	"github.com/openmnq/mnq/internal/wire"
)

// dedupWindow is how long after a message was accepted another one with the same
// deduplication id is taken for the same.
const dedupWindow = 5 * time.Minute

// ordered is a message of a FIFO topic on its way into the stream.
type ordered struct {
	i    int // in the call
	m    *message
	key  string // of its deduplication id
	last uint64 // the last record of that id, whose window has ended
}

// dedupKey names a deduplication id in subjects, for the scope that the topic has.
func (r *record) dedupKey(dedup, group string) string {
	if r.Settings[attrScope] == scopeGroup {
		dedup = group + "\x00" + dedup
	}
	sum := sha256.Sum256([]byte(dedup))
	return hex.EncodeToString(sum[:16])
}

// publishOrdered stores messages of a FIFO topic. Those of one group go one after the
// other, in the order given, and none after one that failed: what is sent again must not
// come behind its successors. Nor does one overtake an earlier one that it may be a
// duplicate of. The rest goes side by side.
func (t *Topic) publishOrdered(ctx context.Context, ns mnq.Namespace, w *wire.Wire, msgs []Publication, out []Published) {
	now, st := time.Now(), t.state.Load()
	limit := maxMessage(ns)
	var left []ordered
	for i := range msgs {
		p := &msgs[i]
		if out[i].Err = cmp.Or(p.check(limit, true), t.CheckOrder(ns, *p)); out[i].Err != nil {
			continue
		}
		m := newMessage(p, now)
		m.parent = service.ParentOf(ctx)
		if m.dedup == "" {
			m.dedup = contentID(m.body)
		}
		left = append(left, ordered{i: i, m: m, key: st.dedupKey(m.dedup, m.group)})
	}
	failed := map[string]error{}
	for len(left) > 0 {
		var wave, later []ordered
		groups, keys := map[string]bool{}, map[string]bool{}
		for _, o := range left {
			switch err := failed[o.m.group]; {
			case err != nil:
				out[o.i].Err = err
			case groups[o.m.group] || keys[o.key]:
				later = append(later, o)
			default:
				wave = append(wave, o)
			}
			groups[o.m.group], keys[o.key] = true, true
		}
		t.storeOrdered(ctx, w, wave, out)
		for _, o := range wave {
			if err := out[o.i].Err; err != nil {
				failed[o.m.group] = err
			}
		}
		left = later
	}
}

// storeOrdered writes messages of different groups, each unless one with the same
// deduplication id was accepted less than five minutes ago: then the answer is that
// one's. A message is its own record of that, so a write that may or may not have
// happened is simply repeated.
func (t *Topic) storeOrdered(ctx context.Context, w *wire.Wire, wave []ordered, out []Published) {
	st := t.state.Load()
	for tries := 0; len(wave) > 0; tries++ {
		reqs := make([]wire.Request, len(wave))
		for i, o := range wave {
			reqs[i] = wire.Request{Subject: st.queued(o.key), Data: o.m.encode(), Header: o.m.mark(nats.Header{
				"Nats-Expected-Last-Subject-Sequence":         {strconv.FormatUint(o.last, 10)},
				"Nats-Expected-Last-Subject-Sequence-Subject": {st.sameDedup(o.key)},
			})}
		}
		var again []ordered
		for i, a := range w.Exchange(ctx, reqs, wire.Timeout) {
			o := wave[i]
			seq, _, err := a.Stored()
			if err == nil {
				out[o.i] = Published{MessageID: o.m.id.String(), SequenceNumber: sequenceNumber(seq)}
				continue
			}
			out[o.i].Err = t.writeError(err)
			if !wire.OverQuota(err) {
				again = append(again, o)
			}
		}
		if len(again) == 0 || ctx.Err() != nil || tries == maxRaces {
			return
		}
		wave = t.resolve(ctx, w, again, out)
	}
}

// resolve looks why messages were not stored, or whether they were. Duplicates are
// answered; what remains is to be sent again.
func (t *Topic) resolve(ctx context.Context, w *wire.Wire, refused []ordered, out []Published) []ordered {
	st := t.state.Load()
	var again []ordered
	for _, o := range refused {
		records, err := w.Last(ctx, st.stream(), st.queued(o.key), st.past(o.key))
		if err != nil {
			out[o.i].Err = t.writeError(err)
			continue
		}
		first, last, err := original(records, time.Now())
		switch {
		case err != nil:
			out[o.i].Err = t.writeError(err)
		case first != nil:
			out[o.i] = Published{MessageID: first.id.String(), SequenceNumber: sequenceNumber(first.seq)}
		default:
			o.last = last
			again = append(again, o)
		}
	}
	return again
}

// original returns the message among the records whose deduplication window is open at
// now, if there is one, and the last sequence of all records.
func original(records []*wire.Record, now time.Time) (first *message, last uint64, err error) {
	for _, r := range records {
		if r == nil {
			continue
		}
		last = max(last, r.Sequence)
		m, err := decodeMessage(r.Data)
		if err != nil {
			return nil, 0, err
		}
		if m.seq == 0 { // it is the message itself
			m.seq = r.Sequence
		}
		if now.Sub(m.publishedAt) < dedupWindow && (first == nil || m.seq < first.seq) {
			first = m
		}
	}
	return first, last, nil
}

// remember is the request that keeps the deduplication id of a message that is about to
// leave the stream. ok is false when its window has ended.
func (r *record) remember(m *message, key string, now time.Time) (req wire.Request, ok bool) {
	left := m.publishedAt.Add(dedupWindow).Sub(now)
	if left <= 0 {
		return wire.Request{}, false
	}
	record := message{id: m.id, seq: m.seq, publishedAt: m.publishedAt}
	return wire.Request{
		Subject: r.past(key), Data: record.encode(),
		Header: nats.Header{"Nats-TTL": {strconv.Itoa(int((left + time.Second - 1) / time.Second))}},
	}, true
}
