package topic

import (
	"sync/atomic"
	"time"
)

// Result is what became of a notification on its way to a subscription.
type Result uint8

// The results. A delivery has one of them in the end; before that it may have Retry any
// number of times.
const (
	ResultOK           Result = iota // the endpoint took it
	ResultRetry                      // an attempt failed, there will be another one
	ResultFailed                     // attempts are used up, and no dead-letter queue took it
	ResultFiltered                   // the filter policy does not want it
	ResultDeadLettered               // attempts are used up, the dead-letter queue has it

	results = iota
)

// String is the result as metrics name it.
func (r Result) String() string {
	return [results]string{"ok", "retry", "failed", "filtered", "dead_lettered"}[r]
}

// Protocols are those of subscriptions that are delivered to, in the order of
// [Totals.Deliveries].
var Protocols = [...]string{protoSQS, protoHTTP, protoHTTPS, protoLambda, protoNATS}

// Totals are numbers of messages, counted by this process since it started.
type Totals struct {
	Published      uint64
	PublishedBytes uint64
	Deliveries     [len(Protocols)][results]uint64 // by protocol and Result
}

// Add returns the sum.
func (t Totals) Add(o Totals) Totals {
	t.Published += o.Published
	t.PublishedBytes += o.PublishedBytes
	for p := range t.Deliveries {
		for r := range t.Deliveries[p] {
			t.Deliveries[p][r] += o.Deliveries[p][r]
		}
	}
	return t
}

// tally counts; the zero value is ready to use.
type tally struct {
	published, bytes atomic.Uint64
	deliveries       [len(Protocols)][results]atomic.Uint64
}

func (t *tally) totals() Totals {
	out := Totals{Published: t.published.Load(), PublishedBytes: t.bytes.Load()}
	for p := range t.deliveries {
		for r := range t.deliveries[p] {
			out.Deliveries[p][r] = t.deliveries[p][r].Load()
		}
	}
	return out
}

// countPublished counts for the topic and for its namespace, which outlives it.
func (t *Topic) countPublished(msgs []Publication, out []Published) {
	n, bytes := uint64(0), uint64(0)
	for i := range out {
		if out[i].Err == nil {
			n++
			bytes += uint64(msgs[i].size()) //nolint:gosec // the size of what is in memory
		}
	}
	if n > 0 {
		for _, c := range [...]*tally{&t.tally, t.all} {
			c.published.Add(n)
			c.bytes.Add(bytes)
		}
	}
}

// countDeliveries counts n deliveries that took as long as took, each; 0: nobody measured.
func (t *Topic) countDeliveries(protocol string, r Result, n int, took time.Duration) {
	for p, name := range Protocols {
		if name != protocol || n <= 0 {
			continue
		}
		for _, c := range [...]*tally{&t.tally, t.all} {
			c.deliveries[p][r].Add(uint64(n))
		}
		if observe := t.svc.cfg.Took; observe != nil && took > 0 {
			for range n {
				observe(protocol, took)
			}
		}
	}
}

// countAttempt counts an attempt at a delivery; requests to confirm are none.
func (d *delivery) countAttempt(o outcome, r Result) {
	if d.m.kind == notification {
		d.topic.countDeliveries(d.sub.Protocol, r, 1, o.took)
	}
}

// Totals returns what this process counted for the topic.
func (t *Topic) Totals() Totals { return t.tally.totals() }

// Totals returns what this process counted for each namespace that it knows, by id:
// deleted topics included.
func (s *Service) Totals() map[string]Totals {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make(map[string]Totals, len(s.spaces))
	for id, sp := range s.spaces {
		out[id] = sp.tally.totals()
	}
	return out
}

// Extent is how much there is in a namespace.
type Extent struct {
	Topics        int
	Subscriptions map[string]int // confirmed ones by protocol
	Pending       int            // subscriptions that wait for their confirmation
	Most          int            // subscriptions of the topic that has the most
}

// Extents returns how much there is in each namespace, by id, from memory.
func (s *Service) Extents() map[string]Extent {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := map[string]Extent{}
	for _, t := range s.topics {
		e, ok := out[t.namespaceID]
		if !ok {
			e.Subscriptions = map[string]int{}
		}
		e.Topics++
		if set := s.subs[t.id]; set != nil {
			n := 0
			for _, r := range set.byKey {
				switch r.State {
				case stateConfirmed:
					e.Subscriptions[r.Protocol]++
					n++
				case statePending:
					e.Pending++
					n++
				}
			}
			e.Most = max(e.Most, n)
		}
		out[t.namespaceID] = e
	}
	return out
}
