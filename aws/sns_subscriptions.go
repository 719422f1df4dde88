package aws

import (
	"context"
	"strings"

	"github.com/google/uuid"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/topic"
)

func (h *Handler) subscribe(ctx context.Context, c *call, in *subscribeInput) (*subscriptionOutput, error) {
	t, err := h.topic(ctx, c, "TopicArn", in.TopicArn)
	if err != nil {
		return nil, err
	}
	s, err := t.Subscribe(ctx, t.ns, topic.NewSubscription{
		Protocol: in.Protocol, Endpoint: in.Endpoint, Attributes: in.Attributes, Principal: c.user(),
	})
	if err != nil {
		return nil, err
	}
	arn := s.ARN()
	if s.Pending && !in.ReturnSubscriptionArn {
		arn = "pending confirmation"
	}
	return &subscriptionOutput{SubscriptionArn: arn}, nil
}

// confirmSubscription is called by programs that received a token, and by people
// who visit the link in a confirmation message. Only the former may decide that the
// subscription shall not be ended by a link.
func (h *Handler) confirmSubscription(ctx context.Context, c *call, in *confirmSubscriptionInput) (*subscriptionOutput, error) {
	confirmation := topic.Confirmation{TopicARN: in.TopicArn, Token: in.Token}
	var s topic.Subscription
	var err error
	if c.anonymous {
		s, err = h.cfg.Topics.ConfirmLink(ctx, confirmation)
	} else {
		if _, err := c.ownTopic("TopicArn", in.TopicArn); err != nil {
			return nil, err
		}
		confirmation.AuthenticateOnUnsubscribe = strings.EqualFold(in.AuthenticateOnUnsubscribe, "true")
		s, err = h.cfg.Topics.Confirm(ctx, c.principal.Namespace, confirmation)
	}
	if err != nil {
		return nil, err
	}
	return &subscriptionOutput{SubscriptionArn: s.ARN()}, nil
}

// unsubscribe succeeds for a subscription that is not there, as SNS does.
func (h *Handler) unsubscribe(ctx context.Context, c *call, in *subscriptionInput) (*none, error) {
	if c.anonymous {
		return &none{}, h.cfg.Topics.UnsubscribeLink(ctx, in.SubscriptionArn)
	}
	ref, err := c.ownSubscription(in.SubscriptionArn)
	if err != nil {
		return nil, err
	}
	if uuid.Validate(ref.subscription) != nil {
		return nil, invalidParameter("SubscriptionId")
	}
	return &none{}, h.cfg.Topics.Unsubscribe(ctx, c.principal.Namespace, ref.topic, ref.subscription)
}

// ownSubscription reads the ARN of a subscription of the caller's own namespace.
func (c *call) ownSubscription(arn string) (topicRef, error) {
	ref, err := c.readARN("SubscriptionArn", arn, subscriptionElements)
	if err == nil && ref.account != c.principal.Namespace.Account() {
		err = c.notAuthorized(arn)
	}
	return ref, err
}

func (h *Handler) getSubscriptionAttributes(ctx context.Context, c *call, in *subscriptionInput) (*attributesOutput, error) {
	ref, err := c.ownSubscription(in.SubscriptionArn)
	if err != nil {
		return nil, err
	}
	attributes, err := h.cfg.Topics.SubscriptionAttributes(ctx, c.principal.Namespace, ref.topic, ref.subscription)
	if err != nil {
		return nil, err
	}
	return &attributesOutput{Attributes: attributes}, nil
}

func (h *Handler) setSubscriptionAttributes(ctx context.Context, c *call, in *setSubscriptionAttributesInput) (*none, error) {
	ref, err := c.ownSubscription(in.SubscriptionArn)
	if err != nil {
		return nil, err
	}
	return &none{}, h.cfg.Topics.SetSubscriptionAttribute(ctx, c.principal.Namespace, ref.topic, ref.subscription, in.AttributeName, in.AttributeValue)
}

func (h *Handler) listSubscriptions(_ context.Context, c *call, in *pageInput) (*listSubscriptionsOutput, error) {
	return h.subscriptions(c.principal.Namespace, "", in.NextToken)
}

func (h *Handler) listSubscriptionsByTopic(ctx context.Context, c *call, in *listSubscriptionsByTopicInput) (*listSubscriptionsOutput, error) {
	t, err := h.topic(ctx, c, "TopicArn", in.TopicArn)
	if err != nil {
		return nil, err
	}
	return h.subscriptions(t.ns, t.Name(), in.NextToken)
}

// subscriptions lists a page of those of a topic, or of all topics.
func (h *Handler) subscriptions(ns mnq.Namespace, topic, token string) (*listSubscriptionsOutput, error) {
	what := "ListSubscriptions\x00" + ns.ID + "\x00" + topic
	after, err := readNextToken(what, token)
	if err != nil {
		return nil, err
	}
	list, more := h.cfg.Topics.Subscriptions(ns, topic, after, snsPage)
	out := &listSubscriptionsOutput{}
	for _, s := range list {
		arn := "PendingConfirmation"
		if !s.Pending {
			arn = s.ARN()
		}
		out.Subscriptions = append(out.Subscriptions, subscription{
			SubscriptionArn: arn, Owner: s.Owner, Protocol: s.Protocol, Endpoint: s.Endpoint, TopicArn: s.TopicARN,
		})
	}
	if more && len(list) > 0 {
		out.NextToken = listToken(what, list[len(list)-1].Place())
	}
	return out, nil
}
