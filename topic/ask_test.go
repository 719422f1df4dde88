package topic

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/openmnq/mnq"
)

// linkOf reads the confirmation that stands in a link.
func linkOf(t *testing.T, body string) Confirmation {
	t.Helper()
	link, _ := parseBody(t, body)["SubscribeURL"].(string)
	u, err := url.Parse(link)
	if err != nil || u.Query().Get("Action") != "ConfirmSubscription" || !strings.HasPrefix(link, "http://mnq.test/?") {
		t.Fatalf("link %q, %v", link, err)
	}
	return Confirmation{TopicARN: u.Query().Get("TopicArn"), Token: u.Query().Get("Token")}
}

func (b *bundle) pending(t *Topic, url string, attrs ...string) Subscription {
	b.t.Helper()
	protocol, _, _ := strings.Cut(url, "://")
	sub, err := t.Subscribe(context.Background(), b.ns, NewSubscription{Protocol: protocol, Endpoint: url, Attributes: pairs(attrs)})
	if err != nil {
		b.t.Fatal(err)
	}
	return sub
}

// TestConfirmationOverHTTP: an endpoint gets nothing but the request to confirm before
// it has confirmed, and then what is published from then on.
func TestConfirmationOverHTTP(t *testing.T) {
	t.Parallel()
	onWeb(t, func(t *testing.T, b *bundle, w *web) {
		const host = "203.0.113.1:80"
		w.receive(host, answer(200))
		a := b.topic("a")
		sub := b.pending(a, "http://203.0.113.1/hook")
		b.publish(a, "too early")
		time.Sleep(time.Minute)
		all := w.of(host, "")
		if len(all) != 1 {
			t.Fatalf("%d requests", len(all))
		}
		ask := all[0]
		body := parseBody(t, ask.body)
		wantHeader(t, ask, typeSubscribed, body["MessageId"].(string), a.ARN(b.ns), "", "text/plain; charset=UTF-8")
		checkSignature(t, a.svc, body, "1", "Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
		token, _ := body["Token"].(string)
		if len(token) != 288 || !strings.HasPrefix(token, "51b2ff3e") || token != linkOf(t, ask.body).Token {
			t.Errorf("token %q", token)
		}
		confirmed, err := a.svc.ConfirmLink(t.Context(), linkOf(t, ask.body))
		if err != nil || confirmed.Pending || confirmed.ID != sub.ID {
			t.Fatal(confirmed, err)
		}
		b.publish(a, "now")
		time.Sleep(time.Minute)
		got := w.of(host, typeNotification)
		if len(got) != 1 || parseBody(t, got[0].body)["Message"] != "now" {
			t.Errorf("%+v", got)
		}
	})
}

// TestConfirmationIsAskedForAgain: by each Subscribe while it is pending, and by
// retries, whose number nobody but us decides.
func TestConfirmationIsAskedForAgain(t *testing.T) {
	t.Parallel()
	onWeb(t, func(t *testing.T, b *bundle, w *web) {
		const host = "203.0.113.1:80"
		w.receive(host, answer(500))
		a := b.topic("a")
		w.start()
		many := `{"healthyRetryPolicy":{"numRetries":100,"numNoDelayRetries":100}}`
		b.pending(a, "http://203.0.113.1/hook", attrDelivery, many)
		time.Sleep(10 * time.Minute)
		var times []time.Duration
		for _, r := range w.of(host, typeSubscribed) {
			times = append(times, r.after)
		}
		if !near(times, seconds(0, 20, 40, 60)) {
			t.Errorf("asked after %v", times)
		}
		w.receive(host, answer(200))
		w.start()
		b.pending(a, "http://203.0.113.1/hook", attrDelivery, many)
		time.Sleep(10 * time.Minute)
		got := w.of(host, typeSubscribed)
		if len(got) != 1 {
			t.Fatalf("asked %d times", len(got))
		}
		if _, err := a.svc.ConfirmLink(t.Context(), linkOf(t, got[0].body)); err != nil {
			t.Fatal(err)
		}
		b.pending(a, "http://203.0.113.1/hook", attrDelivery, many)
		time.Sleep(10 * time.Minute)
		if n := len(w.of(host, typeSubscribed)); n != 1 {
			t.Errorf("asked again though it was confirmed")
		}
	})
}

// TestSubscribeCannotFlood: one host is asked ten times at once and then once a second,
// and what would have to wait for more than a minute is refused and changes nothing.
func TestSubscribeCannotFlood(t *testing.T) {
	t.Parallel()
	onWeb(t, func(t *testing.T, b *bundle, w *web) {
		b.ns.Quota.Subscriptions = -1
		const host, other = "203.0.113.1:80", "203.0.113.2:80"
		w.receive(host, answer(200))
		w.receive(other, answer(200))
		a := b.topic("a")
		w.start()
		refused := 0
		for i := range 100 {
			_, err := a.Subscribe(t.Context(), b.ns, NewSubscription{Protocol: "http", Endpoint: fmt.Sprint("http://203.0.113.1/", i)})
			if e, ok := errors.AsType[*mnq.Error](err); ok && e.Kind == mnq.Throttled && e.Code == "Throttled" {
				refused++
			} else if err != nil {
				t.Fatal(err)
			}
		}
		subs, _ := a.svc.Subscriptions(b.ns, "a", "", 1000)
		if refused != 30 || len(subs) != 70 {
			t.Errorf("%d refused, %d subscriptions", refused, len(subs))
		}
		b.pending(a, "http://203.0.113.2/")
		time.Sleep(10 * time.Minute)
		if got := w.of(other, typeSubscribed); len(got) != 1 || got[0].after > 5*time.Second { // the account waits a little too
			t.Errorf("another host: %+v", got)
		}
		got := w.of(host, typeSubscribed)
		if len(got) != 70 {
			t.Fatalf("asked %d times", len(got))
		}
		if n := len(w.of(host, "")); n != 70 {
			t.Errorf("%d requests in all", n)
		}
		for i, r := range got {
			if most := 10 + int(r.after/time.Second); i+1 > most {
				t.Errorf("asked %d times after %s", i+1, r.after)
			}
		}
	})
}

func TestAskLimits(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	public, home := netip.MustParseAddr("8.8.8.8"), netip.MustParseAddr("127.0.0.1")
	turns := func(l *askLimits, n int, namespace func(int) string, to func(int) target) (last time.Duration, refused int) {
		for i := range n {
			at, err := l.turn(namespace(i), to(i), now)
			if err != nil {
				refused++
				continue
			}
			last = max(last, at.Sub(now))
		}
		return last, refused
	}
	one := func(int) string { return "n" }
	each := func(i int) string { return fmt.Sprint("n", i) }
	for name, c := range map[string]struct {
		namespace func(int) string
		to        func(int) target
		last      time.Duration
		refused   int
	}{
		"OneHost":            {each, func(int) target { return target{host: "a:80"} }, time.Minute, 930},
		"ManyNamesOfOneHost": {each, func(i int) target { return target{host: fmt.Sprint(i, ".a:80"), addrs: []netip.Addr{public}} }, time.Minute, 860},
		"ManyHosts":          {one, func(i int) target { return target{host: fmt.Sprint(i, ".a:80")} }, time.Minute, 650},
		"ThisMachine":        {one, func(int) target { return target{host: "localhost:80", addrs: []netip.Addr{home}} }, 0, 0},
		"NotOnlyThisMachine": {each, func(int) target { return target{host: "b:80", addrs: []netip.Addr{home, public}} }, time.Minute, 930},
	} {
		l := newAskLimits()
		if last, refused := turns(l, 1000, c.namespace, c.to); last != c.last || refused != c.refused {
			t.Errorf("%s: the last turn in %s, %d refused", name, last, refused)
		}
	}
	l := newAskLimits()
	for i := range 5 * askLimiters {
		now = now.Add(time.Second)
		if _, err := l.turn("n", target{host: strconv.Itoa(i), addrs: []netip.Addr{public}}, now); err != nil {
			t.Fatal(err)
		}
	}
	if len(l.hosts) > askLimiters+1 {
		t.Errorf("%d hosts are remembered", len(l.hosts))
	}
}

// TestUnsubscribeConfirmation: the endpoint is told, and its link brings the
// subscription back, for what is published from then on.
func TestUnsubscribeConfirmation(t *testing.T) {
	t.Parallel()
	onWeb(t, func(t *testing.T, b *bundle, w *web) {
		const host = "203.0.113.1:80"
		w.receive(host, answer(200))
		a := b.topic("a", attrSignature, "2")
		sub := b.webhook(a, "http://203.0.113.1/hook")
		time.Sleep(10 * time.Minute)
		w.start()
		if err := a.svc.UnsubscribeLink(t.Context(), sub.ARN()); err != nil {
			t.Fatal(err)
		}
		b.publish(a, "for nobody")
		time.Sleep(time.Minute)
		all := w.of(host, "")
		if len(all) != 1 {
			t.Fatalf("%+v", all)
		}
		body := parseBody(t, all[0].body)
		wantHeader(t, all[0], typeUnsubscribed, body["MessageId"].(string), a.ARN(b.ns), sub.ARN(), "text/plain; charset=UTF-8")
		checkSignature(t, a.svc, body, "2", "Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type")
		if subs, _ := a.svc.Subscriptions(b.ns, "a", "", 10); len(subs) != 0 {
			t.Errorf("still listed: %v", subs)
		}
		back, err := a.svc.ConfirmLink(t.Context(), linkOf(t, all[0].body))
		if err != nil || back.ID != sub.ID || back.Pending {
			t.Fatal(back, err)
		}
		b.publish(a, "again")
		time.Sleep(time.Minute)
		if got := w.of(host, typeNotification); len(got) != 1 || parseBody(t, got[0].body)["Message"] != "again" {
			t.Errorf("%+v", got)
		}
	})
}

// TestSubscriptionsThatNobodyConfirmsExpire with their token, and so do removed ones.
func TestSubscriptionsThatNobodyConfirmsExpire(t *testing.T) {
	t.Parallel()
	onWeb(t, func(t *testing.T, b *bundle, w *web) {
		w.receive("203.0.113.1:80", answer(200))
		b.process()
		a := b.topic("a")
		b.pending(a, "http://203.0.113.1/pending")
		removed, kept := b.webhook(a, "http://203.0.113.1/removed"), b.webhook(a, "http://203.0.113.1/kept")
		if err := a.svc.Unsubscribe(t.Context(), b.ns, "a", removed.ID); err != nil {
			t.Fatal(err)
		}
		over := time.Now().Add(tokenLife)
		a.svc.expireSubscriptions(t.Context(), over.Add(-time.Minute))
		if n := len(a.svc.subscribers(a.id)); n != 3 {
			t.Errorf("%d subscriptions before the time is up", n)
		}
		a.svc.expireSubscriptions(t.Context(), over.Add(time.Minute))
		if subs := a.svc.subscribers(a.id); len(subs) != 1 || subs[0].ID != kept.ID {
			t.Errorf("%d subscriptions are left", len(subs))
		}
		time.Sleep(10 * time.Minute)
		for i, p := range b.processes {
			if n := p.topics.deliveries.count(); n != 1 {
				t.Errorf("%d sources in process %d", n, i)
			}
		}
	})
}

// count is how many subscriptions are delivered to.
func (d *deliveries) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.sources)
}
