package topic

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/wire"
	"github.com/openmnq/mnq/queue"
)

// redrive is a RedrivePolicy to that queue.
func (b *bundle) redrive(name string) string {
	return `{"deadLetterTargetArn":"` + b.arn(name) + `"}`
}

// breakQueue removes the stream of a queue, as if its storage had failed.
func (b *bundle) breakQueue(name string) {
	b.t.Helper()
	q, err := b.processes[0].queues.Queue(b.ns, name)
	if err != nil {
		b.t.Fatal(err)
	}
	ctx := context.Background()
	js := b.processes[0].js
	if r := q.Send(ctx, []queue.Send{{Body: "the last", GroupID: "g", DedupID: "d"}})[0]; r.Err != nil {
		b.t.Fatal(r.Err)
	}
	broken := ""
	for stream := range js.ListStreams(ctx).Info() {
		if strings.HasPrefix(stream.Config.Name, "q_") && stream.State.Msgs == 1 {
			broken = stream.Config.Name
		}
	}
	if err := js.DeleteStream(ctx, broken); err != nil {
		b.t.Fatal(err)
	}
}

func TestQueuesThatFail(t *testing.T) {
	t.Parallel()
	t.Run("DoNotHoldUpOthers", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			a := b.topic("a")
			b.queue("broken")
			b.queue("good")
			b.subscribe(a, "broken", raw, "true")
			b.subscribe(a, "good", raw, "true")
			b.breakQueue("broken")
			begun := time.Now()
			var want []string
			for i := range 100 {
				want = append(want, fmt.Sprint("m", i))
				b.publish(a, want[i])
			}
			q, err := b.processes[0].queues.Queue(b.ns, "good")
			if err != nil {
				t.Fatal(err)
			}
			var got []queue.Message
			for len(got) < 100 {
				m, err := q.Receive(t.Context(), queue.Receive{Max: 10, Wait: 20 * time.Second, Visibility: time.Hour})
				if err != nil || len(m) == 0 {
					t.Fatal(len(got), err)
				}
				got = append(got, m...)
			}
			wantBodies(t, got, want...)
			if took := time.Since(begun); took > 2*time.Second {
				t.Errorf("the good queue had its messages after %s", took)
			}
		})
	})
	t.Run("GetTheirMessagesWhenTheyAreBack", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			a := b.topic("a")
			b.queue("q")
			b.queue("dlq")
			b.subscribe(a, "q", raw, "true", attrRedrive, b.redrive("dlq"))
			full := b.account
			full.Limits.Storage = 1 << 20
			if err := b.node.PushAccount(t.Context(), full); err != nil {
				t.Fatal(err)
			}
			q, err := b.processes[0].queues.Queue(b.ns, "q")
			if err != nil {
				t.Fatal(err)
			}
			filler := strings.Repeat("x", 100<<10)
			stuffed := 0
			for ; ; stuffed++ {
				if r := q.Send(t.Context(), []queue.Send{{Body: filler}})[0]; mnq.KindOf(r.Err) == mnq.QuotaExceeded {
					break
				} else if r.Err != nil {
					t.Fatal(r.Err)
				}
				time.Sleep(2 * time.Second) // usage is looked at once a second
			}
			// What is published beside the reserve waits for room in the queue.
			w, err := b.processes[0].topics.wire(t.Context(), b.ns.ID)
			if err != nil {
				t.Fatal(err)
			}
			m := newMessage(&Publication{Message: "waits"}, time.Now())
			if err := b.processes[0].topics.writeAll(t.Context(), w, []wire.Request{b.processes[0].topics.write(a.state.Load().published(), m)})[0]; err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Minute)
			if err := b.node.PushAccount(t.Context(), b.account); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			got := b.drain("q", stuffed+1)
			if !slices.Contains(bodies(got), "waits") {
				t.Error("the message that waited is missing")
			}
			b.drain("dlq", 0)
			b.idle(a)
		})
	})
	t.Run("LoseWhatTheyRefuseToTheDeadLetterQueue", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			a := b.topic("a")
			b.queue("q", "MaximumMessageSize", "1024")
			b.queue("dlq")
			b.subscribe(a, "q", raw, "true", attrRedrive, b.redrive("dlq"))
			long := strings.Repeat("x", 2000)
			many := Publication{Message: "many"}
			for i := range 11 {
				many.Attributes = append(many.Attributes, queue.Attribute{Name: fmt.Sprintf("a%02d", i), DataType: "String", Value: []byte("v")})
			}
			b.publish(a, "1", long, "2")
			if p := a.Publish(t.Context(), b.ns, []Publication{many})[0]; p.Err != nil {
				t.Fatal(p.Err)
			}
			b.publish(a, "3")
			wantBodies(t, b.drain("q", 3), "1", "2", "3")
			dead := b.drain("dlq", 2)
			if len(dead) == 2 && !slices.Contains(bodies(dead), long) {
				t.Error("the long message is missing")
			}
			b.idle(a)
		})
	})
	t.Run("LoseEverythingToTheDeadLetterQueueWhenTheyAreDeleted", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			a := b.topic("a")
			q := b.queue("q")
			b.queue("dlq")
			b.subscribe(a, "q", raw, "true", attrRedrive, b.redrive("dlq"))
			b.subscribe(a, "dlq", raw, "true", attrFilter, `{"never":["x"]}`)
			if err := q.Delete(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.publish(a, "1", "2", "3")
			wantBodies(t, b.drain("dlq", 3), "1", "2", "3")
			b.idle(a)
			b.queue("q")
			b.publish(a, "4")
			time.Sleep(2 * maxTrouble)
			wantBodies(t, b.drain("q", 1), "4")
		})
	})
	t.Run("KeepTheOrderOfGroups", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			a := b.topic("a.fifo", attrFifo, "true")
			b.queue("q.fifo", "FifoQueue", "true")
			b.queue("other.fifo", "FifoQueue", "true")
			b.subscribe(a, "q.fifo", raw, "true")
			b.subscribe(a, "other.fifo", raw, "true")
			want := map[string][]string{}
			n := 0
			publish := func(count int) {
				for range count {
					group, body := fmt.Sprint("g", n%3), strconv.Itoa(n)
					if p := b.ordered(a, group, body, body); p.Err != nil {
						t.Fatal(p.Err)
					}
					want[group] = append(want[group], body)
					n++
				}
			}
			publish(10)
			b.idle(a)
			s := b.processes[0].topics
			sub := s.subscribers(a.id)[0]
			for i := range 3 {
				s.direct.failed(sub, time.Now()) // as if its queue had not answered
				publish(10)
				time.Sleep(time.Duration(i) * 20 * time.Second)
				publish(10)
			}
			time.Sleep(5 * time.Minute)
			for _, name := range []string{"q.fifo", "other.fifo"} {
				if got := b.takeAll(name); !maps.EqualFunc(got, want, slices.Equal[[]string]) {
					t.Errorf("%s: got %q, want %q", name, got, want)
				}
			}
		})
	})
}

// TestProcessesThatDie kills processes while they publish and deliver.
func TestProcessesThatDie(t *testing.T) {
	t.Parallel()
	t.Run("LoseNothing", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			const topics, queues, rounds = 3, 5, 6
			b.ns.Quota.Queues = -1
			for i := range topics {
				a := b.topic(fmt.Sprint("t", i))
				for j := range queues {
					b.queue(fmt.Sprintf("q%d-%d", i, j))
					b.subscribe(a, fmt.Sprintf("q%d-%d", i, j), raw, "true")
				}
			}
			var mu sync.Mutex
			sent := map[int][]string{} // those that were acknowledged, by topic
			for round := range rounds {
				victim := b.process()
				time.Sleep(time.Second)
				var wg sync.WaitGroup
				for i := range topics {
					wg.Go(func() {
						a, err := victim.topics.Topic(b.ns, fmt.Sprint("t", i))
						if err != nil {
							t.Error(err)
							return
						}
						for n := range 40 {
							body := fmt.Sprintf("%d.%d.%d", i, round, n)
							if a.Publish(context.Background(), b.ns, []Publication{{Message: body}})[0].Err != nil {
								return // killed
							}
							mu.Lock()
							sent[i] = append(sent[i], body)
							mu.Unlock()
						}
					})
				}
				if round%2 == 0 {
					wg.Go(func() { victim.kill(t) })
				}
				wg.Wait()
				if round%2 == 1 {
					victim.kill(t)
				}
			}
			time.Sleep(5 * time.Minute)
			for i := range topics {
				for j := range queues {
					name := fmt.Sprintf("q%d-%d", i, j)
					seen := map[string]bool{}
					for _, m := range b.all(name) {
						seen[m.Body] = true
					}
					for _, body := range sent[i] {
						if !seen[body] {
							t.Errorf("%s has not got %s", name, body)
						}
					}
				}
			}
		})
	})
}

// all takes and deletes everything in a queue.
func (b *bundle) all(name string) (all []queue.Message) {
	b.t.Helper()
	q, err := b.processes[0].queues.Queue(b.ns, name)
	if err != nil {
		b.t.Fatal(err)
	}
	for {
		got, err := q.Receive(context.Background(), queue.Receive{Max: 10, Wait: 20 * time.Second, Visibility: time.Hour})
		if err != nil {
			b.t.Fatal(err)
		}
		if len(got) == 0 {
			return all
		}
		all = append(all, got...)
		var handles []string
		for _, m := range got {
			handles = append(handles, m.Handle)
		}
		for _, err := range q.DeleteMessages(context.Background(), handles) {
			if err != nil {
				b.t.Fatal(err)
			}
		}
	}
}
