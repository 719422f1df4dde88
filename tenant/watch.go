package tenant

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq"
)

const (
	watchRetry = 250 * time.Millisecond
	watchCheck = 5 * time.Second // how often the watch is compared with the bucket
	applyWait  = 10 * time.Second
)

// view is the index and its upkeep: one watch on the whole bucket.
//
// The nats client already carries a watch over a short interruption. Beyond that
// the whole index is read again: after every reconnection, when the watch ends,
// and when it is found to be behind the bucket.
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
		if first != nil {
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
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	floor, err := s.last(ctx)
	if err != nil {
		return err
	}
	w, err := s.kv.WatchAll(ctx)
	if err != nil {
		return err
	}
	defer drainWatch(w)
	if err := v.load(ctx, w, floor); err != nil {
		return err
	}
	loaded()
	check := time.NewTicker(watchCheck)
	defer check.Stop()
	var suspect uint64 // the bucket's revision at the last check, if the index was behind it
	for {
		select {
		case e, ok := <-w.Updates():
			if !ok {
				return errors.New("the watch ended")
			}
			if e != nil {
				v.apply(e)
			}
		case <-status:
			return errRewatch
		case <-v.rewatch:
			return errRewatch
		case <-check.C:
			if suspect > v.applied() {
				return errRewatch
			}
			if suspect, err = s.last(ctx); err != nil {
				suspect = 0
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// drainWatch ends a watch. Its goroutine may be blocked on a full channel, which
// is therefore emptied until it is closed.
func drainWatch(w jetstream.KeyWatcher) {
	if err := w.Stop(); err != nil {
		return // the connection is closed, and with it the subscription
	}
	t := time.NewTimer(time.Second)
	defer t.Stop()
	for {
		select {
		case _, ok := <-w.Updates():
			if !ok {
				return
			}
		case <-t.C:
			return
		}
	}
}

func (v *view) applied() uint64 {
	v.mu.RLock()
	defer v.mu.RUnlock()
	return v.x.applied
}

// load reads the initial values of a watch into a new index and puts it in the
// place of the old one. The bucket was at revision floor before the watch began;
// what made that revision may since have expired.
func (v *view) load(ctx context.Context, w jetstream.KeyWatcher, floor uint64) error {
	x := newIndex()
	x.applied = floor
	var bad []func()
	for {
		var e jetstream.KeyValueEntry
		var ok bool
		select {
		case e, ok = <-w.Updates():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if !ok {
			return errors.New("the watch ended while loading")
		}
		if e == nil {
			break
		}
		x.applied = max(x.applied, e.Revision())
		if e.Operation() != jetstream.KeyValuePut {
			continue
		}
		if err := x.set(e.Key(), e.Value(), v.sealer); err != nil {
			bad = append(bad, func() { v.onError(e.Key(), err) })
		}
	}
	v.mu.Lock()
	old := v.x
	v.x, v.broken = x, nil
	v.mu.Unlock()
	for _, report := range bad {
		report()
	}
	for _, id := range old.gone(x) {
		v.onGone(id)
	}
	v.announce()
	v.onApply("")
	return nil
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
