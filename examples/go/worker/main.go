// Command worker is a queue worker: it handles messages and deletes those that were
// handled. One that fails comes again after the visibility timeout, and goes to the
// dead-letter queue when it has failed three times.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/openmnq/mnq/examples/go/endpoint"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, sqs.NewFromConfig(endpoint.Config())); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, c *sqs.Client) error {
	dead, err := queue(ctx, c, "go-jobs-dead", nil)
	if err != nil {
		return err
	}
	got, err := c.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: dead, AttributeNames: []types.QueueAttributeName{"QueueArn"}})
	if err != nil {
		return err
	}
	jobs, err := queue(ctx, c, "go-jobs", map[string]string{
		"VisibilityTimeout": "1", // longer than a job takes
		"RedrivePolicy":     `{"deadLetterTargetArn":"` + got.Attributes["QueueArn"] + `","maxReceiveCount":3}`,
	})
	if err != nil {
		return err
	}
	for _, body := range []string{"resize cat.jpg", "resize dog.jpg", "resize nothing"} {
		if _, err := c.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: jobs, MessageBody: &body}); err != nil {
			return err
		}
	}
	if err := work(ctx, c, jobs); err != nil {
		return err
	}
	failed, err := c.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: dead, WaitTimeSeconds: 10})
	if err != nil {
		return err
	}
	for _, m := range failed.Messages {
		fmt.Println("given up:", *m.Body)
	}
	return nil
}

func queue(ctx context.Context, c *sqs.Client, name string, attributes map[string]string) (*string, error) {
	q, err := c.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		return nil, err
	}
	return q.QueueUrl, nil
}

// work goes on until the queue has been empty for five seconds; a real worker goes on
// until ctx ends.
func work(ctx context.Context, c *sqs.Client, url *string) error {
	for {
		got, err := c.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: url, MaxNumberOfMessages: 10, WaitTimeSeconds: 5})
		if err != nil || len(got.Messages) == 0 {
			return err
		}
		for _, m := range got.Messages {
			if err := handle(aws.ToString(m.Body)); err != nil {
				fmt.Println("failed:", err)
				continue
			}
			if _, err := c.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: url, ReceiptHandle: m.ReceiptHandle}); err != nil {
				return err
			}
		}
	}
}

func handle(job string) error {
	if job == "resize nothing" {
		return errors.New("there is no picture")
	}
	fmt.Println("done:", job)
	return nil
}
