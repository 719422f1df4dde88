package queue

import (
	"context"
	"strings"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/service"
)

// traceAttribute is the message attribute in which senders put a W3C trace context.
const traceAttribute = "traceparent"

// maxLinks is how many messages' contexts a span of a batch is linked to.
const maxLinks = 10

// TraceOf is the trace context that a message came with, in its attributes or as an
// X-Amzn-Trace-Id; "" when it had none.
func TraceOf(attrs []Attribute, traceHeader string) string {
	for _, a := range attrs {
		if strings.EqualFold(a.Name, traceAttribute) && !a.Binary() {
			return string(a.Value)
		}
	}
	return traceHeader
}

// traceSend begins the span of a send. The function that it returns ends it.
func (q *Queue) traceSend(ctx context.Context, msgs []Send) (context.Context, func([]SendResult)) {
	t := q.svc.cfg.Tracer
	if t == nil {
		return ctx, func([]SendResult) {}
	}
	w := q.work("send", service.SpanProducer, len(msgs))
	for i := range msgs[:min(len(msgs), maxLinks)] {
		if l := TraceOf(msgs[i].Attributes, msgs[i].TraceHeader); l != "" {
			w.Links = append(w.Links, l)
		}
	}
	ctx, span := t.Begin(ctx, w)
	return ctx, func(out []SendResult) {
		failure := ""
		for _, r := range out {
			if r.Err != nil {
				failure = mnq.KindOf(r.Err).String()
			}
		}
		span.End(failure)
	}
}

// traceReceive makes the span of a receive that got something.
func (q *Queue) traceReceive(ctx context.Context, begun time.Time, got []Message) {
	t := q.svc.cfg.Tracer
	if t == nil || len(got) == 0 {
		return
	}
	w := q.work("receive", service.SpanConsumer, len(got))
	w.Begun = begun
	for i := range got[:min(len(got), maxLinks)] {
		if l := TraceOf(got[i].Attributes, got[i].TraceHeader); l != "" {
			w.Links = append(w.Links, l)
		}
	}
	_, span := t.Begin(ctx, w)
	span.End("")
}

func (q *Queue) work(operation string, k service.SpanKind, n int) service.Work {
	return service.Work{Name: operation + " " + q.name, Kind: k, Count: n, Set: map[string]string{
		"messaging.system": "aws_sqs", "messaging.operation.name": operation, "messaging.destination.name": q.name, "mnq.namespace_id": q.space.id,
	}}
}
