package queue

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"
)

// handed is a message that this process has under a lease.
type handed struct {
	receipt fifoReceipt
	claim   claim
	stored  stored
	from    former // where it was moved from; no queue: it was not
}

// receive takes messages as [Queue.Receive] says.
func (f *fifo) receive(ctx context.Context, w *link, in Receive) ([]Message, error) {
	fw, err := f.index(ctx, w)
	if err != nil {
		return nil, err
	}
	if in.AttemptID != "" {
		if again, err := f.repeat(ctx, fw, in); err != nil || len(again) > 0 {
			return f.answer(again), err
		}
	}
	timer := time.NewTimer(in.Wait)
	defer timer.Stop()
	for over := in.Wait <= 0; ; {
		got, err := f.takeNow(ctx, fw, in)
		if over && err == nil && len(got) == 0 {
			// Others may have sent just now; a short poll that finds nothing makes sure.
			if _, err = f.level(ctx, fw, settle); err == nil {
				got, err = f.takeNow(ctx, fw, in)
			}
		}
		if err != nil {
			return nil, err
		}
		if len(got) > 0 {
			return f.answer(got), nil
		}
		if over {
			return nil, nil
		}
		woken, place := fw.x.wait()
		select {
		case <-woken:
		case <-timer.C:
			fw.x.leave(woken, place)
			return nil, nil
		case <-f.q.closed:
			err = missing(f.q.name)
		case <-ctx.Done():
			err = ctx.Err()
		}
		if err != nil {
			fw.x.leave(woken, place)
			return nil, err
		}
		// The index is another one after the connection was lost or nobody used it.
		if w, err = f.q.svc.connection(ctx, f.q.space); err != nil {
			return nil, err
		}
		if fw, err = f.index(ctx, w); err != nil {
			return nil, err
		}
	}
}

// answer turns what was taken into messages.
func (f *fifo) answer(got []handed) []Message {
	out := make([]Message, len(got))
	for i, h := range got {
		m := h.stored.message()
		m.ReceiveCount, m.FirstReceived = int(h.claim.count)+int(h.stored.received), h.claim.first //nolint:gosec // a count of receives
		if !h.stored.first.IsZero() {
			m.FirstReceived = h.stored.first
		}
		m.SequenceNumber = sequenceNumber(h.receipt.seq)
		m.Handle = f.q.svc.sealer.sealFIFO(f.q.id, h.receipt)
		out[i] = m
	}
	return out
}

// late is how long after the beginning of its visibility timeout a message may be
// handed out. Past it the timeout begins anew, so that the receiver has all of it.
const late = 100 * time.Millisecond

// takeNow takes what can be received now. It returns less than asked for only
// when there was no more at one moment.
func (f *fifo) takeNow(ctx context.Context, fw *follower, in Receive) ([]handed, error) {
	var out []handed
	last := fw.x.line()
	for range maxRaces {
		if err := ctx.Err(); err != nil {
			f.release(out)
			return nil, err
		}
		begun := time.Now()
		picks := fw.x.plan(in.Max-len(out), last, taking{
			now: begun, visibility: in.Visibility, attempt: attemptOf(in.AttemptID), nth: len(out), newToken: newToken,
		})
		if len(picks) == 0 {
			break
		}
		won, err := f.win(context.WithoutCancel(ctx), fw, picks) // its outcome must be known
		leaving, won := apart(won)
		f.bury(context.WithoutCancel(ctx), fw, leaving)
		var got []handed
		if err == nil {
			got, err = f.read(ctx, fw, won)
		}
		if err == nil && time.Since(begun) > late && in.Visibility > 0 {
			got, err = f.renew(ctx, fw, got, in.Visibility)
		}
		if err == nil {
			err = ctx.Err()
		}
		out = append(out, got...)
		if err != nil {
			f.forfeit(won)
			f.release(out)
			return nil, err
		}
		if len(out) == in.Max {
			break
		}
	}
	return out, nil
}

// apart returns the picks whose messages leave the queue, and the others.
func apart(picks []pick) (leave, stay []pick) {
	for _, p := range picks {
		if p.leave {
			leave = append(leave, p)
		} else {
			stay = append(stay, p)
		}
	}
	return leave, stay
}

// bury moves dead letters. They are moved even when the receiver that came across
// them goes away.
func (f *fifo) bury(ctx context.Context, fw *follower, picks []pick) {
	if len(picks) == 0 {
		return
	}
	if _, err := f.move(ctx, fw, picks); err != nil {
		f.q.svc.log.WarnContext(ctx, "dead letters stay in their queue", "queue", f.q.name, "namespace_id", f.q.space.id, "error", err)
	}
}

// win writes the leases of the picks. It returns those that nobody else was
// faster with. What may have been won although nobody knows is given back later.
func (f *fifo) win(ctx context.Context, fw *follower, picks []pick) ([]pick, error) {
	r := f.q.record.Load()
	reqs := make([]request, len(picks))
	for i, p := range picks {
		reqs[i] = r.leaseWrite(p.g.key, p.lease)
	}
	var won, lost []pick
	var failed error
	unknown := map[hash]bool{}
	for i, a := range f.q.write(ctx, fw.w, reqs) {
		p := picks[i]
		seq, err := f.q.written("queue.Receive", a)
		if err == nil {
			p.lease.seq = seq
			won = append(won, p)
			fw.x.settle(p.g, p.lease)
			continue
		}
		if !errors.Is(err, errRefused) {
			failed, unknown[p.g.key] = errors.Join(failed, err), true
		}
		lost = append(lost, p)
	}
	if len(lost) > 0 {
		keys := make([]hash, len(lost))
		for i, p := range lost {
			keys[i] = p.g.key
		}
		leases, err := f.refresh(ctx, fw.w, keys)
		for _, p := range lost {
			switch l := leases[p.g.key]; {
			case err != nil:
				l, _ = fw.x.lookup(p.g.key, 0)
				fw.x.restore(p, l) // the next write tells
			case p.holds(l): // it was only the answer that got lost
				p.lease = l
				won = append(won, p)
				fw.x.settle(p.g, l)
				continue
			default:
				fw.x.restore(p, l)
			}
			if unknown[p.g.key] { // the write may yet arrive
				f.forfeit([]pick{p})
			}
		}
		failed = errors.Join(failed, err)
	}
	if len(won) == 0 && failed != nil {
		return nil, failed
	}
	return won, nil
}

// holds reports whether the lease is the one that the pick wanted to write.
func (p pick) holds(l lease) bool {
	for _, m := range p.msgs {
		want, _ := p.lease.find(m.seq)
		if c, ok := l.find(m.seq); !ok || c.token != want.token {
			return false
		}
	}
	return true
}

// read fetches the messages of leases that hold. Only now it is sure that they
// exist: nobody else can delete them any more. With several replicas the answer may
// come from a server that does not know yet that it leads no more, so the index
// must have come past the lease: then it knows what had gone before.
func (f *fifo) read(ctx context.Context, fw *follower, won []pick) ([]handed, error) {
	var reqs []request
	last := uint64(0)
	for _, p := range won {
		last = max(last, p.lease.seq)
		for _, m := range p.msgs {
			reqs = append(reqs, f.q.getRequest(fmt.Sprintf(`{"seq":%d}`, m.seq)))
		}
	}
	answers := fw.w.Exchange(ctx, reqs, answerTimeout)
	if f.q.svc.cfg.Replicas > 1 && !fw.x.await(ctx, last, answerTimeout) {
		fw.suspect()
		return nil, unavailable("queue.Receive", f.q.name, errBehind)
	}
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
			_, exists := fw.x.lookup(p.g.key, m.seq)
			h, ok := f.open(rec, p.lease)
			if !ok || !exists {
				gone = append(gone, m.seq)
				continue
			}
			out = append(out, h)
		}
		if len(gone) > 0 {
			fw.x.gone(p.g.key, gone...)
		}
	}
	if failed != nil {
		return nil, failed
	}
	return f.farewell(ctx, fw, out)
}

// farewell makes sure that what was moved here is not in its former queue any more,
// so that it cannot be moved again once it has been deleted here. Where that fails, the
// group ends before that message.
func (f *fifo) farewell(ctx context.Context, fw *follower, got []handed) ([]handed, error) {
	var originals []former
	var at []int
	for i, h := range got {
		if h.from.queue != "" && h.from.queue != f.q.id && !fw.x.alone(h.receipt.group, h.receipt.seq) {
			originals, at = append(originals, h.from), append(at, i)
		}
	}
	if len(originals) == 0 {
		return got, nil
	}
	var failed error
	failedAt := map[int]bool{}
	for j, err := range f.q.bid(ctx, fw.w, originals) {
		if err != nil {
			failed, failedAt[at[j]] = errors.Join(failed, err), true
			continue
		}
		fw.x.setAlone(got[at[j]].receipt.group, got[at[j]].receipt.seq)
	}
	if failed == nil {
		return got, nil
	}
	ended := map[hash]bool{}
	var out, back []handed
	for i, h := range got {
		if ended[h.receipt.group] = ended[h.receipt.group] || failedAt[i]; ended[h.receipt.group] {
			back = append(back, h)
		} else {
			out = append(out, h)
		}
	}
	f.release(back)
	if len(out) == 0 {
		return nil, failed
	}
	return out, nil
}

// renew lets the visibility timeout of messages begin anew. It returns those that
// are still held.
func (f *fifo) renew(ctx context.Context, fw *follower, got []handed, visibility time.Duration) ([]handed, error) {
	now := time.Now()
	keys, tokens := claimed(got)
	held, errs := f.rewrite(ctx, fw, keys, func(_ hash, l lease) (lease, bool) {
		changed := false
		for _, c := range l.claims {
			if tokens[c.token] {
				l, changed = l.with(c.hide(now, visibility, fw.x.self)), true
			}
		}
		return l, changed
	})
	out := got[:0]
	var open []handed
	for _, h := range got {
		if c, ok := held[h.receipt.group].find(h.receipt.seq); ok && c.token == h.receipt.token {
			h.claim = c
			out = append(out, h)
		} else if errs[h.receipt.group] != nil {
			h.claim = h.claim.hide(now, visibility, fw.x.self)
			open = append(open, h)
		}
	}
	f.release(open) // where the new deadline may hold; who called gives back the old one
	for _, err := range errs {
		return out, err
	}
	return out, nil
}

// claimed returns the groups and the tokens of messages.
func claimed(got []handed) ([]hash, map[token]bool) {
	var keys []hash
	tokens := map[token]bool{}
	for _, h := range got {
		if !slices.Contains(keys, h.receipt.group) {
			keys = append(keys, h.receipt.group)
		}
		tokens[h.receipt.token] = true
	}
	return keys, tokens
}

// open reads a record as a message; not ok when it is none.
func (f *fifo) open(rec *raw, l lease) (handed, bool) {
	if rec == nil || rec.header.Get(headGone) != "" || rec.header.Get(headIntent) != "" {
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
	from, _ := parseFrom(rec.header.Get(headFrom), p)
	return handed{
		from:    from,
		receipt: fifoReceipt{seq: rec.seq, sent: rec.sent, id: s.id, dedup: p.dedup, group: p.group, token: c.token},
		claim:   c, stored: s,
	}, true
}

// release makes what was taken visible again, also when the caller has gone. What
// cannot be released now is later.
func (f *fifo) release(got []handed) {
	if len(got) == 0 {
		return
	}
	byGroup := map[hash][]owedClaim{}
	until := time.Now()
	for _, h := range got {
		byGroup[h.receipt.group] = append(byGroup[h.receipt.group], owedClaim{h.claim.token, h.claim.until})
		if h.claim.until.After(until) {
			until = h.claim.until
		}
	}
	for k, claims := range byGroup {
		f.owe(owed{group: k, claims: claims, until: until})
	}
}

// attemptOf is what stands for a ReceiveRequestAttemptId in leases; 0 for none.
func attemptOf(id string) uint64 {
	if id == "" {
		return 0
	}
	h := hashOf(id)
	return binary.BigEndian.Uint64(h[:]) | 1
}

// repeat answers a call whose attempt id was used in the last five minutes, at
// whichever process: the same messages under the same handles, hidden anew. None
// when one of them has been deleted or has become visible since; the call then
// receives afresh.
func (f *fifo) repeat(ctx context.Context, fw *follower, in Receive) ([]handed, error) {
	id, now := attemptOf(in.AttemptID), time.Now()
	picks := fw.x.attempted(id, now)
	if len(picks) == 0 { // another process may have answered just now
		if _, err := f.level(ctx, fw, settle); err != nil {
			return nil, err
		}
		if picks = fw.x.attempted(id, now); len(picks) == 0 {
			return nil, nil
		}
	}
	keys := make([]hash, len(picks))
	for i, p := range picks {
		keys[i] = p.g.key
	}
	held, errs := f.rewrite(ctx, fw, keys, func(_ hash, l lease) (lease, bool) {
		changed := false
		for _, c := range l.claims {
			if c.attempt == id && c.over(fw.x.self).After(now) {
				l, changed = l.with(c.hide(now, in.Visibility, fw.x.self)), true
			}
		}
		return l, changed
	})
	for _, err := range errs {
		return nil, err
	}
	for i, p := range picks {
		l, ok := held[p.g.key]
		if !ok || !p.holds(l) {
			return nil, nil // one became visible just now
		}
		picks[i].lease = l
	}
	return f.read(ctx, fw, picks)
}
