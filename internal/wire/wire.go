// Package wire sends many JetStream requests at once over one connection and reads
// the answers. Queues and topics share it.
package wire

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// Timeout is how long a server may take to answer a write. Past it the outcome is
// unknown.
const Timeout = 5 * time.Second

// ErrLost ends what was waiting for an answer when the connection was made anew.
var ErrLost = errors.New("the connection was lost meanwhile")

// Wire matches answers to requests by a token in the reply subject, over a single
// subscription. It is what keeps the cost of a request at a few microseconds. It is
// safe for concurrent use.
type Wire struct {
	nc     *nats.Conn
	prefix string // of the reply subjects, with the trailing dot
	sub    *nats.Subscription
	quit   chan struct{}

	mu    sync.Mutex
	cut   chan struct{} // closed when the connection was replaced, then another one
	next  uint64
	sinks map[uint64]SinkFunc
	pulls map[Consumer]*pull
	left  []*Pulled // see Leave
	lanes []*lane   // all of them
	free  []*lane   // those without a request
}

// SinkFunc takes one answer, or the error that ends the waiting for it (then m is
// nil), and reports whether no more are expected. It must not block.
type SinkFunc func(m *nats.Msg, err error) (over bool)

// New makes a wire over a connection, which the caller keeps open.
func New(nc *nats.Conn) (*Wire, error) {
	w := &Wire{nc: nc, prefix: nc.NewRespInbox() + ".", sinks: map[uint64]SinkFunc{}, pulls: map[Consumer]*pull{}, cut: make(chan struct{}), quit: make(chan struct{})}
	var err error
	if w.sub, err = nc.Subscribe(w.prefix+"*", w.receive); err != nil {
		return nil, err
	}
	// What is outstanding bounds what can arrive, so nothing is ever dropped.
	if err := w.sub.SetPendingLimits(-1, -1); err != nil {
		return nil, err
	}
	status := nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	go w.watch(status)
	return w, nil
}

// Conn returns the connection.
func (w *Wire) Conn() *nats.Conn { return w.nc }

// watch ends everything outstanding when the connection was replaced: answers to
// requests of the old one do not come any more.
func (w *Wire) watch(status chan nats.Status) {
	for {
		select {
		case s, ok := <-status:
			w.fail()
			if !ok || s == nats.CLOSED {
				return
			}
		case <-w.quit:
			w.nc.RemoveStatusListener(status)
			return
		}
	}
}

// Close ends everything outstanding, and gives back what was left with [Wire.Leave]. A
// message that is on its way to a pull comes back when its consumer's AckWait is over.
func (w *Wire) Close(ctx context.Context) {
	w.Drop()
	w.mu.Lock()
	left := w.left
	w.left = nil
	w.mu.Unlock()
	for _, p := range left { // the server knows by now that this wire takes no more
		r := p.Again(time.Millisecond) // without any delay it would not outlive a restart of the server
		_ = w.nc.Publish(r.Subject, r.Data)
	}
	if w.nc.IsConnected() {
		ctx, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_ = w.nc.FlushWithContext(ctx) // what gets lost comes back by itself
	}
}

// Drop is Close for a wire with which nothing was left: it waits for nothing. One of the
// two must be called, once.
func (w *Wire) Drop() {
	_ = w.sub.Unsubscribe() // fails only when the connection is closed already
	close(w.quit)
	w.fail()
	w.mu.Lock()
	lanes := w.lanes
	w.lanes, w.free = nil, nil
	w.mu.Unlock()
	for _, l := range lanes {
		_ = l.sub.Unsubscribe()
	}
}

func (w *Wire) fail() {
	w.mu.Lock()
	old := w.sinks
	w.sinks = map[uint64]SinkFunc{}
	close(w.cut)
	w.cut = make(chan struct{})
	lanes := w.lanes
	w.mu.Unlock()
	for _, f := range old {
		f(nil, ErrLost)
	}
	for _, l := range lanes {
		l.end()
	}
}

// Closed returns a channel that is closed when the wire is.
func (w *Wire) Closed() <-chan struct{} { return w.quit }

// Broken returns a channel that is closed when the connection has been replaced or
// ended: what was on its way over the old one does not come any more.
func (w *Wire) Broken() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cut
}

func (w *Wire) receive(m *nats.Msg) {
	if !strings.HasPrefix(m.Subject, w.prefix) { // messages of a pull come under their own subject
		w.takeMessage(m)
		return
	}
	token, err := strconv.ParseUint(m.Subject[len(w.prefix):], 36, 64)
	if err != nil {
		return
	}
	w.mu.Lock()
	f := w.sinks[token]
	w.mu.Unlock()
	if f != nil && f(m, nil) {
		w.forget([]uint64{token})
	}
}

// expect registers f and returns its token and reply subject.
func (w *Wire) expect(f SinkFunc) (uint64, string) {
	w.mu.Lock()
	w.next++
	token := w.next
	w.sinks[token] = f
	w.mu.Unlock()
	return token, w.prefix + strconv.FormatUint(token, 36)
}

func (w *Wire) forget(tokens []uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, t := range tokens {
		delete(w.sinks, t)
	}
}

// Request is one message that wants one answer.
type Request struct {
	Subject string
	Header  nats.Header
	Data    []byte
	// Key keeps writes apart whose conditions are on the same wildcard: in one batch the
	// server looks at the stream only, and takes both.
	Key string
}

// Answer is what came back: a message, or an error that leaves the outcome open.
type Answer struct {
	Msg *nats.Msg
	Err error
	Seq uint64 // of a write that went with others; then there is no Msg
}

// Exchange sends all requests at once, in order, and waits until each has its answer,
// ctx ends or timeout has passed.
func (w *Wire) Exchange(ctx context.Context, reqs []Request, timeout time.Duration) []Answer {
	if len(reqs) == 0 {
		return nil
	}
	var (
		mu      sync.Mutex
		answers = make([]Answer, len(reqs))
		tokens  = make([]uint64, len(reqs))
		left    = len(reqs)
		all     = make(chan struct{})
	)
	for i, r := range reqs {
		sink := func(m *nats.Msg, err error) bool {
			mu.Lock()
			defer mu.Unlock()
			if answers[i].Msg == nil && answers[i].Err == nil {
				answers[i] = Answer{Msg: m, Err: err}
				if left--; left == 0 {
					close(all)
				}
			}
			return true
		}
		token, reply := w.expect(sink)
		tokens[i] = token
		if err := w.nc.PublishMsg(&nats.Msg{Subject: r.Subject, Reply: reply, Header: r.Header, Data: r.Data}); err != nil {
			sink(nil, err)
		}
	}
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	var cause error
	select {
	case <-all:
		return answers
	case <-timer.C:
		cause = nats.ErrTimeout
	case <-ctx.Done():
		cause = context.Cause(ctx)
	}
	w.forget(tokens)
	mu.Lock()
	defer mu.Unlock()
	out := make([]Answer, len(answers)) // late sinks may still write to answers
	for i, a := range answers {
		if a.Msg == nil && a.Err == nil {
			a.Err = cause
		}
		out[i] = a
	}
	return out
}

// Collect sends a request that has many answers; each takes one at a time until it says
// that it is done, or fails. It waits for at most [Timeout].
func (w *Wire) Collect(ctx context.Context, r Request, each func(*nats.Msg) (done bool, err error)) error {
	over := make(chan error, 1)
	ended := false
	var mu sync.Mutex
	token, reply := w.expect(func(m *nats.Msg, err error) bool {
		mu.Lock()
		defer mu.Unlock()
		if ended {
			return true
		}
		done := err != nil
		if err == nil {
			done, err = each(m)
		}
		if done || err != nil {
			ended = true
			over <- err
		}
		return ended
	})
	defer w.forget([]uint64{token})
	if err := w.nc.PublishMsg(&nats.Msg{Subject: r.Subject, Reply: reply, Header: r.Header, Data: r.Data}); err != nil {
		return err
	}
	timer := time.NewTimer(Timeout)
	defer timer.Stop()
	var err error
	select {
	case err = <-over:
		return err
	case <-timer.C:
		err = nats.ErrTimeout
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	mu.Lock()
	defer mu.Unlock()
	ended = true
	return err
}
