package aws

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/policy"
	"github.com/openmnq/mnq/topic"
)

// maxARN bounds an ARN (the model's ResourceArn).
const maxARN = 1011

// topicRef is what an ARN says: whose topic, and of a subscription's ARN which.
type topicRef struct{ account, topic, subscription string }

// readARN reads the ARN of a topic or, with one element more, of a subscription.
// The partition may be any: clients hard-code arn:aws. member is the parameter that
// it is from.
func (c *call) readARN(member, arn string, elements int) (topicRef, error) {
	if arn == "" {
		return topicRef{}, invalidParameter(member + " Reason: no value for required parameter")
	}
	parts := strings.Split(arn, ":")
	switch {
	case len(parts) < 6:
		return topicRef{}, invalidParameter(fmt.Sprintf("%s Reason: An ARN must have at least 6 elements, not %d", member, len(parts)))
	case len(arn) > maxARN, parts[0] != "arn", parts[2] != string(mnq.ServiceSNS), parts[3] != c.principal.Namespace.Region, parts[4] == "", parts[5] == "":
		return topicRef{}, invalidParameter(member)
	case len(parts) != elements && elements == subscriptionElements:
		return topicRef{}, invalidParameter("SubscriptionId")
	case len(parts) != elements:
		return topicRef{}, invalidParameter(member)
	}
	ref := topicRef{account: parts[4], topic: parts[5]}
	if elements == subscriptionElements {
		ref.subscription = parts[6]
	}
	return ref, nil
}

const (
	topicElements        = 6
	subscriptionElements = 7
)

// addressedTopic is the topic that a request names, and whose it is.
type addressedTopic struct {
	*topic.Topic
	ns mnq.Namespace
}

// ownTopic reads the ARN of a topic of the caller's own namespace, whether or not
// there is one.
func (c *call) ownTopic(member, arn string) (name string, err error) {
	ref, err := c.readARN(member, arn, topicElements)
	if err != nil {
		return "", err
	}
	if ref.account != c.principal.Namespace.Account() {
		return "", c.notAuthorized(arn)
	}
	return ref.topic, nil
}

// sharedTopicActions are what a topic's policy can open to other accounts.
var sharedTopicActions = []string{"GetTopicAttributes", "ListSubscriptionsByTopic", "Publish", "PublishBatch"}

// topic finds a topic of the caller's own namespace, or one of another whose policy
// lets the caller do this. Of any other the caller is not told whether it exists.
func (h *Handler) topic(ctx context.Context, c *call, member, arn string) (*addressedTopic, error) {
	ref, err := c.readARN(member, arn, topicElements)
	if err != nil {
		return nil, err
	}
	ns := c.principal.Namespace
	own := ref.account == ns.Account()
	if !own {
		if h.cfg.Owner == nil || !slices.Contains(sharedTopicActions, c.name) {
			return nil, c.notAuthorized(arn)
		}
		if ns, err = h.cfg.Owner(ref.account, ns.Region); err != nil || ns.Account() != ref.account || ns.Protocol != mnq.ProtocolSQSSNS {
			return nil, c.notAuthorized(arn)
		}
	}
	t, err := h.cfg.Topics.Find(ctx, ns, ref.topic)
	if err != nil {
		if !own {
			err = c.notAuthorized(arn)
		}
		return nil, err
	}
	verdict := t.Judge(ns, policy.Access{
		Account: c.principal.Namespace.Account(), Action: strings.TrimSuffix(c.name, "Batch"), Secure: strings.HasPrefix(c.baseURL, "https:"),
	})
	if own && verdict == policy.Refused && slices.Contains(sharedTopicActions, c.name) || !own && verdict != policy.Allowed {
		return nil, c.notAuthorized(arn)
	}
	return &addressedTopic{t, ns}, nil
}

// notAuthorized is the answer about a topic that the caller may not use so.
func (c *call) notAuthorized(arn string) error {
	return &mnq.Error{
		Kind: mnq.Denied, Code: "AuthorizationError", Op: "aws.topic", Resource: arn,
		Msg: "User: " + c.user() + " is not authorized to perform: SNS:" + strings.TrimSuffix(c.name, "Batch") + " on resource: " + arn,
	}
}

// user names the caller as AWS would.
func (c *call) user() string {
	return "arn:aws:iam::" + c.principal.Namespace.Account() + ":user/" + c.principal.Credential.ID
}

func (h *Handler) addTopicPermission(ctx context.Context, c *call, in *topicPermissionInput) (*none, error) {
	t, err := h.topic(ctx, c, "TopicArn", in.TopicArn)
	if err != nil {
		return nil, err
	}
	return &none{}, t.AddPermission(ctx, t.ns, in.Label, in.AWSAccountId, in.ActionName)
}

func (h *Handler) removeTopicPermission(ctx context.Context, c *call, in *removeTopicPermissionInput) (*none, error) {
	t, err := h.topic(ctx, c, "TopicArn", in.TopicArn)
	if err != nil {
		return nil, err
	}
	return &none{}, t.RemovePermission(ctx, t.ns, in.Label)
}

// resource finds the topic whose tags are meant.
func (h *Handler) resource(ctx context.Context, c *call, arn string) (*addressedTopic, error) {
	t, err := h.topic(ctx, c, "ResourceArn", arn)
	if mnq.IsNotFound(err) {
		return nil, &mnq.Error{Kind: mnq.NotFound, Code: "ResourceNotFound", Resource: arn, Msg: "Resource does not exist"}
	}
	return t, err
}

func (h *Handler) tagResource(ctx context.Context, c *call, in *tagResourceInput) (*empty, error) {
	t, err := h.resource(ctx, c, in.ResourceArn)
	if err != nil {
		return nil, err
	}
	tags, err := tagMap(in.Tags)
	if err != nil {
		return nil, err
	}
	return &empty{}, t.SetTags(ctx, tags)
}

func (h *Handler) untagResource(ctx context.Context, c *call, in *untagResourceInput) (*empty, error) {
	t, err := h.resource(ctx, c, in.ResourceArn)
	if err != nil {
		return nil, err
	}
	return &empty{}, t.RemoveTags(ctx, in.TagKeys)
}

func (h *Handler) listTagsForResource(ctx context.Context, c *call, in *resourceInput) (*listTagsOutput, error) {
	t, err := h.resource(ctx, c, in.ResourceArn)
	if err != nil {
		return nil, err
	}
	tags := t.Tags()
	out := &listTagsOutput{}
	for _, key := range slices.Sorted(maps.Keys(tags)) {
		out.Tags = append(out.Tags, tag{Key: key, Value: tags[key]})
	}
	return out, nil
}

// tagMap refuses a key that is given twice.
func tagMap(list []tag) (map[string]string, error) {
	tags := make(map[string]string, len(list))
	for _, t := range list {
		if _, twice := tags[t.Key]; twice {
			return nil, invalidParameter("Duplicated keys are not allowed.")
		}
		tags[t.Key] = t.Value
	}
	return tags, nil
}

func (h *Handler) getDataProtectionPolicy(ctx context.Context, c *call, in *resourceInput) (*dataProtectionPolicyOutput, error) {
	t, err := h.topic(ctx, c, "ResourceArn", in.ResourceArn)
	if err != nil {
		return nil, err
	}
	return &dataProtectionPolicyOutput{DataProtectionPolicy: t.DataProtection()}, nil
}

func (h *Handler) putDataProtectionPolicy(ctx context.Context, c *call, in *putDataProtectionPolicyInput) (*none, error) {
	t, err := h.topic(ctx, c, "ResourceArn", in.ResourceArn)
	if err != nil {
		return nil, err
	}
	return &none{}, t.SetDataProtection(ctx, in.DataProtectionPolicy)
}
