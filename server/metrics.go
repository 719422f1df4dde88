package server

import (
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/queue"
	"github.com/openmnq/mnq/topic"
)

// counterOf is one number of totals T, by the rest of its metric's name. Labels are those
// beside the project, with their values.
type counterOf[T any] struct {
	name, help string
	labels     []string
	values     []string
	value      func(T) uint64
}

func queueCounter(name, help string, value func(queue.Totals) uint64) counterOf[queue.Totals] {
	return counterOf[queue.Totals]{"queue_" + name, help, nil, nil, value}
}

var queueCounters = []counterOf[queue.Totals]{
	queueCounter("messages_sent_total", "Messages stored.", func(t queue.Totals) uint64 { return t.Sent }),
	queueCounter("sent_bytes_total", "Bytes of the messages stored: bodies and attributes.", func(t queue.Totals) uint64 { return t.SentBytes }),
	queueCounter("messages_received_total", "Messages handed out, each time they were.", func(t queue.Totals) uint64 { return t.Received }),
	queueCounter("receives_empty_total", "Receives that found nothing.", func(t queue.Totals) uint64 { return t.EmptyReceives }),
	queueCounter("messages_deleted_total", "Messages deleted by receipt handle.", func(t queue.Totals) uint64 { return t.Deleted }),
	queueCounter("dead_lettered_total", "Messages moved to a dead-letter queue.", func(t queue.Totals) uint64 { return t.DeadLettered }),
	queueCounter("redriven_total", "Messages moved by a task.", func(t queue.Totals) uint64 { return t.Redriven }),
}

// topicCounters are those of topics: deliveries by protocol and result.
func topicCounters() []counterOf[topic.Totals] {
	all := []counterOf[topic.Totals]{
		{"topic_messages_published_total", "Messages published and stored.", nil, nil, func(t topic.Totals) uint64 { return t.Published }},
		{"topic_published_bytes_total", "Bytes of the messages published: bodies and attributes.", nil, nil, func(t topic.Totals) uint64 { return t.PublishedBytes }},
	}
	for p, protocol := range topic.Protocols {
		for r := topic.ResultOK; r <= topic.ResultDeadLettered; r++ {
			all = append(all, counterOf[topic.Totals]{
				"topic_deliveries_total", "Deliveries to subscriptions, by what became of them; an attempt that is repeated counts as retry.",
				[]string{"protocol", "result"},
				[]string{protocol, r.String()},
				func(t topic.Totals) uint64 { return t.Deliveries[p][r] },
			})
		}
	}
	return all
}

// descOf describes the counter with the labels that every series of its kind has.
func (n counterOf[T]) descOf(prefix string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(prefix+n.name, n.help, append(slices.Clone(labels), n.labels...), nil)
}

// projectCollector tells what this process counted for each project. A namespace that
// is gone keeps its share, since a counter must not fall.
type projectCollector[T any] struct {
	counters []counterOf[T]
	totals   func() map[string]T
	add      func(T, T) T
	project  func(namespaceID string) (string, bool)
	descs    []*prometheus.Desc
	more     func(T, string) prometheus.Metric // one more of each project; nil: none

	mu    sync.Mutex
	known map[string]share[T]
}

type share[T any] struct {
	project string
	totals  T
}

func newProjectCollector[T any](counters []counterOf[T], totals func() map[string]T, add func(T, T) T, project func(string) (string, bool), more func(T, string) prometheus.Metric) *projectCollector[T] {
	c := &projectCollector[T]{counters: counters, totals: totals, add: add, project: project, more: more, known: map[string]share[T]{}}
	for _, n := range counters {
		c.descs = append(c.descs, n.descOf("mnq_", "project"))
	}
	return c
}

// Describe implements [prometheus.Collector].
func (c *projectCollector[T]) Describe(out chan<- *prometheus.Desc) {
	for _, d := range c.descs {
		out <- d
	}
	if c.more != nil {
		var none T
		out <- c.more(none, "").Desc()
	}
}

// Collect implements [prometheus.Collector].
func (c *projectCollector[T]) Collect(out chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for ns, t := range c.totals() {
		project, ok := c.project(ns)
		if !ok {
			project = c.known[ns].project
		}
		if project != "" {
			c.known[ns] = share[T]{project, t}
		}
	}
	sums := map[string]T{}
	for _, s := range c.known {
		sums[s.project] = c.add(sums[s.project], s.totals)
	}
	for project, sum := range sums {
		for i, n := range c.counters {
			out <- prometheus.MustNewConstMetric(c.descs[i], prometheus.CounterValue, float64(n.value(sum)), append([]string{project}, n.values...)...)
		}
		if c.more != nil {
			out <- c.more(sum, project)
		}
	}
}

var sizeDesc = prometheus.NewDesc("mnq_queue_message_bytes", "Sizes of the messages stored: bodies and attributes.", []string{"project"}, nil)

func sizeHistogram(t queue.Totals, project string) prometheus.Metric {
	buckets, sum := map[float64]uint64{}, uint64(0)
	for i, bound := range queue.SizeBounds {
		sum += t.Sizes[i]
		buckets[float64(bound)] = sum
	}
	return prometheus.MustNewConstHistogram(sizeDesc, sum+t.Sizes[len(t.Sizes)-1], float64(t.SentBytes), buckets, project)
}

func (s *Server) registerMetrics() error {
	project := func(ns string) (string, bool) {
		n, err := s.directory.Namespace(ns)
		return n.ProjectID, err == nil
	}
	private := []prometheus.Collector{
		newProjectCollector(queueCounters, s.queues.Totals, queue.Totals.Add, project, sizeHistogram),
		newProjectCollector(topicCounters(), s.topics.Totals, topic.Totals.Add, project, nil),
		usageCollector{s},
	}
	for _, c := range private {
		if err := s.metrics.RegisterPrivate(c); err != nil {
			return err
		}
	}
	public := []prometheus.Collector{s.delivered, s.auditCounter(), taskCollector(s.queues.TaskStates), readyCollector(s.ready)}
	if s.certificate != nil {
		public = append(public, s.certificateGauge())
	}
	if !s.node.External() {
		public = append(public, nodeCollector(s.node.Figures))
	}
	return s.metrics.Register(public...)
}

// serveMetrics answers /metrics, /metrics/queues and /metrics/topics on the listener that tenants
// reach: what belongs to a project only to who shows an API key that sees it.
func (s *Server) serveMetrics(w http.ResponseWriter, r *http.Request) {
	who, err := s.scraper(r)
	switch {
	case (r.URL.Path == "/metrics/queues" || r.URL.Path == "/metrics/topics") && err != nil:
		w.Header().Set("WWW-Authenticate", `Bearer realm="the secret of an API key"`)
		http.Error(w, "an API key is needed: Authorization: Bearer SECRET", http.StatusUnauthorized)
	case r.URL.Path == "/metrics/queues":
		s.serveQueueMetrics(w, r, who)
	case r.URL.Path == "/metrics/topics":
		s.serveTopicMetrics(w, r, who)
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
	query := r.URL.Query()
	found := s.counted.all(r.Context(), s)
	found = slices.DeleteFunc(slices.Clone(found), func(c countedQueue) bool {
		p, name := query.Get("project"), query.Get("name")
		return !who.Sees(c.project) || p != "" && p != c.project || name != "" && name != c.name
	})
	s.metrics.ServeOnly(w, r, &queueCollector{found: capQueues(found, maxQueueSeries)})
}

// serveTopicMetrics answers with the series of each topic that the query chooses.
func (s *Server) serveTopicMetrics(w http.ResponseWriter, r *http.Request, who mnq.Identity) {
	query := r.URL.Query()
	var found []countedTopic
	for _, ns := range s.directory.Namespaces() {
		if p := query.Get("project"); ns.Protocol == mnq.ProtocolSQSSNS && who.Sees(ns.ProjectID) && (p == "" || p == ns.ProjectID) {
			found = append(found, countTopics(s.topics, ns, query.Get("name"))...)
		}
	}
	s.metrics.ServeOnly(w, r, &topicCollector{found: capTopics(found, maxQueueSeries)})
}
