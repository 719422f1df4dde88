// Package history holds what clients saw of a FIFO queue to its promises. It is for
// tests only.
package history

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// History is what clients saw, call by call. It is safe for concurrent use until it
// is checked.
type History struct {
	mu    sync.Mutex
	calls []*Call
	last  int
}

// Kind is what a call is for.
type Kind string

// The kinds of calls.
const (
	Send    Kind = "send"
	Receive Kind = "receive"
	Delete  Kind = "delete"
	Release Kind = "release" // makes a message visible
)

// Outcome is what a client knows of a call's effect.
type Outcome int

// The outcomes.
const (
	OK      Outcome = iota
	Refused         // it had no effect
	Unknown         // it may have had, and may yet have
)

// Call is one call of a client. Begin and end are positions in the history: two
// calls of which neither began after the other had ended were at the same time.
type Call struct {
	Kind    Kind
	Process int // that was asked

	begin, end int
	t0, t1     time.Time
	outcome    Outcome
	err        error
	msgs       []Message
}

// Message is a message that a call was about: the N-th that its producer sent to the
// group, from 0 on. ID and Sequence are what the queue said.
type Message struct {
	Group        string
	N            int
	ID, Sequence string
}

func (m Message) String() string { return fmt.Sprintf("%s/%d", m.Group, m.N) }

func (c *Call) String() string {
	return fmt.Sprintf("%v–%v (%d–%d) process %d: %s %v: %v", c.t0.Format("04:05.000"), c.t1.Format("05.000"), c.begin, c.end, c.Process, c.Kind, c.msgs, c.err)
}

func (c *Call) done() bool    { return c.outcome == OK }
func (c *Call) refused() bool { return c.outcome == Refused }

// Begin notes that a client makes a call.
func (h *History) Begin(kind Kind, process int) *Call {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	return &Call{Kind: kind, Process: process, begin: h.last, t0: time.Now()}
}

// End notes its answer.
func (h *History) End(c *Call, outcome Outcome, err error, msgs ...Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	c.end, c.t1, c.outcome, c.err, c.msgs = h.last, time.Now(), outcome, err, msgs
	h.calls = append(h.calls, c)
}

// Note adds a remark, such as that a server was killed.
func (h *History) Note(s string) { h.End(h.Begin(Kind(s), 0), OK, nil) }

// Write writes the calls, one on each line.
func (h *History) Write(w io.Writer) error {
	for _, c := range h.sorted() {
		if _, err := fmt.Fprintln(w, c); err != nil {
			return err
		}
	}
	return nil
}

func (h *History) sorted() []*Call {
	return slices.SortedFunc(slices.Values(h.calls), func(a, b *Call) int { return cmp.Compare(a.begin, b.begin) })
}

// life is what happened to one message.
type life struct {
	Message
	sends, receives, deletes, releases []*Call
}

// slack is how much less than its visibility timeout a client may have a message: the
// timeout begins a little before the answer arrives.
const slack = 250 * time.Millisecond

// Check returns what is wrong with a history in which everything was received and
// deleted in the end. Every message was received with that visibility timeout.
func (h *History) Check(visibility time.Duration) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	byName, groups := map[string]*life{}, map[string][]*life{}
	of := func(m Message) *life {
		l := byName[m.String()]
		if l == nil {
			l = &life{Message: m}
			byName[m.String()] = l
			groups[m.Group] = append(groups[m.Group], l)
		}
		return l
	}
	for _, c := range h.sorted() {
		for _, m := range c.msgs {
			l := of(m)
			switch c.Kind {
			case Send:
				l.sends = append(l.sends, c)
			case Receive:
				l.receives = append(l.receives, c)
			case Delete:
				l.deletes = append(l.deletes, c)
			case Release:
				l.releases = append(l.releases, c)
			}
			if c.Kind != Send || c.done() {
				if l.ID == "" {
					l.ID, l.Sequence = m.ID, m.Sequence
				}
				if m.ID != l.ID || m.Sequence != l.Sequence {
					say("%v is two messages: %s %s and %s %s", m, l.ID, l.Sequence, m.ID, m.Sequence)
				}
			}
		}
	}
	for _, l := range byName {
		switch {
		case len(l.sends) == 0:
			say("%v was never sent", l)
		case len(l.receives) == 0:
			say("%v is lost", l)
		}
		for _, d := range l.deletes {
			for _, c := range l.receives {
				if d.done() && c.begin > d.end {
					say("%v came back after its deletion: %v", l, c)
				}
			}
		}
	}
	for _, ls := range groups {
		slices.SortFunc(ls, func(a, b *life) int { return cmp.Compare(a.N, b.N) })
		for i, l := range ls[1:] {
			if l.Sequence <= ls[i].Sequence {
				say("%v has sequence number %s, behind %s of its successor", ls[i], ls[i].Sequence, l.Sequence)
			}
		}
	}
	for _, c := range h.sorted() {
		if c.Kind == Receive {
			wrong = append(wrong, ahead(c, groups)...)
		}
	}
	return append(wrong, h.overlaps(visibility)...)
}

// ahead returns the messages of a receive that came before their predecessors: each
// of them must have come with the same receive or may have been deleted by then.
func ahead(c *Call, groups map[string][]*life) (wrong []string) {
	came := map[string]int{}
	for i, m := range c.msgs {
		came[m.String()] = i
	}
	for i, m := range c.msgs {
		for _, l := range groups[m.Group] {
			if l.N >= m.N {
				break
			}
			if at, ok := came[l.Message.String()]; ok {
				if at > i {
					wrong = append(wrong, fmt.Sprintf("%v is out of order in %v", m, c))
				}
				continue
			}
			mayBe := func(d *Call) bool { return !d.refused() && d.begin < c.end }
			if !slices.ContainsFunc(l.deletes, mayBe) {
				wrong = append(wrong, fmt.Sprintf("%v came while %v was still there: %v", m, l.Message, c))
			}
		}
	}
	return wrong
}

// hold is a message in a client's hands: from the answer to its receive until the
// client begins to delete or to release it, or the visibility timeout has passed.
type hold struct {
	Message
	c        *Call
	from, to time.Time
}

// overlaps returns what came to one client while another one held it, or held what
// comes before it. Of two receives at the same time nobody knows which was first; then
// the one with the later message may have been.
func (h *History) overlaps(visibility time.Duration) (wrong []string) {
	held := map[string][]hold{} // by group
	for _, c := range h.sorted() {
		if c.Kind != Receive || !c.done() {
			continue
		}
		var now []hold
		for _, m := range c.msgs {
			mine := hold{m, c, c.t1, c.t1.Add(visibility - slack)}
			for _, d := range h.calls {
				if (d.Kind == Delete || d.Kind == Release) && d.begin > c.end && d.msgs[0] == m && d.t0.Before(mine.to) {
					mine.to = d.t0
				}
			}
			now = append(now, mine)
			for _, o := range held[m.Group] {
				both := o.from.Before(mine.to) && mine.from.Before(o.to)
				if both && (o.N == m.N || o.N < m.N && o.c.end < c.begin) {
					wrong = append(wrong, fmt.Sprintf("%v came while %v was held: %v and %v", m, o.Message, o.c, c))
				}
			}
		}
		for _, mine := range now {
			held[mine.Group] = append(held[mine.Group], mine)
		}
	}
	return wrong
}
