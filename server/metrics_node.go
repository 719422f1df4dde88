package server

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/openmnq/mnq/node"
	"github.com/openmnq/mnq/queue"
)

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
	figure("mnq_jetstream_api_requests_total", "Requests to JetStream's API.", prometheus.CounterValue, func(f node.Figures) float64 { return float64(f.APIRequests) }),
	figure("mnq_jetstream_api_errors_total", "Requests to JetStream's API that were answered with an error.", prometheus.CounterValue, func(f node.Figures) float64 { return float64(f.APIErrors) }),
	figure("mnq_raft_leader", "1 on the server that leads the cluster, 0 on the others; a server that stands alone leads.", prometheus.GaugeValue, func(f node.Figures) float64 { return truth(f.Leads) }),
	figure("mnq_raft_peers_lagging", "Servers of the cluster that are away or behind, as its leader knows; 0 on the others.", prometheus.GaugeValue, func(f node.Figures) float64 { return float64(f.PeersLagging) }),
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

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

var readyDesc = prometheus.NewDesc("mnq_ready", "1 while every part is ready, as /readyz says.", nil, nil)

// readyCollector tells whether the process is ready.
type readyCollector func(context.Context) bool

// Describe implements [prometheus.Collector].
func (readyCollector) Describe(out chan<- *prometheus.Desc) { out <- readyDesc }

// Collect implements [prometheus.Collector].
func (c readyCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	out <- prometheus.MustNewConstMetric(readyDesc, prometheus.GaugeValue, truth(c(ctx)))
}

func (s *Server) ready(ctx context.Context) bool {
	return s.node.Ready(ctx) == nil && s.directory.Ready(ctx) == nil
}

var tasksDesc = prometheus.NewDesc("mnq_tasks", "Tasks that are kept, by kind and state; every process tells the same.", []string{"kind", "state"}, nil)

// taskCollector tells what tasks there are.
type taskCollector func() map[queue.TaskKey]int

// taskKinds and taskStates have series also when there are none.
var (
	taskKinds  = []string{"redrive"}
	taskStates = []string{"running", "completed", "cancelling", "cancelled", "failed"}
)

// Describe implements [prometheus.Collector].
func (taskCollector) Describe(out chan<- *prometheus.Desc) { out <- tasksDesc }

// Collect implements [prometheus.Collector].
func (c taskCollector) Collect(out chan<- prometheus.Metric) {
	now := c()
	for _, kind := range taskKinds {
		for _, state := range taskStates {
			out <- prometheus.MustNewConstMetric(tasksDesc, prometheus.GaugeValue, float64(now[queue.TaskKey{Kind: kind, State: state}]), kind, state)
		}
	}
}

func (s *Server) auditCounter() prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "mnq_audit_records_total", Help: "Records written to the audit log.",
	}, func() float64 { return float64(s.directory.AuditWritten()) })
}

func (s *Server) certificateGauge() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "mnq_tls_certificate_expiry_timestamp_seconds", Help: "When the certificate that is served ends.",
	}, func() float64 { return float64(s.certificate.Expires().Unix()) })
}
