package isolation

import (
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"

	"github.com/openmnq/mnq"
	front "github.com/openmnq/mnq/aws"
	"github.com/openmnq/mnq/internal/mnqtest"
)

func (x *tenant) topicARN(topic string) string { return "arn:scw:sns:fr-par:" + x.sqs + ":" + topic }

// makeTopics gives the tenant topics, one of which has a subscription.
func (x *tenant) makeTopics(t *testing.T, p *mnqtest.Process, name string) {
	t.Helper()
	ctx := t.Context()
	x.topics = mnqtest.SNS(p.URL, x.keys)
	for _, topic := range []string{"only-" + name, "shared"} {
		if _, err := x.topics.CreateTopic(ctx, &sns.CreateTopicInput{Name: &topic, Tags: []types.Tag{{Key: aws.String("of"), Value: &name}}}); err != nil {
			t.Fatal(err)
		}
		out, err := x.topics.Subscribe(ctx, &sns.SubscribeInput{TopicArn: aws.String(x.topicARN(topic)), Protocol: aws.String("sqs"), Endpoint: aws.String(x.arn("shared"))})
		if err != nil {
			t.Fatal(err)
		}
		x.subscription = *out.SubscriptionArn
	}
}

// describeTopics writes down what the tenant's topics and subscriptions are.
func (x *tenant) describeTopics(t *testing.T, w io.Writer) {
	t.Helper()
	ctx := t.Context()
	all, err := x.topics.ListTopics(ctx, &sns.ListTopicsInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, topic := range all.Topics {
		attributes, err := x.topics.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: topic.TopicArn})
		if err != nil {
			t.Fatal(err)
		}
		tags, err := x.topics.ListTagsForResource(ctx, &sns.ListTagsForResourceInput{ResourceArn: topic.TopicArn})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintln(w, *topic.TopicArn, attributes.Attributes)
		for _, tag := range tags.Tags {
			_, _ = fmt.Fprintln(w, *tag.Key, *tag.Value)
		}
	}
	subscriptions, err := x.topics.ListSubscriptions(ctx, &sns.ListSubscriptionsInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range subscriptions.Subscriptions {
		attributes, err := x.topics.GetSubscriptionAttributes(ctx, &sns.GetSubscriptionAttributesInput{SubscriptionArn: s.SubscriptionArn})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintln(w, attributes.Attributes)
	}
}

// topicActions are all that name a topic, or a subscription by an ARN that begins
// with its topic's.
func topicActions(ctx context.Context, c *sns.Client) map[string]func(arn string) error {
	all := map[string]func(string) error{}
	add := func(name string, f func(arn *string) (any, error)) {
		all[name] = func(arn string) error { _, err := f(&arn); return err }
	}
	x := aws.String("x")
	add("AddPermission", func(arn *string) (any, error) {
		return c.AddPermission(ctx, &sns.AddPermissionInput{TopicArn: arn, Label: x, AWSAccountId: []string{"123456789012"}, ActionName: []string{"Publish"}})
	})
	add("ConfirmSubscription", func(arn *string) (any, error) {
		return c.ConfirmSubscription(ctx, &sns.ConfirmSubscriptionInput{TopicArn: arn, Token: x})
	})
	add("DeleteTopic", func(arn *string) (any, error) { return c.DeleteTopic(ctx, &sns.DeleteTopicInput{TopicArn: arn}) })
	add("GetDataProtectionPolicy", func(arn *string) (any, error) {
		return c.GetDataProtectionPolicy(ctx, &sns.GetDataProtectionPolicyInput{ResourceArn: arn})
	})
	add("GetSubscriptionAttributes", func(arn *string) (any, error) {
		return c.GetSubscriptionAttributes(ctx, &sns.GetSubscriptionAttributesInput{SubscriptionArn: arn})
	})
	add("GetTopicAttributes", func(arn *string) (any, error) {
		return c.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: arn})
	})
	add("ListSubscriptionsByTopic", func(arn *string) (any, error) {
		return c.ListSubscriptionsByTopic(ctx, &sns.ListSubscriptionsByTopicInput{TopicArn: arn})
	})
	add("ListTagsForResource", func(arn *string) (any, error) {
		return c.ListTagsForResource(ctx, &sns.ListTagsForResourceInput{ResourceArn: arn})
	})
	add("Publish", func(arn *string) (any, error) {
		return c.Publish(ctx, &sns.PublishInput{TopicArn: arn, Message: x})
	})
	add("PublishBatch", func(arn *string) (any, error) {
		return c.PublishBatch(ctx, &sns.PublishBatchInput{TopicArn: arn, PublishBatchRequestEntries: []types.PublishBatchRequestEntry{{Id: x, Message: x}}})
	})
	add("PutDataProtectionPolicy", func(arn *string) (any, error) {
		return c.PutDataProtectionPolicy(ctx, &sns.PutDataProtectionPolicyInput{ResourceArn: arn, DataProtectionPolicy: aws.String("")})
	})
	add("RemovePermission", func(arn *string) (any, error) {
		return c.RemovePermission(ctx, &sns.RemovePermissionInput{TopicArn: arn, Label: aws.String("__default_statement_ID")})
	})
	add("SetSubscriptionAttributes", func(arn *string) (any, error) {
		return c.SetSubscriptionAttributes(ctx, &sns.SetSubscriptionAttributesInput{SubscriptionArn: arn, AttributeName: aws.String("RawMessageDelivery"), AttributeValue: aws.String("true")})
	})
	add("SetTopicAttributes", func(arn *string) (any, error) {
		return c.SetTopicAttributes(ctx, &sns.SetTopicAttributesInput{TopicArn: arn, AttributeName: aws.String("DisplayName"), AttributeValue: x})
	})
	add("Subscribe", func(arn *string) (any, error) {
		return c.Subscribe(ctx, &sns.SubscribeInput{TopicArn: arn, Protocol: aws.String("https"), Endpoint: aws.String("https://example.com/")})
	})
	add("TagResource", func(arn *string) (any, error) {
		return c.TagResource(ctx, &sns.TagResourceInput{ResourceArn: arn, Tags: []types.Tag{{Key: x, Value: x}}})
	})
	add("Unsubscribe", func(arn *string) (any, error) {
		return c.Unsubscribe(ctx, &sns.UnsubscribeInput{SubscriptionArn: arn})
	})
	add("UntagResource", func(arn *string) (any, error) {
		return c.UntagResource(ctx, &sns.UntagResourceInput{ResourceArn: arn, TagKeys: []string{"of"}})
	})
	return all
}

// topics calls every action with alice's ARNs and with those that nobody has.
func topics(t *testing.T, alice, bob *tenant) {
	ctx, c := t.Context(), bob.topics
	all := topicActions(ctx, c)
	for _, op := range front.Operations() {
		if op.Service == mnq.ServiceSNS && op.Supported && all[op.Name] == nil && !slices.Contains([]string{"CreateTopic", "ListTopics", "ListSubscriptions"}, op.Name) {
			t.Errorf("%s is not tried", op.Name)
		}
	}
	text := regexp.MustCompile(`(RequestID: )[^,]*`)
	const nobodys = "0198b0a2-0000-7000-8000-000000000000"
	for name, call := range all {
		hers := []string{alice.topicARN("only-alice"), alice.topicARN("shared"), strings.Replace(alice.topicARN("shared"), ":scw:", ":aws:", 1)}
		missing := []string{alice.topicARN("nobody"), strings.Replace(alice.topicARN("shared"), alice.sqs, absent, 1)}
		if strings.HasSuffix(name, "SubscriptionAttributes") || name == "Unsubscribe" {
			hers = []string{alice.subscription}
			missing = []string{alice.topicARN("shared") + ":" + nobodys, alice.topicARN("nobody") + ":" + nobodys, strings.Replace(alice.subscription, alice.sqs, absent, 1)}
		}
		ask := func(arn string) string {
			err := call(arn)
			if e := mnqtest.WantCode(err, "AuthorizationError"); e != nil {
				t.Errorf("%s of %s: %v", name, arn, e)
				return ""
			}
			return strings.ReplaceAll(text.ReplaceAllString(err.Error(), "$1"), arn, "ARN")
		}
		want := ask(missing[0])
		for _, arn := range append(hers, missing[1:]...) {
			if got := ask(arn); got != want {
				t.Errorf("%s tells them apart:\n  %s: %s\n  missing: %s", name, arn, got, want)
			}
		}
	}
	// Her queue as an endpoint of his: refused as one that is not there.
	for _, queue := range []string{alice.arn("shared"), alice.arn("nobody"), strings.Replace(alice.arn("shared"), alice.sqs, absent, 1)} {
		_, err := c.Subscribe(ctx, &sns.SubscribeInput{TopicArn: aws.String(bob.topicARN("shared")), Protocol: aws.String("sqs"), Endpoint: &queue})
		if e := mnqtest.WantCode(err, "AuthorizationError"); e != nil {
			t.Errorf("%s: %v", queue, e)
		}
	}
	listed, err := c.ListTopics(ctx, &sns.ListTopicsInput{})
	if err != nil || len(listed.Topics) != 2 || slices.ContainsFunc(listed.Topics, func(x types.Topic) bool { return strings.Contains(*x.TopicArn, alice.sqs) }) {
		t.Errorf("ListTopics: %+v %v", listed, err)
	}
	subscriptions, err := c.ListSubscriptions(ctx, &sns.ListSubscriptionsInput{})
	if err != nil || len(subscriptions.Subscriptions) != 2 || slices.ContainsFunc(subscriptions.Subscriptions, func(x types.Subscription) bool {
		return strings.Contains(*x.SubscriptionArn+*x.Endpoint, alice.sqs)
	}) {
		t.Errorf("ListSubscriptions: %+v %v", subscriptions, err)
	}
}
