package server

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strings"
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

	// countedFor is how long a count of all queues is used again: every scrape needs it.
	countedFor = 5 * time.Second
)

// countedQueue is what is known of a queue, or of several together.
type countedQueue struct {
	project, namespace, name string

	totals queue.Totals
	counts queue.Counts
	known  bool // counts could be asked for
}

func (c countedQueue) depth() int64 { return c.counts.Visible + c.counts.InFlight + c.counts.Delayed }

// counts are what was in all queues when that was last asked.
type counts struct {
	mu    sync.Mutex
	at    time.Time
	found []countedQueue
}

// all returns what is in every queue of every namespace. It costs little and keeps
// nothing in memory that was not there. Who gets the list must not change it.
func (c *counts) all(ctx context.Context, s *Server) []countedQueue {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.at) >= countedFor {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), queueMetricsTimeout)
		defer cancel()
		c.found, c.at = countQueues(ctx, s.queues, s.directory.Namespaces()), time.Now()
	}
	return c.found
}

func countQueues(ctx context.Context, queues *queue.Service, spaces []mnq.Namespace) []countedQueue {
	var mu sync.Mutex
	var out []countedQueue
	var g errgroup.Group
	g.SetLimit(countedAtOnce)
	for _, ns := range spaces {
		names, _ := queues.List(ns, "", "", math.MaxInt)
		if len(names) == 0 {
			continue
		}
		g.Go(func() error {
			found, _ := queues.Survey(ctx, ns) // those that are missing are not known
			mu.Lock()
			defer mu.Unlock()
			for _, name := range names {
				if q, err := queues.Queue(ns, name); err == nil {
					n, known := found[name]
					out = append(out, countedQueue{ns.ProjectID, ns.Account(), name, q.Totals(), n, known})
				}
			}
			return nil
		})
	}
	_ = g.Wait() // none fails
	return out
}

// capQueues keeps the n deepest queues and adds the others of each project up.
func capQueues(all []countedQueue, n int) []countedQueue {
	all = slices.Clone(all)
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
		o.counts.Groups += c.counts.Groups
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
	perQueueGroups = prometheus.NewDesc("mnq_per_queue_fifo_groups_in_flight", "Message groups of a FIFO queue with messages in flight.", perQueue, nil)
	perQueueOldest = prometheus.NewDesc("mnq_per_queue_oldest_message_age_seconds", "Age of a queue's oldest message; 0 when it is empty.", perQueue, nil)
)

func perQueueCounters() (descs []*prometheus.Desc) {
	for _, n := range queueCounters {
		descs = append(descs, n.descOf("mnq_per_", perQueue...))
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
	out <- perQueueGroups
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
		out <- prometheus.MustNewConstMetric(perQueueOldest, prometheus.GaugeValue, age(q.counts.Oldest), labels...)
		if strings.HasSuffix(q.name, ".fifo") || q.name == otherQueues {
			out <- prometheus.MustNewConstMetric(perQueueGroups, prometheus.GaugeValue, float64(q.counts.Groups), labels...)
		}
	}
}

// age is for how long something has been there; 0 when there is nothing.
func age(since time.Time) float64 {
	if since.IsZero() {
		return 0
	}
	return max(0, time.Since(since).Seconds())
}
