package bridge

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/nats-io/nats.go"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/openmnq/mnq/internal/mnqtest"
)

// otlp is a collector of traces.
type otlp struct {
	*httptest.Server

	mu    sync.Mutex
	spans []*trace.Span
	more  chan struct{} // closed when there are others
}

func newOTLP(t *testing.T) *otlp {
	t.Helper()
	o := &otlp{more: make(chan struct{})}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var in collector.ExportTraceServiceRequest
		if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &in) != nil {
			http.Error(w, "no traces", http.StatusBadRequest)
			return
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		for _, rs := range in.GetResourceSpans() {
			for _, ss := range rs.GetScopeSpans() {
				o.spans = append(o.spans, ss.GetSpans()...)
			}
		}
		close(o.more)
		o.more = make(chan struct{})
	}))
	t.Cleanup(o.Close)
	return o
}

// await returns the first span that is the one.
func (o *otlp) await(t *testing.T, what string, is func(*trace.Span) bool) *trace.Span {
	t.Helper()
	end := time.After(3 * soon)
	for {
		o.mu.Lock()
		more := o.more
		for _, s := range o.spans {
			if is(s) {
				o.mu.Unlock()
				return s
			}
		}
		o.mu.Unlock()
		select {
		case <-more:
		case <-end:
			t.Fatalf("no span: %s", what)
		}
	}
}

func attributeOf(s *trace.Span, name string) string {
	for _, a := range s.GetAttributes() {
		if a.GetKey() == name {
			return a.GetValue().GetStringValue()
		}
	}
	return ""
}

func linked(s *trace.Span, traceID string) bool {
	for _, l := range s.GetLinks() {
		if hex.EncodeToString(l.GetTraceId()) == traceID {
			return true
		}
	}
	return false
}

// TestTraces follows messages through queues, topics and NATS.
func TestTraces(t *testing.T) {
	t.Parallel()
	o := newOTLP(t)
	p := mnqtest.Start(t, mnqtest.Options{
		Args: []string{"--fsync", "interval"},
		Env:  []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + o.URL, "OTEL_BSP_SCHEDULE_DELAY=100"},
	})
	x := &place{T: t, p: p, nats: p.Namespace("n", "nats"), aws: p.Namespace("a", "sqs_sns"), common: t.Context()}
	keys := p.Keys(x.aws, "prm")
	x.sqs, x.sns = mnqtest.SQS(p.URL, keys), mnqtest.SNS(p.URL, keys)
	x.connect()

	// A queue: the message's own context is linked to and goes on unchanged.
	url, queueARN := x.queue("q", nil)
	const amazon = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
	const amazonTrace = "5759e988bd862e3fe1be46a994272793"
	if _, err := x.sqs.SendMessage(x.common, &sqs.SendMessageInput{
		QueueUrl: &url, MessageBody: aws.String("one"),
		MessageSystemAttributes: map[string]sqstypes.MessageSystemAttributeValue{"AWSTraceHeader": {DataType: aws.String("String"), StringValue: aws.String(amazon)}},
	}); err != nil {
		t.Fatal(err)
	}
	x.receive(url, func(m sqstypes.Message) bool {
		if *m.Body != "one" || m.Attributes["AWSTraceHeader"] != amazon || len(m.MessageAttributes) != 0 {
			t.Errorf("the message was changed: %+v", m)
		}
		return true
	})
	send := o.await(t, "send", func(s *trace.Span) bool { return s.GetName() == "send q" && linked(s, amazonTrace) })
	o.await(t, "the request of the send", func(s *trace.Span) bool {
		return s.GetName() == "sqs SendMessage" && string(s.GetSpanId()) == string(send.GetParentSpanId()) && attributeOf(s, "mnq.request_id") != ""
	})
	o.await(t, "receive", func(s *trace.Span) bool { return s.GetName() == "receive q" && linked(s, amazonTrace) })

	// A topic: deliveries are in the publisher's trace, and carry it to NATS.
	arn := x.topic("news")
	heard, err := x.nc.SubscribeSync("live")
	if err != nil {
		t.Fatal(err)
	}
	if err := x.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	for protocol, endpoint := range map[string]string{"sqs": queueARN, "nats": "nats://" + x.nats + "/live"} {
		if _, err := x.sns.Subscribe(x.common, &sns.SubscribeInput{TopicArn: &arn, Protocol: &protocol, Endpoint: &endpoint}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := x.sns.Publish(x.common, &sns.PublishInput{TopicArn: &arn, Message: aws.String("two")}); err != nil {
		t.Fatal(err)
	}
	m, err := heard.NextMsg(3 * soon)
	if err != nil {
		t.Fatal(err)
	}
	published := o.await(t, "publish", func(s *trace.Span) bool { return s.GetName() == "publish news" })
	for _, protocol := range []string{"sqs", "nats"} {
		o.await(t, "delivery over "+protocol, func(s *trace.Span) bool {
			return s.GetName() == "deliver news" && attributeOf(s, "mnq.protocol") == protocol && string(s.GetTraceId()) == string(published.GetTraceId())
		})
	}
	if parent := m.Header.Get("traceparent"); !strings.Contains(parent, hex.EncodeToString(published.GetTraceId())) {
		t.Errorf("traceparent of the NATS message: %q", parent)
	}

	// From NATS into a queue.
	x.bridge("in.>", queueARN)
	const natsTrace = "0af7651916cd43dd8448eb211c80319c"
	in := &nats.Msg{Subject: "in.a", Data: []byte("three"), Header: nats.Header{"traceparent": {"00-" + natsTrace + "-b7ad6b7169203331-01"}}}
	if err := x.nc.PublishMsg(in); err != nil {
		t.Fatal(err)
	}
	o.await(t, "bridge", func(s *trace.Span) bool { return s.GetName() == "send q" && linked(s, natsTrace) })
	if err := p.Stop(); err != nil {
		t.Error(err)
	}
}
