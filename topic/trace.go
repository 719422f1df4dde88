package topic

import (
	"context"
	"net/http"

	"github.com/nats-io/nats.go"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/service"
	"github.com/openmnq/mnq/queue"
)

// A message takes the context of the span that published it along in a header of its
// record, so that deliveries in other processes belong to the same trace. The message
// itself is not touched, and without a [Config.Tracer] there is no such header.

const (
	headerParent = "traceparent" // of W3C
	maxLinks     = 10            // messages' contexts that a span of a batch is linked to
)

// tracePublish begins the span of a publish. The function that it returns ends it.
func (t *Topic) tracePublish(ctx context.Context, msgs []Publication) (context.Context, func([]Published)) {
	tracer := t.svc.cfg.Tracer
	if tracer == nil {
		return ctx, func([]Published) {}
	}
	w := t.work("publish", service.SpanProducer, len(msgs))
	for i := range msgs[:min(len(msgs), maxLinks)] {
		if l := queue.TraceOf(msgs[i].Attributes, msgs[i].TraceHeader); l != "" {
			w.Links = append(w.Links, l)
		}
	}
	ctx, span := tracer.Begin(ctx, w)
	return ctx, func(out []Published) {
		failure := ""
		for i := range out {
			if out[i].Err != nil {
				failure = mnq.KindOf(out[i].Err).String()
			}
		}
		span.End(failure)
	}
}

// traceStore begins the span of storing messages in a subscription's queue.
func (t *Topic) traceStore(ctx context.Context, p parcel) (context.Context, *service.Span) {
	tracer := t.svc.cfg.Tracer
	if tracer == nil {
		return ctx, nil
	}
	w := t.work("deliver", service.SpanProducer, len(p.out))
	w.Set["mnq.protocol"], w.Set["mnq.subscription"] = p.sub.Protocol, p.sub.ID
	if len(p.out) == 1 {
		ctx = service.WithParent(ctx, p.out[0].m.parent)
	} else {
		for _, o := range p.out[:min(len(p.out), maxLinks)] {
			w.Links = append(w.Links, o.m.parent)
		}
	}
	return tracer.Begin(ctx, w)
}

func notStored(n int) string {
	if n > 0 {
		return "not_stored"
	}
	return ""
}

// traceAttempt begins the span of an attempt at a delivery. What is sent carries its
// context along.
func (d *delivery) traceAttempt(ctx context.Context) (context.Context, func(outcome)) {
	tracer := d.topic.svc.cfg.Tracer
	if tracer == nil {
		return ctx, func(outcome) {}
	}
	w := d.topic.work("deliver", service.SpanClient, 1)
	w.Set["mnq.protocol"], w.Set["mnq.subscription"] = d.sub.Protocol, d.sub.ID
	ctx, span := tracer.Begin(service.WithParent(ctx, d.m.parent), w)
	if parent := service.ParentOf(ctx); d.header != nil && parent != "" {
		d.header = d.header.Clone()
		d.header.Set(headerParent, parent)
	}
	span.SetInt("mnq.attempt", d.attempt)
	return ctx, func(o outcome) {
		if o.status != 0 {
			span.SetInt("http.response.status_code", o.status)
		}
		failure := ""
		if !o.delivered {
			failure = o.class
			if failure == "" {
				failure = http.StatusText(o.status)
			}
		}
		span.End(failure)
	}
}

func (t *Topic) work(operation string, k service.SpanKind, n int) service.Work {
	return service.Work{Name: operation + " " + t.name, Kind: k, Count: n, Set: map[string]string{
		"messaging.system": "aws.sns", "messaging.operation.name": operation, "messaging.destination.name": t.name, "mnq.namespace_id": t.namespaceID,
	}}
}

// mark adds the message's context to the headers of its record.
func (m *message) mark(h nats.Header) nats.Header {
	if m.parent == "" {
		return h
	}
	if h == nil {
		h = nats.Header{}
	}
	h[headerParent] = []string{m.parent}
	return h
}
