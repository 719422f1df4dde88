package topic

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq/internal/wire"
	"github.com/openmnq/mnq/node"
)

// throttles keep subscriptions to their maxReceivesPerSecond, all processes together.
// Every attempt has a moment of its own, and moments are given out by compare-and-set
// on one value for each subscription: the first moment that nobody has. A process takes
// a quarter of a second's worth at once.
type throttles struct {
	js       jetstream.JetStream
	replicas int

	mu   sync.Mutex
	kv   *node.Bucket
	each map[string]*throttle // by subscription
}

const (
	throttleBucket = "mnq_throttle"
	throttleFor    = time.Hour // a value that old means nothing
	throttleChunks = 4         // a second
	maxThrottles   = 10_000    // kept; those out of use are forgotten when there are more
)

// throttle is what this process has taken of one subscription's moments.
type throttle struct {
	mu   sync.Mutex
	next time.Time
	left int
}

func newThrottles(js jetstream.JetStream, replicas int) *throttles {
	return &throttles{js: js, replicas: replicas, each: map[string]*throttle{}}
}

// throttleChunk is how many moments are taken at once.
func throttleChunk(perSecond int) int { return max(1, perSecond/throttleChunks) }

// wait returns at the next moment of the subscription, or with ctx's error.
func (x *throttles) wait(ctx context.Context, subscriptionID string, perSecond int) error {
	at, err := x.of(subscriptionID).take(perSecond, time.Now(), func(n int) (time.Time, error) {
		return x.reserve(ctx, subscriptionID, time.Duration(n)*interval(perSecond))
	})
	if err != nil {
		return err
	}
	return waitUntil(ctx, at)
}

func waitUntil(ctx context.Context, at time.Time) error {
	timer := time.NewTimer(time.Until(at))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func interval(perSecond int) time.Duration { return time.Second / time.Duration(perSecond) }

func (x *throttles) of(id string) *throttle {
	x.mu.Lock()
	defer x.mu.Unlock()
	t := x.each[id]
	if t == nil {
		if len(x.each) >= maxThrottles {
			clear(x.each) // whose moments are lost, which only makes them slower once
		}
		t = &throttle{}
		x.each[id] = t
	}
	return t
}

// take returns the next moment. Moments that went by unused are not made up for.
func (t *throttle) take(perSecond int, now time.Time, reserve func(n int) (time.Time, error)) (time.Time, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left == 0 || now.Sub(t.next) > interval(perSecond) {
		n := throttleChunk(perSecond)
		from, err := reserve(n)
		if err != nil {
			return time.Time{}, err
		}
		t.next, t.left = from, n
	}
	at := t.next
	t.next = at.Add(interval(perSecond))
	t.left--
	return at, nil
}

// reserve takes a span of time for this process and returns where it begins.
func (x *throttles) reserve(ctx context.Context, id string, span time.Duration) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, wire.Timeout)
	defer cancel()
	kv, err := x.open(ctx)
	if err != nil {
		return time.Time{}, err
	}
	for {
		e, err := kv.Get(ctx, id)
		if err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
			return time.Time{}, err
		}
		from := time.Now()
		if err == nil && len(e.Value()) == 8 {
			if free := time.Unix(0, int64(binary.BigEndian.Uint64(e.Value()))); free.After(from) && free.Before(from.Add(throttleFor)) { //nolint:gosec // written from an int64
				from = free
			}
		}
		value := binary.BigEndian.AppendUint64(nil, uint64(from.Add(span).UnixNano()))
		if err != nil {
			_, err = kv.Create(ctx, id, value)
		} else {
			_, err = kv.Update(ctx, id, value, e.Revision())
		}
		if err == nil {
			return from, nil
		}
		if !wire.LostRace(err) {
			return time.Time{}, err
		}
	}
}

// open makes the bucket when it is first needed.
func (x *throttles) open(ctx context.Context) (*node.Bucket, error) {
	x.mu.Lock()
	kv := x.kv
	x.mu.Unlock()
	if kv != nil {
		return kv, nil
	}
	kv, err := node.OpenBucket(ctx, x.js, node.BucketConfig{
		Name: throttleBucket, Description: "rates of deliveries", TTL: throttleFor, Replicas: x.replicas,
	})
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	x.kv = kv
	x.mu.Unlock()
	return kv, nil
}
