package queue

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/wire"
)

// Moving a message from one queue to another is two writes: it is stored there,
// then removed here. Three rules make it happen exactly once, whoever dies when:
//
//   - it is stored on a subject that names where it comes from, and only if nothing
//     is there yet, so that while the copy exists no second one is made;
//   - the copy is handed out only after the original has been removed, so that when
//     the copy is deleted there is nothing left to move again;
//   - the original is removed only after the copy has been stored.

// origin is the place of a message before it was moved: a queue's incarnation and
// the sequence in its stream.
type origin struct {
	queue string
	seq   uint64
}

// originOf reads the subject of a moved message; zero for any other.
func originOf(subject string) origin {
	t := strings.Split(subject, ".")
	if len(t) != 6 || t[2] != "r" || t[3] != "m" {
		return origin{}
	}
	seq, err := strconv.ParseUint(t[5], 10, 64)
	if err != nil {
		return origin{}
	}
	return origin{t[4], seq}
}

// remove is the request that takes the message out of its place.
func (o origin) remove() request {
	return request{
		Subject: "$JS.API.STREAM.MSG.DELETE.q_" + o.queue,
		Data:    []byte(`{"no_erase":true,"seq":` + strconv.FormatUint(o.seq, 10) + `}`),
	}
}

// originalGone reads the answer to remove: nil means that the message is not there
// any more, be it that the whole queue is gone.
func originalGone(a answer) error {
	if a.Err != nil {
		return a.Err
	}
	if wire.NoResponders(a.Msg) {
		return nats.ErrNoResponders
	}
	var r removal
	if err := json.Unmarshal(a.Msg.Data, &r); err != nil {
		return err
	}
	if r.done() || r.noStream() {
		return nil
	}
	return r.err(a.Msg.Data)
}

// put is the request that stores a message which comes from elsewhere. It may be
// repeated. A message that was sent at since ends its life here as if it had been
// here all the time; the zero time starts a new life.
func (q *Queue) put(m stored, from origin, since time.Time) request {
	r := q.record.Load()
	req := request{
		Subject: r.moved(from), Data: m.encode(),
		Header: nats.Header{"Nats-Expected-Last-Subject-Sequence": {"0"}},
	}
	if !since.IsZero() {
		left := r.Settings.seconds(attrRetention) - time.Since(since)
		req.Header["Nats-TTL"] = []string{strconv.FormatInt(max(1, int64(left/time.Second)), 10)}
	}
	return req
}

// putDone reads the answer to put. A copy that is there already is as good as one
// just stored.
func (q *Queue) putDone(a answer) error {
	_, err := q.written("queue.redrive", a)
	if errors.Is(err, errRefused) {
		return nil
	}
	return err
}

// bury sends the deliveries that have been received too often to the dead-letter
// queue and returns the others. When that queue is gone, full or does not answer,
// they stay here, hidden for a while that grows with each try.
func (q *Queue) bury(ctx context.Context, w *link, taken []delivery) []delivery {
	p, ok := q.record.Load().Settings.redrive()
	if !ok {
		return taken
	}
	var alive, dead []delivery
	for _, d := range taken {
		if q.flight.received(d.receipt) > p.Receives {
			dead = append(dead, d)
		} else {
			alive = append(alive, d)
		}
	}
	if len(dead) == 0 {
		return taken
	}
	// What the receiver has been given to see so far is its own business; the dead
	// are moved even when it goes away.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
	defer cancel()
	stay, err := q.moveDead(ctx, w, p, dead)
	q.countDead(len(dead) - len(stay))
	if err != nil {
		q.svc.log.WarnContext(ctx, "dead letters stay in their queue", "queue", q.name, "namespace_id", q.space.id, "count", len(stay), "error", err)
	}
	for _, d := range stay {
		if err := w.Conn().Publish(q.ackSubject(d.receipt), nak(patience(int(d.count)-p.Receives))); err != nil {
			break // the connection is gone; ackWait does it
		}
	}
	return alive
}

// patience is how long a message waits that could not be moved the n-th time.
func patience(n int) time.Duration {
	return time.Second << min(max(n-1, 0), 6)
}

// moveDead stores dead letters in the queue of the policy and removes them here. It
// returns those that must stay, and why.
func (q *Queue) moveDead(ctx context.Context, w *link, p redrivePolicy, dead []delivery) (stay []delivery, err error) {
	to := q.svc.byARN(q.space.id, p.Target)
	if to == nil {
		return dead, &mnq.Error{Kind: mnq.NotFound, Op: "queue.redrive", Resource: p.Target, Msg: "the dead-letter queue does not exist"}
	}
	q.learnFirst(ctx, dead)
	source := q.sourceARN(p.Target)
	reqs, moving := make([]request, 0, len(dead)), make([]delivery, 0, len(dead))
	for _, d := range dead {
		m, bad := decodeStored(d.data)
		if bad != nil {
			stay, err = append(stay, d), errors.Join(err, bad)
			continue
		}
		m = m.buried(source, uint64(d.count)-1, q.flight.firstReceived(d.stream, m.first)) // nobody sees this delivery
		req := to.put(m, origin{q.id, d.stream}, m.sentAt)
		if full := q.admitMove(ctx, w, int64(len(req.Data))); full != nil {
			stay, err = append(stay, d), errors.Join(err, full)
			continue
		}
		reqs, moving = append(reqs, req), append(moving, d)
	}
	done := moving[:0:0]
	for i, a := range w.Exchange(ctx, reqs, answerTimeout) {
		if refused := to.putDone(a); refused != nil {
			stay, err = append(stay, moving[i]), errors.Join(err, refused)
			continue
		}
		done = append(done, moving[i])
	}
	to.lastSend.Store(time.Now().UnixNano())
	return stay, errors.Join(err, q.finishMove(ctx, w, done))
}

// byARN returns a queue of the namespace that messages can be moved to, or nil.
func (s *Service) byARN(namespaceID, name string) *Queue {
	a, err := parseARN(name)
	if err != nil {
		return nil
	}
	q := s.lookup(namespaceID, a.name)
	if q == nil || q.record.Load().State != stateActive {
		return nil
	}
	return q
}

// sourceARN is the ARN of this queue, which has the account and the region of its
// dead-letter queue.
func (q *Queue) sourceARN(target string) string {
	a, err := parseARN(target)
	if err != nil {
		return ""
	}
	return a.named(q.name).String()
}

// buried is the message as it lies in its dead-letter queue, after so many more
// receives.
func (m stored) buried(source string, receives uint64, first time.Time) stored {
	m.source, m.first = source, first
	m.received += receives
	return m
}

// finishMove removes the originals of messages whose copies are stored. What cannot
// be removed now is removed by whoever receives it next, here or there.
func (q *Queue) finishMove(ctx context.Context, w *link, done []delivery) (err error) {
	reqs := make([]request, len(done))
	for i, d := range done {
		reqs[i] = request{Subject: q.ackSubject(d.receipt), Data: []byte("+ACK")}
	}
	var silent []request
	for i, a := range w.Exchange(ctx, reqs, ackTimeout) {
		q.flight.forget(done[i].stream)
		if a.Err != nil || wire.NoResponders(a.Msg) {
			silent = append(silent, origin{q.id, done[i].stream}.remove())
		}
	}
	for _, a := range w.Exchange(ctx, silent, answerTimeout) {
		err = errors.Join(err, originalGone(a))
	}
	return err
}

// DeadLetterSources returns the names of the namespace's queues whose
// RedrivePolicy names this one, those after after in byte order, at most limit.
// more says that there are others.
func (q *Queue) DeadLetterSources(after string, limit int) (names []string, more bool) {
	q.svc.mu.RLock()
	for name, other := range q.space.queues {
		if name > after && other.record.Load().State != stateDeleted && other.redrivesTo(q.name) {
			names = append(names, name)
		}
	}
	q.svc.mu.RUnlock()
	return page(names, limit)
}

func (q *Queue) redrivesTo(name string) bool {
	p, ok := q.record.Load().Settings.redrive()
	if !ok {
		return false
	}
	target, err := parseARN(p.Target)
	return err == nil && target.name == name
}
