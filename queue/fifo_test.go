package queue

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openmnq/mnq/internal/bubble"
	"github.com/openmnq/mnq/internal/wire"
)

func (b *bundle) fifo(attrs map[string]string) *Queue {
	b.t.Helper()
	all := map[string]string{"FifoQueue": "true", "ContentBasedDeduplication": "true"}
	maps.Copy(all, attrs)
	return b.create("q.fifo", all)
}

// put sends messages written as "group/body" one after the other.
func put(t *testing.T, q *Queue, msgs ...string) []Sent {
	t.Helper()
	var in []Send
	for _, m := range msgs {
		g, body, _ := strings.Cut(m, "/")
		in = append(in, Send{Body: body, GroupID: g, SenderID: "me"})
	}
	var out []Sent
	for _, r := range q.Send(context.Background(), in) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		out = append(out, r.Sent)
	}
	return out
}

func hide(t *testing.T, q *Queue, m Message, d time.Duration) {
	t.Helper()
	if err := q.ChangeVisibility(context.Background(), []Visibility{{m.Handle, d}})[0]; err != nil {
		t.Fatal(err)
	}
}

func wantExpired(t *testing.T, err error) {
	t.Helper()
	wantCode(t, err, "InvalidParameterValue")
	if !strings.HasSuffix(err.Error(), "Reason: The receipt handle has expired.") {
		t.Fatal(err)
	}
}

func TestFIFOGroups(t *testing.T) {
	t.Parallel()
	one := Receive{Max: 1, Visibility: -1}

	t.Run("MessageComesAsItWasSentWithItsSequenceNumber", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.fifo(nil)
			in := Send{
				Body: "héllo", SenderID: "me", TraceHeader: "Root=1", GroupID: "g.*>!\"", DedupID: "d.*>!\\",
				Attributes: []Attribute{{"a", "String.x", []byte("1")}},
			}
			sent := q.Send(t.Context(), []Send{in})[0]
			if sent.Err != nil || len(sent.SequenceNumber) != 20 {
				t.Fatal(sent)
			}
			m := receive(t, q, now)[0]
			if m.ID != sent.MessageID || m.Body != in.Body || m.GroupID != in.GroupID || m.DedupID != in.DedupID || m.SequenceNumber != sent.SequenceNumber ||
				m.ReceiveCount != 1 || m.SenderID != "me" || fmt.Sprint(m.Attributes) != fmt.Sprint(in.Attributes) || !m.FirstReceived.Equal(time.Now()) {
				t.Fatalf("%+v", m)
			}
			wantCounts(t, q, Counts{InFlight: 1})
			remove(t, q, m, m)
			wantCounts(t, q, Counts{})
		})
	})

	t.Run("GroupIsLockedWhileAnyOfItsMessagesIsInFlight", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.fifo(nil)
			put(t, q, "g/1", "g/2", "g/3", "g/4", "h/5")
			got := receive(t, q, Receive{Max: 2, Visibility: -1})
			wantBodies(t, got, "1", "2")
			wantCounts(t, q, Counts{Visible: 3, InFlight: 2})
			wantBodies(t, receive(t, q, now), "5")
			remove(t, q, got[0])
			wantBodies(t, receive(t, q, now))
			remove(t, q, got[1])
			wantBodies(t, receive(t, q, now), "3", "4")
		})
	})

	t.Run("HiddenMessageHoldsBackThoseBehindItAndNotThoseBefore", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.fifo(map[string]string{"VisibilityTimeout": "10"})
			put(t, q, "g/1", "g/2", "g/3")
			got := receive(t, q, now)
			hide(t, q, got[1], time.Minute)
			time.Sleep(11 * time.Second)
			again := receive(t, q, now)
			wantBodies(t, again, "1")
			if again[0].ReceiveCount != 2 {
				t.Fatal(again[0].ReceiveCount)
			}
			wantExpired(t, q.DeleteMessages(t.Context(), []string{got[0].Handle})[0])
			wantExpired(t, q.ChangeVisibility(t.Context(), []Visibility{{got[2].Handle, time.Second}})[0])
			hide(t, q, again[0], 0)
			again = receive(t, q, now)
			wantBodies(t, again, "1")
			remove(t, q, again[0], got[1])
			wantBodies(t, receive(t, q, now), "3")
		})
	})

	t.Run("GroupsAreServedInTurn", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.fifo(nil)
			put(t, q, "g1/1", "g1/2", "g2/3", "g3/4")
			wantBodies(t, receive(t, q, Receive{Max: 3}), "1", "2", "3")
			wantBodies(t, receive(t, q, now), "4", "1", "2", "3")
		})
	})

	t.Run("ExtendedMessageIsStillItsReceivers", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.fifo(map[string]string{"VisibilityTimeout": "10"})
			put(t, q, "g/1", "g/2")
			m := receive(t, q, one)[0]
			hide(t, q, m, time.Minute)
			time.Sleep(30 * time.Second)
			wantBodies(t, receive(t, q, now))
			remove(t, q, m)
			wantBodies(t, receive(t, q, now), "2")
		})
	})

	t.Run("VisibilityIsBoundedByTwelveHoursInAll", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.fifo(nil)
			put(t, q, "g/1")
			m := receive(t, q, Receive{Max: 1, Visibility: MaxVisibility})[0]
			time.Sleep(time.Hour)
			wantCode(t, q.ChangeVisibility(t.Context(), []Visibility{{m.Handle, MaxVisibility}})[0], "InvalidParameterValue")
			hide(t, q, m, 11*time.Hour)
		})
	})

	t.Run("QueueDelayHidesAndKeepsTheOrder", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.fifo(map[string]string{"DelaySeconds": "5"})
			put(t, q, "g/1")
			time.Sleep(3 * time.Second)
			put(t, q, "g/2")
			wantCounts(t, q, Counts{Delayed: 2})
			wantBodies(t, receive(t, q, now))
			start := time.Now()
			wantBodies(t, receive(t, q, Receive{Max: 10, Wait: 20 * time.Second, Visibility: 0}), "1")
			if d := time.Since(start); d != 2*time.Second {
				t.Fatalf("came after %v", d)
			}
			if err := q.SetAttributes(t.Context(), b.ns, map[string]string{"DelaySeconds": "0"}); err != nil {
				t.Fatal(err)
			}
			wantBodies(t, receive(t, q, now), "1", "2")
			delay := time.Second
			wantCode(t, q.Send(t.Context(), []Send{{Body: "x", GroupID: "g", Delay: &delay}})[0].Err, "InvalidParameterValue")
		})
	})

	t.Run("LongPollAnswersWhenSomethingBecomesAvailable", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.fifo(map[string]string{"VisibilityTimeout": "7"})
			other := b.process()
			second, err := other.Queue(b.ns, "q.fifo")
			if err != nil {
				t.Fatal(err)
			}
			expect := func(what string, after time.Duration, cause func()) []Message {
				t.Helper()
				start := time.Now()
				if cause != nil {
					time.AfterFunc(after, cause)
				}
				got := receive(t, q, Receive{Max: 1, Wait: 20 * time.Second, Visibility: -1})
				if d := time.Since(start); len(got) != 1 || d != after {
					t.Fatalf("%s: %q after %v, want one message after %v", what, bodies(got), d, after)
				}
				return got
			}
			expect("send by another process", 3*time.Second, func() { put(t, second, "g/1", "g/2") })
			m := expect("end of the visibility timeout", 7*time.Second, nil)
			expect("visibility set to 0 elsewhere", 2*time.Second, func() { hide(t, second, m[0], 0) })
			m = expect("end of the second timeout", 7*time.Second, nil)
			expect("deletion elsewhere", time.Second, func() { remove(t, second, m[0]) })
			start := time.Now()
			wantBodies(t, receive(t, q, Receive{Max: 1, Wait: 5 * time.Second, Visibility: -1}))
			if d := time.Since(start); d != 5*time.Second {
				t.Fatalf("empty after %v", d)
			}
		})
	})

	t.Run("EachOfManyReceiversGetsOneGroup", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.fifo(nil)
			const n = 300
			got := make(chan string, n)
			for range n {
				go func() {
					ms, err := q.Receive(context.Background(), Receive{Max: 10, Wait: 20 * time.Second, Visibility: -1})
					got <- fmt.Sprint(bodies(ms), err)
				}()
			}
			synctest.Wait()
			want := map[string]bool{}
			for i := range n {
				put(t, q, fmt.Sprintf("g%d/m%d", i, i))
				want[fmt.Sprintf("[m%d] <nil>", i)] = true
				synctest.Wait()
			}
			for range n {
				if g := <-got; !want[g] {
					t.Fatalf("%s, unknown or again", g)
				} else {
					delete(want, g)
				}
			}
		})
	})

	t.Run("VanishedClientAndDeletedQueueEndAReceive", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.fifo(nil)
			long := Receive{Max: 10, Wait: 20 * time.Second, Visibility: -1}
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			if _, err := q.Receive(ctx, long); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			put(t, q, "g/1")
			got := receive(t, q, long)
			wantBodies(t, got, "1")
			done := make(chan struct{})
			time.AfterFunc(time.Second, func() {
				defer close(done)
				if err := q.Delete(context.Background()); err != nil {
					t.Error(err)
				}
			})
			_, err := q.Receive(t.Context(), long)
			wantCode(t, err, "QueueDoesNotExist")
			<-done
			wantCode(t, q.DeleteMessages(t.Context(), []string{got[0].Handle})[0], "QueueDoesNotExist")
			wantCode(t, q.Send(t.Context(), []Send{{Body: "x", GroupID: "g"}})[0].Err, "QueueDoesNotExist")
		})
	})

	t.Run("AttemptIsRepeatedWithTheSameMessages", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.fifo(nil)
			put(t, q, "g/1", "g/2", "h/3")
			in := Receive{Max: 2, Visibility: -1, AttemptID: "a"}
			first := receive(t, q, in)
			time.Sleep(20 * time.Second)
			again := receive(t, q, in)
			if !slices.Equal(bodies(first), bodies(again)) || first[0].Handle != again[0].Handle || again[0].ReceiveCount != 1 {
				t.Fatalf("%+v, then %+v", first, again)
			}
			time.Sleep(20 * time.Second) // past the first visibility timeout, not past the second
			remove(t, q, again[0])
			wantBodies(t, receive(t, q, in), "3")
		})
	})

	t.Run("AttemptIsRepeatedAtAnotherProcessAndAfterARestart", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.fifo(nil)
			b.process()
			put(t, q, "g/1", "g/2", "h/3", "h/4", "i/5")
			in := Receive{Max: 3, Visibility: -1, AttemptID: "a"}
			first := receive(t, q, in)
			wantBodies(t, first, "1", "2", "3")
			same := func(q *Queue) {
				t.Helper()
				again := receive(t, q, in)
				if fmt.Sprint(again) != fmt.Sprint(first) {
					t.Fatalf("%+v, then %+v", first, again)
				}
			}
			time.Sleep(20 * time.Second)
			same(b.queue(1, "q.fifo"))
			time.Sleep(20 * time.Second)
			b.restart()
			q = b.queue(0, "q.fifo")
			same(q)
			wantBodies(t, receive(t, q, Receive{Max: 10, Visibility: -1, AttemptID: "b"}), "5")
			hide(t, q, first[2], 0)
			wantBodies(t, receive(t, q, in), "3", "4")
		})
	})

	t.Run("WhatNobodyGotIsGivenBack", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.fifo(nil)
			put(t, q, "g/1")
			q.fifo.release(taken(t, q, Receive{Max: 1, Visibility: time.Minute}))
			time.Sleep(time.Second)
			wantBodies(t, receive(t, q, now), "1")
		})
	})

	t.Run("WhatARepeatedAttemptGotIsNotGivenBack", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.fifo(nil)
			put(t, q, "g/1", "g/2")
			in := Receive{Max: 1, Visibility: time.Minute, AttemptID: "a"}
			nobodys := taken(t, q, in)
			time.Sleep(time.Millisecond)
			wantBodies(t, receive(t, q, in), "1") // before it is given back
			q.fifo.release(nobodys)
			time.Sleep(time.Second)
			wantBodies(t, receive(t, q, now))
		})
	})

	t.Run("AttemptIsForgottenAfterFiveMinutes", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.fifo(nil)
			put(t, q, "g/1", "h/2")
			in := Receive{Max: 1, Visibility: time.Hour, AttemptID: "a"}
			wantBodies(t, receive(t, q, in), "1")
			time.Sleep(5*time.Minute - time.Second)
			wantBodies(t, receive(t, q, in), "1")
			time.Sleep(time.Second)
			wantBodies(t, receive(t, q, in), "2")
		})
	})

	t.Run("NothingComesWhileTooManyAreInFlight", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			b.services[0].maxInFlight = 5
			q := b.fifo(nil)
			put(t, q, "a/1", "a/2", "a/3", "b/4", "b/5", "c/6", "c/7")
			got := receive(t, q, Receive{Max: 3, Visibility: time.Minute})
			wantBodies(t, got, "1", "2", "3")
			wantBodies(t, receive(t, q, Receive{Max: 10, Visibility: time.Minute}), "4", "5") // as many as may be
			wantBodies(t, receive(t, q, now))                                                 // and no error
			begun := time.Now()
			time.AfterFunc(3*time.Second, func() { remove(t, q, got[0]) })
			wantBodies(t, receive(t, q, Receive{Max: 10, Wait: 20 * time.Second, Visibility: -1}), "6")
			if d := time.Since(begun); d != 3*time.Second {
				t.Errorf("after %v", d)
			}
			wantBodies(t, receive(t, q, now))
		})
	})

	t.Run("TenThousandGroupsAreServedInTurn", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.fifo(nil)
			const groups = 10_000
			for i := 0; i < groups; i += 100 {
				var in []Send
				for k := i; k < i+100; k++ {
					in = append(in, Send{Body: strconv.Itoa(k), GroupID: strconv.Itoa(k), SenderID: "me"}, Send{Body: "again" + strconv.Itoa(k), GroupID: strconv.Itoa(k), SenderID: "me"})
				}
				for _, r := range q.Send(t.Context(), in) {
					if r.Err != nil {
						t.Fatal(r.Err)
					}
				}
			}
			held := receive(t, q, Receive{Max: 1, Visibility: time.Hour})[0] // one group is stuck, and holds nobody up
			seen := map[string]bool{held.GroupID: true}
			for len(seen) < groups {
				for _, m := range receive(t, q, Receive{Max: 2, Visibility: time.Hour}) {
					if m.GroupID == held.GroupID {
						t.Fatalf("%s came while %s is in flight", m.Body, held.Body)
					}
					seen[m.GroupID] = true
				}
			}
			wantCounts(t, q, Counts{Visible: 1, InFlight: 2*groups - 1})
		})
	})

	t.Run("OnlyItsOwnHandlesAreTaken", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.fifo(nil)
			s := b.create("q", nil)
			send(t, s, "a")
			wantCode(t, q.DeleteMessages(t.Context(), []string{receive(t, s, now)[0].Handle})[0], "ReceiptHandleIsInvalid")
			put(t, q, "g/1")
			wantCode(t, s.DeleteMessages(t.Context(), []string{receive(t, q, now)[0].Handle})[0], "ReceiptHandleIsInvalid")
		})
	})

	t.Run("GroupIsNeededUnlessTheSenderIsLetOff", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.fifo(map[string]string{"ContentBasedDeduplication": "false"})
			wantCode(t, q.Send(t.Context(), []Send{{Body: "x", DedupID: "d"}})[0].Err, "MissingParameter")
			wantCode(t, q.Send(t.Context(), []Send{{Body: "x", GroupID: "g"}})[0].Err, "InvalidParameterValue")
			for i := range 2 {
				if err := q.Send(t.Context(), []Send{{Body: "x", DedupID: strconv.Itoa(i), NoGroup: true}})[0].Err; err != nil {
					t.Fatal(err)
				}
			}
			wantBodies(t, receive(t, q, Receive{Max: 1, Visibility: -1}), "x")
			wantBodies(t, receive(t, q, now))
		})
	})
}

func TestFIFOAttributes(t *testing.T) { //nolint:paralleltest // virtual does it
	virtual(t, func(t *testing.T, b *bundle) {
		name := strings.Repeat("x", 75) + ".fifo"
		q := b.create(name, map[string]string{"FifoQueue": "true"})
		b.create("standard", nil)
		get := func(q *Queue) map[string]string {
			got, err := q.Attributes(t.Context(), b.ns, []string{"All"})
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		want := map[string]string{
			"FifoQueue": "true", "ContentBasedDeduplication": "false", "DeduplicationScope": "queue", "FifoThroughputLimit": "perQueue",
		}
		got, none := get(q), get(b.queue(0, "standard"))
		for k, v := range want {
			if got[k] != v || none[k] != "" {
				t.Errorf("%s is %q, and %q on a standard queue", k, got[k], none[k])
			}
		}
		for _, c := range []struct {
			attrs map[string]string
			code  string
		}{
			{map[string]string{"FifoQueue": "true"}, ""},
			{map[string]string{"FifoQueue": "false"}, "InvalidAttributeValue"},
			{map[string]string{"FifoThroughputLimit": "perMessageGroupId"}, "InvalidAttributeValue"},
			{map[string]string{"DeduplicationScope": "messageGroup"}, ""},
			{map[string]string{"FifoThroughputLimit": "perMessageGroupId"}, ""},
			{map[string]string{"DeduplicationScope": "queue"}, "InvalidAttributeValue"},
			{map[string]string{"DeduplicationScope": "all"}, "InvalidAttributeValue"},
			{map[string]string{"ContentBasedDeduplication": "true", "MessageRetentionPeriod": "60"}, ""},
		} {
			if err := q.SetAttributes(t.Context(), b.ns, c.attrs); err != nil || c.code != "" {
				wantCode(t, err, c.code)
			}
		}
		if got := get(q); got["FifoThroughputLimit"] != "perMessageGroupId" || got["ContentBasedDeduplication"] != "true" {
			t.Error(got)
		}
		_, err := b.services[0].Create(t.Context(), b.ns, name, map[string]string{"FifoQueue": "true", "ContentBasedDeduplication": "false"}, nil)
		wantCode(t, err, "QueueNameExists")
	})
}

func TestDeduplication(t *testing.T) {
	t.Parallel()
	sendAs := func(t *testing.T, q *Queue, group, dedup, body string) Sent {
		t.Helper()
		r := q.Send(t.Context(), []Send{{Body: body, GroupID: group, DedupID: dedup}})[0]
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		return r.Sent
	}

	t.Run("LastsFiveMinutesFromTheFirstAcceptedSend", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.fifo(nil)
			first := sendAs(t, q, "g", "d", "1")
			time.Sleep(4 * time.Minute)
			if again := sendAs(t, q, "h", "d", "2"); again != first {
				t.Fatalf("%v, then %v", first, again)
			}
			time.Sleep(59 * time.Second)
			if again := sendAs(t, q, "g", "d", "3"); again != first {
				t.Fatalf("%v, then %v", first, again)
			}
			time.Sleep(time.Second)
			second := sendAs(t, q, "g", "d", "4")
			if second == first || second.SequenceNumber <= first.SequenceNumber {
				t.Fatalf("%v, then %v", first, second)
			}
			got := receive(t, q, now)
			wantBodies(t, got, "1", "4")
			remove(t, q, got[0]) // which leaves the other
			if again := sendAs(t, q, "g", "d", "5"); again != second {
				t.Fatalf("%v, then %v", second, again)
			}
			time.Sleep(time.Minute)
			wantBodies(t, receive(t, q, now), "4")
		})
	})

	t.Run("SurvivesReceiptDeletionAndRestart", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.fifo(nil)
			first := put(t, q, "g/1")[0]
			time.Sleep(time.Minute)
			remove(t, q, receive(t, q, now)[0])
			time.Sleep(time.Minute)
			if again := put(t, q, "g/1")[0]; again != first {
				t.Fatalf("%v, then %v", first, again)
			}
			b.restart()
			q = b.queue(0, "q.fifo")
			time.Sleep(2*time.Minute + 59*time.Second)
			if again := put(t, q, "other/1")[0]; again != first {
				t.Fatalf("%v, then %v", first, again)
			}
			wantBodies(t, receive(t, q, now))
			time.Sleep(2 * time.Second)
			if again := put(t, q, "g/1")[0]; again == first {
				t.Fatal("still a duplicate")
			}
			wantBodies(t, receive(t, q, now), "1")
		})
	})

	t.Run("SurvivesAPurge", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.fifo(nil)
			other := b.process()
			second, _ := other.Queue(b.ns, "q.fifo")
			put(t, q, "g/old")
			time.Sleep(10 * time.Minute)
			first := put(t, q, "g/1")[0]
			receive(t, second, Receive{Max: 1, Visibility: -1})
			if err := q.Purge(t.Context()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			for _, q := range []*Queue{q, second} {
				wantCounts(t, q, Counts{})
				if again := put(t, q, "g/1")[0]; again != first {
					t.Fatalf("%v, then %v", first, again)
				}
			}
			put(t, second, "g/new")
			wantBodies(t, receive(t, q, now), "new")
			b.restart()
			wantCounts(t, b.queue(0, "q.fifo"), Counts{InFlight: 1})
		})
	})

	t.Run("ScopeGroupKeepsGroupsApart", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.fifo(map[string]string{"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"})
			a, b1 := sendAs(t, q, "a", "d", "1"), sendAs(t, q, "b", "d", "2")
			if a == b1 || sendAs(t, q, "a", "d", "3") != a || sendAs(t, q, "b", "d", "4") != b1 {
				t.Fatal(a, b1)
			}
			wantBodies(t, receive(t, q, now), "1", "2")
		})
	})

	t.Run("HoldsInABatchAndKeepsItsOrder", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.fifo(nil)
			put(t, q, "g/2")
			remove(t, q, receive(t, q, now)...)
			time.Sleep(6 * time.Minute)
			sent := put(t, q, "g/1", "g/2", "h/9", "g/1", "g/3")
			if sent[0] != sent[3] {
				t.Fatal(sent)
			}
			wantBodies(t, receive(t, q, now), "1", "2", "3", "9")
		})
	})

	t.Run("HoldsAmongSendsThatShareABatch", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			b.change = func(c *Config) { c.GroupCommit = true }
			b.restart()
			q := b.fifo(nil)
			q.commits = wire.NewCommitter(true) // batches whenever it can
			for i := range 20 {
				var wg sync.WaitGroup
				var got [32]Sent
				for k := range got {
					wg.Go(func() { got[k] = put(t, q, fmt.Sprintf("g%d/%d", k, 100*i+k/2))[0] })
				}
				wg.Wait()
				for k := range got {
					if got[k] != got[k/2*2] {
						t.Fatal(got)
					}
				}
			}
			wantCounts(t, q, Counts{Visible: 20 * 16})
		})
	})

	t.Run("OfTwoProcessesSendingTheSameOneIsAccepted", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			b.fifo(nil)
			b.process()
			synctest.Wait()
			for i := range 20 {
				var wg sync.WaitGroup
				var got [8]Sent
				for k := range got {
					wg.Go(func() { got[k] = put(t, b.queue(k%2, "q.fifo"), fmt.Sprintf("g%d/%d", k%3, i))[0] })
				}
				wg.Wait()
				for _, s := range got {
					if s != got[0] {
						t.Fatal(got)
					}
				}
			}
			wantCounts(t, b.queue(0, "q.fifo"), Counts{Visible: 20})
		})
	})
}

// Not parallel: the server's clock for message ages is one for the process.
func TestFIFORetention(t *testing.T) { //nolint:paralleltest // see above
	alone(t, func(t *testing.T, b *bundle) {
		bubble.Expire(t)
		q := b.fifo(map[string]string{"MessageRetentionPeriod": "60", "VisibilityTimeout": "0"})
		first := put(t, q, "g/1")[0]
		time.Sleep(50 * time.Second)
		put(t, q, "g/2")
		wantBodies(t, receive(t, q, now), "1", "2")
		time.Sleep(10 * time.Second)
		wantCounts(t, q, Counts{Visible: 1})
		wantBodies(t, receive(t, q, now), "2")
		time.Sleep(3 * time.Minute)
		if again := put(t, q, "g/1")[0]; again != first {
			t.Fatalf("%v, then %v: the retention must not shorten deduplication", first, again)
		}
		wantBodies(t, receive(t, q, now))
		time.Sleep(2 * time.Minute)
		if again := put(t, q, "g/1")[0]; again == first {
			t.Fatal("still a duplicate")
		}
		remove(t, q, receive(t, q, Receive{Max: 1, Visibility: time.Minute})...)
		time.Sleep(30 * time.Minute)
		w, _ := b.services[0].connection(t.Context(), q.space)
		s, err := w.js.Stream(t.Context(), q.record.Load().stream())
		if err != nil || s.CachedInfo().State.Msgs != 0 {
			t.Fatalf("%+v, %v: nothing should be left", s.CachedInfo().State, err)
		}
	})
}

func TestFIFOProcesses(t *testing.T) {
	t.Parallel()

	t.Run("RestartKeepsLeasesCountsAndOrder", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.fifo(map[string]string{"VisibilityTimeout": "600"})
			put(t, q, "g/1", "g/2", "h/3")
			first := time.Now()
			got := receive(t, q, Receive{Max: 1, Visibility: -1})
			time.Sleep(time.Minute)
			b.restart()
			q = b.queue(0, "q.fifo")
			wantCounts(t, q, Counts{Visible: 2, InFlight: 1})
			wantBodies(t, receive(t, q, now), "3")
			time.Sleep(9*time.Minute + clockSlack)
			again := receive(t, q, now)
			wantBodies(t, again, "1", "2")
			if again[0].ReceiveCount != 2 || !again[0].FirstReceived.Equal(first) || again[1].ReceiveCount != 1 {
				t.Fatalf("%+v", again)
			}
			wantExpired(t, q.DeleteMessages(t.Context(), []string{got[0].Handle})[0])
			remove(t, q, again...)
			b.restart()
			wantCounts(t, b.queue(0, "q.fifo"), Counts{InFlight: 1})
		})
	})

	t.Run("HandleOfOneProcessWorksAtTheOther", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.fifo(nil)
			b.process()
			put(t, q, "g/1", "g/2")
			m := receive(t, q, Receive{Max: 1, Visibility: -1})[0]
			other := b.queue(1, "q.fifo")
			hide(t, other, m, time.Minute)
			remove(t, other, m)
			remove(t, q, m)
			wantBodies(t, receive(t, other, now), "2")
			wantBodies(t, receive(t, q, now))
		})
	})

	t.Run("PausedProcessNeitherOverlapsNorDeletes", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.fifo(map[string]string{"VisibilityTimeout": "10"})
			b.process()
			put(t, q, "g/1", "g/2")
			m := receive(t, q, Receive{Max: 1, Visibility: -1})[0]
			w, _ := q.svc.connection(t.Context(), q.space)
			fw, err := q.fifo.index(t.Context(), w)
			if err != nil {
				t.Fatal(err)
			}
			r, _ := q.svc.sealer.openFIFO(q.id, m.Handle)
			_, l, err := q.fifo.judge(t.Context(), fw, r, time.Now()) // it looks, and is paused
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(12 * time.Second)
			other := receive(t, b.queue(1, "q.fifo"), Receive{Max: 1, Visibility: -1})
			wantBodies(t, other, "1")
			stone := q.record.Load().tombstone(r, time.Now())
			maps.Copy(stone.Header, compareAndSet(q.record.Load().leaseSubject(r.group), l.seq))
			if _, err := q.written("test", w.Exchange(t.Context(), []request{stone}, answerTimeout)[0]); !errors.Is(err, errRefused) {
				t.Fatalf("its delete goes through: %v", err)
			}
			wantExpired(t, q.DeleteMessages(t.Context(), []string{m.Handle})[0])
			remove(t, b.queue(1, "q.fifo"), other...)
		})
	})

	t.Run("LeasesOfEmptyGroupsAreForgotten", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.fifo(nil)
			for i := range 50 {
				put(t, q, fmt.Sprintf("g%d/%d", i, i))
			}
			for range 5 {
				remove(t, q, receive(t, q, now)...)
			}
			time.Sleep(3 * time.Minute)
			w, _ := q.svc.connection(t.Context(), q.space)
			s, err := w.js.Stream(t.Context(), q.record.Load().stream())
			if err != nil || s.CachedInfo().State.Msgs != 50 {
				t.Fatalf("%+v, %v: want the 50 tombstones", s.CachedInfo().State, err)
			}
			put(t, q, "g0/again")
			wantBodies(t, receive(t, q, now), "again")
		})
	})
}

func TestFullNamespaceLetsFIFOQueuesBeEmptied(t *testing.T) { //nolint:paralleltest // virtual does it
	virtual(t, func(t *testing.T, b *bundle) {
		b.account.Limits.Storage = 1 << 20
		if err := b.node.PushAccount(t.Context(), b.account); err != nil {
			t.Fatal(err)
		}
		q, standard := b.fifo(nil), b.create("q", nil)
		var full error
		n := 0
		for ; full == nil && n < 2000; n++ {
			full = q.Send(t.Context(), []Send{{Body: fmt.Sprint(n, strings.Repeat("x", 10<<10)), GroupID: strconv.Itoa(n)}})[0].Err
		}
		wantCode(t, full, "OverLimit")
		wantCode(t, standard.Send(t.Context(), []Send{{Body: strings.Repeat("x", 10<<10)}})[0].Err, "OverLimit")
		remove(t, q, receive(t, q, now)...)
		put(t, q, "g/"+strings.Repeat("y", 10<<10)) // at once
		for n -= 10; n > 0; n -= 10 {
			remove(t, q, receive(t, q, now)...)
		}
		wantCounts(t, q, Counts{})
	})
}

func FuzzFIFOHandle(f *testing.F) {
	s, err := newSealer([]byte(strings.Repeat("k", 32)))
	if err != nil {
		f.Fatal(err)
	}
	good := s.sealFIFO("queue", fifoReceipt{seq: 7, sent: time.Unix(1, 2), group: hashOf("g")})
	f.Add(good)
	f.Add(s.sealFIFO("other", fifoReceipt{}))
	f.Add("")
	f.Fuzz(func(t *testing.T, handle string) {
		r, err := s.openFIFO("queue", handle)
		if err != nil {
			wantCode(t, err, "ReceiptHandleIsInvalid")
			return
		}
		if s.sealFIFO("queue", r) != handle {
			t.Fatalf("%q opens as %+v, which has another handle", handle, r)
		}
	})
}
