package topic

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/openmnq/mnq/internal/wire"
)

// troubles are the subscriptions whose queues could not be written a moment ago. They
// are left to their own deliveries for a while, so that they do not hold up others.
type troubles struct {
	mu    sync.Mutex
	until map[string]time.Time // by subscription
}

func (s *Service) inTrouble(sub *subscriptionRecord) bool {
	s.troubles.mu.Lock()
	defer s.troubles.mu.Unlock()
	until, ok := s.troubles.until[sub.ID]
	if ok && time.Now().After(until) {
		delete(s.troubles.until, sub.ID)
		ok = false
	}
	return ok
}

func (s *Service) trouble(sub *subscriptionRecord) {
	s.troubles.mu.Lock()
	defer s.troubles.mu.Unlock()
	if s.troubles.until == nil {
		s.troubles.until = map[string]time.Time{}
	}
	s.troubles.until[sub.ID] = time.Now().Add(troubleTime)
}

// park notes that a subscription has deliveries of its own, so that every process looks
// for them. Those of other protocols than sqs always have.
func (s *Service) park(ctx context.Context, sub *subscriptionRecord) error {
	if sub.Protocol != protoSQS || sub.Parked {
		return nil
	}
	for range maxRaces {
		sub = s.subscriptionByID(sub.ID)
		if sub == nil || sub.Parked {
			return nil
		}
		err := s.rewrite(ctx, sub, func(r *subscriptionRecord) error {
			r.Parked = true
			return nil
		})
		if err == nil || !wire.LostRace(err) {
			return err
		}
		if err := s.defs.fresh(ctx); err != nil {
			return err
		}
	}
	return unavailable("topic.park", "", errBusy)
}

func onceHeader(name string) nats.Header { return nats.Header{"Nats-Msg-Id": {name}} }
