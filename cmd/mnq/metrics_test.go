package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"gopkg.in/yaml.v3"

	"github.com/openmnq/mnq/internal/mnqtest"
)

// scrape gets metrics, with an API key when token is not empty.
func scrape(t *testing.T, url, token string) (status int, text string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func wantMetric(t *testing.T, text, pattern string) {
	t.Helper()
	if !regexp.MustCompile(`(?m)^` + pattern + `$`).MatchString(text) {
		t.Errorf("no %s", pattern)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, lines, err := startServer(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { s.stop(); <-s.done }()
	base := ""
	for _, l := range lines {
		if rest, ok := strings.CutPrefix(l, "http "); ok {
			base = strings.TrimSpace(rest)
		}
	}
	e := keysOf(t, dir)
	secret, project := e["SCW_SECRET_KEY"], e["SCW_DEFAULT_PROJECT_ID"]
	mnq := func(args ...string) {
		t.Helper()
		var errs mnqtest.Buffer
		if code := run(t.Context(), args, e, streams{strings.NewReader(""), io.Discard, &errs}); code != exitOK {
			t.Fatalf("%v: exit code %d, %s", args, code, &errs)
		}
	}
	mnq("namespace", "create", "n", "--protocol", "sqs_sns")
	mnq("queue", "create", "q")
	mnq("queue", "create", "other")
	mnq("queue", "create", "q.fifo")
	mnq("queue", "send", "q", "one")
	mnq("queue", "send", "q", "two")
	mnq("queue", "receive", "q", "--wait", "5", "--ack")
	mnq("queue", "receive", "other")
	mnq("topic", "create", "news")
	mnq("topic", "subscribe", "news", "other")
	mnq("topic", "subscribe", "news", "q", "--filter", `{"k":["v"]}`)
	mnq("topic", "publish", "news", "three")
	mnq("queue", "receive", "other", "--wait", "10", "--ack")
	mnq("queue", "purge", "other", "--yes")
	if code := run(t.Context(), []string{"queue", "purge", "other", "--yes"}, e, streams{strings.NewReader(""), io.Discard, io.Discard}); code != exitFailed {
		t.Errorf("purged twice within a minute: exit code %d", code)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/openmnq/v1/projects", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()

	// What belongs to projects is for those who may see them all.
	if _, text := scrape(t, base+"/metrics", ""); strings.Contains(text, project) || !strings.Contains(text, "mnq_build_info") {
		t.Error("everybody sees projects, or nothing")
	}
	_, text := scrape(t, base+"/metrics", secret)
	of := `\{project="` + project + `"\} `
	for _, want := range []string{
		`mnq_queue_messages_sent_total` + of + `3`, `mnq_queue_messages_received_total` + of + `2`,
		`mnq_queue_receives_empty_total` + of + `1`, `mnq_queue_messages_deleted_total` + of + `2`, `mnq_queue_dead_lettered_total` + of + `0`,
		`mnq_queue_redriven_total` + of + `0`, `mnq_auth_failures_total\{front="rest",reason="invalid_argument"\} 1`,
		`mnq_throttled_total\{front="rest",limit="too_many_requests"\} 1`, `mnq_jetstream_streams [1-9][0-9]*`, `mnq_jetstream_storage_limit_bytes [1-9].*`, `mnq_nats_connections [0-9]+`, `mnq_nats_slow_consumers_total 0`,
		`mnq_queue_message_bytes_count` + of + `3`, `mnq_queue_messages\{project="` + project + `",state="visible"\} 1`, `mnq_queues` + of + `3`, `mnq_topics` + of + `1`,
		`mnq_topic_subscriptions\{project="` + project + `",protocol="sqs"\} 2`, `mnq_quota_used_ratio\{limit="queues",project="` + project + `"\} 0.06`,
		`mnq_quota_used_ratio\{limit="storage",project="` + project + `"\} [0-9.e-]+`, `mnq_topic_messages_published_total` + of + `1`,
		`go_gc_gomemlimit_bytes [0-9.]+e\+(0[0-9]|1[0-7])`, // else it is 2^63
		`mnq_topic_deliveries_total\{project="` + project + `",protocol="sqs",result="ok"\} 1`,
		`mnq_topic_deliveries_total\{project="` + project + `",protocol="sqs",result="filtered"\} 1`, `mnq_topic_delivery_duration_seconds_count\{protocol="sqs"\} 1`,
		`mnq_raft_leader 1`, `mnq_raft_peers_lagging 0`, `mnq_ready 1`, `mnq_tasks\{kind="redrive",state="running"\} 0`, `mnq_audit_records_total [1-9][0-9]*`,
	} {
		wantMetric(t, text, want)
	}
	if status, _ := scrape(t, base+"/metrics/queues", ""); status != http.StatusUnauthorized {
		t.Errorf("queues for everybody: %d", status)
	}
	_, queues := scrape(t, base+"/metrics/queues?project="+project+"&name=q", secret)
	wantMetric(t, queues, `mnq_per_queue_messages\{namespace="A[A-Z2-7]{55}",project="`+project+`",queue="q",state="visible"\} 1`)
	wantMetric(t, queues, `mnq_per_queue_messages_sent_total\{.*queue="q"\} 2`)
	wantMetric(t, queues, `mnq_per_queue_oldest_message_age_seconds\{.*queue="q"\} [0-9.e-]+`)
	if strings.Contains(queues, `queue="other"`) {
		t.Error("other queues than the one asked for")
	}
	if _, none := scrape(t, base+"/metrics/queues?project=11111111-2222-4333-8444-555555555555", secret); none != "" {
		t.Errorf("of another project: %s", none)
	}
	if status, _ := scrape(t, base+"/metrics/topics", ""); status != http.StatusUnauthorized {
		t.Errorf("topics for everybody: %d", status)
	}
	_, queues = scrape(t, base+"/metrics/queues?project="+project, secret)
	_, topics := scrape(t, base+"/metrics/topics?project="+project+"&name=news", secret)
	wantMetric(t, topics, `mnq_per_topic_deliveries_total\{.*protocol="sqs",result="filtered",topic="news"\} 1`)
	wantShipped(t, text+queues+topics)
	for name, text := range map[string]string{"/metrics": text, "/metrics/queues": queues, "/metrics/topics": topics} {
		problems, err := promlint.New(strings.NewReader(text)).Lint()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range problems {
			t.Errorf("%s: %s: %s", name, p.Metric, p.Text)
		}
	}
}

// wantShipped holds the boards and alert rules in deploy to the metrics there are, and
// the boards to showing all of them.
func wantShipped(t *testing.T, exposition string) {
	t.Helper()
	known := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\S+) (\S+)$`).FindAllStringSubmatch(exposition, -1) {
		known[m[1]] = true
		if m[2] == "histogram" {
			known[m[1]+"_bucket"] = true
		}
	}
	known["mnq_tls_certificate_expiry_timestamp_seconds"] = true // only with --tls-cert
	used := map[string]bool{}
	for _, file := range []string{"grafana/fleet.json", "grafana/queue.json", "grafana/topic.json", "prometheus/alerts.yaml"} {
		raw, err := os.ReadFile(filepath.Join("..", "..", "deploy", file))
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, ".json") && !json.Valid(raw) {
			t.Errorf("%s is not JSON", file)
		}
		if err := yaml.Unmarshal(raw, new(any)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		for _, name := range regexp.MustCompile(`\bmnq_[a-z_]+`).FindAllString(string(raw), -1) {
			used[name] = true
			if !known[name] {
				t.Errorf("%s asks for %s, which there is not", file, name)
			}
		}
	}
	for name := range known {
		if strings.HasPrefix(name, "mnq_") && !used[name] && !used[name+"_bucket"] {
			t.Errorf("nothing in deploy shows %s", name)
		}
	}
}
