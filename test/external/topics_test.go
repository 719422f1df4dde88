package external

import (
	"fmt"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/openmnq/mnq/internal/mnqtest"
)

// topics subscribes and unsubscribes on one gateway and publishes on the other at
// once: a message is for who had subscribed when it was published, wherever that was.
func topics(t *testing.T, a, b *mnqtest.Process, ns string, keys mnqtest.Keys) {
	ctx, one, two, queues := t.Context(), mnqtest.SNS(a.URL, keys), mnqtest.SNS(b.URL, keys), mnqtest.SQS(b.URL, keys)
	created, err := one.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("t")})
	if err != nil {
		t.Fatal(err)
	}
	topic := created.TopicArn
	mnqtest.Within(t, time.Second, func() error {
		_, err := two.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: topic})
		return err
	})
	q, err := queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("subscribed")})
	if err != nil {
		t.Fatal(err)
	}
	publish := func(c *sns.Client, text string) {
		t.Helper()
		if _, err := c.Publish(ctx, &sns.PublishInput{TopicArn: topic, Message: &text}); err != nil {
			t.Fatal(err)
		}
	}
	receive := func(wait int32) []string {
		t.Helper()
		out, err := queues.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: q.QueueUrl, WaitTimeSeconds: wait, MaxNumberOfMessages: 10, VisibilityTimeout: 600})
		if err != nil {
			t.Fatal(err)
		}
		var bodies []string
		for _, m := range out.Messages {
			bodies = append(bodies, *m.Body)
		}
		return bodies
	}
	for i := range 15 {
		sub, err := one.Subscribe(ctx, &sns.SubscribeInput{
			TopicArn: topic, Protocol: aws.String("sqs"), Endpoint: aws.String("arn:aws:sqs:fr-par:" + ns + ":subscribed"),
			Attributes: map[string]string{"RawMessageDelivery": "true"},
		})
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("subscribed %d", i)
		publish(two, want)
		if got := receive(20); len(got) != 1 || got[0] != want {
			t.Fatalf("received %v, want %s", got, want)
		}
		if _, err := two.Unsubscribe(ctx, &sns.UnsubscribeInput{SubscriptionArn: sub.SubscriptionArn}); err != nil {
			t.Fatal(err)
		}
		publish(one, fmt.Sprintf("unsubscribed %d", i))
	}
	if got := receive(2); len(got) > 0 {
		t.Errorf("and then %v", got)
	}
}
