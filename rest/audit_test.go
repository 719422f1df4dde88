package rest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAuditRecordsOfOneProject(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.must(b.full, "POST", alpha+"/namespaces", `{"name":"audited","protocol":"sqs_sns","project_id":"`+b.project+`"}`).str("id")
	b.must(b.full, "POST", own+"/namespaces/"+id+"/queues", `{"name":"q"}`)
	b.must(b.bound, "GET", own+"/namespaces/"+id+"/queues/q/messages", "")
	b.send(b.reader, "DELETE", own+"/namespaces/"+id+"/queues/q", "")
	b.send(b.other, "DELETE", own+"/namespaces/"+id+"/queues/q", "")

	mine := b.must(b.reader, "GET", own+"/audit", "")
	for _, want := range []string{
		`"action":"v1alpha1.CreateNamespace","resource":"` + alpha + `/namespaces/` + b.project + `/audited","result":"ok"`,
		`"action":"openmnq.CreateQueue","resource":"` + own + `/namespaces/` + id + `/queues/q","result":"ok"`,
		`"action":"openmnq.PeekMessages"`, `"role":"read-only"`, `"result":"denied"`,
	} {
		if !strings.Contains(mine.text, want) {
			t.Errorf("no %s in %s", want, mine.text)
		}
	}
	theirs := b.must(b.other, "GET", own+"/audit", "")
	if strings.Contains(theirs.text, b.project) || !strings.Contains(theirs.text, `"result":"not_found"`) {
		t.Errorf("another project sees %s", theirs.text)
	}
	if got := b.must(b.other, "GET", own+"/audit?project_id="+b.project, ""); got.text != `{"records":[],"next":null}` {
		t.Errorf("asked for by another project: %s", got.text)
	}
	if strings.Contains(mine.text, b.full) || strings.Contains(mine.text, b.reader) {
		t.Error("a secret is in the log")
	}
}

// TestAuditSaysByWhat makes changes as the command line and as others do.
func TestAuditSaysByWhat(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, headers := range map[string]http.Header{
		"cli": {ClientHeader: {"cli"}}, "api": {"User-Agent": {"mnq/1.0"}, ClientHeader: {"console"}},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://mnq.test"+alpha+"/namespaces",
			strings.NewReader(`{"name":"`+name+`","protocol":"nats","project_id":"`+b.project+`"}`))
		r.Header = headers
		r.Header.Set("X-Auth-Token", b.full)
		w := httptest.NewRecorder()
		b.api.ServeHTTP(w, r)
		if w.Code/100 != 2 {
			t.Fatal(w.Body)
		}
		if got := b.must(b.full, "GET", own+"/audit?action=CreateNamespace&resource="+name+"&project_id="+b.project, ""); !strings.Contains(got.text, `"via":"`+name+`"`) {
			t.Errorf("%s: %s", name, got.text)
		}
	}
}
