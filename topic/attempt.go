package topic

import (
	"context"
	"errors"
	"net/http"
	"net/url"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/wire"
	"github.com/openmnq/mnq/queue"
)

// policyOf is the delivery policy in force for a subscription.
func policyOf(t *Topic, sub *subscriptionRecord, k kind) DeliveryPolicy {
	switch {
	case k != notification:
		return NewDeliveryPolicy("", "") // nobody's own policy counts for an endpoint that has not agreed to it
	case sub.Protocol == protoHTTP || sub.Protocol == protoHTTPS:
		return NewDeliveryPolicy(t.state.Load().Settings[attrDelivery], sub.Settings[attrDelivery])
	}
	return ManagedDeliveryPolicy()
}

// placeOf is what the slots of a subscription are counted for: the endpoint's host and
// port, or the queue.
func placeOf(r *subscriptionRecord) string {
	if r.Protocol == protoSQS || r.Protocol == protoNATS {
		return r.Endpoint
	}
	u, err := url.Parse(r.Endpoint)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// attempt makes one attempt at a delivery. It returns within a few seconds more than
// requestTimeout.
func (s *Service) attempt(ctx context.Context, d *delivery) outcome {
	switch d.sub.Protocol {
	case protoSQS:
		return s.attemptQueue(ctx, d)
	case protoNATS:
		return s.attemptSubject(ctx, d)
	}
	return outcomeOf(s.egress.post(ctx, d.sub.Endpoint, d.header, d.body))
}

// outcomeOf reads the answer of an endpoint as SNS does: 2xx is success; 5xx, 429 and no
// answer are temporary; everything else, redirects too, will not get better.
func outcomeOf(r result) outcome {
	o := outcome{class: string(r.class), status: r.status}
	if r.class == classHTTP {
		o.delivered = r.status >= 200 && r.status <= 299
		o.final = r.status < 500 && r.status != http.StatusTooManyRequests
	}
	return o
}

// answered reports whether the endpoint did something within its time, be it to refuse.
func (o outcome) answered() bool { return o.delivered || o.final || o.status != 0 }

// request is what the endpoint of a subscription over HTTP gets.
func (d *delivery) request(ctx context.Context) (http.Header, []byte, error) {
	if d.m.kind != notification {
		return d.confirmRequest(ctx)
	}
	r := d.topic.render(d.m)
	n := r.notice(d.ns, r.text(d.sub.Protocol))
	h := httpHeader{kind: typeNotification, id: n.id, topicARN: n.topicARN, subscription: d.subscriptionARN(), contentType: d.policy.ContentType()}
	if d.raw() {
		h.raw = true
		return h.header(), []byte(n.text), nil
	}
	sig, err := d.topic.sign(ctx, n.stringToSign())
	if err != nil {
		return nil, nil, err
	}
	base := d.topic.svc.cfg.PublicURL()
	if d.sub.Protocol == protoLambda {
		h.contentType = "application/json"
		return h.header(), n.lambda(sig, base).body(h.subscription), nil
	}
	return h.header(), n.envelope(sig, base).body(h.subscription), nil
}

func (d *delivery) confirmRequest(ctx context.Context) (http.Header, []byte, error) {
	c := &confirmRequest{
		kind: typeSubscribed, id: d.m.id.String(), topicARN: d.topic.ARN(d.ns), subscription: d.subscriptionARN(),
		token: d.topic.svc.token(d.sub), at: d.m.publishedAt,
	}
	h := httpHeader{kind: c.kind, id: c.id, topicARN: c.topicARN}
	if d.m.kind == unsubscribeConfirmation {
		c.kind, h.kind, h.subscription = typeUnsubscribed, typeUnsubscribed, c.subscription
	}
	base := d.topic.svc.cfg.PublicURL()
	sig, err := d.topic.sign(ctx, c.stringToSign(base))
	if err != nil {
		return nil, nil, err
	}
	return h.header(), c.body(sig, base), nil
}

func (d *delivery) subscriptionARN() string { return d.topic.ARN(d.ns) + ":" + d.sub.ID }

func (d *delivery) raw() bool {
	return d.sub.Settings[attrRaw] == "true" && d.sub.Protocol != protoLambda
}

// attemptQueue stores a message in the queue of a subscription. What the queue refuses
// it will refuse again; that it is full or does not answer is temporary.
func (s *Service) attemptQueue(ctx context.Context, d *delivery) outcome {
	send, err := d.topic.render(d.m).forQueue(ctx, d.ns, d.sub)
	if err == nil {
		err = d.topic.sendToQueue(ctx, d.ns, d.sub.Endpoint, send)
	}
	return queueOutcome(err)
}

// sendToQueue stores one message in a queue of the namespace.
func (t *Topic) sendToQueue(ctx context.Context, ns mnq.Namespace, arn string, send queue.Send) error {
	ctx, cancel := context.WithTimeout(ctx, wire.Timeout)
	defer cancel()
	return t.sendAll(ctx, ns, arn, []queue.Send{send})[0]
}

func queueOutcome(err error) outcome {
	if err == nil {
		return outcome{delivered: true}
	}
	o := outcome{class: "internal"}
	if e, ok := errors.AsType[*mnq.Error](err); ok {
		o.class = e.Kind.String()
	}
	switch mnq.KindOf(err) {
	case mnq.Invalid, mnq.NotFound, mnq.Denied, mnq.Unsupported:
		o.final = true
	default:
	}
	return o
}
