package rest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/openmnq/mnq/queue"
)

func (b *bundle) space() string {
	b.t.Helper()
	return own + "/namespaces/" + b.must(b.full, "POST", alpha+"/namespaces", fmt.Sprintf(`{"name":"n","protocol":"sqs_sns","project_id":%q}`, b.project)).str("id")
}

func TestQueueChanges(t *testing.T) {
	t.Parallel()
	b := setup(t)
	space := b.space()
	made := b.must(b.bound, "POST", space+"/queues", `{"name":"a","attributes":{"VisibilityTimeout":"7"},"tags":{"team":"x"}}`)
	if made.str("attributes", "VisibilityTimeout") != "7" || made.str("tags", "team") != "x" || made.str("created_at") == "" {
		t.Errorf("made: %s", made.text)
	}
	again := b.must(b.bound, "POST", space+"/queues", `{"name":"a","attributes":{"VisibilityTimeout":"7"}}`)
	if again.str("created_at") != made.str("created_at") {
		t.Errorf("made again: %s", again.text)
	}
	if got := b.send(b.bound, "POST", space+"/queues", `{"name":"a","attributes":{"VisibilityTimeout":"8"}}`); got.status != 409 || got.str("type") != "already_exists" {
		t.Errorf("made differently: %d %s", got.status, got.text)
	}
	for _, bad := range []string{`{"name":"a b"}`, `{"name":"x","attributes":{"Nonsense":"1"}}`, `{"name":"x","attributes":{"VisibilityTimeout":"-1"}}`, `{}`} {
		if got := b.send(b.bound, "POST", space+"/queues", bad); got.status != 400 || got.str("type") != "invalid_arguments" {
			t.Errorf("%s: %d %s", bad, got.status, got.text)
		}
	}
	changed := b.must(b.bound, "PATCH", space+"/queues/a", `{"attributes":{"DelaySeconds":"5"},"tags":{"k":"v"},"untag":["team"]}`)
	if changed.str("attributes", "DelaySeconds") != "5" || changed.str("attributes", "VisibilityTimeout") != "7" || changed.str("tags", "k") != "v" ||
		strings.Contains(changed.text, "team") {
		t.Errorf("changed: %s", changed.text)
	}
	if got := b.must(b.bound, "POST", space+"/queues", `{"name":"f.fifo"}`); got.body["fifo"] != true {
		t.Errorf("FIFO: %s", got.text)
	}
	b.must(b.bound, "POST", space+"/queues/a/messages", `{"messages":[{"body":"1"},{"body":"2"}]}`)
	if got := b.must(b.bound, "POST", space+"/queues/a/purge", ""); got.text != `{"messages":2}` {
		t.Errorf("purged: %s", got.text)
	}
	if got := b.send(b.bound, "POST", space+"/queues/a/purge", ""); got.status != 429 {
		t.Errorf("purged twice: %d %s", got.status, got.text)
	}
	b.must(b.bound, "DELETE", space+"/queues/a", "")
	b.wantProblem(b.send(b.bound, "GET", space+"/queues/a", ""), 404, missing("queue", "a"))
	b.wantProblem(b.send(b.bound, "DELETE", space+"/queues/a", ""), 404, missing("queue", "a"))
	if got := b.send(b.bound, "POST", space+"/queues", `{"name":"a"}`); got.status != 409 || !strings.Contains(got.text, "60 seconds") {
		t.Errorf("made within a minute: %d %s", got.status, got.text)
	}
	nats := b.must(b.bound, "POST", alpha+"/namespaces", fmt.Sprintf(`{"name":"n","protocol":"nats","project_id":%q}`, b.project)).str("id")
	if got := b.send(b.bound, "POST", own+"/namespaces/"+nats+"/queues", `{"name":"a"}`); got.status != 412 {
		t.Errorf("in a NATS namespace: %d %s", got.status, got.text)
	}
}

func TestSendReceiveDelete(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, path := b.newQueue("q", nil)
	sent := b.must(b.bound, "POST", path+"/messages",
		`{"messages":[{"body":"x","attributes":{"n":{"data_type":"Number","string_value":"1"},"b":{"data_type":"Binary","binary_value":"AQI="}}}]}`)
	if sent.body["failed"] != 0.0 {
		t.Errorf("sent: %s", sent.text)
	}
	for _, bad := range []string{
		`{"messages":[]}`, `{"messages":[{"body":""}]}`, `{"messages":[{"body":"\u0001"}]}`, `{"messages":[{"body":"x","deduplication_id":"d"}]}`,
		`{"messages":[{"body":"x","attributes":{"n":{"data_type":"Number","string_value":"one"}}}]}`,
		`{"messages":[{"body":"x","attributes":{"aws.n":{"data_type":"String","string_value":"one"}}}]}`,
		`{"messages":[{"body":"x","attributes":{"n":{"data_type":"Text","string_value":"one"}}}]}`,
		`{"messages":[{"body":"x","attributes":{"n":{"data_type":"String"}}}]}`,
		`{"messages":[{"body":"x","group_id":"a b"}]}`, `{"messages":[{"body":"x","delay_seconds":901}]}`,
	} {
		if got := b.send(b.bound, "POST", path+"/messages", bad); got.status != 400 {
			t.Errorf("%s: %d %s", bad, got.status, got.text)
		}
	}
	got := b.must(b.bound, "POST", path+"/receive", `{"max":10,"wait_seconds":5,"visibility_timeout":60}`)
	list, _ := got.body["messages"].([]any)
	if len(list) != 1 {
		t.Fatal(got.text)
	}
	m, _ := list[0].(map[string]any)
	if m["body"] != "x" || m["receive_count"] != 1.0 || m["sender_id"] != b.access {
		t.Errorf("received: %s", got.text)
	}
	if got := b.send(b.bound, "POST", path+"/messages/delete", `{"receipt_handles":["nonsense"]}`); got.status != 400 {
		t.Errorf("nonsense: %d %s", got.status, got.text)
	}
	if got := b.must(b.bound, "POST", path+"/messages/delete", fmt.Sprintf(`{"receipt_handles":[%q,"nonsense"]}`, m["receipt_handle"])); got.body["failed"] != 1.0 {
		t.Errorf("deleted: %s", got.text)
	}
	if got := b.must(b.bound, "GET", path+"/messages", ""); len(got.messages(t)) != 0 {
		t.Errorf("left: %s", got.text)
	}
}

func TestTasks(t *testing.T) {
	t.Parallel()
	b := setup(t)
	space := b.space()
	dlq := b.must(b.bound, "POST", space+"/queues", `{"name":"dlq"}`).str("arn")
	b.must(b.bound, "POST", space+"/queues", fmt.Sprintf(`{"name":"q","attributes":{"RedrivePolicy":%q}}`, fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":1}`, dlq)))
	b.must(b.bound, "POST", space+"/queues", `{"name":"to"}`)
	if got := b.must(b.bound, "GET", space+"/queues/dlq", ""); !strings.Contains(got.text, `"dead_letter_sources":["q"]`) {
		t.Errorf("sources: %s", got.text)
	}
	b.must(b.bound, "POST", space+"/queues/dlq/messages", `{"messages":[{"body":"1"},{"body":"2"}]}`)
	if got := b.send(b.bound, "POST", space+"/queues/to/redrive", `{}`); got.status != 400 {
		t.Errorf("no dead-letter queue: %d %s", got.status, got.text)
	}
	b.wantProblem(b.send(b.bound, "POST", space+"/queues/dlq/redrive", `{"destination":"none"}`), 404, missing("queue", "none"))
	id := b.must(b.bound, "POST", space+"/queues/dlq/redrive", `{"destination":"to","rate":500}`).str("id")
	end := time.Now().Add(20 * time.Second)
	for got := b.must(b.reader, "GET", space+"/tasks/"+id, ""); got.str("status") != "completed"; got = b.must(b.reader, "GET", space+"/tasks/"+id, "") {
		if time.Now().After(end) {
			t.Fatal(got.text)
		}
	}
	if got := b.must(b.reader, "GET", space+"/queues/to/messages", ""); len(got.messages(t)) != 2 {
		t.Errorf("moved: %s", got.text)
	}
	if got := b.must(b.reader, "GET", space+"/tasks", ""); got.body["total_count"] != 1.0 {
		t.Errorf("tasks: %s", got.text)
	}
	if got := b.send(b.bound, "POST", space+"/tasks/"+id+"/cancel", ""); got.status != 412 {
		t.Errorf("cancelled at the end: %d %s", got.status, got.text)
	}
	b.wantProblem(b.send(b.bound, "POST", space+"/tasks/"+unknownUUID+"/cancel", ""), 404, missing("task", unknownUUID))
}

func TestTopics(t *testing.T) {
	t.Parallel()
	b := setup(t)
	space := b.space()
	b.must(b.bound, "POST", space+"/queues", `{"name":"q"}`)
	if got := b.must(b.bound, "POST", space+"/topics", `{"name":"t","attributes":{"DisplayName":"d"},"tags":{"k":"v"}}`); got.str("attributes", "DisplayName") != "d" || got.str("tags", "k") != "v" {
		t.Errorf("made: %s", got.text)
	}
	if got := b.send(b.bound, "POST", space+"/topics", `{"name":"a b"}`); got.status != 400 {
		t.Errorf("bad name: %d %s", got.status, got.text)
	}
	sub := b.must(b.bound, "POST", space+"/topics/t/subscriptions", `{"protocol":"sqs","endpoint":"q","attributes":{"RawMessageDelivery":"true","FilterPolicy":"{\"k\":[\"v\"]}"}}`)
	if sub.body["pending"] != false || sub.str("attributes", "RawMessageDelivery") != "true" {
		t.Errorf("subscribed: %s", sub.text)
	}
	b.wantProblem(b.send(b.bound, "POST", space+"/topics/t/subscriptions", `{"protocol":"sqs","endpoint":"none"}`), 404, missing("queue", "none"))
	if got := b.must(b.bound, "POST", space+"/topics/t/publish", `{"message":"hello","attributes":{"k":{"data_type":"String","string_value":"v"}}}`); got.str("id") == "" {
		t.Errorf("published: %s", got.text)
	}
	b.must(b.bound, "POST", space+"/topics/t/publish", `{"message":"filtered out"}`)
	ns, err := shared.Namespace(strings.TrimPrefix(space, own+"/namespaces/"))
	if err != nil {
		t.Fatal(err)
	}
	q, err := sharedQueues.Queue(ns, "q")
	if err != nil {
		t.Fatal(err)
	}
	if m, err := q.Receive(t.Context(), queue.Receive{Max: 10, Wait: 10 * time.Second, Visibility: time.Hour}); err != nil || len(m) != 1 || m[0].Body != "hello" {
		t.Errorf("delivered %v, %v", m, err)
	}
	if got := b.must(b.reader, "GET", space+"/topics", ""); got.body["total_count"] != 1.0 || !strings.Contains(got.text, sub.str("id")) {
		t.Errorf("listed: %s", got.text)
	}
	b.must(b.bound, "DELETE", space+"/topics/t/subscriptions/"+sub.str("id"), "")
	b.wantProblem(b.send(b.bound, "DELETE", space+"/topics/t/subscriptions/"+sub.str("id"), ""), 404, missing("subscription", sub.str("id")))
	b.must(b.bound, "DELETE", space+"/topics/t", "")
	b.wantProblem(b.send(b.bound, "DELETE", space+"/topics/t", ""), 404, missing("topic", "t"))

	for body, want := range map[string]string{
		`{"policy":"{\"k\":[\"v\"]}","attributes":{"k":{"data_type":"String","string_value":"v"}}}`: "true",
		`{"policy":"{\"k\":[\"v\"]}","attributes":{"k":{"data_type":"String","string_value":"w"}}}`: "false",
		`{"policy":"{\"a\":{\"b\":[1]}}","scope":"MessageBody","message":"{\"a\":{\"b\":1}}"}`:      "true",
		`{"policy":"{\"a\":{\"b\":[1]}}","scope":"MessageBody","message":"{\"a\":{\"b\":2}}"}`:      "false",
	} {
		if got := b.must(b.reader, "POST", own+"/filter-test", body); got.text != `{"matches":`+want+`}` {
			t.Errorf("%s: %s, want %s", body, got.text, want)
		}
	}
	if got := b.send(b.reader, "POST", own+"/filter-test", `{"policy":"{\"k\":1}"}`); got.status != 400 {
		t.Errorf("bad policy: %d %s", got.status, got.text)
	}
}
