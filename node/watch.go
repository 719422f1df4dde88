package node

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// A watch is served by one replica, which may be behind the leader when it begins, and
// which may go away. So it is compared with the leader: at the end of the first round,
// and whenever somebody writes and the watch does not show it.
const (
	levelEvery = 200 * time.Millisecond // how often the leader is asked while the first round is not complete
	behindFor  = 1500 * time.Millisecond
	checkEvery = 30 * time.Second // without a sign of a write
)

var errIncomplete = errors.New("the watch is behind the bucket")

// WatchAll passes every entry to each, then nil once all that was there when it began
// has been passed, then every change, until ctx ends or each returns an error. It ends
// with an error too when the watch breaks or falls behind; the caller begins anew.
func (b *Bucket) WatchAll(ctx context.Context, each func(jetstream.KeyValueEntry) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	written := make(chan struct{}, 1)
	hint, err := b.js.Conn().Subscribe(b.subject(">"), func(*nats.Msg) {
		select {
		case written <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return err
	}
	defer func() { _ = hint.Unsubscribe() }() // fails only when the connection is closed
	updates, err := Retry(ctx, b.patience, func(try context.Context) (jetstream.KeyWatcher, error) {
		return startWatch(ctx, try, b.kv)
	})
	if err != nil {
		return err
	}
	defer drainWatch(updates)
	w := &watch{b: b, each: each, updates: updates.Updates(), written: written}
	if err := w.load(ctx); err != nil {
		return err
	}
	return w.follow(ctx)
}

// startWatch makes a watch that lives as long as ctx, within the time of try.
func startWatch(ctx, try context.Context, kv jetstream.KeyValue) (jetstream.KeyWatcher, error) {
	type made struct {
		w   jetstream.KeyWatcher
		err error
	}
	c := make(chan made, 1)
	go func() {
		w, err := kv.WatchAll(ctx)
		c <- made{w, err}
	}()
	select {
	case m := <-c:
		return m.w, m.err
	case <-try.Done():
		go func() { // it may still come
			if m := <-c; m.err == nil {
				drainWatch(m.w)
			}
		}()
		return nil, try.Err()
	}
}

type watch struct {
	b       *Bucket
	each    func(jetstream.KeyValueEntry) error
	updates <-chan jetstream.KeyValueEntry
	written <-chan struct{} // somebody writes, perhaps
	seen    uint64
}

var errWatchEnded = errors.New("the watch ended")

func (w *watch) take(e jetstream.KeyValueEntry) error {
	w.seen = max(w.seen, e.Revision())
	return w.each(e)
}

// load passes the first round and makes sure that it is complete: nothing that the
// leader has is newer than what was passed.
func (w *watch) load(ctx context.Context) error {
	for first := true; first; {
		select {
		case e, ok := <-w.updates:
			switch {
			case !ok:
				return errWatchEnded
			case e == nil:
				first = false
			default:
				if err := w.take(e); err != nil {
					return err
				}
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	for {
		behind, err := w.behind(ctx)
		if err != nil {
			return err
		}
		if !behind {
			return w.each(nil)
		}
		if err := w.drainFor(ctx, levelEvery); err != nil {
			return err
		}
	}
}

// drainFor takes what comes within d.
func (w *watch) drainFor(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		select {
		case e, ok := <-w.updates:
			if !ok {
				return errWatchEnded
			}
			if e != nil {
				if err := w.take(e); err != nil {
					return err
				}
			}
		case <-t.C:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// behind reports whether the leader has something newer than what was seen.
func (w *watch) behind(ctx context.Context) (bool, error) {
	last, err := Retry(ctx, w.b.patience, func(ctx context.Context) (jetstream.KeyValueEntry, error) { return w.b.last(ctx, ">") })
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		return false, nil
	case err != nil:
		return false, err
	}
	return last.Revision() > w.seen, nil
}

// follow passes changes until something is wrong.
func (w *watch) follow(ctx context.Context) error {
	check := time.NewTimer(checkEvery)
	defer check.Stop()
	for expecting, asked := false, uint64(0); ; {
		select {
		case e, ok := <-w.updates:
			if !ok {
				return errWatchEnded
			}
			if e == nil {
				continue
			}
			if err := w.take(e); err != nil {
				return err
			}
		case <-w.written:
			if !expecting {
				expecting, asked = true, w.seen
				check.Reset(behindFor)
			}
		case <-check.C:
			if !expecting || w.seen == asked {
				// A moment between the two answers: what is written now is not missing yet.
				behind, err := w.behind(ctx)
				if err == nil && behind {
					seen := w.seen
					if err := w.drainFor(ctx, levelEvery); err != nil {
						return err
					}
					if w.seen == seen {
						return errIncomplete
					}
				}
			}
			expecting = false
			check.Reset(checkEvery)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// drainWatch ends a watch. Its goroutine may be blocked on a full channel, which is
// therefore emptied until it is closed.
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
