package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/openmnq/mnq/internal/mnqtest"
	"github.com/openmnq/mnq/test/history"
)

// masterKey seals secrets; gateways that hold no data of their own share it.
const masterKey = "MNQ_MASTER_KEY=MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="

// TestGatewayKilled kills one of two gateways on an external NATS server, again and
// again, while batches are sent, received and moved and topics deliver.
func TestGatewayKilled(t *testing.T) {
	t.Parallel()
	r := begin(t, "gateway killed")
	s := mnqtest.StartNATSServer(t)
	var gateways []*mnqtest.Process
	for range 2 {
		gateways = append(gateways, mnqtest.Start(t, mnqtest.Options{Args: append(s.Args(), "--log-level", "error"), Env: []string{masterKey}}))
	}
	first := gateways[0]
	ns := first.Namespace("q", "sqs_sns")
	keys := first.Keys(ns, "prm")
	balancer := mnqtest.NewBalancer(t, gateways...)
	const url = "http://mnq.test"
	c := client(balancer, url, keys, 10)
	mnqtest.Within(t, time.Minute, func() error { // until both know the keys
		for _, g := range gateways {
			if _, err := mnqtest.SQS(g.URL, keys).ListQueues(t.Context(), &sqs.ListQueuesInput{}); err != nil {
				return err
			}
		}
		return nil
	})
	const visibility = 10 * time.Second
	var loads []*load
	for _, fifo := range []bool{false, true} {
		loads = append(loads, newLoad(t, c, loadConfig{name: "q", fifo: fifo, producers: 2, consumers: 2, visibility: visibility, pace: 10 * time.Millisecond}))
	}
	arn := "arn:scw:sqs:fr-par:" + ns + ":"
	f := newFan(t, fanConfig{via: balancer, url: url, keys: keys, arn: arn})
	m := newMoves(t, c, arn, visibility)

	for range many(2, 50) {
		<-time.After(time.Duration(200+rand.IntN(800)) * time.Millisecond)
		g := gateways[rand.IntN(2)]
		g.Kill()
		<-time.After(time.Duration(rand.IntN(500)) * time.Millisecond)
		g.Restart()
		r.faults++
	}
	for _, l := range loads {
		l.progress(t, 5)
		l.finish(t, r)
		if l.fifo && l.slowest > visibility+30*time.Second {
			t.Errorf("a group was stuck for %s", l.slowest)
		}
	}
	f.finish(t, r)
	m.finish(t, r)
}

// moves sends batches to one queue, has them moved to another, and takes them there.
type moves struct {
	*load

	from string
	arn  string
	to   string // ARN
	done int    // tasks that were completed
}

func newMoves(t *testing.T, c *sqs.Client, arn string, visibility time.Duration) *moves {
	t.Helper()
	m := &moves{
		load: &load{c: c, once: once(c), visibility: visibility, h: history.New(), sentAt: map[string]time.Time{}},
		arn:  arn + "from", to: arn + "to",
	}
	for name, url := range map[string]*string{"from": &m.from, "to": &m.url} {
		q, err := c.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name})
		if err != nil {
			t.Fatal(err)
		}
		*url = *q.QueueUrl
	}
	// Only the dead letters of some queue can be moved.
	if _, err := c.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("source"), Attributes: map[string]string{
		"RedrivePolicy": fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":3}`, m.arn),
	}}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	t.Cleanup(func() { stop(); m.busy.Wait() })
	m.busy.Go(func() {
		for n := 0; ctx.Err() == nil; n += 10 {
			m.batch(n)
			if n%50 == 0 {
				m.move(ctx)
			}
		}
	})
	m.busy.Go(func() {
		for ctx.Err() == nil {
			if _, err := m.consume(1); err != nil {
				wait(ctx, 20*time.Millisecond)
			}
		}
	})
	return m
}

// batch sends ten messages.
func (m *moves) batch(n int) {
	var in []types.SendMessageBatchRequestEntry
	var events []history.Event
	for i := range 10 {
		body := strconv.Itoa(n + i)
		in = append(in, types.SendMessageBatchRequestEntry{Id: &body, MessageBody: &body})
		events = append(events, history.Event{Kind: history.Send, Body: body, Begin: m.h.Now()})
	}
	out, err := m.once.SendMessageBatch(context.Background(), &sqs.SendMessageBatchInput{QueueUrl: &m.from, Entries: in})
	ok := map[string]bool{}
	if err != nil {
		m.failed(fmt.Errorf("send batch: %w", err))
	} else {
		for _, s := range out.Successful {
			ok[*s.Id] = true
		}
	}
	for _, e := range events {
		e.End, e.OK = m.h.Now(), ok[e.Body]
		m.h.Add(e)
	}
}

// move has everything moved and waits for the end of it.
func (m *moves) move(ctx context.Context) {
	if _, err := m.c.StartMessageMoveTask(context.WithoutCancel(ctx), &sqs.StartMessageMoveTaskInput{SourceArn: &m.arn, DestinationArn: &m.to}); err != nil {
		m.failed(fmt.Errorf("move: %w", err)) // the one before may still be at work
	}
	for give := time.Now().Add(time.Minute); time.Now().Before(give); {
		out, err := m.c.ListMessageMoveTasks(context.WithoutCancel(ctx), &sqs.ListMessageMoveTasksInput{SourceArn: &m.arn})
		if err == nil && (len(out.Results) == 0 || *out.Results[0].Status != "RUNNING") {
			if len(out.Results) > 0 && *out.Results[0].Status == "COMPLETED" {
				m.done++
			}
			return
		}
		wait(context.Background(), 50*time.Millisecond)
	}
}

// finish moves what is left, and holds both queues together to the promises.
func (m *moves) finish(t *testing.T, r *row) {
	t.Helper()
	m.halt()
	mnqtest.Within(t, 2*time.Minute, func() error {
		m.move(t.Context())
		a, err := m.c.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &m.from, AttributeNames: []types.QueueAttributeName{types.QueueAttributeNameAll}})
		if err != nil {
			return err
		}
		if v, h := a.Attributes["ApproximateNumberOfMessages"], a.Attributes["ApproximateNumberOfMessagesNotVisible"]; v != "0" || h != "0" {
			return fmt.Errorf("%s visible and %s hidden messages are not moved: %s", v, h, m.errors())
		}
		return nil
	})
	if m.done == 0 {
		t.Error("no move task was completed")
	}
	r.say("move tasks %d", m.done)
	gap := r.gap
	m.load.finish(t, r)
	r.gap = gap // between batches it waits for the moves
}
