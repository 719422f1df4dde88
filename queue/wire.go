package queue

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/node"
)

// answerTimeout is how long a server may take to answer a write. Past it the
// outcome is unknown.
const answerTimeout = 5 * time.Second

// errLost ends what was waiting for an answer when the connection was made anew.
var errLost = errors.New("the connection was lost meanwhile")

// wire sends many requests at once over one connection and one subscription, and
// matches the answers by a token in the reply subject. It is what keeps the cost
// of a send, a receive and a delete at a few microseconds.
type wire struct {
	nc *nats.Conn
	js jetstream.JetStream

	patience node.Patience

	prefix string // of the reply subjects, with the trailing dot
	sub    *nats.Subscription
	quit   chan struct{}

	mu    sync.Mutex
	cut   chan struct{} // closed when the connection was replaced, then another one
	next  uint64
	sinks map[uint64]sinkFunc
	lanes []*lane // all of them
	free  []*lane // those without a request
}

// lane is a subscription for the answers to one pull request at a time. Messages
// of a pull arrive under their own subject, not under the reply subject, so each
// standing request needs a subscription of its own; they are kept and used again.
type lane struct {
	w      *wire
	prefix string
	sub    *nats.Subscription

	mu   sync.Mutex
	turn uint64   // of the request, the last token of its reply subject
	sink sinkFunc // nil while free
}

// sinkFunc takes one answer, or the error that ends the waiting for it (then m
// is nil), and reports whether no more are expected. It must not block.
type sinkFunc func(m *nats.Msg, err error) (done bool)

func newWire(nc *nats.Conn, js jetstream.JetStream, p node.Patience) (*wire, error) {
	w := &wire{nc: nc, js: js, patience: p, prefix: nc.NewRespInbox() + ".", sinks: map[uint64]sinkFunc{}, cut: make(chan struct{}), quit: make(chan struct{})}
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

// watch ends everything outstanding when the connection was replaced: answers to
// requests of the old one do not come any more.
func (w *wire) watch(status chan nats.Status) {
	for {
		select {
		case s, ok := <-status:
			if !ok || s == nats.CLOSED {
				w.fail(errLost)
				return
			}
			w.fail(errLost)
		case <-w.quit:
			w.nc.RemoveStatusListener(status)
			w.fail(errLost)
			return
		}
	}
}

func (w *wire) close() {
	close(w.quit)
	w.mu.Lock()
	lanes := w.lanes
	w.lanes, w.free = nil, nil
	w.mu.Unlock()
	_ = w.sub.Unsubscribe() // fails only when the connection is closed already
	for _, l := range lanes {
		_ = l.sub.Unsubscribe()
	}
}

func (w *wire) fail(err error) {
	w.mu.Lock()
	old := w.sinks
	w.sinks = map[uint64]sinkFunc{}
	close(w.cut)
	w.cut = make(chan struct{})
	lanes := w.lanes
	w.mu.Unlock()
	for _, f := range old {
		f(nil, err)
	}
	for _, l := range lanes {
		l.end(err)
	}
}

// broken returns a channel that is closed when the connection has been replaced or
// ended: what was on its way over the old one does not come any more.
func (w *wire) broken() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cut
}

// pull sends a request for messages; sink takes what comes until it is over.
func (w *wire) pull(subject string, body []byte, sink sinkFunc) error {
	l, err := w.lane()
	if err != nil {
		return err
	}
	reply := l.begin(sink)
	if err := w.nc.PublishRequest(subject, reply, body); err != nil {
		l.mu.Lock()
		l.sink = nil
		l.mu.Unlock()
		w.giveBack(l)
		return err
	}
	return nil
}

func (w *wire) lane() (*lane, error) {
	w.mu.Lock()
	if n := len(w.free); n > 0 {
		l := w.free[n-1]
		w.free = w.free[:n-1]
		w.mu.Unlock()
		return l, nil
	}
	w.mu.Unlock()
	l := &lane{w: w, prefix: w.nc.NewRespInbox() + "."}
	var err error
	if l.sub, err = w.nc.Subscribe(l.prefix+"*", l.receive); err != nil {
		return nil, err
	}
	if err := l.sub.SetPendingLimits(-1, -1); err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lanes = append(w.lanes, l)
	return l, nil
}

func (w *wire) giveBack(l *lane) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.free = append(w.free, l)
}

// begin takes the lane for a request and returns its reply subject.
func (l *lane) begin(sink sinkFunc) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn++
	l.sink = sink
	return l.prefix + strconv.FormatUint(l.turn, 36)
}

func (l *lane) receive(m *nats.Msg) {
	l.mu.Lock()
	sink := l.sink
	if token, ok := strings.CutPrefix(m.Subject, l.prefix); ok && token != strconv.FormatUint(l.turn, 36) {
		sink = nil // a status that an earlier request left behind
	}
	over := sink != nil && sink(m, nil)
	if over {
		l.sink = nil
	}
	l.mu.Unlock()
	if over {
		l.w.giveBack(l)
	}
}

func (l *lane) end(err error) {
	l.mu.Lock()
	sink := l.sink
	l.sink = nil
	l.mu.Unlock()
	if sink != nil {
		sink(nil, err)
		l.w.giveBack(l)
	}
}

func (w *wire) receive(m *nats.Msg) {
	token, err := strconv.ParseUint(m.Subject[len(w.prefix):], 36, 64)
	if err != nil {
		return
	}
	w.mu.Lock()
	f := w.sinks[token]
	w.mu.Unlock()
	if f != nil && f(m, nil) {
		w.forget(token)
	}
}

// expect registers f and returns its token and reply subject.
func (w *wire) expect(f sinkFunc) (uint64, string) {
	w.mu.Lock()
	w.next++
	token := w.next
	w.sinks[token] = f
	w.mu.Unlock()
	return token, w.prefix + strconv.FormatUint(token, 36)
}

func (w *wire) forget(token uint64) {
	w.mu.Lock()
	delete(w.sinks, token)
	w.mu.Unlock()
}

// request is one message that wants one answer.
type request struct {
	subject string
	header  nats.Header
	data    []byte
	// key keeps writes apart whose conditions are on the same wildcard: in one batch the
	// server looks at the stream only, and takes both.
	key string
}

// answer is what came back: a message, or an error that leaves the outcome open.
type answer struct {
	msg *nats.Msg
	err error
	seq uint64 // of a write that went with others; then there is no msg
}

// exchange sends all requests at once and waits until each has its answer, ctx
// ends or timeout has passed.
func (w *wire) exchange(ctx context.Context, reqs []request, timeout time.Duration) []answer {
	if len(reqs) == 0 {
		return nil
	}
	var (
		mu      sync.Mutex
		answers = make([]answer, len(reqs))
		tokens  = make([]uint64, len(reqs))
		left    = len(reqs)
		all     = make(chan struct{})
	)
	for i, r := range reqs {
		sink := func(m *nats.Msg, err error) bool {
			mu.Lock()
			defer mu.Unlock()
			if answers[i].msg == nil && answers[i].err == nil {
				answers[i] = answer{msg: m, err: err}
				if left--; left == 0 {
					close(all)
				}
			}
			return true
		}
		token, reply := w.expect(sink)
		tokens[i] = token
		if err := w.nc.PublishMsg(&nats.Msg{Subject: r.subject, Reply: reply, Header: r.header, Data: r.data}); err != nil {
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
	for _, t := range tokens {
		w.forget(t)
	}
	mu.Lock()
	defer mu.Unlock()
	out := make([]answer, len(answers)) // late sinks may still write to answers
	for i, a := range answers {
		if a.msg == nil && a.err == nil {
			a.err = cause
		}
		out[i] = a
	}
	return out
}

// noResponders reports that nothing serves the subject: the stream is gone, or
// JetStream is down.
func noResponders(m *nats.Msg) bool { return len(m.Data) == 0 && m.Header.Get("Status") == "503" }

// unavailable is the error for an outcome that nobody knows.
func unavailable(op, queue string, err error) error {
	return &mnq.Error{Kind: mnq.Unavailable, Op: op, Resource: queue, Msg: "The storage does not answer. Please try again.", Err: err}
}
