package queue

import (
	"context"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/node"
)

// A stream that loses its leader has a new one some seconds later. Until then requests
// get lost or find nobody, and they are repeated: to a client it looks like a slow
// answer. Every request here can be repeated. A stream without replicas has nobody to
// wait for, so its requests are made once.

const (
	firstPause = 50 * time.Millisecond // doubled after each attempt
	maxPause   = 500 * time.Millisecond
)

// repeat calls try with the numbers below n, and again with those that it returns, for
// as long as a stream may take to find a new leader.
func (s *Service) repeat(ctx context.Context, n int, try func(open []int) (again []int)) {
	open := make([]int, n)
	for i := range open {
		open[i] = i
	}
	until := time.Now().Add(s.patience.Total)
	for pause := firstPause; len(open) > 0; pause = min(2*pause, maxPause) {
		open = try(open)
		if len(open) == 0 || !s.pauseUntil(ctx, pause, until) {
			return
		}
	}
}

// repeatFor calls try with the entries, and again with those whose outcome is unknown.
func repeatFor[T any](ctx context.Context, s *Service, entries []T, try func(context.Context, []T) []error) []error {
	errs := make([]error, len(entries))
	s.repeat(ctx, len(entries), func(open []int) (again []int) {
		batch := make([]T, len(open))
		for j, i := range open {
			batch[j] = entries[i]
		}
		for j, err := range try(ctx, batch) {
			if errs[open[j]] = err; unknown(err) {
				again = append(again, open[j])
			}
		}
		return again
	})
	return errs
}

// patient reports whether requests are repeated.
func (s *Service) patient() bool { return s.patience.Total > s.patience.Try }

// pauseUntil waits before another attempt; false says that there shall be none.
func (s *Service) pauseUntil(ctx context.Context, pause time.Duration, until time.Time) bool {
	if !s.patient() || time.Until(until) <= pause {
		return false
	}
	select {
	case <-time.After(pause):
		return true
	case <-ctx.Done():
		return false
	}
}

// unknown reports whether err leaves the outcome open, so that it pays to try again.
func unknown(err error) bool { return err != nil && mnq.KindOf(err) == mnq.Unavailable }

// retried makes a request of the JetStream API, again while there is no leader.
func retried[T any](ctx context.Context, s *Service, f func(ctx context.Context) (T, error)) (T, error) {
	return node.Retry(ctx, s.patience, f)
}
