// Package history records what clients of a queue did and saw, and finds what must
// not have happened: acknowledged messages that never came, deleted ones that came
// back, FIFO groups out of order or in two hands at once.
//
// A call whose outcome is not known (a time-out, a broken connection, a 5xx) may or may
// not have happened; nothing is concluded from it that needs either. A standard queue
// cannot tell a send that its client repeats from a new one, so each attempt may have
// become a message of its own, a copy. Copies differ in their message ids: one that is
// received again under the id of one that was deleted is never the client's doing.
package history

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Kind is what a call did.
type Kind uint8

// The kinds of calls.
const (
	Send Kind = iota
	Receive
	Delete
)

// Any is the Attempts of what may become any number of copies, such as what a topic
// delivers.
const Any = 1 << 30

// Event is one message in one call. Times are on the recorder's own clock, taken before
// the call was made and after it had returned, never by a process under test.
type Event struct {
	Kind       Kind
	Body       string // unique among all messages
	ID         string // the queue's message id; "" when it is not known
	Begin, End time.Duration
	OK         bool // acknowledged; otherwise the outcome is unknown

	Attempts int // of a send: how often the client made the request; 0 is once, Any is as often as it likes

	// FIFO only.
	Group    string
	Sequence string // as the queue shows it; of equal length, so that it compares as text

	// Of a receive.
	Call       int // messages of one call share it
	Visibility time.Duration
}

// History is what happened. It is safe for concurrent use.
type History struct {
	began time.Time

	mu     sync.Mutex
	sent   int
	calls  int
	events []Event
}

// New begins a history.
func New() *History { return &History{began: time.Now()} }

// Now is the time on the history's clock.
func (h *History) Now() time.Duration { return time.Since(h.began) }

// Call returns a number for the messages of one receive.
func (h *History) Call() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls++
	return h.calls
}

// Sent is how many sends have been acknowledged so far.
func (h *History) Sent() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.sent
}

// Add records a call.
func (h *History) Add(events ...Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range events {
		if e.Kind == Send && e.OK {
			h.sent++
		}
	}
	h.events = append(h.events, events...)
}

// Check finds what is wrong with the history of a queue that has been drained since.
func (h *History) Check() Report {
	h.mu.Lock()
	defer h.mu.Unlock()
	return check(h.events)
}

// Report is the outcome of a check: figures, and what must not be.
type Report struct {
	Sent, Unknown, Received, Deleted int
	Duplicated                       int // received more than once; standard queues may do that
	Repeated                         int // sends that the client made more than once
	Gap                              time.Duration

	Lost       []string // acknowledged and never received
	Phantom    []string // received and never sent
	Reappeared []string // received by a call that began after the deletion of the same copy was acknowledged
	Copied     []string // received under more ids than there were attempts to send it; FIFO: more than one
	Reordered  []string // FIFO: received while an earlier message of the group had not been
	Overlapped []string // FIFO: received while another receiver held the group
}

// Violations describes everything that must not be; "" is nothing.
func (r Report) Violations() string {
	var out strings.Builder
	for _, v := range []struct {
		what   string
		bodies []string
	}{{"lost", r.Lost}, {"phantom", r.Phantom}, {"reappeared", r.Reappeared}, {"copied", r.Copied}, {"reordered", r.Reordered}, {"overlapped", r.Overlapped}} {
		if len(v.bodies) > 0 {
			fmt.Fprintf(&out, "%d %s: %.300s\n", len(v.bodies), v.what, fmt.Sprint(v.bodies[:min(10, len(v.bodies))]))
		}
	}
	return out.String()
}

// String is one line with all figures.
func (r Report) String() string {
	return fmt.Sprintf("sent %d, unknown %d, received %d, deleted %d, duplicated %d, repeated %d, lost %d, phantom %d, reappeared %d, copied %d, reordered %d, overlapped %d, longest gap between sends %v",
		r.Sent, r.Unknown, r.Received, r.Deleted, r.Duplicated, r.Repeated, len(r.Lost), len(r.Phantom), len(r.Reappeared), len(r.Copied), len(r.Reordered), len(r.Overlapped), r.Gap.Round(10*time.Millisecond))
}

// message is all that is known of what has one body.
type message struct {
	body     string
	attempts int // to send it
	fifo     bool
	acked    []string // ids under which sends of it were acknowledged
	copies   map[string]*copied
}

// copied is what is known of one id.
type copied struct {
	received []Event
	deletes  []Event // attempted
}

func (m *message) copy(id string) *copied {
	if m.copies[id] == nil {
		m.copies[id] = &copied{}
	}
	return m.copies[id]
}

// deleted is when the first acknowledged deletion had returned.
func (c *copied) deleted() (at time.Duration, ok bool) {
	for _, d := range c.deletes {
		if d.OK && (!ok || d.End < at) {
			at, ok = d.End, true
		}
	}
	return at, ok
}

// left is the earliest moment, not before since, at which it may have been deleted.
func (c *copied) left(since time.Duration) (at time.Duration, ok bool) {
	for _, d := range c.deletes {
		if d.Begin >= since && (!ok || d.Begin < at) {
			at, ok = d.Begin, true
		}
	}
	return at, ok
}

func check(events []Event) Report {
	var r Report
	all := map[string]*message{}
	of := func(body string) *message {
		if all[body] == nil {
			all[body] = &message{body: body, copies: map[string]*copied{}}
		}
		return all[body]
	}
	var sends []time.Duration
	for _, e := range events {
		m := of(e.Body)
		m.fifo = m.fifo || e.Group != ""
		switch e.Kind {
		case Send:
			m.attempts += max(1, e.Attempts)
			if e.Attempts > 1 && e.Attempts != Any {
				r.Repeated++
			}
			if e.OK {
				m.acked = append(m.acked, e.ID)
				r.Sent++
				sends = append(sends, e.End)
			}
		case Receive:
			r.Received++
			c := m.copy(e.ID)
			c.received = append(c.received, e)
		case Delete:
			if e.OK {
				r.Deleted++
			}
			c := m.copy(e.ID)
			c.deletes = append(c.deletes, e)
		}
		if !e.OK && e.Kind != Receive {
			r.Unknown++
		}
	}
	slices.Sort(sends)
	for i := 1; i < len(sends); i++ {
		r.Gap = max(r.Gap, sends[i]-sends[i-1])
	}
	for _, m := range all {
		r.one(m)
	}
	r.groups(events, all)
	for _, list := range []*[]string{&r.Lost, &r.Phantom, &r.Reappeared, &r.Copied, &r.Reordered, &r.Overlapped} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return r
}

// one looks at a single message.
func (r *Report) one(m *message) {
	received, ids := 0, 0
	for _, c := range m.copies {
		if len(c.received) > 0 {
			ids++
		}
		received += len(c.received)
		if at, ok := c.deleted(); ok && slices.ContainsFunc(c.received, func(e Event) bool { return e.Begin > at }) {
			r.Reappeared = append(r.Reappeared, m.body)
		}
	}
	if slices.ContainsFunc(m.acked, func(id string) bool { return received == 0 || id != "" && len(m.copy(id).received) == 0 }) {
		r.Lost = append(r.Lost, m.body)
	}
	switch {
	case received > 0 && m.attempts == 0:
		r.Phantom = append(r.Phantom, m.body)
	case ids > m.attempts, ids > 1 && m.fifo:
		r.Copied = append(r.Copied, m.body)
	}
	if received > 1 {
		r.Duplicated++
	}
}

// hold is one receive's claim on a group.
type hold struct {
	call       int
	body       string // of one of its messages
	begin, end time.Duration
	until      time.Duration // it is over by then at the earliest
}

// groups looks at each FIFO group.
func (r *Report) groups(events []Event, all map[string]*message) {
	byGroup := map[string][]Event{}
	for _, e := range events {
		if e.Kind == Receive && e.Group != "" {
			byGroup[e.Group] = append(byGroup[e.Group], e)
		}
	}
	for _, got := range byGroup {
		r.order(got)
		r.overlaps(got, all)
	}
}

// order finds messages that were received before an earlier one of their group was,
// which is so only if that one's first receive had not begun when they were there.
func (r *Report) order(got []Event) {
	type first struct {
		body, sequence string
		begin, end     time.Duration
	}
	firsts := map[string]first{}
	for _, e := range got {
		f, known := firsts[e.Body]
		if !known {
			f = first{e.Body, e.Sequence, e.Begin, e.End}
		}
		f.begin, f.end = min(f.begin, e.Begin), min(f.end, e.End)
		firsts[e.Body] = f
	}
	list := make([]first, 0, len(firsts))
	for _, f := range firsts {
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b first) int { return cmp.Compare(a.sequence, b.sequence) })
	earliest := time.Duration(1<<63 - 1) // end of the first receives of what comes later
	for _, f := range slices.Backward(list) {
		if earliest < f.begin {
			r.Reordered = append(r.Reordered, f.body)
		}
		earliest = min(earliest, f.end)
	}
}

// overlaps finds receives that began after another one had returned and were over while
// that one still held the group: none of its messages could be visible and not all of
// them could be deleted.
func (r *Report) overlaps(got []Event, all map[string]*message) {
	calls := map[int]*hold{}
	for _, e := range got {
		h := calls[e.Call]
		if h == nil {
			h = &hold{call: e.Call, body: e.Body, begin: e.Begin, end: e.End}
			calls[e.Call] = h
		}
		free := e.Begin + e.Visibility
		if at, ok := all[e.Body].copy(e.ID).left(e.Begin); ok {
			free = min(free, at)
		}
		h.until = max(h.until, free)
	}
	list := make([]*hold, 0, len(calls))
	for _, h := range calls {
		// A message that becomes visible again frees the group as far as it is concerned.
		for _, e := range got {
			if e.Call == h.call {
				h.until = min(h.until, e.Begin+e.Visibility)
			}
		}
		list = append(list, h)
	}
	slices.SortFunc(list, func(a, b *hold) int { return cmp.Compare(a.end, b.end) })
	for i, a := range list {
		for _, b := range list[i+1:] {
			if b.begin > a.end && b.end < a.until {
				r.Overlapped = append(r.Overlapped, b.body)
			}
		}
	}
}
