package queue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// handed is a message that this process has under a lease.
type handed struct {
	receipt fifoReceipt
	claim   claim
	stored  stored
}

// receive takes messages as [Queue.Receive] says.
func (f *fifo) receive(ctx context.Context, w *wire, in Receive) ([]Message, error) {
	x, err := f.index(ctx, w)
	if err != nil {
		return nil, err
	}
	if in.AttemptID != "" {
		if again, err := f.repeat(ctx, w, x, in); err != nil || len(again) > 0 {
			return again, err
		}
	}
	timer := time.NewTimer(in.Wait)
	defer timer.Stop()
	for over := in.Wait <= 0; ; {
		got, err := f.takeNow(ctx, w, x, in)
		if over && err == nil && len(got) == 0 {
			// Others may have sent just now; a short poll that finds nothing makes sure.
			if err = f.level(ctx, w, x); err == nil {
				got, err = f.takeNow(ctx, w, x, in)
			}
		}
		if err != nil {
			return nil, err
		}
		if len(got) > 0 {
			return f.answer(in, got), nil
		}
		if over {
			return nil, nil
		}
		woken, place := x.wait()
		select {
		case <-woken:
		case <-timer.C:
			x.leave(woken, place)
			return nil, nil
		case <-f.q.closed:
			err = missing(f.q.name)
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err != nil {
			x.leave(woken, place)
			return nil, err
		}
		// The index is another one after the connection was lost or nobody used it.
		if w, err = f.q.svc.connection(ctx, f.q.space); err != nil {
			return nil, err
		}
		if x, err = f.index(ctx, w); err != nil {
			return nil, err
		}
	}
}

// answer turns what was taken into messages and remembers it for the same
// attempt.
func (f *fifo) answer(in Receive, got []handed) []Message {
	if in.AttemptID != "" {
		f.mu.Lock()
		f.attempts.keep(in.AttemptID, got, time.Now())
		f.mu.Unlock()
	}
	out := make([]Message, len(got))
	for i, h := range got {
		m := h.stored.message()
		m.ReceiveCount, m.FirstReceived = int(h.claim.count), h.claim.first
		m.SequenceNumber = sequenceNumber(h.receipt.seq)
		m.Handle = f.q.svc.sealer.sealFIFO(f.q.id, h.receipt)
		out[i] = m
	}
	return out
}

// takeNow takes what can be received now. It returns less than asked for only
// when there was no more at one moment.
func (f *fifo) takeNow(ctx context.Context, w *wire, x *index, in Receive) ([]handed, error) {
	var out []handed
	last := x.line()
	for range maxRaces {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		picks := x.plan(in.Max-len(out), last, time.Now(), in.Visibility)
		if len(picks) == 0 {
			break
		}
		won, err := f.win(context.WithoutCancel(ctx), w, x, picks) // its outcome must be known
		var got []handed
		if err == nil {
			got, err = f.read(ctx, w, x, won)
		}
		if err == nil {
			err = ctx.Err()
		}
		out = append(out, got...)
		if err != nil {
			f.release(ctx, w, x, won, out)
			return nil, err
		}
		if len(out) == in.Max {
			break
		}
	}
	return out, nil
}

// win writes the leases of the picks. It returns those that nobody else was
// faster with.
func (f *fifo) win(ctx context.Context, w *wire, x *index, picks []pick) ([]pick, error) {
	r := f.q.record.Load()
	reqs := make([]request, len(picks))
	for i, p := range picks {
		reqs[i] = r.leaseWrite(p.g.key, p.lease)
	}
	var won, lost []pick
	var failed error
	for i, a := range w.exchange(ctx, reqs, answerTimeout) {
		p := picks[i]
		seq, err := f.q.written("queue.Receive", a)
		if err == nil {
			p.lease.seq = seq
			won = append(won, p)
			x.settle(p.g, p.lease)
			continue
		}
		if !errors.Is(err, errRefused) {
			failed = errors.Join(failed, err) // whether it holds shows in the stream
		}
		lost = append(lost, p)
	}
	if len(lost) > 0 {
		keys := make([]hash, len(lost))
		for i, p := range lost {
			keys[i] = p.g.key
		}
		leases, err := f.refresh(ctx, w, keys)
		for _, p := range lost {
			l, ok := leases[p.g.key]
			if !ok { // unknown: the next write tells
				l, _ = x.lookup(p.g.key, 0)
			}
			x.restore(p, l)
		}
		failed = errors.Join(failed, err)
	}
	if len(won) == 0 && failed != nil {
		return nil, failed
	}
	return won, nil
}

// read fetches the messages of leases that hold. Only now it is sure that they
// exist: nobody else can delete them any more.
func (f *fifo) read(ctx context.Context, w *wire, x *index, won []pick) ([]handed, error) {
	var reqs []request
	for _, p := range won {
		for _, m := range p.msgs {
			reqs = append(reqs, f.q.getRequest(fmt.Sprintf(`{"seq":%d}`, m.seq)))
		}
	}
	answers := w.exchange(ctx, reqs, answerTimeout)
	out := make([]handed, 0, len(reqs))
	var failed error
	for _, p := range won {
		var gone []uint64
		for _, m := range p.msgs {
			rec, err := f.q.got("queue.Receive", answers[0])
			answers = answers[1:]
			if err != nil {
				failed = errors.Join(failed, err)
				continue
			}
			h, ok := f.open(rec, p.lease)
			if !ok {
				gone = append(gone, m.seq)
				continue
			}
			out = append(out, h)
		}
		if len(gone) > 0 {
			x.gone(p.g.key, gone...)
		}
	}
	if failed != nil {
		return nil, failed
	}
	return out, nil
}

// open reads a record as a message; not ok when it is none.
func (f *fifo) open(rec *raw, l lease) (handed, bool) {
	if rec == nil || rec.header.Get(headGone) != "" {
		return handed{}, false
	}
	kind, p, ok := parseSubject(rec.subject)
	c, claimed := l.find(rec.seq)
	if !ok || kind != 'f' || !claimed {
		return handed{}, false
	}
	s, err := decodeStored(rec.data)
	if err != nil {
		f.q.svc.log.ErrorContext(f.q.svc.run, "message cannot be read", "queue", f.q.name, "namespace_id", f.q.space.id, "sequence", rec.seq, "error", err)
		return handed{}, false
	}
	return handed{
		receipt: fifoReceipt{seq: rec.seq, sent: rec.sent, id: s.id, dedup: p.dedup, group: p.group, token: c.token},
		claim:   c, stored: s,
	}, true
}

// release makes what was taken visible again, also when the caller has gone.
func (f *fifo) release(ctx context.Context, w *wire, x *index, won []pick, got []handed) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
	defer cancel()
	taken, tokens := map[hash]bool{}, map[token]bool{}
	for _, p := range won {
		taken[p.g.key] = true
		for _, m := range p.msgs {
			if c, ok := p.lease.find(m.seq); ok {
				tokens[c.token] = true
			}
		}
	}
	for _, h := range got {
		taken[h.receipt.group], tokens[h.receipt.token] = true, true
	}
	keys := slices.Collect(maps.Keys(taken))
	// Best effort: the visibility timeout does it otherwise.
	_, _ = f.rewrite(ctx, w, x, keys, func(_ hash, l lease) (lease, bool) {
		changed := false
		for _, c := range l.claims {
			if tokens[c.token] {
				c.until, changed = time.Time{}, true
				l = l.with(c)
			}
		}
		return l, changed
	})
}

// attempts remembers what calls with a ReceiveRequestAttemptId got: in this
// process only, and bounded.
type attempts struct {
	byID  map[string]attempt
	order []string // the oldest first
}

type attempt struct {
	at   time.Time
	msgs []fifoReceipt
}

const maxAttempts = 10_000

func (a *attempts) keep(id string, got []handed, now time.Time) {
	if a.byID == nil {
		a.byID = map[string]attempt{}
	}
	for len(a.order) > 0 && (len(a.order) >= maxAttempts || now.Sub(a.byID[a.order[0]].at) >= dedupWindow) {
		delete(a.byID, a.order[0])
		a.order = a.order[1:]
	}
	if _, known := a.byID[id]; known {
		a.order = slices.DeleteFunc(a.order, func(o string) bool { return o == id })
	}
	at := attempt{at: now}
	for _, h := range got {
		at.msgs = append(at.msgs, h.receipt)
	}
	a.byID[id], a.order = at, append(a.order, id)
}

func (a *attempts) find(id string, now time.Time) []fifoReceipt {
	if at, ok := a.byID[id]; ok && now.Sub(at.at) < dedupWindow {
		return at.msgs
	}
	return nil
}

// repeat answers a call whose attempt id was used in the last five minutes: the
// same messages under the same handles, hidden anew. None when one of them has
// been deleted or has become visible since; the call then receives afresh.
func (f *fifo) repeat(ctx context.Context, w *wire, x *index, in Receive) ([]Message, error) {
	now := time.Now()
	f.mu.Lock()
	receipts := f.attempts.find(in.AttemptID, now)
	f.mu.Unlock()
	if len(receipts) == 0 {
		return nil, nil
	}
	byGroup := map[hash][]fifoReceipt{}
	for _, r := range receipts {
		byGroup[r.group] = append(byGroup[r.group], r)
		if v, _, err := f.judge(ctx, w, x, r, now); err != nil || v != current {
			return nil, err
		}
	}
	keys := slices.Collect(maps.Keys(byGroup))
	held := map[hash]lease{}
	errs, err := f.rewrite(ctx, w, x, keys, func(k hash, l lease) (lease, bool) {
		for _, r := range byGroup[k] {
			c, ok := l.find(r.seq)
			if !ok || c.token != r.token {
				return l, false
			}
			l = l.with(c.hide(now, in.Visibility, x.self))
		}
		held[k] = l
		return l, true
	})
	if err != nil {
		return nil, err
	}
	reqs := make([]request, len(receipts))
	for i, r := range receipts {
		if errs[r.group] != nil {
			return nil, errs[r.group]
		}
		reqs[i] = f.q.getRequest(fmt.Sprintf(`{"seq":%d}`, r.seq))
	}
	var got []handed
	for i, a := range w.exchange(ctx, reqs, answerTimeout) {
		rec, err := f.q.got("queue.Receive", a)
		if err != nil {
			return nil, err
		}
		if h, ok := f.open(rec, held[receipts[i].group]); ok {
			got = append(got, h)
		}
	}
	return f.answer(in, got), nil
}
