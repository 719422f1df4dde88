package history

import (
	"cmp"
	"slices"
	"time"

	"github.com/anishathalye/porcupine"
)

// never is when a call returns whose effect may still come.
const never = 1<<63 - 1

// Linearizable reports which groups of a FIFO queue did not behave as one list that every
// call changed at one moment while it was under way: sends add to its end, each once;
// receives take what is at its head unless it is hidden, and hide it; deletions remove.
// What has not been decided within the time is in undecided.
func (h *History) Linearizable(within time.Duration) (wrong, undecided []string) {
	groups := map[string]*groupCalls{}
	for _, e := range h.sorted() {
		if e.Group == "" || e.Refused || e.Body == "" {
			continue
		}
		if groups[e.Group] == nil {
			groups[e.Group] = &groupCalls{places: map[string]int{}, sends: map[int]*porcupine.Operation{}, receives: map[int]*porcupine.Operation{}}
		}
		groups[e.Group].add(e)
	}
	until := time.Now().Add(within)
	for name, g := range groups {
		switch porcupine.CheckOperationsTimeout(groupModel, g.operations(), max(time.Millisecond, time.Until(until))) {
		case porcupine.Illegal:
			wrong = append(wrong, name)
		case porcupine.Unknown:
			undecided = append(undecided, name)
		case porcupine.Ok:
		}
	}
	slices.Sort(wrong)
	slices.Sort(undecided)
	return wrong, undecided
}

// groupCalls are the calls that were about a group.
type groupCalls struct {
	places   map[string]int // of the bodies in the order in which they were first sent
	sends    map[int]*porcupine.Operation
	receives map[int]*porcupine.Operation // by call
	others   []porcupine.Operation
}

// groupCall is what a call did to messages, which are numbered as in places.
type groupCall struct {
	kind Kind
	got  []int
	end  time.Duration // of a receive: what it got was not hidden any more by then
	hide time.Duration // and is until then
}

func (g *groupCalls) add(e Event) {
	n, known := g.places[e.Body]
	if !known {
		n = len(g.places)
		g.places[e.Body] = n
	}
	end := int64(e.End)
	if !e.OK {
		end = never
	}
	switch e.Kind {
	case Send:
		// Several attempts are one call: by deduplication only the first has an effect.
		op := g.sends[n]
		if op == nil {
			op = &porcupine.Operation{Input: groupCall{kind: Send, got: []int{n}}, Call: int64(e.Begin), Return: never}
			g.sends[n] = op
		}
		op.Return = min(op.Return, end)
	case Receive:
		op := g.receives[e.Call]
		if op == nil {
			op = &porcupine.Operation{Call: int64(e.Begin), Return: int64(e.End), Input: groupCall{kind: Receive, end: e.End, hide: e.hidden()}}
			g.receives[e.Call] = op
		}
		in, _ := op.Input.(groupCall)
		in.got = append(in.got, n)
		op.Input = in
	case Delete, Release:
		g.others = append(g.others, porcupine.Operation{Input: groupCall{kind: e.Kind, got: []int{n}}, Call: int64(e.Begin), Return: end})
	case Remark:
	}
}

func (g *groupCalls) operations() []porcupine.Operation {
	out := g.others
	for _, ops := range []map[int]*porcupine.Operation{g.sends, g.receives} {
		for _, op := range ops {
			out = append(out, *op)
		}
	}
	// What the checker tries first, and may have to take back, is what returned first.
	slices.SortFunc(out, func(a, b porcupine.Operation) int {
		return cmp.Or(cmp.Compare(a.Call, b.Call), cmp.Compare(a.Return, b.Return))
	})
	return out
}

// groupState is a message group as one list. It is never changed.
type groupState struct {
	there []place
}

// place is a message that is there, hidden until then at least.
type place struct {
	n     int
	until time.Duration
}

var groupModel = porcupine.Model{
	Init:  func() any { return groupState{} },
	Equal: func(a, b any) bool { return slices.Equal(a.(groupState).there, b.(groupState).there) }, //nolint:forcetypeassert // by construction
	Step: func(state, input, _ any) (bool, any) {
		return state.(groupState).step(input.(groupCall)) //nolint:forcetypeassert // by construction
	},
}

// step makes a call, and reports whether it could have had its outcome.
func (s groupState) step(c groupCall) (bool, any) {
	at := slices.IndexFunc(s.there, func(p place) bool { return p.n == c.got[0] })
	switch {
	case c.kind == Send:
		return true, groupState{append(slices.Clone(s.there), place{n: c.got[0]})}
	case c.kind == Receive:
		if len(c.got) > len(s.there) {
			return false, s
		}
		next := slices.Clone(s.there)
		for i, n := range c.got {
			if next[i].n != n || next[i].until > c.end {
				return false, s
			}
			next[i].until = c.hide
		}
		return true, groupState{next}
	case at < 0:
		return true, s // it is gone already
	case c.kind == Delete:
		return true, groupState{slices.Delete(slices.Clone(s.there), at, at+1)}
	default:
		next := slices.Clone(s.there)
		next[at].until = 0
		return true, groupState{next}
	}
}

// Register is a call to something that is changed by compare-and-set: a value with a
// revision, 0 while there is none.
type Register struct {
	Begin, End time.Duration
	Write      bool
	Value      string  // that was to be written, or was read
	Expected   uint64  // of a write: the revision that it was to replace
	Revision   uint64  // that was read, or that the write got
	Outcome    Outcome // of a write: Refused is that it was another revision
}

type registerState struct {
	value    string
	revision uint64
}

// RegisterLinearizable reports whether the calls could have been made to one register,
// each at one moment while it was under way. It is false, too, when that has not been
// decided within the time.
func RegisterLinearizable(calls []Register, within time.Duration) bool {
	ops := make([]porcupine.Operation, len(calls))
	for i, c := range calls {
		ops[i] = porcupine.Operation{Input: c, Call: int64(c.Begin), Return: int64(c.End)}
		if c.Outcome == Unknown {
			ops[i].Return = never
		}
	}
	model := porcupine.NondeterministicModel{
		Init: func() []any { return []any{registerState{}} },
		Step: func(state, input, _ any) []any {
			return state.(registerState).step(input.(Register)) //nolint:forcetypeassert // by construction
		},
	}
	return porcupine.CheckOperationsTimeout(model.ToModel(), ops, within) == porcupine.Ok
}

// step returns the states that there may be after the call. A write of which nobody knows
// the outcome may have failed, and its revision is unknown.
func (s registerState) step(c Register) []any {
	same := c.Expected == s.revision || s.revision == unknownRevision
	switch {
	case !c.Write && c.Value == s.value && (c.Revision == s.revision || s.revision == unknownRevision):
		return []any{registerState{s.value, c.Revision}}
	case !c.Write:
		return nil
	case c.Outcome == OK && same && (s.revision == unknownRevision || c.Revision > s.revision):
		return []any{registerState{c.Value, c.Revision}}
	case c.Outcome == Refused && (!same || s.revision == unknownRevision):
		return []any{s}
	case c.Outcome == Unknown && same:
		return []any{s, registerState{c.Value, unknownRevision}}
	case c.Outcome == Unknown:
		return []any{s}
	default:
		return nil
	}
}

// unknownRevision is that of a write whose answer got lost, until somebody reads it.
const unknownRevision = 1<<64 - 1
