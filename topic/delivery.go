package topic

import (
	"context"
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
