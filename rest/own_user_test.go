package rest

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/tenant"
)

func TestUsers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	name := "u-" + uuid.NewString()
	body := fmt.Sprintf(`{"name":%q,"password":"correct horse battery","project_id":%q}`, name, b.project)
	u := b.must(b.full, "POST", own+"/users", body)
	if u.str("name") != name || u.str("project_id") != b.project || strings.Contains(u.text, "horse") {
		t.Errorf("created: %s", u.text)
	}
	if got := b.send(b.full, "POST", own+"/users", body); got.status != 409 || got.str("type") != "already_exists" {
		t.Errorf("the name twice: %d %s", got.status, got.text)
	}
	if got := b.must(b.bound, "GET", own+"/users", ""); !strings.Contains(got.text, name) {
		t.Errorf("a key of the project sees %s", got.text)
	}
	if got := b.must(b.other, "GET", own+"/users", ""); strings.Contains(got.text, name) {
		t.Errorf("a key of another project sees %s", got.text)
	}
	b.must(b.full, "PUT", own+"/users/"+name+"/password", `{"password":"another horse battery"}`)
	if _, err := shared.AuthenticateUser(name, "another horse battery"); err != nil {
		t.Errorf("after the change: %v", err)
	}
	b.must(b.full, "DELETE", own+"/users/"+name, "")
	b.wantProblem(b.send(b.full, "DELETE", own+"/users/"+name, ""), 404, missing("user", name))
}

// TestAsHasTheRightsOfTheIdentity calls as the console does.
func TestAsHasTheRightsOfTheIdentity(t *testing.T) {
	t.Parallel()
	b := setup(t)
	call := func(who mnq.Identity, method, path, body string) int {
		w := httptest.NewRecorder()
		b.api.As(who).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
		return w.Code
	}
	body := fmt.Sprintf(`{"name":"n","protocol":"nats","project_id":%q}`, b.project)
	for _, c := range []struct {
		who  mnq.Identity
		want int
	}{
		{mnq.Identity{AccessKey: "user/a", ProjectID: b.project}, 200},
		{mnq.Identity{AccessKey: "user/a", ProjectID: b.project, ReadOnly: true}, 403},
		{mnq.Identity{AccessKey: "user/a", ProjectID: b.foreign}, 403},
	} {
		if got := call(c.who, "POST", alpha+"/namespaces", body); got != c.want {
			t.Errorf("%+v: %d, want %d", c.who, got, c.want)
		}
	}
	if got := call(mnq.Identity{AccessKey: "user/a"}, "GET", "/mnq/v1alpha1/regions/nowhere/namespaces", ""); got != 400 {
		t.Errorf("another region: %d", got)
	}
	found, err := shared.AuditRecords(t.Context(), tenant.AuditQuery{Project: b.project, Action: "v1alpha1.CreateNamespace", Max: 10})
	if err != nil || len(found.Records) != 2 {
		t.Fatalf("%+v, %v", found, err)
	}
	for _, r := range found.Records {
		if r.Via != "console" || r.Actor != "user/a" {
			t.Errorf("%+v", r)
		}
	}
}

func TestUsage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	path := b.space()
	b.must(b.full, "POST", path+"/queues", `{"name":"q"}`)
	got := b.must(b.full, "GET", path+"/usage", "")
	if got.body["queues"] != 1.0 || got.body["topics"] != 0.0 || got.body["streams"].(float64) < 1 || !strings.Contains(got.text, `"quota":{`) {
		t.Errorf("%s", got.text)
	}
	if got := b.must(b.full, "GET", path, ""); got.str("protocol") != "sqs_sns" {
		t.Errorf("%s", got.text)
	}
}
