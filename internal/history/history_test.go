package history

import (
	"fmt"
	"testing"
	"time"
)

// TestCheck shows the checker histories that break a promise.
func TestCheck(t *testing.T) {
	t.Parallel()
	message := func(n int) Message {
		return Message{Group: "g", N: n, ID: fmt.Sprint("id", n), Sequence: fmt.Sprint("seq", n)}
	}
	const refused, unknown = Refused, Unknown
	type step struct {
		kind Kind
		at   int64 // seconds
		out  Outcome
		ns   []int
	}
	for _, c := range []struct {
		name  string
		steps []step
		wrong int
	}{
		{"Good", []step{
			{Send, 0, OK, []int{1}},
			{Send, 0, OK, []int{2}},
			{Receive, 1, OK, []int{1, 2}},
			{Delete, 2, OK, []int{1}},
			{Delete, 2, OK, []int{2}},
		}, 0},
		{"Lost", []step{{Send, 0, OK, []int{1}}}, 1},
		{"OutOfOrderInOneReceive", []step{
			{Send, 0, OK, []int{1}}, {Send, 0, OK, []int{2}}, {Receive, 1, OK, []int{2, 1}},
		}, 1},
		{"AheadOfOneThatIsThere", []step{
			{Send, 0, OK, []int{1}}, {Send, 0, OK, []int{2}}, {Receive, 1, OK, []int{2}}, {Receive, 9, OK, []int{1}},
		}, 1},
		{"AheadOfOneWhoseDeletionWasRefused", []step{
			{Send, 0, OK, []int{1}},
			{Send, 0, OK, []int{2}},
			{Receive, 1, OK, []int{1}},
			{Delete, 2, refused, []int{1}},
			{Receive, 9, OK, []int{2}},
		}, 1},
		{"BehindOneThatMayBeDeleted", []step{
			{Send, 0, OK, []int{1}},
			{Send, 0, OK, []int{2}},
			{Receive, 1, OK, []int{1}},
			{Delete, 2, unknown, []int{1}},
			{Receive, 9, OK, []int{2}},
			{Receive, 20, OK, []int{1}},
		}, 0},
		{"BackAfterItsDeletion", []step{
			{Send, 0, OK, []int{1}}, {Receive, 1, OK, []int{1}}, {Delete, 2, OK, []int{1}}, {Receive, 9, OK, []int{1}},
		}, 1},
		{"HeldTwice", []step{
			{Send, 0, OK, []int{1}}, {Receive, 1, OK, []int{1}}, {Receive, 3, OK, []int{1}},
		}, 1},
		{"BehindOneThatIsHeld", []step{
			{Send, 0, OK, []int{1}}, {Send, 0, OK, []int{2}}, {Receive, 1, OK, []int{1}}, {Receive, 3, OK, []int{2}},
		}, 2}, // held, and still there
		{"BeforeOneThatIsHeld", []step{
			{Send, 0, OK, []int{1}},
			{Send, 0, OK, []int{2}},
			{Receive, 1, OK, []int{1, 2}},
			{Release, 2, OK, []int{1}},
			{Receive, 3, OK, []int{1}},
		}, 0},
		{"AfterItsTime", []step{
			{Send, 0, OK, []int{1}}, {Receive, 1, OK, []int{1}}, {Receive, 7, OK, []int{1}},
		}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var h History
			for i, s := range c.steps {
				one := &Call{Kind: s.kind, begin: 2 * i, end: 2*i + 1, t0: time.Unix(s.at, 0), outcome: s.out}
				one.t1 = one.t0
				for _, n := range s.ns {
					one.msgs = append(one.msgs, message(n))
				}
				h.calls = append(h.calls, one)
			}
			if wrong := h.Check(5 * time.Second); len(wrong) != c.wrong {
				t.Errorf("%d found, want %d: %q", len(wrong), c.wrong, wrong)
			}
		})
	}
	twice := History{calls: []*Call{
		{Kind: Send, begin: 1, end: 2, msgs: []Message{message(1)}},
		{Kind: Receive, begin: 3, end: 4, msgs: []Message{{Group: "g", N: 1, ID: "other", Sequence: "seq9"}}},
	}}
	if wrong := twice.Check(5 * time.Second); len(wrong) != 1 {
		t.Errorf("one message under two ids: %q", wrong)
	}
}

// TestCheckMoves does so for messages that move from a to b.
func TestCheckMoves(t *testing.T) {
	t.Parallel()
	type step struct {
		queue string
		kind  Kind
		at    int64 // seconds
		ns    []int
	}
	for _, c := range []struct {
		name    string
		circles bool
		wrong   int
		steps   []step
	}{
		{"Good", false, 0, []step{
			{"a", Send, 0, []int{1}},
			{"a", Send, 0, []int{2}},
			{"a", Receive, 1, []int{1}},
			{"a", Receive, 9, []int{2}},
			{"b", Receive, 10, []int{1}},
			{"b", Delete, 11, []int{1}},
			{"b", Receive, 20, []int{2}},
			{"b", Delete, 21, []int{2}},
		}},
		{"Back", false, 1, []step{{"a", Send, 0, []int{1}}, {"b", Receive, 1, []int{1}}, {"a", Receive, 9, []int{1}}, {"a", Delete, 10, []int{1}}}},
		{"BackInCircles", true, 0, []step{{"a", Send, 0, []int{1}}, {"b", Receive, 1, []int{1}}, {"a", Receive, 9, []int{1}}, {"a", Delete, 10, []int{1}}}},
		{"Two", true, 1, []step{{"a", Send, 0, []int{1}}, {"b", Receive, 1, []int{1}}, {"a", Receive, 2, []int{1}}, {"a", Delete, 10, []int{1}}}},
		{"DeletedAndThere", true, 1, []step{
			{"a", Send, 0, []int{1}}, {"b", Receive, 1, []int{1}}, {"b", Delete, 2, []int{1}}, {"a", Receive, 9, []int{1}},
		}},
		{"Passed", false, 1, []step{
			{"a", Send, 0, []int{1}},
			{"a", Send, 0, []int{2}},
			{"b", Receive, 1, []int{2}},
			{"b", Delete, 2, []int{2}},
			{"b", Receive, 9, []int{1}},
			{"b", Delete, 9, []int{1}},
		}},
		{"Lost", true, 1, []step{{"a", Send, 0, []int{1}}}},
		{"LostOnTheWay", true, 1, []step{{"a", Send, 0, []int{1}}, {"a", Receive, 0, []int{1}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var h History
			for i, s := range c.steps {
				one := &Call{Kind: s.kind, Queue: s.queue, begin: 2 * i, end: 2*i + 1, t0: time.Unix(s.at, 0), t1: time.Unix(s.at, 0)}
				for _, n := range s.ns {
					one.msgs = append(one.msgs, Message{Group: "g", N: n})
				}
				h.calls = append(h.calls, one)
			}
			if wrong := h.CheckMoves(5*time.Second, []string{"a", "b"}, c.circles); len(wrong) != c.wrong {
				t.Errorf("%d found, want %d: %q", len(wrong), c.wrong, wrong)
			}
		})
	}
}
