package queue

import (
	"slices"
	"sync/atomic"
)

// Totals are numbers of messages, counted by this process since it started.
type Totals struct {
	Sent          uint64
	SentBytes     uint64 // of bodies and attributes
	Received      uint64
	EmptyReceives uint64 // receives that found nothing
	Deleted       uint64 // by receipt handle
	DeadLettered  uint64 // moved to a dead-letter queue
	Redriven      uint64 // moved by a task

	Sizes [len(SizeBounds) + 1]uint64 // of Sent: those not above each of SizeBounds, and not above the bound before it; the last: above all
}

// SizeBounds are bounds of messages' sizes, in bytes.
var SizeBounds = [...]int{256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20}

// Add returns the sum.
func (t Totals) Add(o Totals) Totals {
	out := Totals{
		Sent: t.Sent + o.Sent, SentBytes: t.SentBytes + o.SentBytes, Received: t.Received + o.Received,
		EmptyReceives: t.EmptyReceives + o.EmptyReceives, Deleted: t.Deleted + o.Deleted,
		DeadLettered: t.DeadLettered + o.DeadLettered, Redriven: t.Redriven + o.Redriven,
	}
	for i := range out.Sizes {
		out.Sizes[i] = t.Sizes[i] + o.Sizes[i]
	}
	return out
}

// tally counts; the zero value is ready to use.
type tally struct {
	sent, sentBytes, received, empty, deleted, dead, redriven atomic.Uint64

	sizes [len(SizeBounds) + 1]atomic.Uint64
}

func (t *tally) totals() Totals {
	out := Totals{
		Sent: t.sent.Load(), SentBytes: t.sentBytes.Load(), Received: t.received.Load(), EmptyReceives: t.empty.Load(),
		Deleted: t.deleted.Load(), DeadLettered: t.dead.Load(), Redriven: t.redriven.Load(),
	}
	for i := range out.Sizes {
		out.Sizes[i] = t.sizes[i].Load()
	}
	return out
}

// count counts for the queue and for its namespace, which outlives it.
func (q *Queue) count(of func(*tally) *atomic.Uint64, n int) {
	if n > 0 {
		of(&q.tally).Add(uint64(n))
		of(&q.space.tally).Add(uint64(n))
	}
}

func (q *Queue) countSent(msgs []Send, results []SendResult) {
	n, bytes := 0, 0
	for i := range results {
		if results[i].Err == nil {
			n++
			size := msgs[i].size()
			bytes += size
			at, _ := slices.BinarySearch(SizeBounds[:], size)
			q.space.tally.sizes[at].Add(1)
		}
	}
	q.count(func(t *tally) *atomic.Uint64 { return &t.sent }, n)
	q.count(func(t *tally) *atomic.Uint64 { return &t.sentBytes }, bytes)
}

func (q *Queue) countReceived(n int) {
	if n == 0 {
		q.count(func(t *tally) *atomic.Uint64 { return &t.empty }, 1)
		return
	}
	q.count(func(t *tally) *atomic.Uint64 { return &t.received }, n)
}

func (q *Queue) countDeleted(errs []error) {
	n := 0
	for _, err := range errs {
		if err == nil {
			n++
		}
	}
	q.count(func(t *tally) *atomic.Uint64 { return &t.deleted }, n)
}

func (q *Queue) countDead(n int) { q.count(func(t *tally) *atomic.Uint64 { return &t.dead }, n) }

func (q *Queue) countRedriven(n int) {
	q.count(func(t *tally) *atomic.Uint64 { return &t.redriven }, n)
}

// Totals returns what this process counted for the queue.
func (q *Queue) Totals() Totals { return q.tally.totals() }

// Totals returns what this process counted for each namespace that it knows, by id:
// deleted queues included.
func (s *Service) Totals() map[string]Totals {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make(map[string]Totals, len(s.spaces))
	for id, sp := range s.spaces {
		out[id] = sp.tally.totals()
	}
	return out
}
