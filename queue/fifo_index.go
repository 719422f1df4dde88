package queue

import (
	"cmp"
	"container/heap"
	"container/list"
	"context"
	"slices"
	"sync"
	"time"
)

// index is what this process knows about a FIFO queue: the groups with the
// messages that wait in them and their leases, fed by the stream in its order. It
// lags behind the stream and it may hold what is gone already, so it only
// proposes; the compare-and-set of a lease decides, and a message is handed out
// once it has been read under the lease.
type index struct {
	self uint32

	mu      sync.Mutex
	rules   rules
	last    uint64 // everything up to here has been seen
	purged  uint64 // everything up to here is gone
	groups  map[hash]*group
	ready   groupHeap // by turn: those of which something can be received
	parked  groupHeap // by time: those whose head is hidden
	turn    uint64
	count   int // messages
	flying  int // messages in flight, as they were counted last and more since
	counted time.Time
	waiters list.List
	marks   []mark
	timer   *time.Timer
	timerAt time.Time
	stopped bool
}

// group is one message group. It is in one of the heaps, unless it is busy or has
// no messages.
type group struct {
	key     hash
	msgs    []waiting // in the order of the stream
	lease   lease
	turn    uint64
	at      time.Time // when the head can be received
	busy    bool      // this process is writing its lease
	emptied time.Time // since when it has no messages
	keep    time.Time // until when a message is in flight whose retention is over
	heap    *groupHeap
	pos     int
}

// mark is closed when everything up to seq has been seen.
type mark struct {
	seq     uint64
	reached chan struct{}
}

type groupHeap struct {
	less func(a, b *group) bool
	gs   []*group
}

func (h *groupHeap) Len() int           { return len(h.gs) }
func (h *groupHeap) Less(i, j int) bool { return h.less(h.gs[i], h.gs[j]) }
func (h *groupHeap) Swap(i, j int) {
	h.gs[i], h.gs[j] = h.gs[j], h.gs[i]
	h.gs[i].pos, h.gs[j].pos = i, j
}

// Push adds a *group; see container/heap.
func (h *groupHeap) Push(x any) {
	g, _ := x.(*group) // nothing else is ever pushed
	g.heap, g.pos = h, len(h.gs)
	h.gs = append(h.gs, g)
}

// Pop removes the last group; see container/heap.
func (h *groupHeap) Pop() any {
	g := h.gs[len(h.gs)-1]
	h.gs[len(h.gs)-1] = nil
	h.gs = h.gs[:len(h.gs)-1]
	g.heap = nil
	return g
}

func newIndex(self uint32, r rules) *index {
	x := &index{self: self, rules: r, groups: map[hash]*group{}}
	x.ready.less = func(a, b *group) bool { return a.turn < b.turn }
	x.parked.less = func(a, b *group) bool { return a.at.Before(b.at) }
	return x
}

func (x *index) group(key hash) *group {
	g := x.groups[key]
	if g == nil {
		x.turn++
		g = &group{key: key, turn: x.turn, emptied: time.Now()}
		x.groups[key] = g
	}
	return g
}

// place puts the group into the heap where it belongs now.
func (x *index) place(g *group, now time.Time) {
	if g.heap != nil {
		heap.Remove(g.heap, g.pos)
	}
	for len(g.msgs) > 0 && x.rules.expired(g.msgs[0], now) {
		if c, ok := g.lease.find(g.msgs[0].seq); ok && c.over(x.self).After(g.keep) {
			g.keep = c.over(x.self)
		}
		x.cut(g, 0)
	}
	if g.busy || len(g.msgs) == 0 {
		return
	}
	if g.at = x.rules.visibleAt(g.msgs[0], g.lease); !g.at.After(now) {
		heap.Push(&x.ready, g)
		x.wakeOne()
		return
	}
	heap.Push(&x.parked, g)
	x.arm(now)
}

// cut takes the i-th message out of its group. It is one of the first, so those
// before it are moved up.
func (x *index) cut(g *group, i int) {
	copy(g.msgs[1:i+1], g.msgs[:i])
	g.msgs = g.msgs[1:]
	x.count--
	if len(g.msgs) == 0 {
		g.msgs, g.emptied = nil, time.Now()
	}
}

// arm sets the timer for the head that becomes visible next.
func (x *index) arm(now time.Time) {
	if len(x.parked.gs) == 0 {
		return
	}
	next := x.parked.gs[0].at
	if !x.timerAt.IsZero() && !next.Before(x.timerAt) {
		return
	}
	x.timerAt = next
	if x.timer != nil {
		x.timer.Stop()
	}
	x.timer = time.AfterFunc(next.Sub(now), func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.timerAt = time.Time{}
		x.unpark(time.Now())
	})
}

// unpark moves the groups whose time has come.
func (x *index) unpark(now time.Time) {
	for len(x.parked.gs) > 0 && !x.parked.gs[0].at.After(now) {
		x.place(x.parked.gs[0], now)
	}
	x.arm(now)
}

func (x *index) stop() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.timer != nil {
		x.timer.Stop()
	}
	x.timerAt = time.Unix(1<<40, 0) // never set again
	x.stopped = true
	for x.waiters.Len() > 0 {
		x.wakeOne()
	}
}

// wait registers a receiver. It is woken once, when there may be something for it.
func (x *index) wait() (woken chan struct{}, e *list.Element) {
	x.mu.Lock()
	defer x.mu.Unlock()
	woken = make(chan struct{})
	e = x.waiters.PushBack(woken)
	if x.pass(time.Now()); x.stopped {
		x.wakeOne()
	}
	return woken, e
}

// leave ends the wait. A receiver that was woken and does not look hands its turn on.
func (x *index) leave(woken chan struct{}, e *list.Element) {
	x.mu.Lock()
	defer x.mu.Unlock()
	select {
	case <-woken:
		x.pass(time.Now())
	default:
		x.waiters.Remove(e)
	}
}

// pass wakes a receiver when there is something for it.
func (x *index) pass(now time.Time) {
	if len(x.ready.gs) > 0 && x.room(now) > 0 {
		x.wakeOne()
	}
}

func (x *index) wakeOne() {
	if e := x.waiters.Front(); e != nil {
		woken, _ := x.waiters.Remove(e).(chan struct{})
		close(woken)
	}
}

// setRules takes over changed attributes of the queue.
func (x *index) setRules(r rules) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.rules == r {
		return
	}
	x.rules = r
	now := time.Now()
	for _, g := range x.groups {
		x.place(g, now)
	}
}

// What the stream says. Each may come twice, and again after what came later.

// sent notes a message. Only the stream's own order may call it: who knows a
// message must know those before it.
func (x *index) sent(key hash, m waiting) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.advance(m.seq)
	g := x.group(key)
	if m.seq <= x.purged || len(g.msgs) > 0 && g.msgs[len(g.msgs)-1].seq >= m.seq {
		return
	}
	g.msgs = append(g.msgs, m)
	x.count++
	if len(g.msgs) == 1 {
		x.place(g, time.Now())
		return
	}
	if g.heap == &x.ready {
		x.wakeOne() // another receiver may take what the first leaves
	}
}

// gone notes that messages of a group do not exist any more.
func (x *index) gone(key hash, seqs ...uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	g := x.groups[key]
	if g == nil {
		return
	}
	for _, seq := range seqs {
		if i, ok := find(g.msgs, seq); ok {
			x.cut(g, i)
		}
	}
	now := time.Now()
	x.place(g, now)
	x.pass(now)
}

// seen notes how far the stream has been read.
func (x *index) seen(seq uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.advance(seq)
}

func (x *index) position() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.last
}

func (x *index) advance(seq uint64) {
	x.last = max(x.last, seq)
	if len(x.marks) == 0 {
		return
	}
	x.marks = slices.DeleteFunc(x.marks, func(m mark) bool {
		if m.seq <= x.last {
			close(m.reached)
			return true
		}
		return false
	})
}

// await waits until everything up to seq has been seen, at most for d, and reports
// whether it has.
func (x *index) await(ctx context.Context, seq uint64, d time.Duration) bool {
	x.mu.Lock()
	if seq <= x.last {
		x.mu.Unlock()
		return true
	}
	m := mark{seq, make(chan struct{})}
	x.marks = append(x.marks, m)
	x.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-m.reached:
		return true
	case <-timer.C:
	case <-ctx.Done():
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.marks = slices.DeleteFunc(x.marks, func(o mark) bool { return o.reached == m.reached })
	return seq <= x.last
}

// leased notes the group's lease, unless a newer one is known.
func (x *index) leased(key hash, l lease) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if g := x.group(key); g.lease.seq < l.seq {
		g.lease = l
		x.place(g, time.Now())
	}
}

// purgedTo drops everything up to seq.
func (x *index) purgedTo(seq uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.purged = max(x.purged, seq)
	now := time.Now()
	for _, g := range x.groups {
		for len(g.msgs) > 0 && g.msgs[0].seq <= seq {
			x.cut(g, 0)
		}
		if g.lease.seq <= seq {
			g.lease = lease{} // a purge removes them too
		}
		x.place(g, now)
	}
}

// pick is a proposal: these messages of the group, under the new lease.
type pick struct {
	g      *group
	msgs   []waiting
	lease  lease
	before lease  // that it replaces
	turn   uint64 // of the group before; the order among picks of an attempt
	leave  bool   // the messages are to be moved into other queues
}

// line returns the end of the line of groups.
func (x *index) line() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.turn
}

// plan picks up to n messages: as many as there are of the group whose turn it
// is, then of the next ones, up to the group that stood at last. The groups go to
// the end of the line in that order, and they are busy until settle or restore is
// called with each. Messages that are to leave the queue do not count and leave their
// group its turn.
func (x *index) plan(n int, last uint64, t taking) []pick {
	x.mu.Lock()
	defer x.mu.Unlock()
	now := t.now
	x.unpark(now)
	var out []pick
	n = min(n, x.room(now))
	for n > 0 && len(out) < maxPicks && len(x.ready.gs) > 0 && x.ready.gs[0].turn <= last {
		g := x.ready.gs[0]
		x.place(g, now) // without what has expired
		if g.heap != &x.ready {
			continue
		}
		msgs, leave := x.rules.run(x.rules.available(g.msgs, g.lease, n, now), g.lease)
		l := g.lease.without(func(seq uint64) bool { return !x.exists(g, seq) })
		p := pick{g: g, msgs: slices.Clone(msgs), before: l, turn: g.turn, leave: leave}
		if leave {
			p.lease = x.rules.send(l, msgs, t)
		} else {
			p.lease = x.rules.take(l, msgs, t)
			t.nth += len(msgs)
			n -= len(msgs)
			x.flying += len(msgs)
			x.turn++
			g.turn = x.turn
		}
		g.busy = true
		out = append(out, p)
		x.place(g, now)
	}
	return out
}

// maxPicks bounds what one plan holds, since messages that leave do not count.
const maxPicks = 2 * maxBatch

const maxBatch = 10 // messages of one receive

// movable picks up to n messages that can be moved, of those up to last, and marks
// their groups as busy. The leases are not decided.
func (x *index) movable(n int, last uint64, now time.Time) []pick {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.unpark(now)
	var groups []*group
	for _, g := range x.ready.gs {
		if g.msgs[0].seq <= last {
			groups = append(groups, g)
		}
	}
	slices.SortFunc(groups, func(a, b *group) int { return cmp.Compare(a.msgs[0].seq, b.msgs[0].seq) })
	var out []pick
	for _, g := range groups {
		msgs := x.rules.available(g.msgs, g.lease, min(n, maxBatch), now)
		for len(msgs) > 0 && msgs[len(msgs)-1].seq > last {
			msgs = msgs[:len(msgs)-1]
		}
		if len(msgs) == 0 {
			break // n is used up
		}
		n -= len(msgs)
		l := g.lease.without(func(seq uint64) bool { return !x.exists(g, seq) })
		out = append(out, pick{g: g, msgs: slices.Clone(msgs), before: l, lease: l, turn: g.turn, leave: true})
		g.busy = true
		x.place(g, now)
	}
	return out
}

// alone reports whether it has been made sure that the message has no original in
// the queue that it was moved from.
func (x *index) alone(key hash, seq uint64) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	if g := x.groups[key]; g != nil {
		if i, ok := find(g.msgs, seq); ok {
			return g.msgs[i].alone
		}
	}
	return false
}

func (x *index) setAlone(key hash, seq uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if g := x.groups[key]; g != nil {
		if i, ok := find(g.msgs, seq); ok {
			g.msgs[i].alone = true
		}
	}
}

// attempted returns what the receive with that attempt id holds, nothing if a part
// of it has been deleted or has become visible.
func (x *index) attempted(id uint64, now time.Time) []pick {
	x.mu.Lock()
	defer x.mu.Unlock()
	var out []pick
	for _, g := range x.groups {
		p := pick{g: g, lease: g.lease}
		of := 0
		for _, c := range g.lease.claims {
			if c.attempt != id || now.Sub(c.since) >= dedupWindow {
				continue
			}
			if of = int(c.of); p.turn == 0 {
				p.turn = uint64(c.nth) + 1
			}
			if i, ok := find(g.msgs, c.seq); ok && c.over(x.self).After(now) {
				p.msgs = append(p.msgs, g.msgs[i])
			}
		}
		if len(p.msgs) < of {
			return nil
		}
		if of > 0 {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b pick) int { return cmp.Compare(a.turn, b.turn) })
	return out
}

// room is how many more messages may be in flight, at most as many as one receive can
// take. Counting costs, so it is done only when it might matter, and not all the time.
func (x *index) room(now time.Time) int {
	most := x.rules.most
	if most == 0 || maxBatch*(len(x.groups)+1) <= most {
		return maxBatch
	}
	if x.flying >= most || now.Sub(x.counted) >= countEvery {
		x.flying, x.counted = int(x.countsLocked(now).InFlight), now
	}
	return min(most-x.flying, maxBatch)
}

// countEvery is how old the number of messages in flight may be where it does not come
// near the limit.
const countEvery = 250 * time.Millisecond

// restore ends a pick that somebody else was faster with: the group keeps its turn.
func (x *index) restore(p pick, current lease) {
	x.mu.Lock()
	p.g.turn = p.turn
	x.mu.Unlock()
	x.settle(p.g, current)
}

// settle ends a pick. current is the lease as it is known to be in the stream now.
func (x *index) settle(g *group, current lease) {
	x.mu.Lock()
	defer x.mu.Unlock()
	g.busy = false
	if current.seq >= g.lease.seq || current.seq == 0 {
		g.lease = current
	}
	x.place(g, time.Now())
}

// exists reports whether a message of the group may be there.
func (x *index) exists(g *group, seq uint64) bool {
	if seq > x.last {
		return true
	}
	_, ok := find(g.msgs, seq)
	return ok
}

// lookup returns the lease of a group without claims on messages that are gone,
// and whether the message may be there.
func (x *index) lookup(key hash, seq uint64) (l lease, exists bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	g := x.groups[key]
	if g == nil {
		return lease{}, seq > x.last
	}
	return g.lease.without(func(seq uint64) bool { return !x.exists(g, seq) }), x.exists(g, seq)
}

// setLease notes what the stream has just said the lease is.
func (x *index) setLease(key hash, l lease) {
	x.mu.Lock()
	defer x.mu.Unlock()
	g := x.group(key)
	if l.seq >= g.lease.seq || l.seq == 0 {
		g.lease = l
		x.place(g, time.Now())
	}
}

func (x *index) counts(now time.Time) Counts {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.countsLocked(now)
}

func (x *index) countsLocked(now time.Time) Counts {
	var c Counts
	for _, g := range x.groups {
		live := g.msgs
		if n, ok := slices.BinarySearchFunc(live, now, func(m waiting, now time.Time) int {
			if x.rules.expired(m, now) {
				return -1
			}
			return 1
		}); !ok {
			live = live[n:]
		}
		if len(live) > 0 && (c.Oldest.IsZero() || live[0].sent < c.Oldest.UnixNano()) {
			c.Oldest = time.Unix(0, live[0].sent)
		}
		hidden := 0
		for _, cl := range g.lease.claims {
			if _, there := find(live, cl.seq); there && cl.over(x.self).After(now) {
				hidden++
			}
		}
		delayed := 0
		if x.rules.delay > 0 {
			for i := len(live) - 1; i >= 0 && x.rules.visibleAt(live[i], lease{}).After(now); i-- {
				if _, claimed := g.lease.find(live[i].seq); !claimed {
					delayed++
				}
			}
		}
		c.InFlight += int64(hidden)
		c.Groups += int64(min(hidden, 1))
		c.Delayed += int64(delayed)
		c.Visible += int64(len(live) - hidden - delayed)
	}
	return c
}

// young returns the messages up to last whose deduplication window is open, and
// the last sequence of those before them.
func (x *index) young(last uint64, now time.Time) (seqs []uint64, old uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, g := range x.groups {
		for _, m := range slices.Backward(g.msgs) {
			if now.UnixNano()-m.sent >= int64(dedupWindow) {
				old = max(old, m.seq)
				break
			}
			if m.seq <= last {
				seqs = append(seqs, m.seq)
			}
		}
	}
	return seqs, old
}

// leaseIdle is how long a group must have been empty before its lease is removed.
const leaseIdle = time.Minute

// idle forgets the groups that have been empty for a while and returns at most n
// leases of theirs, which the stream can forget too.
func (x *index) idle(now time.Time, n int) []lease {
	x.mu.Lock()
	defer x.mu.Unlock()
	var out []lease
	for key, g := range x.groups {
		if len(g.msgs) > 0 {
			x.place(g, now) // what has expired is noticed here at the latest
		}
		unseen := func(c claim) bool { return c.seq > x.last }
		if g.busy || len(g.msgs) > 0 || now.Sub(g.emptied) < leaseIdle || g.keep.After(now) || slices.ContainsFunc(g.lease.claims, unseen) {
			continue
		}
		if g.lease.seq > 0 {
			if len(out) == n {
				continue
			}
			out = append(out, g.lease)
		}
		delete(x.groups, key)
	}
	return out
}

func find(msgs []waiting, seq uint64) (int, bool) {
	return slices.BinarySearchFunc(msgs, seq, func(m waiting, seq uint64) int {
		switch {
		case m.seq < seq:
			return -1
		case m.seq > seq:
			return 1
		}
		return 0
	})
}
