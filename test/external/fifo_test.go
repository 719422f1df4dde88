package external

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/openmnq/mnq/internal/mnqtest"
	"github.com/openmnq/mnq/test/history"
)

const (
	fifoVisibility = 3 * time.Second
	// fifoSlack is how much less of it a client may have: it begins a little before the
	// answer arrives.
	fifoSlack = 250 * time.Millisecond
)

// TestFIFOWhileEverythingBreaks lets clients work through two gateways while the
// server and the gateways are killed and paused in turn, and holds what they saw to
// the promises of a FIFO queue.
func TestFIFOWhileEverythingBreaks(t *testing.T) {
	t.Parallel()
	s := mnqtest.StartNATSServer(t)
	start := func(dir string) *mnqtest.Process {
		return mnqtest.Start(t, mnqtest.Options{Dir: dir, Args: s.Args(), Env: []string{masterKey}})
	}
	a := start("")
	b := start(t.TempDir())
	keys := a.Keys(a.Namespace("q", "sqs_sns"), "prm")
	w := &workers{t: t, groups: 4, each: 30, h: history.New()}
	for _, p := range []*mnqtest.Process{a, b} {
		w.clients = append(w.clients, sqs.New(sqs.Options{
			BaseEndpoint: aws.String(p.URL), Region: "fr-par", Retryer: aws.NopRetryer{},
			Credentials: credentials.NewStaticCredentialsProvider(keys.Access, keys.Secret, ""),
			HTTPClient:  &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}, Timeout: 10 * time.Second},
		}))
	}
	_, err := w.clients[0].CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("q.fifo"), Attributes: map[string]string{
		"FifoQueue": "true", "VisibilityTimeout": strconv.Itoa(int(fifoVisibility.Seconds())),
	}})
	if err != nil {
		t.Fatal(err)
	}
	faults := []struct {
		name string
		f    func()
	}{
		{"the server is killed", func() { s.Kill(); s.Start() }},
		{"a gateway is killed", func() { a.Kill(); a.Restart() }},
		{"a gateway is paused", func() { b.Pause(); <-time.After(fifoVisibility + 2*time.Second); b.Resume() }},
		{"the server is killed again", func() { s.Kill(); s.Start() }},
		{"the other gateway is killed", func() { b.Kill(); b.Restart() }},
	}
	w.run(func() {
		for _, f := range faults {
			w.h.Note(f.name)
			f.f()
			w.moreSent()
		}
	})
	report := w.h.Check()
	lists, undecided := w.h.Linearizable(time.Minute)
	t.Logf("%s, groups undecided %v", report, undecided)
	if v := report.Violations(); v != "" || len(lists) > 0 {
		t.Errorf("%sgroups that are no lists: %v", v, lists)
		var all strings.Builder
		if err := w.h.Write(&all); err != nil {
			t.Error(err)
		}
		t.Log(all.String())
	}
}

// workers are producers and consumers of one queue.
type workers struct {
	t            *testing.T
	clients      []*sqs.Client // by gateway
	groups, each int

	sent      atomic.Int64
	producing atomic.Int64
	h         *history.History
}

func (w *workers) run(faults func()) {
	var wg sync.WaitGroup
	w.producing.Store(int64(w.groups))
	for g := range w.groups {
		wg.Go(func() { w.produce(fmt.Sprint("g", g)) })
	}
	for i := range 6 {
		wg.Go(func() { w.consume(i % len(w.clients)) })
	}
	faults()
	wg.Wait()
}

// moreSent waits until the producers have got further.
func (w *workers) moreSent() {
	want := w.sent.Load() + 15
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for w.sent.Load() < want && w.producing.Load() > 0 {
		<-tick.C
	}
}

func (w *workers) end(e history.Event, err error) {
	outcome := history.Unknown
	switch {
	case err == nil:
		outcome = history.OK
	case mnqtest.ErrorCode(err) == "InvalidParameterValue":
		outcome = history.Refused
	}
	w.h.End(e, outcome, err)
}

func (w *workers) produce(group string) {
	defer w.producing.Add(-1)
	pause := time.NewTicker(50 * time.Millisecond)
	defer pause.Stop()
	for n := range w.each {
		body := fmt.Sprint(group, "/", n)
		for accepted := false; !accepted; <-pause.C {
			e := history.Event{Kind: history.Send, Body: body, Group: group, Process: rand.IntN(len(w.clients)), Begin: w.h.Now()}
			out, err := w.clients[e.Process].SendMessage(context.Background(), &sqs.SendMessageInput{
				QueueUrl: aws.String("q.fifo"), MessageBody: &body, MessageGroupId: &group, MessageDeduplicationId: &body,
			})
			if accepted = err == nil; accepted {
				e.ID, e.Sequence = *out.MessageId, *out.SequenceNumber
			}
			w.end(e, err)
		}
		w.sent.Add(1)
	}
}

func (w *workers) consume(at int) {
	pause := time.NewTicker(50 * time.Millisecond)
	defer pause.Stop()
	for !w.finished() {
		e := history.Event{Kind: history.Receive, Process: at, Begin: w.h.Now(), Call: w.h.Call(), Visibility: fifoVisibility}
		out, err := w.clients[at].ReceiveMessage(context.Background(), &sqs.ReceiveMessageInput{
			QueueUrl: aws.String("q.fifo"), MaxNumberOfMessages: 5, WaitTimeSeconds: 1,
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
		})
		if err != nil {
			w.end(e, err)
			<-pause.C
			continue
		}
		e.Since = w.h.Now() - fifoSlack
		got := make([]history.Event, len(out.Messages))
		for i, m := range out.Messages {
			e.Body, e.ID, e.Group, e.Sequence = *m.Body, *m.MessageId, m.Attributes["MessageGroupId"], m.Attributes["SequenceNumber"]
			got[i] = e
			w.end(e, nil)
		}
		for i, m := range out.Messages {
			if rand.IntN(10) == 0 {
				continue // forgotten
			}
			e := got[i]
			e.Kind, e.Process, e.Begin = history.Delete, rand.IntN(len(w.clients)), w.h.Now()
			_, err := w.clients[e.Process].DeleteMessage(context.Background(), &sqs.DeleteMessageInput{QueueUrl: aws.String("q.fifo"), ReceiptHandle: m.ReceiptHandle})
			w.end(e, err)
		}
	}
}

// finished reports that all has been sent and nothing is left.
func (w *workers) finished() bool {
	if w.producing.Load() > 0 {
		return false
	}
	names := []types.QueueAttributeName{types.QueueAttributeNameApproximateNumberOfMessages, types.QueueAttributeNameApproximateNumberOfMessagesNotVisible}
	out, err := w.clients[0].GetQueueAttributes(context.Background(), &sqs.GetQueueAttributesInput{QueueUrl: aws.String("q.fifo"), AttributeNames: names})
	return err == nil && out.Attributes["ApproximateNumberOfMessages"] == "0" && out.Attributes["ApproximateNumberOfMessagesNotVisible"] == "0"
}
