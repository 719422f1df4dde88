package queue

import (
	"context"
	"strings"
	"time"
)

// MoveRank orders the streams of a namespace by how far down the way of dead letters
// they are: that of a queue comes after those of the queues whose dead letters it gets.
// Queues that are each other's dead-letter queues are in no order. ok is false for a
// stream that is not a queue's.
func (s *Service) MoveRank(stream string) (rank int, ok bool) {
	id, ok := strings.CutPrefix(stream, "q_")
	if !ok {
		return 0, false
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	q := s.ids[id]
	if q == nil {
		return 0, true
	}
	return q.depth(map[*Queue]bool{}), true
}

// depth is the length of the longest way of dead letters that ends in q. The caller holds
// Service.mu.
func (q *Queue) depth(seen map[*Queue]bool) (deepest int) {
	seen[q] = true
	for _, other := range q.space.queues {
		if !seen[other] && other.redrivesTo(q.name) {
			deepest = max(deepest, 1+other.depth(seen))
		}
	}
	return deepest
}

// MovedSince says where message move tasks have moved something since a revision of the same
// call, or do at the moment. The first call has revision 0 and asks for no more than the
// revision.
func (s *Service) MovedSince(ctx context.Context, since uint64) (revision uint64, namespaces []string, active bool, err error) {
	revision, err = s.tasks.kv.Revision(ctx)
	if err != nil {
		return 0, nil, false, err
	}
	if err := s.tasks.await(ctx, revision); err != nil {
		return 0, nil, false, err
	}
	found := map[string]bool{}
	s.tasks.mu.Lock()
	defer s.tasks.mu.Unlock()
	for k, l := range s.tasks.known {
		running := false
		for _, m := range l.moves {
			running = running || m.Status.active()
		}
		active = active || running
		if ns, _, _ := splitKey(k); running || since > 0 && l.revision > since {
			found[ns] = true
		}
	}
	for ns := range found {
		namespaces = append(namespaces, ns)
	}
	return revision, namespaces, active, nil
}

// await returns when this process has seen a revision of the tasks, or shows that it was
// of a task that has been forgotten since.
func (t *tasks) await(ctx context.Context, revision uint64) error {
	for try := 0; ; try++ {
		t.mu.Lock()
		newest := uint64(0)
		for _, l := range t.known {
			newest = max(newest, l.revision)
		}
		t.mu.Unlock()
		if newest >= revision || try == 40 {
			return nil
		}
		select {
		case <-time.After(25 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
