// Command fanout sends each message of a topic to the queues whose filters take it.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/openmnq/mnq/examples/go/endpoint"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	queues, topics := sqs.NewFromConfig(endpoint.Config()), sns.NewFromConfig(endpoint.Config())
	topic, err := topics.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("go-orders")})
	if err != nil {
		return err
	}
	urls := map[string]*string{}
	for name, filter := range map[string]string{"go-billing": `{}`, "go-express": `{"delivery":["express"]}`} {
		q, err := queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &name})
		if err != nil {
			return err
		}
		urls[name] = q.QueueUrl
		a, err := queues.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: q.QueueUrl, AttributeNames: []types.QueueAttributeName{"QueueArn"}})
		if err != nil {
			return err
		}
		_, err = topics.Subscribe(ctx, &sns.SubscribeInput{
			TopicArn: topic.TopicArn, Protocol: aws.String("sqs"), Endpoint: aws.String(a.Attributes["QueueArn"]),
			Attributes: map[string]string{"RawMessageDelivery": "true", "FilterPolicy": filter},
		})
		if err != nil {
			return err
		}
	}
	for order, delivery := range map[string]string{"order 1": "post", "order 2": "express"} {
		_, err := topics.Publish(ctx, &sns.PublishInput{
			TopicArn: topic.TopicArn, Message: &order,
			MessageAttributes: map[string]snstypes.MessageAttributeValue{"delivery": {DataType: aws.String("String"), StringValue: &delivery}},
		})
		if err != nil {
			return err
		}
	}
	for name, want := range map[string]int{"go-billing": 2, "go-express": 1} {
		if err := receive(ctx, queues, name, urls[name], want); err != nil {
			return err
		}
	}
	return nil
}

func receive(ctx context.Context, c *sqs.Client, name string, url *string, want int) error {
	for want > 0 {
		got, err := c.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: url, MaxNumberOfMessages: 10, WaitTimeSeconds: 20})
		if err != nil {
			return err
		}
		for _, m := range got.Messages {
			fmt.Println(name, "has", *m.Body)
			if _, err := c.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: url, ReceiptHandle: m.ReceiptHandle}); err != nil {
				return err
			}
			want--
		}
	}
	return nil
}
