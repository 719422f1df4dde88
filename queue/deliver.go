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
