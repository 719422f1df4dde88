package server

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/queue"
	"github.com/openmnq/mnq/topic"
)

var (
	depthDesc    = prometheus.NewDesc("mnq_queue_messages", "Messages in a project's queues, by state; every process tells the same.", []string{"project", "state"}, nil)
	oldestDesc   = prometheus.NewDesc("mnq_queue_oldest_message_age_seconds", "Age of the oldest message in a project's queues; 0 when they are empty.", []string{"project"}, nil)
	groupsDesc   = prometheus.NewDesc("mnq_queue_fifo_groups_in_flight", "Message groups of a project's FIFO queues with messages in flight.", []string{"project"}, nil)
	queuesDesc   = prometheus.NewDesc("mnq_queues", "Queues of a project.", []string{"project"}, nil)
	topicsDesc   = prometheus.NewDesc("mnq_topics", "Topics of a project.", []string{"project"}, nil)
	subsDesc     = prometheus.NewDesc("mnq_topic_subscriptions", "Confirmed subscriptions of a project's topics.", []string{"project", "protocol"}, nil)
	subsOpenDesc = prometheus.NewDesc("mnq_topic_subscriptions_pending", "Subscriptions that wait for their confirmation.", []string{"project"}, nil)
	quotaDesc    = prometheus.NewDesc("mnq_quota_used_ratio", "The part of a limit that is in use, in the namespace of the project where it is largest.", []string{"project", "limit"}, nil)

	usageDescs = []*prometheus.Desc{depthDesc, oldestDesc, groupsDesc, queuesDesc, topicsDesc, subsDesc, subsOpenDesc, quotaDesc}
)

// usageCollector tells what there is in each project, and how much of its limits that
// takes.
type usageCollector struct{ s *Server }

// Describe implements [prometheus.Collector].
func (usageCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range usageDescs {
		out <- d
	}
}

// inProject is what there is in a project.
type inProject struct {
	counts queue.Counts
	queues int
	topic.Extent

	quota map[string]float64 // the largest part in use, by limit
}

// Collect implements [prometheus.Collector].
func (c usageCollector) Collect(out chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for id, p := range c.s.projects(context.Background()) {
		gauge(depthDesc, float64(p.counts.Visible), id, "visible")
		gauge(depthDesc, float64(p.counts.InFlight), id, "in_flight")
		gauge(depthDesc, float64(p.counts.Delayed), id, "delayed")
		gauge(oldestDesc, age(p.counts.Oldest), id)
		gauge(groupsDesc, float64(p.counts.Groups), id)
		gauge(queuesDesc, float64(p.queues), id)
		gauge(topicsDesc, float64(p.Topics), id)
		for _, protocol := range topic.Protocols {
			gauge(subsDesc, float64(p.Subscriptions[protocol]), id, protocol)
		}
		gauge(subsOpenDesc, float64(p.Pending), id)
		for limit, ratio := range p.quota {
			gauge(quotaDesc, ratio, id, limit)
		}
	}
}

// projects adds up what there is in each project.
func (s *Server) projects(ctx context.Context) map[string]*inProject {
	out := map[string]*inProject{}
	for _, p := range s.directory.Projects() {
		out[p.ID] = &inProject{Extent: topic.Extent{Subscriptions: map[string]int{}}, quota: map[string]float64{}}
	}
	queues := map[string]int{} // by namespace
	for _, c := range s.counted.all(ctx, s) {
		queues[c.namespace]++
		p := out[c.project]
		if p == nil {
			continue // made just now
		}
		p.queues++
		p.counts.Visible += c.counts.Visible
		p.counts.InFlight += c.counts.InFlight
		p.counts.Delayed += c.counts.Delayed
		p.counts.Groups += c.counts.Groups
		if at := c.counts.Oldest; !at.IsZero() && (p.counts.Oldest.IsZero() || at.Before(p.counts.Oldest)) {
			p.counts.Oldest = at
		}
	}
	extents := s.topics.Extents()
	for _, ns := range s.directory.Namespaces() {
		p := out[ns.ProjectID]
		if p == nil {
			continue
		}
		e := extents[ns.ID]
		p.Topics += e.Topics
		p.Pending += e.Pending
		for protocol, n := range e.Subscriptions {
			p.Subscriptions[protocol] += n
		}
		for limit, part := range s.inUse(ns, queues[ns.Account()], e) {
			p.quota[limit] = max(p.quota[limit], part)
		}
	}
	return out
}

// inUse is how much of each of the namespace's limits is in use, from 0 to 1. Limits that
// it does not have, and what is not known, are left out.
func (s *Server) inUse(ns mnq.Namespace, queues int, e topic.Extent) map[string]float64 {
	out := map[string]float64{}
	put := func(limit string, used, most int64) {
		if most > 0 {
			out[limit] = float64(used) / float64(most)
		}
	}
	u, known := s.node.Usage(ns.ID)
	if known {
		put("storage", int64(u.StorageBytes), ns.Quota.StorageBytes) //nolint:gosec // bytes on a disk
	}
	switch ns.Protocol {
	case mnq.ProtocolSQSSNS:
		put("queues", int64(queues), ns.Quota.Queues)
		put("topics", int64(e.Topics), ns.Quota.Topics)
		put("subscriptions", int64(e.Most), ns.Quota.Subscriptions)
	case mnq.ProtocolNATS:
		if known {
			put("streams", int64(u.Streams), ns.Quota.Streams)
			put("connections", int64(u.Connections), ns.Quota.Connections)
		}
	}
	return out
}
