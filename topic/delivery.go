package topic

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/wire"
)

// delivery is one message for one subscription, which has to be tried by itself: every
// message for http, https and lambda, and for sqs what could not be stored at once.
type delivery struct {
	topic   *Topic
	ns      mnq.Namespace
	sub     *subscriptionRecord
	m       *message
	attempt int // this one, from 1
	policy  DeliveryPolicy
	header  http.Header // what is posted, over HTTP
	body    []byte
}

// outcome is how one attempt at a delivery ended.
type outcome struct {
	delivered bool
	final     bool   // no further attempt would end otherwise
	class     string // what went wrong, in one word that tells nothing about the operator's network
	status    int    // of HTTP, 0 without an answer
	took      time.Duration
}

// enqueue stores a message in the topic's stream for one subscription, whose consumer
// delivers it from there: the message is durable when it returns nil.
func (t *Topic) enqueue(ctx context.Context, sub *subscriptionRecord, m *message) error {
	w, err := t.svc.wire(ctx, t.namespaceID)
	if err != nil {
		return err
	}
	errs := t.svc.writeAll(ctx, w, []wire.Request{t.svc.write(t.state.Load().delivery(sub.ID), m)})
	return t.writeError(errs[0])
}

// Deliveries are stored so many at a time that a publish does not wait for long behind
// them, and together when that is cheaper.
const (
	maxTogether      = 200
	maxTogetherBytes = 1 << 20
	minTogether      = 8
)

// writeMany is writeAll for many messages that can be repeated: those with an id.
func (s *Service) writeMany(ctx context.Context, w *wire.Wire, reqs []wire.Request) []error {
	errs := make([]error, 0, len(reqs))
	for len(reqs) > 0 {
		n, bytes := 0, 0
		for n < len(reqs) && n < maxTogether && (n == 0 || bytes+len(reqs[n].Data) <= maxTogetherBytes) {
			bytes += len(reqs[n].Data)
			n++
		}
		if n < minTogether || !stored(w.Together(ctx, reqs[:n])) {
			errs = append(errs, s.writeAll(ctx, w, reqs[:n])...)
		} else {
			errs = append(errs, make([]error, n)...)
		}
		reqs = reqs[n:]
	}
	return errs
}

// stored reports whether all messages were stored.
func stored(answers []wire.Answer) bool {
	return !slices.ContainsFunc(answers, func(a wire.Answer) bool {
		_, _, err := a.Stored()
		return err != nil
	})
}
