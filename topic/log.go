package topic

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/time/rate"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/wire"
)

// Attempt is one attempt at a delivery, as [Service.Attempts] tells it.
type Attempt struct {
	Time      time.Time     `json:"time"` // when it ended
	MessageID string        `json:"message_id"`
	Kind      string        `json:"kind"`             // Notification, SubscriptionConfirmation, UnsubscribeConfirmation
	Number    int           `json:"number"`           // of this message, from 1
	Status    int           `json:"status,omitempty"` // HTTP status, when there was one
	Error     string        `json:"error,omitempty"`  // a word for why it failed: timeout, dns, tls, connection, address_refused, http, …
	Duration  time.Duration `json:"duration"`
	Outcome   string        `json:"outcome"` // delivered, retry, dead_letter, dropped
}

// What became of a message after an attempt.
const (
	outcomeDelivered  = "delivered"
	outcomeRetry      = "retry"       // there will be another attempt
	outcomeDeadLetter = "dead_letter" // it went to the dead-letter queue
	outcomeDropped    = "dropped"     // there is no dead-letter queue that takes it
)

const (
	attemptStream   = "mnq_attempts"
	attemptSubject  = "mnq.attempts." // and the subscription's id
	attemptsKept    = 20              // of each subscription
	attemptsFor     = 7 * 24 * time.Hour
	attemptsWaiting = 1024 // to be written; what is over is left out
	attemptLimiters = 10_000
)

// attemptLog writes down attempts, some of them when there are very many: what is
// asked of it is how the last ones went, and it must not hold up deliveries. Nothing
// waits for its writes, and a crash may take the last few.
type attemptLog struct {
	s       *Service
	pending chan attemptEntry
	all     *rate.Limiter

	mu    sync.Mutex
	each  map[string]*rate.Limiter // by subscription
	ready bool                     // the stream was made
}

type attemptEntry struct {
	subscription string
	data         []byte
}

func newAttemptLog(s *Service) *attemptLog {
	return &attemptLog{s: s, pending: make(chan attemptEntry, attemptsWaiting), all: rate.NewLimiter(200, 400), each: map[string]*rate.Limiter{}}
}

// outcomes are what [Attempt.Outcome] calls the results.
var outcomes = map[Result]string{
	ResultOK: outcomeDelivered, ResultRetry: outcomeRetry, ResultDeadLettered: outcomeDeadLetter, ResultFailed: outcomeDropped,
}

// noteAttempt counts an attempt and notes it for [Service.Attempts]. It does not block.
func (s *Service) noteAttempt(d *delivery, o outcome, r Result) {
	d.countAttempt(o, r)
	if !s.attempts.allows(d.sub.ID, time.Now()) {
		return
	}
	a := Attempt{
		Time: time.Now().UTC(), MessageID: d.m.id.String(), Kind: d.m.kind.String(), Number: d.attempt,
		Status: o.status, Duration: o.took, Outcome: outcomes[r],
	}
	if !o.delivered {
		a.Error = o.class
	}
	data, err := json.Marshal(a)
	if err != nil {
		return // a struct of numbers and texts always encodes
	}
	select {
	case s.attempts.pending <- attemptEntry{d.sub.ID, data}:
	default:
	}
}

// allows bounds what is written: of one subscription the first of a burst and then some
// each second.
func (l *attemptLog) allows(subscriptionID string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.each[subscriptionID]
	if r == nil {
		if len(l.each) >= attemptLimiters {
			clear(l.each)
		}
		r = rate.NewLimiter(2, attemptsKept)
		l.each[subscriptionID] = r
	}
	return r.AllowN(now, 1) && l.all.AllowN(now, 1)
}

// run writes until ctx ends.
func (l *attemptLog) run(ctx context.Context) {
	for {
		select {
		case e := <-l.pending:
			if err := l.open(ctx); err != nil {
				if ctx.Err() == nil {
					l.s.log.WarnContext(ctx, "delivery attempts are not noted", "error", err)
				}
				continue
			}
			_ = l.s.cfg.Control.Conn().Publish(attemptSubject+e.subscription, e.data) // lost with the connection, like what else it held
		case <-ctx.Done():
			return
		}
	}
}

// open makes the stream when it is first needed.
func (l *attemptLog) open(ctx context.Context) error {
	l.mu.Lock()
	ready := l.ready
	l.mu.Unlock()
	if ready {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, wire.Timeout)
	defer cancel()
	c := jetstream.StreamConfig{
		Name: attemptStream, Description: "last attempts at deliveries", Subjects: []string{attemptSubject + "*"},
		MaxMsgsPerSubject: attemptsKept, MaxAge: attemptsFor, Storage: jetstream.FileStorage, Replicas: l.s.cfg.Replicas,
		AllowDirect: true, NoAck: true,
	}
	if c.Replicas == 1 {
		c.PersistMode = jetstream.AsyncPersistMode
	}
	if _, err := l.s.cfg.Control.CreateOrUpdateStream(ctx, c); err != nil {
		return err
	}
	l.mu.Lock()
	l.ready = true
	l.mu.Unlock()
	return nil
}

// Attempts returns the last attempts at deliveries to a subscription, at most 20, the
// newest first. They are written down shortly after they were made, not all of them
// when there are very many, and kept for a week. Missing: kind and code NotFound.
func (s *Service) Attempts(ctx context.Context, ns mnq.Namespace, topic, id string) ([]Attempt, error) {
	if _, _, err := s.find(ctx, ns, topic, id); err != nil {
		return nil, err
	}
	st, err := s.cfg.Control.Stream(ctx, attemptStream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, unavailable("topic.Attempts", id, err)
	}
	var out []Attempt
	for seq := uint64(1); ; {
		m, err := st.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(attemptSubject+id))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return nil, unavailable("topic.Attempts", id, err)
		}
		var a Attempt
		if json.Unmarshal(m.Data, &a) == nil {
			out = append([]Attempt{a}, out...)
		}
		seq = m.Sequence + 1
	}
	return out, nil
}
