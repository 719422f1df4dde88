package queue

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/wire"
	"github.com/openmnq/mnq/node"
)

// rev is the revision of the definition that the queue knows.
func (q *Queue) rev() uint64 {
	q.svc.mu.RLock()
	defer q.svc.mu.RUnlock()
	return q.revision
}

// gone ends every waiting receive. The caller holds Service.mu.
func (q *Queue) gone() {
	delete(q.svc.ids, q.id)
	select {
	case <-q.closed:
	default:
		close(q.closed)
	}
}

// change rewrites the definition by compare-and-set until it holds. f gets a
// copy and may refuse with an error; it is called again after a lost race.
func (q *Queue) change(ctx context.Context, op string, f func(*record) error) error {
	for range 16 {
		r := *q.record.Load()
		if r.State == stateDeleted {
			return missing(q.name)
		}
		r.Settings, r.Tags = maps.Clone(r.Settings), maps.Clone(r.Tags)
		if err := f(&r); err != nil {
			return err
		}
		value, err := r.encode()
		if err != nil {
			return err
		}
		revision, err := q.svc.kv.Update(ctx, key(q.space.id, q.name), value, q.rev())
		if err == nil {
			q.svc.apply(q.space.id, q.name, &r, revision)
			return nil
		}
		if !lostRace(err) {
			return unavailable(op, q.name, err)
		}
		if err := q.svc.refresh(ctx, q.space.id, q.name); err != nil {
			return err
		}
		if now := q.svc.lookup(q.space.id, q.name); now != q {
			return missing(q.name)
		}
	}
	return unavailable(op, q.name, errors.New("too many others change it"))
}

// takeOver is how long a creation that another process has begun may take before
// this one assumes that the other has died and finishes it.
const takeOver = 5 * time.Second

// finishCreate returns when the queue's stream is there. Who wrote the definition
// makes it; anybody else waits for that, and makes it in the end.
func (q *Queue) finishCreate(ctx context.Context) error {
	if q.record.Load().State != stateCreating {
		return nil
	}
	select {
	case q.creating <- struct{}{}:
		defer func() { <-q.creating }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for give := time.Now().Add(takeOver); !q.mine.Load() && time.Now().Before(give); {
		if q.record.Load().State != stateCreating {
			return nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	r := q.record.Load()
	if r.State != stateCreating {
		return nil
	}
	w, err := q.svc.connection(ctx, q.space)
	if err != nil {
		return err
	}
	if err := q.svc.createStream(ctx, w.js, r.streamConfig(q.svc.cfg.Replicas)); err != nil {
		return q.createError(ctx, err)
	}
	if q.fifo != nil {
		return q.activate(ctx)
	}
	consumer := r.consumerConfig(q.svc.cfg.Replicas)
	consumer.MaxAckPending = q.svc.maxInFlight
	if err := q.svc.createConsumer(ctx, w.js, r.stream(), consumer); err != nil {
		return q.createError(ctx, err)
	}
	return q.activate(ctx)
}

// activate notes that the stream is there.
func (q *Queue) activate(ctx context.Context) error {
	return q.change(ctx, "queue.Create", func(r *record) error {
		if r.State == stateCreating {
			r.State, r.Replicas = stateActive, q.svc.cfg.Replicas
		}
		return nil
	})
}

// createStream makes a stream unless it is there.
func (s *Service) createStream(ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig) error {
	_, err := retried(ctx, s, func(ctx context.Context) (jetstream.Stream, error) { return js.CreateStream(ctx, cfg) })
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return nil
	}
	return err
}

// createConsumer makes a consumer unless it is there.
func (s *Service) createConsumer(ctx context.Context, js jetstream.JetStream, stream string, cfg jetstream.ConsumerConfig) error {
	_, err := retried(ctx, s, func(ctx context.Context) (jetstream.Consumer, error) { return js.CreateConsumer(ctx, stream, cfg) })
	if errors.Is(err, jetstream.ErrConsumerExists) {
		return nil
	}
	return err
}

// createError says why a stream could not be made. When the quota is in the way
// the definition is taken back, so that the refused call has changed nothing.
func (q *Queue) createError(ctx context.Context, err error) error {
	if !wire.OverQuota(err) {
		return unavailable("queue.Create", q.name, err)
	}
	if _, e := q.svc.kv.Remove(ctx, key(q.space.id, q.name), node.Purge{Revision: q.rev(), TTL: markerTTL}); e == nil {
		err = errors.Join(err, q.svc.refresh(ctx, q.space.id, q.name))
	}
	return storageFull("queue.Create", q.name, err)
}

// SetAttributes changes the named attributes and leaves the others. Errors as
// for [Service.Create].
func (q *Queue) SetAttributes(ctx context.Context, ns mnq.Namespace, attrs map[string]string) error {
	if err := q.finishCreate(ctx); err != nil {
		return err
	}
	before := q.record.Load().Settings.seconds(attrRetention)
	err := q.change(ctx, "queue.SetAttributes", func(r *record) error {
		s, err := r.Settings.change(attrs, ns.Quota)
		if err != nil {
			return err
		}
		if _, named := attrs[attrRedrive]; named {
			if err := q.svc.checkRedrive(ns, q.name, s); err != nil {
				return err
			}
		}
		r.Settings, r.Modified = s, time.Now().UTC()
		return nil
	})
	if err != nil || q.record.Load().Settings.seconds(attrRetention) == before {
		return err
	}
	return q.syncStream(ctx)
}

// syncStream brings the stream's configuration in line with the definition. The
// definition is read again afterwards, so that the last of two changes wins.
func (q *Queue) syncStream(ctx context.Context) error {
	w, err := q.svc.connection(ctx, q.space)
	if err != nil {
		return err
	}
	for {
		r := q.record.Load()
		if _, err := retried(ctx, q.svc, func(ctx context.Context) (jetstream.Stream, error) {
			return w.js.UpdateStream(ctx, r.streamConfig(q.svc.cfg.Replicas))
		}); err != nil {
			return q.streamError("queue.SetAttributes", err)
		}
		if q.record.Load().Settings.seconds(attrRetention) == r.Settings.seconds(attrRetention) {
			return nil
		}
	}
}

// Purge removes all messages, hidden and delayed ones too, and returns when they
// are gone. Within a minute of the last one: kind Throttled, code PurgeQueueInProgress.
func (q *Queue) Purge(ctx context.Context) error {
	if err := q.finishCreate(ctx); err != nil {
		return err
	}
	err := q.change(ctx, "queue.Purge", func(r *record) error {
		now := time.Now().UTC()
		if !q.svc.cfg.LenientNames && now.Sub(r.Purged) < nameHold {
			return &mnq.Error{
				Kind: mnq.Throttled, Code: "PurgeQueueInProgress", Op: "queue.Purge", Resource: q.name,
				Msg: "Only one PurgeQueue operation on " + q.name + " is allowed every 60 seconds.",
			}
		}
		r.Purged = now
		return nil
	})
	if err != nil {
		return err
	}
	w, err := q.svc.connection(ctx, q.space)
	if err != nil {
		return err
	}
	if q.fifo != nil {
		return q.fifo.purge(ctx, w)
	}
	if err := q.purgeStream(ctx, w.js); err != nil {
		return q.streamError("queue.Purge", err)
	}
	q.flight.reset()
	return nil
}

// purgeStream removes what is in the stream now, and nothing that comes after, however
// often it has to be tried.
func (q *Queue) purgeStream(ctx context.Context, js jetstream.JetStream) error {
	open := func(ctx context.Context) (jetstream.Stream, error) { return js.Stream(ctx, q.record.Load().stream()) }
	st, err := retried(ctx, q.svc, open)
	if err != nil {
		return err
	}
	last := st.CachedInfo().State.LastSeq
	_, err = retried(ctx, q.svc, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, st.Purge(ctx, jetstream.WithPurgeSequence(last+1))
	})
	return err
}

// Delete removes the queue and its messages. Waiting receives end with
// QueueDoesNotExist. The name stays taken for a minute.
func (q *Queue) Delete(ctx context.Context) error {
	if err := q.change(ctx, "queue.Delete", func(r *record) error {
		r.State, r.Deleted = stateDeleted, time.Now().UTC()
		return nil
	}); err != nil {
		return err
	}
	return q.svc.clear(ctx, q)
}

// clear removes the stream of a deleted queue and notes that it is gone. It may
// be repeated.
func (s *Service) clear(ctx context.Context, q *Queue) error {
	w, err := s.connection(ctx, q.space)
	if err != nil {
		return err
	}
	r := *q.record.Load()
	_, err = retried(ctx, s, func(ctx context.Context) (struct{}, error) { return struct{}{}, w.js.DeleteStream(ctx, r.stream()) })
	if err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return unavailable("queue.Delete", q.name, err)
	}
	r.Cleared = true
	value, err := r.encode()
	if err != nil {
		return err
	}
	revision, err := s.kv.Update(ctx, key(q.space.id, q.name), value, q.rev())
	switch {
	case err == nil:
		s.apply(q.space.id, q.name, &r, revision)
	case lostRace(err): // another process noted it
		return s.refresh(ctx, q.space.id, q.name)
	default:
		return unavailable("queue.Delete", q.name, err)
	}
	return nil
}

// sweep finishes what a process that died has left: streams of deleted queues,
// and the definitions themselves once their name is free again.
func (s *Service) sweep(ctx context.Context) {
	select {
	case <-s.loaded:
	case <-ctx.Done():
		return
	}
	tick := time.NewTicker(nameHold / 2)
	defer tick.Stop()
	for {
		s.sweepOnce(ctx)
		s.sweepOrphans(ctx)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Service) sweepOnce(ctx context.Context) {
	for _, q := range s.deleted() {
		if ctx.Err() != nil {
			return
		}
		r := q.record.Load()
		if !r.Cleared {
			if err := s.clear(ctx, q); err != nil {
				s.log.WarnContext(ctx, "deleted queue not cleared yet", "queue", q.name, "namespace_id", q.space.id, "error", err)
				continue
			}
		}
		if time.Since(r.Deleted) < nameHold {
			continue
		}
		k := key(q.space.id, q.name)
		if _, err := s.kv.Remove(ctx, k, node.Purge{Revision: q.rev(), TTL: markerTTL}); err != nil && !lostRace(err) {
			s.log.WarnContext(ctx, "deleted queue not forgotten yet", "queue", q.name, "namespace_id", q.space.id, "error", err)
		}
	}
}

func (s *Service) deleted() []*Queue {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []*Queue
	for _, sp := range s.spaces {
		for _, q := range sp.queues {
			if q.record.Load().State == stateDeleted {
				out = append(out, q)
			}
		}
	}
	return out
}

// orphanAfter is how long a namespace must be unknown before the definitions of
// its queues are taken for left behind by a process that died while deleting it.
const orphanAfter = 10 * time.Minute

// sweepOrphans removes the definitions of namespaces that are gone.
func (s *Service) sweepOrphans(ctx context.Context) {
	if s.cfg.Exists == nil {
		return
	}
	s.mu.RLock()
	spaces := slices.Collect(maps.Values(s.spaces))
	s.mu.RUnlock()
	for _, sp := range spaces {
		exists, sure := s.cfg.Exists(sp.id)
		switch {
		case exists || !sure:
			sp.lostAt = time.Time{}
		case sp.lostAt.IsZero():
			sp.lostAt = time.Now()
		case time.Since(sp.lostAt) >= orphanAfter:
			s.NamespaceGone(sp.id)
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// NamespaceGone forgets the queues of a namespace that has been deleted with all
// its streams. Waiting receives end at once; the definitions are removed in the
// background. Every process may call it, and again.
func (s *Service) NamespaceGone(namespaceID string) {
	s.mu.Lock()
	sp := s.spaces[namespaceID]
	if sp != nil {
		for _, q := range sp.queues {
			q.gone()
		}
		delete(s.spaces, namespaceID)
	}
	s.mu.Unlock()
	if sp == nil {
		return
	}
	sp.close()
	s.done.Go(func() {
		for name := range sp.queues {
			if _, err := s.kv.Remove(s.run, key(namespaceID, name), node.Purge{TTL: markerTTL}); err != nil && s.run.Err() == nil {
				s.log.WarnContext(s.run, "definition of a deleted namespace's queue stays", "queue", name, "namespace_id", namespaceID, "error", err)
			}
		}
	})
}

// DeleteAll deletes every queue of a namespace that goes on existing.
func (s *Service) DeleteAll(ctx context.Context, namespaceID string) error {
	names, _ := s.List(mnq.Namespace{ID: namespaceID}, "", "", 1<<30)
	for _, name := range names {
		q := s.lookup(namespaceID, name)
		if q == nil {
			continue
		}
		if err := q.Delete(ctx); err != nil && !mnq.IsNotFound(err) {
			return err
		}
	}
	return nil
}

func storageFull(op, name string, err error) error {
	return &mnq.Error{
		Kind: mnq.QuotaExceeded, Code: "OverLimit", Op: op, Resource: name, Err: err,
		Msg: "The storage quota of the namespace is used up. Delete or purge messages, or ask the operator for more.",
	}
}

// streamError turns a failure of the queue's stream into ours. A stream that is
// missing although the queue exists is a fault, not an empty queue.
func (q *Queue) streamError(op string, err error) error {
	select {
	case <-q.closed:
		return missing(q.name)
	default:
	}
	if wire.OverQuota(err) {
		return storageFull(op, q.name, err)
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) || strings.Contains(err.Error(), "stream not found") {
		return &mnq.Error{
			Kind: mnq.Unavailable, Op: op, Resource: q.name, Err: err, Msg: "The queue's storage is missing.",
			Hint: "the stream of an existing queue is not there: restore it from a backup, or delete the queue",
		}
	}
	return unavailable(op, q.name, err)
}
