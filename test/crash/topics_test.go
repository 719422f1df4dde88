package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/openmnq/mnq/internal/mnqtest"
)

const (
	topics        = 10 // the last one is FIFO
	subscriptions = 20 // of each
	webhooks      = 3  // of these, but for the FIFO topic
	groups        = 3  // of the FIFO topic
)

// fanout is what publishers did and subscribers saw.
type fanout struct {
	processes []*mnqtest.Process
	keys      mnqtest.Keys
	topics    []*sns.Client // by process
	queues    []*sqs.Client
	place     string // of ARNs: partition, service, region and account

	arns []string
	urls map[string]string // subscriber → its queue

	mu    sync.Mutex
	acked [topics][]string
	sent  [topics]int         // acknowledged or not
	seen  map[string][]string // subscriber → bodies in the order in which they came
}

func subscriber(topic, n int) string { return fmt.Sprintf("s%d-%d", topic, n) }

// newFanout makes the topics with their subscriptions. Even subscriptions are for even
// messages only.
func newFanout(t *testing.T, keys mnqtest.Keys, place string, processes ...*mnqtest.Process) *fanout {
	t.Helper()
	f := &fanout{processes: processes, keys: keys, place: place, urls: map[string]string{}, seen: map[string][]string{}}
	for _, p := range processes {
		f.topics, f.queues = append(f.topics, mnqtest.SNS(p.URL, keys)), append(f.queues, mnqtest.SQS(p.URL, keys))
	}
	receiver := httptest.NewServer(f)
	t.Cleanup(receiver.Close)
	for i := range topics {
		name, attrs := fmt.Sprint("t", i), map[string]string{}
		suffix := ""
		if i == topics-1 {
			suffix = ".fifo"
			attrs["FifoTopic"] = "true"
		}
		topic, err := f.topics[0].CreateTopic(t.Context(), &sns.CreateTopicInput{Name: aws.String(name + suffix), Attributes: attrs})
		if err != nil {
			t.Fatal(err)
		}
		f.arns = append(f.arns, *topic.TopicArn)
		for n := range subscriptions {
			id := subscriber(i, n)
			in := &sns.SubscribeInput{TopicArn: topic.TopicArn, Attributes: map[string]string{"RawMessageDelivery": "true"}}
			if n%2 == 0 {
				in.Attributes["FilterPolicy"] = `{"parity":["even"]}`
			}
			if n < webhooks && suffix == "" {
				in.Protocol, in.Endpoint = aws.String("http"), aws.String(receiver.URL+"/"+id)
				in.Attributes["DeliveryPolicy"] = `{"healthyRetryPolicy":{"numRetries":20,"minDelayTarget":1,"maxDelayTarget":1}}`
			} else {
				qattrs := map[string]string{"VisibilityTimeout": "30"}
				if suffix != "" {
					qattrs["FifoQueue"] = "true"
				}
				_, err := f.queues[0].CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String(id + suffix), Attributes: qattrs})
				if err != nil {
					t.Fatal(err)
				}
				f.urls[id] = id + suffix
				in.Protocol, in.Endpoint = aws.String("sqs"), aws.String("arn:"+place+":"+id+suffix)
			}
			if _, err := f.topics[0].Subscribe(t.Context(), in); err != nil {
				t.Fatal(err)
			}
		}
	}
	f.waitConfirmed(t)
	return f
}

// ServeHTTP is the endpoint of all webhooks.
func (f *fanout) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if r.Header.Get("x-amz-sns-message-type") == "SubscriptionConfirmation" {
		var m struct{ SubscribeURL string }
		if json.Unmarshal(body, &m) == nil {
			req, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), http.MethodGet, m.SubscribeURL, http.NoBody)
			if err != nil {
				return
			}
			if resp, err := http.DefaultClient.Do(req); err == nil {
				_ = resp.Body.Close()
			}
		}
		return
	}
	f.saw(strings.TrimPrefix(r.URL.Path, "/"), string(body))
}

func (f *fanout) saw(id, body string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen[id] = append(f.seen[id], body)
}

func (f *fanout) waitConfirmed(t *testing.T) {
	t.Helper()
	mnqtest.Within(t, time.Minute, func() error {
		for _, arn := range f.arns {
			out, err := f.topics[0].GetTopicAttributes(t.Context(), &sns.GetTopicAttributesInput{TopicArn: &arn})
			if err != nil {
				return err
			}
			if n := out.Attributes["SubscriptionsConfirmed"]; n != strconv.Itoa(subscriptions) {
				return fmt.Errorf("%s has %s confirmed subscriptions", arn, n)
			}
		}
		return nil
	})
}

// publish publishes to one topic until ctx ends. A body is "<n>"; in the FIFO topic
// only what is acknowledged is followed by the next.
func (f *fanout) publish(ctx context.Context, topic int) {
	for n := 0; ctx.Err() == nil; n++ {
		body := strconv.Itoa(n)
		parity := "odd"
		if n%2 == 0 {
			parity = "even"
		}
		in := &sns.PublishInput{
			TopicArn: &f.arns[topic], Message: &body,
			MessageAttributes: map[string]snstypes.MessageAttributeValue{"parity": {DataType: aws.String("String"), StringValue: &parity}},
		}
		fifo := topic == topics-1
		if fifo {
			in.MessageGroupId, in.MessageDeduplicationId = aws.String(strconv.Itoa(n%groups)), &body
		}
		f.mu.Lock()
		f.sent[topic]++
		f.mu.Unlock()
		_, err := f.topics[n%len(f.topics)].Publish(context.WithoutCancel(ctx), in)
		for try := n; err != nil && fifo && ctx.Err() == nil; try++ {
			pause(ctx, 20*time.Millisecond)
			_, err = f.topics[try%len(f.topics)].Publish(context.WithoutCancel(ctx), in)
		}
		if err == nil {
			f.mu.Lock()
			f.acked[topic] = append(f.acked[topic], body)
			f.mu.Unlock()
		}
		pause(ctx, time.Duration(20+rand.IntN(60))*time.Millisecond)
	}
}

// run publishes to all topics while f works.
func (f *fanout) run(t *testing.T, during func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var publishers sync.WaitGroup
	for i := range topics {
		publishers.Go(func() { f.publish(ctx, i) })
	}
	during()
	stop()
	publishers.Wait()
}

// want is what a subscriber must have.
func (f *fanout) want(topic, n int) (out []string) {
	for _, body := range f.acked[topic] {
		if k, _ := strconv.Atoi(body); n%2 == 1 || k%2 == 0 {
			out = append(out, body)
		}
	}
	return out
}

// missing returns what a subscriber must have and has not.
func (f *fanout) missing(topic, n int) (out []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	have := map[string]bool{}
	for _, body := range f.seen[subscriber(topic, n)] {
		have[body] = true
	}
	for _, body := range f.want(topic, n) {
		if !have[body] {
			out = append(out, body)
		}
	}
	return out
}

// collect receives until every subscriber has everything, for two minutes at most, and
// then what there is besides.
func (f *fanout) collect(t *testing.T) {
	t.Helper()
	until := time.Now().Add(2 * time.Minute)
	var all sync.WaitGroup
	places := make(chan struct{}, 64)
	for i := range topics {
		for n := range subscriptions {
			id := subscriber(i, n)
			url := f.urls[id]
			if url == "" {
				continue
			}
			all.Go(func() {
				places <- struct{}{}
				defer func() { <-places }()
				for empty := 0; empty < 2 && time.Now().Before(until); {
					got, err := f.take(t.Context(), id, url)
					switch {
					case err != nil:
						t.Error(err)
						return
					case got == 0 && len(f.missing(i, n)) == 0:
						empty++
					}
				}
			})
		}
	}
	all.Wait()
	for i := range topics {
		for n := range subscriptions {
			for len(f.missing(i, n)) > 0 && time.Now().Before(until) {
				pause(t.Context(), 50*time.Millisecond)
			}
		}
	}
}

func (f *fanout) take(ctx context.Context, id, url string) (int, error) {
	out, err := f.queues[0].ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: 10, WaitTimeSeconds: 1})
	if err != nil {
		return 0, err
	}
	var entries []types.DeleteMessageBatchRequestEntry
	for i, m := range out.Messages {
		f.saw(id, *m.Body)
		entries = append(entries, types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: m.ReceiptHandle})
	}
	if len(entries) > 0 {
		_, err = f.queues[0].DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &url, Entries: entries})
	}
	return len(out.Messages), err
}

// check compares what came with what was published, and returns how much came and how
// much of it more than once.
func (f *fanout) check(t *testing.T) (deliveries, duplicates int) {
	t.Helper()
	for i := range topics {
		for n := range subscriptions {
			id := subscriber(i, n)
			if lost := f.missing(i, n); len(lost) > 0 {
				t.Errorf("%s has not got %d of %d: %.5q", id, len(lost), len(f.want(i, n)), lost)
			}
			count := map[string]int{}
			var last [groups]int
			f.mu.Lock()
			seen := slices.Clone(f.seen[id]) // webhooks may still get something a second time
			f.mu.Unlock()
			for _, body := range seen {
				k, err := strconv.Atoi(body)
				if err != nil || k >= f.sent[i] || n%2 == 0 && k%2 == 1 {
					t.Errorf("%s has got %q, which is not for it", id, body)
					continue
				}
				count[body]++
				deliveries++
				if i != topics-1 {
					continue
				}
				if k <= last[k%groups]-1 {
					t.Errorf("%s: %d came after %d", id, k, last[k%groups]-1)
				}
				last[k%groups] = k + 1
			}
			for _, c := range count {
				duplicates += c - 1
			}
		}
	}
	return deliveries, duplicates
}

// dev starts a server for developers, which has no quotas.
func dev(t *testing.T) *fanout {
	t.Helper()
	return newFanout(t, mnqtest.Keys{Access: "test", Secret: "test"}, "aws:sqs:fr-par:000000000000", mnqtest.Start(t, mnqtest.Options{Args: []string{"--dev"}}))
}

// TestKillWhileTopicsDeliver kills the server again and again while topics deliver to
// queues and webhooks.
func TestKillWhileTopicsDeliver(t *testing.T) {
	t.Parallel()
	f := dev(t)
	f.kill(t)
}

// TestKillGatewaysWhileTopicsDeliver kills one of two gateways at a time: the other goes
// on with what it had begun.
func TestKillGatewaysWhileTopicsDeliver(t *testing.T) {
	t.Parallel()
	s := mnqtest.StartNATSServer(t)
	start := func() *mnqtest.Process {
		return mnqtest.Start(t, mnqtest.Options{
			Args: append(s.Args(), "--egress-allow", "127.0.0.0/8"),
			Env:  []string{"MNQ_MASTER_KEY=MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="},
		})
	}
	a, b := start(), start()
	ns := a.Namespace("n", "sqs_sns")
	a.Must("PUT", "/openmnq/v1/namespaces/"+ns+"/quota", map[string]any{"queues": -1, "topics": -1, "subscriptions": -1, "storage_bytes": -1})
	keys := a.Keys(ns, "prm")
	mnqtest.Within(t, time.Minute, func() error {
		_, err := mnqtest.SNS(b.URL, keys).ListTopics(t.Context(), &sns.ListTopicsInput{})
		return err
	})
	newFanout(t, keys, "scw:sqs:fr-par:"+ns, a, b).kill(t)
}

// kill kills one process after the other while messages are published.
func (f *fanout) kill(t *testing.T) {
	t.Helper()
	times := max(*kills/2, 1)
	f.run(t, func() {
		for i := range times {
			pause(t.Context(), time.Duration(500+rand.IntN(1000))*time.Millisecond)
			p := f.processes[i%len(f.processes)]
			p.Kill()
			if len(f.processes) > 1 {
				pause(t.Context(), time.Second)
			}
			p.Restart()
		}
		f.enough(t, 10)
	})
	f.collect(t)
	deliveries, duplicates := f.check(t)
	t.Logf("kills %d, deliveries %d, of these a second time %d", times, deliveries, duplicates)
}

// enough waits until so much has been published to each topic.
func (f *fanout) enough(t *testing.T, least int) {
	t.Helper()
	mnqtest.Within(t, 2*time.Minute, func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if n := slices.Min(lengths(f.acked[:])); n < least {
			return fmt.Errorf("only %d messages were published to a topic", n)
		}
		return nil
	})
}

// TestTopicsDeliverOnce looks at the same without kills.
func TestTopicsDeliverOnce(t *testing.T) {
	t.Parallel()
	f := dev(t)
	f.run(t, func() { f.enough(t, 100) })
	f.collect(t)
	deliveries, duplicates := f.check(t)
	t.Logf("deliveries %d, of these a second time %d", deliveries, duplicates)
	if duplicates*100 >= deliveries {
		t.Errorf("%d of %d deliveries came a second time", duplicates, deliveries)
	}
}

func lengths(lists [][]string) (out []int) {
	for _, l := range lists {
		out = append(out, len(l))
	}
	return out
}
