package definition

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// Endpoint is a server of SQS and SNS.
type Endpoint struct {
	SQS *sqs.Client
	SNS *sns.Client
}

// NewEndpoint reaches what the configuration says.
func NewEndpoint(c aws.Config) Endpoint {
	return Endpoint{sqs.NewFromConfig(c), sns.NewFromConfig(c)}
}

// Change is something that Apply did.
type Change struct {
	What string // "queue orders"
	Done string // "created", "changed" or "unchanged"
}

// Apply creates what is defined and changes what is there but different; what is not
// defined it leaves as it is. Applying a file again changes nothing. An error tells what
// it was about; what was done before stays done.
func (e Endpoint) Apply(ctx context.Context, f *File) ([]Change, error) {
	a := &applier{Endpoint: e, urls: map[string]string{}, arns: map[string]string{}, known: map[string]bool{}}
	for _, step := range []func(context.Context, *File) error{a.queues, a.deadLetters, a.topics} {
		if err := step(ctx, f); err != nil {
			return a.changes, err
		}
	}
	return a.changes, nil
}

type applier struct {
	Endpoint

	urls    map[string]string // of queues by name
	arns    map[string]string
	known   map[string]bool // topics that were there before
	changes []Change
}

func (a *applier) did(what string, created, changed bool) {
	done := "unchanged"
	switch {
	case created:
		done = "created"
	case changed:
		done = "changed"
	}
	a.changes = append(a.changes, Change{what, done})
}

// at names the definition that an error is about.
func at(line int, what string, err error) error {
	if err == nil {
		return nil
	}
	if line > 0 {
		return fmt.Errorf("line %d: %s: %w", line, what, reason(err))
	}
	return fmt.Errorf("%s: %w", what, reason(err))
}

// apiError is what a server says, without how the SDK asked.
type apiError struct{ err error }

func (e apiError) Error() string {
	var api interface {
		ErrorCode() string
		ErrorMessage() string
	}
	if errors.As(e.err, &api) {
		return api.ErrorCode() + ": " + api.ErrorMessage()
	}
	return e.err.Error()
}

func (e apiError) Unwrap() error { return e.err }

func reason(err error) error { return apiError{err} }

func (a *applier) queues(ctx context.Context, f *File) error {
	for _, q := range f.Queues {
		if err := a.queue(ctx, q); err != nil {
			return at(q.Line, "queue "+q.Name, err)
		}
	}
	return nil
}

func (a *applier) queue(ctx context.Context, q Queue) error {
	url, err := a.SQS.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &q.Name})
	if err == nil {
		a.urls[q.Name] = *url.QueueUrl
		changed, err := a.changeQueue(ctx, q)
		a.did("queue "+q.Name, false, changed)
		return err
	}
	if _, ok := errors.AsType[*sqstypes.QueueDoesNotExist](err); !ok {
		return err
	}
	attributes := maps.Clone(q.Attributes)
	if isFIFO(q.Name) {
		attributes = with(attributes, "FifoQueue", "true")
	}
	made, err := a.SQS.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &q.Name, Attributes: attributes, Tags: q.Tags})
	if err != nil {
		return err
	}
	a.urls[q.Name] = *made.QueueUrl
	a.did("queue "+q.Name, true, false)
	return nil
}

func with(m map[string]string, name, value string) map[string]string {
	if m == nil {
		m = map[string]string{}
	}
	m[name] = value
	return m
}

// changeQueue sets attributes and tags that are different.
func (a *applier) changeQueue(ctx context.Context, q Queue) (changed bool, err error) {
	url := aws.String(a.urls[q.Name])
	if len(q.Attributes) > 0 {
		have, err := a.SQS.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: url, AttributeNames: []sqstypes.QueueAttributeName{"All"}})
		if err != nil {
			return false, err
		}
		if differ := different(q.Attributes, have.Attributes); len(differ) > 0 {
			changed = true
			if _, err := a.SQS.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: url, Attributes: differ}); err != nil {
				return false, err
			}
		}
	}
	if len(q.Tags) == 0 {
		return changed, nil
	}
	have, err := a.SQS.ListQueueTags(ctx, &sqs.ListQueueTagsInput{QueueUrl: url})
	if err != nil {
		return changed, err
	}
	if differ := different(q.Tags, have.Tags); len(differ) > 0 {
		changed = true
		_, err = a.SQS.TagQueue(ctx, &sqs.TagQueueInput{QueueUrl: url, Tags: differ})
	}
	return changed, err
}

// different are the wanted values that are not there. JSON documents are compared by what
// they say.
func different(want, have map[string]string) map[string]string {
	out := map[string]string{}
	for name, value := range want {
		if got, ok := have[name]; !ok || got != value && !sameJSON(got, value) {
			out[name] = value
		}
	}
	return out
}

func sameJSON(a, b string) bool {
	var x, y any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return false
	}
	p, errP := json.Marshal(x)
	q, errQ := json.Marshal(y)
	return errP == nil && errQ == nil && string(p) == string(q)
}

// arn is the ARN of a queue of the target.
func (a *applier) arn(ctx context.Context, name string) (string, error) {
	if arn := a.arns[name]; arn != "" {
		return arn, nil
	}
	if a.urls[name] == "" {
		url, err := a.SQS.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &name})
		if err != nil {
			return "", fmt.Errorf("queue %s: %w", name, reason(err))
		}
		a.urls[name] = *url.QueueUrl
	}
	got, err := a.SQS.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: aws.String(a.urls[name]), AttributeNames: []sqstypes.QueueAttributeName{"QueueArn"},
	})
	if err != nil {
		return "", err
	}
	a.arns[name] = got.Attributes["QueueArn"]
	return a.arns[name], nil
}

func (a *applier) deadLetters(ctx context.Context, f *File) error {
	for i, q := range f.Queues {
		if q.DeadLetter == nil {
			continue
		}
		arn, err := a.arn(ctx, q.DeadLetter.Queue)
		if err != nil {
			return at(q.Line, "dead-letter of queue "+q.Name, err)
		}
		policy := `{"deadLetterTargetArn":"` + arn + `","maxReceiveCount":` + strconv.Itoa(q.DeadLetter.MaxReceiveCount) + `}`
		url := aws.String(a.urls[q.Name])
		have, err := a.SQS.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: url, AttributeNames: []sqstypes.QueueAttributeName{"RedrivePolicy"}})
		if err != nil {
			return at(q.Line, "queue "+q.Name, err)
		}
		if sameJSON(have.Attributes["RedrivePolicy"], policy) {
			continue
		}
		if _, err := a.SQS.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: url, Attributes: map[string]string{"RedrivePolicy": policy}}); err != nil {
			return at(q.Line, "dead-letter of queue "+q.Name, err)
		}
		if a.changes[i].Done == "unchanged" { // the first changes are those of the queues, in this order
			a.changes[i].Done = "changed"
		}
	}
	return nil
}

func (a *applier) topics(ctx context.Context, f *File) error {
	if len(f.Topics) == 0 {
		return nil
	}
	if err := a.listTopics(ctx); err != nil {
		return fmt.Errorf("list the topics: %w", reason(err))
	}
	for _, t := range f.Topics {
		arn, err := a.topic(ctx, t)
		if err != nil {
			return at(t.Line, "topic "+t.Name, err)
		}
		have, err := a.subscriptions(ctx, arn)
		if err != nil {
			return at(t.Line, "topic "+t.Name, err)
		}
		for _, s := range t.Subscriptions {
			if err := a.subscription(ctx, arn, s, have); err != nil {
				return at(s.Line, "subscription of topic "+t.Name+" to "+s.to(), err)
			}
		}
	}
	return nil
}

func (a *applier) topic(ctx context.Context, t Topic) (arn string, err error) {
	var fifo map[string]string
	if isFIFO(t.Name) {
		fifo = map[string]string{"FifoTopic": "true"}
	}
	made, err := a.SNS.CreateTopic(ctx, &sns.CreateTopicInput{Name: &t.Name, Attributes: fifo})
	if err != nil {
		return "", err
	}
	arn = *made.TopicArn
	got, err := a.SNS.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: &arn})
	if err != nil {
		return "", err
	}
	differ := different(t.Attributes, got.Attributes)
	for name, value := range differ {
		if name == "DataProtectionPolicy" {
			_, err = a.SNS.PutDataProtectionPolicy(ctx, &sns.PutDataProtectionPolicyInput{ResourceArn: &arn, DataProtectionPolicy: &value})
		} else {
			_, err = a.SNS.SetTopicAttributes(ctx, &sns.SetTopicAttributesInput{TopicArn: &arn, AttributeName: &name, AttributeValue: &value})
		}
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, reason(err))
		}
	}
	tagged, err := a.tagTopic(ctx, arn, t.Tags)
	a.did("topic "+t.Name, !a.known[t.Name], len(differ) > 0 || tagged)
	return arn, err
}

func (a *applier) listTopics(ctx context.Context) error {
	pages := sns.NewListTopicsPaginator(a.SNS, &sns.ListTopicsInput{})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		for _, t := range page.Topics {
			a.known[arnName(*t.TopicArn)] = true
		}
	}
	return nil
}

func (a *applier) tagTopic(ctx context.Context, arn string, tags map[string]string) (changed bool, err error) {
	if len(tags) == 0 {
		return false, nil
	}
	got, err := a.SNS.ListTagsForResource(ctx, &sns.ListTagsForResourceInput{ResourceArn: &arn})
	if err != nil {
		return false, err
	}
	have := map[string]string{}
	for _, t := range got.Tags {
		have[*t.Key] = *t.Value
	}
	var add []snstypes.Tag
	for k, v := range different(tags, have) {
		add = append(add, snstypes.Tag{Key: &k, Value: &v})
	}
	if len(add) == 0 {
		return false, nil
	}
	_, err = a.SNS.TagResource(ctx, &sns.TagResourceInput{ResourceArn: &arn, Tags: add})
	return true, err
}

// subscriptions are those of a topic: ARNs by protocol and endpoint.
func (a *applier) subscriptions(ctx context.Context, topic string) (map[[2]string]string, error) {
	have := map[[2]string]string{}
	pages := sns.NewListSubscriptionsByTopicPaginator(a.SNS, &sns.ListSubscriptionsByTopicInput{TopicArn: &topic})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, s := range page.Subscriptions {
			have[[2]string{*s.Protocol, *s.Endpoint}] = *s.SubscriptionArn
		}
	}
	return have, nil
}

// unconfirmed stands in the place of the ARN of a subscription that nobody has confirmed.
const unconfirmed = "PendingConfirmation"

func (a *applier) subscription(ctx context.Context, topic string, s Subscription, have map[[2]string]string) error {
	attributes := maps.Clone(s.Attributes)
	if s.Queue != "" {
		arn, err := a.arn(ctx, s.Queue)
		if err != nil {
			return err
		}
		s.Protocol, s.Endpoint = "sqs", arn
	}
	if s.DeadLetterQueue != "" {
		arn, err := a.arn(ctx, s.DeadLetterQueue)
		if err != nil {
			return err
		}
		attributes = with(attributes, "RedrivePolicy", `{"deadLetterTargetArn":"`+arn+`"}`)
	}
	what := "subscription of " + arnName(topic) + " to " + s.to()
	arn := have[[2]string{s.Protocol, s.Endpoint}]
	switch arn {
	case "":
		a.did(what, true, false)
		_, err := a.SNS.Subscribe(ctx, &sns.SubscribeInput{
			TopicArn: &topic, Protocol: &s.Protocol, Endpoint: &s.Endpoint, Attributes: attributes, ReturnSubscriptionArn: true,
		})
		return err
	case unconfirmed:
		a.did(what, false, false)
		return nil
	}
	got, err := a.SNS.GetSubscriptionAttributes(ctx, &sns.GetSubscriptionAttributesInput{SubscriptionArn: &arn})
	if err != nil {
		return err
	}
	differ := different(attributes, got.Attributes)
	for name, value := range differ {
		_, err := a.SNS.SetSubscriptionAttributes(ctx, &sns.SetSubscriptionAttributesInput{SubscriptionArn: &arn, AttributeName: &name, AttributeValue: &value})
		if err != nil {
			return fmt.Errorf("%s: %w", name, reason(err))
		}
	}
	a.did(what, false, len(differ) > 0)
	return nil
}
