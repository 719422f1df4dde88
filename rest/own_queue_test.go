package rest

import (
	"fmt"
	"testing"
	"time"

	"github.com/openmnq/mnq/internal/mnqtest"
	"github.com/openmnq/mnq/queue"
)

func TestQueues(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.must(b.full, "POST", alpha+"/namespaces", fmt.Sprintf(`{"name":"n","protocol":"sqs_sns","project_id":%q}`, b.project)).str("id")
	path := own + "/namespaces/" + id + "/queues"
	if got := b.must(b.bound, "GET", path, ""); got.text != `{"queues":[],"total_count":0}` {
		t.Errorf("no queues: %s", got.text)
	}
	ns, err := shared.Namespace(id)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b", "a2", "a1"} {
		if _, err := sharedQueues.Create(t.Context(), ns, name, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	q, err := sharedQueues.Queue(ns, "a1")
	if err != nil {
		t.Fatal(err)
	}
	delay := 10 * time.Minute
	before := time.Now().Truncate(time.Second)
	for _, r := range q.Send(t.Context(), []queue.Send{{Body: "1"}, {Body: "2"}, {Body: "3", Delay: &delay}}) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	if got, err := q.Receive(t.Context(), queue.Receive{Max: 1, Wait: 5 * time.Second, Visibility: time.Hour}); err != nil || len(got) != 1 {
		t.Fatal(got, err)
	}
	var got reply
	mnqtest.Within(t, time.Minute, func() error { // a message that was fetched and not handed out takes a moment to come back
		got = b.must(b.reader, "GET", path+"/a1", "")
		for name, want := range map[string]any{
			"name": "a1", "arn": "arn:scw:sqs:fr-par:" + id + ":a1", "fifo": false, "visible": 1.0, "in_flight": 1.0, "delayed": 1.0,
		} {
			if got.body[name] != want {
				return fmt.Errorf("%s is %v, want %v", name, got.body[name], want)
			}
		}
		return nil
	})
	if at, err := time.Parse(time.RFC3339Nano, got.str("oldest_at")); err != nil || at.Before(before) || time.Since(at) < 0 {
		t.Errorf("oldest_at %v, %v", got.body["oldest_at"], err)
	}
	if age, _ := got.body["oldest_age_seconds"].(float64); age <= 0 || age > time.Since(before).Seconds() {
		t.Errorf("oldest_age_seconds %v", got.body["oldest_age_seconds"])
	}
	if empty := b.must(b.bound, "GET", path+"/b", ""); empty.body["oldest_at"] != nil || empty.body["oldest_age_seconds"] != 0.0 {
		t.Errorf("an empty queue: %s", empty.text)
	}
	page := b.must(b.bound, "GET", path+"?prefix=a&page=2&page_size=1", "")
	if list, _ := page.body["queues"].([]any); page.body["total_count"] != 2.0 || len(list) != 1 || list[0].(map[string]any)["name"] != "a2" {
		t.Errorf("second page: %s", page.text)
	}
	b.wantProblem(b.send(b.bound, "GET", path+"/none", ""), 404, missing("queue", "none"))
	b.wantProblem(b.send(b.other, "GET", path, ""), 404, missing("namespace", id))
	b.wantProblem(b.send(b.other, "GET", path+"/a1", ""), 404, missing("namespace", id))
}
