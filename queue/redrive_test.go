package queue

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq/internal/bubble"
)

// dead creates a dead-letter queue and a source with the limit given.
func (b *bundle) dead(receives int, attrs map[string]string) (source, dlq *Queue) {
	b.t.Helper()
	dlq = b.create("dlq", attrs)
	source = b.create("source", map[string]string{"VisibilityTimeout": "30", "RedrivePolicy": b.policy("dlq", receives)})
	return source, dlq
}

func (b *bundle) policy(target string, receives int) string {
	return fmt.Sprintf(`{"deadLetterTargetArn":"arn:scw:sqs:fr-par:%s:%s","maxReceiveCount":%d}`, b.ns.ID, target, receives)
}

// exhaust receives everything n times without deleting.
func exhaust(t *testing.T, q *Queue, n int) {
	t.Helper()
	for range n {
		receive(t, q, Receive{Max: 10, Visibility: 30 * time.Second})
		time.Sleep(31 * time.Second)
	}
}

func TestDeadLetters(t *testing.T) {
	t.Parallel()

	t.Run("MoveWithAllTheyAre", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			source, dlq := b.dead(2, nil)
			in := Send{Body: "x", SenderID: "me", TraceHeader: "Root=1", GroupID: "g", Attributes: []Attribute{{"a", "String", []byte("1")}}}
			sent := source.Send(t.Context(), []Send{in})[0]
			at, first := time.Now(), time.Now()
			exhaust(t, source, 2)
			wantBodies(t, receive(t, source, now))
			m := receive(t, dlq, now)
			wantBodies(t, m, "x")
			got := m[0]
			if got.ID != sent.MessageID || got.TraceHeader != "Root=1" || got.GroupID != "g" || len(got.Attributes) != 1 || got.SenderID != "me" ||
				got.SentAt.UnixMilli() != at.UnixMilli() || got.FirstReceived.UnixMilli() != first.UnixMilli() {
				t.Errorf("%+v", got)
			}
			if got.ReceiveCount != 3 {
				t.Errorf("receive count %d", got.ReceiveCount)
			}
			if want := source.ARN(b.ns); got.DeadLetterSource != want {
				t.Errorf("source %s, want %s", got.DeadLetterSource, want)
			}
			wantCounts(t, source, Counts{})
			wantCounts(t, dlq, Counts{InFlight: 1})
			remove(t, dlq, got)
			wantCounts(t, dlq, Counts{})
		})
	})
	t.Run("LetOthersPassOnTheWay", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			source, dlq := b.dead(1, nil)
			for i := range 50 {
				send(t, source, fmt.Sprint("dead", i))
			}
			for range 5 {
				receive(t, source, Receive{Max: 10, Visibility: time.Second})
			}
			time.Sleep(2 * time.Second)
			send(t, source, "alive")
			wantBodies(t, receive(t, source, Receive{Max: 10, Wait: 5 * time.Second, Visibility: -1}), "alive")
			wantCounts(t, dlq, Counts{Visible: 50})
		})
	})
	t.Run("WakeWhoWaitsForThem", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			source, dlq := b.dead(1, nil)
			send(t, source, "x")
			receive(t, source, Receive{Max: 1, Visibility: time.Second})
			got := make(chan []Message)
			go func() {
				m, _ := dlq.Receive(context.Background(), Receive{Max: 1, Wait: 20 * time.Second, Visibility: -1})
				got <- m
			}()
			time.Sleep(2 * time.Second)
			wantBodies(t, receive(t, source, now))
			wantBodies(t, <-got, "x")
		})
	})
	t.Run("StayWhenTheirQueueIsGoneAndMoveWhenItIsBack", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			source, dlq := b.dead(1, nil)
			send(t, source, "x")
			exhaust(t, source, 1)
			if err := dlq.Delete(t.Context()); err != nil {
				t.Fatal(err)
			}
			wantBodies(t, receive(t, source, now))
			send(t, source, "y")
			wantBodies(t, receive(t, source, now), "y")
			time.Sleep(2 * time.Minute)
			dlq = b.create("dlq", nil)
			wantBodies(t, receive(t, source, now)) // both
			wantCounts(t, dlq, Counts{Visible: 2})
			wantCounts(t, source, Counts{})
		})
	})
	t.Run("MayStayInOneQueueForEver", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("self", map[string]string{"RedrivePolicy": b.policy("self", 1)})
			send(t, q, "x")
			for n := range 3 {
				m := receive(t, q, Receive{Max: 1, Wait: time.Second, Visibility: time.Second})
				wantBodies(t, m, "x")
				if m[0].ReceiveCount != n+1 {
					t.Errorf("receive count %d, want %d", m[0].ReceiveCount, n+1)
				}
				time.Sleep(2 * time.Second)
			}
			wantCounts(t, q, Counts{Visible: 1})
		})
	})
	t.Run("AreNotThoseThatNobodySaw", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			source, dlq := b.dead(1, nil)
			send(t, source, "x")
			w, err := source.svc.connection(t.Context(), source.space)
			if err != nil {
				t.Fatal(err)
			}
			for range 3 { // a receiver that hangs up at the wrong moment
				got, err := source.poll(t.Context(), w, 1)
				if err != nil || len(got) != 1 {
					t.Fatal(got, err)
				}
				source.release(w, got)
				time.Sleep(time.Second)
			}
			m := receive(t, source, now)
			wantBodies(t, m, "x")
			if m[0].ReceiveCount != 1 {
				t.Errorf("receive count %d", m[0].ReceiveCount)
			}
			wantCounts(t, dlq, Counts{})
		})
	})
}

// A process dies between storing the dead letter and removing its original.
func TestDeadLetterMovesOnce(t *testing.T) {
	t.Parallel()

	// half does the first half of the move, as a process that dies then.
	half := func(t *testing.T, b *bundle) (source, dlq *Queue) {
		t.Helper()
		source, dlq = b.dead(1, nil)
		send(t, source, "x")
		exhaust(t, source, 1)
		w, err := source.svc.connection(t.Context(), source.space)
		if err != nil {
			t.Fatal(err)
		}
		got, err := source.poll(t.Context(), w, 1)
		if err != nil || len(got) != 1 {
			t.Fatal(got, err)
		}
		m, err := decodeStored(got[0].data)
		if err != nil {
			t.Fatal(err)
		}
		a := w.Exchange(t.Context(), []request{dlq.put(m, origin{source.id, got[0].stream}, m.sentAt)}, answerTimeout)[0]
		if err := dlq.putDone(a); err != nil {
			t.Fatal(err)
		}
		return source, dlq
	}
	t.Run("WhenTheSourceIsReceivedFirst", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			source, dlq := half(t, b)
			time.Sleep(time.Minute)
			wantBodies(t, receive(t, source, now))
			wantCounts(t, source, Counts{})
			wantBodies(t, receive(t, dlq, now), "x")
			wantCounts(t, dlq, Counts{InFlight: 1})
		})
	})
	t.Run("WhenTheCopyIsDeletedFirstAndTheServerRestarts", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			_, dlq := half(t, b)
			got := receive(t, dlq, Receive{Max: 1, Wait: time.Second, Visibility: -1})
			wantBodies(t, got, "x")
			remove(t, dlq, got...)
			b.restart()
			time.Sleep(time.Hour)
			source, dlq := b.queue(0, "source"), b.queue(0, "dlq")
			wantBodies(t, receive(t, source, now))
			wantCounts(t, source, Counts{})
			wantCounts(t, dlq, Counts{})
		})
	})
}

func TestRedrivePolicy(t *testing.T) {
	t.Parallel()
	t.Run("IsHeldAgainstItsTarget", redriveIsChecked)
}

func redriveIsChecked(t *testing.T) {
	t.Helper()
	virtual(t, func(t *testing.T, b *bundle) {
		b.create("dlq", nil)
		b.create("closed", map[string]string{"RedriveAllowPolicy": `{"redrivePermission":"denyAll"}`})
		only := strings.ReplaceAll(`{ "redrivePermission" : "byQueue", "sourceQueueArns": ["arn:scw:sqs:fr-par:NS:q"] }`, "NS", b.ns.ID)
		b.create("only", map[string]string{"RedriveAllowPolicy": only})
		q, other := b.create("q", nil), b.create("other", nil)
		arn := func(name string) string { return "arn:scw:sqs:fr-par:" + b.ns.ID + ":" + name }
		policy := func(target string, max string) map[string]string {
			return map[string]string{"RedrivePolicy": `{"maxReceiveCount":` + max + `, "deadLetterTargetArn":"` + target + `", "x": 1}`}
		}
		for _, c := range []struct{ target, max, want string }{
			{arn("dlq"), "0", "Invalid value for maxReceiveCount: 0, valid values are from 1 to 1000 both inclusive."},
			{arn("dlq"), "1001", "Invalid value for maxReceiveCount: 1001"},
			{arn("dlq"), `"many"`, "Invalid value for maxReceiveCount: many"},
			{arn("missing"), "1", "does not exist"},
			{"dlq", "1", "Invalid value for deadLetterTargetArn."},
			{"arn:scw:sqs:fr-par:other:dlq", "1", "owner"},
			{arn("closed"), "1", "is not allowed"},
			{arn("dlq.fifo"), "1", "same type"},
		} {
			err := q.SetAttributes(t.Context(), b.ns, policy(c.target, c.max))
			wantCode(t, err, "InvalidParameterValue")
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: %v", c.want, err)
			}
		}
		for _, v := range []string{"x", "{}", `{"maxReceiveCount":1}`, `{"deadLetterTargetArn":"` + arn("dlq") + `"}`} {
			wantCode(t, q.SetAttributes(t.Context(), b.ns, map[string]string{"RedrivePolicy": v}), "InvalidParameterValue")
		}
		for _, v := range []string{"x", "{}", `{"redrivePermission":"byQueue"}`, `{"redrivePermission":"x"}`, `{"redrivePermission":"allowAll","sourceQueueArns":["` + arn("q") + `"]}`} {
			wantCode(t, q.SetAttributes(t.Context(), b.ns, map[string]string{"RedriveAllowPolicy": v}), "InvalidParameterValue")
		}
		if err := q.SetAttributes(t.Context(), b.ns, policy(arn("only"), `"7"`)); err != nil {
			t.Fatal(err)
		}
		wantCode(t, other.SetAttributes(t.Context(), b.ns, policy(arn("only"), "7")), "InvalidParameterValue")
		got, err := q.Attributes(t.Context(), b.ns, []string{"All"})
		if want := `{"deadLetterTargetArn":"` + arn("only") + `","maxReceiveCount":7}`; err != nil || got["RedrivePolicy"] != want {
			t.Errorf("%s, %v", got["RedrivePolicy"], err)
		}
		if names, more := b.queue(0, "only").DeadLetterSources("", 10); len(names) != 1 || names[0] != "q" || more {
			t.Errorf("%v %v", names, more)
		}
		if err := q.SetAttributes(t.Context(), b.ns, map[string]string{"RedrivePolicy": ""}); err != nil {
			t.Fatal(err)
		}
		if got, _ := q.Attributes(t.Context(), b.ns, []string{"All"}); got["RedrivePolicy"] != "" {
			t.Errorf("%v", got)
		}
	})
}

func TestDeadLettersAreNotLost(t *testing.T) {
	t.Parallel()

	t.Run("WhenTheStorageIsFull", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			source, dlq := b.dead(1, nil)
			w, err := source.svc.connection(t.Context(), source.space)
			if err != nil {
				t.Fatal(err)
			}
			// A stream of its own, because sends leave a reserve that moves may use.
			ballast, err := w.js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ballast", Subjects: []string{"ballast"}})
			if err != nil {
				t.Fatal(err)
			}
			big := strings.Repeat("x", 200<<10)
			send(t, source, big)
			receive(t, source, Receive{Max: 1, Visibility: time.Second})
			time.Sleep(2 * time.Second)
			for size := len(big); size > 64; {
				if _, err := w.js.Publish(t.Context(), "ballast", []byte(big[:size])); err != nil {
					size /= 2
				}
			}
			for range 3 {
				wantBodies(t, receive(t, source, now))
				time.Sleep(time.Minute)
			}
			wantCounts(t, source, Counts{Visible: 1})
			if err := ballast.Purge(t.Context()); err != nil {
				t.Fatal(err)
			}
			wantBodies(t, receive(t, source, now))
			wantBodies(t, receive(t, dlq, now), big)
		})
	})
	t.Run("WithTwoProcessesAtOnce", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			source, dlq := b.dead(1, nil)
			b.process()
			const n = 40
			for i := range n {
				send(t, source, strconv.Itoa(i))
			}
			for range n / 10 {
				receive(t, source, Receive{Max: 10, Visibility: time.Second})
			}
			time.Sleep(2 * time.Second)
			done := make(chan bool)
			for i := range 2 {
				go func() {
					for range 3 {
						_, _ = b.queue(i, "source").Receive(context.Background(), Receive{Max: 10, Wait: time.Second, Visibility: -1})
					}
					done <- true
				}()
			}
			<-done
			<-done
			wantCounts(t, source, Counts{})
			seen := map[string]int{}
			for range n {
				for _, m := range receive(t, dlq, now) {
					seen[m.Body]++
				}
			}
			if len(seen) != n {
				t.Errorf("%d of %d", len(seen), n)
			}
		})
	})
}

// The retention period of a dead letter goes on counting from when it was sent.
func TestDeadLettersGrowOld(t *testing.T) { //nolint:paralleltest // moves the clock of the whole process
	alone(t, func(t *testing.T, b *bundle) {
		bubble.Expire(t)
		source, dlq := b.dead(1, map[string]string{"MessageRetentionPeriod": "600"})
		send(t, source, "x")
		time.Sleep(5 * time.Minute)
		exhaust(t, source, 1)
		wantBodies(t, receive(t, source, now))
		wantCounts(t, dlq, Counts{Visible: 1})
		time.Sleep(3 * time.Minute)
		wantCounts(t, dlq, Counts{Visible: 1})
		time.Sleep(2 * time.Minute)
		wantCounts(t, dlq, Counts{})
	})
}
