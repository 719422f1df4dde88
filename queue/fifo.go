package queue

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// fifo keeps the messages of one FIFO queue. See DESIGN.md, "FIFO queues".
type fifo struct {
	q        *Queue
	lastSent atomic.Uint64 // sequence of this process's last message

	mu       sync.Mutex
	live     *follower // nil while nobody receives
	attempts attempts
}

// follower feeds an index from the stream.
type follower struct {
	x      *index
	w      *wire
	sub    *nats.Subscription
	start  uint64        // the stream's last sequence at the start
	loaded chan struct{} // closed when everything up to there has been seen
	load   sync.Once
	used   atomic.Int64 // Unix nanoseconds
}

// followIdle is how long an index is kept that nobody uses.
const followIdle = 10 * time.Minute

// rules are those of the queue's attributes now.
func (f *fifo) rules() rules {
	s := f.q.record.Load().Settings
	return rules{self: f.q.svc.self, delay: s.seconds(attrDelay), retention: s.seconds(attrRetention)}
}

// index returns the index, up to what this process itself has sent.
func (f *fifo) index(ctx context.Context, w *wire) (*index, error) {
	l, err := f.follower(ctx, w)
	if err != nil {
		return nil, f.q.streamError("queue.index", err)
	}
	l.used.Store(time.Now().UnixNano())
	for waiting := true; waiting; {
		select {
		case <-l.loaded:
			waiting = false
		case <-time.After(settle): // what was there may have gone before it was read
			s, err := w.js.Stream(ctx, f.q.record.Load().stream())
			if err != nil {
				return nil, f.q.streamError("queue.index", err)
			}
			if s.CachedInfo().State.Msgs == 0 {
				l.ready()
			}
		case <-f.q.closed:
			return nil, missing(f.q.name)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	l.x.setRules(f.rules())
	timer := time.NewTimer(settle)
	defer timer.Stop()
	select {
	case <-l.x.reached(f.lastSent.Load()):
	case <-timer.C: // it may be gone already
	case <-f.q.closed:
		return nil, missing(f.q.name)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return l.x, nil
}

// follower starts to follow the stream unless that goes on already.
func (f *fifo) follower(ctx context.Context, w *wire) (*follower, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.live != nil && f.live.w == w {
		return f.live, nil
	}
	r := f.q.record.Load()
	s, err := w.js.Stream(ctx, r.stream())
	if err != nil {
		return nil, err
	}
	js, err := w.nc.JetStream()
	if err != nil {
		return nil, err
	}
	l := &follower{x: newIndex(f.q.svc.self, f.rules()), w: w, loaded: make(chan struct{})}
	l.used.Store(time.Now().UnixNano())
	l.start = s.CachedInfo().State.LastSeq
	if s.CachedInfo().State.Msgs == 0 {
		l.ready()
	}
	// It begins anew behind what it has seen whenever something is missing.
	if l.sub, err = js.Subscribe(r.subjects(), l.take, nats.OrderedConsumer(), nats.HeadersOnly(), nats.BindStream(r.stream())); err != nil {
		return nil, err
	}
	if err := l.sub.SetPendingLimits(-1, -1); err != nil { // the server's flow control bounds it
		return nil, err
	}
	if f.live != nil {
		f.live.end()
	}
	f.live = l
	f.q.svc.done.Go(func() { f.tend(l) })
	return l, nil
}

func (l *follower) end() {
	_ = l.sub.Unsubscribe() // fails only when the connection or the stream is gone
	l.x.stop()
}

// take feeds one record to the index.
func (l *follower) take(m *nats.Msg) {
	md, err := m.Metadata()
	if err != nil {
		return
	}
	seq := md.Sequence.Stream
	kind, p, ok := parseSubject(m.Subject)
	switch h := m.Header; {
	case !ok: // not ours
	case kind == 'l':
		if le, err := decodeLease(seq, h.Get(headLease)); err == nil {
			l.x.leased(p.group, le)
		}
	case kind == 'p':
		if to, _, ok := parseGone(h.Get(headPurged) + " 0"); ok {
			l.x.purgedTo(to)
		}
	case h.Get(headGone) != "":
		if old, _, ok := parseGone(h.Get(headGone)); ok {
			l.x.gone(p.group, old)
		}
	default:
		l.x.sent(p.group, waiting{seq: seq, sent: md.Timestamp.UnixNano()})
	}
	l.x.seen(seq)
	if md.NumPending == 0 {
		l.ready()
	}
}

func (l *follower) ready() {
	l.load.Do(func() {
		l.x.seen(l.start) // the last ones may be gone
		close(l.loaded)
	})
}

// level waits until the index has seen what is in the stream now, as far as that
// is still there.
func (f *fifo) level(ctx context.Context, w *wire, x *index) error {
	s, err := w.js.Stream(ctx, f.q.record.Load().stream())
	if err != nil {
		return f.q.streamError("queue.Receive", err)
	}
	timer := time.NewTimer(settleWait)
	defer timer.Stop()
	select {
	case <-x.reached(s.CachedInfo().State.LastSeq):
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// tend removes the leases of groups that have been empty for a while, and ends
// with the queue, the service or when nobody uses the index any more.
func (f *fifo) tend(l *follower) {
	const most = 256 // leases removed at a time
	tick := time.NewTicker(leaseIdle / 2)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-f.q.closed:
			f.drop(l)
			return
		case <-f.q.svc.run.Done():
			f.drop(l)
			return
		}
		f.mu.Lock()
		over := f.live != l
		if !over && time.Since(time.Unix(0, l.used.Load())) > followIdle {
			f.live, over = nil, true
			l.end()
		}
		f.mu.Unlock()
		if over {
			return
		}
		var reqs []request
		for _, idle := range l.x.idle(time.Now(), most) {
			reqs = append(reqs, request{
				subject: "$JS.API.STREAM.MSG.DELETE.q_" + f.q.id,
				data:    fmt.Appendf(nil, `{"no_erase":true,"seq":%d}`, idle.seq),
			})
		}
		l.w.exchange(f.q.svc.run, reqs, answerTimeout) // what fails stays until the stream's MaxAge
	}
}

func (f *fifo) drop(l *follower) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.live == l {
		f.live = nil
		l.end()
	}
}

// counts answers from the index, so they are exact but for what is on its way.
func (f *fifo) counts(ctx context.Context) (Counts, error) {
	w, err := f.q.svc.connection(ctx, f.q.space)
	if err != nil {
		return Counts{}, err
	}
	x, err := f.index(ctx, w)
	if err != nil {
		return Counts{}, err
	}
	return x.counts(time.Now()), nil
}

// refresh reads leases from the stream, which knows better than the index.
func (f *fifo) refresh(ctx context.Context, w *wire, keys []hash) (map[hash]lease, error) {
	r := f.q.record.Load()
	reqs := make([]request, len(keys))
	for i, k := range keys {
		reqs[i] = f.q.getRequest(`{"last_by_subj":"` + r.leaseSubject(k) + `"}`)
	}
	out := make(map[hash]lease, len(keys))
	for i, a := range w.exchange(ctx, reqs, answerTimeout) {
		rec, err := f.q.got("queue.lease", a)
		if err != nil {
			return nil, err
		}
		out[keys[i]] = lease{}
		if rec != nil {
			l, err := decodeLease(rec.seq, rec.header.Get(headLease))
			if err != nil {
				return nil, unavailable("queue.lease", f.q.name, err)
			}
			out[keys[i]] = l
		}
	}
	return out, nil
}

// rewrite changes leases by compare-and-set until each change holds. edit gets
// the lease as it is and returns what it shall be, or false to leave it.
func (f *fifo) rewrite(ctx context.Context, w *wire, x *index, keys []hash, edit func(hash, lease) (lease, bool)) (map[hash]error, error) {
	errs := map[hash]error{}
	for range maxRaces {
		var reqs []request
		var at []hash
		var want []lease
		r := f.q.record.Load()
		for _, k := range keys {
			now, _ := x.lookup(k, 0)
			if next, ok := edit(k, now); ok {
				reqs, at, want = append(reqs, r.leaseWrite(k, next)), append(at, k), append(want, next)
			}
		}
		keys = nil
		for i, a := range w.exchange(ctx, reqs, answerTimeout) {
			seq, err := f.q.written("queue.lease", a)
			switch {
			case err == nil:
				want[i].seq = seq
				x.leased(at[i], want[i])
			case errors.Is(err, errRefused):
				keys = append(keys, at[i])
			default:
				errs[at[i]] = err
			}
		}
		if len(keys) == 0 {
			return errs, nil
		}
		if err := f.catchUp(ctx, w, x, keys); err != nil {
			return nil, err
		}
	}
	return nil, unavailable("queue.lease", f.q.name, errors.New("too many others change it"))
}

// maxRaces is how often a write is tried again that was too late each time.
const maxRaces = 32

// catchUp brings the index's leases of these groups up to date.
func (f *fifo) catchUp(ctx context.Context, w *wire, x *index, keys []hash) error {
	leases, err := f.refresh(ctx, w, keys)
	if err != nil {
		return err
	}
	for k, l := range leases {
		x.setLease(k, l)
	}
	return nil
}

func newToken() (t token) {
	_, _ = rand.Read(t[:]) // never fails
	return t
}

// newProcess names this process among those that work on the same queues.
func newProcess() uint32 {
	t := newToken()
	return binary.BigEndian.Uint32(t[:]) | 1
}

// purge removes all messages but remembers their deduplication ids. What has been
// sent after the mark stays.
func (f *fifo) purge(ctx context.Context, w *wire) error {
	const op = "queue.Purge"
	r := f.q.record.Load()
	x, err := f.index(ctx, w)
	if err != nil {
		return err
	}
	s, err := w.js.Stream(ctx, r.stream())
	if err != nil {
		return f.q.streamError(op, err)
	}
	last := s.CachedInfo().State.LastSeq
	select { // the young ones among them must be known
	case <-x.reached(last):
	case <-time.After(settle):
	case <-ctx.Done():
		return ctx.Err()
	}
	young, old := x.young(last, time.Now())
	mark := request{subject: r.purgeMark(), header: nats.Header{"Nats-Rollup": {"sub"}, headPurged: {strconv.FormatUint(last, 10)}}}
	if _, err := f.q.written(op, w.exchange(ctx, []request{mark}, answerTimeout)[0]); err != nil {
		return err
	}
	if err := f.buryYoung(ctx, w, young); err != nil {
		return err
	}
	x.purgedTo(last)
	// Up to old there is nothing but messages whose window has ended. Behind it lie
	// tombstones too, which must stay.
	for filter, to := range map[string]uint64{r.fifoMessages(): old, r.leases(): last} {
		if to == 0 {
			continue
		}
		err := s.Purge(ctx, jetstream.WithPurgeSubject(filter), jetstream.WithPurgeSequence(to+1))
		if err != nil {
			return f.q.streamError(op, err)
		}
	}
	return nil
}
