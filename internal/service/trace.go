package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Tracer makes spans and sends them to an OpenTelemetry collector. A nil Tracer makes
// none, and its methods do nothing. It is safe for concurrent use.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// NewTracer reads OpenTelemetry's own environment variables through get. Without an
// endpoint among them, or when they switch traces off, the Tracer is nil. Spans are sent
// in the background; when the collector does not keep up they are dropped.
func NewTracer(ctx context.Context, b Build, get func(string) string, log *slog.Logger) (*Tracer, error) {
	endpoint := get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
	if base := get("OTEL_EXPORTER_OTLP_ENDPOINT"); endpoint == "" && base != "" {
		endpoint = strings.TrimRight(base, "/") + "/v1/traces"
	}
	if endpoint == "" || get("OTEL_TRACES_EXPORTER") == "none" || strings.EqualFold(get("OTEL_SDK_DISABLED"), "true") {
		return nil, nil //nolint:nilnil // a nil Tracer is one that makes no spans
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		if p := get(name); p != "" && p != "http/protobuf" {
			return nil, fmt.Errorf("%s: only http/protobuf is there, not %q", name, p)
		}
	}
	if !strings.HasPrefix(endpoint, "http://") && !strings.HasPrefix(endpoint, "https://") {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_ENDPOINT must be a URL such as http://127.0.0.1:4318, not %q", endpoint)
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(endpoint))
	if err != nil {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_ENDPOINT: %w", err)
	}
	what, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", "mnq"), attribute.String("service.version", b.Version)),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return nil, errors.Join(err, exporter.Shutdown(ctx))
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces are not sent", "error", err) }))
	return tracerOf(sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(what))), nil
}

func tracerOf(p *sdktrace.TracerProvider) *Tracer {
	return &Tracer{provider: p, tracer: p.Tracer("github.com/openmnq/mnq")}
}

// Stop sends what is left.
func (t *Tracer) Stop(ctx context.Context) error {
	if t == nil {
		return nil
	}
	return t.provider.Shutdown(ctx)
}

// SpanKind says which side of a conversation a span is.
type SpanKind = trace.SpanKind

// The kinds.
const (
	SpanServer   = trace.SpanKindServer   // answers a request
	SpanClient   = trace.SpanKindClient   // makes one
	SpanProducer = trace.SpanKindProducer // stores messages
	SpanConsumer = trace.SpanKindConsumer // hands messages out
)

// Work describes what a span is about.
type Work struct {
	Name  string
	Kind  SpanKind
	Begun time.Time         // zero: now
	Links []string          // contexts of messages, in either format that [WithParent] takes; what is none is left out
	Set   map[string]string // attributes; what is empty is left out
	Count int               // messages, 0: does not matter
}

// Span is one piece of work that is under way. A nil Span does nothing.
type Span struct{ span trace.Span }

// Begin begins a span below that of ctx. The context that it returns has the new one.
func (t *Tracer) Begin(ctx context.Context, w Work) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	opts := []trace.SpanStartOption{trace.WithSpanKind(w.Kind)}
	if !w.Begun.IsZero() {
		opts = append(opts, trace.WithTimestamp(w.Begun))
	}
	for _, l := range w.Links {
		if sc := contextOf(l); sc.IsValid() {
			opts = append(opts, trace.WithLinks(trace.Link{SpanContext: sc}))
		}
	}
	for k, v := range w.Set {
		if v != "" {
			opts = append(opts, trace.WithAttributes(attribute.String(k, v)))
		}
	}
	if w.Count > 0 {
		opts = append(opts, trace.WithAttributes(attribute.Int("messaging.batch.message_count", w.Count)))
	}
	ctx, span := t.tracer.Start(ctx, w.Name, opts...)
	return ctx, &Span{span}
}

// Set adds an attribute.
func (s *Span) Set(name, value string) {
	if s != nil && value != "" {
		s.span.SetAttributes(attribute.String(name, value))
	}
}

// SetInt adds an attribute.
func (s *Span) SetInt(name string, value int) {
	if s != nil {
		s.span.SetAttributes(attribute.Int(name, value))
	}
}

// End ends the span. failure says in a word what went wrong; "" is nothing.
func (s *Span) End(failure string) {
	if s == nil {
		return
	}
	if failure != "" {
		s.span.SetStatus(codes.Error, failure)
		s.span.SetAttributes(attribute.String("error.type", failure))
	}
	s.span.End()
}

var w3c propagation.TraceContext

// headerParent is the W3C header that carries a span's context.
const headerParent = "traceparent"

// ParentOf is the context of ctx's span as the W3C header traceparent has it; "" when there
// is none.
func ParentOf(ctx context.Context) string {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ""
	}
	c := propagation.MapCarrier{}
	w3c.Inject(ctx, c)
	return c[headerParent]
}

// WithParent returns a context whose spans are below the one that a text names: the W3C
// header traceparent, or an X-Amzn-Trace-Id. Other texts change nothing.
func WithParent(ctx context.Context, text string) context.Context {
	if sc := contextOf(text); sc.IsValid() {
		return trace.ContextWithRemoteSpanContext(ctx, sc)
	}
	return ctx
}

func contextOf(text string) trace.SpanContext {
	if parent, ok := fromAmazon(text); ok {
		text = parent
	}
	return trace.SpanContextFromContext(w3c.Extract(context.Background(), propagation.MapCarrier{headerParent: text}))
}

// fromAmazon translates an X-Amzn-Trace-Id, such as
// Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1.
func fromAmazon(text string) (parent string, ok bool) {
	var id, span string
	flags := "00"
	for part := range strings.SplitSeq(text, ";") {
		switch name, v, _ := strings.Cut(strings.TrimSpace(part), "="); name {
		case "Root":
			if t := strings.Split(v, "-"); len(t) == 3 && t[0] == "1" {
				id = t[1] + t[2]
			}
		case "Parent":
			span = v
		case "Sampled":
			if v == "1" {
				flags = "01"
			}
		}
	}
	return "00-" + strings.ToLower(id) + "-" + strings.ToLower(span) + "-" + flags, id != "" && span != ""
}

// observed begins the span of a request. end takes how it went.
func (t *Tracer) observed(ctx context.Context, r *http.Request) (context.Context, func(info *Request, status int)) {
	if t == nil {
		return ctx, func(*Request, int) {}
	}
	ctx = w3c.Extract(ctx, propagation.HeaderCarrier(r.Header))
	ctx, span := t.Begin(ctx, Work{Name: r.Method, Kind: SpanServer, Set: map[string]string{"http.request.method": r.Method}})
	return ctx, func(info *Request, status int) {
		span.span.SetName(info.Front + " " + info.Operation)
		span.Set("rpc.service", info.Front)
		span.Set("rpc.method", info.Operation)
		span.Set("mnq.request_id", info.RequestID)
		span.SetInt("http.response.status_code", status)
		failure := ""
		if status >= http.StatusInternalServerError {
			failure = info.Code
		} else if info.Code != "ok" {
			span.Set("error.type", info.Code)
		}
		span.End(failure)
	}
}
