package awssdk

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/openmnq/mnq/internal/mnqtest"
)

// newQueue makes a queue and returns its URL and ARN.
func newQueue(t *testing.T, c *sqs.Client, name string, attributes map[string]string) (url, arn string) {
	t.Helper()
	out, err := c.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: out.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{"QueueArn"}})
	if err != nil {
		t.Fatal(err)
	}
	return *out.QueueUrl, got.Attributes["QueueArn"]
}

// TestActionsOfPhonesAreRefused calls what is not offered with the SDK's own
// methods: every answer names the action, and none is one that SDKs try again.
func TestActionsOfPhonesAreRefused(t *testing.T) {
	t.Parallel()
	f := setup(t)
	c, ctx := mnqtest.SNS(f.p.URL, f.keys), t.Context()
	one, m := aws.String("x"), map[string]string{"a": "b"}
	calls := map[string]func() error{
		"CheckIfPhoneNumberIsOptedOut": func() error {
			_, err := c.CheckIfPhoneNumberIsOptedOut(ctx, &sns.CheckIfPhoneNumberIsOptedOutInput{PhoneNumber: one})
			return err
		},
		"SetSMSAttributes": func() error {
			_, err := c.SetSMSAttributes(ctx, &sns.SetSMSAttributesInput{Attributes: m})
			return err
		},
		"GetSMSSandboxAccountStatus": func() error {
			_, err := c.GetSMSSandboxAccountStatus(ctx, &sns.GetSMSSandboxAccountStatusInput{})
			return err
		},
		"CreatePlatformApplication": func() error {
			_, err := c.CreatePlatformApplication(ctx, &sns.CreatePlatformApplicationInput{Name: one, Platform: one, Attributes: m})
			return err
		},
		"ListPlatformApplications": func() error {
			_, err := c.ListPlatformApplications(ctx, &sns.ListPlatformApplicationsInput{})
			return err
		},
	}
	for name, call := range calls {
		err := call()
		if e := mnqtest.WantCode(err, "InvalidAction"); e != nil || !strings.Contains(err.Error(), "The action "+name+" is not supported.") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// TestPermissionsOfSNS gives credentials one permission each and calls what needs
// another.
func TestPermissionsOfSNS(t *testing.T) {
	t.Parallel()
	f := setup(t)
	ctx := t.Context()
	topic, err := mnqtest.SNS(f.p.URL, f.keys).CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("t")})
	if err != nil {
		t.Fatal(err)
	}
	arn := topic.TopicArn
	_, queue := newQueue(t, f.c, "q", nil)
	calls := []struct {
		name string
		need string
		call func(c *sns.Client) error
	}{
		{"CreateTopic", "m", func(c *sns.Client) error {
			return second(c.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("t")}))
		}},
		{"Publish", "p", func(c *sns.Client) error {
			return second(c.Publish(ctx, &sns.PublishInput{TopicArn: arn, Message: aws.String("x")}))
		}},
		{"Subscribe", "r", func(c *sns.Client) error {
			return second(c.Subscribe(ctx, &sns.SubscribeInput{TopicArn: arn, Protocol: aws.String("sqs"), Endpoint: &queue}))
		}},
		{"ListTopics", "prm", func(c *sns.Client) error { return second(c.ListTopics(ctx, &sns.ListTopicsInput{})) }},
		{"ListSubscriptions", "rm", func(c *sns.Client) error {
			return second(c.ListSubscriptions(ctx, &sns.ListSubscriptionsInput{}))
		}},
		{"GetTopicAttributes", "rm", func(c *sns.Client) error {
			return second(c.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: arn}))
		}},
		{"SetTopicAttributes", "m", func(c *sns.Client) error {
			return second(c.SetTopicAttributes(ctx, &sns.SetTopicAttributesInput{TopicArn: arn, AttributeName: aws.String("DisplayName"), AttributeValue: aws.String("d")}))
		}},
	}
	for _, perm := range []string{"p", "r", "m"} {
		c := mnqtest.SNS(f.p.URL, f.p.Keys(f.ns, perm))
		for _, call := range calls {
			err := call.call(c)
			switch {
			case strings.Contains(call.need, perm):
				if err != nil {
					t.Errorf("%s with %s: %v", call.name, perm, err)
				}
			default:
				if _, is := errors.AsType[*types.AuthorizationErrorException](err); !is {
					t.Errorf("%s with %s: %v", call.name, perm, err)
				}
			}
		}
	}
}
