package queue

import (
	"context"

	"github.com/openmnq/mnq"
)

// Admit counts n bytes that are about to be stored in the namespace beside its queues,
// or refuses them when they would not leave a reserve: QuotaExceeded (OverLimit).
func (s *Service) Admit(ctx context.Context, ns mnq.Namespace, n int64) error {
	sp := s.space(ns.ID)
	w, err := s.connection(ctx, sp)
	if err != nil {
		return err
	}
	return sp.admit(ctx, w, n+overhead, ns.ID)
}

// space returns the namespace, which may have no queues yet.
func (s *Service) space(id string) *space {
	s.mu.Lock()
	defer s.mu.Unlock()
	sp := s.spaces[id]
	if sp == nil {
		sp = newSpace(id)
		s.spaces[id] = sp
	}
	return sp
}

// Find is [Service.Queue] for who must be sure that there is no such queue, though
// another process may have made it a moment ago: what is not known here is looked for in
// the store.
func (s *Service) Find(ctx context.Context, ns mnq.Namespace, name string) (*Queue, error) {
	if q, err := s.Queue(ns, name); err == nil {
		return q, nil
	}
	if err := s.refresh(ctx, ns.ID, name); err != nil {
		return nil, err
	}
	return s.Queue(ns, name)
}
