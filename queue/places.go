package queue

import "github.com/openmnq/mnq"

// places are the names of queues that this process is making, by namespace. They
// count against the quota before their definitions are written, so that calls at
// the same time do not all find the last place free. Two processes still may.
type places map[string]map[string]int

// reserve takes a place for a queue unless the namespace has as many as its quota
// allows. Every success is followed by one vacate.
func (s *Service) reserve(ns mnq.Namespace, name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	making := s.making[ns.ID]
	if limit := ns.Quota.Queues; limit >= 0 {
		n := int64(0)
		stands := func(name string) bool {
			sp := s.spaces[ns.ID]
			return sp != nil && sp.queues[name] != nil && sp.queues[name].record.Load().State != stateDeleted
		}
		for other := range making {
			if other != name && !stands(other) {
				n++
			}
		}
		if sp := s.spaces[ns.ID]; sp != nil {
			for other := range sp.queues {
				if other != name && stands(other) {
					n++
				}
			}
		}
		if n >= limit {
			return false
		}
	}
	if making == nil {
		making = map[string]int{}
		s.making[ns.ID] = making
	}
	making[name]++
	return true
}

// vacate gives a place back, once the queue stands or could not be made.
func (s *Service) vacate(ns mnq.Namespace, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	making := s.making[ns.ID]
	if making[name]--; making[name] <= 0 {
		delete(making, name)
	}
	if len(making) == 0 {
		delete(s.making, ns.ID)
	}
}
