package server

import (
	"cmp"
	"math"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/topic"
)

// countedTopic is what is known of a topic, or of several together.
type countedTopic struct {
	project, namespace, name string

	totals topic.Totals
}

func countTopics(topics *topic.Service, ns mnq.Namespace, only string) (out []countedTopic) {
	names, _ := topics.List(ns, "", math.MaxInt)
	for _, name := range names {
		if only != "" && only != name {
			continue
		}
		if t, err := topics.Topic(ns, name); err == nil {
			out = append(out, countedTopic{ns.ProjectID, ns.Account(), name, t.Totals()})
		}
	}
	return out
}

// capTopics keeps the n topics with most messages and adds the others of each project up.
func capTopics(all []countedTopic, n int) []countedTopic {
	slices.SortFunc(all, func(a, b countedTopic) int {
		return cmp.Or(cmp.Compare(b.totals.Published, a.totals.Published), cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name))
	})
	if len(all) <= n {
		return all
	}
	others := map[string]topic.Totals{}
	for _, c := range all[n:] {
		others[c.project] = others[c.project].Add(c.totals)
	}
	all = slices.Clone(all[:n])
	for project, t := range others {
		all = append(all, countedTopic{project, otherQueues, otherQueues, t})
	}
	return all
}

var (
	perTopic         = []string{"project", "namespace", "topic"}
	perTopicCounters = topicCounters()
)

// topicCollector tells about topics that have been counted.
type topicCollector struct{ found []countedTopic }

// Describe implements [prometheus.Collector].
func (c *topicCollector) Describe(out chan<- *prometheus.Desc) {
	for _, n := range perTopicCounters {
		out <- n.descOf("mnq_per_", perTopic...)
	}
}

// Collect implements [prometheus.Collector]. Of deliveries it tells only those that there
// were.
func (c *topicCollector) Collect(out chan<- prometheus.Metric) {
	for _, t := range c.found {
		for _, n := range perTopicCounters {
			v := n.value(t.totals)
			if v == 0 && len(n.labels) > 0 {
				continue
			}
			out <- prometheus.MustNewConstMetric(n.descOf("mnq_per_", perTopic...), prometheus.CounterValue, float64(v),
				append([]string{t.project, t.namespace, t.name}, n.values...)...)
		}
	}
}

// deliveryDurations is told how long attempts at deliveries take.
func deliveryDurations() *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:                        "mnq_topic_delivery_duration_seconds",
		Help:                        "Time that an attempt at a delivery took, by protocol.",
		Buckets:                     []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 15},
		NativeHistogramBucketFactor: 1.1,
	}, []string{"protocol"})
}
