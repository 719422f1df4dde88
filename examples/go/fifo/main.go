// Command fifo shows order: the messages of a group come one after the other, and one that
// is not done holds back those behind it, but no other group.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/openmnq/mnq/examples/go/endpoint"
)

func main() {
	if err := run(context.Background(), sqs.NewFromConfig(endpoint.Config())); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, c *sqs.Client) error {
	q, err := c.CreateQueue(ctx, &sqs.CreateQueueInput{
		QueueName: aws.String("go-accounts.fifo"), Attributes: map[string]string{"FifoQueue": "true", "ContentBasedDeduplication": "true"},
	})
	if err != nil {
		return err
	}
	for _, step := range []string{"open", "deposit", "close"} {
		for _, account := range []string{"anna", "bert"} {
			body := step + " " + account
			for range 2 { // the second is a duplicate and is not stored
				_, err := c.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: q.QueueUrl, MessageBody: &body, MessageGroupId: &account})
				if err != nil {
					return err
				}
			}
		}
	}
	for left := 6; left > 0; {
		got, err := c.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: q.QueueUrl, WaitTimeSeconds: 20, MessageSystemAttributeNames: []types.MessageSystemAttributeName{"MessageGroupId"},
		})
		if err != nil {
			return err
		}
		for _, m := range got.Messages {
			fmt.Println(m.Attributes["MessageGroupId"]+":", *m.Body)
			if _, err := c.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: q.QueueUrl, ReceiptHandle: m.ReceiptHandle}); err != nil {
				return err
			}
			left--
		}
	}
	return nil
}
