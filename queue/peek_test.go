package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openmnq/mnq"
)

func peek(t *testing.T, q *Queue, in Peek) PeekResult {
	t.Helper()
	if in.Max == 0 {
		in.Max = MaxPeek
	}
	if in.Scan == 0 {
		in.Scan = MaxPeekScan
	}
	r, err := q.Peek(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func peekBodies(r PeekResult) []string {
	out := []string{}
	for _, m := range r.Messages {
		out = append(out, m.Body)
	}
	return out
}

func wantPeek(t *testing.T, r PeekResult, want ...string) {
	t.Helper()
	if got := peekBodies(r); !slices.Equal(got, want) {
		t.Errorf("peeked %v, want %v", got, want)
	}
}

// states writes what is known of each message: body, state, receive count.
func states(r PeekResult) []string {
	out := []string{}
	for _, m := range r.Messages {
		out = append(out, fmt.Sprintf("%s %s %d", m.Body, m.State, m.ReceiveCount))
	}
	return out
}

func wantStates(t *testing.T, r PeekResult, want ...string) {
	t.Helper()
	if got := states(r); !slices.Equal(got, want) {
		t.Errorf("peeked %v, want %v", got, want)
	}
}

func TestPeek(t *testing.T) {
	t.Parallel()

	t.Run("ChangesNothing", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", nil)
			wantPeek(t, peek(t, q, Peek{}))
			wantPeek(t, peek(t, q, Peek{Newest: true}))
			send(t, q, "1", "2", "3")
			for range 3 {
				wantStates(t, peek(t, q, Peek{}), "1 visible 0", "2 visible 0", "3 visible 0")
				wantPeek(t, peek(t, q, Peek{Newest: true}), "3", "2", "1")
			}
			wantCounts(t, q, Counts{Visible: 3})
			got := receive(t, q, now)
			wantBodies(t, got, "1", "2", "3")
			for _, m := range got {
				if m.ReceiveCount != 1 {
					t.Errorf("%s was received %d times", m.Body, m.ReceiveCount)
				}
			}
		})
	})
	t.Run("ShowsTheWholeMessage", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", nil)
			in := Send{
				Body: "b", Attributes: []Attribute{{"a", "String", []byte("v")}}, TraceHeader: "t", GroupID: "g", SenderID: "s",
			}
			if r := q.Send(t.Context(), []Send{in})[0]; r.Err != nil {
				t.Fatal(r.Err)
			}
			m := peek(t, q, Peek{}).Messages[0]
			if m.Handle != "" || m.ID == "" || m.BodyMD5 == "" || m.TraceHeader != "t" || m.GroupID != "g" || m.SenderID != "s" ||
				len(m.Attributes) != 1 || time.Since(m.SentAt) > time.Second || time.Since(m.StoredAt) > time.Second {
				t.Errorf("%+v", m)
			}
			one, err := q.PeekOne(t.Context(), m.Sequence)
			if err != nil || one.ID != m.ID {
				t.Errorf("%+v, %v", one, err)
			}
			_, err = q.PeekOne(t.Context(), m.Sequence+1)
			wantCode(t, err, "ResourceNotFoundException")
		})
	})
	t.Run("TellsWhatBecameOfMessages", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", nil)
			b.process()
			other := b.queue(1, "q")
			send(t, q, "1", "2", "3")
			delay := time.Minute
			if r := q.Send(t.Context(), []Send{{Body: "later", Delay: &delay}})[0]; r.Err != nil {
				t.Fatal(r.Err)
			}
			receive(t, q, Receive{Max: 1, Visibility: 20 * time.Second})
			receive(t, other, Receive{Max: 1, Visibility: 0})
			receive(t, other, Receive{Max: 1, Visibility: 40 * time.Second})
			time.Sleep(time.Second)
			for _, q := range []*Queue{q, other} {
				r := peek(t, q, Peek{})
				wantStates(t, r, "1 in_flight 1", "2 in_flight 2", "3 visible 0", "later delayed 0")
				if d := time.Until(r.Messages[3].Until); d < 50*time.Second || d > time.Minute {
					t.Errorf("due in %v", d)
				}
				if d := time.Until(r.Messages[0].Until); d < 15*time.Second || d > 20*time.Second {
					t.Errorf("visible in %v", d)
				}
			}
			b.restart()
			q = b.queue(0, "q")
			wantStates(t, peek(t, q, Peek{}), "1 in_flight -1", "2 in_flight -1", "3 visible 0", "later delayed 0")
			time.Sleep(time.Minute)
			wantStates(t, peek(t, q, Peek{}), "1 visible -1", "2 visible -1", "3 visible 0", "later visible 0")
		})
	})
	t.Run("CountsWhatADeadLetterWentThrough", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q, dlq := b.dead(2, nil)
			send(t, q, "1")
			for range 3 {
				receive(t, q, Receive{Max: 1, Visibility: 0})
			}
			wantPeek(t, peek(t, q, Peek{}))
			r := peek(t, dlq, Peek{})
			wantStates(t, r, "1 visible 2")
			if r.Messages[0].FirstReceived.IsZero() || r.Messages[0].DeadLetterSource == "" {
				t.Errorf("%+v", r.Messages[0])
			}
		})
	})
	t.Run("GoesOnWhereItEnded", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", nil)
			var want []string
			for i := range 700 {
				send(t, q, strconv.Itoa(i))
				// A long gap, then short ones.
				if gone := i < 500 && i > 20 || i%3 == 0; gone {
					m := receive(t, q, Receive{Max: 1, Visibility: time.Hour})
					for len(m) == 0 || m[0].Body != strconv.Itoa(i) {
						m = receive(t, q, Receive{Max: 1, Visibility: time.Hour})
					}
					remove(t, q, m[0])
				} else {
					want = append(want, strconv.Itoa(i))
				}
			}
			for _, in := range []Peek{{Max: 7}, {Max: 100}, {Max: 100, Scan: 3}, {Max: 3, Newest: true}, {Max: 100, Newest: true}, {Max: 100, Scan: 5, Newest: true}} {
				var got []string
				calls := 0
				for r := (PeekResult{Next: 0}); calls == 0 || r.Next > 0; calls++ {
					in.From = r.Next
					r = peek(t, q, in)
					got = append(got, peekBodies(r)...)
				}
				if in.Newest {
					slices.Reverse(got)
				}
				if !slices.Equal(got, want) {
					t.Errorf("%+v: %d of %d messages in %d calls", in, len(got), len(want), calls)
				}
			}
		})
	})
	t.Run("BeginsAtATime", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", nil)
			var at []time.Time
			for i := range 4 {
				at = append(at, time.Now())
				send(t, q, strconv.Itoa(i))
				time.Sleep(time.Minute)
			}
			wantPeek(t, peek(t, q, Peek{At: at[2]}), "2", "3")
			wantPeek(t, peek(t, q, Peek{At: at[2], Newest: true}), "1", "0")
			wantPeek(t, peek(t, q, Peek{At: time.Now()}))
			wantPeek(t, peek(t, q, Peek{At: time.Now(), Newest: true, Max: 1}), "3")
			wantPeek(t, peek(t, q, Peek{At: at[0].Add(-time.Hour)}), "0", "1", "2", "3")
			wantPeek(t, peek(t, q, Peek{At: at[0].Add(-time.Hour), Newest: true}))
		})
	})
	t.Run("FindsByTextAndAttribute", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", nil)
			send(t, q, "apple", "pear", "pineapple")
			m := Send{Body: "plum", Attributes: []Attribute{{"colour", "String", []byte("blue apple")}, {"raw", "Binary", []byte("pear")}}}
			if r := q.Send(t.Context(), []Send{m})[0]; r.Err != nil {
				t.Fatal(r.Err)
			}
			wantPeek(t, peek(t, q, Peek{Match: Match{Text: "apple"}}), "apple", "pineapple", "plum")
			wantPeek(t, peek(t, q, Peek{Match: Match{Text: "pear"}, Newest: true}), "pear")
			wantPeek(t, peek(t, q, Peek{Match: Match{Attribute: "colour"}}), "plum")
			wantPeek(t, peek(t, q, Peek{Match: Match{Attribute: "colour", Value: "red"}}))
			r := peek(t, q, Peek{Match: Match{Text: "plum"}, Scan: 2})
			if len(r.Messages) != 0 || r.Scanned != 2 || r.Next != 3 {
				t.Errorf("%+v", r)
			}
		})
	})
	t.Run("BoundsWhatItReturns", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", nil)
			big := string(make([]byte, 250<<10))
			for range 20 {
				send(t, q, big)
			}
			for _, newest := range []bool{false, true} {
				r := peek(t, q, Peek{Newest: newest})
				if len(r.Messages) < 16 || len(r.Messages) > 17 || r.Next == 0 {
					t.Errorf("%d messages, next %d", len(r.Messages), r.Next)
				}
				rest := peek(t, q, Peek{Newest: newest, From: r.Next})
				if len(r.Messages)+len(rest.Messages) != 20 || rest.Next != 0 {
					t.Errorf("%d and %d messages, next %d", len(r.Messages), len(rest.Messages), rest.Next)
				}
			}
			_, err := q.Peek(t.Context(), Peek{Max: 101, Scan: 1})
			wantCode(t, err, "InvalidParameterValue")
			_, err = q.Peek(t.Context(), Peek{Max: 1})
			wantCode(t, err, "InvalidParameterValue")
			if err := q.Delete(t.Context()); err != nil {
				t.Fatal(err)
			}
			_, err = q.Peek(t.Context(), Peek{Max: 1, Scan: 1})
			wantCode(t, err, "QueueDoesNotExist")
		})
	})
	t.Run("LooksIntoFIFOQueues", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.fifo(nil)
			b.process()
			for i, g := range []string{"a", "a", "b", "b"} {
				m := Send{Body: g + strconv.Itoa(i), GroupID: g, DedupID: strconv.Itoa(i)}
				if r := q.Send(t.Context(), []Send{m})[0]; r.Err != nil {
					t.Fatal(r.Err)
				}
			}
			m := receive(t, q, Receive{Max: 1, Visibility: time.Minute})
			for _, q := range []*Queue{q, b.queue(1, q.Name())} {
				wantStates(t, peek(t, q, Peek{}), "a0 in_flight 1", "a1 visible 0", "b2 visible 0", "b3 visible 0")
				wantPeek(t, peek(t, q, Peek{Newest: true, Max: 3}), "b3", "b2", "a1")
			}
			if got := peek(t, q, Peek{Max: 1}).Messages[0]; got.SequenceNumber == "" || got.GroupID != "a" || got.DedupID != "0" || got.FirstReceived.IsZero() {
				t.Errorf("%+v", got)
			}
			remove(t, q, m[0])
			wantPeek(t, peek(t, q, Peek{}), "a1", "b2", "b3")
			if err := q.Purge(t.Context()); err != nil {
				t.Fatal(err)
			}
			wantPeek(t, peek(t, q, Peek{}))
		})
	})
}

func TestTail(t *testing.T) {
	t.Parallel()

	// follow returns what a Tail of the queue has shown, once stop has been called.
	follow := func(t *testing.T, q *Queue, match Match) (stop func() []string) {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		var got []string
		ended, begun := make(chan error, 1), make(chan struct{})
		go func() {
			ended <- q.Tail(ctx, Tail{Match: match, Begun: func() { close(begun) }, Show: func(m Peeked, missed int) error {
				got = append(got, fmt.Sprintf("%s %s", m.Body, m.State))
				if missed > 0 {
					return errors.New("missed some")
				}
				return nil
			}})
		}()
		<-begun
		return func() []string {
			time.Sleep(2 * time.Second)
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			return got
		}
	}

	t.Run("ShowsWhatIsSentAndReceivesNothing", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", nil)
			b.process()
			send(t, q, "before")
			all, some := follow(t, b.queue(1, "q"), Match{}), follow(t, q, Match{Text: "2"})
			send(t, q, "1", "2")
			remove(t, q, receive(t, q, now)...)
			delay := time.Hour
			if r := q.Send(t.Context(), []Send{{Body: "3", Delay: &delay}})[0]; r.Err != nil {
				t.Fatal(r.Err)
			}
			if got, want := all(), []string{"1 visible", "2 visible", "3 delayed"}; !slices.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
			if got, want := some(), []string{"2 visible"}; !slices.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
			wantCounts(t, q, Counts{Delayed: 1})
		})
	})
	t.Run("LeavesOutDuplicates", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.fifo(nil)
			stop := follow(t, q, Match{})
			put(t, q, "g/1", "g/2", "g/1", "h/2", "h/3")
			remove(t, q, receive(t, q, Receive{Max: 1, Visibility: time.Minute})...)
			if got, want := stop(), []string{"1 visible", "2 visible", "3 visible"}; !slices.Equal(got, want) {
				t.Errorf("%v, want %v", got, want)
			}
		})
	})
	t.Run("EndsWithTheQueueAndIsBounded", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", nil)
			ended := make(chan error, MaxTails)
			for range MaxTails {
				go func() { ended <- q.Tail(t.Context(), Tail{}) }()
			}
			synctest.Wait()
			if err := q.Tail(t.Context(), Tail{}); mnq.KindOf(err) != mnq.Throttled {
				t.Errorf("one too many: %v", err)
			}
			if err := q.Delete(t.Context()); err != nil {
				t.Fatal(err)
			}
			for range MaxTails {
				wantCode(t, <-ended, "QueueDoesNotExist")
			}
		})
	})
}
