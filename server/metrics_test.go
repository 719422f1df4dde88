package server

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/openmnq/mnq/queue"
)

func TestQueueSeriesAreCapped(t *testing.T) {
	t.Parallel()
	at := time.Now()
	all := []countedQueue{
		{"p", "n", "a", queue.Totals{Sent: 1}, queue.Counts{Visible: 1, Oldest: at}, true},
		{"p", "n", "b", queue.Totals{Sent: 2}, queue.Counts{Visible: 5}, true},
		{"p", "n", "c", queue.Totals{Sent: 4}, queue.Counts{InFlight: 2, Oldest: at.Add(-time.Hour)}, true},
		{"o", "m", "d", queue.Totals{Sent: 8}, queue.Counts{}, false},
	}
	got := capQueues(all, 1)
	if len(got) != 3 || got[0].name != "b" {
		t.Fatalf("%+v", got)
	}
	for _, c := range got[1:] {
		switch {
		case c.name != otherQueues:
			t.Errorf("%+v", c)
		case c.project == "p" && (c.totals.Sent != 5 || c.depth() != 3 || !c.counts.Oldest.Equal(at.Add(-time.Hour))):
			t.Errorf("%+v", c)
		case c.project == "o" && (c.totals.Sent != 8 || c.known):
			t.Errorf("%+v", c)
		}
	}
	if got := capQueues(all, 4); len(got) != 4 {
		t.Errorf("%+v", got)
	}
}

// TestCountersDoNotFall deletes a namespace.
func TestCountersDoNotFall(t *testing.T) {
	t.Parallel()
	totals := map[string]queue.Totals{"a": {Sent: 3}, "b": {Sent: 4}}
	gone := false
	c := newProjectCollector(queueCounters, func() map[string]queue.Totals { return totals }, queue.Totals.Add,
		func(ns string) (string, bool) { return "p", !gone || ns != "a" }, nil)
	if got := collected(t, c)["mnq_queue_messages_sent_total"]; got != 7 {
		t.Errorf("%v sent", got)
	}
	delete(totals, "a")
	gone = true
	if got := collected(t, c)["mnq_queue_messages_sent_total"]; got != 7 {
		t.Errorf("%v sent after a namespace is gone", got)
	}
}

// collected returns the only value of each metric.
func collected(t *testing.T, c prometheus.Collector) map[string]float64 {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	if err := r.Register(c); err != nil {
		t.Fatal(err)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		out[f.GetName()] = f.GetMetric()[0].GetCounter().GetValue()
	}
	return out
}
