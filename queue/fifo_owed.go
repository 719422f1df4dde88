package queue

import (
	"context"
	"slices"
	"time"
)

// owed is a claim of this process on messages that no receiver got: the receiver
// went away, or it was not known in time that they were won. They are made visible
// again as soon as possible, and not only when their visibility timeout has passed.
type owed struct {
	group  hash
	claims []owedClaim
	before uint64    // if the lease is this one, the claim may be on its way still
	until  time.Time // past it there is nothing to do
}

// owedClaim is a delivery that nobody got, hidden until then. With another deadline it
// is a receiver's: the same ReceiveRequestAttemptId has handed it out again.
type owedClaim struct {
	token token
	until time.Time
}

// has reports whether the claim is as it was when nobody got it.
func (o owed) has(c claim) bool {
	return slices.ContainsFunc(o.claims, func(mine owedClaim) bool { return mine.token == c.token && mine.until.Equal(c.until) })
}

// maxOwed bounds what is remembered of a queue; the rest comes back by its timeout.
const maxOwed = 10_000

// forfeit gives back what a receive may have won.
func (f *fifo) forfeit(picks []pick) {
	for _, p := range picks {
		o := owed{group: p.g.key, before: p.before.seq}
		for _, m := range p.msgs {
			if c, ok := p.lease.find(m.seq); ok && !c.until.IsZero() {
				o.claims, o.until = append(o.claims, owedClaim{c.token, c.until}), c.until
			}
		}
		if len(o.claims) > 0 {
			f.owe(o)
		}
	}
}

func (f *fifo) owe(o owed) {
	f.mu.Lock()
	if len(f.owed) < maxOwed {
		f.owed = append(f.owed, o)
	}
	f.mu.Unlock()
	select {
	case f.owes <- struct{}{}:
	default:
	}
}

// giveBack makes visible what this process owes. It reports whether something is
// left to be tried again.
func (f *fifo) giveBack(ctx context.Context, fw *follower) bool {
	f.mu.Lock()
	list := f.owed
	f.owed = nil
	f.mu.Unlock()
	now := time.Now()
	byGroup := map[hash][]owed{}
	var keys []hash
	for _, o := range list {
		if o.until.After(now) {
			if byGroup[o.group] == nil {
				keys = append(keys, o.group)
			}
			byGroup[o.group] = append(byGroup[o.group], o)
		}
	}
	if len(keys) == 0 {
		return false
	}
	fresh := f.catchUp(ctx, fw, keys) // the claim may be news to the index
	var errs map[hash]error
	if fresh == nil {
		_, errs = f.rewrite(ctx, fw, keys, func(k hash, l lease) (lease, bool) {
			changed := false
			for _, o := range byGroup[k] {
				changed = changed || o.before == l.seq // so that the claim, if it comes, comes too late
				for _, c := range l.claims {
					if o.has(c) {
						c.until, changed = time.Time{}, true
						l = l.with(c)
					}
				}
			}
			return l, changed
		})
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for k, os := range byGroup {
		if fresh != nil || errs[k] != nil {
			f.owed = append(f.owed, os...)
		}
	}
	return len(f.owed) > 0
}
