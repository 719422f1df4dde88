package definition

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// defaults are what SQS gives a queue without being asked; they need not be written down.
var defaults = map[string]string{
	"DelaySeconds": "0", "ReceiveMessageWaitTimeSeconds": "0", "VisibilityTimeout": "30", "MessageRetentionPeriod": "345600",
	"ContentBasedDeduplication": "false", "SqsManagedSseEnabled": "true", "DeduplicationScope": "queue", "FifoThroughputLimit": "perQueue",
	"KmsDataKeyReusePeriodSeconds": "300", "SignatureVersion": "1", "RawMessageDelivery": "false", "FilterPolicyScope": "MessageAttributes",
	"FifoThroughputScope": "Topic",
}

// Read returns the queues and topics of an endpoint whose names begin with prefix. It does
// not carry over policies and encryption keys, which name accounts and keys of the source.
func (e Endpoint) Read(ctx context.Context, prefix string) (*File, error) {
	f := &File{}
	if err := e.readQueues(ctx, f, prefix); err != nil {
		return nil, fmt.Errorf("read the queues: %w", reason(err))
	}
	if err := e.readTopics(ctx, f, prefix); err != nil {
		return nil, fmt.Errorf("read the topics: %w", reason(err))
	}
	return f, nil
}

func (e Endpoint) readQueues(ctx context.Context, f *File, prefix string) error {
	in := &sqs.ListQueuesInput{MaxResults: aws.Int32(1000)}
	if prefix != "" {
		in.QueueNamePrefix = &prefix
	}
	pages := sqs.NewListQueuesPaginator(e.SQS, in)
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, url := range page.QueueUrls {
			q, err := e.readQueue(ctx, f, url)
			if err != nil {
				return fmt.Errorf("%s: %w", url, reason(err))
			}
			f.addQueue(q)
		}
	}
	slices.SortFunc(f.Queues, func(a, b Queue) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

func (e Endpoint) readQueue(ctx context.Context, f *File, url string) (Queue, error) {
	q := Queue{Name: url[strings.LastIndexByte(url, '/')+1:], Attributes: map[string]string{}}
	got, err := e.SQS.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []sqstypes.QueueAttributeName{"All"}})
	if err != nil {
		return q, err
	}
	q.Attributes = f.settable(got.Attributes, QueueAttributes, "queue "+q.Name)
	if text := got.Attributes["RedrivePolicy"]; text != "" {
		if q.DeadLetter, err = redriveJSON(text); err != nil {
			f.note(0, "queue %s: RedrivePolicy is not carried over: %v", q.Name, err)
		}
	}
	tags, err := e.SQS.ListQueueTags(ctx, &sqs.ListQueueTagsInput{QueueUrl: &url})
	if err != nil { // not every emulator has them
		f.note(0, "queue %s: its tags cannot be read: %v", q.Name, reason(err))
		return q, nil
	}
	q.Tags = tags.Tags
	return q, nil
}

// settable are the attributes that say something and can be carried over.
func (f *File) settable(have map[string]string, known []string, what string) map[string]string {
	out := map[string]string{}
	for _, name := range known {
		v, ok := have[name]
		switch {
		case !ok, v == "", v == defaults[name]:
		case name == "Policy" || strings.HasPrefix(name, "Kms") || name == "RedriveAllowPolicy" && strings.Contains(v, "arn:"):
			if name != "Policy" || !strings.Contains(v, "__default") {
				f.note(0, "%s: %s is not carried over: it names accounts or keys of the source", what, name)
			}
		default:
			out[name] = v
		}
	}
	return out
}

func (e Endpoint) readTopics(ctx context.Context, f *File, prefix string) error {
	pages := sns.NewListTopicsPaginator(e.SNS, &sns.ListTopicsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, t := range page.Topics {
			if !strings.HasPrefix(arnName(*t.TopicArn), prefix) {
				continue
			}
			topic, err := e.readTopic(ctx, f, *t.TopicArn)
			if err != nil {
				return fmt.Errorf("%s: %w", *t.TopicArn, reason(err))
			}
			f.Topics = append(f.Topics, topic)
		}
	}
	return nil
}

func (e Endpoint) readTopic(ctx context.Context, f *File, arn string) (Topic, error) {
	t := Topic{Name: arnName(arn)}
	got, err := e.SNS.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: &arn})
	if err != nil {
		return t, err
	}
	t.Attributes = f.settable(got.Attributes, TopicAttributes, "topic "+t.Name)
	if tags, err := e.SNS.ListTagsForResource(ctx, &sns.ListTagsForResourceInput{ResourceArn: &arn}); err != nil {
		f.note(0, "topic %s: its tags cannot be read: %v", t.Name, reason(err))
	} else if len(tags.Tags) > 0 {
		t.Tags = map[string]string{}
		for _, one := range tags.Tags {
			t.Tags[*one.Key] = *one.Value
		}
	}
	pages := sns.NewListSubscriptionsByTopicPaginator(e.SNS, &sns.ListSubscriptionsByTopicInput{TopicArn: &arn})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return t, err
		}
		for _, s := range page.Subscriptions {
			one := Subscription{Protocol: aws.ToString(s.Protocol), Endpoint: aws.ToString(s.Endpoint)}
			if err := e.readSubscription(ctx, f, &t, one, aws.ToString(s.SubscriptionArn)); err != nil {
				return t, err
			}
		}
	}
	return t, nil
}

func (e Endpoint) readSubscription(ctx context.Context, f *File, t *Topic, s Subscription, arn string) error {
	what := "subscription of " + t.Name + " to " + s.to()
	switch s.Protocol {
	case "sqs":
		s.Queue, s.Protocol, s.Endpoint = arnName(s.Endpoint), "", ""
		if !f.has(s.Queue) {
			f.note(0, "%s is not carried over: the queue is not", what)
			return nil
		}
	case "http", "https":
	default:
		f.note(0, "%s is not carried over", what)
		return nil
	}
	if strings.HasPrefix(arn, "arn:") {
		got, err := e.SNS.GetSubscriptionAttributes(ctx, &sns.GetSubscriptionAttributesInput{SubscriptionArn: &arn})
		if err != nil {
			return err
		}
		s.Attributes = f.settable(got.Attributes, SubscriptionAttributes, what)
		var p struct {
			Target string `json:"deadLetterTargetArn"`
		}
		if text := got.Attributes["RedrivePolicy"]; json.Unmarshal([]byte(text), &p) == nil && p.Target != "" {
			s.DeadLetterQueue = arnName(p.Target)
		}
	}
	t.Subscriptions = append(t.Subscriptions, s)
	return nil
}
