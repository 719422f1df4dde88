package queue

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/wire"
)

// Receive says what to take.
type Receive struct {
	Max        int           // 1 to 10
	Wait       time.Duration // 0 to 20 s, 0 is a short poll; negative: the queue's default
	Visibility time.Duration // 0 to 12 h; negative: the queue's default
	AttemptID  string        // ReceiveRequestAttemptId, FIFO only; "" for none
}

// delivery is one message as the consumer handed it out.
type delivery struct {
	receipt
	data []byte
	from origin // where it was moved from, if it was
}

// Receive takes up to Max messages and hides them for Visibility. With Wait it
// returns as soon as there is one, or with none exactly when Wait has passed. No
// messages is not an error. When ctx ends first, what had been taken for the
// caller becomes visible again at once. Errors: NotFound, also when the queue is
// deleted meanwhile; QuotaExceeded (OverLimit) when MaxInFlight messages are
// hidden and Wait is zero; Unavailable.
func (q *Queue) Receive(ctx context.Context, in Receive) ([]Message, error) {
	begun := time.Now()
	got, err := q.receive(ctx, in)
	if current := q.svc.cfg.Current; current != nil && err == nil && len(got) > 0 {
		err = current() // after everything that was read
	}
	if err != nil {
		return nil, err
	}
	q.traceReceive(ctx, begun, got)
	q.countReceived(len(got))
	return got, nil
}

func (q *Queue) receive(ctx context.Context, in Receive) ([]Message, error) {
	if err := q.finishCreate(ctx); err != nil {
		return nil, err
	}
	r := q.record.Load()
	if in.Wait < 0 {
		in.Wait = r.Settings.seconds(attrReceiveWait)
	}
	if in.Visibility < 0 {
		in.Visibility = r.Settings.seconds(attrVisibility)
	}
	until, patience := time.Now().Add(in.Wait), time.Now().Add(max(in.Wait, q.svc.patience.Total))
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		out, err := q.receiveOnce(ctx, in)
		if !unknown(err) || !q.svc.pauseUntil(ctx, pause, patience) {
			return out, err
		}
		in.Wait = max(0, time.Until(until))
	}
}

// receiveOnce takes messages unless something is in the way.
func (q *Queue) receiveOnce(ctx context.Context, in Receive) ([]Message, error) {
	w, err := q.svc.connection(ctx, q.space)
	if err != nil {
		return nil, err
	}
	if q.fifo != nil {
		return q.fifo.receive(ctx, w, in)
	}
	taken, err := q.take(ctx, w, in)
	if err != nil || len(taken) == 0 {
		return nil, err
	}
	return q.claim(ctx, w, taken, in.Visibility)
}

// maxRounds bounds how often one receive looks again because all it got were dead
// letters.
const maxRounds = 20

// take gets deliveries, and sends those that have been received too often to the
// dead-letter queue.
func (q *Queue) take(ctx context.Context, w *link, in Receive) (taken []delivery, err error) {
	until := time.Now().Add(in.Wait)
	for range maxRounds {
		if wait := time.Until(until); wait <= 0 {
			taken, err = q.poll(ctx, w, in.Max)
		} else {
			taken, err = q.longPoll(ctx, w, in.Max, wait)
		}
		if err != nil || len(taken) == 0 {
			return nil, err
		}
		if taken = q.bury(ctx, w, taken); len(taken) > 0 {
			return taken, nil
		}
	}
	return nil, nil
}

// claim hides deliveries for the visibility timeout. It is done by a NAK with a
// delay, whose deadline survives a restart of the server, and only what the
// server has confirmed is handed to the caller; the rest comes back after ackWait.
func (q *Queue) claim(ctx context.Context, w *link, taken []delivery, visibility time.Duration) ([]Message, error) {
	q.learnFirst(ctx, taken)
	now := time.Now()
	until := now.Add(visibility)
	reqs := make([]request, len(taken), 2*len(taken))
	for i, d := range taken {
		reqs[i] = q.hide(w, d.receipt, visibility)
	}
	removals := make([]int, len(taken)) // index of the request that removes the original of a moved message
	for i, d := range taken {
		if d.from.queue != "" {
			removals[i] = len(reqs)
			reqs = append(reqs, d.from.remove())
		}
	}
	answers := w.Exchange(ctx, reqs, q.svc.patience.Try)
	if err := ctx.Err(); err != nil {
		q.release(w, taken)
		return nil, err
	}
	out := make([]Message, 0, len(taken))
	var failed error
	for i, d := range taken {
		if a := answers[i]; a.Err != nil || wire.NoResponders(a.Msg) {
			failed = errors.Join(failed, a.Err)
			continue
		}
		if removals[i] > 0 {
			if err := originalGone(answers[removals[i]]); err != nil {
				failed = errors.Join(failed, err)
				q.release(w, taken[i:i+1])
				continue
			}
		}
		s, err := decodeStored(d.data)
		if err != nil {
			q.svc.log.ErrorContext(ctx, "message cannot be read", "queue", q.name, "namespace_id", q.space.id, "sequence", d.stream, "error", err)
			continue
		}
		d.expires, d.received, d.holder = until, now, q.svc.ledger.me
		m := s.message()
		m.ReceiveCount = q.flight.received(d.receipt) + int(s.received) //nolint:gosec // a count of receives
		m.FirstReceived = q.flight.hide(d.receipt, now, until)
		if !s.first.IsZero() {
			m.FirstReceived = s.first
		}
		m.Handle = q.svc.sealer.seal(q.id, d.receipt)
		out = append(out, m)
	}
	q.svc.ledger.change()
	if len(out) == 0 && failed != nil {
		return nil, unavailable("queue.Receive", q.name, failed)
	}
	return out, nil
}

// release makes deliveries visible again at once. The answers are not waited for:
// if the NAK gets lost they come back after ackWait or their visibility timeout.
func (q *Queue) release(w *link, taken []delivery) {
	for _, d := range taken {
		q.flight.unhide(d.stream)
		r := q.hide(w, d.receipt, 0)
		if err := w.Conn().Publish(r.Subject, r.Data); err != nil {
			return // the connection is gone; ackWait does it
		}
	}
}

// hide is the request that makes a delivery visible again after d. At once is two
// acknowledgements: the consumer keeps the deadline that comes with a delay and
// forgets over a restart that one without was to be redelivered.
func (q *Queue) hide(w *link, r receipt, d time.Duration) request {
	subject := q.ackSubject(r)
	if d <= 0 {
		_ = w.Conn().Publish(subject, nak(1)) // when it fails the request does too
	}
	return request{Subject: subject, Data: nak(d)}
}

// nak is the acknowledgement that asks for redelivery after d.
func nak(d time.Duration) []byte {
	if d <= 0 {
		return []byte("-NAK")
	}
	return []byte(`-NAK {"delay": ` + strconv.FormatInt(d.Nanoseconds(), 10) + `}`)
}

// ackSubject is where a delivery is acknowledged.
func (q *Queue) ackSubject(r receipt) string {
	b := make([]byte, 0, 128)
	b = append(b, "$JS.ACK."...)
	b = append(b, "q_"+q.id+"."+r.track.consumer()+"."...)
	b = strconv.AppendUint(b, uint64(r.count), 10)
	b = append(b, '.')
	b = strconv.AppendUint(b, r.stream, 10)
	b = append(b, '.')
	b = strconv.AppendUint(b, r.consumer, 10)
	b = append(b, '.')
	b = strconv.AppendInt(b, r.stamp, 10)
	return string(append(b, ".0"...))
}

// parseDelivery reads what a pull brought. The reply subject is
// $JS.ACK[.<domain>.<account hash>].<stream>.<consumer>.<count>.<stream seq>.<consumer seq>.<time>.<pending>[.<token>].
func parseDelivery(m *nats.Msg) (delivery, bool) {
	t := strings.Split(m.Reply, ".")
	switch {
	case len(t) == 9:
	case len(t) >= 11:
		t = t[2:]
	default:
		return delivery{}, false
	}
	var n [4]uint64
	for i := range n {
		v, err := strconv.ParseUint(t[4+i], 10, 64)
		if err != nil {
			return delivery{}, false
		}
		n[i] = v
	}
	return delivery{
		receipt: receipt{count: uint32(n[0]), stream: n[1], consumer: n[2], stamp: int64(n[3])}, //nolint:gosec // the server's own numbers
		data:    m.Data,
		from:    originOf(m.Subject),
	}, true
}

// pull is one request for messages. Its messages belong to whoever made it; when
// nobody wants them any more they are released as they come.
type pull struct {
	q      *Queue
	w      *link
	track  track
	onOver func() // called once when no more will come

	mu       sync.Mutex
	n        int // messages that may still come
	got      []delivery
	over     bool // no more will come
	crowded  bool // it ended because others were first, or its time was up
	orphaned bool
	err      error
	done     chan struct{} // closed with over
}

// pullBody asks for n messages in one go: with a zero expiry the answer comes at
// once, else as soon as there is something.
func pullBody(n int, expires time.Duration) []byte {
	b := append([]byte(`{"no_wait":true,"batch":`), strconv.Itoa(n)...)
	if expires > 0 {
		b = strconv.AppendInt(append(b, `,"expires":`...), expires.Nanoseconds(), 10)
	}
	return append(b, '}')
}

// ask is what a pull asks for.
type ask struct {
	track   track
	n       int           // messages
	expires time.Duration // 0: answer at once
}

// startPull sends a request for messages. onOver, when given, is called once when
// no more will come.
func (q *Queue) startPull(w *link, a ask, onOver func()) *pull {
	p := &pull{q: q, w: w, track: a.track, n: a.n, onOver: onOver, done: make(chan struct{})}
	if err := w.PullApart("$JS.API.CONSUMER.MSG.NEXT.q_"+q.id+"."+a.track.consumer(), pullBody(a.n, a.expires), p.take); err != nil {
		p.take(nil, err)
	}
	return p
}

// take adds one answer and reports whether the pull is over.
func (p *pull) take(m *nats.Msg, err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.over {
		return true
	}
	switch {
	case err != nil:
		p.err, p.over = err, true
	case m.Header != nil && m.Header.Get("Status") != "":
		// 404 no messages, 408 timeout or others were first, 409 the consumer
		// went away or moved, 503 nobody there. 100 is a heartbeat.
		switch status := m.Header.Get("Status"); status {
		case "100":
			return false
		case "404", "408":
			p.over, p.crowded = true, status == "408"
		default:
			p.err, p.over = errors.New(strings.TrimSpace(status+" "+m.Header.Get("Description"))), true
		}
	default:
		d, ok := parseDelivery(m)
		if !ok {
			return false
		}
		d.track = p.track
		p.n--
		p.over = p.n <= 0
		if p.orphaned {
			p.q.release(p.w, []delivery{d})
		} else {
			p.got = append(p.got, d)
		}
	}
	if p.over {
		close(p.done)
		if p.onOver != nil {
			p.onOver()
		}
	}
	return p.over
}

// abandon returns what has come so far; what comes later is released.
func (p *pull) abandon() []delivery {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.orphaned = true
	got := p.got
	p.got = nil
	return got
}

// adopt makes an abandoned pull the caller's, unless it is over.
func (p *pull) adopt() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.orphaned = p.over
	return !p.over
}

// pollTimeout bounds a short poll. Only a consumer with MaxInFlight messages out
// leaves it without an answer, and then the request stands at the server for ever; so
// for fullFor after that has been seen, requests end there after fullWait.
const (
	pollTimeout = 2 * time.Second
	fullFor     = time.Minute
	fullWait    = 100 * time.Millisecond
)

// settle is how long after a send a short poll that finds nothing looks again,
// and how long it then waits: the server tells its consumers of a new message
// after it has confirmed it, and who has just sent expects to receive.
const (
	settle     = 250 * time.Millisecond
	settleWait = 25 * time.Millisecond
)

// poll takes what is there now.
func (q *Queue) poll(ctx context.Context, w *link, n int) ([]delivery, error) {
	tracks := q.tracks()
	for _, l := range tracks {
		if got, err := q.pollOnce(ctx, w, ask{track: l, n: n}); err != nil || len(got) > 0 {
			return got, err
		}
	}
	if time.Since(time.Unix(0, q.lastSend.Load())) < settle {
		return q.pollOnce(ctx, w, ask{tracks[0], n, settleWait})
	}
	return nil, nil
}

func (q *Queue) pollOnce(ctx context.Context, w *link, a ask) ([]delivery, error) {
	full := time.Since(time.Unix(0, q.lastFull.Load())) < fullFor
	if full {
		a.expires = max(a.expires, fullWait)
	}
	p := q.startPull(w, a, nil)
	timer := time.NewTimer(pollTimeout)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		if got := p.abandon(); len(got) > 0 {
			return got, nil
		}
		if err := q.overLimit(ctx, w, a.track); err != nil {
			return nil, err
		}
		return nil, unavailable("queue.Receive", q.name, nats.ErrTimeout)
	case <-q.closed:
		p.abandon()
		return nil, missing(q.name)
	case <-ctx.Done():
		q.release(w, p.abandon())
		return nil, ctx.Err()
	}
	got := p.abandon()
	switch {
	case len(got) > 0:
		return got, nil
	case p.err != nil:
		return nil, q.pullError(p.err)
	case p.crowded && (full || a.expires == 0): // by requests that nobody can answer, perhaps
		return nil, q.overLimit(ctx, w, a.track)
	}
	return nil, nil
}

// overLimit returns the error of a consumer that has as many messages out as a queue
// allows; nil when it has fewer.
func (q *Queue) overLimit(ctx context.Context, w *link, l track) error {
	c, err := w.js.Consumer(ctx, q.record.Load().stream(), l.consumer())
	if err != nil {
		return q.streamError("queue.Receive", err)
	}
	if c.CachedInfo().NumAckPending < q.svc.maxInFlight {
		return nil
	}
	q.lastFull.Store(time.Now().UnixNano())
	return &mnq.Error{
		Kind: mnq.QuotaExceeded, Code: "OverLimit", Op: "queue.Receive", Resource: q.name,
		Msg: "The queue has 120000 messages in flight. Delete received messages before receiving more.",
	}
}

func (q *Queue) pullError(err error) error {
	select {
	case <-q.closed:
		return missing(q.name)
	default:
		return unavailable("queue.Receive", q.name, err)
	}
}

// maxPulls is how many long polls of one queue and process ask the server at the
// same time; the others wait here for a free place. The server looks at every
// waiting request again and again, so a queue with thousands of idle receivers
// must not park them all there.
const maxPulls = 64

// retryPull is how long a long poll waits after a request that ended without a
// message, such as while a consumer finds a new leader.
const retryPull = 100 * time.Millisecond

// longPoll waits until there is a message.
func (q *Queue) longPoll(ctx context.Context, w *link, n int, wait time.Duration) ([]delivery, error) {
	if q.record.Load().Crowd {
		return q.longPollTracks(ctx, w, n, wait)
	}
	pulls := &q.pulls[trackReady]
	deadline := time.Now().Add(wait)
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for {
		p := pulls.adopt(w)
		if p == nil {
			select {
			case <-pulls.acquire():
			case <-timer.C:
				return nil, nil
			case <-q.closed:
				return nil, missing(q.name)
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			p = q.startPull(w, ask{n: n, expires: max(time.Until(deadline), time.Millisecond)}, pulls.release)
		}
		got, over, err := q.await(ctx, p, timer)
		if len(got) > n { // an adopted request may have asked for more
			q.release(w, got[n:])
			got = got[:n]
		}
		if over || err != nil || len(got) > 0 {
			return got, err
		}
		select {
		case <-time.After(min(retryPull, max(0, time.Until(deadline)))):
		case <-q.closed:
			return nil, missing(q.name)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if w, err = q.svc.connection(ctx, q.space); err != nil {
			return nil, err
		}
	}
}

// await waits for a pull to end. over says that the poll's time is up.
func (q *Queue) await(ctx context.Context, p *pull, timer *time.Timer) (got []delivery, over bool, err error) {
	select {
	case <-p.done:
		got = p.abandon()
		select {
		case <-q.closed:
			err = missing(q.name)
		default:
		}
		return got, false, err
	case <-timer.C:
		got = p.abandon()
		q.pulls[p.track].orphan(p)
		return got, true, nil
	case <-q.closed:
		p.abandon()
		return nil, true, missing(q.name)
	case <-ctx.Done():
		q.release(p.w, p.abandon())
		q.pulls[p.track].orphan(p)
		return nil, true, ctx.Err()
	}
}

// pullSlots are the places for long polls at the server, and the requests still
// standing there whose receivers have gone. The next receiver takes such a
// request over, so that a message which answers it is not delivered in vain.
type pullSlots struct {
	once sync.Once
	free chan struct{}

	mu      sync.Mutex
	orphans []*pull
}

func (s *pullSlots) acquire() <-chan struct{} {
	s.once.Do(func() {
		s.free = make(chan struct{}, maxPulls)
		for range maxPulls {
			s.free <- struct{}{}
		}
	})
	return s.free
}

func (s *pullSlots) release() { s.free <- struct{}{} }

func (s *pullSlots) orphan(p *pull) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.orphans = append(s.orphans, p)
}

// adopt returns a standing request made over w, now owned by the caller, or nil.
func (s *pullSlots) adopt(w *link) *pull {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.orphans) > 0 {
		p := s.orphans[0]
		s.orphans = s.orphans[1:]
		if p.w == w && p.adopt() {
			return p
		}
	}
	return nil
}
