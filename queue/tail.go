package queue

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/wire"
)

const (
	// MaxTails is how many calls of [Queue.Tail] a process carries at once.
	MaxTails = 64

	tailBuffer = 1024 // messages that wait for the one who looks
	tailBatch  = 64   // of a FIFO queue, looked up together
	tailTries  = 5    // how often it is looked up whether a message has been stored
	tailPause  = 50 * time.Millisecond
)

// Tail says what to do with messages as they are sent.
type Tail struct {
	Match Match
	Begun func()                           // called once, when nothing is missed any more; may be nil
	Show  func(m Peeked, missed int) error // missed: messages left out before this one, because Show was too slow
}

// Tail passes messages to Show as they are sent, from now on until ctx ends or Show
// fails, without receiving them: nothing changes. It sees them also when somebody
// receives and deletes them at once. The Sequence is 0 in a standard queue, where in
// rare cases a message that was refused in the end is shown. Errors: NotFound, also
// when the queue is deleted meanwhile; Throttled when MaxTails others look;
// Unavailable; that of Show.
func (q *Queue) Tail(ctx context.Context, in Tail) error {
	if err := q.finishCreate(ctx); err != nil {
		return err
	}
	if q.svc.tails.Add(1) > MaxTails {
		q.svc.tails.Add(-1)
		return &mnq.Error{Kind: mnq.Throttled, Op: "queue.Tail", Resource: q.name, Msg: "Too many others follow queues now. Please try again later."}
	}
	defer q.svc.tails.Add(-1)
	w, err := q.svc.connection(ctx, q.space)
	if err != nil {
		return err
	}
	sent := make(chan *nats.Msg, tailBuffer)
	sub, err := w.Conn().ChanSubscribe("q."+q.id+".>", sent)
	if err != nil {
		return unavailable("queue.Tail", q.name, err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only when the connection is gone
	if err := flush(ctx, w.Conn()); err != nil && ctx.Err() == nil {
		return unavailable("queue.Tail", q.name, err)
	}
	if in.Begun != nil {
		in.Begun()
	}
	t := &tail{q: q, w: w, in: in, sub: sub, seen: map[string]bool{}}
	for {
		select {
		case m, ok := <-sent:
			if !ok {
				return unavailable("queue.Tail", q.name, wire.ErrLost)
			}
			if err := t.take(ctx, m, sent); err != nil && ctx.Err() == nil {
				return err
			}
		case <-w.Closed():
			return unavailable("queue.Tail", q.name, wire.ErrLost)
		case <-q.svc.run.Done():
			return unavailable("queue.Tail", q.name, context.Canceled)
		case <-q.closed:
			return missing(q.name)
		case <-ctx.Done():
			return nil
		}
	}
}

// tail is one Tail at work.
type tail struct {
	q      *Queue
	w      *link
	in     Tail
	sub    *nats.Subscription
	missed int             // messages that Show has been told about
	seen   map[string]bool // ids: what goes unanswered is sent again
	order  []string        // of seen, the oldest first
}

// take passes on a message, and in a FIFO queue those that have come with it.
func (t *tail) take(ctx context.Context, m *nats.Msg, more <-chan *nats.Msg) error {
	if t.q.fifo == nil {
		return t.show(raw{subject: m.Subject, sent: time.Now(), header: m.Header, data: m.Data})
	}
	batch := []*nats.Msg{m}
	for waiting := true; waiting && len(batch) < tailBatch; {
		select {
		case m := <-more:
			if m == nil {
				return unavailable("queue.Tail", t.q.name, wire.ErrLost)
			}
			batch = append(batch, m)
		default:
			waiting = false
		}
	}
	stored, err := t.stored(ctx, batch)
	if err != nil {
		return err
	}
	for i, m := range batch {
		if stored[i] > 0 {
			if err := t.show(raw{subject: m.Subject, seq: stored[i], sent: time.Now(), header: m.Header, data: m.Data}); err != nil {
				return err
			}
		}
	}
	return nil
}

// stored returns the sequences of messages of a FIFO queue, 0 for those that were
// refused: most often because they are duplicates. Each has a subject of its own, on
// which a tombstone lies when it has been deleted meanwhile.
func (t *tail) stored(ctx context.Context, batch []*nats.Msg) ([]uint64, error) {
	seqs := make([]uint64, len(batch))
	for range tailTries {
		var reqs []request
		var at []int
		for i, m := range batch {
			if kind, _, ok := parseSubject(m.Subject); ok && kind == 'f' && m.Header.Get(headGone) == "" && seqs[i] == 0 {
				reqs, at = append(reqs, t.q.getRequest(`{"last_by_subj":"`+m.Subject+`"}`)), append(at, i)
			}
		}
		if len(reqs) == 0 {
			return seqs, nil
		}
		missing := false
		for j, a := range t.w.Exchange(ctx, reqs, answerTimeout) {
			rec, err := t.q.got("queue.Tail", a)
			switch {
			case err != nil:
				return nil, err
			case rec == nil:
				missing = true
			default:
				seqs[at[j]] = rec.seq
				if gone, _, ok := parseGone(rec.header.Get(headGone)); ok {
					seqs[at[j]] = gone
				}
			}
		}
		if !missing {
			return seqs, nil
		}
		select {
		case <-time.After(tailPause):
		case <-ctx.Done():
			return seqs, nil
		}
	}
	return seqs, nil
}

// show passes on what is a message that matches and was not shown before.
func (t *tail) show(rec raw) error {
	p := &peeker{q: t.q, r: t.q.record.Load(), now: time.Now()}
	m, _, ok := p.open(rec)
	if !ok || t.seen[m.ID] || !t.in.Match.of(m.Message) {
		return nil
	}
	if len(t.order) == tailBuffer {
		delete(t.seen, t.order[0])
		t.order = t.order[1:]
	}
	t.seen[m.ID], t.order = true, append(t.order, m.ID)
	dropped, err := t.sub.Dropped()
	if err != nil && !errors.Is(err, nats.ErrBadSubscription) {
		return unavailable("queue.Tail", t.q.name, err)
	}
	missed := max(0, dropped-t.missed)
	t.missed += missed
	return t.in.Show(m, missed)
}

// flush returns when the server has taken what was sent to it.
func flush(ctx context.Context, nc *nats.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	return nc.FlushWithContext(ctx)
}
