package topic

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/wire"
)

// fanOutInOrder hands over the first message of a FIFO topic, and what is behind it.
// The consumer has one message out at a time, so who has it has the turn. It is no lock:
// a process that was paused may still be at work when another takes its turn. Both begin
// with the same message and go in order, and FIFO queues take each message once, so the
// order in which they take them is the same.
func (t *Topic) fanOutInOrder(ctx context.Context, w *wire.Wire, pulled []*wire.Pulled) {
	ctx, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	head := pulled[0]
	batch, err := t.readBatch(ctx, w, head)
	done := 0
	if err == nil {
		done, err = t.handOverInOrder(ctx, w, batch)
	}
	if done > 0 {
		err = errors.Join(err, t.finishInOrder(ctx, w, head, batch[:done]))
	} else {
		w.Exchange(ctx, []wire.Request{head.Again(againAfter << min(head.Count-1, 5))}, wire.Timeout)
	}
	if err != nil {
		t.svc.log.WarnContext(ctx, "messages are not fanned out yet", "topic", t.name, "namespace_id", t.namespaceID, "count", len(batch)-done, "error", err)
	}
}

// readBatch returns the message that a turn begins with and some of those behind it.
func (t *Topic) readBatch(ctx context.Context, w *wire.Wire, head *wire.Pulled) ([]*outgoing, error) {
	first, err := decodeMessage(head.Data)
	if err != nil {
		return nil, err
	}
	first.seq, first.parent = head.Sequence, head.Header.Get(headerParent)
	st := t.state.Load()
	batch := []*outgoing{{rendering: t.render(first), key: st.keyOf(head.Subject)}}
	if head.Pending == 0 {
		return batch, nil
	}
	records, err := w.After(ctx, st.stream(), st.published(), head.Sequence+1, fanOutBatch-1)
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		m, bad := decodeMessage(r.Data)
		if bad != nil {
			return batch, nil //nolint:nilerr // it comes first some time, and then says so
		}
		m.seq, m.parent = r.Sequence, r.Header.Get(headerParent)
		batch = append(batch, &outgoing{rendering: t.render(m), key: st.keyOf(r.Subject)})
	}
	return batch, nil
}

// handOverInOrder hands over a batch and returns how many of its messages, from the
// first, every subscription has.
func (t *Topic) handOverInOrder(ctx context.Context, w *wire.Wire, batch []*outgoing) (int, error) {
	waiting, err := t.waiting(ctx, w)
	if err != nil {
		return 0, err
	}
	err = t.handOver(ctx, w, batch, func(ctx context.Context, w *wire.Wire, ns mnq.Namespace, p parcel) {
		left := p.out // behind what waits already
		if waiting[p.sub.ID] == 0 && t.svc.direct.open(p.sub, time.Now()) {
			left = t.storeInQueue(ctx, ns, p)
		}
		t.toDeliveriesInOrder(ctx, w, parcel{p.sub, left})
	})
	if err != nil {
		return 0, err
	}
	if i := slices.IndexFunc(batch, func(o *outgoing) bool { return o.failed }); i >= 0 {
		return i, errors.New("not every subscription has them")
	}
	return len(batch), nil
}

// waiting returns how many deliveries each subscription has before it.
func (t *Topic) waiting(ctx context.Context, w *wire.Wire) (map[string]uint64, error) {
	if !slices.ContainsFunc(t.svc.subscribers(t.id), (*subscriptionRecord).waits) {
		return nil, nil
	}
	st := t.state.Load()
	s, err := w.State(ctx, st.stream(), st.deliveries())
	if err != nil {
		return nil, err
	}
	out := map[string]uint64{}
	for subject, n := range s.Subjects {
		out[strings.TrimPrefix(subject, st.delivery(""))] = n
	}
	return out, nil
}

// toDeliveriesInOrder stores deliveries one after the other, and none after one that
// failed.
func (t *Topic) toDeliveriesInOrder(ctx context.Context, w *wire.Wire, p parcel) {
	failed := false
	for _, o := range p.out {
		if failed {
			o.fail()
			continue
		}
		t.toDeliveries(ctx, w, parcel{p.sub, []*outgoing{o}})
		failed = o.failed
	}
}

// finishInOrder removes messages that every subscription has, the first at last,
// because with it the turn ends. Their deduplication ids are kept.
func (t *Topic) finishInOrder(ctx context.Context, w *wire.Wire, head *wire.Pulled, done []*outgoing) error {
	st, now := t.state.Load(), time.Now()
	var keep, remove []wire.Request
	for i, o := range done {
		if r, ok := st.remember(o.m, o.key, now); ok {
			keep = append(keep, r)
		}
		if i > 0 {
			remove = append(remove, wire.Remove(st.stream(), o.m.seq))
		}
	}
	if err := errors.Join(t.svc.writeAll(ctx, w, keep)...); err != nil {
		w.Exchange(ctx, []wire.Request{head.Again(againAfter)}, wire.Timeout)
		return err
	}
	var errs []error
	for _, a := range w.Exchange(ctx, remove, wire.Timeout) {
		errs = append(errs, a.Removed()) // what stays is handed over again, to no effect
	}
	return errors.Join(append(errs, w.Finish(ctx, st.stream(), []*wire.Pulled{head})...)...)
}
