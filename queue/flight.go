package queue

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"
)

// flight remembers what this process handed out: when each message was first
// received and until when it is hidden. It is a hint for counts, for the
// first-receive time and for how often a message was really received, never a
// source of truth, and it is bounded.
type flight struct {
	mu  sync.Mutex
	out map[uint64]hidden // by stream sequence
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

// move changes the deadline of a message that is known, and reports whether it was
// hidden here until now.
func (f *flight) move(seq uint64, until time.Time) (was bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h, ok := f.out[seq]
	if ok {
		was = time.Now().Before(h.until)
		h.until = until
		f.out[seq] = h
	}
	return was
}

// adopt takes over a message that a process handed out which has ended.
func (f *flight) adopt(seq uint64, until time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	h, known := f.out[seq]
	if h.until = until; known || len(f.out) < MaxInFlight {
		f.out[seq] = h
	}
}

// forget reports whether the message was hidden here until now.
func (f *flight) forget(seq uint64) (was bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	was = time.Now().Before(f.out[seq].until)
	delete(f.out, seq)
	return was
}

func (f *flight) reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.out)
}

// hiddenNow counts the messages from the sequence first on whose deadline has not
// passed, and forgets those before it: they are gone.
func (f *flight) hiddenNow(now time.Time, first uint64) (n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for seq, h := range f.out {
		switch {
		case seq < first:
			delete(f.out, seq)
		case now.Before(h.until):
			n++
		}
	}
	return n
}

// away returns what is hidden here, for other processes.
func (f *flight) away(now time.Time) *away {
	f.mu.Lock()
	defer f.mu.Unlock()
	a := &away{}
	for seq, h := range f.out {
		switch {
		case now.Before(h.until):
			a.add(seq, h.until, now)
		case now.Sub(h.until) > maxRetention && !h.until.IsZero():
			delete(f.out, seq) // another process took it over, or it has expired
		}
	}
	return a
}

// maxRetention is how long a message can live at most.
const maxRetention = 14 * 24 * time.Hour

// away is what one process has hidden of a queue, as it tells the others: each
// message, or when there are very many only how many become visible when.
type away struct {
	until map[uint64]int64 // by stream sequence, Unix seconds
	many  map[int64]int    // by Unix seconds; instead of until
}

// maxEach is how many messages of a queue a process tells one by one.
const maxEach = 4096

// fine is how far ahead the deadlines of many messages are told to the second; those
// further away are told to the minute, so that there are about a thousand at most.
const fine = 5 * time.Minute

func seconds(t time.Time) int64 {
	s := t.Unix()
	if t.Nanosecond() > 0 {
		s++
	}
	return s
}

func coarse(s int64, now time.Time) int64 {
	if s-now.Unix() > int64(fine/time.Second) {
		s -= s % 60
	}
	return s
}

func (a *away) add(seq uint64, until, now time.Time) {
	switch {
	case a.many != nil:
		a.many[coarse(seconds(until), now)]++
	case len(a.until) == maxEach:
		a.many = map[int64]int{coarse(seconds(until), now): 1}
		for _, s := range a.until {
			a.many[coarse(s, now)]++
		}
		a.until = nil
	case a.until == nil:
		a.until = map[uint64]int64{}
		fallthrough
	default:
		a.until[seq] = seconds(until)
	}
}

// hidden counts the messages from the sequence first on whose deadline has not passed.
func (a *away) hidden(now time.Time, first uint64) (n int64) {
	if a == nil {
		return 0
	}
	for seq, s := range a.until {
		if seq >= first && s > now.Unix() {
			n++
		}
	}
	for s, count := range a.many {
		if s > now.Unix() {
			n += int64(count)
		}
	}
	return n
}

// without returns a less a message that was to become visible at that time. Where
// messages are told one by one it may be repeated.
func (a *away) without(seq uint64, was time.Time) *away {
	out := &away{maps.Clone(a.until), maps.Clone(a.many)}
	delete(out.until, seq)
	for _, s := range []int64{seconds(was), seconds(was) - seconds(was)%60} {
		if out.many[s] > 0 {
			out.many[s]--
			break
		}
	}
	return out
}

// awayOnWire is away in JSON, with small numbers.
type awayOnWire struct {
	Base  int64         `json:"b,omitempty"` // Unix seconds
	Seqs  []uint64      `json:"s,omitempty"` // ascending, each as the difference to the one before
	Until []int64       `json:"u,omitempty"` // seconds after Base
	Many  map[int64]int `json:"d,omitempty"`
}

// MarshalJSON writes what UnmarshalJSON reads.
func (a *away) MarshalJSON() ([]byte, error) {
	w := awayOnWire{Many: a.many}
	last := uint64(0)
	for _, seq := range slices.Sorted(maps.Keys(a.until)) {
		if w.Base == 0 {
			w.Base = a.until[seq]
		}
		w.Seqs, w.Until = append(w.Seqs, seq-last), append(w.Until, a.until[seq]-w.Base)
		last = seq
	}
	return json.Marshal(w)
}

// UnmarshalJSON refuses what MarshalJSON does not write.
func (a *away) UnmarshalJSON(b []byte) error {
	var w awayOnWire
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	if len(w.Seqs) != len(w.Until) {
		return errors.New("as many deadlines as sequences are needed")
	}
	*a = away{many: w.Many}
	if len(w.Seqs) > 0 {
		a.until = make(map[uint64]int64, len(w.Seqs))
	}
	seq := uint64(0)
	for i, d := range w.Seqs {
		seq += d
		a.until[seq] = w.Base + w.Until[i]
	}
	return nil
}
