//go:build e2e

// Package console drives the web console with a real browser.
package console

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	cdlog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	cdruntime "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/openmnq/mnq/internal/mnqtest"
)

// patience is for one step of a browser on a busy machine.
const patience = 60 * time.Second

// site is a server with something in it, and a browser.
type site struct {
	*mnqtest.Process

	browser context.Context
	key     string // access key of the first API key
	ns      string // an SQS/SNS namespace
	nats    string // a NATS namespace
	tokens  chan string
}

// tab is a window of its own, with cookies of its own.
type tab struct {
	t    *testing.T
	s    *site
	ctx  context.Context
	mu   sync.Mutex
	bad  []string
	mine []string // errors in the console that the test brings about
}

// newTab opens a window; at the end of the test it must not have complained, nor have
// asked anybody else for anything.
func (s *site) newTab(t *testing.T) *tab {
	t.Helper()
	b := &tab{t: t, s: s}
	ctx, cancel := chromedp.NewContext(s.browser, chromedp.WithNewBrowserContext(), chromedp.WithListener(b.hear))
	t.Cleanup(cancel)
	b.ctx = ctx
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, text := range b.bad {
			t.Errorf("the browser complains: %s", text)
		}
	})
	if err := chromedp.Do(ctx); err != nil { // with this context: the window lasts as long as it
		t.Fatal(err)
	}
	b.size(1280, 900)
	return b
}

func (b *tab) hear(ev any) {
	var text string
	switch ev := ev.(type) {
	case *cdruntime.EventConsoleAPICalled:
		if ev.Type == "error" || ev.Type == "warning" {
			raw, _ := json.Marshal(ev.Args) // it came as JSON
			text = string(ev.Type) + ": " + string(raw)
		}
	case *cdruntime.EventExceptionThrown:
		raw, _ := json.Marshal(ev.ExceptionDetails)
		text = "exception: " + string(raw)
	case *cdlog.EventEntryAdded:
		if ev.Entry.Level == "error" || ev.Entry.Level == "warning" {
			text = fmt.Sprintf("%s: %s %s", ev.Entry.Level, ev.Entry.Text, ev.Entry.URL)
		}
	case *network.EventRequestWillBeSent:
		if u := ev.Request.URL; !strings.HasPrefix(u, b.s.URL+"/console") && !strings.HasPrefix(u, "blob:") && !strings.HasPrefix(u, "data:image/svg") { // icons of the browser's own controls
			text = "a request to " + u
		}
	case *page.EventJavascriptDialogOpening:
		text = "a dialog: " + ev.Message
	}
	if text == "" {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, expected := range b.mine {
		if strings.Contains(text, expected) {
			return
		}
	}
	b.bad = append(b.bad, text)
}

// expect says that something the browser complains of is what the test wants.
func (b *tab) expect(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mine = append(b.mine, text)
}

func (b *tab) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%s: %v\n%s", what, err, b.text())
	}
}

func run[T any](b *tab, what string, a chromedp.Action[T]) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, a)
	if err != nil {
		b.t.Fatalf("%s: %v", what, err)
	}
	return v
}

// text is what the page says, for error messages.
func (b *tab) text() string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(b.ctx), 5*time.Second)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[string](`document.body ? document.body.innerText : ""`))
	if err != nil {
		return err.Error()
	}
	return v
}

func (b *tab) size(width, height int64) {
	b.t.Helper()
	b.do("size", chromedp.EmulateViewport(width, height))
}

// dark makes the system of the browser prefer dark colors, or not.
func (b *tab) dark(on bool) {
	b.t.Helper()
	value := "light"
	if on {
		value = "dark"
	}
	b.do("dark", chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: value}},
		})
		return err
	}))
}

func (b *tab) visit(path string) {
	b.t.Helper()
	b.do("visit "+path, chromedp.Navigate(b.s.URL+"/console"+path))
}

// until waits until an expression is true in the page, whatever pages come meanwhile.
func (b *tab) until(what, expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool](`Boolean(`+expression+`)`))
		if err == nil && ok {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			b.t.Fatalf("%s: it never came: %v\n%s", what, err, b.text())
		}
	}
}

func quoted(text string) string {
	raw, _ := json.Marshal(text) // a text always encodes
	return string(raw)
}

// says waits until the page holds a text and is there with its scripts.
func (b *tab) says(text string) {
	b.t.Helper()
	b.until("the text "+text, `document.readyState === "complete" && document.body.innerText.includes(`+quoted(text)+`)`)
}

func (b *tab) lacks(text string) {
	b.t.Helper()
	if strings.Contains(b.text(), text) {
		b.t.Errorf("the page says %q", text)
	}
}

func (b *tab) click(selector string) {
	b.t.Helper()
	b.do("click "+selector, chromedp.Click(chromedp.CSS(selector)))
}

// press clicks the button or link with a text, and waits for the page that comes.
func (b *tab) press(text string) {
	b.t.Helper()
	found := run(b, "press "+text, chromedp.Evaluate[bool](`(() => {
		document.documentElement.dataset.old = "1";
		const e = Array.from(document.querySelectorAll("main button, main a, main summary")).find((e) => e.textContent.trim() === `+quoted(text)+` && !e.hidden);
		if (e) setTimeout(() => e.click());
		return Boolean(e);
	})()`))
	if !found {
		b.t.Fatalf("there is no button %q\n%s", text, b.text())
	}
	b.until("the page after "+text, `document.readyState === "complete" && !document.documentElement.dataset.old`)
}

func (b *tab) fill(name, value string) {
	b.t.Helper()
	b.do("fill "+name, chromedp.SetValue(chromedp.CSS(`main [name="`+name+`"]`), value))
}

// signIn signs in with an API key or a user's password.
func (b *tab) signIn(name, secret string) {
	b.t.Helper()
	b.visit("/sign-in")
	b.fill("name", name)
	b.fill("secret", secret)
	b.press("Sign in")
}

// signedIn is a window in which the first API key has signed in.
func (s *site) signedIn(t *testing.T) *tab {
	t.Helper()
	b := s.newTab(t)
	b.signIn(s.key, s.Secret)
	b.says("Overview")
	return b
}

// start starts the server, fills it, and starts the browser.
func start(t *testing.T) *site {
	t.Helper()
	s := &site{Process: mnqtest.Start(t, mnqtest.Options{Args: []string{"--fsync", "interval", "--egress-allow", "127.0.0.0/8"}})}
	s.key = s.Env["SCW_ACCESS_KEY"]
	s.fill(t)

	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.UserDataDir(t.TempDir()),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(patience),
	)
	allocator, stopAllocator := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stopAllocator)
	ctx, stop := chromedp.NewContext(allocator)
	t.Cleanup(stop)
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil {
		t.Fatalf("chromium does not start; make test installs it: %v", err)
	}
	s.browser = ctx
	return s
}

// hostile is a text that does harm wherever it is not escaped.
const hostile = `<img src=x onerror="alert('xss')"><script>alert("xss")</script>"'></textarea></title>{{.CSRF}}`

// hook is a web server that takes what topics deliver. It sends the token of a
// confirmation on.
func (s *site) hook(t *testing.T) string {
	t.Helper()
	s.tokens = make(chan string, 16)
	h := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var in struct{ Type, Token string }
		if json.NewDecoder(r.Body).Decode(&in) == nil && in.Token != "" {
			select {
			case s.tokens <- in.Token:
			default:
			}
		}
	}))
	t.Cleanup(h.Close)
	return h.URL
}

// fill puts into the server what pages show.
func (s *site) fill(t *testing.T) {
	t.Helper()
	own := "/openmnq/v1/namespaces/"
	s.ns, s.nats = s.Namespace("shop", "sqs_sns"), s.Namespace("telemetry", "nats")
	queue := func(name string, attributes map[string]string) {
		s.Must("POST", own+s.ns+"/queues", map[string]any{"name": name, "attributes": attributes})
	}
	queue("orders-dead", nil)
	arn := "arn:scw:sqs:fr-par:" + s.ns + ":orders-dead"
	queue("orders", map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"` + arn + `","maxReceiveCount":1}`, "VisibilityTimeout": "0"})
	for _, name := range []string{"emails", "invoices", "stock-updates", "thumbnails", "search-index", "payments.fifo"} {
		queue(name, nil)
	}
	send := func(name string, messages ...map[string]any) {
		s.Must("POST", own+s.ns+"/queues/"+name+"/messages", map[string]any{"messages": messages})
	}
	text := func(v string) map[string]any { return map[string]any{"data_type": "String", "string_value": v} }
	for i := range 6 {
		send("orders", map[string]any{
			"body":       fmt.Sprintf(`{"order":%d,"customer":"c-%03d","total":"%d.90","items":[{"sku":"tea-%d","n":2}],"number":12345678901234567890}`, 1000+i, 40+i, 20+i, i),
			"attributes": map[string]any{"kind": text("order"), "tier": text([]string{"gold", "silver"}[i%2])},
		})
	}
	for range 4 { // the second receive makes dead letters of what was received once
		s.Must("POST", own+s.ns+"/queues/orders/receive", map[string]any{"max": 3, "visibility_timeout": 0})
	}
	for i := range 8 {
		send("emails", map[string]any{"body": fmt.Sprintf(`{"to":"customer-%d@example.com","template":"receipt"}`, i), "attributes": map[string]any{"template": text("receipt")}})
		send("stock-updates", map[string]any{"body": fmt.Sprintf(`{"sku":"tea-%d","delta":-1}`, i), "delay_seconds": 600 * (i % 2)})
		send("payments.fifo", map[string]any{"body": fmt.Sprintf(`{"payment":%d}`, i), "group_id": fmt.Sprintf("customer-%d", i%3), "deduplication_id": fmt.Sprintf("p-%d", i)})
	}
	send("invoices", map[string]any{"body": hostile, "attributes": map[string]any{"note": text(hostile)}})
	s.Must("POST", own+s.ns+"/topics", map[string]any{"name": "order-events", "tags": map[string]string{"team": "shop"}})
	s.Must("POST", own+s.ns+"/topics", map[string]any{"name": "audit.fifo"})
	for name, policy := range map[string]string{"emails": `{"kind":["paid"]}`, "search-index": ""} {
		attributes := map[string]string{}
		if policy != "" {
			attributes["FilterPolicy"] = policy
		}
		s.Must("POST", own+s.ns+"/topics/order-events/subscriptions", map[string]any{"protocol": "sqs", "endpoint": name, "attributes": attributes})
	}
	s.Must("POST", own+s.ns+"/topics/order-events/subscriptions", map[string]any{"protocol": "http", "endpoint": s.hook(t) + "/orders"})
	s.Keys(s.ns, "publish,receive")
	s.Creds(s.nats)
	s.Must("POST", "/openmnq/v1/users", map[string]any{"name": "ada@example.com", "password": "correct horse battery"})
	s.Must("POST", "/openmnq/v1/users", map[string]any{"name": "reader", "password": "correct horse battery", "read_only": true})
}

func (s *site) queue(name string, more ...string) string {
	path := "/ns/" + s.ns + "/queues/" + url.PathEscape(name)
	for _, m := range more {
		path += "/" + m
	}
	return path
}
