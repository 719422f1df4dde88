// Package isolation takes two tenants of one server and tries every operation of
// one against what belongs to the other.
package isolation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/openmnq/mnq/internal/mnqtest"
	"github.com/openmnq/mnq/rest"
)

// tenant is a project with one of everything in it.
type tenant struct {
	project, apiKey string
	access          string // of apiKey
	nats, natsCred  string
	creds           string // file
	sqs             string // v1alpha1 namespace
	keys            mnqtest.Keys
	beta            map[string]string // v1beta1 credentials by service
	client          *sqs.Client
	queue           string // URL
	handle          string
	bridge          string
	task            string // of a message move that runs
	topics          *sns.Client
	subscription    string // ARN, of topic shared
}

func newTenant(t *testing.T, p *mnqtest.Process, name string) *tenant {
	t.Helper()
	str := func(v any) string { return fmt.Sprint(v) }
	project := str(p.Must("POST", "/openmnq/v1/projects", map[string]any{"name": name})["id"])
	key := p.Must("POST", "/openmnq/v1/api-keys", map[string]any{"name": name, "project_id": project})
	x := &tenant{project: project, apiKey: str(key["secret_key"]), access: str(key["access_key"]), beta: map[string]string{}}
	p.Must("POST", "/openmnq/v1/users", map[string]any{"name": "user-of-" + name, "password": "a password of " + name, "project_id": project})
	own := *p
	own.Secret = x.apiKey
	own.Env = map[string]string{"SCW_DEFAULT_PROJECT_ID": project}
	x.nats, x.sqs = own.Namespace(name, "nats"), own.Namespace(name, "sqs_sns")
	x.natsCred, x.creds = own.Creds(x.nats)
	x.keys = own.Keys(x.sqs, "prm")
	for _, s := range []string{"sqs", "sns"} {
		own.Must("POST", "/mnq/v1beta1/regions/fr-par/activate-"+s, map[string]any{"project_id": project})
		x.beta[s] = str(own.Must("POST", "/mnq/v1beta1/regions/fr-par/"+s+"-credentials", map[string]any{
			"project_id": project, "name": "c", "permissions": map[string]bool{"can_publish": true, "can_receive": true, "can_manage": true},
		})["id"])
	}
	x.client = mnqtest.SQS(p.URL, x.keys)
	ctx := t.Context()
	for _, q := range []string{"only-" + name, "shared"} {
		out, err := x.client.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &q})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.client.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: out.QueueUrl, MessageBody: aws.String("secret of " + name)}); err != nil {
			t.Fatal(err)
		}
		got, err := x.client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: out.QueueUrl, VisibilityTimeout: 600, WaitTimeSeconds: 5})
		if err != nil || len(got.Messages) != 1 {
			t.Fatalf("%+v %v", got, err)
		}
		x.queue, x.handle = *out.QueueUrl, *got.Messages[0].ReceiptHandle
	}
	x.bridge = str(own.Must("POST", "/openmnq/v1/bridges", map[string]any{
		"name": name, "source": map[string]any{"namespace_id": x.nats, "subject": "bridged.>"}, "target_arn": x.arn("shared"),
	})["id"])
	x.startMove(t)
	x.makeTopics(t, p, name)
	return x
}

func TestTenants(t *testing.T) { //nolint:tparallel // what alice has is looked at when all attacks are over
	t.Parallel()
	p := mnqtest.Start(t, mnqtest.Options{Args: []string{"--fsync", "interval"}})
	alice, bob := newTenant(t, p, "alice"), newTenant(t, p, "bob")
	before := alice.inventory(t, p)
	t.Run("Bob", func(t *testing.T) { attack(t, p, alice, bob) })
	if after := alice.inventory(t, p); after != before {
		t.Errorf("what alice has was changed:\n%s\nbefore:\n%s", after, before)
	}
}

func attack(t *testing.T, p *mnqtest.Process, alice, bob *tenant) {
	t.Run("ControlPlaneAnswersAsForAMissingOne", func(t *testing.T) {
		t.Parallel()
		controlPlane(t, p, alice, bob)
	})
	t.Run("ListsShowOnlyTheirOwn", func(t *testing.T) {
		t.Parallel()
		lists(t, p, alice, bob)
	})
	t.Run("QueuesAnswerAsMissingOnes", func(t *testing.T) {
		t.Parallel()
		queues(t, alice, bob)
	})
	t.Run("QueuePathsAnswerAsMissingOnes", func(t *testing.T) {
		t.Parallel()
		queuePaths(t, p, alice, bob)
	})
	t.Run("ReceiptHandlesOpenNothingElsewhere", func(t *testing.T) {
		t.Parallel()
		handles(t, alice, bob)
	})
	t.Run("TopicsAnswerAsMissingOnes", func(t *testing.T) {
		t.Parallel()
		topics(t, alice, bob)
	})
	t.Run("SubjectsAndStreamsOfTheSameNameNeverMeet", func(t *testing.T) {
		t.Parallel()
		subjects(t, p, alice, bob)
	})
	t.Run("NothingElseOfNATSIsReachable", func(t *testing.T) {
		t.Parallel()
		reach(t, p, alice, bob)
	})
}

// controlPlane makes each call once with an id of alice's and once with an id
// that nobody has; bob must not be able to tell the answers apart.
func controlPlane(t *testing.T, p *mnqtest.Process, alice, bob *tenant) {
	const a1, b1 = "/mnq/v1alpha1/regions/fr-par", "/mnq/v1beta1/regions/fr-par"
	nobody, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	noAccount, _ := nobody.PublicKey()
	noUUID := uuid.NewString()
	perms := map[string]any{"can_publish": true, "can_receive": true, "can_manage": true}
	tried := map[string]bool{} // method and path, as in the table of operations
	for _, c := range []struct {
		method, path string // {} is the id
		id, missing  string
		body         func(id string) any
	}{
		{"GET", a1 + "/namespaces/{}", alice.nats, noAccount, nil},
		{"GET", a1 + "/namespaces/{}", alice.sqs, noAccount, nil},
		{"PATCH", a1 + "/namespaces", alice.nats, noAccount, func(id string) any { return map[string]any{"namespace_id": id, "name": "stolen"} }},
		{"DELETE", a1 + "/namespaces/{}", alice.nats, noAccount, nil},
		{"POST", a1 + "/namespaces", alice.project, noUUID, func(id string) any { return map[string]any{"name": "n", "protocol": "nats", "project_id": id} }},
		{"POST", a1 + "/credentials", alice.nats, noAccount, func(id string) any { return map[string]any{"namespace_id": id, "name": "c"} }},
		{"POST", a1 + "/credentials", alice.sqs, noAccount, func(id string) any { return map[string]any{"namespace_id": id, "name": "c", "permissions": perms} }},
		{"GET", a1 + "/credentials?namespace_id={}", alice.nats, noAccount, nil},
		{"GET", a1 + "/credentials/{}", alice.natsCred, noUUID, nil},
		{"GET", a1 + "/credentials/{}", alice.keys.ID, noUUID, nil},
		{"PATCH", a1 + "/credentials/{}", alice.keys.ID, noUUID, func(string) any { return map[string]any{"name": "stolen"} }},
		{"DELETE", a1 + "/credentials/{}", alice.keys.ID, noUUID, nil},
		{"GET", b1 + "/nats-accounts/{}", alice.nats, noAccount, nil},
		{"PATCH", b1 + "/nats-accounts/{}", alice.nats, noAccount, func(string) any { return map[string]any{"name": "stolen"} }},
		{"DELETE", b1 + "/nats-accounts/{}", alice.nats, noAccount, nil},
		{"POST", b1 + "/nats-accounts", alice.project, noUUID, func(id string) any { return map[string]any{"name": "n", "project_id": id} }},
		{"POST", b1 + "/nats-credentials", alice.nats, noAccount, func(id string) any { return map[string]any{"nats_account_id": id, "name": "c"} }},
		{"GET", b1 + "/nats-credentials?nats_account_id={}", alice.nats, noAccount, nil},
		{"GET", b1 + "/nats-credentials/{}", alice.natsCred, noUUID, nil},
		{"DELETE", b1 + "/nats-credentials/{}", alice.natsCred, noUUID, nil},
		{"GET", b1 + "/sqs-info?project_id={}", alice.project, noUUID, nil},
		{"GET", b1 + "/sns-info?project_id={}", alice.project, noUUID, nil},
		{"POST", b1 + "/activate-sqs", alice.project, noUUID, func(id string) any { return map[string]any{"project_id": id} }},
		{"POST", b1 + "/activate-sns", alice.project, noUUID, func(id string) any { return map[string]any{"project_id": id} }},
		{"POST", b1 + "/deactivate-sqs", alice.project, noUUID, func(id string) any { return map[string]any{"project_id": id} }},
		{"POST", b1 + "/deactivate-sns", alice.project, noUUID, func(id string) any { return map[string]any{"project_id": id} }},
		{"POST", b1 + "/sqs-credentials", alice.project, noUUID, func(id string) any { return map[string]any{"project_id": id, "name": "c", "permissions": perms} }},
		{"POST", b1 + "/sns-credentials", alice.project, noUUID, func(id string) any { return map[string]any{"project_id": id, "name": "c", "permissions": perms} }},
		{"GET", b1 + "/sqs-credentials?project_id={}", alice.project, noUUID, nil},
		{"GET", b1 + "/sns-credentials?project_id={}", alice.project, noUUID, nil},
		{"GET", b1 + "/sqs-credentials/{}", alice.beta["sqs"], noUUID, nil},
		{"GET", b1 + "/sns-credentials/{}", alice.beta["sns"], noUUID, nil},
		{"PATCH", b1 + "/sqs-credentials/{}", alice.beta["sqs"], noUUID, func(string) any { return map[string]any{"name": "stolen"} }},
		{"PATCH", b1 + "/sns-credentials/{}", alice.beta["sns"], noUUID, func(string) any { return map[string]any{"name": "stolen"} }},
		{"DELETE", b1 + "/sqs-credentials/{}", alice.beta["sqs"], noUUID, nil},
		{"DELETE", b1 + "/sns-credentials/{}", alice.beta["sns"], noUUID, nil},
		{"GET", "/openmnq/v1/projects/{}", alice.project, noUUID, nil},
		{"DELETE", "/openmnq/v1/projects/{}", alice.project, noUUID, nil},
		{"GET", "/openmnq/v1/api-keys/{}", alice.access, "SCWXXXXXXXXXXXXXXXXX", nil},
		{"DELETE", "/openmnq/v1/api-keys/{}", alice.access, "SCWXXXXXXXXXXXXXXXXX", nil},
		{"POST", "/openmnq/v1/api-keys", alice.project, noUUID, func(id string) any { return map[string]any{"name": "k", "project_id": id} }},
		{"POST", "/openmnq/v1/projects", alice.project, noUUID, func(id string) any { return map[string]any{"name": "p", "id": id} }},
		{"POST", "/openmnq/v1/users", alice.project, noUUID, func(id string) any {
			return map[string]any{"name": "u", "password": "a password of bob's", "project_id": id}
		}},
		{"PUT", "/openmnq/v1/users/{}/password", "user-of-alice", "user-of-nobody", func(string) any { return map[string]any{"password": "a password of bob's"} }},
		{"DELETE", "/openmnq/v1/users/{}", "user-of-alice", "user-of-nobody", nil},
		{"DELETE", "/openmnq/v1/nodes/{}", "n0", "n9", nil},
		{"GET", "/openmnq/v1/namespaces/{}", alice.nats, noAccount, nil},
		{"GET", "/openmnq/v1/namespaces/{}", alice.sqs, noAccount, nil},
		{"GET", "/openmnq/v1/bridges/{}", alice.bridge, noUUID, nil},
		{"DELETE", "/openmnq/v1/bridges/{}", alice.bridge, noUUID, nil},
		{"POST", "/openmnq/v1/bridges", alice.nats, noAccount, func(id string) any {
			return map[string]any{"name": "b", "source": map[string]any{"namespace_id": id, "subject": "s"}, "target_arn": bob.arn("shared")}
		}},
		{"POST", "/openmnq/v1/bridges", alice.sqs, noAccount, func(id string) any {
			return map[string]any{"name": "b", "source": map[string]any{"namespace_id": bob.nats, "subject": "s"}, "target_arn": "arn:scw:sqs:fr-par:" + id + ":shared"}
		}},
		{"GET", "/iam/v1alpha1/api-keys/{}", alice.access, "SCWXXXXXXXXXXXXXXXXX", nil},
		{"GET", "/openmnq/v1/namespaces/{}/quota", alice.nats, noAccount, nil},
		{"GET", "/openmnq/v1/namespaces/{}/quota", alice.sqs, noAccount, nil},
		{"GET", "/openmnq/v1/namespaces/{}/quota", "project-" + alice.project, "project-" + noUUID, nil},
		{"GET", "/openmnq/v1/namespaces/{}/queues", alice.sqs, noAccount, nil},
		{"GET", "/openmnq/v1/namespaces/{}/queues/only-alice", alice.sqs, noAccount, nil},
		{"GET", "/openmnq/v1/namespaces/{}/queues/{}", alice.sqs, noAccount, nil},
		{"PUT", "/openmnq/v1/namespaces/{}/quota", alice.nats, noAccount, func(string) any { return map[string]any{"storage_bytes": 1} }},
	} {
		path, _, _ := strings.Cut(c.path, "?")
		tried[c.method+" "+strings.ReplaceAll(path, "fr-par", "{}")] = true
		ask := func(id string) string {
			var body any
			if c.body != nil {
				body = c.body(id)
			}
			ans, err := mnqtest.Call(p.URL, bob.apiKey, c.method, strings.ReplaceAll(c.path, "{}", id), body)
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprintf("%d %s", ans.Status, strings.ReplaceAll(string(ans.Body), id, "ID"))
		}
		theirs, missing := ask(c.id), ask(c.missing)
		if theirs != missing {
			t.Errorf("%s %s tells them apart:\n  theirs:  %s\n  missing: %s", c.method, c.path, theirs, missing)
		}
		if c.method != "GET" && !strings.HasPrefix(theirs, "4") {
			t.Errorf("%s %s: %s", c.method, c.path, theirs)
		}
	}
	for _, op := range rest.Operations() {
		switch {
		case op.Method == http.MethodGet && !strings.Contains(strings.Replace(op.Path, "{region}", "", 1), "{"): // a list, see below
		case op.ID == "openmnq.TestFilter": // names nothing that exists
		case strings.HasPrefix(op.Path, inNamespaces):
			inNamespace(t, p, op, alice, bob)
		case !tried[op.Method+" "+parameter.ReplaceAllString(op.Path, "{}")]:
			t.Errorf("%s was not tried", op.ID)
		}
	}
}

var parameter = regexp.MustCompile(`{[a-z_]+}`)

// inNamespaces begins the paths of what a namespace has in it.
const inNamespaces = "/openmnq/v1/namespaces/{namespace_id}/"

// bodies are right requests of the operations below inNamespaces that take one.
var bodies = map[string]string{
	"openmnq.SetQuota": `{}`, "openmnq.SetNamespaceSettings": `{}`, "openmnq.CreateQueue": `{"name":"q"}`, "openmnq.UpdateQueue": `{"tags":{"a":"b"}}`, "openmnq.PurgeQueue": `{}`,
	"openmnq.SendMessages": `{"messages":[{"body":"x"}]}`, "openmnq.ReceiveMessages": `{"visibility_timeout":600}`,
	"openmnq.DeleteMessages": `{"receipt_handles":["HANDLE"]}`, "openmnq.RedriveQueue": `{}`, "openmnq.CancelTask": `{}`,
	"openmnq.CreateTopic": `{"name":"t"}`, "openmnq.Publish": `{"message":"x"}`, "openmnq.Subscribe": `{"protocol":"sqs","endpoint":"shared"}`,
	"openmnq.UpdateTopic": `{"tags":{"a":"b"}}`, "openmnq.ConfirmSubscription": `{"token":"t"}`, "openmnq.UpdateSubscription": `{"attributes":{"RawMessageDelivery":"true"}}`,
}

// inNamespace makes a call with what is in a namespace of alice's, and with what is
// in none.
func inNamespace(t *testing.T, p *mnqtest.Process, op rest.Operation, alice, bob *tenant) {
	t.Helper()
	if _, ok := bodies[op.ID]; !ok && op.Method != http.MethodGet && op.Method != http.MethodDelete {
		t.Errorf("there is no body to try %s with", op.ID)
	}
	ask := func(namespace, queue string) string {
		t.Helper()
		path := strings.NewReplacer("{namespace_id}", namespace, "{queue_name}", queue, "{topic_name}", queue, "{sequence}", "1").Replace(op.Path)
		path = parameter.ReplaceAllString(path, "0f0f0f0f-1111-4222-8333-444444444444")
		var body any
		if text := strings.ReplaceAll(bodies[op.ID], "HANDLE", alice.handle); text != "" {
			body = json.RawMessage(text)
		}
		ans, err := mnqtest.Call(p.URL, bob.apiKey, op.Method, path, body)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%d %s", ans.Status, strings.ReplaceAll(string(ans.Body), namespace, "NAMESPACE"))
	}
	theirs, missing := ask(alice.sqs, "only-alice"), ask(absent, "only-alice")
	if theirs != missing || !strings.HasPrefix(theirs, "404") && !strings.HasPrefix(theirs, "403") {
		t.Errorf("%s tells them apart:\n  theirs:  %s\n  missing: %s", op.ID, theirs, missing)
	}
}

// lastUsed is written down when a minute is over.
var lastUsed = regexp.MustCompile(`"last_used_at":("[^"]*"|null)`)

// inventory describes all that a tenant has, but for what changes by itself.
func (x *tenant) inventory(t *testing.T, p *mnqtest.Process) string {
	t.Helper()
	var b strings.Builder
	for _, path := range listPaths {
		ans, err := mnqtest.Call(p.URL, x.apiKey, "GET", path, nil)
		if err != nil || ans.Status != 200 {
			t.Fatalf("%s: %d %s %v", path, ans.Status, ans.Body, err)
		}
		fmt.Fprintf(&b, "%s %s", path, lastUsed.ReplaceAll(ans.Body, nil))
	}
	x.describeQueues(t, &b)
	x.describeTopics(t, &b)
	return b.String()
}

var listPaths = []string{
	mnqtest.Namespaces, mnqtest.Credentials, "/mnq/v1beta1/regions/fr-par/nats-accounts", "/mnq/v1beta1/regions/fr-par/nats-credentials",
	"/mnq/v1beta1/regions/fr-par/sqs-credentials", "/mnq/v1beta1/regions/fr-par/sns-credentials", "/openmnq/v1/projects", "/openmnq/v1/api-keys",
	"/openmnq/v1/namespaces", "/openmnq/v1/bridges", "/openmnq/v1/users",
}

func lists(t *testing.T, p *mnqtest.Process, alice, bob *tenant) {
	var audit struct {
		Records []struct {
			ProjectID string `json:"project_id"`
		} `json:"records"`
	}
	ans, err := mnqtest.Call(p.URL, bob.apiKey, "GET", "/openmnq/v1/audit", nil)
	if err = errors.Join(err, json.Unmarshal(ans.Body, &audit)); err != nil || len(audit.Records) == 0 {
		t.Errorf("audit: %d %s %v", ans.Status, ans.Body, err)
	}
	for _, r := range audit.Records {
		if r.ProjectID != bob.project {
			t.Errorf("the audit shows bob a record of project %q", r.ProjectID)
		}
	}
	hers := []string{alice.project, alice.nats, alice.sqs, alice.natsCred, alice.keys.ID, alice.keys.Access, alice.beta["sqs"], alice.beta["sns"], alice.bridge, "user-of-alice"}
	for _, path := range listPaths {
		ans, err := mnqtest.Call(p.URL, bob.apiKey, "GET", path, nil)
		if err != nil || ans.Status != 200 {
			t.Errorf("%s: %d %s %v", path, ans.Status, ans.Body, err)
		}
		for _, id := range hers {
			if strings.Contains(string(ans.Body), id) {
				t.Errorf("%s shows bob %s", path, id)
			}
		}
		if n, _ := ans.JSON["total_count"].(float64); n > 3 || n < 1 {
			t.Errorf("%s counts %v", path, ans.JSON["total_count"])
		}
	}
	out, err := bob.client.ListQueues(t.Context(), &sqs.ListQueuesInput{})
	if err != nil || len(out.QueueUrls) != 4 || slices.ContainsFunc(out.QueueUrls, func(u string) bool { return strings.Contains(u, alice.sqs) }) {
		t.Errorf("ListQueues: %v %v", out, err)
	}
}

func connect(t *testing.T, p *mnqtest.Process, x *tenant) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect("nats://"+p.NATS, nats.UserCredentials(x.creds), nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return nc, js
}

func subjects(t *testing.T, p *mnqtest.Process, alice, bob *tenant) {
	ctx := t.Context()
	a, ajs := connect(t, p, alice)
	b, bjs := connect(t, p, bob)
	heard := make(chan *nats.Msg, 100)
	for _, s := range []string{">", "orders.*"} {
		if _, err := a.ChanSubscribe(s, heard); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Subscribe("ask", func(m *nats.Msg) { _ = m.Respond([]byte("alice")) }); err != nil {
		t.Fatal(err)
	}
	if err := a.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := b.Publish("orders.new", []byte("bob's")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.RequestWithContext(ctx, "ask", nil); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("a request of bob's: %v", err)
	}
	if _, err := ajs.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"events.>"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := ajs.Publish(ctx, "events.1", []byte("alice's")); err != nil {
		t.Fatal(err)
	}
	if _, err := bjs.Stream(ctx, "S"); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("bob finds alice's stream: %v", err)
	}
	s, err := bjs.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"events.>"}})
	if err != nil {
		t.Fatal(err)
	}
	if n := s.CachedInfo().State.Msgs; n != 0 {
		t.Errorf("bob's new stream holds %d messages", n)
	}
	if _, err := ajs.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "kv"}); err != nil {
		t.Fatal(err)
	}
	if _, err := bjs.KeyValue(ctx, "kv"); !errors.Is(err, jetstream.ErrBucketNotFound) {
		t.Errorf("bob finds alice's bucket: %v", err)
	}
	if err := b.FlushTimeout(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	if err := a.FlushTimeout(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	for len(heard) > 0 {
		if m := <-heard; strings.Contains(string(m.Data), "bob") {
			t.Errorf("alice hears %s: %s", m.Subject, m.Data)
		}
	}
}

func reach(t *testing.T, p *mnqtest.Process, alice, bob *tenant) {
	nc, js := connect(t, p, bob)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	list := js.StreamNames(ctx)
	for name := range list.Name() {
		if name != "S" && name != "mnq_bridge_"+bob.bridge { // which another test makes, and his own
			t.Errorf("bob's NATS credential sees stream %s", name)
		}
	}
	if list.Err() != nil {
		t.Error(list.Err())
	}
	for _, subject := range []string{
		"$SYS.REQ.SERVER.PING", "$SYS.REQ.SERVER.PING.VARZ", "$SYS.REQ.SERVER.PING.JSZ", "$SYS.REQ.SERVER.PING.CONNZ",
		"$SYS.REQ.CLAIMS.LIST", "$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.CLAIMS.DELETE", "$SYS.REQ.CLAIMS.PACK",
		"$SYS.REQ.ACCOUNT." + alice.nats + ".CONNZ", "$SYS.REQ.ACCOUNT." + alice.nats + ".CLAIMS.LOOKUP", "$SYS.REQ.ACCOUNT." + alice.nats + ".INFO",
		"$SYS.ACCOUNT." + alice.nats + ".CONNECT", "$JS.API.STREAM.INFO.KV_mnq_directory", "$JS.API.STREAM.MSG.GET.KV_mnq_directory",
		"$JS.API.DIRECT.GET.KV_mnq_directory", "$JS.API.SERVER.REMOVE", "$JS.API.META.LEADER.STEPDOWN", "$JS.API.ACCOUNT.PURGE." + alice.nats,
	} {
		m, err := nc.Request(subject, []byte("{}"), 2*time.Second)
		if err != nil {
			continue
		}
		// A server tells an account about its own connections, and nothing else.
		if d := string(m.Data); mentions(d, alice) || !strings.Contains(d, `"error"`) && !strings.HasSuffix(subject, "PING.CONNZ") {
			t.Errorf("%s answers bob %.300s", subject, d)
		}
	}
	heard := make(chan *nats.Msg, 1000)
	for _, s := range []string{"$SYS.>", "$JS.>", "$KV.>"} {
		if _, err := nc.ChanSubscribe(s, heard); err != nil && !errors.Is(err, nats.ErrPermissionViolation) {
			t.Error(err)
		}
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	a, ajs := connect(t, p, alice)
	if _, err := ajs.CreateStream(ctx, jetstream.StreamConfig{Name: "T", Subjects: []string{"t"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := ajs.Publish(ctx, "t", []byte("of "+alice.nats)); err != nil {
		t.Fatal(err)
	}
	a.Close()
	if err := nc.FlushTimeout(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	for len(heard) > 0 {
		if m := <-heard; mentions(m.Subject+string(m.Data), alice) {
			t.Errorf("bob hears %s %.200s", m.Subject, m.Data)
		}
	}
}

func mentions(text string, x *tenant) bool {
	return strings.Contains(text, x.nats) || strings.Contains(text, x.sqs) || strings.Contains(text, x.project)
}
