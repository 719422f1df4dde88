package aws

import (
	"context"
	"slices"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/topic"
)

// snsOperations is the table of SNS: all 42 actions of API version 2010-03-31. Those
// of SMS and of mobile push have nothing behind them here.
func snsOperations() []operation {
	return table(
		mnq.ServiceSNS,
		slices.Concat([]operation{
			offer("AddPermission", mnq.CanManage, (*Handler).addTopicPermission),
			offerLink("ConfirmSubscription", 0, (*Handler).confirmSubscription),
			offer("CreateTopic", mnq.CanManage, (*Handler).createTopic),
			offer("DeleteTopic", mnq.CanManage, (*Handler).deleteTopic),
			offer("GetDataProtectionPolicy", mnq.CanReceive|mnq.CanManage, (*Handler).getDataProtectionPolicy),
			offer("GetSubscriptionAttributes", mnq.CanReceive|mnq.CanManage, (*Handler).getSubscriptionAttributes),
			offer("GetTopicAttributes", mnq.CanReceive|mnq.CanManage, (*Handler).getTopicAttributes),
			offer("ListSubscriptions", mnq.CanReceive|mnq.CanManage, (*Handler).listSubscriptions),
			offer("ListSubscriptionsByTopic", mnq.CanReceive|mnq.CanManage, (*Handler).listSubscriptionsByTopic),
			offer("ListTagsForResource", mnq.AnyPermission, (*Handler).listTagsForResource),
			offer("ListTopics", mnq.AnyPermission, (*Handler).listTopics),
			offer("Publish", mnq.CanPublish, (*Handler).publish),
			offer("PublishBatch", mnq.CanPublish, (*Handler).publishBatch),
			offer("PutDataProtectionPolicy", mnq.CanManage, (*Handler).putDataProtectionPolicy),
			offer("RemovePermission", mnq.CanManage, (*Handler).removeTopicPermission),
			offer("SetSubscriptionAttributes", mnq.CanReceive|mnq.CanManage, (*Handler).setSubscriptionAttributes),
			offer("SetTopicAttributes", mnq.CanManage, (*Handler).setTopicAttributes),
			offer("Subscribe", mnq.CanReceive, (*Handler).subscribe),
			offer("TagResource", mnq.CanManage, (*Handler).tagResource),
			offerLink("Unsubscribe", mnq.CanReceive|mnq.CanManage, (*Handler).unsubscribe),
			offer("UntagResource", mnq.CanManage, (*Handler).untagResource),
		}, refuse(
			mnq.CanManage,
			"CheckIfPhoneNumberIsOptedOut", "CreateSMSSandboxPhoneNumber", "DeleteSMSSandboxPhoneNumber", "GetSMSAttributes",
			"GetSMSSandboxAccountStatus", "ListOriginationNumbers", "ListPhoneNumbersOptedOut", "ListSMSSandboxPhoneNumbers",
			"OptInPhoneNumber", "SetSMSAttributes", "VerifySMSSandboxPhoneNumber",

			"CreatePlatformApplication", "CreatePlatformEndpoint", "DeleteEndpoint", "DeletePlatformApplication", "GetEndpointAttributes",
			"GetPlatformApplicationAttributes", "ListEndpointsByPlatformApplication", "ListPlatformApplications", "SetEndpointAttributes",
			"SetPlatformApplicationAttributes",
		))...,
	)
}

func (h *Handler) createTopic(ctx context.Context, c *call, in *createTopicInput) (*createTopicOutput, error) {
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	ns := c.principal.Namespace
	t, err := h.cfg.Topics.Create(ctx, ns, topic.NewTopic{
		Name: in.Name, Attributes: in.Attributes, Tags: tags, DataProtection: in.DataProtectionPolicy,
	})
	if err != nil {
		return nil, err
	}
	return &createTopicOutput{TopicArn: t.ARN(ns)}, nil
}

// deleteTopic succeeds for a topic that is not there, as SNS does.
func (h *Handler) deleteTopic(ctx context.Context, c *call, in *topicInput) (*none, error) {
	name, err := c.ownTopic("TopicArn", in.TopicArn)
	if err != nil {
		return nil, err
	}
	return &none{}, h.cfg.Topics.Delete(ctx, c.principal.Namespace, name)
}

func (h *Handler) getTopicAttributes(ctx context.Context, c *call, in *topicInput) (*attributesOutput, error) {
	t, err := h.topic(ctx, c, "TopicArn", in.TopicArn)
	if err != nil {
		return nil, err
	}
	attributes, err := t.Attributes(ctx, t.ns)
	if err != nil {
		return nil, err
	}
	return &attributesOutput{Attributes: attributes}, nil
}

func (h *Handler) setTopicAttributes(ctx context.Context, c *call, in *setTopicAttributesInput) (*none, error) {
	t, err := h.topic(ctx, c, "TopicArn", in.TopicArn)
	if err != nil {
		return nil, err
	}
	return &none{}, t.SetAttribute(ctx, t.ns, in.AttributeName, in.AttributeValue)
}

// snsPage is how many topics or subscriptions one answer lists.
const snsPage = 100

func (h *Handler) listTopics(_ context.Context, c *call, in *pageInput) (*listTopicsOutput, error) {
	ns := c.principal.Namespace
	what := "ListTopics\x00" + ns.ID
	after, err := readNextToken(what, in.NextToken)
	if err != nil {
		return nil, err
	}
	names, more := h.cfg.Topics.List(ns, after, snsPage)
	out := &listTopicsOutput{}
	for _, name := range names {
		if t, err := h.cfg.Topics.Topic(ns, name); err == nil { // else it was deleted meanwhile
			out.Topics = append(out.Topics, createTopicOutput{TopicArn: t.ARN(ns)})
		}
	}
	if more && len(names) > 0 {
		out.NextToken = listToken(what, names[len(names)-1])
	}
	return out, nil
}

// readNextToken is where a list goes on.
func readNextToken(what, token string) (after string, err error) {
	after, ok := readToken(what, token)
	if !ok {
		return "", invalidParameter("NextToken Reason: it is not one that was returned for this list")
	}
	return after, nil
}
