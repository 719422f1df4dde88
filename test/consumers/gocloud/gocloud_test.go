package gocloud_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"gocloud.dev/gcerrors"
	"gocloud.dev/pubsub"
	"gocloud.dev/pubsub/awssnssqs"
)

const patience = time.Minute

type fixture struct {
	ctx   context.Context
	c     *sqs.Client
	url   string
	topic *pubsub.Topic
	sub   *pubsub.Subscription
}

func setup(t *testing.T, attributes map[string]string) *fixture {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	c := sqs.New(sqs.Options{
		BaseEndpoint: &serverURL, Region: "us-east-1", Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
	})
	q, err := c.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String(strings.ReplaceAll(t.Name(), "/", "-")), Attributes: attributes})
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{
		ctx: ctx, c: c, url: *q.QueueUrl,
		topic: awssnssqs.OpenSQSTopic(ctx, c, *q.QueueUrl, nil),
		sub:   awssnssqs.OpenSubscription(ctx, c, *q.QueueUrl, &awssnssqs.SubscriptionOptions{WaitTime: time.Second}),
	}
	t.Cleanup(func() {
		end := context.WithoutCancel(ctx)
		if err := errors.Join(f.topic.Shutdown(end), f.sub.Shutdown(end)); err != nil {
			t.Error(err)
		}
	})
	return f
}

// wantEmpty fails unless the queue reports, within the test's patience, that it
// holds nothing: acknowledgements go out in the background.
func (f *fixture) wantEmpty(t *testing.T) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	names := []types.QueueAttributeName{"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"}
	for {
		out, err := f.c.GetQueueAttributes(f.ctx, &sqs.GetQueueAttributesInput{QueueUrl: &f.url, AttributeNames: names})
		if err != nil {
			t.Fatal(err)
		}
		if out.Attributes[string(names[0])] == "0" && out.Attributes[string(names[1])] == "0" {
			return
		}
		select {
		case <-tick.C:
		case <-f.ctx.Done():
			t.Fatalf("the queue holds %v", out.Attributes)
		}
	}
}

func TestMessagesArriveOnceWithTheirMetadata(t *testing.T) {
	t.Parallel()
	const n = 200
	f := setup(t, nil)
	metadata := map[string]string{"kind": "test", "with space & ü": "välue", "empty": " "}
	var senders sync.WaitGroup
	for i := range n {
		senders.Go(func() {
			body := fmt.Appendf(nil, "message %d", i)
			if i%2 == 1 {
				body = append(body, 0, 0xff) // sent as base64
			}
			if err := f.topic.Send(f.ctx, &pubsub.Message{Body: body, Metadata: metadata}); err != nil {
				t.Error(err)
			}
		})
	}
	senders.Wait()
	seen := map[string]bool{}
	for range n {
		m, err := f.sub.Receive(f.ctx)
		if err != nil {
			t.Fatalf("after %d messages: %v", len(seen), err)
		}
		if seen[string(m.Body)] {
			t.Errorf("%q came twice", m.Body)
		}
		seen[string(m.Body)] = true
		for k, v := range metadata {
			if m.Metadata[k] != v {
				t.Errorf("metadata %q is %q, want %q", k, m.Metadata[k], v)
			}
		}
		m.Ack()
	}
	for i := range n {
		body := fmt.Sprintf("message %d", i)
		if i%2 == 1 {
			body += "\x00\xff"
		}
		if !seen[body] {
			t.Errorf("%q did not come", body)
		}
	}
	f.wantEmpty(t)
}

func TestANackBringsTheMessageBackAtOnce(t *testing.T) {
	t.Parallel()
	f := setup(t, map[string]string{"VisibilityTimeout": "3600"})
	if err := f.topic.Send(f.ctx, &pubsub.Message{Body: []byte("again")}); err != nil {
		t.Fatal(err)
	}
	for deliveries := range 3 {
		m, err := f.sub.Receive(f.ctx)
		if err != nil {
			t.Fatalf("after %d deliveries: %v", deliveries, err)
		}
		if string(m.Body) != "again" || !m.Nackable() {
			t.Fatalf("got %q", m.Body)
		}
		if deliveries < 2 {
			m.Nack()
		} else {
			m.Ack()
		}
	}
	f.wantEmpty(t)
}

func TestAMissingQueueIsNotFound(t *testing.T) {
	t.Parallel()
	f := setup(t, nil)
	url := f.url + "-missing"
	topic := awssnssqs.OpenSQSTopic(f.ctx, f.c, url, nil)
	sub := awssnssqs.OpenSubscription(f.ctx, f.c, url, nil)
	sent := topic.Send(f.ctx, &pubsub.Message{Body: []byte("x")})
	_, received := sub.Receive(f.ctx)
	var driver *types.QueueDoesNotExist
	for _, err := range []error{sent, received} {
		if gcerrors.Code(err) != gcerrors.NotFound || !topic.ErrorAs(err, &driver) {
			t.Errorf("got %v, code %v", err, gcerrors.Code(err))
		}
	}
	_ = topic.Shutdown(f.ctx) // reports the error again
	_ = sub.Shutdown(f.ctx)
}
