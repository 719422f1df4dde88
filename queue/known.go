package queue

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// What became of a delivered message is known to the processes that handed it out.

const knownSubject = "mnq.known." // and the holder's name

// receivedMessage is what a process knows of a message that it has handed out. The
// zero value is nothing.
type receivedMessage struct {
	Count int   `json:"c"` // how often receivers have seen it; 0: not known
	First int64 `json:"f"` // Unix milliseconds; 0: not known
	Until int64 `json:"u"` // it is hidden till then, Unix milliseconds
}

// knowledge is what all processes know of some messages.
type knowledge struct {
	of map[uint64]receivedMessage // by stream sequence
	// hidesMore says that a process which does not answer has messages of the queue
	// hidden, nobody knows which.
	hidesMore bool
}

func (k *knowledge) add(of map[uint64]receivedMessage) {
	for seq, r := range of {
		k.of[seq] = k.of[seq].and(r)
	}
}

// known returns what this process knows of those messages.
func (f *flight) known(seqs []uint64) map[uint64]receivedMessage {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[uint64]receivedMessage{}
	for _, seq := range seqs {
		if h, ok := f.out[seq]; ok && h.count > 0 {
			out[seq] = receivedMessage{Count: int(h.count), First: unixMilli(h.first), Until: unixMilli(h.until)}
		}
	}
	return out
}

func unixMilli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// whoKnows asks all processes about delivered messages. It takes as long as the
// slowest of them, at most firstTimeout.
func (q *Queue) whoKnows(ctx context.Context, seqs []uint64, now time.Time) knowledge {
	if len(seqs) == 0 {
		return knowledge{}
	}
	k := knowledge{of: q.flight.known(seqs)}
	written := func(h string) {
		of, more := q.svc.ledger.written(h, q.id, seqs, now)
		k.add(of)
		k.hidesMore = k.hidesMore || more
	}
	holders, ended := q.svc.ledger.holders()
	for _, h := range ended {
		written(h)
	}
	question, err := json.Marshal(firstQuestion{q.id, seqs})
	if err != nil || len(holders) == 0 {
		return k
	}
	ctx, cancel := context.WithTimeout(ctx, firstTimeout)
	defer cancel()
	var mu sync.Mutex
	var asked sync.WaitGroup
	for _, h := range holders {
		asked.Go(func() {
			var theirs map[uint64]receivedMessage
			m, err := q.svc.cfg.Control.Conn().RequestWithContext(ctx, knownSubject+h, question)
			if err == nil {
				err = json.Unmarshal(m.Data, &theirs)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				written(h)
				return
			}
			k.add(theirs)
		})
	}
	asked.Wait()
	return k
}

// and joins what two processes know of a message: the count is that of its last
// receive, wherever that was.
func (r receivedMessage) and(o receivedMessage) receivedMessage {
	if o.Count > r.Count || o.Count == r.Count && o.Until > r.Until {
		r.Count, r.Until = o.Count, o.Until
	}
	if r.First == 0 || o.First > 0 && o.First < r.First {
		r.First = o.First
	}
	return r
}

// askedKnown answers another process's whoKnows.
func (l *ledger) askedKnown(m *nats.Msg) {
	var question firstQuestion
	if json.Unmarshal(m.Data, &question) != nil {
		return
	}
	known := map[uint64]receivedMessage{}
	if q := l.svc.byID(question.Queue); q != nil {
		known = q.flight.known(question.Seqs)
	}
	if answer, err := json.Marshal(known); err == nil {
		_ = m.Respond(answer) // who asks does not wait for long
	}
}

// written returns what the record of a process says about messages of the queue, and
// whether it has others hidden that the record does not name.
func (l *ledger) written(h, queueID string, seqs []uint64, now time.Time) (of map[uint64]receivedMessage, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.others[h].queues[queueID]
	if a == nil {
		return nil, false
	}
	of = map[uint64]receivedMessage{}
	for _, seq := range seqs {
		if until, there := a.until[seq]; there && until > now.Unix() {
			of[seq] = receivedMessage{Until: until * 1000}
		}
	}
	return of, a.many != nil && a.hidden(now, 0) > 0
}
