// Package history records what clients of queues did and saw, and finds what must not
// have happened: acknowledged messages that never came, deleted ones that came back, FIFO
// groups out of order or in two hands at once. It is for tests only.
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
	"io"
	"slices"
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
	Release // makes a message visible
	Remark  // something else happened, such as a fault; Body says what
)

func (k Kind) String() string {
	return [...]string{"send", "receive", "delete", "release", "remark"}[k]
}

// Outcome is what a client knows of a call's effect.
type Outcome uint8

// The outcomes.
const (
	OK      Outcome = iota
	Refused         // it had no effect
	Unknown         // it may have had, and may yet have
)

// Any is the Attempts of what may become any number of copies, such as what a topic
// delivers.
const Any = 1 << 30

// Event is one message in one call. Times are on the recorder's own clock, taken before
// the call was made and after it had returned, never by a process under test.
type Event struct {
	Kind       Kind
	Body       string // unique among all messages; "" in a receive that got nothing
	ID         string // the queue's message id; "" when it is not known
	Begin, End time.Duration
	OK         bool // acknowledged; otherwise the outcome is unknown, unless
	Refused    bool // it had no effect

	Attempts int // of a send: how often the client made the request; 0 is once, Any is as often as it likes

	// FIFO only.
	Group    string
	Sequence string // as the queue shows it; of equal length, so that it compares as text

	// Of a receive.
	Call       int           // messages of one call share it; they are recorded in the order in which they came
	Visibility time.Duration // for how long the message is hidden,
	Since      time.Duration // counted from here; 0: from Begin

	Queue   string // when there are several
	Process int    // that was asked, and
	Err     error  // what it said: for whoever reads the history
}

func (e Event) String() string {
	queue := ""
	if e.Queue != "" {
		queue = " " + e.Queue
	}
	return fmt.Sprintf("%v–%v process %d: %v%s %s %s %s: %v", e.Begin, e.End, e.Process, e.Kind, queue, e.Body, e.ID, e.Sequence, e.Err)
}

// mayBe reports whether the call may have had its effect.
func (e Event) mayBe() bool { return !e.Refused }

// hidden is until when what a receive got is hidden from others, unless it is deleted
// or released.
func (e Event) hidden() time.Duration { return cmp.Or(e.Since, e.Begin) + e.Visibility }

// History is what happened. The zero value is not ready; it is safe for concurrent use.
type History struct {
	began time.Time

	mu     sync.Mutex
	now    time.Duration
	sent   int
	calls  int
	events []Event
}

// New begins a history.
func New() *History { return &History{began: time.Now()} }

// Now is the time on the history's clock. It never gives the same twice, so that also
// what happens at the same time, by a coarse or a virtual clock, has an order.
func (h *History) Now() time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = max(h.now+1, time.Since(h.began))
	return h.now
}

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

// End records a call that has just returned.
func (h *History) End(e Event, o Outcome, err error) {
	e.End, e.OK, e.Refused, e.Err = h.Now(), o == OK, o == Refused, err
	h.Add(e)
}

// Note adds a remark, such as that a server was killed.
func (h *History) Note(text string) {
	h.End(Event{Kind: Remark, Body: text, Begin: h.Now()}, OK, nil)
}

// Write writes the events, one on each line.
func (h *History) Write(w io.Writer) error {
	for _, e := range h.sorted() {
		if _, err := fmt.Fprintln(w, e); err != nil {
			return err
		}
	}
	return nil
}

// sorted returns the events in the order in which they began.
func (h *History) sorted() []Event {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.SortedStableFunc(slices.Values(h.events), func(a, b Event) int { return cmp.Compare(a.Begin, b.Begin) })
}
