package rest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/openmnq/mnq/queue"
)

// newQueue makes a namespace with a queue, and returns the queue and its path.
func (b *bundle) newQueue(name string, attrs map[string]string) (*queue.Queue, string) {
	b.t.Helper()
	id := b.must(b.full, "POST", alpha+"/namespaces", fmt.Sprintf(`{"name":"n","protocol":"sqs_sns","project_id":%q}`, b.project)).str("id")
	ns, err := shared.Namespace(id)
	if err != nil {
		b.t.Fatal(err)
	}
	q, err := sharedQueues.Create(b.t.Context(), ns, name, attrs, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return q, own + "/namespaces/" + id + "/queues/" + name
}

func (b *bundle) sent(q *queue.Queue, msgs ...queue.Send) {
	b.t.Helper()
	for _, r := range q.Send(b.t.Context(), msgs) {
		if r.Err != nil {
			b.t.Fatal(r.Err)
		}
	}
}

func (r reply) messages(t testing.TB) (out []messageOnWire) {
	t.Helper()
	var list messageList
	if err := json.Unmarshal([]byte(r.text), &list); err != nil {
		t.Fatal(err)
	}
	return list.Messages
}

func TestPeek(t *testing.T) {
	t.Parallel()
	b := setup(t)
	q, path := b.newQueue("q", nil)
	if got := b.must(b.reader, "GET", path+"/messages", ""); got.text != `{"messages":[],"scanned":0,"next":null}` {
		t.Errorf("nothing there: %s", got.text)
	}
	b.sent(q,
		queue.Send{Body: "one"},
		queue.Send{Body: "two", GroupID: "g", SenderID: "me", Attributes: []queue.Attribute{
			{Name: "bin", DataType: "Binary", Value: []byte{1, 2}}, {Name: "colour", DataType: "String", Value: []byte("red")},
		}},
		queue.Send{Body: "three"},
	)
	got := b.must(b.reader, "GET", path+"/messages?max=2", "")
	if m := got.messages(t); len(m) != 2 || m[0].Body != "one" || m[0].State != queue.PeekVisible || *m[0].ReceiveCount != 0 || got.body["next"] != float64(m[1].Sequence+1) {
		t.Errorf("the oldest: %s", got.text)
	}
	next := b.must(b.reader, "GET", fmt.Sprintf("%s/messages?from=%v", path, got.body["next"]), "")
	if m := next.messages(t); len(m) != 1 || m[0].Body != "three" || next.body["next"] != nil {
		t.Errorf("the rest: %s", next.text)
	}
	newest := b.must(b.reader, "GET", path+"/messages?order=newest&max=1", "").messages(t)
	if len(newest) != 1 || newest[0].Body != "three" {
		t.Errorf("the newest: %+v", newest)
	}
	if m := b.must(b.reader, "GET", path+"/messages?at="+url.QueryEscape(time.Now().Add(time.Hour).Format(time.RFC3339)), "").messages(t); len(m) != 0 {
		t.Errorf("from an hour on: %+v", m)
	}
	red := b.must(b.reader, "GET", path+"/messages?attribute=colour%3Dred", "").messages(t)
	if len(red) != 1 || red[0].GroupID != "g" || *red[0].Attributes["colour"].StringValue != "red" || string(red[0].Attributes["bin"].BinaryValue) != "\x01\x02" {
		t.Errorf("by attribute: %+v", red)
	}
	if one := b.must(b.reader, "GET", fmt.Sprintf("%s/messages/%d", path, red[0].Sequence), ""); one.str("body") != "two" {
		t.Errorf("one: %s", one.text)
	}
	if received, err := q.Receive(t.Context(), queue.Receive{Max: 10, Wait: time.Second, Visibility: time.Hour}); err != nil || len(received) == 0 || received[0].ReceiveCount != 1 {
		t.Fatal(received, err)
	}
	b.wantProblem(b.send(b.reader, "GET", path+"/messages/99", ""), 404, missing("message", "99"))
	b.wantProblem(b.send(b.reader, "GET", strings.TrimSuffix(path, "q")+"none/messages", ""), 404, missing("queue", "none"))
	for _, bad := range []string{"max=0", "max=101", "scan=10001", "order=oldes", "from=-1", "at=today"} {
		if got := b.send(b.reader, "GET", path+"/messages?"+bad, ""); got.status != 400 || got.str("type") != "invalid_arguments" {
			t.Errorf("%s: %d %s", bad, got.status, got.text)
		}
	}
	for _, below := range []string{"/messages", "/messages/1", "/tail"} {
		if got := b.send(b.other, "GET", path+below, ""); got.status != 404 || got.str("resource") != "namespace" {
			t.Errorf("of another project: %d %s", got.status, got.text)
		}
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	b := setup(t)
	q, path := b.newQueue("q", nil)
	srv := httptest.NewServer(b.api)
	defer srv.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+path+"/tail?text=o", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Auth-Token", b.reader)
	resp, err := srv.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatal(resp.Status, resp.Header)
	}
	lines := bufio.NewScanner(resp.Body)
	next := func() string {
		for lines.Scan() {
			if lines.Text() != "" {
				return lines.Text()
			}
		}
		t.Fatal(lines.Err())
		return ""
	}
	for _, want := range []string{": following", "event: begin", "data: {}"} {
		if got := next(); got != want {
			t.Fatal(got)
		}
	}
	b.sent(q, queue.Send{Body: "xyz"}, queue.Send{Body: "one"})
	if got := next(); got != "event: message" {
		t.Fatal(got)
	}
	var m messageOnWire
	if err := json.Unmarshal([]byte(strings.TrimPrefix(next(), "data: ")), &m); err != nil || m.Body != "one" || m.State != queue.PeekVisible {
		t.Fatalf("%+v, %v", m, err)
	}
	if err := q.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := next(); got != "event: end" {
		t.Fatal(got)
	}
	if got := next(); !strings.Contains(got, `"type":"not_found"`) {
		t.Fatal(got)
	}
}
