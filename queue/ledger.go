package queue

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The server does not tell which of the messages that it counts as delivered are
// hidden and which have become visible again. Each process knows the deadlines
// that it gave out itself. The ledger is how processes tell each other, and their
// successors: twice a second at most, and only when something changed, a process
// writes how many messages become visible when; and when a receipt handle of one
// process is used at another, that one is told.

const (
	flightBucket  = "mnq_flight"
	flightSubject = "mnq.flight." // and the holder's name
	flightTTL     = MaxVisibility + time.Hour
	flushEvery    = 500 * time.Millisecond
	maxFlight     = 512 << 10 // bytes of one process's record; queues past it are left out
	maxNotes      = 4096      // waiting for another process; more are dropped, and their counts are wrong until the deadline
)

// holder is a running process. Its number is new at each start.
type holder uint32

func (h holder) String() string { return fmt.Sprintf("%08x", uint32(h)) }

// note tells the holder of a message what another process did with it.
type note struct {
	Queue string `json:"q"`
	Seq   uint64 `json:"s"`
	Until int64  `json:"u"` // Unix milliseconds; 0: the message is gone
	Was   int64  `json:"w"` // the deadline in the handle, Unix milliseconds
}

type ledger struct {
	svc  *Service
	me   holder
	kv   jetstream.KeyValue
	subs []*nats.Subscription

	wake chan struct{} // capacity 1: something changed

	mu      sync.Mutex
	changed bool
	notes   map[holder][]note
	others  map[string]map[string]deadlines // by holder and queue id
}

func newLedger(s *Service) *ledger {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return &ledger{
		svc: s, me: holder(binary.BigEndian.Uint32(b[:])), wake: make(chan struct{}, 1),
		notes: map[holder][]note{}, others: map[string]map[string]deadlines{},
	}
}

// start reads what others have written and follows it until ctx ends.
func (l *ledger) start(ctx context.Context) error {
	kv, err := l.svc.cfg.Control.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: flightBucket, Description: "deadlines of messages in flight", History: 1, TTL: flightTTL,
		Storage: jetstream.FileStorage, Replicas: l.svc.cfg.Replicas,
	})
	if err != nil {
		return err
	}
	l.kv = kv
	for subject, f := range map[string]nats.MsgHandler{flightSubject: l.told, firstSubject: l.asked, knownSubject: l.askedKnown} {
		sub, err := l.svc.cfg.Control.Conn().Subscribe(subject+l.me.String(), f)
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
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l *ledger) learn(e jetstream.KeyValueEntry) {
	if e.Key() == l.me.String() {
		return
	}
	var queues map[string]deadlines
	if e.Operation() == jetstream.KeyValuePut {
		if err := json.Unmarshal(e.Value(), &queues); err != nil {
			return // counts are a hint
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.Operation() != jetstream.KeyValuePut {
		delete(l.others, e.Key())
		return
	}
	l.others[e.Key()] = queues // also when nothing is hidden: it may know when messages were first received
}

// elsewhere counts the queue's messages that other processes have hidden.
func (l *ledger) elsewhere(queueID string, now time.Time) (n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, queues := range l.others {
		n += queues[queueID].after(now)
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

// tell passes on what was done with a message that another process handed out.
// A zero until means that it is gone.
func (l *ledger) tell(q *Queue, r receipt, until time.Time) {
	n := note{Queue: q.id, Seq: r.stream, Was: r.expires.UnixMilli()}
	if !until.IsZero() {
		n.Until = until.UnixMilli()
	}
	l.mu.Lock()
	if len(l.notes[r.holder]) < maxNotes {
		l.notes[r.holder] = append(l.notes[r.holder], n)
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
	l.notes = map[holder][]note{}
	l.mu.Unlock()
	for to, list := range notes {
		l.send(ctx, to, list)
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
	out, size := map[string]deadlines{}, 0
	for _, q := range l.svc.all() {
		d := q.flight.deadlines(now)
		if size += len(d)*20 + 40; size > maxFlight {
			break
		}
		if len(d) > 0 {
			out[q.id] = d
		}
	}
	b, err := json.Marshal(out)
	if err != nil {
		return nil // maps of numbers always encode
	}
	return b
}

// send hands notes to their holder. When it has ended, what it has written stays
// true but for the messages that the notes are about, and those are made good here.
func (l *ledger) send(ctx context.Context, to holder, list []note) {
	data, err := json.Marshal(list)
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err = l.svc.cfg.Control.Conn().RequestWithContext(ctx, flightSubject+to.String(), data)
	if !errors.Is(err, nats.ErrNoResponders) {
		return // told, or it does not answer now: a hint that is lost
	}
	now := time.Now()
	for _, n := range list {
		q := l.svc.byID(n.Queue)
		if q == nil {
			continue
		}
		if was := time.UnixMilli(n.Was); was.After(now) {
			q.flight.adjust(was, -1)
		}
		if until := time.UnixMilli(n.Until); n.Until > 0 && until.After(now) {
			q.flight.adjust(until, +1)
		}
	}
	l.change()
}

// told takes notes from another process.
func (l *ledger) told(m *nats.Msg) {
	var list []note
	if json.Unmarshal(m.Data, &list) != nil {
		return
	}
	for _, n := range list {
		q := l.svc.byID(n.Queue)
		switch {
		case q == nil:
		case n.Until == 0:
			q.flight.forget(n.Seq)
		default:
			q.flight.move(n.Seq, time.UnixMilli(n.Until))
		}
	}
	l.change()
	_ = m.Respond(nil) // who asks does not wait for long
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
