// Package cluster runs three mnq processes as one cluster, takes nodes away under load
// and checks that clients see nothing of it but time.
package cluster

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/openmnq/mnq/internal/mnqtest"
	"github.com/openmnq/mnq/test/history"
)

var rounds = flag.Int("rounds", 1, "how often each fault is made")

// full says that all faults are made. By default only those are that the others are a
// part of: the whole takes two minutes.
var full = os.Getenv("MNQ_FAULTS") == "full"

// clients are AWS SDK clients as their users have them, retries included, behind a load
// balancer over all nodes.
type clients struct {
	sqs *sqs.Client
	sns *sns.Client
}

func newClients(b http.RoundTripper, k mnqtest.Keys) clients {
	cfg := aws.Config{
		BaseEndpoint: aws.String("http://mnq.test"), Region: "fr-par",
		Credentials: credentials.NewStaticCredentialsProvider(k.Access, k.Secret, ""),
		Retryer:     func() aws.Retryer { return retry.NewStandard() },
		HTTPClient:  &http.Client{Transport: counting{b}, Timeout: 40 * time.Second},
	}
	return clients{sqs.NewFromConfig(cfg), sns.NewFromConfig(cfg)}
}

// counting counts the requests that are made for a call in the counter that its context
// has, if any.
type counting struct{ next http.RoundTripper }

type counter struct{}

func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	if n, ok := r.Context().Value(counter{}).(*atomic.Int32); ok {
		n.Add(1)
	}
	return c.next.RoundTrip(r)
}

// load is a few producers and consumers of one queue.
type load struct {
	c     clients
	url   string
	topic string // that is published to; "": messages are sent to the queue
	fifo  bool
	h     *history.History
	stop  context.CancelFunc
	busy  sync.WaitGroup

	mu      sync.Mutex
	fails   []error // calls that failed although the SDK had repeated them
	nothing bool    // no node is there, so they may
}

const (
	producers  = 2
	consumers  = 2
	groups     = 4
	visibility = 20 * time.Second
)

// startLoad makes a queue, also a topic that it is subscribed to if topic is set, and
// begins to use them.
func startLoad(t *testing.T, c clients, name string, topic bool) *load {
	t.Helper()
	l := &load{c: c, fifo: strings.HasSuffix(name, ".fifo"), h: history.New()}
	var attrs, topicAttrs map[string]string
	if l.fifo {
		attrs, topicAttrs = map[string]string{"FifoQueue": "true"}, map[string]string{"FifoTopic": "true"}
	}
	q, err := c.sqs.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attrs})
	if err != nil {
		t.Fatal(err)
	}
	l.url = *q.QueueUrl
	if topic {
		l.subscribe(t, name, topicAttrs)
	}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	t.Cleanup(func() { stop(); l.busy.Wait() })
	for i := range producers {
		l.busy.Go(func() { l.produce(ctx, i) })
	}
	for range consumers {
		l.busy.Go(func() {
			for ctx.Err() == nil {
				l.consume(1)
			}
		})
	}
	return l
}

// subscribe makes the topic.
func (l *load) subscribe(t *testing.T, name string, attrs map[string]string) {
	t.Helper()
	out, err := l.c.sns.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: &name, Attributes: attrs})
	if err != nil {
		t.Fatal(err)
	}
	q, err := l.c.sqs.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &l.url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameQueueArn}})
	if err != nil {
		t.Fatal(err)
	}
	l.topic = *out.TopicArn
	_, err = l.c.sns.Subscribe(t.Context(), &sns.SubscribeInput{
		TopicArn: &l.topic, Protocol: aws.String("sqs"), Endpoint: aws.String(q.Attributes["QueueArn"]),
		Attributes: map[string]string{"RawMessageDelivery": "true"},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (l *load) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.nothing {
		l.fails = append(l.fails, err)
	}
}

// mayFail says whether calls may fail from now on.
func (l *load) mayFail(yes bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.nothing = yes
}

func (l *load) produce(ctx context.Context, producer int) {
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ctx.Err() == nil; n++ {
		e := history.Event{Kind: history.Send, Body: fmt.Sprintf("%d:%d", producer, n), Begin: l.h.Now()}
		if l.fifo {
			e.Group = fmt.Sprintf("%d.%d", producer, n%groups)
		}
		var attempts atomic.Int32
		id, number, err := l.send(context.WithValue(context.Background(), counter{}, &attempts), e.Body, e.Group)
		if err != nil {
			l.failed(fmt.Errorf("send: %w", err))
		}
		e.End, e.OK, e.ID, e.Sequence, e.Attempts = l.h.Now(), err == nil, id, number, int(attempts.Load())
		if l.topic != "" {
			e.Attempts = history.Any
		}
		l.h.Add(e)
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// send returns the message's id and sequence number in the queue, if they are known.
func (l *load) send(ctx context.Context, body, group string) (id, number string, err error) {
	var of, unique *string
	if l.fifo {
		of, unique = &group, &body
	}
	if l.topic != "" {
		_, err := l.c.sns.Publish(ctx, &sns.PublishInput{TopicArn: &l.topic, Message: &body, MessageGroupId: of, MessageDeduplicationId: unique})
		return "", "", err
	}
	out, err := l.c.sqs.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &l.url, MessageBody: &body, MessageGroupId: of, MessageDeduplicationId: unique})
	if err != nil {
		return "", "", err
	}
	return *out.MessageId, aws.ToString(out.SequenceNumber), nil
}

// consume receives once and deletes what came; it returns how many messages did.
func (l *load) consume(wait int32) int {
	begin, call := l.h.Now(), l.h.Call()
	out, err := l.c.sqs.ReceiveMessage(context.Background(), &sqs.ReceiveMessageInput{
		QueueUrl: &l.url, MaxNumberOfMessages: 10, WaitTimeSeconds: wait, VisibilityTimeout: int32(visibility / time.Second),
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	})
	if err != nil {
		l.failed(fmt.Errorf("receive: %w", err))
		return 0
	}
	end := l.h.Now()
	var entries []types.DeleteMessageBatchRequestEntry
	for i, m := range out.Messages {
		l.h.Add(history.Event{
			Kind: history.Receive, Body: *m.Body, ID: *m.MessageId, Begin: begin, End: end, OK: true, Call: call, Visibility: visibility,
			Group: m.Attributes["MessageGroupId"], Sequence: m.Attributes["SequenceNumber"],
		})
		entries = append(entries, types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: m.ReceiptHandle})
	}
	if len(entries) == 0 {
		return 0
	}
	begin = l.h.Now()
	res, err := l.c.sqs.DeleteMessageBatch(context.Background(), &sqs.DeleteMessageBatchInput{QueueUrl: &l.url, Entries: entries})
	if err != nil {
		l.failed(fmt.Errorf("delete: %w", err))
	}
	end = l.h.Now()
	deleted := map[string]bool{}
	if res != nil {
		for _, s := range res.Successful {
			deleted[*s.Id] = true
		}
		for _, f := range res.Failed {
			l.failed(fmt.Errorf("delete: %s %s", *f.Code, aws.ToString(f.Message)))
		}
	}
	for i, m := range out.Messages {
		l.h.Add(history.Event{
			Kind: history.Delete, Body: *m.Body, ID: *m.MessageId, Group: m.Attributes["MessageGroupId"], Begin: begin, End: end, OK: deleted[strconv.Itoa(i)],
		})
	}
	return len(out.Messages)
}

// finish waits until the load has ended, empties the queue and checks the history.
func (l *load) finish(t *testing.T) {
	t.Helper()
	l.busy.Wait()
	for give := time.Now().Add(4 * visibility); ; {
		if l.consume(1) > 0 {
			continue
		}
		a, err := l.c.sqs.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &l.url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
		if err != nil {
			t.Fatal(err)
		}
		visible, hidden := a.Attributes["ApproximateNumberOfMessages"], a.Attributes["ApproximateNumberOfMessagesNotVisible"]
		coming := 0
		if l.topic != "" {
			coming = len(l.h.Check().Lost)
		}
		if visible == "0" && hidden == "0" && coming == 0 {
			break
		}
		if time.Now().After(give) {
			t.Errorf("the queue does not become empty: %s visible, %s hidden, %d to be delivered by the topic", visible, hidden, coming)
			break
		}
	}
	r := l.h.Check()
	lists, undecided := l.h.Linearizable(time.Minute)
	t.Logf("%s: %s, groups undecided %v", l.url, r, undecided)
	if v := r.Violations(); v != "" || len(lists) > 0 {
		t.Errorf("%sgroups that are no lists: %v", v, lists)
	}
	if len(l.fails) > 0 {
		t.Errorf("%d calls failed in spite of the SDK's retries: %v", len(l.fails), errors.Join(l.fails[:min(5, len(l.fails))]...))
	}
	if r.Sent == 0 || r.Received == 0 {
		t.Error("nothing was sent or received")
	}
}

// TestNodesComeAndGo makes one fault after the other under one load.
func TestNodesComeAndGo(t *testing.T) { //nolint:tparallel // the steps build on each other
	t.Parallel()
	c := mnqtest.StartCluster(t, 3)
	ns := c.Nodes[0].Namespace("q", "sqs_sns")
	sdk := newClients(mnqtest.NewBalancer(t, c.Nodes...), c.Nodes[1].Keys(ns, "prm"))
	loads := []*load{
		startLoad(t, sdk, "standard", false), startLoad(t, sdk, "ordered.fifo", false), startLoad(t, sdk, "topic", true),
	}
	if full {
		loads = append(loads, startLoad(t, sdk, "topic.fifo", true))
	}
	for round := range *rounds {
		f := faults{c, loads, round % len(c.Nodes)}
		t.Run("KilledNode", f.killed)
		if full {
			t.Run("RollingRestart", f.rolling)
			t.Run("ShortPause", f.shortPause)
			t.Run("ReplacedNode", f.replaced)
		}
		t.Run("PausedNode", f.paused)
		t.Run("AllKilled", f.allKilled)
	}
	for _, l := range loads {
		l.stop()
	}
	for _, l := range loads {
		l.finish(t)
	}
}

// faults are made to a cluster under load, mostly to one of its nodes.
type faults struct {
	c      *mnqtest.Cluster
	loads  []*load
	victim int
}

func (f faults) node() *mnqtest.Process { return f.c.Nodes[f.victim] }

func (f faults) killed(t *testing.T) {
	f.node().Kill()
	progress(t, f.loads)
	f.node().Restart()
	progress(t, f.loads)
}

func (f faults) rolling(t *testing.T) {
	for _, p := range f.c.Nodes {
		if err := p.Stop(); err != nil {
			t.Fatal(err)
		}
		p.Restart()
		progress(t, f.loads)
	}
}

// shortPause is over before anybody can have noticed.
func (f faults) shortPause(t *testing.T) {
	f.node().Pause()
	<-time.After(time.Second)
	f.node().Resume()
	progress(t, f.loads)
}

// paused lasts until long after everybody has, the node itself included.
func (f faults) paused(t *testing.T) {
	f.node().Pause()
	<-time.After(12 * time.Second)
	progress(t, f.loads)
	f.node().Resume()
	progress(t, f.loads)
	f.node().WaitReady()
}

func (f faults) replaced(t *testing.T) {
	f.node().Kill()
	f.c.Empty(f.victim)
	f.node().Restart()
	progress(t, f.loads)
}

func (f faults) allKilled(t *testing.T) {
	for _, l := range f.loads {
		l.mayFail(true)
	}
	for _, p := range f.c.Nodes {
		p.Kill()
	}
	f.c.Launch()
	progress(t, f.loads) // what was under way is over, so failures count again
	for _, l := range f.loads {
		l.mayFail(false)
	}
}

// progress waits until every load has sent something more than a while ago: the fault
// before is over as far as clients are concerned.
func progress(t *testing.T, loads []*load) {
	t.Helper()
	const more = 40
	want := make([]int, len(loads))
	for i, l := range loads {
		want[i] = l.h.Sent() + more
	}
	mnqtest.Within(t, 2*time.Minute, func() error {
		for i, l := range loads {
			if left := want[i] - l.h.Sent(); left > 0 {
				return fmt.Errorf("%s: of %d messages %d are still to be sent", l.url, more, left)
			}
		}
		return nil
	})
}
