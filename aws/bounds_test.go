package aws

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	sdkaws "github.com/aws/aws-sdk-go-v2/aws"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/service"
)

// bounded is a front door with bounds.
func bounded(t testing.TB, cfg service.BoundsConfig) *bundle {
	t.Helper()
	b := setup(t)
	b.h.cfg.Bounds = service.NewBounds(cfg)
	return b
}

// asked is what an unknown operation is answered, signed with that key and secret. It
// gets as far as the operation does.
func (b *bundle) asked(t testing.TB, w wire, key, secret string) answer {
	t.Helper()
	creds := sdkaws.Credentials{AccessKeyID: key, SecretAccessKey: secret}
	return b.serve(signAs(t, w.request(t, "NoSuchThing", nil), creds, w.scope, testNow))
}

func TestRatesThrottleInEveryProtocol(t *testing.T) { //nolint:paralleltest // a bubble's clock is its own
	synctest.Test(t, func(t *testing.T) {
		for _, tc := range []struct {
			w      wire
			code   string
			status int
		}{{wires[0], "RequestThrottled", 403}, {wires[1], "RequestThrottled", 403}, {snsWire, "Throttling", 400}} {
			b := bounded(t, service.BoundsConfig{CredentialRate: 2, NamespaceRate: 3})
			b.grant("ANOTHER", b.ns, mnq.Permissions{CanManage: true})
			other := b.ns
			other.ID = "A" + strings.Repeat("B", 55)
			b.grant("ELSEWHERE", other, mnq.Permissions{CanManage: true})
			passed := func(key string) (n int) {
				for {
					a := b.asked(t, tc.w, key, "secret of "+key)
					if a.code == tc.code && a.status == tc.status {
						return n
					}
					if a.code != "InvalidAction" {
						t.Fatalf("%s %s: %d %s %s", tc.w.name, key, a.status, a.code, a.msg)
					}
					n++
				}
			}
			if n := passed(testKey); n != 4 {
				t.Errorf("%s: %d requests of a key passed, want 4", tc.w.name, n)
			}
			if n := passed("ANOTHER"); n != 2 {
				t.Errorf("%s: %d requests of another key of the namespace passed, want 2", tc.w.name, n)
			}
			if n := passed("ELSEWHERE"); n != 4 {
				t.Errorf("%s: %d requests of another namespace passed, want 4", tc.w.name, n)
			}
			time.Sleep(time.Second)
			if n := passed(testKey); n != 2 {
				t.Errorf("%s: %d requests passed a second later, want 2", tc.w.name, n)
			}
		}
	})
}

func TestWhoKeepsFailingIsTurnedAwayUnseen(t *testing.T) { //nolint:paralleltest // a bubble's clock is its own
	synctest.Test(t, func(t *testing.T) {
		w := wires[0]
		b := bounded(t, service.BoundsConfig{AuthFailures: 1})
		b.grant("NEIGHBOUR", b.ns, mnq.Permissions{CanManage: true})
		failing := func(key, code string) {
			t.Helper()
			for i := range 10 {
				if a := b.asked(t, w, key, "wrong"); a.code != code {
					t.Fatalf("%s %d: %s", key, i, a.code)
				}
			}
			if a := b.asked(t, w, key, "wrong"); a.code != "RequestThrottled" {
				t.Errorf("%s: %s after ten failures", key, a.code)
			}
		}
		failing("NOBODY", "InvalidClientTokenId")
		if a := b.asked(t, w, "SOMEBODY", "wrong"); a.code != "RequestThrottled" {
			t.Errorf("another unknown key from there: %s", a.code)
		}
		failing(testKey, "SignatureDoesNotMatch")
		if a := b.asked(t, w, testKey, "secret of "+testKey); a.code != "RequestThrottled" {
			t.Errorf("the signature was looked at: %s", a.code)
		}
		if a := b.asked(t, w, "NEIGHBOUR", "secret of NEIGHBOUR"); a.code != "InvalidAction" {
			t.Errorf("a good key behind the same proxy: %s", a.code)
		}
		time.Sleep(time.Second)
		if a := b.asked(t, w, testKey, "secret of "+testKey); a.code != "InvalidAction" {
			t.Errorf("a second later: %s", a.code)
		}
	})
}

func TestTooMuchAtOnceIsShed(t *testing.T) {
	t.Parallel()
	for _, w := range []wire{wires[0], wires[1], snsWire} {
		b := bounded(t, service.BoundsConfig{InFlight: 1, BodyBytes: 10 << 10})
		leave, _ := b.h.cfg.Bounds.Enter()
		code := "RequestThrottled"
		if w.scope == "sns" {
			code = "Throttling"
		}
		rec := httptest.NewRecorder()
		b.h.ServeHTTP(rec, sign(t, w.request(t, "NoSuchThing", nil), testKey, testNow))
		if a := readAnswer(rec); a.code != code || rec.Header().Get("Retry-After") != "1" {
			t.Errorf("%s: %d %s, Retry-After %q", w.name, a.status, a.code, rec.Header().Get("Retry-After"))
		}
		leave()
		for range 3 { // each gives back what it takes
			if a := b.asked(t, w, testKey, "secret of "+testKey); a.code != "InvalidAction" {
				t.Errorf("%s: %s afterwards", w.name, a.code)
			}
		}
		long := strings.NewReader("Action=NoSuchThing&Version=2012-11-05&x=" + strings.Repeat("x", 8<<10))
		free, _ := b.h.cfg.Bounds.Body(8 << 10)
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://mq.test/", long)
		a := b.serve(sign(t, r, testKey, testNow))
		if left, err := io.ReadAll(r.Body); err != nil || a.code != "RequestThrottled" || len(left) < 8<<10 {
			t.Errorf("%s: %s for one body too many, %d bytes of it left unread", w.name, a.code, len(left))
		}
		free()
	}
}

func TestALongPollThatWaitsIsNotBeingWorkedOn(t *testing.T) {
	t.Parallel()
	i := install(t, func(c *Config) { c.Bounds = service.NewBounds(service.BoundsConfig{InFlight: 1}) })
	c := i.tenant(t, wires[0])
	url := c.create(t, "q", nil)
	done := make(chan struct{})
	go func() {
		defer close(done)
		do[receiveMessageOutput](t, c, "ReceiveMessage", &receiveMessageInput{QueueUrl: url, WaitTimeSeconds: new(integer(20))})
	}()
	for i.h.polls.Load() == 0 || i.h.cfg.Bounds.InFlight() > 0 {
		<-time.After(time.Millisecond)
	}
	do[sendMessageOutput](t, c, "SendMessage", &sendMessageInput{QueueUrl: url, MessageBody: "x"})
	<-done
	if n := i.h.cfg.Bounds.InFlight(); n != 0 {
		t.Errorf("%d in flight afterwards", n)
	}
}
