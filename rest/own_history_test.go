package rest

import (
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/openmnq/mnq/queue"
)

func TestHistory(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.must(b.full, "POST", alpha+"/namespaces", fmt.Sprintf(`{"name":"n","protocol":"sqs_sns","project_id":%q}`, b.project)).str("id")
	path := own + "/namespaces/" + id
	b.must(b.full, "POST", path+"/queues", `{"name":"q"}`)
	since := url.QueryEscape(time.Now().Add(-48 * time.Hour).Format(time.RFC3339))
	for query, want := range map[string]struct {
		step  float64
		least int
	}{
		"": {60, 359}, "?step=15m": {900, 23}, "?since=" + since: {900, 191}, "?step=1m&since=" + since: {60, 1439},
	} {
		for _, path := range []string{path + "/queues/q/history", path + "/history"} {
			got := b.must(b.reader, "GET", path+query, "")
			times, _ := got.body["times"].([]any)
			if got.body["step_seconds"] != want.step || len(times) < want.least || len(times) > want.least+1 {
				t.Errorf("%s: %v, %d times", path+query, got.body["step_seconds"], len(times))
			}
			for _, measure := range []string{"sent", "received", "deleted", "empty_receives", "visible", "in_flight", "delayed", "oldest_age_seconds"} {
				if list, _ := got.body[measure].([]any); len(list) != len(times) {
					t.Errorf("%s: %d times, %s has %d", path+query, len(times), measure, len(list))
				}
			}
		}
	}
	b.wantProblem(b.send(b.other, "GET", path+"/history", ""), 404, missing("namespace", id))
	b.wantProblem(b.send(b.full, "GET", path+"/queues/none/history", ""), 404, missing("queue", "none"))
	for _, query := range []string{"?step=1h", "?since=2040-01-01T00:00:00Z", "?since=yesterday"} {
		if got := b.send(b.full, "GET", path+"/history"+query, ""); got.status != 400 {
			t.Errorf("%s: %d %s", query, got.status, got.text)
		}
	}
}

func TestHistoryWire(t *testing.T) {
	t.Parallel()
	got := historyWire([]queue.ChartPoint{
		{At: time.Unix(60, 0), Sent: 1}, {At: time.Unix(120, 0), Known: true, Deleted: 2, Visible: 3, Oldest: 4 * time.Second},
	}, time.Minute)
	if got.Sent[0] != 1 || got.Visible[0] != nil || got.OldestAge[0] != nil || got.Deleted[1] != 2 || *got.Visible[1] != 3 || *got.OldestAge[1] != 4 || got.Times[1] != 120 {
		t.Errorf("%+v", got)
	}
}
