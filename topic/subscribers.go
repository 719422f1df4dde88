package topic

import (
	"slices"
	"strings"
	"sync/atomic"
)

// subscribers are the subscriptions of one incarnation of a topic. Changes are made
// under Service.mu; list may be read at any time.
type subscribers struct {
	namespaceID string

	byKey map[string]*subscriptionRecord
	list  atomic.Pointer[[]*subscriptionRecord] // nil after a change
}

func newSubscribers(namespaceID string) *subscribers {
	return &subscribers{namespaceID: namespaceID, byKey: map[string]*subscriptionRecord{}}
}

func (s *subscribers) empty() bool { return len(s.byKey) == 0 }

// put adds or replaces a subscription and returns the one it replaces.
func (s *subscribers) put(r *subscriptionRecord) (old *subscriptionRecord) {
	old = s.byKey[r.key]
	s.byKey[r.key] = r
	s.list.Store(nil)
	return old
}

func (s *subscribers) remove(key string) (old *subscriptionRecord) {
	old = s.byKey[key]
	delete(s.byKey, key)
	s.list.Store(nil)
	return old
}

// subscribers returns all subscriptions of a topic, removed ones included, in a list
// that nobody changes.
func (s *Service) subscribers(topicID string) []*subscriptionRecord {
	s.mu.RLock()
	defer s.mu.RUnlock()
	set := s.subs[topicID]
	if set == nil {
		return nil
	}
	if list := set.list.Load(); list != nil {
		return *list
	}
	list := make([]*subscriptionRecord, 0, len(set.byKey))
	for _, r := range set.byKey {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b *subscriptionRecord) int { return strings.Compare(a.ID, b.ID) })
	set.list.Store(&list)
	return list
}
