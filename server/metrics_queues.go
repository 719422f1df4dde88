package server

import (
	"cmp"
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/queue"
)

// Series of each queue have names of their own, so that summing a metric never counts
// twice, and they are at a path of their own, so that a store of metrics takes as
// many of them as it wants.

const (
	// maxQueueSeries is how many queues have series of their own; the others go
	// together under the name otherQueues.
	maxQueueSeries = 500
	otherQueues    = "_other"

	queueMetricsTimeout = 10 * time.Second
	countedAtOnce       = 8
)

// countedQueue is what is known of a queue, or of several together.
type countedQueue struct {
	project, namespace, name string

	totals queue.Totals
	counts queue.Counts
	known  bool // counts could be asked for
}

func (c countedQueue) depth() int64 { return c.counts.Visible + c.counts.InFlight + c.counts.Delayed }

// countQueues asks every queue, or those of a name, for its counts.
func countQueues(ctx context.Context, queues *queue.Service, spaces []mnq.Namespace, only string) []countedQueue {
	var mu sync.Mutex
	var out []countedQueue
	var g errgroup.Group
	g.SetLimit(countedAtOnce)
	for _, ns := range spaces {
		names, _ := queues.List(ns, "", "", math.MaxInt)
		for _, name := range names {
			if only != "" && only != name {
				continue
			}
			g.Go(func() error {
				q, err := queues.Queue(ns, name)
				if err != nil {
					return nil // deleted meanwhile
				}
				counts, err := q.Counts(ctx)
				mu.Lock()
				defer mu.Unlock()
				out = append(out, countedQueue{ns.ProjectID, ns.Account(), name, q.Totals(), counts, err == nil})
				return nil
			})
		}
	}
	_ = g.Wait() // none fails
	return capQueues(out, maxQueueSeries)
}

// capQueues keeps the n deepest queues and adds the others of each project up.
func capQueues(all []countedQueue, n int) []countedQueue {
	slices.SortFunc(all, func(a, b countedQueue) int {
		return cmp.Or(cmp.Compare(b.depth(), a.depth()), cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name))
	})
	if len(all) <= n {
		return all
	}
	others := map[string]countedQueue{}
	for _, c := range all[n:] {
		o := others[c.project]
		o.project, o.namespace, o.name, o.known = c.project, otherQueues, otherQueues, o.known || c.known
		o.totals = o.totals.Add(c.totals)
		o.counts.Visible += c.counts.Visible
		o.counts.InFlight += c.counts.InFlight
		o.counts.Delayed += c.counts.Delayed
		if at := c.counts.Oldest; o.counts.Oldest.IsZero() || !at.IsZero() && at.Before(o.counts.Oldest) {
			o.counts.Oldest = at
		}
		others[c.project] = o
	}
	all = slices.Clone(all[:n])
	for _, o := range others {
		all = append(all, o)
	}
	return all
}

var (
	perQueue       = []string{"project", "namespace", "queue"}
	perQueueDescs  = perQueueCounters()
	perQueueDepth  = prometheus.NewDesc("mnq_per_queue_messages", "Messages in a queue, by state.", append(slices.Clone(perQueue), "state"), nil)
	perQueueOldest = prometheus.NewDesc("mnq_per_queue_oldest_message_age_seconds", "Age of a queue's oldest message; 0 when it is empty.", perQueue, nil)
)

func perQueueCounters() (descs []*prometheus.Desc) {
	for _, n := range queueCounters {
		descs = append(descs, prometheus.NewDesc("mnq_per_queue_"+n.name, n.help, perQueue, nil))
	}
	return descs
}

// queueCollector tells about queues that have been counted.
type queueCollector struct{ found []countedQueue }

// Describe implements [prometheus.Collector].
func (c *queueCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range perQueueDescs {
		out <- d
	}
	out <- perQueueDepth
	out <- perQueueOldest
}

// Collect implements [prometheus.Collector].
func (c *queueCollector) Collect(out chan<- prometheus.Metric) {
	for _, q := range c.found {
		labels := []string{q.project, q.namespace, q.name}
		for i, n := range queueCounters {
			out <- prometheus.MustNewConstMetric(perQueueDescs[i], prometheus.CounterValue, float64(n.value(q.totals)), labels...)
		}
		if !q.known {
			continue
		}
		for state, n := range map[string]int64{"visible": q.counts.Visible, "in_flight": q.counts.InFlight, "delayed": q.counts.Delayed} {
			out <- prometheus.MustNewConstMetric(perQueueDepth, prometheus.GaugeValue, float64(n), append(slices.Clone(labels), state)...)
		}
		age := 0.0
		if !q.counts.Oldest.IsZero() {
			age = max(0, time.Since(q.counts.Oldest).Seconds())
		}
		out <- prometheus.MustNewConstMetric(perQueueOldest, prometheus.GaugeValue, age, labels...)
	}
}
