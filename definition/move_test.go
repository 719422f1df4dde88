package definition_test

import (
	"context"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/openmnq/mnq/definition"
	"github.com/openmnq/mnq/mnqtest"
)

// both are two accounts of one server: the messages of one are moved to the other.
type both struct {
	from, to definition.Endpoint
	source   map[string]*string // queue URLs by name
	target   map[string]*string
	journal  string
}

func newBoth(t *testing.T, queues ...string) *both {
	t.Helper()
	s := mnqtest.Start(t)
	b := &both{
		from: definition.NewEndpoint(s.Config("111122223333", "eu-west-1")), to: definition.NewEndpoint(s.AWS),
		source: map[string]*string{}, target: map[string]*string{}, journal: filepath.Join(t.TempDir(), "journal"),
	}
	for _, name := range queues {
		b.source[name], b.target[name] = createQueue(t, b.from.SQS, name), createQueue(t, b.to.SQS, name)
	}
	return b
}

func createQueue(t *testing.T, c *sqs.Client, name string) *string {
	t.Helper()
	in := &sqs.CreateQueueInput{QueueName: &name}
	if strings.HasSuffix(name, ".fifo") {
		in.Attributes = map[string]string{"FifoQueue": "true"}
	}
	q, err := c.CreateQueue(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return q.QueueUrl
}

func (b *both) move(t *testing.T, ctx context.Context, queue string) (definition.Moved, error) { //nolint:revive // t first in tests
	t.Helper()
	j, err := definition.OpenJournal(b.journal)
	if err != nil {
		t.Fatal(err)
	}
	m, err := definition.Move(ctx, b.from, b.to, queue, j)
	if closed := j.Finish(err == nil); closed != nil {
		t.Error(closed)
	}
	return m, err
}

func (b *both) send(t *testing.T, queue string, n int) {
	t.Helper()
	for i := range n {
		in := &sqs.SendMessageInput{
			QueueUrl: b.source[queue], MessageBody: aws.String(strconv.Itoa(i)),
			MessageAttributes: map[string]types.MessageAttributeValue{"n": {DataType: aws.String("Number"), StringValue: aws.String(strconv.Itoa(i))}},
		}
		if strings.HasSuffix(queue, ".fifo") {
			in.MessageGroupId, in.MessageDeduplicationId = aws.String(strconv.Itoa(i%3)), aws.String(strconv.Itoa(i))
		}
		if _, err := b.from.SQS.SendMessage(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
}

// drain returns the bodies that are in the target, by group.
func (b *both) drain(t *testing.T, queue string) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for {
		got, err := b.to.SQS.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
			QueueUrl: b.target[queue], MaxNumberOfMessages: 10, WaitTimeSeconds: 2, MessageAttributeNames: []string{"All"},
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{"MessageGroupId"},
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(got.Messages) == 0 {
			return out
		}
		for _, m := range got.Messages {
			if a := m.MessageAttributes["n"]; aws.ToString(a.StringValue) != *m.Body {
				t.Errorf("message %s has attribute %v", *m.Body, a)
			}
			group := m.Attributes["MessageGroupId"]
			out[group] = append(out[group], *m.Body)
			if _, err := b.to.SQS.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: b.target[queue], ReceiptHandle: m.ReceiptHandle}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// want fails the test unless the target has each of n messages once, and groups in order.
func (b *both) want(t *testing.T, queue string, n int) {
	t.Helper()
	got, total := b.drain(t, queue), 0
	for group, bodies := range got {
		total += len(bodies)
		sorted := slices.SortedFunc(slices.Values(bodies), func(a, b string) int { return len(a)*1000 - len(b)*1000 + strings.Compare(a, b) })
		if len(slices.Compact(slices.Clone(sorted))) != len(bodies) {
			t.Errorf("%s: some are there twice: %v", queue, bodies)
		}
		if group != "" && !slices.Equal(sorted, bodies) {
			t.Errorf("%s: group %s came as %v", queue, group, bodies)
		}
	}
	if total != n {
		t.Errorf("%s: %d messages, want %d", queue, total, n)
	}
}

func TestMove(t *testing.T) { //nolint:paralleltest // virtual time
	synctest.Test(t, func(t *testing.T) {
		b := newBoth(t, "orders", "steps.fifo")
		for _, queue := range []string{"orders", "steps.fifo"} {
			b.send(t, queue, 35)
			if queue == "steps.fifo" { // messages of one deduplication id, sent at different times
				time.Sleep(6 * time.Minute)
				b.send(t, queue, 35)
			}
			if m, err := b.move(t, t.Context(), queue); err != nil || m.Messages < 35 {
				t.Errorf("%+v %v", m, err)
			}
			if queue == "steps.fifo" {
				got := b.drain(t, queue)
				if n := len(got["0"]) + len(got["1"]) + len(got["2"]); n != 70 {
					t.Errorf("%d messages of 70", n)
				}
				continue
			}
			b.want(t, queue, 35)
		}
	})
}

// TestMoveIsResumed interrupts a move at each of its calls in turn: before the call has an
// effect, and after. Whatever was interrupted, the next run finishes it, and no message is
// lost or there twice, but for those whose sending was in doubt.
func TestMoveIsResumed(t *testing.T) { //nolint:paralleltest // virtual time
	synctest.Test(t, func(t *testing.T) {
		b := newBoth(t, "orders", "steps.fifo")
		plain := b.to
		for _, queue := range []string{"orders", "steps.fifo"} {
			for _, broken := range []string{"SendMessageBatch", "DeleteMessageBatch"} {
				for _, after := range []bool{false, true} {
					b.send(t, queue, 12)
					f := &fault{operation: broken, after: after}
					from, to := b.from, plain
					b.from.SQS, b.to.SQS = f.into(from.SQS), f.into(to.SQS)
					_, err := b.move(t, t.Context(), queue)
					b.from, b.to = from, to
					if err == nil {
						t.Fatal("nothing was interrupted")
					}
					time.Sleep(6 * time.Minute) // what was received is visible again, and names of FIFO messages are forgotten
					m, err := b.move(t, t.Context(), queue)
					if err != nil {
						t.Fatal(err)
					}
					if broken == "SendMessageBatch" && after { // the answer was lost
						if m.Doubtful == 0 {
							t.Errorf("%s: no doubt about what was sent", queue)
						}
						got := b.drain(t, queue)
						seen := map[string]bool{}
						for _, bodies := range got {
							for _, body := range bodies {
								seen[body] = true
							}
						}
						if len(seen) != 12 {
							t.Errorf("%s: %d of 12 messages arrived", queue, len(seen))
						}
						continue
					}
					b.want(t, queue, 12)
				}
			}
		}
	})
}

// fault fails one call of an operation.
type fault struct {
	operation string
	after     bool
	done      bool
}

func (f *fault) into(c *sqs.Client) *sqs.Client {
	o := c.Options()
	o.Retryer = aws.NopRetryer{}
	o.APIOptions = append(o.APIOptions, func(s *middleware.Stack) error {
		return s.Initialize.Add(middleware.InitializeMiddlewareFunc("fault", func(ctx context.Context, in middleware.InitializeInput, next middleware.InitializeHandler) (
			middleware.InitializeOutput, middleware.Metadata, error,
		) {
			if middleware.GetOperationName(ctx) != f.operation || f.done {
				return next.HandleInitialize(ctx, in)
			}
			f.done = true
			if !f.after {
				return middleware.InitializeOutput{}, middleware.Metadata{}, context.DeadlineExceeded
			}
			out, meta, err := next.HandleInitialize(ctx, in)
			if err == nil {
				err = context.DeadlineExceeded
			}
			return out, meta, err
		}), middleware.Before)
	})
	return sqs.New(o)
}

// TestWhatIsInFlightIsLeft has another client work on a message.
func TestWhatIsInFlightIsLeft(t *testing.T) { //nolint:paralleltest // virtual time
	synctest.Test(t, func(t *testing.T) {
		b := newBoth(t, "orders")
		b.send(t, "orders", 2)
		if _, err := b.from.SQS.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: b.source["orders"], MaxNumberOfMessages: 1, WaitTimeSeconds: 1}); err != nil {
			t.Fatal(err)
		}
		if m, err := b.move(t, t.Context(), "orders"); err != nil || m.Messages != 1 || m.InFlight != 1 {
			t.Errorf("%+v %v", m, err)
		}
	})
}

// TestRefusedMessageStays has a target that takes only small messages.
func TestRefusedMessageStays(t *testing.T) { //nolint:paralleltest // virtual time
	synctest.Test(t, func(t *testing.T) {
		b := newBoth(t, "steps.fifo")
		_, err := b.to.SQS.SetQueueAttributes(t.Context(), &sqs.SetQueueAttributesInput{QueueUrl: b.target["steps.fifo"], Attributes: map[string]string{"MaximumMessageSize": "1024"}})
		if err != nil {
			t.Fatal(err)
		}
		for i, body := range []string{"small", strings.Repeat("x", 2000), "behind it"} {
			_, err := b.from.SQS.SendMessage(t.Context(), &sqs.SendMessageInput{
				QueueUrl: b.source["steps.fifo"], MessageBody: &body, MessageGroupId: aws.String("g"), MessageDeduplicationId: aws.String(strconv.Itoa(i)),
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		m, err := b.move(t, t.Context(), "steps.fifo")
		if err == nil || m.Messages != 1 {
			t.Fatalf("%+v %v", m, err)
		}
		time.Sleep(6 * time.Minute)
		got, err := b.from.SQS.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: b.source["steps.fifo"], AttributeNames: []types.QueueAttributeName{"All"}})
		if err != nil || got.Attributes["ApproximateNumberOfMessages"] != "2" {
			t.Errorf("%v %v", got, err)
		}
	})
}
