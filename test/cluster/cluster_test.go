// Package cluster runs three mnq processes as one cluster, takes nodes away under load
// and checks that clients see nothing of it but time.
package cluster

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/openmnq/mnq/internal/mnqtest"
	"github.com/openmnq/mnq/test/history"
)

var rounds = flag.Int("rounds", 1, "how often each fault is made")

// client is an AWS SDK client as its users have it, retries included, behind a load
// balancer over all nodes.
func client(b http.RoundTripper, k mnqtest.Keys) *sqs.Client {
	return sqs.New(sqs.Options{
		BaseEndpoint: aws.String("http://mnq.test"), Region: "fr-par",
		Credentials: credentials.NewStaticCredentialsProvider(k.Access, k.Secret, ""),
		Retryer:     retry.NewStandard(),
		HTTPClient:  &http.Client{Transport: counting{b}, Timeout: 40 * time.Second},
	})
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
	c    *sqs.Client
	url  string
	fifo bool
	h    *history.History
	stop context.CancelFunc
	busy sync.WaitGroup

	mu      sync.Mutex
	fails   []error // calls that failed although the SDK had repeated them
	nothing bool    // no node is there, so they may
}

const (
	producers  = 3
	consumers  = 3
	groups     = 4
	visibility = 20 * time.Second
)

func startLoad(t *testing.T, c *sqs.Client, name string, attrs map[string]string) *load {
	t.Helper()
	q, err := c.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attrs})
	if err != nil {
		t.Fatal(err)
	}
	l := &load{c: c, url: *q.QueueUrl, fifo: attrs["FifoQueue"] == "true", h: history.New()}
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
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ctx.Err() == nil; n++ {
		in := &sqs.SendMessageInput{QueueUrl: &l.url, MessageBody: aws.String(fmt.Sprintf("%d:%d", producer, n))}
		e := history.Event{Kind: history.Send, Body: *in.MessageBody, Begin: l.h.Now()}
		if l.fifo {
			e.Group = fmt.Sprintf("%d.%d", producer, n%groups)
			in.MessageGroupId, in.MessageDeduplicationId = &e.Group, in.MessageBody
		}
		var attempts atomic.Int32
		out, err := l.c.SendMessage(context.WithValue(context.Background(), counter{}, &attempts), in)
		if err != nil {
			l.failed(fmt.Errorf("send: %w", err))
		} else {
			e.ID = *out.MessageId
		}
		e.End, e.OK, e.Attempts = l.h.Now(), err == nil, int(attempts.Load())
		l.h.Add(e)
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// consume receives once and deletes what came; it returns how many messages did.
func (l *load) consume(wait int32) int {
	begin, call := l.h.Now(), l.h.Call()
	out, err := l.c.ReceiveMessage(context.Background(), &sqs.ReceiveMessageInput{
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
	res, err := l.c.DeleteMessageBatch(context.Background(), &sqs.DeleteMessageBatchInput{QueueUrl: &l.url, Entries: entries})
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
		l.h.Add(history.Event{Kind: history.Delete, Body: *m.Body, ID: *m.MessageId, Begin: begin, End: end, OK: deleted[strconv.Itoa(i)]})
	}
	return len(out.Messages)
}

// finish ends the load, empties the queue and checks the history.
func (l *load) finish(t *testing.T) {
	t.Helper()
	l.stop()
	l.busy.Wait()
	for give := time.Now().Add(2 * visibility); ; {
		if l.consume(1) > 0 {
			continue
		}
		a, err := l.c.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &l.url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
		if err != nil {
			t.Fatal(err)
		}
		visible, hidden := a.Attributes["ApproximateNumberOfMessages"], a.Attributes["ApproximateNumberOfMessagesNotVisible"]
		if visible == "0" && hidden == "0" {
			break
		}
		if time.Now().After(give) {
			t.Fatalf("the queue does not become empty: %s visible, %s hidden", visible, hidden)
		}
	}
	r := l.h.Check()
	t.Logf("%s: %s", l.url, r)
	if v := r.Violations(); v != "" {
		t.Error(v)
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
	keys := c.Nodes[1].Keys(ns, "prm")
	sdk := client(mnqtest.NewBalancer(t, c.Nodes...), keys)
	loads := []*load{
		startLoad(t, sdk, "standard", nil),
		startLoad(t, sdk, "ordered.fifo", map[string]string{"FifoQueue": "true"}),
	}

	for round := range *rounds {
		victim := c.Nodes[round%len(c.Nodes)]
		t.Run("KilledNode", func(*testing.T) {
			victim.Kill()
			progress(t, loads)
			victim.Restart()
			progress(t, loads)
		})
		t.Run("RollingRestart", func(t *testing.T) {
			for _, p := range c.Nodes {
				if err := p.Stop(); err != nil {
					t.Fatal(err)
				}
				p.Restart()
				progress(t, loads)
			}
		})
		t.Run("PausedNode", func(*testing.T) {
			// The first is over before anybody can have noticed, the second long after.
			for _, d := range []time.Duration{time.Second, 12 * time.Second} {
				victim.Pause()
				<-time.After(d)
				progress(t, loads)
				victim.Resume()
				progress(t, loads)
				victim.WaitReady()
			}
		})
		t.Run("ReplacedNode", func(*testing.T) {
			victim.Kill()
			c.Empty(round % len(c.Nodes))
			victim.Restart()
			progress(t, loads)
		})
		t.Run("AllKilled", func(*testing.T) {
			for _, l := range loads {
				l.mayFail(true)
			}
			for _, p := range c.Nodes {
				p.Kill()
			}
			c.Launch()
			progress(t, loads) // what was under way is over, so failures count again
			for _, l := range loads {
				l.mayFail(false)
			}
		})
	}
	for _, l := range loads {
		l.finish(t)
	}
}

// progress waits until every load has sent something more than a while ago: the fault
// before is over as far as clients are concerned.
func progress(t *testing.T, loads []*load) {
	t.Helper()
	for _, l := range loads {
		before := l.h.Check().Sent
		mnqtest.Within(t, time.Minute, func() error {
			if n := l.h.Check().Sent - before; n < 50 {
				return fmt.Errorf("%d messages sent since", n)
			}
			return nil
		})
	}
}
