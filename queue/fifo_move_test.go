package queue

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq/internal/bubble"
	"github.com/openmnq/mnq/internal/wire"
)

// deadFIFO is dead for FIFO queues.
func (b *bundle) deadFIFO(receives int) (source, dlq *Queue) {
	b.t.Helper()
	dlq = b.create("dlq.fifo", map[string]string{"FifoQueue": "true", "ContentBasedDeduplication": "true"})
	source = b.create("source.fifo", map[string]string{
		"FifoQueue": "true", "ContentBasedDeduplication": "true", "VisibilityTimeout": "30", "RedrivePolicy": b.policy("dlq.fifo", receives),
	})
	return source, dlq
}

func TestFIFODeadLetters(t *testing.T) {
	t.Parallel()

	t.Run("MoveWithAllTheyAre", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			source, dlq := b.deadFIFO(2)
			in := Send{
				Body: "x", SenderID: "me", TraceHeader: "Root=1", GroupID: "g", DedupID: "d", Attributes: []Attribute{{"a", "String", []byte("1")}},
			}
			sent := source.Send(t.Context(), []Send{in})[0]
			at := time.Now()
			exhaust(t, source, 2)
			wantBodies(t, receive(t, source, now))
			m := receive(t, dlq, now)
			wantBodies(t, m, "x")
			got := m[0]
			if got.ID != sent.MessageID || got.TraceHeader != "Root=1" || got.GroupID != "g" || got.DedupID != "d" || len(got.Attributes) != 1 ||
				got.SenderID != "me" || got.SentAt.UnixMilli() != at.UnixMilli() || got.FirstReceived.UnixMilli() != at.UnixMilli() {
				t.Errorf("%+v", got)
			}
			if got.ReceiveCount != 3 || got.DeadLetterSource != source.ARN(b.ns) {
				t.Errorf("receive count %d, source %s", got.ReceiveCount, got.DeadLetterSource)
			}
			wantCounts(t, source, Counts{})
			wantCounts(t, dlq, Counts{InFlight: 1})
			remove(t, dlq, got)
			wantCounts(t, dlq, Counts{})
			if again := source.Send(t.Context(), []Send{in})[0]; again.Sent != sent.Sent {
				t.Errorf("%v, then %v: its id is forgotten", sent.Sent, again.Sent)
			}
		})
	})

	t.Run("AreNotDroppedAsDuplicates", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			source, dlq := b.deadFIFO(1)
			put(t, dlq, "g/x")
			put(t, source, "g/x", "g/y")
			exhaust(t, source, 1)
			wantBodies(t, receive(t, source, now))
			wantBodies(t, receive(t, dlq, now), "x", "x", "y")
		})
	})

	t.Run("WakeWhoWaitsForThem", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			source, dlq := b.deadFIFO(1)
			put(t, source, "g/x", "g/y")
			receive(t, source, Receive{Max: 1, Visibility: time.Second})
			got := make(chan []Message)
			go func() {
				m, _ := dlq.Receive(context.Background(), Receive{Max: 1, Wait: 20 * time.Second, Visibility: -1})
				got <- m
			}()
			// The long poll that comes across the dead letter gets what is behind it.
			start := time.Now()
			wantBodies(t, receive(t, source, Receive{Max: 1, Wait: 20 * time.Second, Visibility: -1}), "y")
			if d := time.Since(start); d != time.Second {
				t.Errorf("after %v", d)
			}
			wantBodies(t, <-got, "x")
		})
	})

	t.Run("HoldTheirGroupBackWhenTheStorageIsFull", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			source, dlq := b.deadFIFO(1)
			w, err := source.svc.connection(t.Context(), source.space)
			if err != nil {
				t.Fatal(err)
			}
			ballast, err := w.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ballast", Subjects: []string{"ballast"}})
			if err != nil {
				t.Fatal(err)
			}
			big := strings.Repeat("x", 200<<10)
			put(t, source, "g/"+big, "g/y", "h/z")
			receive(t, source, Receive{Max: 1, Visibility: time.Second})
			time.Sleep(2 * time.Second)
			for {
				info, err := w.js.AccountInfo(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if left := info.Limits.MaxStore - int64(info.Store); left < 600<<10 {
					break
				}
				if _, err := w.js.Publish(t.Context(), "ballast", []byte(big)); err != nil {
					t.Fatal(err)
				}
			}
			m := receive(t, source, now)
			wantBodies(t, m, "z")
			remove(t, source, m...)
			for range 3 {
				wantBodies(t, receive(t, source, now))
				time.Sleep(time.Minute)
			}
			wantCounts(t, dlq, Counts{})
			if err := ballast.Purge(t.Context()); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			wantBodies(t, receive(t, source, now), "y")
			wantBodies(t, receive(t, dlq, now), big)
		})
	})

	t.Run("OfManyGroupsDoNotHoldUpTheLiving", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			source, dlq := b.deadFIFO(1)
			for i := range 100 {
				put(t, source, fmt.Sprintf("g%d/%d", i, i))
			}
			for range 10 {
				receive(t, source, Receive{Max: 10, Visibility: time.Second})
			}
			put(t, source, "g/alive")
			time.Sleep(2 * time.Second)
			wantBodies(t, receive(t, source, Receive{Max: 10, Visibility: -1}), "alive")
			wantCounts(t, dlq, Counts{Visible: 100})
		})
	})
}

// stages are the steps of a move, in which a process can be paused or die.
var stages = []func(f *fifo, ctx context.Context, fw *follower, list []*transfer){
	(*fifo).reserve, (*fifo).confirm, (*fifo).admit, (*fifo).copy, (*fifo).clear, (*fifo).leave,
}

// TestFIFOMoveStopsAnywhere lets one process stop at every point of a move, another one
// go on, and the first wake up later, once soon and once when nothing remembers the
// message any more. There is never more than one of it, and it does not come back.
//
// Not parallel: the server's clock for message ages is one for the process.
func TestFIFOMoveStopsAnywhere(t *testing.T) { //nolint:paralleltest // see above
	for _, kind := range []string{"DeadLetter", "Task"} {
		for stop := range len(stages) + 1 {
			for _, pause := range []time.Duration{moveHold + 2*time.Second, time.Hour} {
				t.Run(fmt.Sprintf("%s/AfterStep%d/For%v", kind, stop, pause), func(t *testing.T) {
					alone(t, func(t *testing.T, b *bundle) {
						bubble.Expire(t)
						interruptedMove{b: b, task: kind == "Task", stop: stop, pause: pause}.run(t)
					})
				})
			}
		}
	}
}

type interruptedMove struct {
	b     *bundle
	task  bool
	stop  int // the stage before which the process stops
	pause time.Duration
}

func (i interruptedMove) run(t *testing.T) {
	t.Helper()
	b := i.b
	from, to := b.deadFIFO(1)
	b.process()
	put(t, from, "g/1", "g/2", "g/3")
	if i.task {
		from, to = to, from
	}
	second, target := b.queue(1, from.Name()), b.queue(1, to.Name())
	if !i.task {
		receive(t, from, Receive{Max: 2, Visibility: time.Second})
	} else {
		receive(t, to, Receive{Max: 10, Visibility: time.Second})
		time.Sleep(2 * time.Second)
		wantBodies(t, receive(t, to, now))
		wantBodies(t, receive(t, from, Receive{Max: 10, Visibility: 0}), "1", "2", "3")
	}
	time.Sleep(2 * time.Second)

	list, fw := i.begin(t, from)
	for _, step := range stages[:i.stop] {
		step(from.fifo, t.Context(), fw, list)
	}
	resume := func() {
		for _, step := range stages[i.stop:] {
			step(from.fifo, t.Context(), fw, list)
		}
	}
	time.AfterFunc(i.pause, resume)

	// The other process and the receivers of both queues go on meanwhile.
	moved, stayed := i.drain(t, second, target)
	want, rest := []string{"1", "2"}, []string{"3"}
	if i.task {
		want, rest = []string{"1", "2", "3"}, nil
	}
	if !slices.Equal(moved, want) || !slices.Equal(stayed, rest) {
		t.Fatalf("moved %v, stayed %v", moved, stayed)
	}
	time.Sleep(65 * time.Minute)
	moved, stayed = i.drain(t, second, target)
	if len(moved)+len(stayed) > 0 {
		t.Fatalf("%v and %v came back", moved, stayed)
	}
	wantCounts(t, second, Counts{})
	wantCounts(t, target, Counts{})
}

// begin takes what is to be moved, as the first process does.
func (i interruptedMove) begin(t *testing.T, from *Queue) ([]*transfer, *follower) {
	t.Helper()
	w, err := from.svc.connection(t.Context(), from.space)
	if err != nil {
		t.Fatal(err)
	}
	fw, err := from.fifo.index(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	var picks []pick
	if i.task {
		r := &mover{q: from, task: Move{Last: 1 << 60}}
		picks, err = from.fifo.route(t.Context(), fw, r, fw.x.movable(10, r.task.Last, time.Now()))
	} else {
		picks = fw.x.plan(10, fw.x.line(), taking{now: time.Now(), newToken: newToken})
	}
	if err != nil {
		t.Fatal(err)
	}
	won, err := from.fifo.win(t.Context(), fw, picks)
	if err != nil || len(won) != 1 || !won[0].leave {
		t.Fatalf("%+v, %v", won, err)
	}
	list := from.fifo.prepare(t.Context(), fw, won)
	if want := map[bool]int{false: 2, true: 3}[i.task]; len(list) != want {
		t.Fatalf("%d messages are to be moved, want %d", len(list), want)
	}
	return list, fw
}

// drain receives and deletes what comes of both queues within two minutes.
func (i interruptedMove) drain(t *testing.T, from, to *Queue) (moved, stayed []string) {
	t.Helper()
	for range 60 {
		for _, q := range []*Queue{from, to} {
			if i.task && q == to {
				time.Sleep(time.Second) // so that what is there has come with all that belongs to it
			}
			for _, m := range receive(t, q, Receive{Max: 10, Visibility: 30 * time.Second}) {
				if q == to {
					moved = append(moved, m.Body)
				} else {
					stayed = append(stayed, m.Body)
				}
				remove(t, q, m)
			}
		}
		time.Sleep(time.Second)
	}
	return moved, stayed
}

// leaveHalfDone lets a process begin to move dead letters and stop before a stage.
func leaveHalfDone(t *testing.T, from *Queue, stop int) (resume func()) {
	t.Helper()
	list, fw := interruptedMove{}.begin(t, from)
	for _, step := range stages[:stop] {
		step(from.fifo, t.Context(), fw, list)
	}
	return func() {
		for _, step := range stages[stop:] {
			step(from.fifo, t.Context(), fw, list)
		}
	}
}

// Not parallel: the server's clock for message ages is one for the process.
func TestFIFOHalfMovedMessages(t *testing.T) { //nolint:paralleltest // see above
	half := func(t *testing.T, f func(t *testing.T, b *bundle, source, dlq *Queue)) {
		t.Helper()
		alone(t, func(t *testing.T, b *bundle) {
			bubble.Expire(t)
			source, dlq := b.deadFIFO(1)
			b.process()
			put(t, source, "g/1", "g/2", "g/3")
			receive(t, source, Receive{Max: 2, Visibility: time.Second})
			time.Sleep(2 * time.Second)
			f(t, b, source, dlq)
		})
	}
	const copied = 4 // stages up to the copy

	t.Run("DoNotComeBackWhenTheirCopiesAreDeletedFirst", func(t *testing.T) {
		half(t, func(t *testing.T, b *bundle, source, dlq *Queue) {
			leaveHalfDone(t, source, copied)
			remove(t, dlq, receive(t, dlq, Receive{Max: 10, Visibility: -1})...)
			time.Sleep(10 * time.Minute) // nothing remembers the copies any more
			wantBodies(t, receive(t, b.queue(1, "source.fifo"), now), "3")
			synctest.Wait()
			wantCounts(t, dlq, Counts{})
		})
	})

	t.Run("AreNotMovedAgainByWhoTookThemUpBeforeThat", func(t *testing.T) {
		half(t, func(t *testing.T, b *bundle, source, dlq *Queue) {
			leaveHalfDone(t, source, copied)
			time.Sleep(moveHold + 2*time.Second)
			resume := leaveHalfDone(t, b.queue(1, "source.fifo"), 0)
			remove(t, dlq, receive(t, dlq, Receive{Max: 10, Visibility: -1})...)
			time.Sleep(10 * time.Minute)
			resume()
			synctest.Wait()
			wantCounts(t, dlq, Counts{})
			wantBodies(t, receive(t, source, now), "3")
		})
	})

	t.Run("AreNotHandedOutWhileACopyMayExist", func(t *testing.T) {
		half(t, func(t *testing.T, b *bundle, source, dlq *Queue) {
			list, fw := interruptedMove{}.begin(t, source)
			for _, step := range stages[:copied] {
				step(source.fifo, t.Context(), fw, list)
			}
			for _, x := range list { // the answers got lost
				x.stage, x.err = halfway, wire.ErrLost
			}
			source.fifo.leave(t.Context(), fw, list)
			if err := source.SetAttributes(t.Context(), b.ns, map[string]string{attrRedrive: ""}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Minute)
			wantBodies(t, receive(t, source, now), "3")
			wantBodies(t, receive(t, dlq, now), "1", "2")
		})
	})

	t.Run("BelongToOneOfTwoWhoMoveThemAtATime", func(t *testing.T) {
		for first := range copied {
			for second := range copied {
				half(t, func(t *testing.T, b *bundle, source, dlq *Queue) {
					resume := leaveHalfDone(t, source, first)
					time.Sleep(moveHold + 2*time.Second)
					other := leaveHalfDone(t, b.queue(1, "source.fifo"), second)
					resume()
					other()
					time.Sleep(10 * time.Minute)
					wantBodies(t, receive(t, source, now), "3")
					wantBodies(t, receive(t, dlq, now), "1", "2")
				})
			}
		}
	})

	t.Run("StayWhenSomebodyGaveTheMoveUp", func(t *testing.T) {
		for stop := range copied {
			half(t, func(t *testing.T, b *bundle, source, dlq *Queue) {
				resume := leaveHalfDone(t, source, stop)
				time.Sleep(moveHold + 2*time.Second)
				// Another process finds no room for them, and then the policy goes.
				other := b.queue(1, "source.fifo")
				list, fw := interruptedMove{}.begin(t, other)
				for _, step := range stages[:2] {
					step(other.fifo, t.Context(), fw, list)
				}
				for _, x := range list {
					x.err = storageFull("test", "q", nil)
				}
				other.fifo.leave(t.Context(), fw, list)
				if err := source.SetAttributes(t.Context(), b.ns, map[string]string{attrRedrive: ""}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(2 * time.Minute)
				m := receive(t, other, Receive{Max: 10, Visibility: time.Hour})
				wantBodies(t, m, "1", "2", "3")
				resume()
				synctest.Wait()
				wantCounts(t, dlq, Counts{})
				remove(t, other, m...)
				wantCounts(t, other, Counts{})
			})
		}
	})
}
