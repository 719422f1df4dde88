package queue

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A queue keeps the number of copies that it was made with until a process starts
// with another setting. Then that process brings all queues in line, once: what is
// started last decides, so that a setting can be rolled out one process at a time.

const scaleRetry = 10 * time.Second // such as while too few servers are there

// replicas is the number of copies that the queue's stream has.
func (r *record) replicas() int { return max(1, r.Replicas) }

// scaleAll gives every queue the replicas of the configuration; it goes on until that
// is done or ctx ends.
func (s *Service) scaleAll(ctx context.Context) {
	select {
	case <-s.loaded:
	case <-ctx.Done():
		return
	}
	for {
		left := 0
		for _, q := range s.all() {
			r := q.record.Load()
			if r.State != stateActive || r.replicas() == s.cfg.Replicas {
				continue
			}
			if err := q.scale(ctx); err != nil && ctx.Err() == nil {
				left++
				s.log.WarnContext(ctx, "queue keeps its number of replicas for now", "queue", q.name, "namespace_id", q.space.id,
					"replicas", r.replicas(), "wanted", s.cfg.Replicas, "error", err)
			}
		}
		if left == 0 {
			return
		}
		select {
		case <-time.After(scaleRetry):
		case <-ctx.Done():
			return
		}
	}
}

// scale gives the queue the replicas of the configuration.
func (q *Queue) scale(ctx context.Context) error {
	w, err := q.svc.connection(ctx, q.space)
	if err != nil {
		return err
	}
	r, n := q.record.Load(), q.svc.cfg.Replicas
	_, err = retried(ctx, q.svc, func(ctx context.Context) (jetstream.Stream, error) {
		return w.js.UpdateStream(ctx, r.streamConfig(n))
	})
	var consumers []jetstream.ConsumerConfig
	if q.fifo == nil {
		consumers = append(consumers, r.consumerConfig(n))
		if r.Crowd {
			consumers = append(consumers, r.crowdConfig(n))
		}
	}
	for _, c := range consumers {
		if err != nil {
			break
		}
		_, err = retried(ctx, q.svc, func(ctx context.Context) (jetstream.Consumer, error) {
			return w.js.UpdateConsumer(ctx, r.stream(), c)
		})
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrConsumerNotFound) {
		return q.streamError("queue.scale", err)
	}
	if err != nil {
		return unavailable("queue.scale", q.name, err)
	}
	return q.change(ctx, "queue.scale", func(r *record) error {
		r.Replicas = n
		return nil
	})
}
