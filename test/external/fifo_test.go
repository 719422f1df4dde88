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

	"github.com/openmnq/mnq/internal/history"
	"github.com/openmnq/mnq/internal/mnqtest"
)

const fifoVisibility = 3 * time.Second

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
	w := &workers{t: t, groups: 4, each: 30}
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
	wrong := w.h.Check(fifoVisibility)
	for _, text := range wrong {
		t.Error(text)
	}
	if len(wrong) > 0 {
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
	h         history.History
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

func (w *workers) end(c *history.Call, err error, msgs ...history.Message) {
	outcome := history.Unknown
	switch {
	case err == nil:
		outcome = history.OK
	case mnqtest.ErrorCode(err) == "InvalidParameterValue":
		outcome = history.Refused
	}
	w.h.End(c, outcome, err, msgs...)
}

func (w *workers) produce(group string) {
	defer w.producing.Add(-1)
	pause := time.NewTicker(50 * time.Millisecond)
	defer pause.Stop()
	for n := range w.each {
		for accepted := false; !accepted; <-pause.C {
			at := rand.IntN(len(w.clients))
			c := w.h.Begin(history.Send, at)
			out, err := w.clients[at].SendMessage(context.Background(), &sqs.SendMessageInput{
				QueueUrl: aws.String("q.fifo"), MessageBody: aws.String(strconv.Itoa(n)),
				MessageGroupId: &group, MessageDeduplicationId: aws.String(group + "-" + strconv.Itoa(n)),
			})
			m := history.Message{Group: group, N: n}
			if accepted = err == nil; accepted {
				m.ID, m.Sequence = *out.MessageId, *out.SequenceNumber
			}
			w.end(c, err, m)
		}
		w.sent.Add(1)
	}
}

func (w *workers) consume(at int) {
	pause := time.NewTicker(50 * time.Millisecond)
	defer pause.Stop()
	for !w.finished() {
		c := w.h.Begin(history.Receive, at)
		out, err := w.clients[at].ReceiveMessage(context.Background(), &sqs.ReceiveMessageInput{
			QueueUrl: aws.String("q.fifo"), MaxNumberOfMessages: 5, WaitTimeSeconds: 1,
			MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
		})
		if err != nil {
			w.end(c, err)
			<-pause.C
			continue
		}
		var got []history.Message
		for _, m := range out.Messages {
			n, err := strconv.Atoi(*m.Body)
			if err != nil {
				w.t.Error(err)
			}
			got = append(got, history.Message{Group: m.Attributes["MessageGroupId"], N: n, ID: *m.MessageId, Sequence: m.Attributes["SequenceNumber"]})
		}
		w.end(c, nil, got...)
		for i, m := range out.Messages {
			if rand.IntN(10) == 0 {
				continue // forgotten
			}
			at := rand.IntN(len(w.clients))
			c := w.h.Begin(history.Delete, at)
			_, err := w.clients[at].DeleteMessage(context.Background(), &sqs.DeleteMessageInput{QueueUrl: aws.String("q.fifo"), ReceiptHandle: m.ReceiptHandle})
			w.end(c, err, got[i])
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
