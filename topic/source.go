package topic

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq/internal/wire"
)

// source takes messages from one consumer of a topic's stream, for as long as it is not
// stopped. While there are none it costs one request standing at the server, which is
// renewed every few minutes, and nothing else.
type source struct {
	svc         *Service
	namespaceID string
	consumer    wire.Consumer
	config      jetstream.ConsumerConfig                                // to make the consumer when it is not there
	prepare     func(ctx context.Context, js jetstream.JetStream) error // does it instead; nil: config is enough
	// work is called with messages, on a goroutine of its own; when it returns there is
	// room for as many others. Stop waits for it.
	work  func(ctx context.Context, w *wire.Wire, msgs []*wire.Pulled)
	width int // messages that are worked on at a time, at most
	batch int // messages in one call of work, at most

	apart bool        // each message is worked on by itself and makes room when it is done
	room  func() int  // how many may be worked on at a time just now; nil: width
	alive func() bool // asked before each request; false ends the source. nil: always

	mu       sync.Mutex
	stopped  bool
	asked    bool           // a request stands at the server
	got      []*wire.Pulled // what it has brought so far
	busy     int            // messages that are being worked on
	failures int            // requests in a row that failed
}

const (
	// standing is how long a request for messages stands at the server.
	standing = 5 * time.Minute
	// maxPause is the longest pause between requests that fail.
	maxPause = 10 * time.Second
)

// start begins to take messages. It does not block.
func (x *source) start() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.ask()
}

// stop ends it. What is being worked on goes on; what comes later is left to others.
func (x *source) stop() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.stopped = true
}

// ask asks for messages if there is room and nothing asked for. An idle source asks for
// one only, so that many of them waking at once do not fill the memory. The caller
// holds mu.
func (x *source) ask() {
	width := x.width
	if x.room != nil {
		width = min(width, max(x.room(), 1))
	}
	if x.stopped || x.asked || x.busy >= width {
		return
	}
	n := min(x.batch, width-x.busy)
	if x.busy == 0 {
		n = 1
	}
	x.asked = x.svc.background(func() { x.request(n) })
}

func (x *source) request(n int) {
	if x.alive != nil && !x.alive() {
		x.stop()
		return
	}
	w, err := x.svc.wire(x.svc.run, x.namespaceID)
	if err == nil && x.failedBefore() {
		err = x.ensure(w)
	}
	if err != nil {
		x.take(nil, nil, err)
		return
	}
	w.Pull(x.consumer, n, standing, func(p *wire.Pulled, err error) { x.take(w, p, err) })
}

func (x *source) failedBefore() bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.failures > 0
}

// ensure makes the consumer unless it is there.
func (x *source) ensure(w *wire.Wire) error {
	ctx, cancel := context.WithTimeout(x.svc.run, wire.Timeout)
	defer cancel()
	js, err := jetstream.New(w.Conn())
	if err != nil {
		return err
	}
	if x.prepare != nil {
		return x.prepare(ctx, js)
	}
	_, err = js.CreateConsumer(ctx, x.consumer.Stream, x.config)
	if errors.Is(err, jetstream.ErrConsumerExists) {
		return nil
	}
	return err
}

// take is called with each message of a request and then with its end.
func (x *source) take(w *wire.Wire, p *wire.Pulled, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case p != nil && x.apart: // at once: the request may stand on when no more may be out
		x.busy++
		x.begin(w, []*wire.Pulled{p})
		return
	case p != nil:
		x.got = append(x.got, p)
		return
	}
	x.asked = false
	got := x.got
	x.got = nil
	if err == nil {
		x.failures = 0
	} else {
		x.failures++
	}
	if len(got) > 0 {
		x.busy += len(got)
		x.begin(w, got)
	}
	if x.failures > 0 && !errors.Is(err, wire.ErrNoConsumer) || x.failures > 1 {
		x.asked = true // until the pause is over
		time.AfterFunc(min(10*time.Millisecond<<min(x.failures, 10), maxPause), func() {
			x.mu.Lock()
			defer x.mu.Unlock()
			x.asked = false
			x.ask()
		})
		return
	}
	x.ask()
}

// begin works on messages. The caller holds mu and has counted them. What is worked on
// in batches is finished even when the service stops.
func (x *source) begin(w *wire.Wire, msgs []*wire.Pulled) {
	ctx := x.svc.run
	if !x.apart {
		ctx = context.WithoutCancel(ctx)
	}
	begun := x.svc.background(func() {
		x.work(ctx, w, msgs)
		x.mu.Lock()
		defer x.mu.Unlock()
		x.busy -= len(msgs)
		x.ask() //nolint:contextcheck // a source lives longer than a request
	})
	if !begun {
		w.Leave(msgs...) // for another process, or the next
	}
}
