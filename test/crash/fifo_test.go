package crash

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/openmnq/mnq/internal/mnqtest"
	"github.com/openmnq/mnq/test/history"
)

// fifoLoad is enough clients of a FIFO queue that their writes share disk syncs.
type fifoLoad struct {
	c   *sqs.Client
	url string
	h   *history.History
}

const (
	fifoClients    = 12
	fifoVisibility = 5 * time.Second
	fifoSlack      = 250 * time.Millisecond // the timeout begins a little before the answer arrives
)

// produce sends to a group of its own, each message until it is accepted.
func (l *fifoLoad) produce(ctx context.Context, group string) {
	for n := 0; ctx.Err() == nil; n++ {
		body := fmt.Sprint(group, "/", n)
		for accepted := false; !accepted; {
			e := history.Event{Kind: history.Send, Body: body, Group: group, Begin: l.h.Now()}
			out, err := l.c.SendMessage(context.WithoutCancel(ctx), &sqs.SendMessageInput{
				QueueUrl: &l.url, MessageBody: &body, MessageGroupId: &group, MessageDeduplicationId: &body,
			})
			if accepted = err == nil; accepted {
				e.ID, e.Sequence = *out.MessageId, *out.SequenceNumber
			} else {
				pause(context.WithoutCancel(ctx), 20*time.Millisecond)
			}
			l.end(e, err)
		}
	}
}

// consume receives once and deletes what came; it returns how much did, -1 for an error.
func (l *fifoLoad) consume(ctx context.Context) int {
	e := history.Event{Kind: history.Receive, Begin: l.h.Now(), Call: l.h.Call(), Visibility: fifoVisibility}
	out, err := l.c.ReceiveMessage(context.WithoutCancel(ctx), &sqs.ReceiveMessageInput{
		QueueUrl: &l.url, MaxNumberOfMessages: 10, WaitTimeSeconds: 1,
		MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	})
	if err != nil {
		l.end(e, err)
		pause(ctx, 20*time.Millisecond)
		return -1
	}
	e.Since = l.h.Now() - fifoSlack
	got := make([]history.Event, len(out.Messages))
	entries := make([]types.DeleteMessageBatchRequestEntry, len(out.Messages))
	for i, m := range out.Messages {
		e.Body, e.ID, e.Group, e.Sequence = *m.Body, *m.MessageId, m.Attributes["MessageGroupId"], m.Attributes["SequenceNumber"]
		got[i], entries[i] = e, types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: m.ReceiptHandle}
		l.end(e, nil)
	}
	if len(got) == 0 {
		return 0
	}
	begin := l.h.Now()
	res, err := l.c.DeleteMessageBatch(context.WithoutCancel(ctx), &sqs.DeleteMessageBatchInput{QueueUrl: &l.url, Entries: entries})
	outcomes := make([]history.Outcome, len(got))
	for i := range outcomes {
		outcomes[i] = history.Unknown
	}
	if res != nil {
		for _, s := range res.Successful {
			i, _ := strconv.Atoi(*s.Id)
			outcomes[i] = history.OK
		}
		for _, f := range res.Failed {
			if i, _ := strconv.Atoi(*f.Id); f.SenderFault {
				outcomes[i] = history.Refused
			}
		}
	}
	for i, e := range got {
		e.Kind, e.Begin = history.Delete, begin
		l.h.End(e, outcomes[i], err)
	}
	return len(got)
}

func (l *fifoLoad) end(e history.Event, err error) {
	outcome := history.OK
	if err != nil {
		outcome = history.Unknown
	}
	l.h.End(e, outcome, err)
}

// TestKillFIFO kills the server while clients of a FIFO queue wait for its disk.
func TestKillFIFO(t *testing.T) {
	t.Parallel()
	p := mnqtest.Start(t, mnqtest.Options{})
	c := mnqtest.SQS(p.URL, p.Keys(p.Namespace("load", "sqs_sns"), "prm"))
	q, err := c.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("q.fifo"), Attributes: map[string]string{
		"FifoQueue": "true", "VisibilityTimeout": strconv.Itoa(int(fifoVisibility.Seconds())),
	}})
	if err != nil {
		t.Fatal(err)
	}
	l := &fifoLoad{c: c, url: *q.QueueUrl, h: history.New()}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var clients sync.WaitGroup
	for i := range fifoClients {
		clients.Go(func() { l.produce(ctx, fmt.Sprint("g", i)) })
		clients.Go(func() {
			for ctx.Err() == nil {
				l.consume(ctx)
			}
		})
	}
	for range max(*kills/2, 1) {
		want := l.h.Sent() + 100
		mnqtest.Within(t, 2*time.Minute, func() error {
			if n := l.h.Sent(); n < want {
				return fmt.Errorf("%d messages were sent, want %d", n, want)
			}
			return nil
		})
		p.Kill()
		p.Restart()
	}
	stop()
	clients.Wait()
	mnqtest.Within(t, 3*time.Minute, func() error {
		if n := l.consume(t.Context()); n != 0 {
			return fmt.Errorf("a receive got %d messages", n)
		}
		out, err := c.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &l.url, AttributeNames: counts})
		if err != nil {
			return err
		}
		return holds(out.Attributes)
	})
	report := l.h.Check()
	lists, undecided := l.h.Linearizable(time.Minute)
	t.Logf("%s, groups undecided %v", report, undecided)
	if v := report.Violations(); v != "" || len(lists) > 0 {
		t.Errorf("%sgroups that are no lists: %v", v, lists)
	}
}
