package tenant

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/node"
)

const (
	watchRetry = 250 * time.Millisecond
	applyWait  = 10 * time.Second
)

// view is the index and its upkeep: one watch on the whole bucket.
//
// The nats client already carries a watch over a short interruption. Beyond that
// the whole index is read again: after every reconnection, and when the watch ends
// because it broke or was found to be behind the bucket.
type view struct {
	mu      sync.RWMutex
	x       *index
	sealer  *Sealer
	changed chan struct{} // closed and replaced whenever x.applied grows
	broken  error         // why the watch is not running; nil when it is

	rewatch chan struct{} // asks for a new watch
	onGone  func(namespaceID string)
	onApply func(key string)
	onError func(key string, err error)
}

func newView() *view {
	return &view{
		x: newIndex(), changed: make(chan struct{}), rewatch: make(chan struct{}, 1),
		broken: errors.New("not started"),
		onGone: func(string) {}, onApply: func(string) {}, onError: func(string, error) {},
	}
}

// look runs f on the index. f must not keep the index.
func (v *view) look(f func(x *index)) {
	v.mu.RLock()
	defer v.mu.RUnlock()
	f(v.x)
}

// wait returns when the index has taken in the revision, so that the caller's own
// writes are seen by what it asks next.
func (v *view) wait(ctx context.Context, revision uint64) error {
	ctx, cancel := context.WithTimeout(ctx, applyWait)
	defer cancel()
	nudge := time.NewTimer(applyWait / 4)
	defer nudge.Stop()
	for {
		v.mu.RLock()
		applied, changed := v.x.applied, v.changed
		v.mu.RUnlock()
		if applied >= revision {
			return nil
		}
		select {
		case <-changed:
		case <-nudge.C:
			v.requestRewatch()
		case <-ctx.Done():
			return unavailable("tenant.wait", "own write", context.Cause(ctx))
		}
	}
}

func (v *view) requestRewatch() {
	select {
	case v.rewatch <- struct{}{}:
	default:
	}
}

func (v *view) ready() error {
	v.mu.RLock()
	defer v.mu.RUnlock()
	if v.broken == nil {
		return nil
	}
	return &mnq.Error{Kind: mnq.Unavailable, Op: "tenant.Ready", Msg: "the directory is not being followed", Err: v.broken}
}

func (v *view) setBroken(err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.broken = err
}

// run keeps the index right until ctx ends. first receives the outcome of the
// first load.
func (v *view) run(ctx context.Context, s *store, conn *nats.Conn, first chan<- error) {
	status := conn.StatusChanged(nats.CONNECTED)
	defer conn.RemoveStatusListener(status)
	for ctx.Err() == nil {
		err := v.follow(ctx, s, status, func() {
			if first != nil {
				first <- nil
				first = nil
			}
		})
		if first != nil && !node.Temporary(err) {
			first <- err
			return
		}
		v.setBroken(err)
		if err := pause(ctx, watchRetry); err != nil {
			return
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

var errRewatch = errors.New("the watch is being renewed")

// follow loads the bucket and then takes in changes until the watch has to be
// renewed.
func (v *view) follow(ctx context.Context, s *store, status <-chan nats.Status, loaded func()) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	renew := make(chan struct{})
	defer func() { cancel(nil); <-renew }()
	go func() {
		defer close(renew)
		select {
		case <-status:
		case <-v.rewatch:
		case <-ctx.Done():
		}
		cancel(errRewatch)
	}()
	floor, err := s.kv.Revision(ctx)
	if err != nil {
		return err
	}
	l := &load{view: v, x: newIndex()}
	l.x.applied = floor // what made that revision may have expired since
	return s.kv.WatchAll(ctx, func(e jetstream.KeyValueEntry) error {
		switch {
		case e == nil:
			l.done()
			l = nil
			loaded()
		case l != nil:
			l.take(e)
		default:
			v.apply(e)
		}
		return nil
	})
}

// load is an index on its way to replace the one in use.
type load struct {
	view *view
	x    *index
	bad  []func()
}

func (l *load) take(e jetstream.KeyValueEntry) {
	l.x.applied = max(l.x.applied, e.Revision())
	if e.Operation() != jetstream.KeyValuePut {
		l.x.drop(e.Key()) // an older value may have come before it
		return
	}
	if err := l.x.set(e.Key(), e.Value(), l.view.sealer); err != nil {
		l.bad = append(l.bad, func() { l.view.onError(e.Key(), err) })
	}
}

func (l *load) done() {
	v := l.view
	v.mu.Lock()
	old := v.x
	v.x, v.broken = l.x, nil
	v.mu.Unlock()
	for _, report := range l.bad {
		report()
	}
	for _, id := range old.gone(l.x) {
		v.onGone(id)
	}
	v.announce()
	v.onApply("")
}

// apply takes in one change. Hooks run before the change is announced, so a
// writer that waits for its own write finds them done.
func (v *view) apply(e jetstream.KeyValueEntry) {
	key := e.Key()
	prefix, id := splitKey(key)
	var err error
	v.mu.Lock()
	stood := prefix == namespacePrefix && v.x.namespace(id) != nil
	if e.Operation() == jetstream.KeyValuePut {
		err = v.x.set(key, e.Value(), v.sealer)
	} else {
		v.x.drop(key)
	}
	gone := stood && v.x.namespace(id) == nil
	v.mu.Unlock()
	if err != nil {
		v.onError(key, err)
	}
	if gone {
		v.onGone(id)
	}
	v.mu.Lock()
	v.x.applied = max(v.x.applied, e.Revision())
	v.mu.Unlock()
	v.announce()
	v.onApply(key)
}

func (v *view) announce() {
	v.mu.Lock()
	defer v.mu.Unlock()
	close(v.changed)
	v.changed = make(chan struct{})
}
