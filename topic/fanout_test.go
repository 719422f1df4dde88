package topic

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/openmnq/mnq/queue"
)

// receive takes up to ten messages of a queue of the first process, waiting for the first.
func (b *bundle) receive(name string) []queue.Message {
	b.t.Helper()
	q, err := b.processes[0].queues.Queue(b.ns, name)
	if err != nil {
		b.t.Fatal(err)
	}
	got, err := q.Receive(context.Background(), queue.Receive{Max: 10, Wait: 20 * time.Second, Visibility: time.Hour})
	if err != nil {
		b.t.Fatal(err)
	}
	return got
}

// drain takes and deletes messages of a queue until n have come, and looks that there
// are no more.
func (b *bundle) drain(name string, n int) []queue.Message {
	b.t.Helper()
	all := b.all(name)
	if len(all) != n {
		b.t.Errorf("%d messages in %s, want %d", len(all), name, n)
	}
	return all
}

func bodies(ms []queue.Message) []string {
	out := []string{}
	for _, m := range ms {
		out = append(out, m.Body)
	}
	slices.Sort(out)
	return out
}

func wantBodies(t *testing.T, ms []queue.Message, want ...string) {
	t.Helper()
	slices.Sort(want)
	if got := bodies(ms); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// idle waits until nothing is left to fan out.
func (b *bundle) idle(topics ...*Topic) {
	b.t.Helper()
	for _, t := range topics {
		for i := 0; ; i++ {
			s, err := b.processes[0].js.Stream(context.Background(), t.state.Load().stream())
			if err != nil {
				b.t.Fatal(err)
			}
			if s.CachedInfo().State.Msgs == 0 {
				break
			}
			if i > 600 {
				b.t.Fatalf("%d messages are left in topic %s", s.CachedInfo().State.Msgs, t.name)
			}
			time.Sleep(time.Second)
		}
	}
}

const raw = attrRaw

func TestFanOut(t *testing.T) {
	t.Parallel()
	t.Run("DeliversToEveryQueueOnce", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			a := b.topic("a")
			for i := range 10 {
				b.queue(fmt.Sprint("q", i))
				b.subscribe(a, fmt.Sprint("q", i), raw, "true")
			}
			var want []string
			for i := range 30 {
				want = append(want, fmt.Sprint("m", i))
			}
			b.publish(a, want...)
			for i := range 10 {
				wantBodies(t, b.drain(fmt.Sprint("q", i), 30), want...)
			}
			b.idle(a)
		})
	})
	t.Run("WrapsInAnEnvelopeOrNot", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			a := b.topic("a")
			b.queue("plain")
			b.queue("wrapped")
			b.subscribe(a, "plain", raw, "true")
			sub := b.subscribe(a, "wrapped")
			attrs := []queue.Attribute{{Name: "bin", DataType: "Binary", Value: []byte{0, 1}}, {Name: "s", DataType: "String", Value: []byte("v")}}
			got := a.Publish(t.Context(), b.ns, []Publication{{
				Message: "hello", Subject: "sub", Attributes: attrs, SenderID: "me", TraceHeader: "Root=1-1", GroupID: "g",
			}})
			if got[0].Err != nil {
				t.Fatal(got[0].Err)
			}
			m := b.receive("plain")[0]
			if m.Body != "hello" || len(m.Attributes) != 2 || m.Attributes[0].DataType != "Binary" || m.TraceHeader != "Root=1-1" || m.GroupID != "g" {
				t.Errorf("%+v", m)
			}
			m = b.receive("wrapped")[0]
			var e struct {
				Type, MessageID, TopicArn, Subject, Message, Timestamp, SignatureVersion, Signature, SigningCertURL, UnsubscribeURL string
				MessageAttributes                                                                                                   map[string]struct{ Type, Value string }
			}
			if err := json.Unmarshal([]byte(m.Body), &e); err != nil {
				t.Fatal(err)
			}
			if e.Type != "Notification" || !strings.EqualFold(e.MessageID, got[0].MessageID) || e.TopicArn != a.ARN(b.ns) || e.Subject != "sub" || e.Message != "hello" ||
				e.SignatureVersion != "1" || e.Signature == "" || !strings.HasSuffix(e.UnsubscribeURL, sub.ARN()) ||
				e.MessageAttributes["bin"].Value != "AAE=" || e.MessageAttributes["s"].Type != "String" {
				t.Errorf("%+v", e)
			}
			if len(m.Attributes) != 0 || m.TraceHeader != "Root=1-1" || m.GroupID != "g" {
				t.Errorf("%+v", m)
			}
			text, err := time.Parse("2006-01-02T15:04:05.000Z", e.Timestamp)
			if err != nil || time.Since(text) > time.Minute {
				t.Error(e.Timestamp, err)
			}
		})
	})
	t.Run("EvaluatesFilters", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			a := b.topic("a")
			for _, name := range []string{"red", "body", "all"} {
				b.queue(name)
			}
			b.subscribe(a, "red", raw, "true", attrFilter, `{"colour":["red"]}`)
			b.subscribe(a, "body", raw, "true", attrFilter, `{"n":[{"numeric":[">",3]}]}`, attrFilterScope, "MessageBody")
			b.subscribe(a, "all", raw, "true")
			for i, colour := range []string{"red", "blue", "red", "green", "red"} {
				got := a.Publish(t.Context(), b.ns, []Publication{{
					Message: fmt.Sprintf(`{"n":%d}`, i), Attributes: []queue.Attribute{{Name: "colour", DataType: "String", Value: []byte(colour)}},
				}})
				if got[0].Err != nil {
					t.Fatal(got[0].Err)
				}
			}
			wantBodies(t, b.drain("red", 3), `{"n":0}`, `{"n":2}`, `{"n":4}`)
			wantBodies(t, b.drain("body", 1), `{"n":4}`)
			b.drain("all", 5)
		})
	})
	t.Run("KeepsToThePositionOfASubscription", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			a := b.topic("a")
			other := b.process()
			time.Sleep(time.Second)
			b.queue("first")
			b.queue("second")
			b.subscribe(a, "first", raw, "true")
			b.publish(a, "1")
			second := b.subscribe(a, "second", raw, "true")
			b.publish(a, "2")
			b.idle(a)
			// The other process removes it and publishes at once.
			s := other.topics
			if err := s.Unsubscribe(t.Context(), b.ns, "a", second.ID); err != nil {
				t.Fatal(err)
			}
			oa, err := s.Topic(b.ns, "a")
			if err != nil {
				t.Fatal(err)
			}
			b.publish(oa, "3")
			wantBodies(t, b.drain("first", 3), "1", "2", "3")
			if got := b.drain("second", 1); len(got) == 1 && got[0].Body != "2" {
				t.Error(bodies(got))
			}
		})
	})
	t.Run("IsLeftToWhoIsThere", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			a := b.topic("a")
			b.queue("q")
			b.subscribe(a, "q", raw, "true")
			other := b.process()
			time.Sleep(time.Second)
			oa, err := other.topics.Topic(b.ns, "a")
			if err != nil {
				t.Fatal(err)
			}
			b.publish(oa, "1")
			other.kill(t)
			b.publish(a, "2")
			wantBodies(t, b.drain("q", 2), "1", "2")
		})
	})
	t.Run("GoesOnAfterARestart", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			a := b.topic("a")
			b.queue("q")
			b.subscribe(a, "q", raw, "true")
			var want []string
			for i := range 50 {
				want = append(want, fmt.Sprint("m", i))
				b.publish(a, want[i])
				if i%10 == 5 {
					b.restart()
					var err error
					if a, err = b.processes[0].topics.Topic(b.ns, "a"); err != nil {
						t.Fatal(err)
					}
				}
			}
			wantBodies(t, b.drain("q", 50), want...)
			b.idle(a)
		})
	})
	t.Run("DiscardsWhatNobodyWants", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			a := b.topic("a")
			b.publish(a, "1", "2")
			b.idle(a)
			b.queue("q")
			b.subscribe(a, "q", raw, "true")
			b.drain("q", 0)
		})
	})
}
