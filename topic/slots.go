package topic

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// How many attempts may be under way at once. An endpoint begins with all of its
// places and loses half whenever it gives no answer, so that many dead endpoints leave
// room for those that work.
const (
	processSlots     = 2048
	namespaceSlots   = 256
	endpointSlots    = 32
	endpointMinSlots = 2
)

// slots bounds the attempts that are under way: in this process, for a namespace, and
// for each endpoint of a namespace.
type slots struct {
	process *semaphore.Weighted

	mu         sync.Mutex
	namespaces map[string]*namespaceGate
	endpoints  map[string]*gate
}

type namespaceGate struct {
	sem   *semaphore.Weighted
	users int
}

// gate counts the attempts at one endpoint.
type gate struct {
	limit   int
	used    int
	users   int // who knows it; it is dropped with the last
	waiting []chan struct{}
}

func newSlots() *slots {
	return &slots{process: semaphore.NewWeighted(processSlots), namespaces: map[string]*namespaceGate{}, endpoints: map[string]*gate{}}
}

// slot is the right to one attempt.
type slot struct {
	s                   *slots
	namespace, endpoint string
}

func key(namespace, endpoint string) string { return namespace + "\n" + endpoint }

// acquire waits for a slot.
func (s *slots) acquire(ctx context.Context, namespace, endpoint string) (slot, error) {
	if err := s.enter(ctx, key(namespace, endpoint)); err != nil {
		return slot{}, err
	}
	n := s.namespace(namespace)
	if err := n.sem.Acquire(ctx, 1); err != nil {
		s.leaveNamespace(namespace, 0)
		s.leave(key(namespace, endpoint))
		return slot{}, err
	}
	if err := s.process.Acquire(ctx, 1); err != nil {
		s.leaveNamespace(namespace, 1)
		s.leave(key(namespace, endpoint))
		return slot{}, err
	}
	return slot{s, namespace, endpoint}, nil
}

// room is how many messages for an endpoint may be taken from a consumer: as many as
// the endpoint has places, or only one when others wait for it.
func (s *slots) room(namespace, endpoint string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.endpoints[key(namespace, endpoint)]
	switch {
	case g == nil:
		return endpointSlots
	case len(g.waiting) > 0:
		return 1
	}
	return g.limit
}

// enter takes a place at an endpoint.
func (s *slots) enter(ctx context.Context, k string) error {
	s.mu.Lock()
	g := s.endpoints[k]
	if g == nil {
		g = &gate{limit: endpointSlots}
		s.endpoints[k] = g
	}
	g.users++
	if g.used < g.limit && len(g.waiting) == 0 {
		g.used++
		s.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	g.waiting = append(g.waiting, turn)
	s.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	for i, w := range g.waiting {
		if w == turn {
			g.waiting = append(g.waiting[:i], g.waiting[i+1:]...)
			s.forget(k, g)
			s.mu.Unlock()
			return ctx.Err()
		}
	}
	s.mu.Unlock()
	s.leave(k) // the turn came at the same moment
	return ctx.Err()
}

// leave gives a place at an endpoint back.
func (s *slots) leave(k string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.endpoints[k]
	g.used--
	s.admit(g)
	s.forget(k, g)
}

// admit hands free places to those who wait. The caller holds mu.
func (s *slots) admit(g *gate) {
	for g.used < g.limit && len(g.waiting) > 0 {
		g.used++
		close(g.waiting[0])
		g.waiting = g.waiting[1:]
	}
}

// forget drops one user of a gate. A gate with fewer places than usual is kept while it
// may matter: until its endpoint has answered again, or nobody has tried for long.
func (s *slots) forget(k string, g *gate) {
	g.users--
	if g.users == 0 && (g.limit == endpointSlots || len(s.endpoints) > processSlots) {
		delete(s.endpoints, k)
	}
}

func (s *slots) namespace(id string) *namespaceGate {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.namespaces[id]
	if n == nil {
		n = &namespaceGate{sem: semaphore.NewWeighted(namespaceSlots)}
		s.namespaces[id] = n
	}
	n.users++
	return n
}

func (s *slots) leaveNamespace(id string, taken int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.namespaces[id]
	n.sem.Release(taken)
	if n.users--; n.users == 0 {
		delete(s.namespaces, id)
	}
}

// release gives the slot back.
func (x slot) release() {
	x.s.process.Release(1)
	x.s.leaveNamespace(x.namespace, 1)
	x.s.leave(key(x.namespace, x.endpoint))
}

// learn adapts the endpoint's places to how an attempt ended. The caller has a slot.
func (x slot) learn(answered bool) {
	x.s.mu.Lock()
	defer x.s.mu.Unlock()
	g := x.s.endpoints[key(x.namespace, x.endpoint)]
	if answered {
		g.limit = min(g.limit+1, endpointSlots)
	} else {
		g.limit = max(g.limit/2, endpointMinSlots)
	}
	x.s.admit(g)
}
