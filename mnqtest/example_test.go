package mnqtest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/openmnq/mnq/mnqtest"
)

// work is the program under test: it hands each message to handle and deletes those that
// were handled.
func work(ctx context.Context, c *sqs.Client, url *string, handle func(body string) error) error {
	for {
		got, err := c.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: url, MaxNumberOfMessages: 10, WaitTimeSeconds: 20})
		if ctx.Err() != nil {
			return nil //nolint:nilerr // asked to end
		}
		if err != nil {
			return err
		}
		for _, m := range got.Messages {
			if handle(*m.Body) != nil {
				continue // it comes again
			}
			if _, err := c.DeleteMessage(context.WithoutCancel(ctx), &sqs.DeleteMessageInput{QueueUrl: url, ReceiptHandle: m.ReceiptHandle}); err != nil {
				return err
			}
		}
	}
}

// TestExample is how a test of a worker looks.
func TestExample(t *testing.T) {
	t.Parallel()
	s := mnqtest.Start(t)
	c := sqs.NewFromConfig(s.AWS)
	q, err := c.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("orders")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: q.QueueUrl, MessageBody: aws.String("42 apples")}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	err = work(ctx, c, q.QueueUrl, func(body string) error {
		if body != "42 apples" {
			t.Errorf("%q is not what was ordered", body)
		}
		cancel()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestExample_virtualTime is how a test looks that needs time to pass: the worker fails
// twice, and the queue's visibility timeout is half an hour.
func TestExample_virtualTime(t *testing.T) { //nolint:paralleltest // virtual time
	synctest.Test(t, func(t *testing.T) {
		s := mnqtest.Start(t)
		c := sqs.NewFromConfig(s.AWS)
		q, err := c.CreateQueue(t.Context(), &sqs.CreateQueueInput{
			QueueName: aws.String("orders"), Attributes: map[string]string{"VisibilityTimeout": "1800"},
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: q.QueueUrl, MessageBody: aws.String("42 apples")}); err != nil {
			t.Fatal(err)
		}
		begun, tries := time.Now(), 0
		ctx, cancel := context.WithCancel(t.Context())
		err = work(ctx, c, q.QueueUrl, func(string) error {
			if tries++; tries < 3 {
				return errors.New("no apples yet")
			}
			cancel()
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if waited := time.Since(begun).Round(time.Minute); tries != 3 || waited != time.Hour {
			t.Errorf("%d tries in %v, want 3 in an hour", tries, waited)
		}
	})
}
