package console

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/openmnq/mnq"
	sqs "github.com/openmnq/mnq/queue"
	"github.com/openmnq/mnq/tenant"
)

func TestNobodySeesAnythingBeforeSignIn(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	b := newBrowser(t)
	for _, path := range []string{Prefix + "/", Prefix + "/namespaces", s.path("queues"), Prefix + "/nothing"} {
		res := b.send(httptest.NewRequestWithContext(t.Context(), http.MethodGet, site+path, nil))
		res.Body.Close()
		if res.StatusCode != http.StatusSeeOther || !strings.HasPrefix(res.Header.Get("Location"), Prefix+"/sign-in") {
			t.Errorf("%s: %d to %s", path, res.StatusCode, res.Header.Get("Location"))
		}
	}
	res := b.send(b.formRequest(s.path("queues", "x", "purge"), url.Values{"confirm": {"x"}}))
	res.Body.Close()
	if res.StatusCode != http.StatusSeeOther {
		t.Errorf("a form: %d", res.StatusCode)
	}
}

func TestEveryAnswerIsLockedDown(t *testing.T) {
	t.Parallel()
	b := newScene(t).signedIn(t, tenant.NewAPIKey{})
	for _, path := range []string{"/", "/sign-in", "/nothing", "/assets/x/y.js", "/assets/" + assetByName["app.js"].path} {
		res := b.send(httptest.NewRequestWithContext(t.Context(), http.MethodGet, site+Prefix+path, nil))
		res.Body.Close()
		h := res.Header
		if h.Get("Content-Security-Policy") != contentPolicy || h.Get("X-Content-Type-Options") != "nosniff" || h.Get("X-Frame-Options") != "DENY" {
			t.Errorf("%s: %v", path, h)
		}
		if strings.Contains(h.Get("Content-Security-Policy"), "unsafe") {
			t.Errorf("the policy allows what it must not: %s", h.Get("Content-Security-Policy"))
		}
	}
}

func TestSignIn(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	key, secret, err := shared.CreateAPIKey(t.Context(), tenant.NewAPIKey{Name: "k"})
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := shared.CreateAPIKey(t.Context(), tenant.NewAPIKey{Name: "k"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shared.CreateUser(t.Context(), tenant.NewUser{Name: "ada", Password: "correct horse battery", ReadOnly: true}); err != nil {
		t.Fatal(err)
	}
	for name, pass := range map[string]string{
		key.AccessKey: "00000000-0000-4000-8000-000000000000", other.AccessKey: secret.Reveal(), "ada": "wrong horse battery", "bob": "correct horse battery", "eve": "",
	} {
		if status, _ := b.post(Prefix+"/sign-in", url.Values{"name": {name}, "secret": {pass}}); status != http.StatusUnauthorized {
			t.Errorf("%s with %s: %d", name, pass, status)
		}
	}
	r := b.formRequest(Prefix+"/sign-in", url.Values{"name": {"ada"}, "secret": {"correct horse battery"}, "to": {Prefix + "/namespaces"}})
	res := b.send(r)
	res.Body.Close()
	if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != Prefix+"/namespaces" {
		t.Fatalf("%d to %s", res.StatusCode, res.Header.Get("Location"))
	}
	cookie := res.Header.Get("Set-Cookie")
	for _, want := range []string{"HttpOnly", "SameSite=Strict", "Path=" + Prefix, "Max-Age=43200"} {
		if !strings.Contains(cookie, want) {
			t.Errorf("the cookie is not %s: %s", want, cookie)
		}
	}
	b.want(Prefix+"/namespaces", "ada", "read-only")
	if status, page := b.post(Prefix+"/sign-out", nil); status != http.StatusOK || !strings.Contains(page, "Sign in to OpenMNQ") {
		t.Errorf("sign-out: %d", status)
	}
	if _, page := b.get(Prefix + "/"); !strings.Contains(page, "Sign in to OpenMNQ") {
		t.Error("still signed in")
	}

	r = b.formRequest(Prefix+"/sign-in", url.Values{"name": {"ada"}, "secret": {"correct horse battery"}})
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	res = b.send(r)
	res.Body.Close()
	if res.StatusCode != http.StatusForbidden || len(res.Cookies()) != 0 {
		t.Errorf("from another site: %d, %v", res.StatusCode, res.Cookies())
	}
}

func TestGuessingIsSlow(t *testing.T) {
	t.Parallel()
	b := newBrowser(t)
	var status int
	for range 30 {
		r := b.formRequest(Prefix+"/sign-in", url.Values{"name": {"SCWNOBODY"}, "secret": {"00000000-0000-4000-8000-000000000000"}})
		r.RemoteAddr = "192.0.2.77:1"
		res := b.send(r)
		res.Body.Close()
		if status = res.StatusCode; status == http.StatusTooManyRequests {
			return
		}
	}
	t.Errorf("after 30 guesses: %d", status)
}

func TestFormsNeedTheirToken(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	if _, err := queueService.Create(t.Context(), s.ns, "q", nil, nil); err != nil {
		t.Fatal(err)
	}
	b := s.signedIn(t, tenant.NewAPIKey{})
	for _, token := range []string{"", "x", "AAAAAAAAAAAAAAAAAAAAAAAAAA"} {
		status, _ := b.post(s.path("queues", "q", "delete"), url.Values{"csrf": {token}, "confirm": {"q"}})
		if status != http.StatusForbidden {
			t.Errorf("with the token %q: %d", token, status)
		}
	}
	if _, err := queueService.Queue(s.ns, "q"); err != nil {
		t.Errorf("the queue is gone: %v", err)
	}
}

// TestRoles tries what the console shows only to some, since it must not be the hiding
// that protects it.
func TestRoles(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	if _, err := queueService.Create(t.Context(), s.ns, "q", nil, nil); err != nil {
		t.Fatal(err)
	}
	reader := s.signedIn(t, tenant.NewAPIKey{ReadOnly: true, ProjectID: s.project.ID})
	reader.want(s.path("queues", "q"), "q")
	reader.want(s.path("queues", "q", "danger"), "your access is read-only")
	reader.want(Prefix+"/", "read-only")
	for path, form := range map[string]url.Values{
		s.path("queues", "q", "purge"): {"confirm": {"q"}}, s.path("queues", "q", "delete"): {"confirm": {"q"}},
		s.path("queues", "q", "send"): {"body": {"x"}}, s.path("new-queue"): {"name": {"r"}},
		s.path("queues", "q", "settings"): {"a.VisibilityTimeout": {"77"}, "step": {"save"}},
	} {
		if status, page := reader.post(path, form); status != http.StatusForbidden || !strings.Contains(page, "You may look but not do this") {
			t.Errorf("%s: %d\n%s", path, status, page)
		}
	}
	q, err := queueService.Queue(s.ns, "q")
	if err != nil {
		t.Fatal(err)
	}
	if c, err := q.Counts(t.Context()); err != nil || c.Visible != 0 {
		t.Errorf("%+v, %v", c, err)
	}

	stranger := s.signedIn(t, tenant.NewAPIKey{ProjectID: s.foreign.ID})
	for _, path := range []string{s.path(), s.path("queues"), s.path("queues", "q"), s.path("queues", "q", "messages")} {
		if status, _ := stranger.get(path); status != http.StatusNotFound {
			t.Errorf("%s: %d for a stranger", path, status)
		}
	}
	if page := stranger.want(Prefix + "/namespaces"); strings.Contains(page, s.ns.ID) {
		t.Error("a stranger sees the namespace")
	}
	stranger.want(Prefix + "/")
	if status, _ := stranger.post(s.path("queues", "q", "delete"), url.Values{"confirm": {"q"}}); status != http.StatusNotFound {
		t.Errorf("a stranger deletes: %d", status)
	}
}

// TestQueueLife makes a queue, changes it, and sends, looks and removes.
func TestQueueLife(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	b := s.signedIn(t, tenant.NewAPIKey{})
	b.want(s.path("queues"), "There is no queue yet")
	b.want(s.path("new-queue"))
	if status, _ := b.post(s.path("new-queue"), url.Values{"name": {"orders"}, "a.VisibilityTimeout": {"45"}}); status != http.StatusOK {
		t.Fatalf("%d\n%s", status, b.last)
	}
	b.says("The queue orders is ready", "mnq queue create orders -a VisibilityTimeout=45 --namespace-id "+s.ns.Account())
	if status, _ := b.post(s.path("new-queue"), url.Values{"name": {"bad name"}}); status != http.StatusBadRequest && status != http.StatusUnprocessableEntity {
		t.Errorf("a bad name: %d", status)
	}

	b.want(s.path("queues", "orders", "send"))
	b.post(s.path("queues", "orders", "send"), url.Values{
		"body": {`{"id":12345678901234567890,"a":"<script>alert(1)</script>"}`}, "an": {"kind", ""}, "at": {"String", "String"}, "av": {"tea", ""},
	})
	b.says("Sent, id ")
	page := b.want(s.path("queues", "orders", "messages"), "12345678901234567890", "kind")
	if strings.Contains(page, "<script>alert") {
		t.Error("a body is not escaped")
	}
	b.want(s.path("queues", "orders", "messages")+"?text=nothing", "Nothing matches")
	b.want(s.path("queues", "orders", "messages")+"?attribute=kind%3Dtea", "12345678901234567890")
	q, err := queueService.Queue(s.ns, "orders")
	if err != nil {
		t.Fatal(err)
	}
	if c, err := q.Counts(t.Context()); err != nil || c.Visible != 1 || c.InFlight != 0 {
		t.Errorf("after looking: %+v, %v", c, err)
	}
	got, err := q.Receive(t.Context(), sqs.Receive{Max: 1, Wait: 0, Visibility: 0})
	if err != nil || len(got) != 1 || got[0].ReceiveCount != 1 {
		t.Errorf("looking counted: %+v, %v", got, err)
	}

	b.want(s.path("queues", "orders", "settings"), `name="a.VisibilityTimeout" inputmode="numeric" value="45"`)
	b.post(s.path("queues", "orders", "settings"), url.Values{"a.VisibilityTimeout": {"60"}, "tags": {"team=shop"}})
	b.says("Is this right?", "<del>45</del>", "<ins>60</ins>", "Tag team")
	b.post(s.path("queues", "orders", "settings"), url.Values{"a.VisibilityTimeout": {"60"}, "tags": {"team=shop"}, "step": {"save"}})
	b.says("2 settings changed", "--tag team=shop")
	if attributes, _, _ := q.Settings(); attributes["VisibilityTimeout"] != "60" || q.Tags()["team"] != "shop" {
		t.Errorf("%v %v", attributes, q.Tags())
	}
	if status, _ := b.post(s.path("queues", "orders", "settings"), url.Values{"a.VisibilityTimeout": {"-1"}, "step": {"save"}, "tags": {"team=shop"}}); status != http.StatusBadRequest {
		t.Errorf("a bad value: %d", status)
	}

	if status, _ := b.post(s.path("queues", "orders", "purge"), url.Values{"confirm": {"order"}}); status != http.StatusUnprocessableEntity {
		t.Errorf("another name typed: %d", status)
	}
	b.post(s.path("queues", "orders", "purge"), url.Values{"confirm": {"orders"}})
	b.says("Purged: 1 message removed")
	b.want(s.path("queues", "orders", "danger"))
	b.post(s.path("queues", "orders", "delete"), url.Values{"confirm": {"orders"}})
	b.says("The queue orders is deleted", "There is no queue yet")
}

// TestDoneIsAudited looks for what the console did in the audit log.
func TestDoneIsAudited(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	b := s.signedIn(t, tenant.NewAPIKey{})
	b.want(s.path("new-queue"))
	b.post(s.path("new-queue"), url.Values{"name": {"audited"}})
	found, err := shared.AuditRecords(t.Context(), tenant.AuditQuery{Project: s.project.ID, Action: "CreateQueue", Max: 10})
	if err != nil || len(found.Records) != 1 || found.Records[0].Via != "console" || found.Records[0].Result != tenant.AuditOK {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestLinksLeadNowhereElse(t *testing.T) {
	t.Parallel()
	for to, want := range map[string]string{
		"":                          Prefix + "/",
		"https://evil.example":      Prefix + "/",
		"//evil.example/console/":   Prefix + "/",
		"/\\evil.example":           Prefix + "/",
		"/console/../x":             Prefix + "/",
		Prefix + "//evil.example":   Prefix + "/",
		Prefix + "/namespaces?a=b":  Prefix + "/namespaces?a=b",
		"javascript:alert(1)":       Prefix + "/",
		Prefix + "/\\evil.example/": Prefix + "/",
	} {
		if got := ownPath(to); got != want {
			t.Errorf("%q: %q, want %q", to, got, want)
		}
	}
}

// TestLibrariesAreWhatWasPublished compares the embedded files with the hashes of the
// published ones.
func TestLibrariesAreWhatWasPublished(t *testing.T) {
	t.Parallel()
	sums, err := os.ReadFile("assets/SHA256SUMS")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(sums)) {
		want, name, ok := strings.Cut(strings.TrimSpace(line), "  ")
		sum := sha256.Sum256(assetByName[name].data)
		if !ok || hex.EncodeToString(sum[:]) != want {
			t.Errorf("%s is not what %q says", name, line)
		}
		n++
	}
	if n != 3 {
		t.Errorf("%d files", n)
	}
}

// TestTemplatesHaveNothingInline: the browser would refuse it.
func TestTemplatesHaveNothingInline(t *testing.T) {
	t.Parallel()
	entries, err := templates.ReadDir("templates")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		raw, err := templates.ReadFile("templates/" + e.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{" style=", "<style", " onclick=", " onload=", " hx-on", "javascript:", "src=\"http", "href=\"http"} {
			if strings.Contains(string(raw), bad) {
				t.Errorf("%s has %s", e.Name(), bad)
			}
		}
	}
}

// TestTopicLife makes a topic, subscribes a queue to it, tries its filter, publishes and
// removes.
func TestTopicLife(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	b := s.signedIn(t, tenant.NewAPIKey{})
	q, err := queueService.Create(t.Context(), s.ns, "inbox", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	b.want(s.path("topics"), "There is no topic yet")
	b.post(s.path("topics"), url.Values{"name": {"events"}})
	b.says("The topic events is ready", "Nobody has subscribed yet")
	b.post(s.path("topics", "events", "subscriptions"), url.Values{"protocol": {"sqs"}, "endpoint": {"inbox"}, "filter": {`{"kind":["paid"]}`}, "scope": {"MessageAttributes"}, "raw": {"1"}})
	b.says("Subscribed.", "inbox", "confirmed", "mnq topic subscribe events inbox --protocol sqs --filter")
	if status, _ := b.post(s.path("topics", "events", "subscriptions"), url.Values{"protocol": {"sqs"}, "endpoint": {"inbox"}, "filter": {`{"kind":`}, "scope": {"MessageAttributes"}}); status != http.StatusBadRequest {
		t.Errorf("a broken filter: %d", status)
	}
	if status, _ := b.post(s.path("topics", "events", "confirm"), url.Values{"token": {"https://mnq.test/?Action=ConfirmSubscription&Token=nonsense"}}); status != http.StatusBadRequest {
		t.Errorf("a token that is none: %d", status)
	}

	subs, _ := topicService.Subscriptions(s.ns, "events", "", 10)
	if len(subs) != 1 {
		t.Fatalf("%+v", subs)
	}
	sub := s.path("topics", "events", "subscriptions", subs[0].ID)
	b.want(sub, "Filter tester", "paid")
	for value, want := range map[string]string{"paid": "It matches", "open": "It does not match"} {
		b.post(sub+"/test", url.Values{"policy": {`{"kind":["paid"]}`}, "scope": {"MessageAttributes"}, "an": {"kind"}, "at": {"String"}, "av": {value}})
		b.says(want)
	}
	b.want(s.path("topics", "events", "publish"))
	for _, kind := range []string{"paid", "open"} {
		b.post(s.path("topics", "events", "publish"), url.Values{"body": {"about " + kind}, "an": {"kind"}, "at": {"String"}, "av": {kind}})
		b.says("Published, id ")
	}
	got, err := q.Receive(t.Context(), sqs.Receive{Max: 10, Wait: 10 * time.Second, Visibility: -1})
	if err != nil || len(got) != 1 || got[0].Body != "about paid" {
		t.Errorf("%+v, %v", got, err)
	}
	b.want(sub)
	b.post(sub, url.Values{"a.FilterPolicy": {""}, "a.FilterPolicyScope": {"MessageAttributes"}, "a.RawMessageDelivery": {"false"}})
	b.says("attributes changed")
	b.post(sub+"/delete", nil)
	b.says("The subscription is removed", "Nobody has subscribed yet")
	b.want(s.path("topics", "events", "danger"))
	if status, _ := b.post(s.path("topics", "events", "delete"), url.Values{"confirm": {"event"}}); status != http.StatusUnprocessableEntity {
		t.Errorf("another name typed: %d", status)
	}
	b.post(s.path("topics", "events", "delete"), url.Values{"confirm": {"events"}})
	b.says("The topic events is deleted")
}

// TestCredentialLife makes, rotates and revokes credentials of each sort.
func TestCredentialLife(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	b := s.signedIn(t, tenant.NewAPIKey{ProjectID: s.project.ID})
	nats, err := shared.CreateNamespace(t.Context(), tenant.NewNamespace{Name: "n", ProjectID: s.project.ID, Protocol: mnq.ProtocolNATS})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := shared.Activate(t.Context(), s.project.ID, mnq.ServiceSQS); err != nil {
		t.Fatal(err)
	}
	for account, marks := range map[string][]string{
		s.ns.Account(): {"shown this once", "AWS_SECRET_ACCESS_KEY", "publish, receive"}, nats.Account(): {"shown this once", "BEGIN NATS USER JWT"},
		"project-" + s.project.ID: {"shown this once", "AWS_SECRET_ACCESS_KEY", "SQS"},
	} {
		path := at(Prefix+"/ns/"+account, "credentials")
		b.want(path, "There is no credential yet")
		b.post(path, url.Values{"name": {"worker"}, "publish": {"1"}, "receive": {"1"}, "service": {"sqs"}})
		b.says(marks...)
		list := func() (out []mnq.Credential) {
			for _, c := range shared.Credentials() {
				if n, err := shared.Namespace(c.NamespaceID); err == nil && n.Account() == account {
					out = append(out, c)
				}
			}
			return out
		}
		all := list()
		if len(all) != 1 || all[0].Name != "worker" {
			t.Fatalf("%s: %+v", account, all)
		}
		page := b.want(path, "worker")
		if strings.Contains(page, "shown this once") {
			t.Errorf("%s: the secret is shown again", account)
		}
		b.post(path+"/"+all[0].ID+"/rotate", nil)
		b.says("shown this once", "Revoke the old one")
		if n := list(); len(n) != 2 || n[0].Permissions != n[1].Permissions {
			t.Errorf("%s: rotated to %+v", account, n)
		}
		b.post(path+"/"+all[0].ID+"/revoke", nil)
		b.says("is revoked")
		if n := list(); len(n) != 1 || n[0].ID == all[0].ID {
			t.Errorf("%s: revoked to %+v", account, n)
		}
		b.want(at(Prefix+"/ns/"+account, "connect"), "Connect", "Java")
	}
}

// TestAdmin makes and removes projects, API keys and users.
func TestAdmin(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	b := s.signedIn(t, tenant.NewAPIKey{})
	b.want(Prefix+"/admin/projects", "Admin")
	b.post(Prefix+"/admin/projects", url.Values{"name": {"made-here"}})
	b.says("The project made-here is ready")
	b.post(Prefix+"/admin/keys", url.Values{"name": {"key-made-here"}, "project_id": {s.project.ID}, "read_only": {"1"}})
	b.says("shown this once", "mnq key create key-made-here --read-only --project-id "+s.project.ID)
	var made mnq.APIKey
	for _, k := range shared.APIKeys() {
		if k.Name == "key-made-here" {
			made = k
		}
	}
	if made.ProjectID != s.project.ID || !made.ReadOnly {
		t.Errorf("%+v", made)
	}
	b.post(Prefix+"/admin/keys/"+made.AccessKey+"/delete", nil)
	b.says("is deleted")
	b.post(Prefix+"/admin/users", url.Values{"name": {"made-here"}, "password": {"correct horse battery"}})
	b.says("The user can sign in now")
	b.post(Prefix+"/admin/users/made-here/password", url.Values{"password": {"short"}})
	b.says("password")
	b.post(Prefix+"/admin/users/made-here/password", url.Values{"password": {"another horse battery"}})
	b.says("The password of made-here is replaced")
	b.post(Prefix+"/admin/users/made-here/delete", nil)
	b.says("The user made-here is deleted")
	if status, _ := b.post(Prefix+"/admin/nonsense/x/delete", nil); status != http.StatusNotFound {
		t.Errorf("nonsense: %d", status)
	}
	b.want(Prefix+"/audit?action=CreateUser", "openmnq.CreateUser", "console")
	if status, lines := b.get(Prefix + "/audit.jsonl?action=CreateUser"); status != http.StatusOK || !strings.Contains(lines, `"action":"openmnq.CreateUser"`) {
		t.Errorf("%d %s", status, lines)
	}

	bound := s.signedIn(t, tenant.NewAPIKey{ProjectID: s.project.ID})
	bound.want(Prefix+"/admin/projects", "are made by those with full access")
	if status, _ := bound.post(Prefix+"/admin/projects", url.Values{"name": {"x"}}); status != http.StatusForbidden {
		t.Errorf("a key of one project makes a project: %d", status)
	}
}
