package service

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics is the process's registry and the counters every front door shares.
// It is safe for concurrent use.
type Metrics struct {
	// Tracer makes a span of each request. It is set before the first; nil makes none.
	Tracer *Tracer

	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	refused  *prometheus.CounterVec
	throttle *prometheus.CounterVec
	waited   prometheus.Histogram
	handler  http.Handler
	private  *prometheus.Registry // what not everybody may see
	all      http.Handler
}

// NewMetrics makes a registry with the Go and process collectors, the build and
// the HTTP counters.
func NewMetrics(b Build) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(), private: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mnq_http_requests_total",
			Help: "Requests answered, by front door, operation and outcome.",
		}, []string{"front", "operation", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:                        "mnq_http_request_duration_seconds",
			Help:                        "Time to answer, without the time a long poll waited for messages.",
			Buckets:                     []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5},
			NativeHistogramBucketFactor: 1.1,
		}, []string{"front", "operation"}),
	}
	m.refused = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mnq_auth_failures_total",
		Help: "Requests without an identity that could be proved, by front door and reason.",
	}, []string{"front", "reason"})
	m.throttle = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mnq_throttled_total",
		Help: "Requests refused because a limit was reached for now, by front door and code.",
	}, []string{"front", "limit"})
	m.waited = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:                        "mnq_receive_wait_seconds",
		Help:                        "Time that long polls and streams of events waited.",
		Buckets:                     []float64{.01, .1, 1, 5, 10, 20},
		NativeHistogramBucketFactor: 1.1,
	})
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "mnq_build_info",
		Help:        "Always 1; the labels say which build runs.",
		ConstLabels: prometheus.Labels{"version": b.Version, "commit": b.Commit, "go_version": b.Go},
	})
	info.Set(1)
	m.registry.MustRegister(m.requests, m.duration, m.refused, m.throttle, m.waited, info,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.handler = handlerFor(m.registry)
	m.all = handlerFor(prometheus.Gatherers{m.registry, m.private})
	return m
}

// Throttled counts what was turned away before a front door saw it.
func (m *Metrics) Throttled(front, limit string) { m.throttle.WithLabelValues(front, limit).Inc() }

// Register adds a part's own collectors.
func (m *Metrics) Register(cs ...prometheus.Collector) error {
	for _, c := range cs {
		if err := m.registry.Register(c); err != nil {
			return err
		}
	}
	return nil
}

// RegisterPrivate adds collectors whose series name projects.
func (m *Metrics) RegisterPrivate(c prometheus.Collector) error { return m.private.Register(c) }

func handlerFor(g prometheus.Gatherer) http.Handler {
	return promhttp.HandlerFor(g, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
}

// ServeHTTP answers /metrics for everybody: without what RegisterPrivate added.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) { m.handler.ServeHTTP(w, r) }

// ServePrivate answers /metrics for the operator: with everything.
func (m *Metrics) ServePrivate(w http.ResponseWriter, r *http.Request) { m.all.ServeHTTP(w, r) }

// ServeOnly answers with what one collector says.
func (m *Metrics) ServeOnly(w http.ResponseWriter, r *http.Request, c prometheus.Collector) {
	only := prometheus.NewPedanticRegistry()
	if err := only.Register(c); err != nil {
		http.Error(w, "cannot collect", http.StatusInternalServerError)
		return
	}
	handlerFor(only).ServeHTTP(w, r)
}

// Request is what a front door tells about the request it answers. The zero
// value of a field is filled in from the outside: the front's name and the
// status class.
type Request struct {
	Front     string        // sqs, sns, rest
	Operation string        // SendMessage; one of a fixed set, never client text
	Code      string        // the wire error code, or "ok"
	RequestID string        // for the log only
	Waited    time.Duration // how long a long poll waited for messages
	Refused   string        // why the caller's identity was refused, of a fixed set; "" when it was not
	Throttled string        // the limit that was reached for now, of a fixed set
}

type requestKey struct{}

// RequestOf returns the record of the request being answered, for the front
// door to fill in, or nil outside [Metrics.Observe]. Only the goroutine that
// serves the request may use it.
func RequestOf(ctx context.Context) *Request {
	r, _ := ctx.Value(requestKey{}).(*Request)
	return r
}

// Observe counts and times the requests of one front door and writes one access
// line for each at debug level.
func (m *Metrics) Observe(front string, log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		info := &Request{Front: front}
		ctx, traced := m.Tracer.observed(context.WithValue(r.Context(), requestKey{}, info), r)
		rec := &statusRecorder{ResponseWriter: w}
		next.ServeHTTP(rec, r.WithContext(ctx))

		if info.Operation == "" {
			info.Operation = "other"
		}
		if info.Code == "" {
			info.Code = statusClass(rec.status)
		}
		traced(info, rec.status)
		if info.Refused != "" {
			m.refused.WithLabelValues(info.Front, info.Refused).Inc()
		}
		if info.Throttled != "" {
			m.throttle.WithLabelValues(info.Front, info.Throttled).Inc()
		}
		took := time.Since(begin)
		m.requests.WithLabelValues(info.Front, info.Operation, info.Code).Inc()
		m.duration.WithLabelValues(info.Front, info.Operation).Observe(max(took-info.Waited, 0).Seconds())
		if info.Waited > 0 {
			m.waited.Observe(info.Waited.Seconds())
		}
		if log.Enabled(ctx, slog.LevelDebug) {
			log.LogAttrs(ctx, slog.LevelDebug, "request",
				slog.String("front", info.Front), slog.String("operation", info.Operation),
				slog.String("code", info.Code), slog.Int("status", rec.status),
				slog.String("request_id", info.RequestID), slog.Float64("duration_s", took.Seconds()))
		}
	})
}

func statusClass(status int) string {
	if status < http.StatusBadRequest {
		return "ok"
	}
	return strconv.Itoa(status/100) + "xx"
}

// statusRecorder remembers the status; ResponseController reaches the rest
// through Unwrap.
type statusRecorder struct {
	http.ResponseWriter

	status int
}

func (s *statusRecorder) WriteHeader(status int) {
	if s.status == 0 && status >= 200 {
		s.status = status
	}
	s.ResponseWriter.WriteHeader(status)
}

func (s *statusRecorder) Write(b []byte) (int, error) {
	if s.status == 0 {
		s.status = http.StatusOK
	}
	return s.ResponseWriter.Write(b)
}

func (s *statusRecorder) Unwrap() http.ResponseWriter { return s.ResponseWriter }
