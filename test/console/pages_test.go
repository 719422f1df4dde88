//go:build e2e

package console

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// pages are all pages, by the name of their picture.
func (s *site) pages(t *testing.T) []struct{ name, path string } {
	t.Helper()
	topic := s.Must("GET", "/openmnq/v1/namespaces/"+s.ns+"/topics/order-events", nil)
	subs, _ := topic["subscriptions"].([]any)
	sub := ""
	for _, v := range subs {
		one, _ := v.(map[string]any)
		if one["protocol"] == "http" {
			sub, _ = one["id"].(string)
		}
	}
	ns := "/ns/" + s.ns
	return []struct{ name, path string }{
		{"overview", "/"},
		{"namespaces", "/namespaces"},
		{"namespace", ns},
		{"queues", ns + "/queues"},
		{"queue-new", ns + "/new-queue"},
		{"queue", s.queue("orders")},
		{"messages", s.queue("emails", "messages")},
		{"message", s.queue("emails", "messages", "1")},
		{"tail", s.queue("emails", "tail")},
		{"send", s.queue("emails", "send")},
		{"dead-letters", s.queue("orders-dead", "dead-letters")},
		{"settings", s.queue("orders", "settings")},
		{"danger", s.queue("orders", "danger")},
		{"topics", ns + "/topics"},
		{"topic", ns + "/topics/order-events"},
		{"publish", ns + "/topics/order-events/publish"},
		{"topic-danger", ns + "/topics/order-events/danger"},
		{"subscription", ns + "/topics/order-events/subscriptions/" + sub},
		{"tasks", ns + "/tasks"},
		{"credentials", ns + "/credentials"},
		{"connect", ns + "/connect"},
		{"nats-namespace", "/ns/" + s.nats},
		{"nats-credentials", "/ns/" + s.nats + "/credentials"},
		{"nats-connect", "/ns/" + s.nats + "/connect"},
		{"audit", "/audit"},
		{"admin", "/admin/projects"},
		{"admin-keys", "/admin/keys"},
		{"admin-users", "/admin/users"},
		{"not-found", "/nothing"},
	}
}

// TestConsole has one server and one browser for all of it.
func TestConsole(t *testing.T) { //nolint:tparallel // one after the other: they share what is in the server
	t.Parallel()
	s := start(t)
	t.Run("Pages", s.testPages)
	t.Run("Queue", s.testQueue)
	t.Run("Refresh", s.testRefresh)
	t.Run("Tail", s.testTail)
	t.Run("DeadLetters", s.testDeadLetters)
	t.Run("Hostile", s.testHostile)
	t.Run("Roles", s.testRoles)
	t.Run("Credential", s.testCredential)
	t.Run("Confirm", s.testConfirm)
	t.Run("Keys", s.testKeys)
}

// testPages opens every page in a wide and in a narrow window, light and dark. Nothing
// may stick out of a window of 360 pixels, axe-core must find no serious fault, and the
// browser must not complain. With MNQ_SCREENSHOTS it leaves pictures there.
func (s *site) testPages(t *testing.T) {
	axe, err := os.ReadFile("node_modules/axe-core/axe.min.js")
	if err != nil {
		t.Fatalf("axe-core is needed: run make test, which installs it: %v", err)
	}
	b := s.signedIn(t)
	b.expect(s.URL + "/console/nothing") // 404, as it should be
	out := os.Getenv("MNQ_SCREENSHOTS")
	for _, p := range s.pages(t) {
		b.visit(p.path)
		for _, dark := range []bool{false, true} {
			b.size(1280, 860)
			b.dark(dark)
			b.picture(out, p.name, map[bool]string{false: "light", true: "dark"}[dark])
			if p.name != "not-found" || !dark {
				b.accessible(p.name, string(axe))
			}
		}
		b.dark(false)
		b.size(360, 780)
		if wide := run(b, "width", chromedp.Evaluate[int](`document.documentElement.scrollWidth`)); wide > 360 {
			t.Errorf("%s is %d pixels wide in a window of 360", p.name, wide)
		}
		b.picture(out, p.name, "narrow")
	}
	anonymous := s.newTab(t)
	anonymous.visit("/sign-in")
	anonymous.accessible("sign-in", string(axe))
	for _, dark := range []bool{false, true} {
		anonymous.dark(dark)
		anonymous.picture(out, "sign-in", map[bool]string{false: "light", true: "dark"}[dark])
	}
	anonymous.size(360, 780)
	anonymous.picture(out, "sign-in", "narrow")
}

func (b *tab) picture(dir, name, kind string) {
	b.t.Helper()
	if dir == "" {
		return
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.t.Fatal(err)
	}
	png := run(b, "picture", chromedp.FullScreenshot(100))
	if err := os.WriteFile(filepath.Join(dir, name+"-"+kind+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// accessible runs axe-core in the page. It comes through the protocol: the page itself
// would not load it.
func (b *tab) accessible(name, axe string) {
	b.t.Helper()
	if !run(b, "axe", chromedp.Evaluate[bool](`typeof axe !== "undefined"`)) {
		run(b, "axe", chromedp.Evaluate[chromedp.Void](axe+";undefined"))
	}
	raw := run(b, "axe on "+name, chromedp.Evaluate[string](
		`axe.run({resultTypes: ["violations"]}).then((r) => JSON.stringify(r.violations.filter((v) => v.impact === "serious" || v.impact === "critical").map((v) => ({id: v.id, help: v.help, nodes: v.nodes.slice(0, 4).map((n) => n.html + " " + n.failureSummary)}))))`,
		chromedp.EvalAwaitPromise))
	var faults []struct {
		ID, Help string
		Nodes    []string
	}
	if err := json.Unmarshal([]byte(raw), &faults); err != nil {
		b.t.Fatal(err)
	}
	for _, f := range faults {
		b.t.Error(fmt.Sprintf("%s: %s (%s)\n  ", name, f.Help, f.ID) + strings.Join(f.Nodes, "\n  "))
	}
}
