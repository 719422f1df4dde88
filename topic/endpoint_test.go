package topic

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// TestPasswordsOfEndpoints go to the endpoint, also after a restart, and nowhere else.
func TestPasswordsOfEndpoints(t *testing.T) {
	t.Parallel()
	onWeb(t, func(t *testing.T, b *bundle, w *web) {
		const host, url, shown = "203.0.113.1:80", "http://me:s3cr3t@203.0.113.1/hook", "http://me:****@203.0.113.1/hook"
		w.receive(host, answer(200))
		a := b.topic("a")
		sub := b.webhook(a, url)
		if again := b.pending(a, url); again.ID != sub.ID {
			t.Error("another subscription for the same endpoint")
		}
		b.restart()
		s := b.processes[0].topics
		a, err := s.Topic(b.ns, "a")
		if err != nil {
			t.Fatal(err)
		}
		w.start()
		b.publish(a, "hello")
		time.Sleep(time.Minute)
		got := w.of(host, typeNotification)
		if len(got) != 1 || got[0].header.Get("Authorization") != "Basic bWU6czNjcjN0" {
			t.Fatalf("%+v", got)
		}
		if strings.Contains(got[0].body, "s3cr3t") {
			t.Error("the password is in the message")
		}
		attrs, err := s.SubscriptionAttributes(t.Context(), b.ns, "a", sub.ID)
		if err != nil || attrs["Endpoint"] != shown {
			t.Error(attrs["Endpoint"], err)
		}
		if subs, _ := s.Subscriptions(b.ns, "a", "", 10); len(subs) != 1 || subs[0].Endpoint != shown {
			t.Error(subs)
		}
		wantNowhere(t, b.node.Control(), "s3cr3t")
	})
}

// wantNowhere fails when a text lies in a stream of the control account.
func wantNowhere(t *testing.T, js jetstream.JetStream, text string) {
	t.Helper()
	n := 0
	for name := range js.StreamNames(t.Context()).Name() {
		st, err := js.Stream(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		for seq := st.CachedInfo().State.FirstSeq; seq <= st.CachedInfo().State.LastSeq; seq++ {
			m, err := st.GetMsg(t.Context(), seq)
			if err != nil {
				continue // removed
			}
			if n++; strings.Contains(string(m.Data)+m.Subject, text) {
				t.Errorf("%s is in %s: %s %s", text, name, m.Subject, m.Data)
			}
		}
	}
	if n == 0 {
		t.Error("there was nothing to look at")
	}
}
