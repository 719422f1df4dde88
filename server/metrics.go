package server

import (
	"context"
	"net/http"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/node"
	"github.com/openmnq/mnq/queue"
)

// counterOf is one number of [queue.Totals], by the rest of its metric's name.
type counterOf struct {
	name, help string
	value      func(queue.Totals) uint64
}

var queueCounters = []counterOf{
	{"messages_sent_total", "Messages stored.", func(t queue.Totals) uint64 { return t.Sent }},
	{"sent_bytes_total", "Bytes of the messages stored: bodies and attributes.", func(t queue.Totals) uint64 { return t.SentBytes }},
	{"messages_received_total", "Messages handed out, each time they were.", func(t queue.Totals) uint64 { return t.Received }},
	{"receives_empty_total", "Receives that found nothing.", func(t queue.Totals) uint64 { return t.EmptyReceives }},
	{"messages_deleted_total", "Messages deleted by receipt handle.", func(t queue.Totals) uint64 { return t.Deleted }},
	{"dead_lettered_total", "Messages moved to a dead-letter queue.", func(t queue.Totals) uint64 { return t.DeadLettered }},
	{"redriven_total", "Messages moved by a task.", func(t queue.Totals) uint64 { return t.Redriven }},
}

// projectCollector tells what this process counted for each project. A namespace that
// is gone keeps its share, since a counter must not fall.
type projectCollector struct {
	totals  func() map[string]queue.Totals
	project func(namespaceID string) (string, bool)
	descs   []*prometheus.Desc

	mu    sync.Mutex
	known map[string]share
}

type share struct {
	project string
	totals  queue.Totals
}

func newProjectCollector(totals func() map[string]queue.Totals, project func(string) (string, bool)) *projectCollector {
	c := &projectCollector{totals: totals, project: project, known: map[string]share{}}
	for _, n := range queueCounters {
		c.descs = append(c.descs, prometheus.NewDesc("mnq_queue_"+n.name, n.help, []string{"project"}, nil))
	}
	return c
}

// Describe implements [prometheus.Collector].
func (c *projectCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		out <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *projectCollector) Collect(out chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for ns, t := range c.totals() {
		project, ok := c.project(ns)
		if !ok {
			project = c.known[ns].project
		}
		if project != "" {
			c.known[ns] = share{project, t}
		}
	}
	for i, n := range queueCounters {
		sums := map[string]uint64{}
		for _, s := range c.known {
			sums[s.project] += n.value(s.totals)
		}
		for project, sum := range sums {
			out <- prometheus.MustNewConstMetric(c.descs[i], prometheus.CounterValue, float64(sum), project)
		}
	}
}

// figureOf is one number of [node.Figures].
type figureOf struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(node.Figures) float64
}

func figure(name, help string, kind prometheus.ValueType, value func(node.Figures) float64) figureOf {
	return figureOf{prometheus.NewDesc(name, help, nil, nil), kind, value}
}

// figures are close to the names of prometheus-nats-exporter.
var figures = []figureOf{
	figure("mnq_jetstream_streams", "Streams in the embedded server.", prometheus.GaugeValue, func(f node.Figures) float64 { return float64(f.Streams) }),
	figure("mnq_jetstream_consumers", "Consumers in the embedded server.", prometheus.GaugeValue, func(f node.Figures) float64 { return float64(f.Consumers) }),
	figure("mnq_jetstream_messages", "Records in the embedded server's streams.", prometheus.GaugeValue, func(f node.Figures) float64 { return float64(f.Messages) }),
	figure("mnq_jetstream_storage_bytes", "Disk space that the streams use.", prometheus.GaugeValue, func(f node.Figures) float64 { return float64(f.StorageBytes) }),
	figure("mnq_jetstream_storage_limit_bytes", "Disk space that the streams may use.", prometheus.GaugeValue, func(f node.Figures) float64 { return float64(f.StorageLimit) }),
	figure("mnq_nats_connections", "Connections to the embedded server.", prometheus.GaugeValue, func(f node.Figures) float64 { return float64(f.Connections) }),
	figure("mnq_nats_slow_consumers_total", "Connections cut because they read too slowly.", prometheus.CounterValue, func(f node.Figures) float64 { return float64(f.SlowConsumers) }),
	figure("mnq_nats_in_bytes_total", "Bytes that clients sent.", prometheus.CounterValue, func(f node.Figures) float64 { return float64(f.InBytes) }),
	figure("mnq_nats_out_bytes_total", "Bytes sent to clients.", prometheus.CounterValue, func(f node.Figures) float64 { return float64(f.OutBytes) }),
}

// nodeCollector tells what the embedded server counts; nothing with an external one.
type nodeCollector func() (node.Figures, error)

// Describe implements [prometheus.Collector].
func (nodeCollector) Describe(out chan<- *prometheus.Desc) {
	for _, f := range figures {
		out <- f.desc
	}
}

// Collect implements [prometheus.Collector].
func (c nodeCollector) Collect(out chan<- prometheus.Metric) {
	now, err := c()
	if err != nil {
		return // down, which readiness tells
	}
	for _, f := range figures {
		out <- prometheus.MustNewConstMetric(f.desc, f.kind, f.value(now))
	}
}

func (s *Server) registerMetrics() error {
	project := func(ns string) (string, bool) {
		n, err := s.directory.Namespace(ns)
		return n.ProjectID, err == nil
	}
	if err := s.metrics.RegisterPrivate(newProjectCollector(s.queues.Totals, project)); err != nil {
		return err
	}
	if s.node.External() {
		return nil
	}
	return s.metrics.Register(nodeCollector(s.node.Figures))
}

// serveMetrics answers /metrics and /metrics/queues on the listener that tenants
// reach: what belongs to a project only to who shows an API key that sees it.
func (s *Server) serveMetrics(w http.ResponseWriter, r *http.Request) {
	who, err := s.scraper(r)
	switch {
	case r.URL.Path == "/metrics/queues" && err != nil:
		w.Header().Set("WWW-Authenticate", `Bearer realm="the secret of an API key"`)
		http.Error(w, "an API key is needed: Authorization: Bearer SECRET", http.StatusUnauthorized)
	case r.URL.Path == "/metrics/queues":
		s.serveQueueMetrics(w, r, who)
	case r.URL.Path != "/metrics":
		http.NotFound(w, r)
	case err == nil && who.ProjectID == "":
		s.metrics.ServePrivate(w, r)
	default:
		s.metrics.ServeHTTP(w, r)
	}
}

func (s *Server) scraper(r *http.Request) (mnq.Identity, error) {
	token := r.Header.Get("X-Auth-Token")
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		token = bearer
	}
	if token == "" {
		return mnq.Identity{}, &mnq.Error{Kind: mnq.Unauthenticated, Op: "metrics"}
	}
	return s.directory.Authenticate(strings.ToLower(token))
}

// serveQueueMetrics answers with the series of each queue that the query chooses.
func (s *Server) serveQueueMetrics(w http.ResponseWriter, r *http.Request, who mnq.Identity) {
	ctx, cancel := context.WithTimeout(r.Context(), queueMetricsTimeout)
	defer cancel()
	query := r.URL.Query()
	var spaces []mnq.Namespace
	for _, ns := range s.directory.Namespaces() {
		if p := query.Get("project"); ns.Protocol == mnq.ProtocolSQSSNS && who.Sees(ns.ProjectID) && (p == "" || p == ns.ProjectID) {
			spaces = append(spaces, ns)
		}
	}
	c := &queueCollector{found: countQueues(ctx, s.queues, spaces, query.Get("name"))}
	s.metrics.ServeOnly(w, r, c)
}
