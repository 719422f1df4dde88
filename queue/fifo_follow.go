package queue

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"
)

// follower feeds an index from the stream: every record in the stream's order and
// none left out, whatever happens to the connection, the consumer or the server.
// It lags when something is wrong, it is never wrong itself.
type follower struct {
	f      *fifo
	w      *link
	x      *index
	run    context.Context // until end is called or the service stops
	end    context.CancelFunc
	doubt  chan struct{} // holds a token when something may be missing
	loaded chan struct{} // closed when what was there at the start has been seen
	load   sync.Once
	used   atomic.Int64 // Unix nanoseconds
}

const (
	// followIdle is how long an index is kept that nobody uses.
	followIdle = 10 * time.Minute
	// followBeat is how often the server says that there is nothing new.
	followBeat = 5 * time.Second
	// followPause is the time between two tries to follow, when the server refuses.
	followPause = 500 * time.Millisecond
)

var (
	errBehind = errors.New("this process has not read the whole queue yet")
	errGap    = errors.New("records are missing")
	errSilent = errors.New("the server has gone silent")
	errBroken = errors.New("the connection was made anew")
)

func (f *fifo) newFollower(w *link) *follower {
	fw := &follower{
		f: f, w: w, x: newIndex(f.q.svc.self, f.rules()), doubt: make(chan struct{}, 1), loaded: make(chan struct{}),
	}
	fw.run, fw.end = context.WithCancel(f.q.svc.run)
	fw.used.Store(time.Now().UnixNano())
	return fw
}

// start begins to follow the stream.
func (fw *follower) start(ctx context.Context) error {
	first, err := fw.begin(ctx)
	if err != nil {
		fw.end()
		return err
	}
	fw.f.q.svc.done.Go(func() { fw.follow(first) })
	fw.f.q.svc.done.Go(func() { fw.f.tend(fw) })
	return nil
}

// follow reads on until the follower ends. Whatever may have got lost on the way, it
// begins anew behind what has been seen.
func (fw *follower) follow(r *reading) {
	ctx := fw.run
	defer fw.x.stop()
	for {
		why := r.wait(ctx)
		r.end()
		for r = nil; r == nil; {
			if ctx.Err() != nil || fw.w.Conn().IsClosed() {
				return // who needs an index makes another one
			}
			if why != nil {
				fw.f.q.svc.log.DebugContext(ctx, "queue is followed anew", "queue", fw.f.q.name, "namespace_id", fw.f.q.space.id, "reason", why)
			}
			if r, why = fw.begin(ctx); why == nil {
				break
			}
			select {
			case <-time.After(followPause):
			case <-ctx.Done():
			}
		}
	}
}

// suspect makes the follower begin anew.
func (fw *follower) suspect() {
	select {
	case fw.doubt <- struct{}{}:
	default:
	}
}

// ready lets the index be used. It may still lag, as it always may.
func (fw *follower) ready() { fw.load.Do(func() { close(fw.loaded) }) }

// reading is the part of the stream that one consumer of the server's hands out.
type reading struct {
	fw     *follower
	sub    *nats.Subscription
	name   string // of the consumer
	broken <-chan struct{}
	fault  chan error

	mu    sync.Mutex
	over  bool
	last  uint64 // the consumer's last sequence
	heard time.Time
}

// begin makes a consumer that starts behind what has been seen.
func (fw *follower) begin(ctx context.Context) (*reading, error) {
	r := &reading{fw: fw, name: nuid.Next(), broken: fw.w.Broken(), fault: make(chan error, 1), heard: time.Now()}
	inbox := fw.w.Conn().NewInbox()
	var err error
	if r.sub, err = fw.w.Conn().Subscribe(inbox, r.receive); err != nil {
		return nil, err
	}
	if err := r.sub.SetPendingLimits(-1, -1); err != nil { // the server's flow control bounds it
		return nil, err
	}
	c, err := fw.w.js.CreatePushConsumer(ctx, fw.f.q.record.Load().stream(), jetstream.ConsumerConfig{
		Name: r.name, DeliverSubject: inbox,
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: fw.x.position() + 1,
		AckPolicy: jetstream.AckNonePolicy, HeadersOnly: true,
		FlowControl: true, IdleHeartbeat: followBeat, InactiveThreshold: 2 * followBeat,
		MemoryStorage: true, Replicas: 1,
	})
	if err != nil {
		r.end()
		return nil, err
	}
	if c.CachedInfo().NumPending == 0 && c.CachedInfo().Delivered.Consumer == 0 {
		fw.ready()
	}
	return r, nil
}

// wait returns why this reading cannot go on.
func (r *reading) wait(ctx context.Context) error {
	beat := time.NewTicker(followBeat)
	defer beat.Stop()
	for {
		select {
		case err := <-r.fault:
			return err
		case <-r.broken: // what was on the way is lost, and nothing may come that shows it
			return errBroken
		case <-r.fw.doubt:
			return errGap
		case <-beat.C:
			r.mu.Lock()
			silent := time.Since(r.heard) > 2*followBeat
			r.mu.Unlock()
			if silent {
				return errSilent
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// end makes sure that nothing of this reading reaches the index any more.
func (r *reading) end() {
	r.mu.Lock()
	r.over = true
	r.mu.Unlock()
	_ = r.sub.Unsubscribe() // fails only when the connection is gone
	// If this gets lost, the server does it when it finds nobody to deliver to.
	_ = r.fw.w.Conn().Publish("$JS.API.CONSUMER.DELETE."+r.fw.f.q.record.Load().stream()+"."+r.name, nil)
}

func (r *reading) fail(err error) {
	r.over = true
	r.fault <- err // has room for the first, and there is only one
}

// receive takes what the consumer sends, in order.
func (r *reading) receive(m *nats.Msg) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	r.heard = time.Now()
	switch m.Header.Get("Status") {
	case "":
		md, err := m.Metadata()
		if err != nil {
			r.fail(err)
			return
		}
		if r.last++; md.Sequence.Consumer != r.last {
			r.fail(errGap)
			return
		}
		r.fw.take(m, md)
	case "100": // a heartbeat says how much has been sent; the server waits for an answer to anything else
		if last := m.Header.Get("Nats-Last-Consumer"); last != "" && last != strconv.FormatUint(r.last, 10) {
			r.fail(errGap)
			return
		}
		if stalled := m.Header.Get("Nats-Consumer-Stalled"); stalled != "" {
			_ = r.fw.w.Conn().Publish(stalled, nil) // asked for again
		} else if m.Reply != "" {
			_ = m.Respond(nil) // asked for again
		}
	default: // 409: the consumer is gone
		r.fail(fmt.Errorf("%s %s", m.Header.Get("Status"), m.Header.Get("Description")))
	}
}

// take feeds one record to the index.
func (fw *follower) take(m *nats.Msg, md *nats.MsgMetadata) {
	seq, x := md.Sequence.Stream, fw.x
	kind, p, ok := parseSubject(m.Subject)
	switch h := m.Header; {
	case !ok: // not ours
	case kind == 'l':
		if le, err := decodeLease(seq, h.Get(headLease)); err == nil {
			x.leased(p.group, le)
		}
	case kind == 'p':
		if to, _, ok := parseGone(h.Get(headPurged) + " 0"); ok {
			x.purgedTo(to)
		}
	case h.Get(headGone) != "":
		if old, _, ok := parseGone(h.Get(headGone)); ok {
			x.gone(p.group, old)
		}
	case h.Get(headIntent) != "": // nothing yet
	default:
		if o, ok := parseFrom(h.Get(headFrom), p); ok && o.queue == fw.f.q.id {
			x.gone(p.group, o.seq) // it may have been in this very place
		}
		x.sent(p.group, waiting{seq: seq, sent: md.Timestamp.UnixNano()})
	}
	x.seen(seq)
	if md.NumPending == 0 {
		fw.ready()
	}
}

// level waits, at most for d, until the index has seen all that is in the stream
// now, and reports whether it has.
func (f *fifo) level(ctx context.Context, fw *follower, d time.Duration) (bool, error) {
	r := f.q.record.Load()
	a := fw.w.Exchange(ctx, []request{f.q.getRequest(`{"last_by_subj":` + strconv.Quote(r.subjects()) + `}`)}, answerTimeout)
	last, err := f.q.got("queue.index", a[0])
	if err != nil {
		return false, err
	}
	if last == nil {
		return true, nil
	}
	before := fw.x.position()
	if fw.x.await(ctx, last.seq, d) {
		return true, nil
	}
	if fw.x.position() == before {
		fw.suspect()
	}
	return false, ctx.Err()
}
