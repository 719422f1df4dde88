package topic

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq/node"
)

// follower keeps a copy of a bucket right in memory and knows how far it has come.
type follower struct {
	js     jetstream.JetStream
	bucket string
	// apply takes one change: a nil value means that the key is gone. It is called
	// for one change at a time and never with an older one of the same key.
	apply func(key string, value []byte, revision uint64)
	log   *slog.Logger

	kv     *node.Bucket
	loaded chan struct{} // closed when everything has been read once
	again  chan struct{} // asks for the bucket to be read anew
	ended  chan struct{} // closed when nobody follows any more

	mu    sync.Mutex
	known map[string]known
	seen  uint64        // every change up to here has been applied
	moved chan struct{} // closed when seen grows
	next  *question     // not asked yet
	busy  bool          // somebody is asking
}

// known is the last change of a key.
type known struct {
	revision uint64
	gone     bool // removed by this process, whose removal has a revision nobody told it
}

// question is one look at how far the bucket has come, for all who want one.
type question struct {
	done chan struct{}
	last uint64
	err  error
}

func newFollower(js jetstream.JetStream, bucket string, log *slog.Logger, apply func(string, []byte, uint64)) *follower {
	return &follower{
		js: js, bucket: bucket, apply: apply, log: log,
		loaded: make(chan struct{}), again: make(chan struct{}, 1), ended: make(chan struct{}), known: map[string]known{}, moved: make(chan struct{}),
	}
}

// markerTTL is how long the marker of a removed key stays, so that others see it.
const markerTTL = time.Hour

func (f *follower) open(ctx context.Context, replicas int) (err error) {
	f.kv, err = node.OpenBucket(ctx, f.js, node.BucketConfig{Name: f.bucket, Description: "topics and subscriptions", Replicas: replicas})
	return err
}

// run follows the bucket until ctx ends.
func (f *follower) run(ctx context.Context) {
	defer close(f.ended)
	for ctx.Err() == nil {
		err := f.watch(ctx)
		if ctx.Err() != nil {
			return
		}
		f.log.WarnContext(ctx, "watch interrupted", "bucket", f.bucket, "error", err)
		select {
		case <-time.After(watchRetry):
		case <-ctx.Done():
		}
	}
}

const watchRetry = 250 * time.Millisecond

var errBehind = errors.New("it has fallen behind")

// watch reads the bucket from the start and then follows it.
func (f *follower) watch(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	over := make(chan struct{})
	defer func() { cancel(nil); <-over }()
	go func() {
		defer close(over)
		select {
		case <-f.again:
			cancel(errBehind)
		case <-ctx.Done():
		}
	}()
	last, err := f.kv.Revision(ctx)
	if err != nil {
		return err
	}
	present := map[string]bool{} // nil once everything has been read
	return f.kv.WatchAll(ctx, func(e jetstream.KeyValueEntry) error {
		switch {
		case e == nil:
			f.forgetOthers(present, last)
			present = nil
			f.reached(last)
			select {
			case <-f.loaded:
			default:
				close(f.loaded)
			}
			return nil
		case e.Operation() != jetstream.KeyValuePut:
			f.take(e.Key(), nil, e.Revision())
		default:
			if present != nil {
				present[e.Key()] = true
			}
			f.take(e.Key(), e.Value(), e.Revision())
		}
		if present == nil {
			f.reached(e.Revision())
		}
		return nil
	})
}

// forgetOthers drops keys that were removed while nobody watched.
func (f *follower) forgetOthers(present map[string]bool, last uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, k := range f.known {
		if !present[key] && k.revision <= last {
			delete(f.known, key)
			f.apply(key, nil, last)
		}
	}
}

func (f *follower) reached(revision uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if revision > f.seen {
		f.seen = revision
		close(f.moved)
		f.moved = make(chan struct{})
	}
}

// take applies a change unless it is an old one.
func (f *follower) take(key string, value []byte, revision uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch k, ok := f.known[key]; {
	case ok && k.revision >= revision:
		return
	case value == nil && (!ok || k.gone):
		delete(f.known, key)
		return
	case value == nil:
		delete(f.known, key)
	default:
		f.known[key] = known{revision: revision}
	}
	f.apply(key, value, revision)
}

// create writes a key that must not be there, and applies it.
func (f *follower) create(ctx context.Context, key string, value []byte) error {
	revision, err := f.kv.Create(ctx, key, value)
	if err == nil {
		f.take(key, value, revision)
	}
	return err
}

// update writes a key whose last change must be that revision, and applies it.
func (f *follower) update(ctx context.Context, key string, value []byte, last uint64) error {
	revision, err := f.kv.Update(ctx, key, value, last)
	if err == nil {
		f.take(key, value, revision)
	}
	return err
}

// remove removes a key whose last change must be that revision, and applies it.
func (f *follower) remove(ctx context.Context, key string, last uint64) error {
	if _, err := f.kv.Remove(ctx, key, node.Purge{Revision: last, TTL: markerTTL}); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if k, ok := f.known[key]; ok && k.revision == last {
		f.known[key] = known{revision: last, gone: true}
		f.apply(key, nil, last)
	}
	return nil
}

// fallenBehind is how long the watch may take to show what the bucket holds before
// the bucket is read anew.
const fallenBehind = 2 * time.Second

var errEnded = errors.New("the process is stopping")

// fresh returns when everything has been applied that was written before the call,
// by whichever process.
func (f *follower) fresh(ctx context.Context) error {
	last, err := f.last(ctx)
	if err != nil {
		return err
	}
	timer := time.NewTimer(fallenBehind)
	defer timer.Stop()
	for {
		f.mu.Lock()
		seen, moved := f.seen, f.moved
		f.mu.Unlock()
		if seen >= last {
			return nil
		}
		select {
		case <-moved:
		case <-timer.C:
			select {
			case f.again <- struct{}{}:
			default:
			}
			timer.Reset(fallenBehind)
		case <-f.ended:
			return errEnded
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// last asks the bucket's leader for its last revision. Those who ask while a
// request is on its way share the next one.
func (f *follower) last(ctx context.Context) (uint64, error) {
	f.mu.Lock()
	q := f.next
	if q == nil {
		q = &question{done: make(chan struct{})}
		f.next = q
	}
	if !f.busy {
		f.busy = true
		go f.ask(context.WithoutCancel(ctx))
	}
	f.mu.Unlock()
	select {
	case <-q.done:
		return q.last, q.err
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
}

// ask answers questions until there are none.
func (f *follower) ask(ctx context.Context) {
	for {
		f.mu.Lock()
		q := f.next
		f.next = nil
		f.busy = q != nil
		f.mu.Unlock()
		if q == nil {
			return
		}
		q.last, q.err = f.kv.Revision(ctx)
		close(q.done)
	}
}
