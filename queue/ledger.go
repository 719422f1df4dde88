package queue

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq/node"
)

// The server does not tell which of the messages that it counts as delivered are
// hidden and which have become visible again. Each process knows the deadlines
// that it gave out itself. The ledger is how processes tell each other, and their
// successors: twice a second at most, and only when something changed, a process
// writes a record of which messages become visible when. When a receipt handle of one
// process is used at another, or one that is out of date, the others are told; and
// when the process of the handle has ended, who used it corrects the record that was
// left behind.

const (
	flightBucket  = "mnq_flight"
	flightSubject = "mnq.flight." // and the holder's name, or all
	everybody     = "all"
	flightTTL     = MaxVisibility + time.Hour
	flushEvery    = 500 * time.Millisecond
	maxFlight     = 512 << 10 // bytes of one process's record; queues past it are left out
	maxNotes      = 4096      // not passed on yet; more are dropped, and their counts may be wrong until the deadline
)

// holder is a running process. Its number is new at each start.
type holder uint32

func (h holder) String() string { return fmt.Sprintf("%08x", uint32(h)) }

// note tells what a process did with a message that another one may have hidden.
type note struct {
	Holder holder `json:"h"` // whose handle was used: it has the message from now on
	Queue  string `json:"q"`
	Seq    uint64 `json:"s"`
	Until  int64  `json:"u"` // Unix milliseconds; 0: the message is gone
	Was    int64  `json:"w"` // the deadline in the handle, Unix milliseconds
}

// gossip is notes for everybody.
type gossip struct {
	From  holder `json:"from"` // its own copy comes back to it
	Notes []note `json:"notes"`
}

// account is what another process has written about itself.
type account struct {
	revision uint64
	queues   map[string]*away // by queue id
}

type ledger struct {
	svc  *Service
	me   holder
	kv   *node.Bucket
	subs []*nats.Subscription

	wake chan struct{} // capacity 1: something changed

	mu      sync.Mutex
	changed bool
	notes   []note
	others  map[string]account // by holder
	ended   map[string]bool    // of the others, as far as it is known
}

func newLedger(s *Service) *ledger {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return &ledger{
		svc: s, me: holder(binary.BigEndian.Uint32(b[:])), wake: make(chan struct{}, 1),
		others: map[string]account{}, ended: map[string]bool{},
	}
}

// start reads what others have written and follows it until ctx ends.
func (l *ledger) start(ctx context.Context) error {
	kv, err := node.OpenBucket(ctx, l.svc.cfg.Control, node.BucketConfig{
		Name: flightBucket, Description: "deadlines of messages in flight", TTL: flightTTL, Replicas: l.svc.cfg.Replicas,
	})
	if err != nil {
		return err
	}
	l.kv = kv
	for subject, f := range map[string]nats.MsgHandler{
		flightSubject + everybody: l.told, flightSubject + l.me.String(): l.alive,
		firstSubject + l.me.String(): l.asked, knownSubject + l.me.String(): l.askedKnown,
		countSubject + "*": l.askedCount,
	} {
		sub, err := l.svc.cfg.Control.Conn().Subscribe(subject, f)
		if err != nil {
			return err
		}
		l.subs = append(l.subs, sub)
	}
	l.svc.done.Go(func() { l.flushes(l.svc.run) })
	loaded := make(chan struct{})
	l.svc.done.Go(func() { keepWatching(l.svc, kv, loaded, l.learn) })
	select {
	case <-loaded:
		l.svc.done.Go(func() { l.census(l.svc.run) })
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// census finds out which of the processes that have left a record still run, and
// forgets those that have ended and whose messages are all visible again.
func (l *ledger) census(ctx context.Context) {
	l.mu.Lock()
	others := maps.Clone(l.others)
	l.mu.Unlock()
	for h, a := range others {
		if !l.hasEnded(ctx, h) {
			continue
		}
		hidden := int64(0)
		for _, q := range a.queues {
			hidden += q.hidden(time.Now(), 0)
		}
		if hidden == 0 {
			_, _ = l.kv.Remove(ctx, h, node.Purge{Revision: a.revision, TTL: markerTTL}) // else it goes with its time to live
		}
	}
}

func (l *ledger) learn(e jetstream.KeyValueEntry) {
	if e.Key() == l.me.String() {
		return
	}
	var queues map[string]*away
	put := e.Operation() == jetstream.KeyValuePut
	if put && json.Unmarshal(e.Value(), &queues) != nil {
		return // counts are a hint
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.others[e.Key()].revision >= e.Revision():
	case put:
		l.others[e.Key()] = account{e.Revision(), queues} // also when nothing is hidden: it may know when messages were first received
	default:
		delete(l.others, e.Key())
		delete(l.ended, e.Key())
	}
}

// elsewhere counts the queue's messages from the sequence first on that other
// processes have hidden.
func (l *ledger) elsewhere(queueID string, now time.Time, first uint64) (n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.others {
		n += a.queues[queueID].hidden(now, first)
	}
	return n
}

// change notes that deadlines changed here.
func (l *ledger) change() {
	l.mu.Lock()
	l.changed = true
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// tell passes on what was done with a message that another process may have hidden.
// A zero until means that it is gone.
func (l *ledger) tell(q *Queue, r receipt, until time.Time) {
	n := note{Holder: r.holder, Queue: q.id, Seq: r.stream, Was: r.expires.UnixMilli()}
	if !until.IsZero() {
		n.Until = until.UnixMilli()
	}
	l.mu.Lock()
	if len(l.notes) < maxNotes {
		l.notes = append(l.notes, n)
	}
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// flushes writes and tells, until ctx ends; then once more.
func (l *ledger) flushes(ctx context.Context) {
	for {
		select {
		case <-l.wake:
			l.flush(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
			defer cancel()
			l.flush(last)
			for _, sub := range l.subs {
				_ = sub.Unsubscribe() // fails only when the connection is closed already
			}
			return
		}
		select {
		case <-time.After(flushEvery):
		case <-ctx.Done():
		}
	}
}

func (l *ledger) flush(ctx context.Context) {
	l.mu.Lock()
	notes := l.notes
	l.notes = nil
	l.mu.Unlock()
	if len(notes) > 0 {
		l.pass(ctx, notes)
	}
	l.mu.Lock()
	changed := l.changed
	l.changed = false
	l.mu.Unlock()
	if !changed {
		return
	}
	if _, err := l.kv.Put(ctx, l.me.String(), l.record(time.Now())); err != nil {
		l.mu.Lock()
		l.changed = true // the next change takes it along
		l.mu.Unlock()
	}
}

// record is what this process has hidden.
func (l *ledger) record(now time.Time) []byte {
	out, size := map[string]*away{}, 0
	for _, q := range l.svc.all() {
		a := q.flight.away(now)
		if len(a.until)+len(a.many) == 0 {
			continue
		}
		if size += len(a.until)*8 + len(a.many)*20 + 60; size > maxFlight {
			break
		}
		out[q.id] = a
	}
	b, err := json.Marshal(out)
	if err != nil {
		return nil // maps of numbers always encode
	}
	return b
}

// pass tells everybody. What processes that have ended wrote about these messages is
// corrected, and a message that would be theirs is this process's from now on.
func (l *ledger) pass(ctx context.Context, notes []note) {
	data, err := json.Marshal(gossip{l.me, notes})
	if err != nil || l.svc.cfg.Control.Conn().Publish(flightSubject+everybody, data) != nil {
		return // counts are a hint
	}
	for h, list := range l.concerned(notes) {
		if !l.hasEnded(ctx, h) {
			continue
		}
		for _, n := range list {
			if q, until := l.svc.byID(n.Queue), time.UnixMilli(n.Until); q != nil && n.Holder.String() == h && until.After(time.Now()) {
				q.flight.adopt(n.Seq, until)
			}
		}
		l.settle(ctx, h, list)
		l.change()
	}
}

// concerned returns the other processes that the notes are about: whose handles were
// used, and in whose records the messages are.
func (l *ledger) concerned(notes []note) map[string][]note {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := map[string][]note{}
	for _, n := range notes {
		if n.Holder != l.me {
			out[n.Holder.String()] = append(out[n.Holder.String()], n)
		}
		for h, a := range l.others {
			if q := a.queues[n.Queue]; q != nil && h != n.Holder.String() {
				if _, there := q.until[n.Seq]; there {
					out[h] = append(out[h], n)
				}
			}
		}
	}
	return out
}

func (l *ledger) hasEnded(ctx context.Context, h string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := l.svc.cfg.Control.Conn().RequestWithContext(ctx, flightSubject+h, nil)
	if !errors.Is(err, nats.ErrNoResponders) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended[h] = true
	return true
}

// alive answers hasEnded.
func (l *ledger) alive(m *nats.Msg) { _ = m.Respond(nil) } // who asks does not wait for long

// settle takes messages out of the record of a process that has ended, by
// compare-and-set, since others do so too.
func (l *ledger) settle(ctx context.Context, ended string, list []note) {
	for range 8 {
		l.mu.Lock()
		old, known := l.others[ended]
		l.mu.Unlock()
		if !known {
			return
		}
		queues, changed := maps.Clone(old.queues), false
		for _, n := range list {
			if a := queues[n.Queue]; a != nil {
				queues[n.Queue], changed = a.without(n.Seq, time.UnixMilli(n.Was)), true
			}
		}
		value, err := json.Marshal(queues)
		if err != nil || !changed {
			return
		}
		revision, err := l.kv.Update(ctx, ended, value, old.revision)
		if err == nil {
			l.mu.Lock()
			if l.others[ended].revision < revision {
				l.others[ended] = account{revision, queues}
			}
			l.mu.Unlock()
			return
		}
		if !lostRace(err) {
			return // counts are a hint
		}
		e, err := l.kv.Get(ctx, ended)
		if err != nil {
			return
		}
		l.learn(e)
	}
}

// told takes notes: a message is with the process whose handle was used, or it is gone.
func (l *ledger) told(m *nats.Msg) {
	var g gossip
	if json.Unmarshal(m.Data, &g) != nil || g.From == l.me {
		return
	}
	for _, n := range g.Notes {
		q := l.svc.byID(n.Queue)
		switch {
		case q == nil:
		case n.Until == 0:
			q.flight.forget(n.Seq)
		case n.Holder == l.me:
			q.flight.move(n.Seq, time.UnixMilli(n.Until))
		default:
			q.flight.move(n.Seq, time.Time{})
		}
	}
	l.change()
}

// all returns every queue, and byID the one of that incarnation.
func (s *Service) all() []*Queue {
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []*Queue
	for _, sp := range s.spaces {
		for _, q := range sp.queues {
			out = append(out, q)
		}
	}
	return out
}

func (s *Service) byID(id string) *Queue {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.ids[id]
}
