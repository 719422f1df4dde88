package queue

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
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
	kept     atomic.Pointer[keptRules]

	starting chan struct{} // holds a token while somebody begins to follow the stream

	mu   sync.Mutex
	live *follower // nil while nobody receives
	owed []owed
	owes chan struct{} // holds a token when something has been added to owed
}

func newFIFO(q *Queue) *fifo {
	return &fifo{q: q, starting: make(chan struct{}, 1), owes: make(chan struct{}, 1)}
}

// rules are those of the queue's attributes now.
func (f *fifo) rules() rules {
	r := f.q.record.Load()
	kept := f.kept.Load()
	if kept == nil || kept.of != r {
		s := r.Settings
		kept = &keptRules{of: r, rules: rules{self: f.q.svc.self, delay: s.seconds(attrDelay), retention: s.seconds(attrRetention), most: f.q.svc.maxInFlight}}
		if p, ok := s.redrive(); ok {
			kept.rules.receives, kept.target = uint32(p.Receives), p.Target //nolint:gosec // at most 1,000
		} else if old := f.kept.Load(); old != nil {
			kept.target = old.target
		}
		f.kept.Store(kept)
	}
	now := kept.rules
	if now.receives > 0 {
		now.target = nowhere
		if to := f.q.svc.byARN(f.q.space.id, kept.target); to != nil && to.fifo != nil {
			now.target = to.id
		}
	}
	return now
}

// keptRules are rules of a definition, without what depends on other queues.
type keptRules struct {
	of     *record
	rules  rules
	target string // ARN of the dead-letter queue, also of the last one that was
}

// index returns the follower with its index, up to what this process itself has sent.
func (f *fifo) index(ctx context.Context, w *link) (*follower, error) {
	fw, err := f.follower(ctx, w)
	if err != nil {
		return nil, f.q.streamError("queue.index", err)
	}
	fw.used.Store(time.Now().UnixNano())
	for waiting := true; waiting; {
		select {
		case <-fw.loaded:
			waiting = false
		case <-time.After(settle): // the last records may have gone before they were read
			if complete, err := f.level(ctx, fw, settle); err != nil {
				return nil, err
			} else if complete {
				fw.ready()
			}
		case <-f.q.closed:
			return nil, missing(f.q.name)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	fw.x.setRules(f.rules())
	fw.x.await(ctx, f.lastSent.Load(), settle) // it may be gone already
	select {
	case <-f.q.closed:
		return nil, missing(f.q.name)
	default:
		return fw, ctx.Err()
	}
}

// follower starts to follow the stream unless that goes on already.
func (f *fifo) follower(ctx context.Context, w *link) (*follower, error) {
	if fw := f.following(); fw != nil && fw.w == w {
		return fw, nil
	}
	select {
	case f.starting <- struct{}{}:
		defer func() { <-f.starting }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	old := f.following()
	if old != nil && old.w == w {
		return old, nil
	}
	if err := f.q.svc.run.Err(); err != nil {
		return nil, err
	}
	fw := f.newFollower(w)
	if err := fw.start(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.live = fw
	f.mu.Unlock()
	if old != nil {
		old.end()
	}
	return fw, nil
}

func (f *fifo) following() *follower {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.live
}

// tend removes the leases of groups that have been empty for a while, gives back
// what nobody received, and ends with the follower or when nobody uses it any more.
func (f *fifo) tend(fw *follower) {
	ctx := fw.run
	const most = 256 // leases removed at a time
	tick := time.NewTicker(leaseIdle / 2)
	defer tick.Stop()
	for {
		var soon <-chan time.Time
		if f.giveBack(ctx, fw) {
			soon = time.After(time.Second)
		}
		select {
		case <-soon:
			continue
		case <-f.owes:
			continue
		case <-tick.C:
		case <-f.q.closed:
			f.drop(fw)
			return
		case <-ctx.Done():
			f.drop(fw)
			return
		}
		if time.Since(time.Unix(0, fw.used.Load())) > followIdle {
			f.drop(fw)
			return
		}
		var reqs []request
		for _, idle := range fw.x.idle(time.Now(), most) {
			reqs = append(reqs, f.q.deleteRequest(idle.seq))
		}
		fw.w.Exchange(ctx, reqs, answerTimeout) // what fails stays until the stream's MaxAge
		_, _ = f.level(ctx, fw, settle)         // makes the follower begin anew if it is stuck
	}
}

func (f *fifo) drop(fw *follower) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.live == fw {
		f.live = nil
	}
	fw.end()
}

// counts answers from the index, so they are exact but for what is on its way.
func (f *fifo) counts(ctx context.Context) (Counts, error) {
	w, err := f.q.svc.connection(ctx, f.q.space)
	if err != nil {
		return Counts{}, err
	}
	fw, err := f.index(ctx, w)
	if err != nil {
		return Counts{}, err
	}
	return fw.x.counts(time.Now()), nil
}

// refresh reads leases from the stream, which knows better than the index.
func (f *fifo) refresh(ctx context.Context, w *link, keys []hash) (map[hash]lease, error) {
	r := f.q.record.Load()
	reqs := make([]request, len(keys))
	for i, k := range keys {
		reqs[i] = f.q.getRequest(`{"last_by_subj":"` + r.leaseSubject(k) + `"}`)
	}
	out := make(map[hash]lease, len(keys))
	for i, a := range w.Exchange(ctx, reqs, answerTimeout) {
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
// the lease as it is and returns what it shall be, or false to leave it. The result
// has an error for each group whose change may not hold, and the leases that do.
func (f *fifo) rewrite(ctx context.Context, fw *follower, keys []hash, edit func(hash, lease) (lease, bool)) (map[hash]lease, map[hash]error) {
	held, errs := map[hash]lease{}, map[hash]error{}
	for range maxRaces {
		var reqs []request
		var at []hash
		var want []lease
		r := f.q.record.Load()
		for _, k := range keys {
			now, _ := fw.x.lookup(k, 0)
			if next, ok := edit(k, now); ok {
				reqs, at, want = append(reqs, r.leaseWrite(k, next)), append(at, k), append(want, next)
			}
		}
		keys = nil
		for i, a := range f.q.write(ctx, fw.w, reqs) {
			seq, err := f.q.written("queue.lease", a)
			switch {
			case err == nil:
				want[i].seq = seq
				held[at[i]] = want[i]
				fw.x.leased(at[i], want[i])
			case errors.Is(err, errRefused):
				keys = append(keys, at[i])
			default:
				errs[at[i]] = err
			}
		}
		if len(keys) == 0 {
			return held, errs
		}
		if err := f.catchUp(ctx, fw, keys); err != nil {
			for _, k := range keys {
				errs[k] = err
			}
			return held, errs
		}
	}
	for _, k := range keys {
		errs[k] = unavailable("queue.lease", f.q.name, errors.New("too many others change it"))
	}
	return held, errs
}

// maxRaces is how often a write is tried again that was too late each time.
const maxRaces = 32

// catchUp brings the index's leases of these groups up to date.
func (f *fifo) catchUp(ctx context.Context, fw *follower, keys []hash) error {
	leases, err := f.refresh(ctx, fw.w, keys)
	if err != nil {
		return err
	}
	for k, l := range leases {
		fw.x.setLease(k, l)
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
func (f *fifo) purge(ctx context.Context, w *link) error {
	const op = "queue.Purge"
	r := f.q.record.Load()
	fw, err := f.index(ctx, w)
	if err != nil {
		return err
	}
	s, err := w.js.Stream(ctx, r.stream())
	if err != nil {
		return f.q.streamError(op, err)
	}
	last := s.CachedInfo().State.LastSeq
	switch complete, err := f.level(ctx, fw, answerTimeout); {
	case err != nil:
		return err
	case !complete: // the young ones among them must be known
		return unavailable(op, f.q.name, errBehind)
	}
	young, old := fw.x.young(last, time.Now())
	mark := request{Subject: r.purgeMark(), Header: nats.Header{headPurged: {strconv.FormatUint(last, 10)}}}
	if _, err := f.q.written(op, w.Exchange(ctx, []request{mark}, answerTimeout)[0]); err != nil {
		return err
	}
	if err := f.buryYoung(ctx, w, young); err != nil {
		return err
	}
	fw.x.purgedTo(last)
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
