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
