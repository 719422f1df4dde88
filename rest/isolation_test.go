package rest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/openmnq/mnq"
)

// TestForeignResourcesDoNotExist compares every call on a resource of another
// project with the same call on an id that never existed.
func TestForeignResourcesDoNotExist(t *testing.T) {
	t.Parallel()
	b := setup(t)
	nats, aws := b.namespace(mnq.ProtocolNATS), b.namespace(mnq.ProtocolSQSSNS)
	natsCred := b.must(b.bound, "POST", alpha+"/credentials", fmt.Sprintf(`{"namespace_id":%q,"name":"c"}`, nats)).str("id")
	awsCred := b.must(b.bound, "POST", alpha+"/credentials", fmt.Sprintf(
		`{"namespace_id":%q,"name":"c","permissions":{"can_publish":true,"can_receive":true,"can_manage":true}}`, aws)).str("id")
	b.must(b.bound, "POST", beta+"/activate-sqs", fmt.Sprintf(`{"project_id":%q}`, b.project))
	sqsCred := b.must(b.bound, "POST", beta+"/sqs-credentials", fmt.Sprintf(`{"project_id":%q,"name":"c"}`, b.project)).str("id")

	for _, c := range []struct{ method, path, body, id, unknown string }{
		{"GET", alpha + "/namespaces/ID", "", nats, unknownID},
		{"DELETE", alpha + "/namespaces/ID", "", aws, unknownID},
		{"PATCH", alpha + "/namespaces", `{"namespace_id":"ID","name":"n"}`, nats, unknownID},
		{"POST", alpha + "/credentials", `{"namespace_id":"ID","name":"n"}`, nats, unknownID},
		{"GET", alpha + "/credentials/ID", "", natsCred, unknownUUID},
		{"PATCH", alpha + "/credentials/ID", `{"name":"n"}`, awsCred, unknownUUID},
		{"DELETE", alpha + "/credentials/ID", "", awsCred, unknownUUID},
		{"GET", alpha + "/credentials?namespace_id=ID", "", aws, unknownID},
		{"GET", beta + "/nats-accounts/ID", "", nats, unknownID},
		{"PATCH", beta + "/nats-accounts/ID", `{"name":"n"}`, nats, unknownID},
		{"DELETE", beta + "/nats-accounts/ID", "", nats, unknownID},
		{"POST", beta + "/nats-credentials", `{"nats_account_id":"ID","name":"n"}`, nats, unknownID},
		{"GET", beta + "/nats-credentials/ID", "", natsCred, unknownUUID},
		{"DELETE", beta + "/nats-credentials/ID", "", natsCred, unknownUUID},
		{"GET", beta + "/nats-credentials?nats_account_id=ID", "", nats, unknownID},
		{"GET", beta + "/sqs-credentials/ID", "", sqsCred, unknownUUID},
		{"PATCH", beta + "/sqs-credentials/ID", `{"name":"n"}`, sqsCred, unknownUUID},
		{"DELETE", beta + "/sqs-credentials/ID", "", sqsCred, unknownUUID},
		{"GET", beta + "/nats-accounts?project_id=ID", "", b.project, unknownUUID},
		{"GET", beta + "/sqs-info?project_id=ID", "", b.project, unknownUUID},
		{"POST", beta + "/activate-sqs", `{"project_id":"ID"}`, b.project, unknownUUID},
		{"POST", beta + "/deactivate-sqs", `{"project_id":"ID"}`, b.project, unknownUUID},
		{"POST", beta + "/sqs-credentials", `{"project_id":"ID","name":"n"}`, b.project, unknownUUID},
		{"POST", beta + "/nats-accounts", `{"project_id":"ID","name":"n"}`, b.project, unknownUUID},
		{"POST", alpha + "/namespaces", `{"project_id":"ID","name":"n","protocol":"nats"}`, b.project, unknownUUID},
		{"GET", own + "/projects/ID", "", b.project, unknownUUID},
		{"GET", own + "/api-keys/ID", "", b.access, "SCWXXXXXXXXXXXXXXXXX"},
		{"GET", own + "/namespaces/ID/quota", "", nats, unknownID},
		{"GET", own + "/namespaces/ID/quota", "", "project-" + b.project, "project-" + unknownUUID},
		{"GET", own + "/namespaces/ID/settings", "", aws, unknownID},
		{"GET", own + "/namespaces/ID", "", aws, unknownID},
		{"GET", own + "/namespaces/ID/usage", "", nats, unknownID},
		{"GET", own + "/namespaces/ID/credentials", "", aws, unknownID},
		{"PATCH", own + "/namespaces/ID/topics/t", "{}", aws, unknownID},
		{"GET", own + "/namespaces/ID/topics/t/subscriptions/" + unknownUUID + "/attempts", "", aws, unknownID},
		{"PUT", own + "/namespaces/ID/settings", "{}", aws, unknownID},
		{"GET", own + "/namespaces/ID/queues", "", aws, unknownID},
		{"POST", own + "/namespaces/ID/queues", `{"name":"q"}`, aws, unknownID},
		{"DELETE", own + "/namespaces/ID/queues/q", "", aws, unknownID},
		{"POST", own + "/namespaces/ID/queues/q/messages", `{"messages":[{"body":"b"}]}`, aws, unknownID},
		{"POST", own + "/namespaces/ID/queues/q/receive", "{}", aws, unknownID},
		{"POST", own + "/namespaces/ID/queues/q/purge", "", aws, unknownID},
		{"POST", own + "/namespaces/ID/queues/q/redrive", "{}", aws, unknownID},
		{"GET", own + "/namespaces/ID/tasks", "", aws, unknownID},
		{"POST", own + "/namespaces/ID/tasks/" + unknownUUID + "/cancel", "", aws, unknownID},
		{"GET", own + "/namespaces/ID/topics", "", aws, unknownID},
		{"POST", own + "/namespaces/ID/topics", `{"name":"t"}`, aws, unknownID},
		{"DELETE", own + "/namespaces/ID/topics/t", "", aws, unknownID},
		{"POST", own + "/namespaces/ID/topics/t/publish", `{"message":"m"}`, aws, unknownID},
		{"POST", own + "/namespaces/ID/topics/t/subscriptions", `{"protocol":"sqs","endpoint":"q"}`, aws, unknownID},
		{"GET", "/iam/v1alpha1/api-keys/ID", "", b.access, "SCWXXXXXXXXXXXXXXXXX"},
	} {
		try := func(id string) (int, string) {
			r := b.send(b.other, c.method, strings.ReplaceAll(c.path, "ID", id), strings.ReplaceAll(c.body, "ID", id))
			return r.status, strings.ReplaceAll(r.text, id, "ID")
		}
		status, text := try(c.id)
		wantStatus, wantText := try(c.unknown)
		if status != wantStatus || text != wantText {
			t.Errorf("%s %s tells a foreign resource (%d %s) from a missing one (%d %s)", c.method, c.path, status, text, wantStatus, wantText)
		}
		if status == 200 && !strings.Contains(text, `"total_count":0`) {
			t.Errorf("%s %s: %d %s", c.method, c.path, status, text)
		}
	}
	for _, path := range []string{
		alpha + "/namespaces", alpha + "/credentials", beta + "/nats-accounts", beta + "/nats-credentials", beta + "/sqs-credentials",
		own + "/namespaces",
	} {
		if got := b.must(b.other, "GET", path, ""); got.body["total_count"] != 0.0 {
			t.Errorf("%s shows something to a foreign key: %s", path, got.text)
		}
		if got := b.must(b.bound, "GET", path, ""); got.body["total_count"] == 0.0 {
			t.Errorf("%s shows nothing to its owner", path)
		}
	}
}

// TestReadOnlyKeysChangeNothing tries every operation that writes.
func TestReadOnlyKeysChangeNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	bodies := map[string]string{
		"/namespaces":       `{"name":"n","protocol":"nats","project_id":"` + b.project + `","namespace_id":"` + unknownID + `"}`,
		"/credentials":      `{"namespace_id":"` + unknownID + `","name":"n"}`,
		"/nats-accounts":    `{"name":"n","project_id":"` + b.project + `"}`,
		"/nats-credentials": `{"nats_account_id":"` + unknownID + `","name":"n"}`,
		"/projects":         `{"name":"n"}`,
		"/api-keys":         `{"name":"n"}`,
		"/users":            `{"name":"n","password":"correct horse battery"}`,
		"/password":         `{"password":"correct horse battery"}`,
		"/confirm":          `{"token":"t"}`,
		"/t":                `{}`,

		"/queues":        `{"name":"n"}`,
		"/q":             `{}`,
		"/messages":      `{"messages":[{"body":"b"}]}`,
		"/delete":        `{"receipt_handles":["h"]}`,
		"/receive":       `{}`,
		"/redrive":       `{}`,
		"/topics":        `{"name":"n"}`,
		"/publish":       `{"message":"m"}`,
		"/subscriptions": `{"protocol":"sqs","endpoint":"q"}`,
		"/bridges":       `{"name":"n","source":{"namespace_id":"` + unknownID + `","subject":"s"},"target_arn":"arn:scw:sqs:fr-par:x:q"}`,
	}
	tried := 0
	for _, op := range Operations() {
		if !op.Writes {
			continue
		}
		tried++
		path := strings.NewReplacer("{region}", "fr-par", "{namespace_id}", unknownID, "{nats_account_id}", unknownID,
			"{credential_id}", unknownUUID, "{nats_credentials_id}", unknownUUID, "{credentials_id}", unknownUUID,
			"{project_id}", unknownUUID, "{user_name}", "u", "{access_key}", "SCWXXXXXXXXXXXXXXXXX",
			"{queue_name}", "q", "{topic_name}", "t", "{task_id}", unknownUUID, "{subscription_id}", unknownUUID, "{bridge_id}", unknownUUID, "{node_name}", "n").Replace(op.Path)
		body := bodies[path[strings.LastIndex(path, "/"):]]
		if op.ID == "openmnq.UpdateSubscription" {
			body = `{"attributes":{}}`
		}
		if body == "" && (op.Method == http.MethodPost || op.Method == http.MethodPatch) {
			body = `{"project_id":"` + b.project + `","name":"n"}`
		}
		got := b.send(b.reader, op.Method, path, body)
		if got.status != 403 || got.str("type") != "permissions_denied" {
			t.Errorf("%s: %d %s", op.ID, got.status, got.text)
		}
		if op.Admin {
			if got := b.send(b.bound, op.Method, path, body); got.status != 403 {
				t.Errorf("%s with a key of one project: %d %s", op.ID, got.status, got.text)
			}
		}
	}
	if tried != 6+6+2*5+5+9+5+2+3+3+2 { // 2: nodes, and the backup, which is kept from read-only keys too
		t.Errorf("%d operations write", tried)
	}
	b.wantProblem(b.send(b.reader, "POST", alpha+"/namespaces", bodies["/namespaces"]), 403, refused("create", "namespace"))
	b.wantProblem(b.send(b.reader, "DELETE", alpha+"/credentials/"+unknownUUID, ""), 403, refused("delete", "credential"))
	b.must(b.reader, "GET", alpha+"/namespaces", "")
	b.must(b.reader, "GET", beta+"/sqs-info?project_id="+b.project, "")
}
