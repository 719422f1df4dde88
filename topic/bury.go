package topic

import (
	"context"
	"encoding/json"
	"maps"
	"strconv"

	"github.com/openmnq/mnq/queue"
)

// bury sends a message whose attempts are used up to the subscription's dead-letter
// queue. kept is false when there is none, or none that takes it: then the message is
// dropped. An error means that the queue may take it later.
func (s *Service) bury(ctx context.Context, d *delivery, o outcome) (kept bool, err error) {
	if d.m.kind != notification {
		return false, nil
	}
	target := d.sub.deadLetterTarget()
	if target == "" { // as far as is known here: another process may have just set it
		if err := s.defs.fresh(ctx); err != nil {
			return false, err
		}
		if now := s.subscriptionByID(d.sub.ID); now != nil {
			target = now.deadLetterTarget()
		}
	}
	if target == "" {
		return false, nil
	}
	send, err := d.deadLetter(ctx, target, o)
	if err != nil {
		return false, err
	}
	err = d.topic.sendToQueue(ctx, d.ns, target, send)
	if err == nil {
		return true, nil
	}
	if !queueOutcome(err).final {
		return false, err
	}
	s.log.WarnContext(ctx, "message dropped, its dead-letter queue does not take it", "topic", d.topic.name, "namespace_id", d.topic.namespaceID,
		"subscription", d.sub.ID, "queue", target, "error", err)
	return false, nil
}

// deadLetterTarget is the ARN of the subscription's dead-letter queue, "" without one.
func (r *subscriptionRecord) deadLetterTarget() string {
	var policy redrivePolicy
	_ = json.Unmarshal([]byte(r.Settings[attrRedrive]), &policy) // it was checked when it was set
	return policy.Target
}

// deadLetter is the message as the subscriber would have got it. For endpoints over
// HTTP three attributes say why it did not (Lambda developer guide, dead-letter queues).
func (d *delivery) deadLetter(ctx context.Context, target string, o outcome) (queue.Send, error) {
	as := *d.sub
	as.Endpoint = target
	if as.Protocol == protoSQS {
		r := d.topic.render(d.m)
		if r.rawFault(r.text(protoSQS)) != nil {
			as.Settings = maps.Clone(as.Settings)
			delete(as.Settings, attrRaw) // this is why it comes here; the envelope takes it
		}
		return r.forQueue(ctx, d.ns, &as)
	}
	_, body, err := d.request(ctx)
	if err != nil {
		return queue.Send{}, err
	}
	send, err := d.topic.render(d.m).forQueue(ctx, d.ns, &as)
	if err != nil {
		return queue.Send{}, err
	}
	send.Body = string(body)
	code := queue.Attribute{Name: "ErrorCode", DataType: "String", Value: []byte(o.class)}
	if o.status != 0 {
		code.DataType, code.Value = "Number", []byte(strconv.Itoa(o.status))
	}
	send.Attributes = []queue.Attribute{
		code,
		{Name: "ErrorMessage", DataType: "String", Value: []byte(o.describe())},
		{Name: "RequestID", DataType: "String", Value: []byte(d.m.id.String())},
	}
	return send, nil
}

// describe says how an attempt ended, in words that tell nothing about the operator's
// network.
func (o outcome) describe() string {
	if o.status != 0 {
		return "The endpoint answered with HTTP status " + strconv.Itoa(o.status) + "."
	}
	switch class(o.class) {
	case classTimeout:
		return "The endpoint did not answer in time."
	case classDNS:
		return "The name of the endpoint could not be resolved."
	case classRefused:
		return "The endpoint has no address that this service delivers to."
	case classTLS:
		return "No TLS connection could be made to the endpoint, or its certificate is not valid."
	case classConnection:
		return "The connection to the endpoint failed."
	default:
		return "The delivery failed."
	}
}
