package topic

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/wire"
)

// Protocols of subscriptions.
const (
	protoSQS    = "sqs"
	protoHTTP   = "http"
	protoHTTPS  = "https"
	protoLambda = "lambda"
	protoNATS   = "nats" // ours
)

// needsConfirmation reports whether the endpoint has to confirm a subscription.
func needsConfirmation(protocol string) bool {
	switch protocol {
	case protoHTTP, protoHTTPS, "email", "email-json":
		return true
	}
	return false
}

// Subscription is one subscription as clients see it.
type Subscription struct {
	ID       string // UUID
	TopicARN string
	Topic    string // name
	Protocol string
	Endpoint string // a password in it is masked
	Owner    string // account
	Pending  bool   // its endpoint has not confirmed it
}

// ARN returns the subscription's resource name.
func (s Subscription) ARN() string { return s.TopicARN + ":" + s.ID }

// Place is where the subscription stands in lists.
func (s Subscription) Place() string { return s.Topic + ":" + s.ID }

func (s *Service) shown(ns mnq.Namespace, r *subscriptionRecord) Subscription {
	return Subscription{
		ID: r.ID, TopicARN: s.arn(ns, r.Topic), Topic: r.Topic, Protocol: r.Protocol, Endpoint: displayEndpoint(r.Endpoint),
		Owner: r.Owner, Pending: r.State == statePending,
	}
}

// NewSubscription is what Subscribe makes.
type NewSubscription struct {
	Protocol   string
	Endpoint   string
	Attributes map[string]string
	Principal  string // ARN of the caller
}

// Subscribe makes a subscription, or finds the one of that protocol and endpoint when
// it has the same attributes. It gets what is published after the call; one of protocol
// http or https only after its endpoint has confirmed it, which each call asks it to
// do while it has not. Errors: Invalid (InvalidParameter), Denied (AuthorizationError),
// NotFound, QuotaExceeded (SubscriptionLimitExceeded, FilterPolicyLimitExceeded),
// Throttled when too many endpoints wait to be asked.
func (t *Topic) Subscribe(ctx context.Context, ns mnq.Namespace, in NewSubscription) (Subscription, error) {
	if err := t.ready(ctx); err != nil {
		return Subscription{}, err
	}
	to, err := t.checkEndpoint(ctx, ns, in)
	if err != nil {
		return Subscription{}, err
	}
	want, err := newSubscriptionSettings(t, ns, in)
	if err != nil {
		return Subscription{}, err
	}
	turn, err := t.turnToAsk(in, to)
	if err != nil {
		return Subscription{}, err
	}
	r, err := t.findOrSubscribe(ctx, ns, in, want)
	if err == nil && r.State == statePending {
		err = t.svc.askForConfirmation(ctx, t, r, turn)
	}
	if err != nil {
		return Subscription{}, err
	}
	return t.svc.shown(ns, r), nil
}

func (t *Topic) findOrSubscribe(ctx context.Context, ns mnq.Namespace, in NewSubscription, want settings) (*subscriptionRecord, error) {
	const op = "topic.Subscribe"
	key := subscriptionKey(t.namespaceID, t.id, in.Protocol, in.Endpoint)
	for range maxRaces {
		old := t.svc.subscriptionAt(t.id, key)
		if old != nil && old.State != stateRemoved {
			return old, old.sameAs(want)
		}
		r, err := t.subscribe(ctx, ns, key, in, want, old)
		if err == nil || !wire.LostRace(err) {
			return r, err
		}
		if err := t.svc.defs.fresh(ctx); err != nil {
			return nil, unavailable(op, t.name, err)
		}
	}
	return nil, unavailable(op, t.name, errBusy)
}

// sameAs refuses to take the subscription for one with other attributes.
func (r *subscriptionRecord) sameAs(want settings) error {
	for name, v := range want {
		if r.Settings[name] != v {
			return invalid("Attributes Reason: Subscription already exists with different attributes")
		}
	}
	return nil
}

func (t *Topic) subscribe(ctx context.Context, ns mnq.Namespace, key string, in NewSubscription, want settings, old *subscriptionRecord) (*subscriptionRecord, error) { //nolint:revive // see below
	const op = "topic.Subscribe"
	if err := t.room(ns, want); err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	r := &subscriptionRecord{
		Version: recordVersion, ID: uuid.NewString(), Topic: t.name, Protocol: in.Protocol, Endpoint: in.Endpoint,
		Owner: ns.Account(), Principal: in.Principal, State: stateConfirmed, Settings: want, Token: 1, Created: now, Changed: now,
	}
	if needsConfirmation(in.Protocol) {
		r.State = statePending
	} else {
		r.Authenticated = true
		var err error
		if r.From, err = t.lastSequence(ctx); err != nil { // read before the subscription is written
			return nil, err
		}
	}
	value, err := json.Marshal(t.svc.seal.hide(key, r))
	if err != nil {
		return nil, err
	}
	if old == nil {
		err = t.svc.defs.create(ctx, key, value)
	} else {
		err = t.svc.defs.update(ctx, key, value, old.revision)
	}
	if err != nil {
		return nil, t.svc.stored(op, t.name, err)
	}
	if t.deleted() { // what was stored goes with it, or is swept
		return nil, missing(t.name)
	}
	return r, nil
}

// room refuses a subscription past the topic's quota.
func (t *Topic) room(ns mnq.Namespace, want settings) error {
	n, filters := int64(0), 0
	for _, r := range t.svc.subscribers(t.id) {
		if r.State == stateRemoved {
			continue
		}
		n++
		if r.Settings[attrFilter] != "" {
			filters++
		}
	}
	if limit := ns.Quota.Subscriptions; limit >= 0 && n >= limit {
		return &mnq.Error{
			Kind: mnq.QuotaExceeded, Code: "SubscriptionLimitExceeded", Op: "topic.Subscribe", Resource: t.name,
			Msg: "The topic has as many subscriptions as the namespace's quota allows. Remove one, or ask the operator for more.",
		}
	}
	if want[attrFilter] != "" && ns.Quota.Subscriptions >= 0 {
		return CheckFilterCount(filters + 1)
	}
	return nil
}

// lastSequence asks the leader of the topic's stream for its last sequence.
func (t *Topic) lastSequence(ctx context.Context) (uint64, error) {
	w, err := t.svc.wire(ctx, t.namespaceID)
	if err != nil {
		return 0, err
	}
	s, err := w.State(ctx, t.state.Load().stream(), "")
	if err != nil {
		return 0, t.streamError("topic.lastSequence", err)
	}
	return s.LastSequence, nil
}

// subscriptionAt returns the subscription at that place, or nil.
func (s *Service) subscriptionAt(topicID, key string) *subscriptionRecord {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if set := s.subs[topicID]; set != nil {
		return set.byKey[key]
	}
	return nil
}

// Subscriptions lists the subscriptions of a topic, or with "" of all topics, in the
// order of [Subscription.Place]: those after after, at most limit. The bool says that
// there are others.
func (s *Service) Subscriptions(ns mnq.Namespace, topic, after string, limit int) ([]Subscription, bool) {
	s.mu.RLock()
	var topics []*Topic
	if sp := s.spaces[ns.ID]; sp != nil {
		for name, t := range sp.topics {
			if (topic == "" || name == topic) && !t.deleted() {
				topics = append(topics, t)
			}
		}
	}
	s.mu.RUnlock()
	var out []Subscription
	for _, t := range topics {
		for _, r := range s.subscribers(t.id) {
			if sub := s.shown(ns, r); r.State != stateRemoved && sub.Place() > after {
				out = append(out, sub)
			}
		}
	}
	slices.SortFunc(out, func(a, b Subscription) int { return strings.Compare(a.Place(), b.Place()) })
	if len(out) > limit {
		return out[:limit], true
	}
	return out, false
}

// find returns a subscription by the last two parts of its ARN.
func (s *Service) find(ctx context.Context, ns mnq.Namespace, topic, id string) (*Topic, *subscriptionRecord, error) {
	for range 2 {
		if t := s.lookup(ns.ID, topic); t != nil && !t.deleted() {
			if r := s.subscriptionByID(id); r != nil && r.topicID == t.id && r.State != stateRemoved {
				return t, r, nil
			}
		}
		if !s.hear(ctx) {
			break
		}
	}
	return nil, nil, &mnq.Error{Kind: mnq.NotFound, Code: "NotFound", Op: "topic", Resource: topic + ":" + clip(id), Msg: "Subscription does not exist"}
}

// subscriptionByID returns the subscription with that id in whatever state, or nil.
func (s *Service) subscriptionByID(id string) *subscriptionRecord {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byID[id]
}

// Subscription returns one subscription. Missing: kind and code NotFound.
func (s *Service) Subscription(ctx context.Context, ns mnq.Namespace, topic, id string) (Subscription, error) {
	_, r, err := s.find(ctx, ns, topic, id)
	if err != nil {
		return Subscription{}, err
	}
	return s.shown(ns, r), nil
}

// SubscriptionAttributes returns every attribute that has a value.
func (s *Service) SubscriptionAttributes(ctx context.Context, ns mnq.Namespace, topic, id string) (map[string]string, error) {
	t, r, err := s.find(ctx, ns, topic, id)
	if err != nil {
		return nil, err
	}
	sub := s.shown(ns, r)
	out := map[string]string{
		"SubscriptionArn": sub.ARN(), "TopicArn": sub.TopicARN, "Owner": r.Owner, "Protocol": r.Protocol, "Endpoint": displayEndpoint(r.Endpoint),
		attrRaw: "false", "PendingConfirmation": strconv.FormatBool(sub.Pending),
		"ConfirmationWasAuthenticated": strconv.FormatBool(r.Authenticated), "SubscriptionPrincipal": r.Principal,
	}
	maps.Copy(out, r.Settings)
	if r.Settings[attrFilter] == "" {
		delete(out, attrFilterScope)
	} else if out[attrFilterScope] == "" {
		out[attrFilterScope] = ScopeAttributes.String()
	}
	if r.Protocol == protoHTTP || r.Protocol == protoHTTPS {
		out[attrEffective] = effectiveSubscriptionPolicy(t.state.Load().Settings[attrDelivery], r.Settings[attrDelivery])
	}
	return out, nil
}

// SetSubscriptionAttribute changes one attribute; an empty value takes it away. It
// counts for what is published after the call. Errors as for Subscribe.
func (s *Service) SetSubscriptionAttribute(ctx context.Context, ns mnq.Namespace, topic, id, name, value string) error { //nolint:revive // the ARN has two parts
	return s.changeSubscription(ctx, ns, topic, id, func(t *Topic, r *subscriptionRecord) error {
		had := r.Settings[attrFilter] != ""
		if err := r.Settings.setSubscription(subject{t, ns, r.Protocol}, name, value); err != nil {
			return err
		}
		if !had && r.Settings[attrFilter] != "" {
			return t.room(unlimitedSubscriptions(ns), r.Settings)
		}
		return nil
	})
}

// changeSubscription rewrites a definition by compare-and-set until it holds. f gets a
// copy and may refuse with an error; it is called again after a lost race.
func (s *Service) changeSubscription(ctx context.Context, ns mnq.Namespace, topic, id string, f func(*Topic, *subscriptionRecord) error) error {
	const op = "topic.changeSubscription"
	for range maxRaces {
		t, old, err := s.find(ctx, ns, topic, id)
		if err != nil {
			return err
		}
		if err = s.rewrite(ctx, old, func(r *subscriptionRecord) error { return f(t, r) }); err == nil || !wire.LostRace(err) {
			return err
		}
		if err := s.defs.fresh(ctx); err != nil {
			return unavailable(op, id, err)
		}
	}
	return unavailable(op, id, errBusy)
}

// rewrite changes a definition once.
func (s *Service) rewrite(ctx context.Context, old *subscriptionRecord, f func(*subscriptionRecord) error) error {
	r := *old
	r.Settings = maps.Clone(r.Settings)
	if r.Settings == nil {
		r.Settings = settings{}
	}
	if err := f(&r); err != nil {
		return err
	}
	value, err := json.Marshal(s.seal.hide(old.key, &r))
	if err != nil {
		return err
	}
	return s.stored("topic.changeSubscription", r.ID, s.defs.update(ctx, old.key, value, old.revision))
}
