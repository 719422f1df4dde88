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
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	handler  http.Handler
}

// NewMetrics makes a registry with the Go and process collectors, the build and
// the HTTP counters.
func NewMetrics(b Build) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
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
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "mnq_build_info",
		Help:        "Always 1; the labels say which build runs.",
		ConstLabels: prometheus.Labels{"version": b.Version, "commit": b.Commit, "go_version": b.Go},
	})
	info.Set(1)
	m.registry.MustRegister(m.requests, m.duration, info,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.handler = promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
	return m
}

// Register adds a part's own collectors.
func (m *Metrics) Register(cs ...prometheus.Collector) error {
	for _, c := range cs {
		if err := m.registry.Register(c); err != nil {
			return err
		}
	}
	return nil
}

// ServeHTTP answers /metrics.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) { m.handler.ServeHTTP(w, r) }

// Request is what a front door tells about the request it answers. The zero
// value of a field is filled in from the outside: the front's name and the
// status class.
type Request struct {
	Front     string        // sqs, sns, rest
	Operation string        // SendMessage; one of a fixed set, never client text
	Code      string        // the wire error code, or "ok"
	RequestID string        // for the log only
	Waited    time.Duration // how long a long poll waited for messages
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
		ctx := context.WithValue(r.Context(), requestKey{}, info)
		rec := &statusRecorder{ResponseWriter: w}
		next.ServeHTTP(rec, r.WithContext(ctx))

		if info.Operation == "" {
			info.Operation = "other"
		}
		if info.Code == "" {
			info.Code = statusClass(rec.status)
		}
		took := time.Since(begin)
		m.requests.WithLabelValues(info.Front, info.Operation, info.Code).Inc()
		m.duration.WithLabelValues(info.Front, info.Operation).Observe(max(took-info.Waited, 0).Seconds())
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
