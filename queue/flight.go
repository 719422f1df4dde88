package queue

import (
	"sync"
	"time"
)

// flight remembers what this process handed out: when each message was first
// received and until when it is hidden. It is a hint for counts, for the
// first-receive time and for how often a message was really received, never a
// source of truth, and it is bounded.
type flight struct {
	mu    sync.Mutex
	out   map[uint64]hidden // by stream sequence
	extra map[int64]int     // corrections by deadline, see adjust
}

type hidden struct {
	first, until time.Time
	count        uint32 // how often receivers have seen it
	unseen       uint32 // deliveries that no receiver got to see
}

func newFlight() *flight { return &flight{out: map[uint64]hidden{}} }

// hide notes a delivery and returns the time of the message's first receive, as
// far as it is known here.
func (f *flight) hide(r receipt, now, until time.Time) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	h, known := f.out[r.stream]
	if r.count == 1 || h.first.IsZero() {
		h.first = now
	}
	h.until, h.count = until, max(1, r.count-min(r.count, h.unseen))
	if known || len(f.out) < MaxInFlight {
		f.out[r.stream] = h
	}
	return h.first
}

// unhide notes that a delivery was given back before any receiver saw it.
func (f *flight) unhide(seq uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h, known := f.out[seq]
	h.until = time.Now()
	h.unseen++
	if known || len(f.out) < MaxInFlight {
		f.out[seq] = h
	}
}

// received is how often receivers have seen the message, this delivery included.
func (f *flight) received(r receipt) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return max(1, int(r.count)-int(f.out[r.stream].unseen))
}

// firstReceived is when the message was first received, or otherwise when that is
// not known here.
func (f *flight) firstReceived(seq uint64, otherwise time.Time) time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	if h := f.out[seq]; otherwise.IsZero() {
		return h.first
	}
	return otherwise
}

// move changes the deadline of a message that is known.
func (f *flight) move(seq uint64, until time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if h, ok := f.out[seq]; ok {
		h.until = until
		f.out[seq] = h
	}
}

func (f *flight) forget(seq uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.out, seq)
}

// adjust counts n hidden messages more, or fewer, until then: what a process that
// has ended handed out has been dealt with here.
func (f *flight) adjust(until time.Time, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.extra == nil {
		f.extra = map[int64]int{}
	}
	f.extra[coarse(until, time.Now())] += n
}

func (f *flight) reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.out)
	clear(f.extra)
}

// hiddenNow counts the messages whose deadline has not passed, and forgets those
// of long ago: they belong to messages that another process took over or that
// have expired.
func (f *flight) hiddenNow(now time.Time) (n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for seq, h := range f.out {
		switch {
		case now.Before(h.until):
			n++
		case now.Sub(h.until) > 14*24*time.Hour:
			delete(f.out, seq)
		}
	}
	for deadline, more := range f.extra {
		if deadline > now.Unix() {
			n += int64(more)
		} else {
			delete(f.extra, deadline)
		}
	}
	return n
}

// deadlines counts the hidden messages by the time at which they become visible.
func (f *flight) deadlines(now time.Time) deadlines {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.out) == 0 && len(f.extra) == 0 {
		return nil
	}
	d := deadlines{}
	for _, h := range f.out {
		if now.Before(h.until) {
			d[coarse(h.until, now)]++
		}
	}
	for deadline, n := range f.extra {
		if deadline > now.Unix() {
			d[deadline] += n
		}
	}
	return d
}

// deadlines is how many messages become visible when, in Unix seconds.
type deadlines map[int64]int

// fine is how far ahead deadlines are told to the second; those further away are
// told to the minute, so that there are about a thousand at most.
const fine = 5 * time.Minute

func coarse(until, now time.Time) int64 {
	s := until.Unix()
	if until.Nanosecond() > 0 {
		s++
	}
	if until.Sub(now) > fine {
		s -= s % 60
	}
	return s
}

// after counts what is hidden still.
func (d deadlines) after(now time.Time) (n int64) {
	for deadline, count := range d {
		if deadline > now.Unix() {
			n += int64(count)
		}
	}
	return n
}
