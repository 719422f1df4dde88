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

// Pulled is one message of a consumer.
type Pulled struct {
	Consumer Consumer
	Subject  string
	Header   nats.Header
	Data     []byte
	Count    int    // how often it has been delivered, this time included
	Sequence uint64 // in the stream
	Pending  int    // messages of the consumer that have not been delivered yet
	ack      string
}

// Ack is the request that acknowledges the message: it is gone when the answer comes.
func (p *Pulled) Ack() Request { return Request{Subject: p.ack, Data: []byte("+ACK")} }

// Again is the request that has the message delivered again after d. Only such a
// deadline survives a restart of the server.
func (p *Pulled) Again(d time.Duration) Request {
	if d <= 0 {
		return Request{Subject: p.ack, Data: []byte("-NAK")}
	}
	return Request{Subject: p.ack, Data: []byte(`-NAK {"delay": ` + strconv.FormatInt(d.Nanoseconds(), 10) + `}`)}
}

// Working is the message that has the consumer wait for as long again as its AckWait.
func (p *Pulled) Working() Request { return Request{Subject: p.ack, Data: []byte("+WPI")} }

// Consumer names a consumer.
type Consumer struct{ Stream, Name string }

// Release has messages delivered again at once. It does not wait: if it gets lost they
// come back by themselves, later.
func (w *Wire) Release(msgs []*Pulled) {
	for _, p := range msgs {
		if err := w.nc.Publish(p.ack, []byte("-NAK")); err != nil {
			return // the connection is gone
		}
	}
}

// Leave has messages delivered again when the wire is closed: before that they would
// only come to its own pulls, which still stand.
func (w *Wire) Leave(msgs ...*Pulled) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.left = append(w.left, msgs...)
}

// ErrNoConsumer ends a pull because the consumer, or its stream, is not there.
var ErrNoConsumer = errors.New("no such consumer")

// PullFunc takes what a pull brings, one call after the other: messages, and at the end
// nil with the reason, or with nil when there is nothing (more) to have. It must not
// block.
type PullFunc func(p *Pulled, err error)

// pull is the outstanding request of one consumer.
type pull struct {
	token    uint64
	left     int // messages that may still come
	f        PullFunc
	deadline time.Time
}

// lateness is how long after its end a pull may be silent before it counts as lost.
const lateness = 10 * time.Second

// Pull asks for up to n messages. It ends as soon as it has brought some; without any
// it stands until expires has passed. Of each consumer there can be one at a time: the
// caller waits for its end before the next.
//
// All pulls of a wire share its subscription, so a standing one costs nothing here.
func (w *Wire) Pull(c Consumer, n int, expires time.Duration, f PullFunc) {
	p := &pull{left: n, f: f, deadline: time.Now().Add(expires + lateness)}
	var reply string
	p.token, reply = w.expect(func(m *nats.Msg, err error) bool {
		w.endPull(c, p, statusError(m, err))
		return true
	})
	w.mu.Lock()
	w.pulls[c] = p
	w.mu.Unlock()
	body := append([]byte(`{"no_wait":true,"batch":`), strconv.Itoa(n)...)
	body = strconv.AppendInt(append(body, `,"expires":`...), expires.Nanoseconds(), 10)
	body = append(body, `,"max_bytes":`...)
	body = append(strconv.AppendInt(body, maxPullBytes, 10), '}')
	if err := w.nc.PublishRequest("$JS.API.CONSUMER.MSG.NEXT."+c.Stream+"."+c.Name, reply, body); err != nil {
		w.endPull(c, p, err)
	}
}

// Fetch is Pull for who can wait: it returns what came, after at most expires or when
// ctx ends. Like Pull it must not be called again for a consumer before it has returned.
func (w *Wire) Fetch(ctx context.Context, c Consumer, n int, expires time.Duration) ([]*Pulled, error) {
	var mu sync.Mutex
	var got []*Pulled
	end := make(chan error, 1)
	w.Pull(c, n, expires, func(p *Pulled, err error) {
		if p == nil {
			end <- err
			return
		}
		mu.Lock()
		defer mu.Unlock()
		got = append(got, p)
	})
	timer := time.NewTimer(expires + lateness)
	defer timer.Stop()
	var err error
	select {
	case err = <-end:
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-timer.C:
		err = nats.ErrTimeout
	}
	w.mu.Lock()
	if p := w.pulls[c]; p != nil { // what still comes goes back
		delete(w.pulls, c)
		delete(w.sinks, p.token)
	}
	w.mu.Unlock()
	mu.Lock()
	defer mu.Unlock()
	return got, err
}

// maxPullBytes bounds what one pull brings; the largest message is well below it.
const maxPullBytes = 4 << 20

// statusError is the reason for which the server ended a pull; nil when it has no
// more messages for it.
func statusError(m *nats.Msg, err error) error {
	if err != nil {
		return err
	}
	switch status := m.Header.Get("Status"); status {
	case "404", "408":
		return nil
	case "503":
		return ErrNoConsumer
	default:
		description := m.Header.Get("Description")
		switch description {
		case "Message Size Exceeds MaxBytes", "Batch Completed":
			return nil
		case "Consumer Deleted":
			return ErrNoConsumer
		}
		return errors.New(strings.TrimSpace(status + " " + description))
	}
}

func (w *Wire) endPull(c Consumer, p *pull, err error) {
	w.mu.Lock()
	current := w.pulls[c] == p
	if current {
		delete(w.pulls, c)
		delete(w.sinks, p.token)
	}
	w.mu.Unlock()
	if current {
		p.f(nil, err)
	}
}

// takeMessage hands a message to the pull of its consumer. What nobody waits for any
// more goes back at once.
func (w *Wire) takeMessage(m *nats.Msg) {
	got, ok := parsePulled(m)
	if !ok {
		return
	}
	w.mu.Lock()
	p := w.pulls[got.Consumer]
	last := false
	if p != nil {
		p.left--
		if last = p.left == 0; last {
			delete(w.pulls, got.Consumer)
			delete(w.sinks, p.token)
		}
	}
	w.mu.Unlock()
	if p == nil {
		w.Release([]*Pulled{got})
		return
	}
	p.f(got, nil)
	if last {
		p.f(nil, nil)
	}
}

// parsePulled reads a message and its reply subject, which is
// $JS.ACK[.<domain>.<account hash>].<stream>.<consumer>.<count>.<stream seq>.<consumer seq>.<time>.<pending>[.<token>].
func parsePulled(m *nats.Msg) (*Pulled, bool) {
	t := strings.Split(m.Reply, ".")
	switch {
	case len(t) == 9:
	case len(t) >= 11:
		t = t[2:]
	default:
		return nil, false
	}
	count, err := strconv.Atoi(t[4])
	seq, err2 := strconv.ParseUint(t[5], 10, 64)
	pending, err3 := strconv.Atoi(t[8])
	return &Pulled{
		Consumer: Consumer{t[2], t[3]}, Subject: m.Subject, Header: m.Header, Data: m.Data,
		Count: count, Sequence: seq, Pending: pending, ack: m.Reply,
	}, errors.Join(err, err2, err3) == nil
}

// Overdue ends the pulls whose end has got lost. It has to be called now and then.
func (w *Wire) Overdue(now time.Time) {
	w.mu.Lock()
	var lost []*pull
	for c, p := range w.pulls {
		if now.After(p.deadline) {
			lost = append(lost, p)
			delete(w.pulls, c)
			delete(w.sinks, p.token)
		}
	}
	w.mu.Unlock()
	for _, p := range lost {
		p.f(nil, ErrLost)
	}
}
