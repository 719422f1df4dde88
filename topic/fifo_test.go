package topic

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/bubble"
	"github.com/openmnq/mnq/queue"
)

// ordered publishes one message of a group to a FIFO topic.
func (b *bundle) ordered(t *Topic, group, dedup, body string) Published {
	b.t.Helper()
	return t.Publish(context.Background(), b.ns, []Publication{{Message: body, GroupID: group, DedupID: dedup}})[0]
}

// takeAll receives and deletes everything in a FIFO queue, and returns the bodies by group
// in the order in which they came.
func (b *bundle) takeAll(name string) map[string][]string {
	b.t.Helper()
	q, err := b.processes[0].queues.Queue(b.ns, name)
	if err != nil {
		b.t.Fatal(err)
	}
	out := map[string][]string{}
	for {
		got, err := q.Receive(context.Background(), queue.Receive{Max: 10, Wait: 20 * time.Second, Visibility: time.Minute})
		if err != nil {
			b.t.Fatal(err)
		}
		if len(got) == 0 {
			return out
		}
		for _, m := range got {
			out[m.GroupID] = append(out[m.GroupID], m.Body)
			for _, err := range q.DeleteMessages(context.Background(), []string{m.Handle}) {
				if err != nil {
					b.t.Fatal(err)
				}
			}
		}
	}
}

func TestFIFOTopics(t *testing.T) {
	t.Parallel()
	t.Run("KeepTheOrderOfGroups", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			a := b.topic("a.fifo", attrFifo, "true")
			b.queue("q.fifo", "FifoQueue", "true")
			b.queue("plain")
			b.subscribe(a, "q.fifo", raw, "true")
			b.subscribe(a, "plain")
			want := map[string][]string{}
			var last string
			for i := range 120 {
				group, body := fmt.Sprint("g", i%7), fmt.Sprint("m", i)
				p := b.ordered(a, group, body, body)
				if p.Err != nil {
					t.Fatal(p.Err)
				}
				if len(p.SequenceNumber) != 20 || p.SequenceNumber <= last {
					t.Fatalf("sequence number %q after %q", p.SequenceNumber, last)
				}
				last = p.SequenceNumber
				want[group] = append(want[group], body)
			}
			got := b.takeAll("q.fifo")
			for group, bodies := range want {
				if !slices.Equal(got[group], bodies) {
					t.Errorf("%s: got %q, want %q", group, got[group], bodies)
				}
			}
			for _, m := range b.drain("plain", 120) {
				if m.GroupID != "" || m.DedupID != "" || !strings.Contains(m.Body, `"SequenceNumber":"000`) || strings.Contains(m.Body, "Signature") {
					t.Fatalf("%+v", m)
				}
			}
		})
	})
	t.Run("RecogniseWhatWasPublishedBefore", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			a := b.topic("a.fifo", attrFifo, "true", attrContent, "true")
			b.queue("q.fifo", "FifoQueue", "true")
			b.subscribe(a, "q.fifo", raw, "true")
			first := b.ordered(a, "g", "", "x")
			same := func(p Published, want bool) {
				t.Helper()
				if p.Err != nil || (p.MessageID == first.MessageID && p.SequenceNumber == first.SequenceNumber) != want {
					t.Errorf("%+v after %+v", p, first)
				}
			}
			same(b.ordered(a, "g", "", "x"), true)
			same(b.ordered(a, "other", "", "x"), true) // of the topic, not of the group
			time.Sleep(time.Minute)
			same(b.ordered(a, "g", "", "x"), true) // fanned out long ago
			same(b.ordered(a, "g", "", "y"), false)
			b.restart()
			a, _ = b.processes[0].topics.Topic(b.ns, "a.fifo")
			same(b.ordered(a, "g", "", "x"), true)
			if got := b.takeAll("q.fifo"); !slices.Equal(got["g"], []string{"x", "y"}) {
				t.Error(got)
			}
		})
	})
	t.Run("RecogniseByGroupWhenAskedTo", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			a := b.topic("a.fifo", attrFifo, "true", attrScope, scopeGroup)
			first, other, again := b.ordered(a, "g", "1", "x"), b.ordered(a, "h", "1", "x"), b.ordered(a, "g", "1", "x")
			if first.Err != nil || first.MessageID == other.MessageID || first.MessageID != again.MessageID {
				t.Error(first, other, again)
			}
		})
	})
	t.Run("RefuseWhatTheyCannotOrder", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			a := b.topic("a.fifo", attrFifo, "true")
			wantError(t, b.ordered(a, "", "1", "x").Err, mnq.Invalid, "InvalidParameter",
				"Invalid parameter: The MessageGroupId parameter is required for FIFO topics")
			wantError(t, b.ordered(a, "g", "", "x").Err, mnq.Invalid, "InvalidParameter",
				"Invalid parameter: The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")
		})
	})
	t.Run("KeepTheOrderWhenProcessesDie", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			a := b.topic("a.fifo", attrFifo, "true")
			b.queue("q.fifo", "FifoQueue", "true")
			b.subscribe(a, "q.fifo", raw, "true")
			want := map[string][]string{}
			n := 0
			for range 5 {
				other := b.process()
				time.Sleep(100 * time.Millisecond)
				oa, err := other.topics.Topic(b.ns, "a.fifo")
				if err != nil {
					t.Fatal(err)
				}
				for _, via := range []*Topic{a, oa, oa, a} {
					for range 10 {
						group, body := fmt.Sprint("g", n%3), strconv.Itoa(n)
						if p := b.ordered(via, group, body, body); p.Err != nil {
							t.Fatal(p.Err)
						}
						want[group] = append(want[group], body)
						n++
					}
				}
				other.kill(t)
			}
			time.Sleep(5 * time.Minute)
			got := b.takeAll("q.fifo")
			for group, bodies := range want {
				if !slices.Equal(got[group], bodies) {
					t.Errorf("%s: got %q, want %q", group, got[group], bodies)
				}
			}
		})
	})
}

func TestFIFODeduplicationEnds(t *testing.T) { //nolint:paralleltest // moves the server's clock
	alone(t, func(t *testing.T, b *bundle) {
		bubble.Expire(t)
		a := b.topic("a.fifo", attrFifo, "true")
		first := b.ordered(a, "g", "1", "x")
		time.Sleep(dedupWindow - time.Second)
		if p := b.ordered(a, "g", "1", "x"); p.MessageID != first.MessageID {
			t.Error("accepted again", p)
		}
		time.Sleep(2 * time.Second)
		if p := b.ordered(a, "g", "1", "x"); p.Err != nil || p.MessageID == first.MessageID {
			t.Error("still recognised", p)
		}
		time.Sleep(10 * time.Minute)
		b.idle(a)
	})
}
