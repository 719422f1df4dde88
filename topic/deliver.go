package topic

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq/internal/wire"
)

// deliveries is the machinery that delivers to subscriptions one by one: http, https
// and lambda, and queues that could not be written at once. Each such subscription has
// its messages in the topic's stream, a durable consumer of its own for them, and in
// every process a source that takes them from it.
//
// Nothing that matters is kept in memory: the attempts are counted by the consumer, and
// a pause is a NAK with a delay. So any process goes on where another was killed.
type deliveries struct {
	s         *Service
	slots     *slots
	throttles *throttles

	trying context.Context // of attempts, which may be finished while the service stops
	cut    context.CancelFunc

	mu      sync.Mutex
	sources map[string]*source // by subscription
}

const (
	// deliveryWait is how long a message stays with a process that has died while it
	// attempted its delivery. An attempt and what follows it take less.
	deliveryWait = requestTimeout + maxDrain + 3*wire.Timeout

	// stopGrace is what attempts under way have when the service stops.
	stopGrace = 3 * time.Second

	maxWaits = 100_000 // messages of a subscription between two attempts

	// buryAgain is the pause when a dead letter could not be stored.
	buryAgain = 20 * time.Second
)

// The consumer of a subscription's deliveries.
func deliveryConsumer(subscriptionID string) string { return "d_" + subscriptionID }

func (t *Topic) deliveryConfig(subscriptionID string) jetstream.ConsumerConfig {
	r := t.state.Load()
	c := jetstream.ConsumerConfig{
		Durable: deliveryConsumer(subscriptionID), FilterSubject: r.delivery(subscriptionID),
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: deliveryWait, MaxDeliver: -1,
		MaxAckPending: maxWaits, MaxWaiting: 4096, Replicas: t.svc.cfg.Replicas,
	}
	if t.FIFO() {
		c.MaxAckPending = 1
	}
	return c
}

func newDeliveries(s *Service) *deliveries {
	d := &deliveries{s: s, slots: newSlots(), throttles: newThrottles(s.cfg.Control, s.cfg.Replicas), sources: map[string]*source{}}
	d.trying, d.cut = context.WithCancel(context.Background())
	return d
}

// cutIn ends the attempts under way after grace or with ctx, unless the function that it
// returns is called before.
func (d *deliveries) cutIn(ctx context.Context, grace time.Duration) (stop func()) {
	timer := time.AfterFunc(grace, d.cut)
	ended := context.AfterFunc(ctx, d.cut)
	return func() {
		timer.Stop()
		ended()
		d.cut()
	}
}

// wake sees to it that the subscription's deliveries are taken. It does not block.
func (d *deliveries) wake(r *subscriptionRecord) {
	t := d.s.lookup(r.namespaceID, r.Topic)
	if t == nil || t.id != r.topicID {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sources[r.ID] != nil {
		return
	}
	place := placeOf(r)
	id := r.ID
	x := &source{
		svc: d.s, namespaceID: t.namespaceID, consumer: wire.Consumer{Stream: t.state.Load().stream(), Name: deliveryConsumer(r.ID)},
		config: t.deliveryConfig(r.ID), width: endpointSlots, batch: endpointSlots, apart: true,
		room:  func() int { return d.room(t, id, place) },
		alive: func() bool { return d.alive(t, id) },
		work:  func(_ context.Context, w *wire.Wire, msgs []*wire.Pulled) { d.deliver(t, id, w, msgs[0]) },
	}
	if t.FIFO() {
		x.width, x.batch = 1, 1 // nothing overtakes what waits for its next attempt
	}
	d.sources[id] = x
	x.start()
}

// room is how many messages of a subscription may be taken just now.
func (d *deliveries) room(t *Topic, subscriptionID, place string) int {
	n := d.slots.room(t.namespaceID, place)
	if r := d.subscription(t, subscriptionID); r != nil {
		if perSecond := policyOf(t, r, notification).PerSecond(); perSecond > 0 {
			n = min(n, throttleChunk(perSecond))
		}
	}
	return n
}

// gone has what a removed subscription leaves behind removed. It does not block.
func (d *deliveries) gone(t *Topic, subscriptionID string) {
	if t != nil {
		d.s.background(func() { d.alive(t, subscriptionID) })
	}
}

// alive reports whether there is still something to deliver to. When there is not it
// removes what the subscription has left behind.
func (d *deliveries) alive(t *Topic, subscriptionID string) bool {
	if !t.deleted() && d.subscription(t, subscriptionID) != nil {
		return true
	}
	d.mu.Lock()
	delete(d.sources, subscriptionID)
	d.mu.Unlock()
	if err := d.clear(d.s.run, t, subscriptionID); err != nil && d.s.run.Err() == nil {
		d.s.log.WarnContext(d.s.run, "a removed subscription's deliveries stay", "topic", t.name, "namespace_id", t.namespaceID, "subscription", subscriptionID, "error", err)
	}
	return false
}

func (d *deliveries) subscription(t *Topic, id string) *subscriptionRecord {
	if r := d.s.subscriptionByID(id); r != nil && r.topicID == t.id {
		return r
	}
	return nil
}

// clear removes a subscription's consumer and messages, once it is sure that the
// subscription is gone. Another process may do the same.
func (d *deliveries) clear(ctx context.Context, t *Topic, subscriptionID string) error {
	if t.deleted() {
		return nil // its stream goes too
	}
	if err := d.s.defs.fresh(ctx); err != nil {
		return err
	}
	if t.deleted() || d.subscription(t, subscriptionID) != nil {
		return nil
	}
	_, js, err := d.s.cfg.Connect(ctx, t.namespaceID)
	if err != nil {
		return err
	}
	r := t.state.Load()
	gone := func(err error) bool {
		return errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrStreamNotFound)
	}
	if err := js.DeleteConsumer(ctx, r.stream(), deliveryConsumer(subscriptionID)); err != nil && !gone(err) {
		return err
	}
	st, err := js.Stream(ctx, r.stream())
	if err == nil {
		err = st.Purge(ctx, jetstream.WithPurgeSubject(r.delivery(subscriptionID)))
	}
	if err != nil && !gone(err) {
		return err
	}
	return nil
}

// taken is a delivery and where it was taken from.
type taken struct {
	*delivery
	w    *wire.Wire
	from *wire.Pulled
}

// deliver makes one attempt at one message and settles what becomes of it.
func (d *deliveries) deliver(t *Topic, subscriptionID string, w *wire.Wire, from *wire.Pulled) {
	p := &taken{w: w, from: from}
	m, err := decodeMessage(from.Data)
	if err != nil {
		d.s.log.ErrorContext(d.trying, "message cannot be read", "topic", t.name, "namespace_id", t.namespaceID, "sequence", from.Sequence, "error", err)
		d.finish(d.trying, t, p)
		return
	}
	m.parent = from.Header.Get(headerParent)
	release := p.hold()
	place, err := d.prepare(d.s.run, t, subscriptionID, p, m)
	release()
	switch {
	case errors.Is(err, errUnwanted):
		d.finish(d.trying, t, p)
	case err != nil:
		w.Leave(from) // the service stops
	default:
		defer place.release()
		d.attempt(d.trying, p, place)
	}
}

// errUnwanted is the end of a message that is not for its subscription any more.
var errUnwanted = errors.New("the subscription does not want it")

// prepare waits for all that an attempt needs: certainty that the message is wanted, the
// turn of a confirmation request at the limit for its target, the moment of a subscription
// whose rate is limited, and a slot. Whatever fails meanwhile is tried again, because to
// put the message off would count as an attempt. Errors: errUnwanted, and ctx's.
func (d *deliveries) prepare(ctx context.Context, t *Topic, subscriptionID string, p *taken, m *message) (slot, error) {
	err := d.insist(ctx, t, func() error {
		ns, err := d.s.cfg.Namespace(t.namespaceID)
		if err != nil {
			return err
		}
		sub, err := d.wanting(ctx, t, subscriptionID, m)
		if err == nil {
			p.delivery = &delivery{topic: t, ns: ns, sub: sub, m: m, attempt: p.from.Count, policy: policyOf(t, sub, m.kind)}
		}
		return err
	})
	if err == nil && m.kind != notification {
		err = waitUntil(ctx, m.publishedAt)
	}
	if err != nil {
		return slot{}, err
	}
	if perSecond := p.policy.PerSecond(); perSecond > 0 {
		if err := d.insist(ctx, t, func() error { return d.throttles.wait(ctx, subscriptionID, perSecond) }); err != nil {
			return slot{}, err
		}
	}
	place, err := d.slots.acquire(ctx, t.namespaceID, placeOf(p.sub))
	if err != nil || !p.sub.overHTTP() {
		return place, err
	}
	if err := d.insist(ctx, t, func() (err error) { // which needs the signing key
		p.header, p.body, err = p.request(ctx)
		return err
	}); err != nil {
		place.release()
		return slot{}, err
	}
	return place, nil
}

// overHTTP reports whether the subscription's messages are posted somewhere.
func (r *subscriptionRecord) overHTTP() bool {
	return r.Protocol == protoHTTP || r.Protocol == protoHTTPS || r.Protocol == protoLambda
}

// wanting returns the subscription that a message is for, or errUnwanted. That is not
// said before everything is known which other processes have changed, such as that it
// was confirmed.
func (d *deliveries) wanting(ctx context.Context, t *Topic, subscriptionID string, m *message) (*subscriptionRecord, error) {
	if r := d.subscription(t, subscriptionID); r != nil && r.wants(m) {
		return r, nil
	}
	if err := d.s.defs.fresh(ctx); err != nil {
		return nil, err
	}
	if r := d.subscription(t, subscriptionID); r != nil && r.wants(m) {
		return r, nil
	}
	return nil, errUnwanted
}

// insist calls f until it succeeds or finds the message unwanted, or ctx ends. With the
// topic every message is unwanted.
func (d *deliveries) insist(ctx context.Context, t *Topic, f func() error) error {
	for try := 0; ; try++ {
		err := f()
		switch {
		case err == nil, errors.Is(err, errUnwanted):
			return err
		case ctx.Err() != nil:
			return ctx.Err()
		case t.deleted():
			return errUnwanted
		case try == 0:
			d.s.log.WarnContext(ctx, "delivery waits", "topic", t.name, "namespace_id", t.namespaceID, "error", err)
		}
		if err := waitUntil(ctx, time.Now().Add(time.Second)); err != nil {
			return err
		}
	}
}

// inProgress is how often a delivery that waits tells its consumer so.
const inProgress = deliveryWait / 3

// hold keeps the delivery from going to somebody else while it waits, until the
// function that it returns is called.
func (p *taken) hold() (release func()) {
	var mu sync.Mutex
	var timer *time.Timer
	released := false
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(inProgress, func() {
		mu.Lock()
		defer mu.Unlock()
		if !released {
			r := p.from.Working()
			_ = p.w.Conn().Publish(r.Subject, r.Data) // if it gets lost somebody else makes an attempt too
			timer.Reset(inProgress)
		}
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		released = true
		timer.Stop()
	}
}

// attempt makes an attempt for which there is a place.
func (d *deliveries) attempt(ctx context.Context, p *taken, place slot) {
	begun := time.Now()
	spanned, traced := p.traceAttempt(ctx)
	o := d.s.attempt(spanned, p.delivery)
	o.took = time.Since(begun)
	traced(o)
	if ctx.Err() != nil {
		p.w.Leave(p.from) // cut off by Stop
		return
	}
	place.learn(o.answered())
	if o.delivered {
		d.s.noteAttempt(p.delivery, o, ResultOK)
		d.finish(ctx, p.topic, p)
		return
	}
	if pause, more := p.policy.Delay(p.delivery.attempt); more && !o.final {
		d.s.noteAttempt(p.delivery, o, ResultRetry)
		d.pause(ctx, p.topic, p, pause)
		return
	}
	kept, err := d.s.bury(ctx, p.delivery, o)
	switch {
	case err != nil: // attempted again meanwhile, which may well succeed
		d.s.log.WarnContext(ctx, "dead letter not stored yet", "topic", p.topic.name, "namespace_id", p.topic.namespaceID, "subscription", p.sub.ID, "error", err)
		d.s.noteAttempt(p.delivery, o, ResultRetry)
		d.pause(ctx, p.topic, p, buryAgain)
		return
	case kept:
		d.s.noteAttempt(p.delivery, o, ResultDeadLettered)
	default:
		d.s.noteAttempt(p.delivery, o, ResultFailed)
	}
	d.finish(ctx, p.topic, p)
}

// finish removes a delivery. If that fails it comes back when deliveryWait is over.
func (d *deliveries) finish(ctx context.Context, t *Topic, p *taken) {
	if err := p.w.Finish(ctx, t.state.Load().stream(), []*wire.Pulled{p.from})[0]; err != nil && ctx.Err() == nil && !t.deleted() {
		d.s.log.WarnContext(ctx, "a delivery may be repeated", "topic", t.name, "namespace_id", t.namespaceID, "error", err)
	}
}

// pause has a delivery taken again later. Where the request fails that is when
// deliveryWait is over.
func (d *deliveries) pause(ctx context.Context, t *Topic, p *taken, pause time.Duration) {
	if err := p.w.Exchange(ctx, []wire.Request{p.from.Again(pause)}, wire.Timeout)[0].Done(); err != nil && ctx.Err() == nil && !t.deleted() {
		d.s.log.WarnContext(ctx, "a delivery may be retried early", "topic", t.name, "namespace_id", t.namespaceID, "error", err)
	}
}

// wants reports whether a message is still for the subscription in its present state.
func (r *subscriptionRecord) wants(m *message) bool {
	switch m.kind {
	case subscriptionConfirmation:
		return r.State == statePending
	case unsubscribeConfirmation:
		return r.State == stateRemoved
	default:
		return r.State == stateConfirmed && m.seq > r.From
	}
}
