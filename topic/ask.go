package topic

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/google/uuid"
	"golang.org/x/time/rate"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/wire"
)

// How often endpoints are asked to confirm a subscription, so that Subscribe cannot be
// used to flood somebody: at first some at once, then so many a second. What comes
// sooner waits for its turn; what would wait longer than askQueue is refused.
const (
	askPerHost, askHostBurst           = 1, 10
	askPerAddress, askAddressBurst     = 2, 20
	askPerNamespace, askNamespaceBurst = 5, 50

	askQueue    = time.Minute
	askLimiters = 10_000 // kept of each sort
)

// askLimits are those of this process: with several processes there is as much again
// for each.
type askLimits struct {
	mu         sync.Mutex
	hosts      map[string]*rate.Limiter
	addresses  map[netip.Addr]*rate.Limiter
	namespaces map[string]*rate.Limiter
}

func newAskLimits() *askLimits {
	return &askLimits{hosts: map[string]*rate.Limiter{}, addresses: map[netip.Addr]*rate.Limiter{}, namespaces: map[string]*rate.Limiter{}}
}

// turn takes a place in the line for a target and returns when that is.
func (l *askLimits) turn(namespaceID string, t target, now time.Time) (time.Time, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t.loopback() {
		return now, nil
	}
	limiters := []*rate.Limiter{
		limiter(l.namespaces, namespaceID, askPerNamespace, askNamespaceBurst, now),
		limiter(l.hosts, t.host, askPerHost, askHostBurst, now),
	}
	for _, a := range t.addrs {
		limiters = append(limiters, limiter(l.addresses, a, askPerAddress, askAddressBurst, now))
	}
	var wait time.Duration
	taken := make([]*rate.Reservation, len(limiters))
	for i, r := range limiters {
		taken[i] = r.ReserveN(now, 1)
		wait = max(wait, taken[i].DelayFrom(now))
	}
	if wait > askQueue {
		for _, r := range taken {
			r.CancelAt(now)
		}
		return time.Time{}, &mnq.Error{
			Kind: mnq.Throttled, Code: "Throttled", Op: "topic.Subscribe", Field: "Endpoint",
			Msg: "Too many endpoints on that host, or of this account, wait for their confirmation request. Try again in a minute.",
		}
	}
	return now.Add(wait), nil
}

// loopback reports whether the target is this machine itself, which nobody else can
// be flooded through.
func (t target) loopback() bool {
	for _, a := range t.addrs {
		if !a.Unmap().IsLoopback() {
			return false
		}
	}
	return len(t.addrs) > 0
}

// limiter returns the limiter of one key. Those that are full again are forgotten when
// there are many.
func limiter[K comparable](m map[K]*rate.Limiter, k K, perSecond rate.Limit, burst int, now time.Time) *rate.Limiter {
	r := m[k]
	if r == nil {
		if len(m) >= askLimiters {
			for k, r := range m {
				if r.TokensAt(now) >= float64(r.Burst()) {
					delete(m, k)
				}
			}
		}
		r = rate.NewLimiter(perSecond, burst)
		m[k] = r
	}
	return r
}

// turnToAsk takes a place for the confirmation request that a subscription will need.
// It is zero for one that needs none.
func (t *Topic) turnToAsk(in NewSubscription, to target) (time.Time, error) {
	if in.Protocol != protoHTTP && in.Protocol != protoHTTPS {
		return time.Time{}, nil
	}
	if old := t.svc.subscriptionAt(t.id, subscriptionKey(t.namespaceID, t.id, in.Protocol, in.Endpoint)); old != nil && old.State == stateConfirmed {
		return time.Time{}, nil
	}
	return t.svc.asks.turn(t.namespaceID, to, time.Now())
}

// askForConfirmation has the endpoint of a pending subscription asked to confirm it,
// when its turn has come. The request is durable: it is attempted like a notification,
// with the default policy.
func (s *Service) askForConfirmation(ctx context.Context, t *Topic, r *subscriptionRecord, turn time.Time) error {
	if turn.IsZero() {
		return nil
	}
	return s.enqueueRequest(ctx, t, r, &message{kind: subscriptionConfirmation, id: uuid.New(), publishedAt: turn})
}

// tellUnsubscribed tells the endpoint of a removed subscription. That is a courtesy: the
// subscription is removed already.
func (s *Service) tellUnsubscribed(ctx context.Context, t *Topic, r *subscriptionRecord) {
	err := s.enqueueRequest(ctx, t, r, &message{kind: unsubscribeConfirmation, id: uuid.New(), publishedAt: time.Now()})
	if err != nil {
		s.log.WarnContext(ctx, "endpoint not told that it was unsubscribed", "topic", t.name, "namespace_id", t.namespaceID, "subscription", r.ID, "error", err)
	}
}

func (s *Service) enqueueRequest(ctx context.Context, t *Topic, r *subscriptionRecord, m *message) error {
	if err := t.enqueue(ctx, r, m); err != nil {
		return err
	}
	s.deliveries.wake(r) //nolint:contextcheck // a source lives longer than the call
	return nil
}

// expireSubscriptions removes those that were not confirmed in time, and those that were
// removed and cannot be restored any more. Several processes may do the same.
func (s *Service) expireSubscriptions(ctx context.Context, now time.Time) {
	s.mu.RLock()
	var over []*subscriptionRecord
	for _, r := range s.byID {
		if (r.State == statePending || r.State == stateRemoved) && now.After(r.Changed.Add(tokenLife)) {
			over = append(over, r)
		}
	}
	s.mu.RUnlock()
	for _, r := range over {
		if err := s.defs.remove(ctx, r.key, r.revision); err != nil && !wire.LostRace(err) && ctx.Err() == nil {
			s.log.WarnContext(ctx, "expired subscription stays", "topic", r.Topic, "namespace_id", r.namespaceID, "subscription", r.ID, "error", err)
			return
		}
	}
}
