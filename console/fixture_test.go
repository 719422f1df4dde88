package console

import (
	"context"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server/ats"
	"go.uber.org/goleak"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/node"
	sqs "github.com/openmnq/mnq/queue"
	"github.com/openmnq/mnq/rest"
	"github.com/openmnq/mnq/tenant"
	sns "github.com/openmnq/mnq/topic"
)

// shared is what all tests of the package use; each works in projects of its own.
var (
	shared       *tenant.Directory
	queueService *sqs.Service
	topicService *sns.Service
	handler      *Console
)

func TestMain(m *testing.M) { os.Exit(runTests(m)) }

func runTests(m *testing.M) int {
	ats.Register()
	dir, err := os.MkdirTemp("", "mnq-console-")
	check(err)
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	n, err := node.New(node.Config{DataDir: dir, Fsync: node.FsyncInterval})
	check(err)
	check(n.Start(ctx))
	shared, err = tenant.New(tenant.Config{Node: n, DataDir: dir, Region: "fr-par"})
	check(err)
	check(shared.Start(ctx))
	queueService, err = sqs.New(sqs.Config{Connect: shared.Connect, Control: n.Control(), HandleKey: []byte(strings.Repeat("k", 32))})
	check(err)
	check(queueService.Start(ctx))
	here := func() string { return "http://mnq.test:9324" }
	topicService, err = sns.New(sns.Config{
		Connect: shared.Connect, Control: n.Control(), Queues: queueService, Namespace: shared.Namespace, Key: [32]byte{1}, PublicURL: here,
	})
	check(err)
	check(topicService.Start(ctx))
	nats := func() string { return "nats://mnq.test:4222" }
	api, err := rest.New(rest.Config{
		Directory: shared, Queues: queueService, Topics: topicService, Region: "fr-par", NATSEndpoint: nats, PublicURL: here, Status: n.Status,
		Support: func(context.Context) []rest.SupportFile { return nil },
	})
	check(err)
	handler, err = New(Config{Directory: shared, API: api.As, Region: "fr-par", PublicURL: here, NATSEndpoint: nats})
	check(err)

	code := m.Run()
	stop, cancelStop := context.WithTimeout(context.Background(), time.Minute)
	defer cancelStop()
	check(topicService.Stop(stop))
	check(queueService.Stop(stop))
	check(shared.Stop(stop))
	check(n.Stop(stop))
	ats.Unregister()
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

// browser is somebody with cookies, and without JavaScript.
type browser struct {
	t    *testing.T
	jar  http.CookieJar
	last string // the page that was opened last
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t: t, jar: jar}
}

const site = "http://mnq.test"

func (b *browser) send(r *http.Request) *http.Response {
	b.t.Helper()
	for _, c := range b.jar.Cookies(r.URL) {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	res := w.Result()
	b.jar.SetCookies(r.URL, res.Cookies())
	return res
}

// do sends a request and follows where it leads.
func (b *browser) do(r *http.Request) (status int, page string) {
	b.t.Helper()
	for range 5 {
		res := b.send(r)
		raw, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			b.t.Fatal(err)
		}
		to := res.Header.Get("Location")
		if to == "" {
			b.last = string(raw)
			return res.StatusCode, b.last
		}
		r = httptest.NewRequestWithContext(b.t.Context(), http.MethodGet, site+to, nil)
	}
	b.t.Fatal("it leads nowhere")
	return 0, ""
}

func (b *browser) get(path string) (status int, page string) {
	b.t.Helper()
	return b.do(httptest.NewRequestWithContext(b.t.Context(), http.MethodGet, site+path, nil))
}

// want opens a page that must be there and say something.
func (b *browser) want(path string, texts ...string) string {
	b.t.Helper()
	status, page := b.get(path)
	if status != http.StatusOK {
		b.t.Fatalf("%s: %d\n%s", path, status, page)
	}
	b.says(texts...)
	return page
}

func (b *browser) says(texts ...string) {
	b.t.Helper()
	for _, text := range texts {
		if !strings.Contains(b.last, text) {
			b.t.Errorf("the page does not say %q:\n%s", text, b.last)
		}
	}
}

var csrfField = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// post sends a form with the token of the page that was opened last.
func (b *browser) post(path string, form url.Values) (status int, page string) {
	b.t.Helper()
	if form == nil {
		form = url.Values{}
	}
	if m := csrfField.FindStringSubmatch(b.last); m != nil && !form.Has("csrf") {
		form.Set("csrf", html.UnescapeString(m[1]))
	}
	return b.do(b.formRequest(path, form))
}

func (b *browser) formRequest(path string, form url.Values) *http.Request {
	r := httptest.NewRequestWithContext(b.t.Context(), http.MethodPost, site+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return r
}

// scene is a project with a namespace, and a browser for each sort of key.
type scene struct {
	project, foreign mnq.Project
	ns, other        mnq.Namespace
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{}
	for _, p := range []struct {
		project *mnq.Project
		ns      *mnq.Namespace
	}{{&s.project, &s.ns}, {&s.foreign, &s.other}} {
		var err error
		if *p.project, err = shared.CreateProject(t.Context(), tenant.NewProject{Name: "project"}); err != nil {
			t.Fatal(err)
		}
		*p.ns, err = shared.CreateNamespace(t.Context(), tenant.NewNamespace{Name: "shop", ProjectID: p.project.ID, Protocol: mnq.ProtocolSQSSNS})
		if err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// signedIn is a browser of a new key.
func (s *scene) signedIn(t *testing.T, k tenant.NewAPIKey) *browser {
	t.Helper()
	k.Name = "test"
	key, secret, err := shared.CreateAPIKey(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	b := newBrowser(t)
	if status, page := b.post(Prefix+"/sign-in", url.Values{"name": {key.AccessKey}, "secret": {secret.Reveal()}}); status != http.StatusOK || !strings.Contains(page, "Overview") {
		t.Fatalf("sign-in: %d\n%s", status, page)
	}
	return b
}

func (s *scene) path(parts ...string) string { return at(Prefix+"/ns/"+s.ns.Account(), parts...) }
