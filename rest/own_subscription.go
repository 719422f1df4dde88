package rest

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/topic"
)

// attemptOnWire is one attempt at a delivery.
type attemptOnWire struct {
	At         *time.Time `json:"at" doc:"when it ended"`
	MessageID  string     `json:"message_id"`
	Kind       string     `json:"kind" enum:"Notification,SubscriptionConfirmation,UnsubscribeConfirmation"`
	Number     int        `json:"number" doc:"of this message, from 1"`
	Status     int        `json:"status,omitempty" doc:"HTTP status, when there was one"`
	Error      string     `json:"error,omitempty" doc:"why it failed, in a word: timeout, dns, tls, connection, address_refused, http, …"`
	DurationMS int64      `json:"duration_ms"`
	Outcome    string     `json:"outcome" enum:"delivered,retry,dead_letter,dropped"`
}

type attemptList struct {
	Attempts []attemptOnWire `json:"attempts" nullable:"false" doc:"at most 20, the newest first"`
}

func (a *API) registerSubscriptions() {
	const one = "/namespaces/{namespace_id}/topics/{topic_name}"
	handle(a, operation{
		id: "openmnq.UpdateTopic", method: http.MethodPatch, path: one,
		summary: "Change attributes and tags of a topic; what is not named stays", noun: "topic", action: "write", large: true,
	}, a.updateTopic)
	handle(a, operation{
		id: "openmnq.ConfirmSubscription", method: http.MethodPost, path: one + "/confirm",
		summary: "Confirm a subscription with the token that its endpoint was sent", noun: "subscription", action: "write",
	}, a.confirmSubscription)
	handle(a, operation{
		id: "openmnq.GetSubscription", method: http.MethodGet, path: one + "/subscriptions/{subscription_id}",
		summary: "Get a subscription", noun: "subscription",
	}, a.getSubscription)
	handle(a, operation{
		id: "openmnq.UpdateSubscription", method: http.MethodPatch, path: one + "/subscriptions/{subscription_id}",
		summary: "Change attributes of a subscription, such as FilterPolicy; an empty value takes one away", noun: "subscription", action: "write", large: true,
	}, a.updateSubscription)
	handle(a, operation{
		id: "openmnq.ListAttempts", method: http.MethodGet, path: one + "/subscriptions/{subscription_id}/attempts",
		summary: "List the last attempts at deliveries to a subscription", noun: "subscription",
	}, a.listAttempts)
}

type updateTopicInput struct {
	TopicPath

	Body struct {
		Attributes map[string]string `json:"attributes" required:"false" doc:"as SNS names them"`
		Tags       map[string]string `json:"tags" required:"false" doc:"to add or to overwrite"`
		Untag      []string          `json:"untag" required:"false" maxItems:"50" doc:"keys of tags to remove"`
	}
}

func (a *API) updateTopic(ctx context.Context, who mnq.Identity, in *updateTopicInput) (topicOnWire, error) {
	t, ns, err := a.topic(ctx, who, in.TopicPath)
	if err != nil {
		return topicOnWire{}, err
	}
	for _, name := range slices.Sorted(maps.Keys(in.Body.Attributes)) {
		if err := t.SetAttribute(ctx, ns, name, in.Body.Attributes[name]); err != nil {
			return topicOnWire{}, as(err, "topic", in.TopicName)
		}
	}
	if len(in.Body.Tags) > 0 {
		err = t.SetTags(ctx, in.Body.Tags)
	}
	if err == nil && len(in.Body.Untag) > 0 {
		err = t.RemoveTags(ctx, in.Body.Untag)
	}
	if err != nil {
		return topicOnWire{}, as(err, "topic", in.TopicName)
	}
	return a.topicWire(ctx, ns, in.TopicName)
}

type confirmInput struct {
	TopicPath

	Body struct {
		Token string `json:"token" minLength:"1" maxLength:"1024"`
	}
}

func (a *API) confirmSubscription(ctx context.Context, who mnq.Identity, in *confirmInput) (subscriptionOnWire, error) {
	t, ns, err := a.topic(ctx, who, in.TopicPath)
	if err != nil {
		return subscriptionOnWire{}, err
	}
	s, err := a.topics.Confirm(ctx, ns, topic.Confirmation{TopicARN: t.ARN(ns), Token: in.Body.Token, Authenticated: true})
	if err != nil {
		return subscriptionOnWire{}, as(err, "subscription", "")
	}
	return a.subscriptionWire(ctx, ns, s)
}

// SubscriptionPath names a subscription.
type SubscriptionPath struct {
	TopicPath

	SubscriptionID string `path:"subscription_id" format:"uuid"`
}

func (a *API) getSubscription(ctx context.Context, who mnq.Identity, in *SubscriptionPath) (subscriptionOnWire, error) {
	_, ns, err := a.topic(ctx, who, in.TopicPath)
	if err != nil {
		return subscriptionOnWire{}, err
	}
	id := canonical(in.SubscriptionID)
	s, err := a.topics.Subscription(ctx, ns, in.TopicName, id)
	if err != nil {
		return subscriptionOnWire{}, as(err, "subscription", id)
	}
	w, err := a.subscriptionWire(ctx, ns, s)
	return w, as(err, "subscription", id)
}

type updateSubscriptionInput struct {
	SubscriptionPath

	Body struct {
		Attributes map[string]string `json:"attributes" doc:"as SNS names them"`
	}
}

func (a *API) updateSubscription(ctx context.Context, who mnq.Identity, in *updateSubscriptionInput) (subscriptionOnWire, error) {
	_, ns, err := a.topic(ctx, who, in.TopicPath)
	if err != nil {
		return subscriptionOnWire{}, err
	}
	id := canonical(in.SubscriptionID)
	for _, name := range slices.Sorted(maps.Keys(in.Body.Attributes)) {
		if err := a.topics.SetSubscriptionAttribute(ctx, ns, in.TopicName, id, name, in.Body.Attributes[name]); err != nil {
			return subscriptionOnWire{}, as(err, "subscription", id)
		}
	}
	return a.getSubscription(ctx, who, &in.SubscriptionPath)
}

func (a *API) listAttempts(ctx context.Context, who mnq.Identity, in *SubscriptionPath) (attemptList, error) {
	_, ns, err := a.topic(ctx, who, in.TopicPath)
	if err != nil {
		return attemptList{}, err
	}
	id := canonical(in.SubscriptionID)
	all, err := a.topics.Attempts(ctx, ns, in.TopicName, id)
	return attemptList{convert(all, func(t topic.Attempt) attemptOnWire {
		return attemptOnWire{
			At: stamp(t.Time), MessageID: t.MessageID, Kind: t.Kind, Number: t.Number, Status: t.Status, Error: t.Error,
			DurationMS: t.Duration.Milliseconds(), Outcome: t.Outcome,
		}
	})}, as(err, "subscription", id)
}
