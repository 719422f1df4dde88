package topic

import (
	"context"
	"time"
)

const (
	// sweepEvery is the pause between two rounds of the sweep, and how long a deleted
	// topic is left to whoever deleted it.
	sweepEvery = 30 * time.Second

	// orphanAfter is how long a namespace must be unknown before its definitions are
	// taken for left behind by a process that died while deleting it.
	orphanAfter = 10 * time.Minute

	// strayAfter is the same for subscriptions of a topic that is not there.
	strayAfter = time.Minute
)

// sweeper finishes what processes that died have left. Several may do so at once.
type sweeper struct {
	s       *Service
	strays  map[string]time.Time // topic incarnations whose subscriptions are left, and since when
	orphans map[string]time.Time // namespaces that are not there, and since when
}

func (s *Service) sweep(ctx context.Context) {
	w := &sweeper{s: s, strays: map[string]time.Time{}, orphans: map[string]time.Time{}}
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		w.round(ctx, time.Now())
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (w *sweeper) round(ctx context.Context, now time.Time) {
	s := w.s
	s.expireSubscriptions(ctx, now)
	s.sweepBridges(ctx, now.Add(-sweepEvery))
	for _, t := range s.halfDeleted(now.Add(-sweepEvery)) {
		if err := s.clear(ctx, t); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "deleted topic not cleared yet", "topic", t.name, "namespace_id", t.namespaceID, "error", err)
		}
	}
	w.sweepStrays(ctx, now)
	w.sweepOrphans(now)
}

func (s *Service) halfDeleted(before time.Time) []*Topic {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []*Topic
	for _, sp := range s.spaces {
		for _, t := range sp.topics {
			if d := t.state.Load().Deleted; !d.IsZero() && d.Before(before) {
				out = append(out, t)
			}
		}
	}
	return out
}

// sweepStrays removes subscriptions whose topic is not there: they were made while it
// was being deleted.
func (w *sweeper) sweepStrays(ctx context.Context, now time.Time) {
	found := w.s.strays()
	for id := range w.strays {
		if !found[id] {
			delete(w.strays, id)
		}
	}
	var old []string
	for id := range found {
		if w.strays[id].IsZero() {
			w.strays[id] = now
		}
		if now.Sub(w.strays[id]) >= strayAfter {
			old = append(old, id)
		}
	}
	if len(old) == 0 || w.s.defs.fresh(ctx) != nil {
		return
	}
	found = w.s.strays()
	for _, id := range old {
		if !found[id] {
			continue
		}
		if err := w.s.removeSubscriptions(ctx, id); err != nil && ctx.Err() == nil {
			w.s.log.WarnContext(ctx, "subscriptions of a deleted topic stay", "error", err)
		}
	}
}

// strays are the incarnations of topics that are not there but have subscriptions.
func (s *Service) strays() map[string]bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := map[string]bool{}
	for id, set := range s.subs {
		if s.topics[id] == nil && !s.unreadable[set.namespaceID] {
			out[id] = true
		}
	}
	return out
}

// sweepOrphans removes the definitions of namespaces that are gone.
func (w *sweeper) sweepOrphans(now time.Time) {
	if w.s.cfg.Exists == nil {
		return
	}
	w.s.mu.RLock()
	ids := make([]string, 0, len(w.s.spaces))
	for id := range w.s.spaces {
		ids = append(ids, id)
	}
	w.s.mu.RUnlock()
	for _, id := range ids {
		exists, sure := w.s.cfg.Exists(id)
		switch {
		case exists || !sure:
			delete(w.orphans, id)
		case w.orphans[id].IsZero():
			w.orphans[id] = now
		case now.Sub(w.orphans[id]) >= orphanAfter:
			delete(w.orphans, id)
			w.s.NamespaceGone(id)
		}
	}
}
