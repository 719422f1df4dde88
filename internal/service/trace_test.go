package service

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
)

func TestNewTracer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		env     string // NAME=value
		on      bool
		refused string
	}{
		{"", false, ""},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", true, ""},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://127.0.0.1:1/x", true, ""},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1 OTEL_TRACES_EXPORTER=none", false, ""},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1 OTEL_SDK_DISABLED=true", false, ""},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1 OTEL_EXPORTER_OTLP_PROTOCOL=grpc", false, "only http/protobuf"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=127.0.0.1:4317", false, "must be a URL"},
	} {
		get := func(name string) string {
			for v := range strings.FieldsSeq(c.env) {
				if k, value, _ := strings.Cut(v, "="); k == name {
					return value
				}
			}
			return ""
		}
		tr, err := NewTracer(t.Context(), Build{}, get, slog.New(slog.DiscardHandler))
		switch {
		case c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)):
			t.Errorf("%s: %v", c.env, err)
		case c.refused == "" && (err != nil || (tr != nil) != c.on):
			t.Errorf("%s: %v, %v", c.env, tr, err)
		}
		if err := tr.Stop(t.Context()); err != nil {
			t.Errorf("%s: %v", c.env, err)
		}
	}
}

// recording returns a tracer whose spans can be looked at.
func recording() (*Tracer, *tracetest.InMemoryExporter) {
	e := tracetest.NewInMemoryExporter()
	return tracerOf(sdktrace.NewTracerProvider(sdktrace.WithSyncer(e))), e
}

const (
	w3cParent    = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01"
	amazonParent = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
)

func TestSpanOfARequest(t *testing.T) {
	t.Parallel()
	m := NewMetrics(Build{})
	tr, spans := recording()
	m.Tracer = tr
	h := m.Observe("sqs", slog.New(slog.DiscardHandler), http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		info := RequestOf(r.Context())
		info.Operation, info.RequestID = "SendMessage", "id"
		_, span := tr.Begin(r.Context(), Work{Name: "inside", Kind: SpanProducer, Links: []string{amazonParent, "nonsense", ""}, Count: 2})
		span.End("")
	}))
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
	r.Header.Set("Traceparent", w3cParent)
	h.ServeHTTP(httptest.NewRecorder(), r)
	got := spans.GetSpans()
	if len(got) != 2 {
		t.Fatalf("%d spans", len(got))
	}
	inside, outside := got[0], got[1]
	if outside.Name != "sqs SendMessage" || outside.Parent.SpanID().String() != "53995c3f42cd8ad8" || outside.SpanContext.TraceID().String() != "5759e988bd862e3fe1be46a994272793" {
		t.Errorf("%s below %v", outside.Name, outside.Parent)
	}
	if inside.Parent.SpanID() != outside.SpanContext.SpanID() || len(inside.Links) != 1 || inside.Links[0].SpanContext.SpanID().String() != "53995c3f42cd8ad8" {
		t.Errorf("%v, links %v", inside.Parent, inside.Links)
	}
}

func TestParent(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		w3cParent: w3cParent, amazonParent: w3cParent, "Root=1-5759e988-bd862e3fe1be46a994272793": "", "": "", "00-x": "", "Root=1-a-b;Parent=c": "",
		"Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8": strings.TrimSuffix(w3cParent, "1") + "0",
	} {
		if got := ParentOf(WithParent(context.Background(), text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

// TestNoTracerCostsNothing counts what the calls allocate while traces are off.
func TestNoTracerCostsNothing(t *testing.T) { //nolint:paralleltest // others would allocate meanwhile
	var off *Tracer
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() {
		_, span := off.Begin(ctx, Work{Name: "x"})
		span.Set("a", "b")
		span.SetInt("a", 1)
		span.End("")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
