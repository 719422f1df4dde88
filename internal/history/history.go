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
	Process int    // that was asked
	Queue   string // when there are several

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
	queue := ""
	if c.Queue != "" {
		queue = " " + c.Queue
	}
	return fmt.Sprintf("%v–%v (%d–%d) process %d: %s%s %v: %v", c.t0.Format("04:05.000"), c.t1.Format("05.000"), c.begin, c.end, c.Process, c.Kind, queue, c.msgs, c.err)
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

// lives are the messages of a history, by name and by group in order.
type lives struct {
	byName map[string]*life
	groups map[string][]*life
}

func (h *History) lives() lives {
	ls := lives{map[string]*life{}, map[string][]*life{}}
	for _, c := range h.sorted() {
		for _, m := range c.msgs {
			l := ls.byName[m.String()]
			if l == nil {
				l = &life{Message: Message{Group: m.Group, N: m.N}}
				ls.byName[m.String()] = l
				ls.groups[m.Group] = append(ls.groups[m.Group], l)
			}
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
		}
	}
	for _, g := range ls.groups {
		slices.SortFunc(g, func(a, b *life) int { return cmp.Compare(a.N, b.N) })
	}
	return ls
}

// Check returns what is wrong with a history of one queue in which everything was
// received and deleted in the end. Every message was received with that visibility
// timeout.
func (h *History) Check(visibility time.Duration) (wrong []string) {
	ls := h.lives()
	wrong = append(h.identities(ls), ls.lostOrBack()...)
	for _, c := range h.sorted() {
		if c.Kind == Receive {
			wrong = append(wrong, ahead(c, ls.groups)...)
		}
	}
	return append(wrong, h.overlaps(visibility, false)...)
}

// CheckMoves does so for several queues among which messages move, along the path or,
// when they come back, in circles.
func (h *History) CheckMoves(visibility time.Duration, path []string, circles bool) (wrong []string) {
	ls := h.lives()
	wrong = append(ls.lostOrBack(), h.overlaps(visibility, true)...)
	for _, l := range ls.byName {
		if len(l.receives) > 0 && !slices.ContainsFunc(l.deletes, func(d *Call) bool { return !d.refused() }) {
			wrong = append(wrong, fmt.Sprintf("%v got lost after %v", l, l.receives[len(l.receives)-1]))
		}
	}
	if circles {
		return wrong
	}
	for _, l := range ls.byName {
		for _, c := range l.receives {
			for _, d := range l.receives {
				if slices.Index(path, c.Queue) > slices.Index(path, d.Queue) && d.begin > c.end {
					wrong = append(wrong, fmt.Sprintf("%v went back: %v, then %v", l, c, d))
				}
			}
		}
	}
	for _, queue := range path {
		for _, g := range ls.groups {
			wrong = append(wrong, passed(queue, g)...)
		}
	}
	return wrong
}

// passed returns the messages of a group that were received from the queue before one
// of their predecessors came from it for the first time.
func passed(queue string, g []*life) (wrong []string) {
	for i, l := range g {
		for _, c := range l.receives {
			if c.Queue != queue {
				continue
			}
			for _, before := range g[:i] {
				from := slices.DeleteFunc(slices.Clone(before.receives), func(d *Call) bool { return d.Queue != queue })
				if len(from) > 0 && !slices.ContainsFunc(from, func(d *Call) bool { return d.begin < c.end }) {
					wrong = append(wrong, fmt.Sprintf("%v passed %v: %v, then %v", l, before, c, from[0]))
				}
			}
		}
	}
	return wrong
}

// identities returns the messages that had several ids, and those whose sequence
// numbers are not in order.
func (h *History) identities(ls lives) (wrong []string) {
	for _, c := range h.sorted() {
		for _, m := range c.msgs {
			if c.Kind == Send && !c.done() {
				continue
			}
			l := ls.byName[m.String()]
			if l.ID == "" {
				l.ID, l.Sequence = m.ID, m.Sequence
			}
			if m.ID != l.ID || m.Sequence != l.Sequence {
				wrong = append(wrong, fmt.Sprintf("%v is two messages: %s %s and %s %s", m, l.ID, l.Sequence, m.ID, m.Sequence))
			}
		}
	}
	for _, g := range ls.groups {
		for i, l := range g[1:] {
			if l.Sequence <= g[i].Sequence {
				wrong = append(wrong, fmt.Sprintf("%v has sequence number %s, behind %s of its successor", g[i], g[i].Sequence, l.Sequence))
			}
		}
	}
	return wrong
}

// lostOrBack returns the messages that were never received, and those that came back
// after their deletion.
func (ls lives) lostOrBack() (wrong []string) {
	for _, l := range ls.byName {
		switch {
		case len(l.sends) == 0:
			wrong = append(wrong, fmt.Sprintf("%v was never sent", l))
		case len(l.receives) == 0:
			wrong = append(wrong, fmt.Sprintf("%v is lost", l))
		}
		for _, d := range l.deletes {
			for _, c := range l.receives {
				if d.done() && c.begin > d.end {
					wrong = append(wrong, fmt.Sprintf("%v came back after its deletion: %v", l, c))
				}
			}
		}
	}
	return wrong
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
// the one with the later message may have been. only counts the same message only.
func (h *History) overlaps(visibility time.Duration, only bool) (wrong []string) {
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
				if both && (o.N == m.N || !only && o.N < m.N && o.c.end < c.begin) {
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
