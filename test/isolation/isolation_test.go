// Package isolation takes two tenants of one server and tries every operation of
// one against what belongs to the other.
package isolation

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/openmnq/mnq/internal/mnqtest"
)

// tenant is a project with one of everything in it.
type tenant struct {
	project, apiKey string
	nats, natsCred  string
	creds           string // file
	sqs             string // v1alpha1 namespace
	keys            mnqtest.Keys
	beta            map[string]string // v1beta1 credentials by service
	client          *sqs.Client
	queue           string // URL
	handle          string
}

func newTenant(t *testing.T, p *mnqtest.Process, name string) *tenant {
	t.Helper()
	str := func(v any) string { return fmt.Sprint(v) }
	project := str(p.Must("POST", "/openmnq/v1/projects", map[string]any{"name": name})["id"])
	key := p.Must("POST", "/openmnq/v1/api-keys", map[string]any{"name": name, "project_id": project})
	x := &tenant{project: project, apiKey: str(key["secret_key"]), beta: map[string]string{}}
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
	return x
}

func TestTenants(t *testing.T) {
	t.Parallel()
	p := mnqtest.Start(t, mnqtest.Options{Args: []string{"--fsync", "interval"}})
	alice, bob := newTenant(t, p, "alice"), newTenant(t, p, "bob")

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
	t.Run("ReceiptHandlesOpenNothingElsewhere", func(t *testing.T) {
		t.Parallel()
		handles(t, alice, bob)
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
		{"GET", "/openmnq/v1/namespaces/{}/quota", alice.nats, noAccount, nil},
		{"PUT", "/openmnq/v1/namespaces/{}/quota", alice.nats, noAccount, func(string) any { return map[string]any{"storage_bytes": 1} }},
	} {
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
}

func lists(t *testing.T, p *mnqtest.Process, alice, bob *tenant) {
	hers := []string{alice.project, alice.nats, alice.sqs, alice.natsCred, alice.keys.ID, alice.keys.Access, alice.beta["sqs"], alice.beta["sns"]}
	for _, path := range []string{
		mnqtest.Namespaces, mnqtest.Credentials, "/mnq/v1beta1/regions/fr-par/nats-accounts", "/mnq/v1beta1/regions/fr-par/nats-credentials",
		"/mnq/v1beta1/regions/fr-par/sqs-credentials", "/mnq/v1beta1/regions/fr-par/sns-credentials", "/openmnq/v1/projects", "/openmnq/v1/api-keys",
	} {
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
	if err != nil || len(out.QueueUrls) != 2 || slices.ContainsFunc(out.QueueUrls, func(u string) bool { return strings.Contains(u, alice.sqs) }) {
		t.Errorf("ListQueues: %v %v", out, err)
	}
}

// queues calls every action that takes a queue with each way to name alice's.
func queues(t *testing.T, alice, bob *tenant) {
	ctx, c := t.Context(), bob.client
	text := regexp.MustCompile(`(RequestID: )[^,]*`)
	actions := map[string]func(url string) error{
		"SendMessage": func(u string) error {
			_, err := c.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &u, MessageBody: aws.String("x")})
			return err
		},
		"SendMessageBatch": func(u string) error {
			_, err := c.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: &u, Entries: []types.SendMessageBatchRequestEntry{{Id: aws.String("1"), MessageBody: aws.String("x")}}})
			return err
		},
		"ReceiveMessage": func(u string) error {
			_, err := c.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &u})
			return err
		},
		"DeleteMessage": func(u string) error {
			_, err := c.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &u, ReceiptHandle: &alice.handle})
			return err
		},
		"DeleteMessageBatch": func(u string) error {
			_, err := c.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &u, Entries: []types.DeleteMessageBatchRequestEntry{{Id: aws.String("1"), ReceiptHandle: &alice.handle}}})
			return err
		},
		"ChangeMessageVisibility": func(u string) error {
			_, err := c.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: &u, ReceiptHandle: &alice.handle})
			return err
		},
		"ChangeMessageVisibilityBatch": func(u string) error {
			_, err := c.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &u, Entries: []types.ChangeMessageVisibilityBatchRequestEntry{{Id: aws.String("1"), ReceiptHandle: &alice.handle}}})
			return err
		},
		"GetQueueAttributes": func(u string) error {
			_, err := c.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &u, AttributeNames: []types.QueueAttributeName{"All"}})
			return err
		},
		"SetQueueAttributes": func(u string) error {
			_, err := c.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: &u, Attributes: map[string]string{"DelaySeconds": "1"}})
			return err
		},
		"PurgeQueue": func(u string) error {
			_, err := c.PurgeQueue(ctx, &sqs.PurgeQueueInput{QueueUrl: &u})
			return err
		},
		"DeleteQueue": func(u string) error {
			_, err := c.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: &u})
			return err
		},
	}
	hers := strings.ReplaceAll(alice.queue, "shared", "only-alice")
	missing := strings.ReplaceAll(bob.queue, "shared", "only-nobody")
	for name, call := range actions {
		want := call(missing)
		if code := mnqtest.ErrorCode(want); !strings.Contains(code, "NonExistentQueue") && code != "QueueDoesNotExist" {
			t.Errorf("%s of a missing queue: %v", name, want)
			continue
		}
		for _, url := range []string{hers, strings.Replace(hers, "only-alice", "shared", 1), "only-alice", "http://sqs.example/" + alice.sqs + "/only-alice", "/" + alice.sqs + "/only-alice"} {
			got := call(url)
			if got == nil || text.ReplaceAllString(got.Error(), "$1") != text.ReplaceAllString(want.Error(), "$1") {
				t.Errorf("%s of %s: %v, want %v", name, url, got, want)
			}
		}
	}
	for _, owner := range []*string{nil, &alice.sqs, aws.String("project-" + alice.project)} {
		_, err := c.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String("only-alice"), QueueOwnerAWSAccountId: owner})
		if code := mnqtest.ErrorCode(err); !strings.Contains(code, "NonExistentQueue") && code != "QueueDoesNotExist" {
			t.Errorf("GetQueueUrl with owner %s: %v", aws.ToString(owner), err)
		}
	}
}

func handles(t *testing.T, alice, bob *tenant) {
	ctx := t.Context()
	_, err := bob.client.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &bob.queue, ReceiptHandle: &alice.handle})
	if e := mnqtest.WantCode(err, "ReceiptHandleIsInvalid"); e != nil {
		t.Error(e)
	}
	_, err = bob.client.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: &bob.queue, ReceiptHandle: &alice.handle})
	if e := mnqtest.WantCode(err, "ReceiptHandleIsInvalid"); e != nil {
		t.Error(e)
	}
	out, err := alice.client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &alice.queue, AttributeNames: []types.QueueAttributeName{"All"}})
	if err != nil || out.Attributes["ApproximateNumberOfMessagesNotVisible"] != "1" {
		t.Errorf("alice's message: %v %v", out, err)
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
		if name != "S" { // which another test makes
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
