package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/openmnq/mnq"
)

func TestProjects(t *testing.T) {
	t.Parallel()
	b := setup(t)
	p := b.must(b.full, "POST", own+"/projects", `{"name":"shop"}`)
	path := own + "/projects/" + p.str("id")
	if got := b.must(b.full, "GET", path, ""); got.text != p.text || got.str("organization_id") != shared.OrganizationID() {
		t.Errorf("got %s", got.text)
	}
	r := b.send(b.full, "POST", own+"/projects", fmt.Sprintf(`{"name":"shop","id":%q}`, p.str("id")))
	if r.status != 409 || r.str("type") != "already_exists" {
		t.Errorf("the same id again: %d %s", r.status, r.text)
	}
	if got := b.must(b.bound, "GET", own+"/projects", ""); got.body["total_count"] != 1.0 {
		t.Errorf("a key of one project sees %s", got.text)
	}
	b.must(b.full, "POST", beta+"/activate-sns", fmt.Sprintf(`{"project_id":%q}`, p.str("id")))
	r = b.send(b.full, "DELETE", path, "")
	if r.status != 412 || r.str("precondition") != "resource_still_in_use" {
		t.Errorf("in use: %d %s", r.status, r.text)
	}
	b.must(b.full, "POST", beta+"/deactivate-sns", fmt.Sprintf(`{"project_id":%q}`, p.str("id")))
	b.must(b.full, "DELETE", path, "")
	b.wantProblem(b.send(b.full, "GET", path, ""), 404, missing("project", p.str("id")))
	r = b.send(b.full, "DELETE", own+"/projects/"+shared.DefaultProjectID(), "")
	if r.status != 412 || r.str("precondition") != "protected_resource" {
		t.Errorf("the default project: %d %s", r.status, r.text)
	}
}

func TestAPIKeys(t *testing.T) {
	t.Parallel()
	b := setup(t)
	k := b.must(b.full, "POST", own+"/api-keys", fmt.Sprintf(`{"name":"ci","project_id":%q,"read_only":true}`, b.project))
	if !strings.HasPrefix(k.str("access_key"), "SCW") || len(k.str("secret_key")) != 36 || k.body["read_only"] != true {
		t.Fatalf("created: %s", k.text)
	}
	if got := b.must(k.str("secret_key"), "GET", own+"/api-keys/"+k.str("access_key"), ""); strings.Contains(got.text, "secret_key") {
		t.Errorf("shown again: %s", got.text)
	}
	if got := b.must(b.bound, "GET", own+"/api-keys", ""); got.body["total_count"] != 3.0 || strings.Contains(got.text, "secret_key") {
		t.Errorf("keys of the project: %s", got.text)
	}
	all := b.must(b.full, "POST", own+"/api-keys", `{"name":"all","project_id":null}`)
	if v, ok := all.body["project_id"]; !ok || v != nil {
		t.Errorf("a key for all projects: %s", all.text)
	}
	b.wantProblem(b.send(b.full, "POST", own+"/api-keys", `{"name":"x","project_id":"`+unknownUUID+`"}`), 404, missing("project", unknownUUID))
	b.wantProblem(b.send(b.full, "POST", own+"/api-keys", `{"name":"x","projectid":"`+unknownUUID+`","read_only":true}`), 400,
		wrong("projectid", "constraint", "unexpected property"))
	b.must(b.full, "DELETE", own+"/api-keys/"+k.str("access_key"), "")
	b.wantProblem(b.send(k.str("secret_key"), "GET", own+"/projects", ""), 401, deniedUnknown)

	iam := b.must(b.bound, "GET", "/iam/v1alpha1/api-keys/"+b.access, "")
	if iam.str("default_project_id") != b.project || iam.body["secret_key"] != nil {
		t.Errorf("iam: %s", iam.text)
	}
	if got := b.must(all.str("secret_key"), "GET", "/iam/v1alpha1/api-keys/"+all.str("access_key"), ""); got.str("default_project_id") != shared.DefaultProjectID() {
		t.Errorf("iam: %s", got.text)
	}
}

func TestInUse(t *testing.T) {
	t.Parallel()
	err := inUse(&mnq.Error{Kind: mnq.Conflict, Code: "last_api_key", Msg: "stays"}, "last_api_key")
	p, ok := errors.AsType[*problem](err)
	if !ok || p.status != 412 || p.Precondition != "protected_resource" || p.HelpMessage != "stays" {
		t.Fatalf("got %#v", err)
	}
}

func TestQuotas(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.namespace(mnq.ProtocolNATS)
	path := own + "/namespaces/" + id + "/quota"
	if got := b.must(b.bound, "GET", path, ""); got.body["streams"] != 50.0 {
		t.Errorf("default: %s", got.text)
	}
	if got := b.must(b.full, "PUT", path, `{"streams":7,"connections":-1}`); got.body["streams"] != 7.0 || got.body["connections"] != -1.0 || got.body["consumers"] != 50.0 {
		t.Errorf("set: %s", got.text)
	}
	b.wantProblem(b.send(b.bound, "PUT", path, `{"streams":8}`), 403, refused("write", "namespace"))
	b.wantProblem(b.send(b.full, "PUT", path, `{"strems":8}`), 400, wrong("strems", "constraint", "unexpected property"))
	if got := b.must(b.full, "PUT", path, ``); got.body["streams"] != 50.0 {
		t.Errorf("back to the default: %s", got.text)
	}
	b.must(b.bound, "POST", beta+"/activate-sqs", fmt.Sprintf(`{"project_id":%q}`, b.project))
	hidden := own + "/namespaces/project-" + b.project + "/quota"
	if got := b.must(b.full, "PUT", hidden, `{"queues":60}`); got.body["queues"] != 60.0 {
		t.Errorf("hidden namespace: %s", got.text)
	}
	if got := b.must(b.bound, "GET", own+"/namespaces", ""); got.body["total_count"] != 2.0 || !strings.Contains(got.text, `"account":"project-`+b.project) {
		t.Errorf("list: %s", got.text)
	}
}

func TestNamespaceSettings(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.namespace(mnq.ProtocolSQSSNS)
	path := own + "/namespaces/" + id + "/settings"
	if got := b.must(b.bound, "GET", path, ""); got.text != `{"fifo_without_group":false}` {
		t.Errorf("default: %s", got.text)
	}
	if got := b.must(b.bound, "PUT", path, `{"fifo_without_group":true}`); got.text != `{"fifo_without_group":true}` {
		t.Errorf("set: %s", got.text)
	}
	if got := b.must(b.bound, "GET", own+"/namespaces", ""); !strings.Contains(got.text, `"settings":{"fifo_without_group":true}`) {
		t.Errorf("list: %s", got.text)
	}
	b.wantProblem(b.send(b.bound, "PUT", path, `{"fifo":true}`), 400, wrong("fifo", "constraint", "unexpected property"))
	if got := b.must(b.bound, "PUT", path, `{}`); got.text != `{"fifo_without_group":false}` {
		t.Errorf("back to the default: %s", got.text)
	}
}

func TestOpenAPI(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := b.send("", "GET", "/openapi.json", "")
	var doc struct {
		OpenAPI string                               `json:"openapi"`
		Paths   map[string]map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal([]byte(r.text), &doc); err != nil || r.status != 200 || doc.OpenAPI != "3.1.0" {
		t.Fatalf("%d %v %s", r.status, err, doc.OpenAPI)
	}
	groups := map[string]int{}
	for _, op := range Operations() {
		groups[op.Group]++
		entry := doc.Paths[op.Path][strings.ToLower(op.Method)]
		if entry["operationId"] != op.ID || entry["summary"] != op.Summary {
			t.Errorf("%s is not in the document", op.ID)
		}
	}
	if groups["v1alpha1"] != 10 || groups["v1beta1"] != 25 {
		t.Errorf("operations: %v", groups)
	}
	if strings.Contains(r.text, "422") || strings.Contains(r.text, "$schema") {
		t.Error("the document describes answers that never come")
	}
}

func TestDocsLoadNothingFromElsewhere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for path, kind := range map[string]string{"/docs": "text/html", "/docs/docs.js": "text/javascript", "/docs/docs.css": "text/css"} {
		r := b.send("", "GET", path, "")
		if r.status != 200 || !strings.HasPrefix(r.header.Get("Content-Type"), kind) || strings.Contains(r.text, "://") ||
			!strings.Contains(r.header.Get("Content-Security-Policy"), "script-src 'self'") {
			t.Errorf("%s: %d %v", path, r.status, r.header)
		}
		if path == "/docs" && (strings.Contains(r.text, "<style") || strings.Contains(r.text, "onclick") || strings.Contains(r.text, "style=")) {
			t.Error("the page has inline code, which its own policy forbids")
		}
	}
}

func TestChoicesAreComplete(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, c := range Choices() {
		if c.Topic == "" || c.Choice == "" || c.Why == "" || seen[c.Topic] {
			t.Errorf("choice %+v", c)
		}
		seen[c.Topic] = true
	}
}
