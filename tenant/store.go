package tenant

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/node"
)

const (
	bucket = "mnq_directory"

	// markerTTL is how long a deletion stays in the stream. A process that was cut
	// off rebuilds its cache when it is back, so it need not be long.
	markerTTL = 24 * time.Hour

	maxAttempts = 32 // of one compare-and-set
)

// store is the bucket, as records. Every write is conditional on the revision it was
// decided on.
type store struct{ kv *node.Bucket }

func openStore(ctx context.Context, n *node.Node) (*store, error) {
	kv, err := node.OpenBucket(ctx, n.Control(), node.BucketConfig{
		Name: bucket, Description: "OpenMNQ directory", Replicas: n.Replicas(),
	})
	if err != nil {
		return nil, unavailable("tenant.Start", "open the directory", err)
	}
	return &store{kv: kv}, nil
}

// unavailable wraps an error of the store.
func unavailable(op, what string, err error) error {
	if e, ok := errors.AsType[*mnq.Error](err); ok {
		return e
	}
	return &mnq.Error{Kind: mnq.Unavailable, Op: op, Msg: "the directory does not answer; try again", Resource: what, Err: err}
}

var errGone = &mnq.Error{Kind: mnq.NotFound, Op: "tenant.store", Msg: "record does not exist"}

// read returns the record now under key; errGone when there is none.
func (s *store) read(ctx context.Context, key string, r record) (revision uint64, err error) {
	e, err := s.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return 0, errGone
	}
	if err != nil {
		return 0, unavailable("tenant.read", key, err)
	}
	if err := decode(key, e.Value(), r); err != nil {
		return 0, &mnq.Error{Kind: mnq.Internal, Op: "tenant.read", Resource: key, Err: err}
	}
	return e.Revision(), nil
}

// create stores a new record; kind Exists when there is one under key.
func (s *store) create(ctx context.Context, key string, r record) (revision uint64, err error) {
	data, err := encode(r)
	if err != nil {
		return 0, err
	}
	revision, err = s.kv.Create(ctx, key, data)
	if errors.Is(err, node.ErrLostRace) {
		return 0, &mnq.Error{Kind: mnq.Exists, Op: "tenant.create", Resource: key, Err: err}
	}
	if err != nil {
		return 0, unavailable("tenant.create", key, err)
	}
	return revision, nil
}

// errKeep is returned by a decision of change that leaves the record as it is.
var errKeep = errors.New("no change")

// change reads the record under key into a fresh T, lets decide alter it and
// writes it back if nobody else has meanwhile, else starts again. An error of
// decide ends it without a write; errKeep ends it with success.
func change[T any, P interface {
	*T
	record
}](ctx context.Context, s *store, key string, decide func(P) error) (P, uint64, error) {
	for attempt := range maxAttempts {
		r := P(new(T))
		rev, err := s.read(ctx, key, r)
		if err != nil {
			return nil, 0, err
		}
		if err := decide(r); errors.Is(err, errKeep) {
			return r, rev, nil
		} else if err != nil {
			return nil, 0, err
		}
		data, err := encode(r)
		if err != nil {
			return nil, 0, err
		}
		rev, err = s.kv.Update(ctx, key, data, rev)
		if err == nil {
			return r, rev, nil
		}
		if !errors.Is(err, node.ErrLostRace) {
			return nil, 0, unavailable("tenant.change", key, err)
		}
		if err := backOff(ctx, attempt); err != nil {
			return nil, 0, unavailable("tenant.change", key, err)
		}
	}
	return nil, 0, &mnq.Error{Kind: mnq.Conflict, Op: "tenant.change", Resource: key, Msg: "changed by others all the time; try again"}
}

// remove deletes the record under key, whatever it is by now, and returns the
// revision of the deletion.
func (s *store) remove(ctx context.Context, key string) (revision uint64, err error) {
	revision, err = s.kv.Remove(ctx, key, node.Purge{TTL: markerTTL})
	if err != nil {
		return 0, unavailable("tenant.remove", key, err)
	}
	return revision, nil
}

// backOff waits a moment that grows with the attempts, so that competing writers
// drift apart.
func backOff(ctx context.Context, attempt int) error {
	t := time.NewTimer(rand.N(time.Duration(min(attempt+1, 10)) * 2 * time.Millisecond)) //nolint:gosec // jitter
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
