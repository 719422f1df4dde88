package topic

import "context"

// deliveries is the machinery that delivers to subscriptions one by one: it pulls each
// subscription's own consumer, attempts, retries by its schedule, and sends what is used
// up to the dead-letter queue. Whoever stores a delivery calls wake.
type deliveries struct{}

// wake has the subscription's deliveries looked at. It does not block.
func (d *deliveries) wake(*subscriptionRecord) {}

// attempt makes one attempt to deliver to an endpoint of protocol http, https or
// lambda. It returns within a few seconds more than requestTimeout.
func (s *Service) attempt(context.Context, *delivery) outcome {
	return outcome{class: "not_supported"}
}

// logAttempt notes an attempt for [Service.Attempts]. It must not block. last says that
// there will be no further one.
func (s *Service) logAttempt(d *delivery, o outcome, last bool) {}

// askForConfirmation asks the endpoint of a pending subscription to confirm it: by a
// message of kind subscriptionConfirmation that is enqueued for it, as often as the
// limit for its target allows.
func (s *Service) askForConfirmation(context.Context, *Topic, *subscriptionRecord) {}

// tellUnsubscribed enqueues a message of kind unsubscribeConfirmation for a
// subscription that was removed.
func (s *Service) tellUnsubscribed(context.Context, *Topic, *subscriptionRecord) {}
