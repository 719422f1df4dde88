package history

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Report is the outcome of a check: figures, and what must not be.
type Report struct {
	Sent, Unknown, Received, Deleted int
	Duplicated                       int // received more than once; standard queues may do that
	Repeated                         int // sends that the client made more than once
	Gap                              time.Duration

	Lost        []string // acknowledged and never received
	Phantom     []string // received and never sent
	Reappeared  []string // received by a call that began after the deletion of the same copy was acknowledged
	Copied      []string // received under more ids than there were attempts to send it; FIFO: more than one
	Reordered   []string // FIFO: received while an earlier message of the group was there
	Overlapped  []string // FIFO: received while another receiver held the group
	Misnumbered []string // FIFO: with several sequence numbers, or one below that of an earlier message
}

// Violations describes everything that must not be; "" is nothing.
func (r Report) Violations() string {
	var out strings.Builder
	for _, v := range r.kinds() {
		if bodies := *v.bodies; len(bodies) > 0 {
			fmt.Fprintf(&out, "%d %s: %.300s\n", len(bodies), v.what, fmt.Sprint(bodies[:min(10, len(bodies))]))
		}
	}
	return out.String()
}

type violation struct {
	what   string
	bodies *[]string
}

func (r *Report) kinds() []violation {
	return []violation{
		{"lost", &r.Lost},
		{"phantom", &r.Phantom},
		{"reappeared", &r.Reappeared},
		{"copied", &r.Copied},
		{"reordered", &r.Reordered},
		{"overlapped", &r.Overlapped},
		{"misnumbered", &r.Misnumbered},
	}
}

// String is one line with all figures.
func (r Report) String() string {
	var wrong strings.Builder
	for _, v := range r.kinds() {
		fmt.Fprintf(&wrong, "%s %d, ", v.what, len(*v.bodies))
	}
	return fmt.Sprintf("sent %d, unknown %d, received %d, deleted %d, duplicated %d, repeated %d, %slongest gap between sends %v",
		r.Sent, r.Unknown, r.Received, r.Deleted, r.Duplicated, r.Repeated, wrong.String(), r.Gap.Round(10*time.Millisecond))
}

// message is all that is known of what has one body.
type message struct {
	body     string
	attempts int // to send it
	group    string
	acked    []string // ids under which sends of it were acknowledged
	copies   map[string]*copied
	sends    []Event
	numbers  []string // sequence numbers, each once
}

// copied is what is known of one id.
type copied struct {
	received []Event
	deletes  []Event // attempted and not refused
	releases []Event
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
	return earliest(c.deletes, since)
}

func earliest(events []Event, since time.Duration) (at time.Duration, ok bool) {
	for _, d := range events {
		if d.Begin >= since && (!ok || d.Begin < at) {
			at, ok = d.Begin, true
		}
	}
	return at, ok
}

// add takes in an event.
func (m *message) add(e Event) {
	m.group = cmp.Or(m.group, e.Group)
	c := m.copy(e.ID)
	switch e.Kind {
	case Send:
		m.attempts += max(1, e.Attempts)
		m.sends = append(m.sends, e)
		if e.OK {
			m.acked = append(m.acked, e.ID)
		}
	case Receive:
		c.received = append(c.received, e)
	case Delete:
		if e.mayBe() {
			c.deletes = append(c.deletes, e)
		}
	case Release:
		if e.mayBe() {
			c.releases = append(c.releases, e)
		}
	case Remark:
	}
	if e.Sequence != "" && !slices.Contains(m.numbers, e.Sequence) {
		m.numbers = append(m.numbers, e.Sequence)
	}
}

// gather returns the messages by body.
func gather(events []Event) map[string]*message {
	all := map[string]*message{}
	for _, e := range events {
		if e.Body == "" || e.Kind == Remark {
			continue
		}
		if all[e.Body] == nil {
			all[e.Body] = &message{body: e.Body, copies: map[string]*copied{}}
		}
		all[e.Body].add(e)
	}
	return all
}

// Check finds what is wrong with the history of a queue that has been drained since.
func (h *History) Check() Report {
	h.mu.Lock()
	defer h.mu.Unlock()
	return check(h.events)
}

func check(events []Event) Report {
	var r Report
	r.count(events)
	all := gather(events)
	for _, m := range all {
		r.one(m)
	}
	r.groups(events, all)
	for _, v := range r.kinds() {
		slices.Sort(*v.bodies)
		*v.bodies = slices.Compact(*v.bodies)
	}
	return r
}

// count takes the figures.
func (r *Report) count(events []Event) {
	var sends []time.Duration
	for _, e := range events {
		switch {
		case e.Kind == Send:
			if e.OK {
				r.Sent++
				sends = append(sends, e.End)
			}
			if e.Attempts > 1 && e.Attempts != Any {
				r.Repeated++
			}
		case e.Kind == Receive && e.Body != "":
			r.Received++
		case e.Kind == Delete && e.OK:
			r.Deleted++
		}
		if !e.OK && !e.Refused && (e.Kind == Send || e.Kind == Delete) {
			r.Unknown++
		}
	}
	slices.Sort(sends)
	for i := 1; i < len(sends); i++ {
		r.Gap = max(r.Gap, sends[i]-sends[i-1])
	}
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
	case ids > m.attempts, ids > 1 && m.group != "":
		r.Copied = append(r.Copied, m.body)
	}
	if received > 1 {
		r.Duplicated++
	}
}

// groups looks at each FIFO group.
func (r *Report) groups(events []Event, all map[string]*message) {
	received := map[string][]Event{}
	for _, e := range events {
		if e.Kind == Receive && e.Group != "" {
			received[e.Group] = append(received[e.Group], e)
		}
	}
	members := map[string][]*message{}
	for _, m := range all {
		if m.group == "" || len(m.numbers) == 0 {
			continue
		}
		if len(m.numbers) > 1 {
			r.Misnumbered = append(r.Misnumbered, m.body)
		}
		members[m.group] = append(members[m.group], m)
	}
	for name, ms := range members {
		slices.SortFunc(ms, func(a, b *message) int { return cmp.Compare(a.numbers[0], b.numbers[0]) })
		r.numbers(ms)
		r.order(received[name], ms)
		r.overlaps(received[name], all)
	}
}

// numbers finds messages whose send began after the send of one with a higher number had
// been acknowledged.
func (r *Report) numbers(ms []*message) {
	done := time.Duration(1<<63 - 1) // the earliest acknowledgement of those with a higher number
	for _, m := range slices.Backward(ms) {
		begin := time.Duration(1<<63 - 1)
		for _, e := range m.sends {
			begin = min(begin, e.Begin)
		}
		if len(m.sends) > 0 && done < begin {
			r.Misnumbered = append(r.Misnumbered, m.body)
		}
		for _, e := range m.sends {
			if e.OK {
				done = min(done, e.End)
			}
		}
	}
}

// order finds messages that were received while an earlier one of their group was there:
// it must have come before them in the same call, or may have been deleted by then.
func (r *Report) order(got []Event, ms []*message) {
	calls := map[int][]Event{}
	for _, e := range got {
		calls[e.Call] = append(calls[e.Call], e)
	}
	for _, call := range calls {
		place := map[string]int{}
		for i, e := range call {
			place[e.Body] = i
		}
		for i, e := range call {
			for _, m := range ms {
				if m.numbers[0] >= e.Sequence {
					break
				}
				at, ok := place[m.body]
				if ok && at < i || m.body == e.Body {
					continue
				}
				if left, gone := m.mayHaveLeft(); ok || !gone || left > e.End {
					r.Reordered = append(r.Reordered, e.Body)
				}
			}
		}
	}
}

// mayHaveLeft is when the first attempt to delete it began.
func (m *message) mayHaveLeft() (at time.Duration, ok bool) {
	for _, c := range m.copies {
		if left, gone := c.left(0); gone && (!ok || left < at) {
			at, ok = left, true
		}
	}
	return at, ok
}

// hold is one receive's claim on a group.
type hold struct {
	call       int
	body       string // of one of its messages
	begin, end time.Duration
	until      time.Duration // it is over by then at the earliest
}

// overlaps finds receives that began after another one had returned and were over while
// that one still held the group: none of its messages could be visible and not all of
// them could be deleted. It also finds messages that two receives held at one time,
// whichever was first.
func (r *Report) overlaps(got []Event, all map[string]*message) {
	calls := map[int]*hold{}
	visible := map[int]time.Duration{} // when a message of the call may be visible again, by call
	until := make([]time.Duration, len(got))
	for i, e := range got {
		h := calls[e.Call]
		if h == nil {
			h = &hold{call: e.Call, body: e.Body, begin: e.Begin, end: e.End}
			calls[e.Call], visible[e.Call] = h, e.hidden()
		}
		c := all[e.Body].copy(e.ID)
		free := e.hidden()
		if at, ok := earliest(c.releases, e.Begin); ok {
			free = min(free, at)
		}
		visible[e.Call] = min(visible[e.Call], free)
		if at, ok := c.left(e.Begin); ok {
			free = min(free, at)
		}
		until[i] = free
		h.until = max(h.until, free)
	}
	list := make([]*hold, 0, len(calls))
	for _, h := range calls {
		h.until = min(h.until, visible[h.call])
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
	for i, a := range got {
		for j, b := range got[:i] {
			if a.Body == b.Body && a.Call != b.Call && a.End < until[j] && b.End < until[i] {
				r.Overlapped = append(r.Overlapped, a.Body)
			}
		}
	}
}
