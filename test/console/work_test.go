//go:build e2e

package console

import (
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// testQueue makes a queue, sends to it, looks, sends an edited copy, changes a setting
// and deletes it.
func (s *site) testQueue(t *testing.T) {
	b := s.signedIn(t)
	ns := "/ns/" + s.ns
	b.visit(ns + "/new-queue")
	b.fill("name", "made-in-browser")
	b.press("Create queue")
	b.says("The queue made-in-browser is ready")

	here := s.queue("made-in-browser")
	b.visit(here + "/send")
	b.fill("body", `{"big":12345678901234567890}`)
	b.do("type an attribute", chromedp.SendKeys(chromedp.CSS(`main [name="an"]`), "kind"), chromedp.SendKeys(chromedp.CSS(`main [name="av"]`), "first"))
	b.press("Send message")
	b.says("Sent, id ")
	b.visit(here + "/messages")
	b.says("12345678901234567890")
	b.visit(here + "/messages?attribute=kind%3Dfirst")
	b.says("12345678901234567890")
	b.click("main td a")
	b.says("Message 1")
	b.press("Send again, edited")
	b.fill("body", `{"big":2}`)
	b.press("Send message")
	b.visit(here + "/messages")
	b.says(`{"big":2}`)
	b.says("2 messages shown")

	b.visit(here + "/settings")
	b.fill("a.VisibilityTimeout", "77")
	b.press("Show changes")
	b.says("Is this right?")
	b.press("Save changes")
	b.says("1 setting changed")

	b.visit(here + "/danger")
	b.do("type another name", chromedp.SetValue(chromedp.CSS(`form[action$="/purge"] [name="confirm"]`), "made"))
	b.expect("422") // another name than the queue's
	b.press("Purge queue")
	b.says("Nothing was done")
	b.do("type the name", chromedp.SetValue(chromedp.CSS(`form[action$="/purge"] [name="confirm"]`), "made-in-browser"))
	b.press("Purge queue")
	b.says("Purged: 2 messages removed")
	b.visit(here + "/danger")
	b.do("type the name", chromedp.SetValue(chromedp.CSS(`form[action$="/delete"] [name="confirm"]`), "made-in-browser"))
	b.press("Delete queue")
	b.says("The queue made-in-browser is deleted")
}

// testRefresh sends while a page is open: it shows that by itself, and not while paused.
func (s *site) testRefresh(t *testing.T) {
	b := s.signedIn(t)
	path := "/openmnq/v1/namespaces/" + s.ns + "/queues"
	s.Must("POST", path, map[string]any{"name": "watched"})
	b.visit(s.queue("watched"))
	b.says("Visible\n0")
	s.Must("POST", path+"/watched/messages", map[string]any{"messages": []any{map[string]any{"body": "x"}}})
	b.says("Visible\n1")
	b.click("[data-pause]")
	b.says("Resume")
}

// testDeadLetters tries a redrive, and does it.
func (s *site) testDeadLetters(t *testing.T) {
	b := s.signedIn(t)
	b.visit(s.queue("orders-dead", "dead-letters"))
	b.says("6 dead letters of orders")
	b.fill("destination", "thumbnails")
	b.press("Dry run")
	b.says("6 messages would be moved, to thumbnails. Nothing was done.")
	b.press("Redrive all")
	b.says("The redrive has begun")
	b.says("completed")
	b.visit(s.queue("thumbnails", "messages"))
	b.says("6 messages shown")
}

// testHostile looks at a message and at names that would do harm if they were not escaped.
func (s *site) testHostile(t *testing.T) {
	b := s.signedIn(t)
	s.Must("POST", "/openmnq/v1/api-keys", map[string]any{"name": hostile})
	for _, path := range []string{s.queue("invoices", "messages"), s.queue("invoices", "messages", "1"), s.queue("invoices", "send") + "?copy=1", "/admin/keys"} {
		b.visit(path)
		b.until("the page "+path, `document.readyState === "complete"`)
		if n := run(b, "scripts", chromedp.Evaluate[int](`document.querySelectorAll("main script, main img[src='x']").length`)); n != 0 {
			t.Errorf("%s: %d elements were smuggled in", path, n)
		}
		if raw := run(b, "the page", chromedp.OuterHTML(chromedp.CSS("main"))); strings.Contains(raw, `<img src=x`) {
			t.Errorf("%s has the text as it is", path)
		}
	}
	b.visit(s.queue("invoices", "messages", "1"))
	b.says(`<script>alert("xss")</script>`)
}

// testRoles signs a user in who may only look, and posts what the page does not offer.
func (s *site) testRoles(t *testing.T) {
	b := s.newTab(t)
	b.signIn("reader", "correct horse battery")
	b.says("read-only")
	b.visit(s.queue("emails", "danger"))
	b.says("your access is read-only")
	b.lacks("Purge queue")
	b.expect("403") // what the test asks for
	post := func(csrf string) int {
		return run(b, "post", chromedp.Evaluate[int](`fetch("/console`+s.queue("emails", "purge")+`", {method: "POST", headers: {"Content-Type": "application/x-www-form-urlencoded"},
			body: new URLSearchParams({confirm: "emails", csrf: `+csrf+`})}).then((r) => r.status)`, chromedp.EvalAwaitPromise))
	}
	if got := post(`document.querySelector("[name=csrf]").value`); got != 403 {
		t.Errorf("a reader purges: %d", got)
	}
	admin := s.signedIn(t)
	admin.visit(s.queue("emails"))
	admin.expect("403")
	if got := run(admin, "post", chromedp.Evaluate[int](`fetch("/console`+s.queue("emails", "purge")+`", {method: "POST", headers: {"Content-Type": "application/x-www-form-urlencoded"},
		body: new URLSearchParams({confirm: "emails", csrf: "x"})}).then((r) => r.status)`, chromedp.EvalAwaitPromise)); got != 403 {
		t.Errorf("a form without its token: %d", got)
	}
	admin.says("Visible\n8")
}

// testCredential makes a credential and a file of it.
func (s *site) testCredential(t *testing.T) {
	b := s.signedIn(t)
	b.visit("/ns/" + s.ns + "/credentials")
	b.fill("name", "from-browser")
	b.press("Create credential")
	b.says("It is shown this once.")
	b.tap("Download mnq.env")
	b.visit("/ns/" + s.ns + "/credentials")
	b.says("from-browser")
	b.lacks("shown this once")
}

// tap clicks a button that leads to no page.
func (b *tab) tap(text string) {
	b.t.Helper()
	if !run(b, "press "+text, chromedp.Evaluate[bool](`(() => {
		const e = Array.from(document.querySelectorAll("main button")).find((e) => e.textContent.trim() === `+quoted(text)+` && !e.hidden);
		if (e) e.click();
		return Boolean(e);
	})()`)) {
		b.t.Fatalf("there is no button %q\n%s", text, b.text())
	}
}

// testConfirm confirms a subscription with the token that its endpoint was sent.
func (s *site) testConfirm(t *testing.T) {
	b := s.signedIn(t)
	var token string
	select {
	case token = <-s.tokens:
	case <-time.After(patience):
		t.Fatal("the endpoint was never asked to confirm")
	}
	b.visit("/ns/" + s.ns + "/topics/order-events")
	b.says("not confirmed")
	b.fill("token", token)
	b.press("Confirm subscription")
	b.says("The subscription is confirmed.")
	b.lacks("not confirmed")
}

// testKeys goes to pages with the keyboard, and changes the theme.
func (s *site) testKeys(t *testing.T) {
	b := s.signedIn(t)
	b.visit("/ns/" + s.ns)
	b.do("g q", chromedp.KeyEvent("g"), chromedp.KeyEvent("q"))
	b.says("Part of the name")
	b.do("/", chromedp.KeyEvent("/"))
	b.until("the search", `document.activeElement.name === "q"`)
	b.fill("q", "pay")
	b.press("Filter")
	b.says("payments.fifo")
	b.until("a short list", `document.querySelectorAll("tbody tr").length === 1`)
	b.click(".theme button")
	b.until("dark", `document.documentElement.dataset.theme === "dark"`)
}

// testTail follows a queue while something hostile is sent to it, and looks for the
// charts.
func (s *site) testTail(t *testing.T) {
	b := s.signedIn(t)
	path := "/openmnq/v1/namespaces/" + s.ns + "/queues"
	s.Must("POST", path, map[string]any{"name": "followed"})
	b.visit(s.queue("followed", "tail"))
	b.says("Following, 0 so far.")
	s.Must("POST", path+"/followed/messages", map[string]any{"messages": []any{map[string]any{"body": hostile}}})
	b.says("Following, 1 so far.")
	b.says(`<script>alert("xss")</script>`)
	if n := run(b, "elements", chromedp.Evaluate[int](`document.querySelectorAll("main script, main img").length`)); n != 0 {
		t.Errorf("%d elements were smuggled in", n)
	}
	b.visit(s.queue("followed") + "?range=24h")
	b.until("charts", `document.querySelectorAll(".plot canvas").length === 4`)
}
