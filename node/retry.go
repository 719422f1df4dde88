package node

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Patience is how long a request waits for its answer. A stream that loses its leader
// has a new one within 5 to 8 seconds; until then requests get lost or are refused.
type Patience struct {
	Total time.Duration // over all attempts
	Try   time.Duration // for one attempt
}

// PatienceFor is the patience with streams of that many replicas. With one replica
// there is nobody else to answer.
func PatienceFor(replicas int) Patience {
	if replicas > 1 {
		return Patience{Total: 15 * time.Second, Try: 2500 * time.Millisecond}
	}
	return Patience{Total: 5 * time.Second, Try: 5 * time.Second}
}

// Retry calls f again and again until it succeeds, fails for good, or patience or ctx
// ends. f must be repeatable: an attempt without an answer may have had its effect.
func Retry[T any](ctx context.Context, p Patience, f func(ctx context.Context) (T, error)) (T, error) {
	until := time.Now().Add(p.Total)
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		try, cancel := context.WithTimeout(ctx, min(p.Try, time.Until(until)))
		out, err := f(try)
		cancel()
		if err == nil || !Temporary(err) || ctx.Err() != nil || time.Until(until) <= pause {
			return out, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return out, err
		}
	}
}

// Temporary reports whether a request to JetStream failed in a way that passes: no
// answer, nobody there to give one, or a server that is not able to just now.
func Temporary(err error) bool {
	for _, e := range []error{
		context.DeadlineExceeded, nats.ErrTimeout, nats.ErrNoResponders, nats.ErrDisconnected, nats.ErrReconnectBufExceeded,
		jetstream.ErrNoStreamResponse, errIncomplete,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	api, ok := errors.AsType[*jetstream.APIError](err)
	return ok && TemporaryCode(int(api.ErrorCode))
}

// TemporaryCode is Temporary for the error code of an answer from JetStream.
func TemporaryCode(code int) bool {
	switch code {
	case 10004, // incomplete results
		10005, // no suitable peers for placement: a node is away
		10007, // cluster not assigned
		10008, // temporarily unavailable
		10009, // not the leader
		10010, // clustering required: JetStream is starting
		10035, // account not found: the server has not taken it over yet
		10039, // JetStream not enabled for account: likewise
		10049, // store failed: its files are being made while others come and go
		10076, // JetStream is not enabled: it is starting or stopping
		10118, // stream offline
		10158, // the same message is being stored
		10163: // expected last sequence temporarily unavailable
		return true
	}
	return false
}
