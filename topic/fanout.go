package topic

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/policy"
	"github.com/openmnq/mnq/internal/wire"
	"github.com/openmnq/mnq/queue"
)

const (
	fanOutBatch = 100 // messages in one go
	fanOutWidth = 400 // messages of one topic at a time

	// turnTimeout bounds the work on one batch. By then another process works on it too.
	turnTimeout = 2 * fanOutWait

	// againAfter is the pause before a message is fanned out again that could not be
	// handed over to all subscriptions.
	againAfter = time.Second
)

// fanOutSource takes what is published to the topic.
func (t *Topic) fanOutSource() *source {
	st := t.state.Load()
	x := &source{
		svc: t.svc, namespaceID: t.namespaceID, consumer: wire.Consumer{Stream: st.stream(), Name: fanOutConsumer},
		config: st.fanOutConfig(t.svc.cfg.Replicas), work: t.fanOut, width: fanOutWidth, batch: fanOutBatch,
	}
	if t.FIFO() {
		x.work, x.width, x.batch = t.fanOutInOrder, 1, 1
	}
	return x
}

// fanOut hands messages over to the subscriptions that they are for: it stores them in
// queues, and for all others, and for queues that fail, as deliveries of their own.
// Then it acknowledges them. A message that could not be handed over to every
// subscription comes again.
func (t *Topic) fanOut(ctx context.Context, w *wire.Wire, pulled []*wire.Pulled) {
	ctx, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	batch := t.decode(ctx, pulled)
	if len(batch) > 0 {
		if err := t.handOver(ctx, w, batch, t.toQueue); err != nil {
			t.svc.log.WarnContext(ctx, "messages are not fanned out yet", "topic", t.name, "namespace_id", t.namespaceID, "count", len(batch), "error", err)
			for _, o := range batch {
				o.failed = true
			}
		}
	}
	done := make([]*wire.Pulled, 0, len(pulled))
	var again []wire.Request
	for _, p := range pulled {
		if i := slices.IndexFunc(batch, func(o *outgoing) bool { return o.from == p }); i >= 0 && !batch[i].failed {
			done = append(done, p)
		} else {
			again = append(again, p.Again(againAfter<<min(p.Count-1, 5)))
		}
	}
	err := errors.Join(w.Finish(ctx, t.state.Load().stream(), done)...)
	w.Exchange(ctx, again, wire.Timeout) // what gets lost comes again by itself
	if err != nil {
		t.svc.log.WarnContext(ctx, "messages may be fanned out again", "topic", t.name, "namespace_id", t.namespaceID, "error", err)
	}
}

// outgoing is a published message on its way to the subscriptions.
type outgoing struct {
	*rendering
	from   *wire.Pulled // nil of those that were read ahead in a FIFO topic
	key    string       // of its deduplication id, in a FIFO topic
	mu     sync.Mutex
	failed bool // not every subscription has it
}

func (o *outgoing) fail() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.failed = true
}

func (t *Topic) decode(ctx context.Context, pulled []*wire.Pulled) []*outgoing {
	out := make([]*outgoing, 0, len(pulled))
	for _, p := range pulled {
		m, err := decodeMessage(p.Data)
		if err != nil {
			t.svc.log.ErrorContext(ctx, "message cannot be read", "topic", t.name, "namespace_id", t.namespaceID, "sequence", p.Sequence, "error", err)
			continue
		}
		m.seq, m.parent = p.Sequence, p.Header.Get(headerParent)
		out = append(out, &outgoing{rendering: t.render(m), from: p})
	}
	slices.SortFunc(out, func(a, b *outgoing) int { return cmp.Compare(a.m.seq, b.m.seq) })
	return out
}

// toQueueFunc stores messages for a subscription of protocol sqs.
type toQueueFunc func(ctx context.Context, w *wire.Wire, ns mnq.Namespace, p parcel)

// handOver stores a batch for every subscription that it is for. An error means that
// nothing was done.
func (t *Topic) handOver(ctx context.Context, w *wire.Wire, batch []*outgoing, toQueue toQueueFunc) error {
	// Another process may have added or removed a subscription before one of these was
	// published, so nothing is decided before that is known.
	wait, cancel := context.WithTimeout(ctx, wire.Timeout)
	defer cancel()
	if err := t.svc.defs.fresh(wait); err != nil {
		return err
	}
	if t.deleted() {
		return nil
	}
	ns, err := t.svc.cfg.Namespace(t.namespaceID)
	if err != nil {
		return err
	}
	var work sync.WaitGroup
	var apart []parcel
	for _, sub := range t.svc.subscribers(t.id) {
		if sub.State != stateConfirmed {
			continue
		}
		mine, filtered := matching(sub, batch)
		t.countDeliveries(sub.Protocol, ResultFiltered, filtered, 0)
		switch {
		case len(mine) == 0:
		case sub.Protocol == protoSQS:
			work.Go(func() { toQueue(ctx, w, ns, parcel{sub, mine}) })
		case sub.delivered():
			apart = append(apart, parcel{sub, mine})
		}
	}
	t.toDeliveries(ctx, w, apart...)
	work.Wait()
	return nil
}

// matching returns those of the batch that are for the subscription, and how many its
// filter policy does not want.
func matching(sub *subscriptionRecord, batch []*outgoing) (mine []*outgoing, filtered int) {
	if sub.filter == nil && sub.From < batch[0].m.seq {
		return batch, 0
	}
	for _, o := range batch {
		switch {
		case o.m.seq <= sub.From:
		case o.matches(sub):
			mine = append(mine, o)
		default:
			filtered++
		}
	}
	return mine, filtered
}

// parcel is what goes to one subscription.
type parcel struct {
	sub *subscriptionRecord
	out []*outgoing
}

// toQueue stores messages in the queue of a subscription, or when it does not take them
// as deliveries.
func (t *Topic) toQueue(ctx context.Context, w *wire.Wire, ns mnq.Namespace, p parcel) {
	left := p.out
	if t.svc.direct.open(p.sub, time.Now()) {
		left = t.storeInQueue(ctx, ns, p)
	}
	if len(left) > 0 {
		t.toDeliveries(ctx, w, parcel{p.sub, left})
	}
}

// storeInQueue stores messages in the queue of a subscription and returns those that it
// could not store in time, in order.
func (t *Topic) storeInQueue(ctx context.Context, ns mnq.Namespace, p parcel) (left []*outgoing) {
	d := t.svc.direct
	sends := make([]queue.Send, 0, len(p.out))
	going := make([]*outgoing, 0, len(p.out))
	for _, o := range p.out {
		send, err := o.forQueue(ctx, ns, p.sub)
		if err != nil { // not the queue's fault
			left = append(left, o)
			continue
		}
		sends, going = append(sends, send), append(going, o)
	}
	if err := d.places.Acquire(ctx, int64(len(sends))); err != nil {
		return p.out
	}
	defer d.places.Release(int64(len(sends)))
	ctx, span := t.traceStore(ctx, p)
	defer func() { span.End(notStored(len(left))) }()
	begun, failed := time.Now(), false
	ctx, cancel := context.WithTimeout(ctx, d.patience())
	defer cancel()
	for i, err := range t.sendAll(ctx, ns, p.sub.Endpoint, sends) {
		if err != nil {
			left = append(left, going[i])
			failed = failed || mnq.KindOf(err) != mnq.Invalid
		}
	}
	t.countDeliveries(protoSQS, ResultOK, len(p.out)-len(left), time.Since(begun))
	if failed {
		d.failed(p.sub, time.Now())
	} else {
		d.worked(p.sub, time.Since(begun))
	}
	slices.SortStableFunc(left, func(a, b *outgoing) int { return cmp.Compare(a.m.seq, b.m.seq) })
	return left
}

// sendAll sends messages of the topic to a queue and returns an error or nil for each.
func (t *Topic) sendAll(ctx context.Context, ns mnq.Namespace, arn string, sends []queue.Send) []error {
	errs := make([]error, len(sends))
	q, err := t.openQueue(ctx, ns, arn)
	if err != nil {
		for i := range errs {
			errs[i] = err
		}
		return errs
	}
	for i, r := range q.Send(ctx, sends) {
		errs[i] = r.Err
	}
	return errs
}

// openQueue returns a queue that the topic may send to. Topics of its own account may,
// unless its policy says otherwise.
func (t *Topic) openQueue(ctx context.Context, ns mnq.Namespace, arn string) (*queue.Queue, error) {
	to, _ := parseQueueARN(arn) // it was checked when it was set
	q, err := t.svc.cfg.Queues.Find(ctx, ns, to.name)
	if err != nil {
		return nil, err
	}
	access := policy.Access{Account: ns.Account(), Action: "SendMessage", Secure: true, Service: senderID, SourceARN: t.ARN(ns)}
	if q.Judge(ns, access) == policy.Refused {
		return nil, &mnq.Error{Kind: mnq.Denied, Code: "AccessDenied", Op: "topic.openQueue", Resource: to.name, Msg: "The queue's policy denies the topic to send."}
	}
	return q, nil
}

// toDeliveries stores messages in the topic's stream for subscriptions that are
// delivered to one by one.
func (t *Topic) toDeliveries(ctx context.Context, w *wire.Wire, parcels ...parcel) {
	var reqs []wire.Request
	var of []*outgoing
	st := t.state.Load()
	for _, p := range parcels {
		if err := t.svc.park(ctx, p.sub); err != nil {
			t.svc.log.WarnContext(ctx, "deliveries cannot be stored", "topic", t.name, "namespace_id", t.namespaceID, "error", err)
			for _, o := range p.out {
				o.fail()
			}
			continue
		}
		for _, o := range p.out {
			r := t.svc.write(st.delivery(p.sub.ID), o.m)
			r.Header = o.m.mark(onceHeader(onceName(o.m, p.sub)))
			reqs, of = append(reqs, r), append(of, o)
		}
	}
	for i, err := range t.svc.writeMany(ctx, w, reqs) {
		if err != nil {
			of[i].fail()
		}
	}
	for _, p := range parcels {
		t.svc.deliveries.wake(p.sub) //nolint:contextcheck // a source lives longer than the call
	}
}
