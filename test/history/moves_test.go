package history

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestCheckMoves shows histories of messages that move from a to b.
func TestCheckMoves(t *testing.T) {
	t.Parallel()
	type step struct {
		queue string
		kind  Kind
		at    time.Duration
		body  string
	}
	for name, c := range map[string]struct {
		circles bool
		want    string // "" or a part of the only violation
		steps   []step
	}{
		"Good": {false, "", []step{
			{"a", Send, 0, "1"},
			{"a", Send, 1, "2"},
			{"a", Receive, 1 * s, "1"},
			{"a", Receive, 9 * s, "2"},
			{"b", Receive, 10 * s, "1"},
			{"b", Delete, 11 * s, "1"},
			{"b", Receive, 20 * s, "2"},
			{"b", Delete, 21 * s, "2"},
		}},
		"Back": {false, "1 went back", []step{
			{"a", Send, 0, "1"}, {"b", Receive, 1 * s, "1"}, {"a", Receive, 9 * s, "1"}, {"a", Delete, 10 * s, "1"},
		}},
		"BackInCircles": {true, "", []step{
			{"a", Send, 0, "1"}, {"b", Receive, 1 * s, "1"}, {"a", Receive, 9 * s, "1"}, {"a", Delete, 10 * s, "1"},
		}},
		"InTwoQueues": {true, "1 is in two hands", []step{
			{"a", Send, 0, "1"}, {"b", Receive, 1 * s, "1"}, {"a", Receive, 2 * s, "1"}, {"a", Delete, 10 * s, "1"},
		}},
		"DeletedAndThere": {true, "1 is back after its deletion", []step{
			{"a", Send, 0, "1"}, {"b", Receive, 1 * s, "1"}, {"b", Delete, 2 * s, "1"}, {"a", Receive, 9 * s, "1"},
		}},
		"Passed": {false, "2 passed 1", []step{
			{"a", Send, 0, "1"},
			{"a", Send, 1, "2"},
			{"b", Receive, 1 * s, "2"},
			{"b", Delete, 2 * s, "2"},
			{"b", Receive, 9 * s, "1"},
			{"b", Delete, 10 * s, "1"},
		}},
		"Lost":         {true, "1 is lost", []step{{"a", Send, 0, "1"}}},
		"LostOnTheWay": {true, "1 got lost after", []step{{"a", Send, 0, "1"}, {"a", Receive, 1 * s, "1"}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := New()
			for i, step := range c.steps {
				h.Add(Event{
					Kind: step.kind, Queue: step.queue, Body: step.body, Group: "g", Call: i, Visibility: 5 * s,
					Begin: step.at, End: step.at, OK: true,
				})
			}
			wrong := h.CheckMoves([]string{"a", "b"}, c.circles)
			if c.want == "" && len(wrong) > 0 || c.want != "" && (len(wrong) != 1 || !slices.ContainsFunc(wrong, func(w string) bool { return strings.HasPrefix(w, c.want) })) {
				t.Errorf("got %q, want %q", wrong, c.want)
			}
		})
	}
}
