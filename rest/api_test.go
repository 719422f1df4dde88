package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server/ats"
	"go.uber.org/goleak"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/node"
	"github.com/openmnq/mnq/queue"
	"github.com/openmnq/mnq/tenant"
	"github.com/openmnq/mnq/topic"
)

// shared is the directory all tests of the package use, with its queues; each works
// in projects of its own.
var (
	shared       *tenant.Directory
	sharedQueues *queue.Service
	sharedTopics *topic.Service
)

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	ats.Register()
	dir, err := os.MkdirTemp("", "mnq-rest-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	n, err := node.New(node.Config{DataDir: dir, Fsync: node.FsyncInterval})
	if err == nil {
		err = n.Start(ctx)
	}
	if err != nil {
		panic(err)
	}
	if shared, err = tenant.New(tenant.Config{Node: n, DataDir: dir, Region: "fr-par"}); err == nil {
		err = shared.Start(ctx)
	}
	if err != nil {
		panic(err)
	}
	sharedQueues, err = queue.New(queue.Config{Connect: shared.Connect, Control: n.Control(), HandleKey: []byte(strings.Repeat("k", 32))})
	if err == nil {
		err = sharedQueues.Start(ctx)
	}
	if err != nil {
		panic(err)
	}
	sharedTopics, err = topic.New(topic.Config{
		Connect: shared.Connect, Control: n.Control(), Queues: sharedQueues, Namespace: shared.Namespace, Key: [32]byte{1},
		PublicURL: func() string { return "http://mnq.test:9324" },
	})
	if err == nil {
		err = sharedTopics.Start(ctx)
	}
	if err != nil {
		panic(err)
	}
	code := m.Run()
	stop, cancelStop := context.WithTimeout(context.Background(), time.Minute)
	defer cancelStop()
	if err := sharedTopics.Stop(stop); err != nil {
		panic(err)
	}
	if err := sharedQueues.Stop(stop); err != nil {
		panic(err)
	}
	if err := shared.Stop(stop); err != nil {
		panic(err)
	}
	if err := n.Stop(stop); err != nil {
		panic(err)
	}
	ats.Unregister()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// bundle is an API with two projects and a key of each sort.
type bundle struct {
	t       testing.TB
	api     *API
	logged  *bytes.Buffer
	project string
	foreign string
	full    string // secret of a key that sees everything
	bound   string // bound to project
	reader  string // bound to project, read-only
	other   string // bound to foreign
	access  string // access key of bound
}

const (
	alpha = "/mnq/v1alpha1/regions/fr-par"
	beta  = "/mnq/v1beta1/regions/fr-par"
	own   = "/openmnq/v1"

	unknownUUID = "11111111-2222-4333-8444-555555555555"
)

// unknownID has the form of a namespace id.
var unknownID = "A" + strings.Repeat("B", 55)

func setup(t testing.TB) *bundle {
	t.Helper()
	b := &bundle{t: t, logged: &bytes.Buffer{}}
	var err error
	b.api, err = New(Config{
		Status:    func(context.Context) node.Status { return node.Status{State: node.StateOK} },
		Support:   func(context.Context) []SupportFile { return []SupportFile{{"a", "b", "c"}} },
		Directory: shared, Queues: sharedQueues, Topics: sharedTopics, Region: "fr-par",
		NATSEndpoint: func() string { return "nats://nats.test:4222" },
		PublicURL:    func() string { return "http://mnq.test:9324" },
		Log:          slog.New(slog.NewTextHandler(b.logged, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	b.project, b.foreign = b.newProject(), b.newProject()
	b.full, _ = b.newKey(tenant.NewAPIKey{Name: "full"})
	b.bound, b.access = b.newKey(tenant.NewAPIKey{Name: "bound", ProjectID: b.project})
	b.reader, _ = b.newKey(tenant.NewAPIKey{Name: "reader", ProjectID: b.project, ReadOnly: true})
	b.other, _ = b.newKey(tenant.NewAPIKey{Name: "other", ProjectID: b.foreign})
	return b
}

// in returns the same bundle for a sub-test.
func (b *bundle) in(t testing.TB) *bundle {
	t.Helper()
	c := *b
	c.t = t
	return &c
}

func (b *bundle) newProject() string {
	b.t.Helper()
	p, err := shared.CreateProject(b.t.Context(), tenant.NewProject{Name: "p"})
	if err != nil {
		b.t.Fatal(err)
	}
	return p.ID
}

func (b *bundle) newKey(in tenant.NewAPIKey) (secret, accessKey string) {
	b.t.Helper()
	k, s, err := shared.CreateAPIKey(b.t.Context(), in)
	if err != nil {
		b.t.Fatal(err)
	}
	return s.Reveal(), k.AccessKey
}

// reply is an answer with its body both as text and decoded.
type reply struct {
	status int
	header http.Header
	text   string
	body   map[string]any
}

// send makes a request. body is JSON text, or "" for none.
func (b *bundle) send(token, method, path, body string) reply {
	b.t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	r := httptest.NewRequestWithContext(b.t.Context(), method, "http://mnq.test"+path, in)
	if token != "" {
		r.Header.Set("X-Auth-Token", token)
	}
	w := httptest.NewRecorder()
	b.api.ServeHTTP(w, r)
	out := reply{status: w.Code, header: w.Header(), text: strings.TrimSpace(w.Body.String())}
	if strings.HasPrefix(out.text, "{") {
		if err := json.Unmarshal([]byte(out.text), &out.body); err != nil {
			b.t.Fatalf("%s %s: %v in %s", method, path, err, out.text)
		}
	}
	return out
}

// must is send for a request that has to succeed.
func (b *bundle) must(token, method, path, body string) reply {
	b.t.Helper()
	out := b.send(token, method, path, body)
	if out.status/100 != 2 {
		b.t.Fatalf("%s %s: %d %s", method, path, out.status, out.text)
	}
	return out
}

// str returns a field by its path, such as "sqs_sns_credentials", "access_key".
func (r reply) str(path ...string) string {
	var at any = r.body
	for _, key := range path {
		m, _ := at.(map[string]any)
		at = m[key]
	}
	s, _ := at.(string)
	return s
}

// namespace creates one in the bundle's project and returns its id.
func (b *bundle) namespace(protocol mnq.Protocol) string {
	b.t.Helper()
	return b.must(b.bound, "POST", alpha+"/namespaces",
		fmt.Sprintf(`{"name":"n","protocol":%q,"project_id":%q}`, protocol, b.project)).str("id")
}

// wantProblem checks an error answer against the exact body.
func (b *bundle) wantProblem(got reply, status int, body string) {
	b.t.Helper()
	var want map[string]any
	if err := json.Unmarshal([]byte(body), &want); err != nil {
		b.t.Fatal(err)
	}
	wantText, _ := json.Marshal(want)
	gotText, _ := json.Marshal(got.body)
	if got.status != status || !bytes.Equal(gotText, wantText) {
		b.t.Errorf("got  %d %s\nwant %d %s", got.status, gotText, status, wantText)
	}
}

const (
	deniedInvalid = `{"message":"authentication is denied","method":"api_key","reason":"invalid_argument","type":"denied_authentication"}`
	deniedUnknown = `{"message":"authentication is denied","method":"api_key","reason":"not_found","type":"denied_authentication"}`
)

func missing(noun, id string) string {
	return fmt.Sprintf(`{"message":"resource is not found","resource":%q,"resource_id":%q,"type":"not_found"}`, noun, id)
}

func wrong(argument, reason, help string) string {
	return fmt.Sprintf(`{"details":[{"argument_name":%q,"help_message":%q,"reason":%q}],"message":"invalid argument(s)","type":"invalid_arguments"}`,
		argument, help, reason)
}

func refused(action, noun string) string {
	return fmt.Sprintf(`{"details":[{"action":%q,"resource":%q}],"message":"insufficient permissions","type":"permissions_denied"}`, action, noun)
}

func TestAuthentication(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for name, c := range map[string]struct{ token, path, want string }{
		"RefusesNoToken":            {"", alpha + "/namespaces", deniedInvalid},
		"RefusesWhatIsNoUUID":       {"secret", alpha + "/namespaces", deniedInvalid},
		"RefusesAnUnknownToken":     {unknownUUID, alpha + "/namespaces", deniedUnknown},
		"ComesBeforeTheRegion":      {"", "/mnq/v1alpha1/regions/nl-ams/namespaces", deniedInvalid},
		"ComesBeforeTheRoute":       {"", "/openmnq/v1/nothing", deniedInvalid},
		"CoversOurOwnAdditions":     {"", own + "/projects", deniedInvalid},
		"CoversTheIAMCourtesy":      {unknownUUID, "/iam/v1alpha1/api-keys/x", deniedUnknown},
		"RefusesBracesAroundTheKey": {"{" + b.bound + "}", alpha + "/namespaces", deniedInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := b.in(t)
			b.wantProblem(b.send(c.token, "GET", c.path, ""), 401, c.want)
		})
	}
	t.Run("RefusesADeletedKeyAtOnce", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.must(b.full, "DELETE", own+"/api-keys/"+b.access, "")
		b.wantProblem(b.send(b.bound, "GET", alpha+"/namespaces", ""), 401, deniedUnknown)
	})
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	b := setup(t)
	id := b.namespace(mnq.ProtocolNATS)
	seen := map[string]bool{}
	for _, r := range []reply{
		b.send(b.bound, "GET", alpha+"/namespaces", ""),
		b.send("", "GET", alpha+"/namespaces", ""),
		b.send(b.bound, "GET", alpha+"/namespaces/"+unknownID, ""),
		b.send(b.bound, "POST", alpha+"/namespaces", "{"),
		b.send(b.bound, "GET", "/mnq/nothing", ""),
		b.send(b.bound, "DELETE", alpha+"/namespaces/"+id, ""),
	} {
		for name, want := range map[string]string{
			"Content-Type": "application/json", "X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY",
			"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
		} {
			if got := r.header.Get(name); got != want {
				t.Errorf("status %d: %s is %q, want %q", r.status, name, got, want)
			}
		}
		request := r.header.Get("X-Request-Id")
		if len(request) != 36 || seen[request] {
			t.Errorf("status %d: request id %q", r.status, request)
		}
		seen[request] = true
	}
}

func TestRouting(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.wantProblem(b.send(b.bound, "GET", "/mnq/v1alpha1/regions/nl-ams/namespaces", ""), 400,
		wrong("region", "constraint", "value must be one of the regions: fr-par"))
	b.wantProblem(b.send(b.bound, "GET", alpha+"/nothing", ""), 404, missing("path", alpha+"/nothing"))
	r := b.send(b.bound, "PUT", alpha+"/namespaces", "{}")
	b.wantProblem(r, 405, `{"message":"method not allowed","type":"method_not_allowed"}`)
	if got := r.header.Get("Allow"); got != "GET, POST, PATCH" {
		t.Errorf("Allow: %q", got)
	}
	if r := b.send("", "GET", "/docs/nothing", ""); r.status != 404 {
		t.Errorf("unknown documentation file: %d", r.status)
	}
}

func TestInternalErrors(t *testing.T) {
	t.Parallel()
	b := setup(t)
	secret := "the cause"
	for kind, want := range map[mnq.Kind]int{
		mnq.Internal: 500, mnq.Unavailable: 503, mnq.Throttled: 429, mnq.QuotaExceeded: 403, mnq.Conflict: 409,
		mnq.Exists: 409, mnq.Unsupported: 501, mnq.Denied: 403, mnq.Unauthenticated: 401, mnq.Invalid: 400, mnq.NotFound: 404,
	} {
		p := b.api.render(t.Context(), "r", &mnq.Error{Kind: kind, Msg: "m", Err: errors.New(secret)}, operation{id: "v1alpha1.X", noun: "namespace"})
		text, err := json.Marshal(p)
		if err != nil || p.status != want || strings.Contains(string(text), secret) {
			t.Errorf("%s: %d %s %v", kind, p.status, text, err)
		}
	}
	if n := strings.Count(b.logged.String(), secret); n != 2 {
		t.Errorf("causes logged %d times, want once each for internal and unavailable", n)
	}
	p := b.api.render(t.Context(), "r", errors.New("plain"), operation{})
	if text, _ := json.Marshal(p); string(text) != `{"message":"internal error","type":"internal"}` {
		t.Errorf("got %s", text)
	}
}

func TestQuotaErrorsSayHowMany(t *testing.T) {
	t.Parallel()
	b := setup(t)
	err := &mnq.Error{Kind: mnq.QuotaExceeded, Msg: "delete some", Limit: 10, Used: 11}
	text, _ := json.Marshal(b.api.render(t.Context(), "r", err, operation{noun: "namespace"}))
	want := `{"message":"quota(s) exceeded for this resource","type":"quotas_exceeded",` +
		`"details":[{"resource":"namespace","quota":10,"current":11}],"help_message":"delete some"}`
	if string(text) != want {
		t.Errorf("got %s", text)
	}
}

func TestPanicBecomesAnInternalError(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.api.natsURL = func() string { panic("boom") }
	r := b.send(b.bound, "POST", beta+"/nats-accounts", fmt.Sprintf(`{"name":"n","project_id":%q}`, b.project))
	b.wantProblem(r, 500, `{"message":"internal error","type":"internal"}`)
	if !strings.Contains(b.logged.String(), "boom") {
		t.Error("the panic was not logged")
	}
}

func TestConcurrentCallers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for range 8 {
		t.Run("SucceedAlike", func(t *testing.T) {
			t.Parallel()
			b := b.in(t)
			id := b.namespace(mnq.ProtocolSQSSNS)
			b.must(b.bound, "DELETE", alpha+"/namespaces/"+id, "")
		})
	}
}

func TestNewRefusesAnEmptyConfig(t *testing.T) {
	t.Parallel()
	if _, err := New(Config{}); mnq.KindOf(err) != mnq.Invalid {
		t.Fatalf("got %v", err)
	}
}
