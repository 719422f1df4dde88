package faults

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
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

var devKeys = mnqtest.Keys{Access: "test", Secret: "test"}

// client is an AWS SDK client that makes so many attempts, over the transport.
func client(via http.RoundTripper, url string, k mnqtest.Keys, attempts int) *sqs.Client {
	return sqs.New(sqs.Options{
		BaseEndpoint: &url, Region: "fr-par",
		Credentials: credentials.NewStaticCredentialsProvider(k.Access, k.Secret, ""),
		Retryer:     retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts = attempts; o.RateLimiter = patient{} }),
		HTTPClient:  &http.Client{Transport: via, Timeout: 40 * time.Second},
	})
}

// patient lets a client repeat as often as it may: faults follow on each other here.
type patient struct{}

func (patient) GetToken(context.Context, uint) (func() error, error) {
	return func() error { return nil }, nil
}
func (patient) AddTokens(uint) error { return nil }

// load is a few producers and consumers of one queue, and what they saw.
type load struct {
	c          *sqs.Client
	once       *sqs.Client // makes one attempt: what is sent twice is two messages
	url        string
	fifo       bool
	visibility time.Duration
	pace       time.Duration // between two sends of a producer
	size       int           // of bodies, about
	h          *history.History
	stop       context.CancelFunc
	busy       sync.WaitGroup
	errs       sync.Map // text of an error → how often
	last       atomic.Int64

	mu      sync.Mutex
	sentAt  map[string]time.Time // what was accepted and has not come yet
	slowest time.Duration        // from the acceptance of a message until it came first
}

type loadConfig struct {
	name       string
	fifo       bool
	producers  int
	consumers  int
	visibility time.Duration
	pace       time.Duration
	size       int
}

const groups = 4 // of each producer

func newLoad(t *testing.T, c *sqs.Client, cfg loadConfig) *load {
	t.Helper()
	attrs := map[string]string{}
	if cfg.fifo {
		attrs["FifoQueue"] = "true"
		cfg.name += ".fifo"
	}
	q, err := c.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &cfg.name, Attributes: attrs})
	if err != nil {
		t.Fatal(err)
	}
	l := &load{c: c, once: once(c), url: *q.QueueUrl, fifo: cfg.fifo, visibility: cfg.visibility, pace: cfg.pace, size: cfg.size, h: history.New(), sentAt: map[string]time.Time{}}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	t.Cleanup(func() { stop(); l.busy.Wait() })
	for i := range cfg.producers {
		l.busy.Go(func() { l.produce(ctx, i) })
	}
	for range cfg.consumers {
		l.busy.Go(func() {
			for ctx.Err() == nil {
				if _, err := l.consume(1); err != nil {
					wait(ctx, 20*time.Millisecond)
				}
			}
		})
	}
	return l
}

// once is the same client without repetitions.
func once(c *sqs.Client) *sqs.Client {
	o := c.Options()
	o.Retryer = aws.NopRetryer{}
	return sqs.New(o)
}

// wait pauses after an error, so that a dead server is not hammered.
func wait(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

func (l *load) failed(err error) {
	text := err.Error()
	if e, ok := errors.AsType[interface {
		error
		ErrorCode() string
		ErrorMessage() string
	}](err); ok {
		text = e.ErrorCode() + ": " + e.ErrorMessage()
	}
	text, _, _ = strings.Cut(text, ", request send failed") // ports
	if before, handle, ok := strings.Cut(text, "Value A"); ok {
		_, reason, _ := strings.Cut(handle, "Reason: ")
		text = before + reason
	}
	n, _ := l.errs.LoadOrStore(text, new(atomic.Int64))
	n.(*atomic.Int64).Add(1)
}

// saw reports whether a call failed with an error that contains the text.
func (l *load) saw(text string) (found bool) {
	l.errs.Range(func(k, _ any) bool {
		found = strings.Contains(fmt.Sprint(k), text)
		return !found
	})
	return found
}

func (l *load) produce(ctx context.Context, producer int) {
	for n := 0; ctx.Err() == nil; n++ {
		body := fmt.Sprintf("%d:%d", producer, n)
		if l.size > 0 {
			body += ":" + strings.Repeat("x", l.size)
		}
		l.send(body, fmt.Sprintf("%d.%d", producer, n%groups))
		wait(ctx, l.pace)
	}
}

func (l *load) send(body, group string) bool {
	in := &sqs.SendMessageInput{QueueUrl: &l.url, MessageBody: &body}
	e := history.Event{Kind: history.Send, Body: body, Begin: l.h.Now()}
	if l.fifo {
		e.Group = group
		id, _, _ := strings.Cut(body, ":x")
		in.MessageGroupId, in.MessageDeduplicationId = &e.Group, &id
	}
	c := l.c
	if !l.fifo {
		c = l.once
	}
	out, err := c.SendMessage(context.Background(), in)
	if err == nil {
		e.ID = *out.MessageId
	}
	if err != nil {
		l.failed(fmt.Errorf("send: %w", err))
	}
	e.End, e.OK = l.h.Now(), err == nil
	l.h.Add(e)
	if err == nil {
		l.last.Add(1)
		l.mu.Lock()
		l.sentAt[body] = time.Now()
		l.mu.Unlock()
	}
	return err == nil
}

// came notes that a message was received.
func (l *load) came(body string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, ok := l.sentAt[body]; ok {
		l.slowest = max(l.slowest, time.Since(at))
		delete(l.sentAt, body)
	}
}

// consume receives once and deletes what came; it returns how many messages did.
func (l *load) consume(seconds int32) (int, error) {
	begin, call := l.h.Now(), l.h.Call()
	out, err := l.c.ReceiveMessage(context.Background(), &sqs.ReceiveMessageInput{
		QueueUrl: &l.url, MaxNumberOfMessages: 10, WaitTimeSeconds: seconds, VisibilityTimeout: int32(l.visibility / time.Second),
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	})
	if err != nil {
		l.failed(fmt.Errorf("receive: %w", err))
		return 0, err
	}
	end := l.h.Now()
	var entries []types.DeleteMessageBatchRequestEntry
	for i, m := range out.Messages {
		l.came(*m.Body)
		l.h.Add(history.Event{
			Kind: history.Receive, Body: *m.Body, ID: *m.MessageId, Begin: begin, End: end, OK: true, Call: call, Visibility: l.visibility,
			Group: m.Attributes["MessageGroupId"], Sequence: m.Attributes["SequenceNumber"],
		})
		entries = append(entries, types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: m.ReceiptHandle})
	}
	if len(entries) == 0 {
		return 0, nil
	}
	received := end
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
			l.failed(fmt.Errorf("delete %d s after the receive: %s: %s", int((end - received).Seconds()), *f.Code, aws.ToString(f.Message)))
		}
	}
	for i, m := range out.Messages {
		l.h.Add(history.Event{Kind: history.Delete, Body: *m.Body, ID: *m.MessageId, Begin: begin, End: end, OK: deleted[strconv.Itoa(i)]})
	}
	return len(out.Messages), nil
}

// progress waits until the load has had that many more messages accepted: what was
// broken works again as far as clients are concerned. It returns how long that took.
func (l *load) progress(t *testing.T, n int64) time.Duration {
	t.Helper()
	began, before := time.Now(), l.last.Load()
	mnqtest.Within(t, time.Minute, func() error {
		if got := l.last.Load() - before; got < n {
			return fmt.Errorf("%s: %d messages accepted since, of %d; %s", l.url, got, n, l.errors())
		}
		return nil
	})
	return time.Since(began)
}

// refused waits until the load has had that many more calls refused.
func (l *load) refused(t *testing.T, n int64) {
	t.Helper()
	count := func() (sum int64) {
		l.errs.Range(func(_, v any) bool {
			sum += v.(*atomic.Int64).Load()
			return true
		})
		return sum
	}
	before := count()
	mnqtest.Within(t, time.Minute, func() error {
		if got := count() - before; got < n {
			return fmt.Errorf("%s: %d calls were refused since", l.url, got)
		}
		return nil
	})
}

// errors lists what calls failed with.
func (l *load) errors() string {
	var b strings.Builder
	l.errs.Range(func(k, v any) bool {
		fmt.Fprintf(&b, "\n%d times %.200s", v.(*atomic.Int64).Load(), k)
		return true
	})
	return b.String()
}

// halt ends the load.
func (l *load) halt() {
	l.stop()
	l.busy.Wait()
}

// drain empties the queue.
func (l *load) drain(t *testing.T) {
	t.Helper()
	l.halt()
	for give := time.Now().Add(2*l.visibility + time.Minute); ; {
		n, err := l.consume(1)
		if n > 0 {
			continue
		}
		if time.Now().After(give) {
			t.Fatalf("%s does not become empty: %v %s", l.url, err, l.errors())
		}
		if err != nil {
			continue
		}
		a, err := l.c.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &l.url, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
		if err == nil && a.Attributes["ApproximateNumberOfMessages"] == "0" && a.Attributes["ApproximateNumberOfMessagesNotVisible"] == "0" {
			return
		}
	}
}

// finish ends the load, empties the queue, checks the history and adds its figures.
func (l *load) finish(t *testing.T, r *row) {
	t.Helper()
	l.drain(t)
	report := l.h.Check()
	r.add(report)
	t.Logf("%s: %s, slowest delivery %s%s", l.url, report, l.slowest.Round(time.Millisecond), l.errors())
	if v := report.Violations(); v != "" {
		t.Errorf("%s: %s", l.url, v)
	}
	if report.Sent < 10 || report.Received < 10 {
		t.Errorf("%s: %d sent, %d received: too few to show anything", l.url, report.Sent, report.Received)
	}
}
