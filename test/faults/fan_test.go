package faults

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/openmnq/mnq/internal/mnqtest"
)

// fan is a topic with a webhook and a queue, a publisher, and what came at both ends.
type fan struct {
	sns   *sns.Client
	sqs   *sqs.Client
	topic string
	queue string
	stop  context.CancelFunc
	busy  sync.WaitGroup

	mu      sync.Mutex
	tried   map[string]bool
	acked   map[string]bool
	webhook map[string]int // how often each came
	queued  map[string]int
}

// fanConfig says over what the topic is reached and what the parts are called in ARNs.
type fanConfig struct {
	via     http.RoundTripper
	url     string
	keys    mnqtest.Keys
	arn     string // of an SQS queue, without its name
	webhook bool   // loopback can be reached
}

func newFan(t *testing.T, cfg fanConfig) *fan {
	t.Helper()
	f := &fan{
		sqs: client(cfg.via, cfg.url, cfg.keys, 5), tried: map[string]bool{}, acked: map[string]bool{}, webhook: map[string]int{}, queued: map[string]int{},
		sns: sns.New(sns.Options{
			BaseEndpoint: &cfg.url, Region: "fr-par", Credentials: credentials.NewStaticCredentialsProvider(cfg.keys.Access, cfg.keys.Secret, ""), Retryer: aws.NopRetryer{},
			HTTPClient: &http.Client{Transport: cfg.via, Timeout: 40 * time.Second},
		}),
	}
	topic, err := f.sns.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: aws.String("t")})
	if err != nil {
		t.Fatal(err)
	}
	f.topic = *topic.TopicArn
	q, err := f.sqs.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("fan")})
	if err != nil {
		t.Fatal(err)
	}
	f.queue = *q.QueueUrl
	raw := map[string]string{"RawMessageDelivery": "true"}
	if _, err := f.sns.Subscribe(t.Context(), &sns.SubscribeInput{TopicArn: &f.topic, Protocol: aws.String("sqs"), Endpoint: aws.String(cfg.arn + "fan"), Attributes: raw}); err != nil {
		t.Fatal(err)
	}
	if cfg.webhook {
		f.subscribe(t)
	} else {
		f.webhook = nil
	}
	ctx, stop := context.WithCancel(context.Background())
	f.stop = stop
	t.Cleanup(func() { stop(); f.busy.Wait() })
	f.busy.Go(func() { f.publish(ctx) })
	return f
}

// subscribe makes the webhook and confirms it.
func (f *fan) subscribe(t *testing.T) {
	t.Helper()
	receiver := httptest.NewServer(f)
	t.Cleanup(receiver.Close)
	s, err := f.sns.Subscribe(t.Context(), &sns.SubscribeInput{
		TopicArn: &f.topic, Protocol: aws.String("http"), Endpoint: &receiver.URL,
		Attributes: map[string]string{
			"RawMessageDelivery": "true",
			"DeliveryPolicy":     `{"healthyRetryPolicy":{"numRetries":50,"minDelayTarget":1,"maxDelayTarget":1}}`,
		},
		ReturnSubscriptionArn: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	mnqtest.Within(t, time.Minute, func() error {
		a, err := f.sns.GetSubscriptionAttributes(t.Context(), &sns.GetSubscriptionAttributesInput{SubscriptionArn: s.SubscriptionArn})
		if err == nil && a.Attributes["PendingConfirmation"] != "false" {
			err = errors.New("the webhook is not confirmed")
		}
		return err
	})
}

// ServeHTTP is the webhook.
func (f *fan) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if r.Header.Get("X-Amz-Sns-Message-Type") == "SubscriptionConfirmation" {
		var m struct{ SubscribeURL string }
		if json.Unmarshal(body, &m) == nil {
			if res, err := http.Get(m.SubscribeURL); err == nil {
				_ = res.Body.Close()
			}
		}
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.webhook[string(body)]++
}

func (f *fan) publish(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		body := "m" + strconv.Itoa(n)
		f.mu.Lock()
		f.tried[body] = true
		f.mu.Unlock()
		if _, err := f.sns.Publish(context.Background(), &sns.PublishInput{TopicArn: &f.topic, Message: &body}); err == nil {
			f.mu.Lock()
			f.acked[body] = true
			f.mu.Unlock()
		}
		wait(ctx, 20*time.Millisecond)
	}
}

// collect takes what lies in the queue.
func (f *fan) collect(ctx context.Context) {
	out, err := f.sqs.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &f.queue, MaxNumberOfMessages: 10, WaitTimeSeconds: 1})
	if err != nil || len(out.Messages) == 0 {
		return
	}
	var entries []types.DeleteMessageBatchRequestEntry
	f.mu.Lock()
	for i, m := range out.Messages {
		f.queued[*m.Body]++
		entries = append(entries, types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: m.ReceiptHandle})
	}
	f.mu.Unlock()
	_, _ = f.sqs.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &f.queue, Entries: entries}) // else it comes again
}

// missing lists what was acknowledged and has not come at an end.
func (f *fan) missing() (list []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for body := range f.acked {
		if f.queued[body] == 0 {
			list = append(list, "queue:"+body)
		}
		if f.webhook != nil && f.webhook[body] == 0 {
			list = append(list, "webhook:"+body)
		}
	}
	return list
}

// finish ends the publisher, waits for the deliveries and adds the figures.
func (f *fan) finish(t *testing.T, r *row) {
	t.Helper()
	f.stop()
	f.busy.Wait()
	for give := time.Now().Add(2 * time.Minute); len(f.missing()) > 0 && time.Now().Before(give); {
		f.collect(t.Context())
	}
	lost := f.missing()
	r.lost += len(lost)
	if len(lost) > 0 {
		t.Errorf("published and not delivered: %d: %.500s", len(lost), strings.Join(lost, " "))
	}
	deliveries := 0
	for _, end := range []map[string]int{f.queued, f.webhook} {
		for body, n := range end {
			deliveries += n
			r.duplicated += n - 1
			if !f.tried[body] {
				t.Errorf("delivered and never published: %.100q", body)
			}
		}
	}
	r.operations += len(f.tried) + deliveries
	r.say("published %d, deliveries %d", len(f.acked), deliveries)
	if len(f.acked) < 10 {
		t.Errorf("%d messages published: too few to show anything", len(f.acked))
	}
}
