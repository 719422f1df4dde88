package queue

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// When a message was first received is known to the process that handed it out then.
// For one that has been delivered before and is not known here, the others are asked.
// A process that has ended takes what it knew with it: then the first receive that is
// known counts.

const (
	firstSubject = "mnq.first." // and the holder's name
	firstTimeout = 50 * time.Millisecond
)

type firstQuestion struct {
	Queue string   `json:"q"`
	Seqs  []uint64 `json:"s"`
}

// unknown returns those deliveries that others may know more about.
func (f *flight) unknown(taken []delivery) (seqs []uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, d := range taken {
		if d.count > 1 && f.out[d.stream].first.IsZero() {
			seqs = append(seqs, d.stream)
		}
	}
	return seqs
}

// remember notes when messages were first received, as another process told it.
func (f *flight) remember(first map[uint64]int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for seq, ms := range first {
		h, known := f.out[seq]
		at := time.UnixMilli(ms)
		if (known || len(f.out) < MaxInFlight) && (h.first.IsZero() || at.Before(h.first)) {
			h.first = at
			f.out[seq] = h
		}
	}
}

// learnFirst asks other processes when the deliveries were first received. It takes as
// long as the slowest of them, at most firstTimeout, and nothing when none is known.
func (q *Queue) learnFirst(ctx context.Context, taken []delivery) {
	seqs := q.flight.unknown(taken)
	if len(seqs) == 0 {
		return
	}
	holders, _ := q.svc.ledger.holders()
	if len(holders) == 0 {
		return
	}
	question, err := json.Marshal(firstQuestion{q.id, seqs})
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, firstTimeout)
	defer cancel()
	var asked sync.WaitGroup
	for _, h := range holders {
		asked.Go(func() {
			m, err := q.svc.cfg.Control.Conn().RequestWithContext(ctx, firstSubject+h, question)
			if err != nil {
				return // it has ended, or is too slow to wait for
			}
			var first map[uint64]int64
			if json.Unmarshal(m.Data, &first) == nil {
				q.flight.remember(first)
			}
		})
	}
	asked.Wait()
}

// asked answers another process's learnFirst.
func (l *ledger) asked(m *nats.Msg) {
	var question firstQuestion
	if json.Unmarshal(m.Data, &question) != nil {
		return
	}
	first := map[uint64]int64{}
	if q := l.svc.byID(question.Queue); q != nil {
		for _, seq := range question.Seqs {
			if at := q.flight.firstReceived(seq, time.Time{}); !at.IsZero() {
				first[seq] = at.UnixMilli()
			}
		}
	}
	if answer, err := json.Marshal(first); err == nil {
		_ = m.Respond(answer) // who asks does not wait for long
	}
}

// maxHolders bounds how many other processes are asked.
const maxHolders = 32

// holders names other processes that have handed out messages lately: those that
// may still run, at most maxHolders, and those that are known to have ended.
func (l *ledger) holders() (running, ended []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name := range l.others {
		switch {
		case l.ended[name]:
			ended = append(ended, name)
		case len(running) < maxHolders:
			running = append(running, name)
		}
	}
	return running, ended
}
