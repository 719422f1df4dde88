package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"golang.org/x/sync/errgroup"
)

const (
	fanQueues   = 100
	fanMessages = 2_000 // each to all of the queues
	idleTopics  = 1_000
)

// topicClients are those of the --dev tenant.
func topicClients(addr string) (*sns.Client, *sqs.Client) {
	who := credentials.NewStaticCredentialsProvider("test", "test", "")
	url := aws.String("http://" + addr)
	return sns.New(sns.Options{BaseEndpoint: url, Region: "us-east-1", Credentials: who}),
		sqs.New(sqs.Options{BaseEndpoint: url, Region: "us-east-1", Credentials: who})
}

// pair is a topic and a queue that is subscribed to it; raw is its RawMessageDelivery.
type pair struct{ topic, queue, raw string }

// make makes the pair unless it is there.
func (p pair) make(ctx context.Context, topics *sns.Client, queues *sqs.Client) (arn, url string, err error) {
	t, err := topics.CreateTopic(ctx, &sns.CreateTopicInput{Name: &p.topic})
	if err != nil {
		return "", "", err
	}
	q, err := queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &p.queue})
	if err != nil {
		return "", "", err
	}
	_, err = topics.Subscribe(ctx, &sns.SubscribeInput{
		TopicArn: t.TopicArn, Protocol: aws.String("sqs"), Endpoint: aws.String("arn:aws:sqs:us-east-1:000000000000:" + p.queue),
		Attributes: map[string]string{"RawMessageDelivery": p.raw},
	})
	return *t.TopicArn, *q.QueueUrl, err
}

// fanOut publishes to a topic with one queue and with more, and measures until every queue has
// every message: raw, and in envelopes.
func fanOut(s *server) error {
	for _, f := range []struct {
		queues int
		raw    string
	}{{1, "true"}, {10, "true"}, {fanQueues, "true"}, {fanQueues, "false"}} {
		raw := f.raw
		topics, queues := topicClients(s.addr)
		var arn string
		urls := make([]string, f.queues)
		for i := range urls {
			var err error
			if arn, urls[i], err = (pair{fmt.Sprintf("raw-%s-%d", raw, f.queues), fmt.Sprintf("raw-%s-%d-%d", raw, f.queues, i), raw}).make(s.ctx, topics, queues); err != nil {
				return err
			}
		}
		begun := time.Now()
		if err := publish(s.ctx, topics, arn, fanMessages); err != nil {
			return err
		}
		published := time.Since(begun)
		for _, url := range urls {
			if err := full(s.ctx, queues, url, fanMessages); err != nil {
				return err
			}
		}
		took := time.Since(begun)
		memory, err := s.megabytes()
		if err != nil {
			return err
		}
		if _, err := fmt.Printf("fan-out               %d messages of 1 KiB to %d queues, raw %s: published in %.1f s, delivered in %.1f s, %.0f deliveries/s; resident memory %.0f MB\n",
			fanMessages, f.queues, raw, published.Seconds(), took.Seconds(), float64(fanMessages*f.queues)/took.Seconds(), memory); err != nil {
			return err
		}
	}
	return nil
}

func publish(ctx context.Context, topics *sns.Client, arn string, n int) error {
	var entries []types.PublishBatchRequestEntry
	for i := range 10 {
		entries = append(entries, types.PublishBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), Message: &kibibyte})
	}
	var sent atomic.Int64
	var all errgroup.Group
	for range clients / 2 {
		all.Go(func() error {
			for sent.Add(10) <= int64(n) {
				out, err := topics.PublishBatch(ctx, &sns.PublishBatchInput{TopicArn: &arn, PublishBatchRequestEntries: entries})
				if err != nil {
					return err
				}
				if len(out.Failed) > 0 {
					return fmt.Errorf("%s", aws.ToString(out.Failed[0].Message))
				}
			}
			return nil
		})
	}
	return all.Wait()
}

// full waits until a queue has n messages.
func full(ctx context.Context, queues *sqs.Client, url string, n int) error {
	const visible = sqstypes.QueueAttributeNameApproximateNumberOfMessages
	for {
		out, err := queues.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []sqstypes.QueueAttributeName{visible}})
		if err != nil {
			return err
		}
		have, err := strconv.Atoi(out.Attributes[string(visible)])
		switch {
		case err != nil:
			return err
		case have == n:
			return nil
		case have > n:
			return fmt.Errorf("%s has %d messages instead of %d", url, have, n)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// idleTopicsCost makes topics with one subscription each, publishes to each once, and measures
// what they cost when nothing happens.
func idleTopicsCost(s *server) error {
	topics, queues := topicClients(s.addr)
	before, err := s.megabytes()
	if err != nil {
		return err
	}
	begun := time.Now()
	var next atomic.Int64
	var all errgroup.Group
	for range 4 {
		all.Go(func() error {
			for i := next.Add(1); i <= idleTopics; i = next.Add(1) {
				arn, _, err := pair{fmt.Sprint("t", i), "q", "true"}.make(s.ctx, topics, queues)
				if err != nil {
					return err
				}
				if _, err := topics.Publish(s.ctx, &sns.PublishInput{TopicArn: &arn, Message: aws.String("x")}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return err
	}
	took := time.Since(begun)
	time.Sleep(10 * time.Second)
	used, err := s.cpu()
	if err != nil {
		return err
	}
	const rest = 20 * time.Second
	time.Sleep(rest)
	more, err := s.cpu()
	if err != nil {
		return err
	}
	after, err := s.megabytes()
	if err != nil {
		return err
	}
	_, err = fmt.Printf("topics                %d with a subscription each, made and published to in %.1f s; resident memory %.0f MB, %.0f KB a topic; idle CPU %.1f %%\n",
		idleTopics, took.Seconds(), after, (after-before)*1000/idleTopics, 100*float64(more-used)/float64(rest))
	return err
}

// cpu is the time that the server has used so far.
func (s *server) cpu() (time.Duration, error) {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(s.cmd.Process.Pid) + "/stat")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, errors.New("no times in /proc")
	}
	user, err := strconv.Atoi(fields[11])
	system, err2 := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err, err2) // USER_HZ is 100
}
