package rest

import (
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/openmnq/mnq"
)

func sha1Of(s string) string {
	sum := sha1.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

func TestNATSAccounts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if got := b.must(b.bound, "GET", beta+"/nats-accounts", ""); got.text != `{"nats_accounts":[],"total_count":0}` {
		t.Errorf("empty list: %s", got.text)
	}
	created := b.must(b.bound, "POST", beta+"/nats-accounts", fmt.Sprintf(`{"name":"a","project_id":%q}`, b.project))
	id := created.str("id")
	if !namespaceID.MatchString(id) || keysOf(created.body) != "created_at endpoint id name project_id region updated_at" {
		t.Fatalf("created: %s", created.text)
	}
	path := beta + "/nats-accounts/" + id
	if got := b.must(b.bound, "PATCH", path, `{"name":"b"}`); got.str("name") != "b" {
		t.Errorf("renamed: %s", got.text)
	}
	if got := b.must(b.bound, "PATCH", path, `{}`); got.str("name") != "b" {
		t.Errorf("not renamed: %s", got.text)
	}
	if got := b.must(b.bound, "GET", alpha+"/namespaces/"+id, ""); got.str("protocol") != "nats" || got.str("name") != "b" {
		t.Errorf("the same object in v1alpha1: %s", got.text)
	}
	sqs := b.namespace(mnq.ProtocolSQSSNS)
	b.wantProblem(b.send(b.bound, "GET", beta+"/nats-accounts/"+sqs, ""), 404, missing("namespace", sqs))
	if got := b.must(b.bound, "GET", beta+"/nats-accounts", ""); got.body["total_count"] != 1.0 {
		t.Errorf("list: %s", got.text)
	}

	cred := b.must(b.bound, "POST", beta+"/nats-credentials", fmt.Sprintf(`{"nats_account_id":%q,"name":"c"}`, id))
	if keysOf(cred.body) != "checksum created_at credentials id name nats_account_id region updated_at" ||
		cred.str("credentials", "name") != "user.creds" || cred.str("checksum") != sha1Of(cred.str("credentials", "content")) {
		t.Fatalf("credentials: %s", cred.text)
	}
	credPath := beta + "/nats-credentials/" + cred.str("id")
	again := b.must(b.bound, "GET", credPath, "")
	if v, ok := again.body["credentials"]; !ok || v != nil || again.str("checksum") != cred.str("checksum") {
		t.Errorf("shown again: %s", again.text)
	}
	list := b.must(b.bound, "GET", beta+"/nats-credentials?nats_account_id="+id, "")
	if list.body["total_count"] != 1.0 || strings.Contains(list.text, "BEGIN NATS") {
		t.Errorf("list: %s", list.text)
	}
	b.must(b.bound, "DELETE", credPath, "")
	b.wantProblem(b.send(b.bound, "GET", credPath, ""), 404, missing("credentials", cred.str("id")))
	b.must(b.bound, "DELETE", path, "")
	b.wantProblem(b.send(b.bound, "DELETE", path, ""), 404, missing("namespace", id))
}

func TestSQSAndSNS(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ service, title, other string }{{"sqs", "SQS", "sns"}, {"sns", "SNS", "sqs"}} {
		t.Run(c.title, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			project := fmt.Sprintf(`{"project_id":%q}`, b.project)
			noun := "Mnq" + c.title + "Namespace"
			off := fmt.Sprintf(`{"created_at":null,"project_id":%q,"region":"fr-par","%s_endpoint_url":"http://mnq.test:9324","status":"disabled","updated_at":null}`, b.project, c.service)

			b.wantProblem(b.send(b.bound, "GET", beta+"/"+c.service+"-info?project_id="+b.project, ""), 200, off)
			b.wantProblem(b.send(b.bound, "POST", beta+"/deactivate-"+c.service, project), 404, missing(noun, b.project))
			b.wantProblem(b.send(b.bound, "POST", beta+"/"+c.service+"-credentials", fmt.Sprintf(`{"project_id":%q,"name":"n"}`, b.project)),
				404, missing(noun, b.project))

			on := b.must(b.bound, "POST", beta+"/activate-"+c.service, project)
			if on.str("status") != "enabled" || !microTime.MatchString(on.str("created_at")) {
				t.Fatalf("activated: %s", on.text)
			}
			b.wantProblem(b.send(b.bound, "POST", beta+"/activate-"+c.service, project), 409, fmt.Sprintf(
				`{"help_message":"%s is already enabled on this project","message":"resource already exists","resource":%q,"resource_id":%q,"type":"already_exists"}`,
				c.title, noun, b.project))
			if got := b.must(b.bound, "GET", beta+"/"+c.other+"-info?project_id="+b.project, ""); got.str("status") != "disabled" {
				t.Errorf("the other service: %s", got.text)
			}
			b.awsCredentials(c.service)

			b.wantProblem(b.must(b.bound, "POST", beta+"/deactivate-"+c.service, project), 200, off)
			if got := b.must(b.bound, "GET", beta+"/"+c.service+"-credentials", ""); got.text != `{"`+c.service+`_credentials":[],"total_count":0}` {
				t.Errorf("left after deactivation: %s", got.text)
			}
		})
	}
}

// awsCredentials goes through the life of credentials of an active service and
// leaves some behind.
func (b *bundle) awsCredentials(service string) {
	b.t.Helper()
	path := beta + "/" + service + "-credentials"
	c := b.must(b.bound, "POST", path, fmt.Sprintf(`{"project_id":%q,"name":"n","permissions":{"can_publish":true,"can_receive":false,"can_manage":null}}`, b.project))
	id := c.str("id")
	if keysOf(c.body) != "access_key created_at id name permissions project_id region secret_checksum secret_key updated_at" ||
		!secretKey.MatchString(c.str("secret_key")) || c.str("secret_checksum") != sha1Of(c.str("secret_key")) || !sha1Hex.MatchString(c.str("secret_checksum")) ||
		!strings.Contains(c.text, `{"can_publish":true,"can_receive":false,"can_manage":false}`) {
		b.t.Fatalf("created: %s", c.text)
	}
	p := b.must(b.bound, "PATCH", path+"/"+id, `{"permissions":{"can_publish":null,"can_manage":true}}`)
	if !strings.Contains(p.text, `{"can_publish":true,"can_receive":false,"can_manage":true}`) || p.body["secret_key"] != "" ||
		p.str("updated_at") == c.str("updated_at") {
		b.t.Errorf("changed: %s", p.text)
	}
	if got := b.must(b.bound, "GET", path+"/"+id, ""); got.text != p.text {
		b.t.Errorf("got %s", got.text)
	}
	b.wantProblem(b.send(b.bound, "GET", alpha+"/credentials/"+id, ""), 404, missing("credential", id))
	if got := b.must(b.bound, "GET", alpha+"/credentials", ""); got.body["total_count"] != 0.0 {
		b.t.Errorf("v1alpha1 shows %s", got.text)
	}
	if got := b.must(b.bound, "GET", alpha+"/namespaces", ""); got.body["total_count"] != 0.0 {
		b.t.Errorf("v1alpha1 shows %s", got.text)
	}
	other := map[string]string{"sqs": "sns", "sns": "sqs"}[service]
	b.wantProblem(b.send(b.bound, "GET", beta+"/"+other+"-credentials/"+id, ""), 404, missing("credentials", id))
	b.must(b.bound, "POST", path, fmt.Sprintf(`{"project_id":%q,"name":"a"}`, b.project))
	if got := strings.Join(b.must(b.bound, "GET", path+"?order_by=name_asc", "").names(service+"_credentials"), " "); got != "a n" {
		b.t.Errorf("list: %s", got)
	}
	b.must(b.bound, "DELETE", path+"/"+id, "")
	b.wantProblem(b.send(b.bound, "PATCH", path+"/"+id, `{"name":"x"}`), 404, missing("credentials", id))
}
