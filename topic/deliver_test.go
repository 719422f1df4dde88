package topic

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/openmnq/mnq/queue"
)

// TestMisbehavingReceivers checks for each kind of receiver when it is tried, and what
// becomes of the message. The default policy is three retries, 20 s apart.
func TestMisbehavingReceivers(t *testing.T) {
	t.Parallel()
	const host = "203.0.113.1:80"
	fourTimes := seconds(0, 20, 40, 60)
	for _, c := range []struct {
		name    string
		receive http.HandlerFunc
		raw     func(net.Conn) // instead
		times   []time.Duration
		class   string // of each attempt that failed
		status  int
		dead    time.Duration // when it is in the dead-letter queue; 0: it was delivered
	}{
		{name: "OK", receive: answer(200), times: seconds(0)},
		{name: "NoContent", receive: answer(204), times: seconds(0)},
		{name: "Accepted", receive: answer(299), times: seconds(0)},
		{name: "Moved", receive: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:80/", http.StatusMovedPermanently)
		}, times: seconds(0), class: "http", status: 301, dead: 1},
		{name: "SeeMetadata", receive: func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://169.254.169.254/", http.StatusTemporaryRedirect)
		}, times: seconds(0), class: "http", status: 307, dead: 1},
		{name: "NotModified", receive: answer(304), times: seconds(0), class: "http", status: 304, dead: 1},
		{name: "BadRequest", receive: answer(400), times: seconds(0), class: "http", status: 400, dead: 1},
		{name: "Gone", receive: answer(410), times: seconds(0), class: "http", status: 410, dead: 1},
		{name: "TooManyRequests", receive: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusTooManyRequests)
		}, times: fourTimes, class: "http", status: 429, dead: 60 * time.Second},
		{name: "Failing", receive: answer(500), times: fourTimes, class: "http", status: 500, dead: 60 * time.Second},
		{name: "Unavailable", receive: answer(503), times: fourTimes, class: "http", status: 503, dead: 60 * time.Second},
		{name: "HangsBeforeHeaders", receive: hang, times: seconds(0, 35, 70, 105), class: "timeout", dead: 120 * time.Second},
		{name: "HangsWithinHeaders", receive: hijacked(func(c net.Conn, w *bufio.ReadWriter) {
			_, _ = w.WriteString("HTTP/1.1 200 OK\r\nX-A: b\r\n")
			_ = w.Flush()
			_, _ = io.Copy(io.Discard, c)
		}), times: seconds(0, 35, 70, 105), class: "timeout", dead: 120 * time.Second},
		{name: "OneByteASecond", receive: func(w http.ResponseWriter, r *http.Request) { slowly(w, r, 1000) }, times: seconds(0)},
		{name: "OneByteASecondOfAnError", receive: func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			slowly(w, r, 1000)
		}, times: seconds(0, 21, 42, 63), class: "http", status: 500, dead: 64 * time.Second},
		{name: "EndlessBody", receive: func(w http.ResponseWriter, _ *http.Request) {
			for buf := make([]byte, 8192); ; {
				if _, err := w.Write(buf); err != nil {
					return
				}
			}
		}, times: seconds(0)},
		{name: "ClosesWithinBody", receive: hijacked(func(_ net.Conn, w *bufio.ReadWriter) {
			_, _ = w.WriteString("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
			_ = w.Flush()
		}), times: seconds(0)},
		{name: "ClosesAtOnce", receive: hijacked(func(net.Conn, *bufio.ReadWriter) {}), times: fourTimes, class: "connection", dead: 60 * time.Second},
		{name: "NoHTTP", receive: hijacked(func(_ net.Conn, w *bufio.ReadWriter) {
			_, _ = w.WriteString("220 mail.example ESMTP\r\n")
			_ = w.Flush()
		}), times: fourTimes, class: "connection", dead: 60 * time.Second},
		{name: "HugeHeaders", receive: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Huge", strings.Repeat("h", 10<<20))
		}, times: fourTimes, class: "connection", dead: 60 * time.Second},
		{name: "EndlessInformation", receive: hijacked(func(_ net.Conn, w *bufio.ReadWriter) {
			for {
				if _, err := w.WriteString("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"); err != nil {
					return
				}
			}
		}), times: fourTimes, class: "connection", dead: 60 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			onWeb(t, func(t *testing.T, b *bundle, w *web) {
				w.receive(host, c.receive)
				b.queue("dead")
				a := b.topic("a")
				sub := b.webhook(a, "http://203.0.113.1/hook", attrRedrive, `{"deadLetterTargetArn":"`+b.arn("dead")+`"}`)
				time.Sleep(10 * time.Minute) // the request to confirm has been given up
				w.start()
				b.publish(a, "hello")
				time.Sleep(30 * time.Minute)
				if got := w.times(host); !near(got, c.times) {
					t.Errorf("tried after %v, want %v", got, c.times)
				}
				b.checkAttempts(a, sub, c.times, c.class, c.status)
				if c.dead == 0 {
					b.drain("dead", 0)
					return
				}
				dead := b.drain("dead", 1)[0]
				if at := dead.SentAt.Sub(w.begun); at < c.dead.Truncate(time.Second) || at > c.dead+100*time.Millisecond {
					t.Errorf("a dead letter after %s, want %s", at, c.dead)
				}
				if want := w.of(host, typeNotification)[0].body; dead.Body != want {
					t.Errorf("dead letter %s, the receiver got %s", dead.Body, want)
				}
				checkReasons(t, dead, c.class, c.status)
			})
		})
	}
}

// checkAttempts looks at what is noted of the last message.
func (b *bundle) checkAttempts(a *Topic, sub Subscription, times []time.Duration, class string, status int) {
	b.t.Helper()
	all, err := a.svc.Attempts(b.t.Context(), b.ns, a.name, sub.ID)
	if err != nil {
		b.t.Fatal(err)
	}
	var got []Attempt
	for _, x := range all {
		if x.Kind == typeNotification {
			got = append(got, x)
		}
	}
	if len(got) != len(times) {
		b.t.Errorf("%d attempts are noted, want %d: %+v", len(got), len(times), got)
		return
	}
	for i, x := range got {
		want := Attempt{Time: x.Time, MessageID: got[0].MessageID, Kind: typeNotification, Number: len(times) - i, Duration: x.Duration, Outcome: outcomeRetry, Status: status, Error: class}
		switch {
		case i == 0 && class == "":
			want.Outcome, want.Status = outcomeDelivered, x.Status
		case i == 0:
			want.Outcome = outcomeDeadLetter
		}
		if x != want || x.Duration > requestTimeout+maxDrain {
			b.t.Errorf("noted %+v, want %+v", x, want)
		}
	}
}

// checkReasons looks at the attributes that say why a message is a dead letter.
func checkReasons(t *testing.T, m queue.Message, class string, status int) {
	t.Helper()
	got := map[string]string{}
	for _, a := range m.Attributes {
		got[a.Name] = a.DataType + " " + string(a.Value)
	}
	code := "String " + class
	if status != 0 {
		code = fmt.Sprint("Number ", status)
	}
	if len(got) != 3 || got["ErrorCode"] != code || !strings.HasPrefix(got["ErrorMessage"], "String The ") || len(got["RequestID"]) != len("String ")+36 {
		t.Errorf("attributes of the dead letter: %q", got)
	}
}

// TestUnreachableReceivers are those that a connection cannot be made to.
func TestUnreachableReceivers(t *testing.T) {
	t.Parallel()
	onWeb(t, func(t *testing.T, b *bundle, w *web) {
		w.raw("203.0.113.2:443", func(c net.Conn) { c.Close() })
		w.raw("203.0.113.3:443", func(c net.Conn) { // plain HTTP
			_, _ = c.Read(make([]byte, 1<<16))
			_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n")
			c.Close()
		})
		w.raw("203.0.113.4:443", func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }) // no handshake
		a := b.topic("a")
		classes := map[string]string{"1": "dns", "2": "connection", "3": "tls", "4": "timeout"}
		subs := map[string]Subscription{}
		for n := range classes {
			subs[n] = b.webhook(a, "https://203.0.113."+n+"/")
		}
		time.Sleep(10 * time.Minute)
		w.start()
		b.publish(a, "hello")
		time.Sleep(10 * time.Minute)
		for n, class := range classes {
			want := seconds(0, 20, 40, 60)
			if n == "4" {
				want = seconds(0, 25, 50, 75)
			}
			if got := w.dialled("203.0.113." + n + ":443"); !near(got, want) {
				t.Errorf("%s dialled after %v, want %v", class, got, want)
			}
			all, err := a.svc.Attempts(t.Context(), b.ns, "a", subs[n].ID)
			if err != nil || len(all) == 0 || all[0].Error != class || all[0].Outcome != outcomeDropped || all[0].Number != 4 {
				t.Errorf("%s: %+v, %v", class, all, err)
			}
		}
		b.idle(a)
	})
}

// TestReceiverThatRecovers gets the message once it works, and no more after that.
func TestReceiverThatRecovers(t *testing.T) {
	t.Parallel()
	onWeb(t, func(t *testing.T, b *bundle, w *web) {
		const host = "203.0.113.1:80"
		w.receive(host, func(rw http.ResponseWriter, _ *http.Request) {
			if w.since() < 30*time.Second {
				rw.WriteHeader(http.StatusServiceUnavailable)
			}
		})
		b.queue("dead")
		a := b.topic("a")
		b.webhook(a, "http://203.0.113.1/", attrRedrive, `{"deadLetterTargetArn":"`+b.arn("dead")+`"}`)
		time.Sleep(10 * time.Minute)
		w.start()
		b.publish(a, "hello")
		time.Sleep(10 * time.Minute)
		if got := w.times(host); !near(got, seconds(0, 20, 40)) {
			t.Errorf("tried after %v", got)
		}
		b.drain("dead", 0)
		b.idle(a)
	})
}

// TestDeliveryPolicies: the four phases, a policy of the topic, none at all.
func TestDeliveryPolicies(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, topic, subscription string
		want                      []time.Duration
	}{
		{
			name:         "FourPhases",
			subscription: `{"healthyRetryPolicy":{"minDelayTarget":2,"maxDelayTarget":10,"numRetries":9,"numNoDelayRetries":2,"numMinDelayRetries":2,"numMaxDelayRetries":2,"backoffFunction":"linear"}}`,
			want:         seconds(0, 0, 0, 2, 4, 6, 12, 22, 32, 42),
		},
		{
			name: "OfTheTopic", topic: `{"http":{"defaultHealthyRetryPolicy":{"minDelayTarget":3,"maxDelayTarget":3,"numRetries":1}}}`,
			want: seconds(0, 3),
		},
		{
			name: "TheSubscriptionsComesFirst", topic: `{"http":{"defaultHealthyRetryPolicy":{"minDelayTarget":3,"maxDelayTarget":3,"numRetries":1}}}`,
			subscription: `{"healthyRetryPolicy":{"minDelayTarget":7,"maxDelayTarget":7,"numRetries":2}}`,
			want:         seconds(0, 7, 14),
		},
		{
			name: "NoRetries", subscription: `{"healthyRetryPolicy":{"minDelayTarget":1,"maxDelayTarget":1,"numRetries":0}}`,
			want: seconds(0),
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			onWeb(t, func(t *testing.T, b *bundle, w *web) {
				const host = "203.0.113.1:80"
				w.receive(host, answer(500))
				a := b.topic("a", attrDelivery, c.topic)
				b.webhook(a, "http://203.0.113.1/", attrDelivery, c.subscription)
				time.Sleep(10 * time.Minute)
				w.start()
				b.publish(a, "hello")
				time.Sleep(2 * time.Hour)
				if got := w.times(host); !near(got, c.want) {
					t.Errorf("tried after %v, want %v", got, c.want)
				}
				b.idle(a)
			})
		})
	}
}

// TestFunctionRetries: the schedule of functions has three at once, two after a second,
// ten that grow to 20 s, and then every 20 s.
func TestFunctionRetries(t *testing.T) {
	t.Parallel()
	onWeb(t, func(t *testing.T, b *bundle, w *web) {
		const host = "203.0.113.1:80"
		w.receive(host, answer(500))
		a := b.topic("a")
		b.function(a, "http://203.0.113.1/f")
		w.start()
		b.publish(a, "hello")
		time.Sleep(time.Hour)
		got := w.times(host)
		if len(got) < 150 || !near(got[:6], seconds(0, 0, 0, 0, 1, 2)) {
			t.Fatalf("tried after %v", got)
		}
		for i := 7; i < len(got); i++ {
			gap, before := got[i]-got[i-1], got[i-1]-got[i-2]
			if gap < before-60*time.Millisecond || gap > 20*time.Second+60*time.Millisecond || i > 15 && gap < 20*time.Second-time.Millisecond {
				t.Errorf("retry %d came %s after the one before, and that one %s", i, gap, before)
			}
		}
	})
}

// TestWhatReceiversGet looks at bodies, headers and signatures.
func TestWhatReceiversGet(t *testing.T) {
	t.Parallel()
	onWeb(t, func(t *testing.T, b *bundle, w *web) {
		w.receive("203.0.113.1:80", answer(200))
		w.receive("203.0.113.2:80", answer(200))
		w.receive("203.0.113.3:8080", answer(200))
		for _, version := range []string{"1", "2"} {
			a := b.topic("v"+version, attrSignature, version)
			wrapped := b.webhook(a, "http://203.0.113.1/hook")
			raw := b.webhook(a, "http://203.0.113.2/", attrRaw, "true", attrDelivery, `{"requestPolicy":{"headerContentType":"application/json"}}`)
			event := b.function(a, "http://203.0.113.3:8080/2015-03-31/functions/function/invocations")
			time.Sleep(10 * time.Minute)
			w.start()
			attrs := []queue.Attribute{{Name: "bin", DataType: "Binary", Value: []byte{0, 1}}, {Name: "s", DataType: "String", Value: []byte("v")}}
			out := a.Publish(t.Context(), b.ns, []Publication{{Message: `{"a":"é"}`, Subject: "sub", Attributes: attrs}})
			if out[0].Err != nil {
				t.Fatal(out[0].Err)
			}
			time.Sleep(time.Minute)

			got := w.of("203.0.113.1:80", "")[0]
			wantHeader(t, got, typeNotification, out[0].MessageID, a.ARN(b.ns), wrapped.ARN(), "text/plain; charset=UTF-8")
			body := parseBody(t, got.body)
			checkSignature(t, a.svc, body, version, "Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
			if body["Message"] != `{"a":"é"}` || body["MessageId"] != out[0].MessageID || body["UnsubscribeURL"] != "http://mnq.test/?Action=Unsubscribe&SubscriptionArn="+wrapped.ARN() {
				t.Errorf("%v", body)
			}

			got = w.of("203.0.113.2:80", "")[0]
			wantHeader(t, got, typeNotification, out[0].MessageID, a.ARN(b.ns), raw.ARN(), "application/json")
			if got.body != `{"a":"é"}` || got.header.Get("X-Amz-Sns-Rawdelivery") != "true" {
				t.Errorf("%+v", got)
			}

			got = w.of("203.0.113.3:8080", "")[0]
			wantHeader(t, got, typeNotification, out[0].MessageID, a.ARN(b.ns), event.ARN(), "application/json")
			var lambda struct {
				Records []struct {
					EventSource, EventVersion, EventSubscriptionArn string
					Sns                                             map[string]any
				}
			}
			if err := json.Unmarshal([]byte(got.body), &lambda); err != nil {
				t.Fatal(err)
			}
			r := lambda.Records[0]
			if len(lambda.Records) != 1 || r.EventSource != "aws:sns" || r.EventSubscriptionArn != event.ARN() || r.Sns["Message"] != `{"a":"é"}` {
				t.Errorf("%s", got.body)
			}
			r.Sns["SigningCertURL"] = r.Sns["SigningCertUrl"]
			checkSignature(t, a.svc, r.Sns, version, "Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type")
		}
	})
}

func parseBody(t *testing.T, body string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return v
}

func wantHeader(t *testing.T, got arrived, kind, id, topicARN, subscriptionARN, contentType string) { //nolint:revive // a table of headers
	t.Helper()
	for name, want := range map[string]string{
		"X-Amz-Sns-Message-Type": kind, "X-Amz-Sns-Message-Id": id, "X-Amz-Sns-Topic-Arn": topicARN, "X-Amz-Sns-Subscription-Arn": subscriptionARN,
		"Content-Type": contentType, "User-Agent": "Amazon Simple Notification Service Agent", "Accept-Encoding": "gzip,deflate",
		"Content-Length": strconv.Itoa(len(got.body)), "Idempotency-Key": "",
	} {
		if got.header.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got.header.Get(name), want)
		}
	}
}

// checkSignature does what a receiver does: it puts the members of the body in order
// and takes the certificate from where the body says it is.
func checkSignature(t *testing.T, s *Service, body map[string]any, version string, members ...string) {
	t.Helper()
	var text bytes.Buffer
	for _, m := range members {
		fmt.Fprintf(&text, "%s\n%s\n", m, body[m])
	}
	url, _ := body["SigningCertURL"].(string)
	cert, ok := s.Certificate(t.Context(), path.Base(url))
	if !ok || !strings.HasPrefix(url, "http://mnq.test/SimpleNotificationService-") {
		t.Fatalf("no certificate at %q", url)
	}
	if body["SignatureVersion"] != version {
		t.Errorf("signature version %v", body["SignatureVersion"])
	}
	sig, _ := body["Signature"].(string)
	if err := verify(t, cert, version, text.String(), sig); err != nil {
		t.Error(err)
	}
}

// TestOneBadReceiverAmongManyGoodOnes: nobody waits for it.
func TestOneBadReceiverAmongManyGoodOnes(t *testing.T) {
	t.Parallel()
	onWeb(t, func(t *testing.T, b *bundle, w *web) {
		b.ns.Quota.Subscriptions = -1
		const bad = "203.0.113.200:80"
		w.receive(bad, hang)
		a := b.topic("a")
		b.webhook(a, "http://203.0.113.200/")
		for i := range 100 {
			w.receive(fmt.Sprintf("203.0.113.%d:80", i), answer(200))
			b.webhook(a, fmt.Sprintf("http://203.0.113.%d/", i))
			time.Sleep(time.Second) // the limit for requests to confirm
		}
		time.Sleep(10 * time.Minute)
		w.start()
		const messages = 20
		for i := range messages {
			b.publish(a, fmt.Sprint("m", i))
			time.Sleep(time.Second)
		}
		time.Sleep(time.Second)
		for i := range 100 {
			got := w.of(fmt.Sprintf("203.0.113.%d:80", i), typeNotification)
			if len(got) != messages {
				t.Errorf("receiver %d got %d messages", i, len(got))
				continue
			}
			for j, m := range got {
				if late := m.after - time.Duration(j)*time.Second; late > 100*time.Millisecond {
					t.Errorf("receiver %d got message %d %s late", i, j, late)
				}
			}
		}
		if n := len(w.times(bad)); n == 0 {
			t.Error("the bad one was not tried")
		}
		time.Sleep(10 * time.Minute)
		b.idle(a)
	})
}

// TestAnotherProcessGoesOn: one process dies while it attempts a delivery and while
// another delivery waits for its next attempt.
func TestAnotherProcessGoesOn(t *testing.T) {
	t.Parallel()
	onWeb(t, func(t *testing.T, b *bundle, w *web) {
		const hanging, failing = "203.0.113.1:80", "203.0.113.2:80"
		w.receive(hanging, hang)
		w.receive(failing, answer(503))
		a := b.topic("a")
		b.webhook(a, "http://203.0.113.1/")
		b.webhook(a, "http://203.0.113.2/")
		time.Sleep(10 * time.Minute)
		w.start()
		b.publish(a, "hello")
		time.Sleep(10 * time.Second)
		first := b.processes[0]
		b.process()
		first.kill(t)
		b.processes = b.processes[1:]
		w.receive(hanging, answer(200))
		time.Sleep(10 * time.Minute)
		if got := w.times(hanging); !near(got, seconds(0, deliveryWait.Seconds())) {
			t.Errorf("the delivery that was under way was tried after %v", got)
		}
		if got := w.times(failing); !near(got, seconds(0, 20, 40, 60)) {
			t.Errorf("the delivery that waited was tried after %v", got)
		}
	})
}

// TestDeliveriesSurviveARestart: what waits goes on where it stopped.
func TestDeliveriesSurviveARestart(t *testing.T) {
	t.Parallel()
	onWeb(t, func(t *testing.T, b *bundle, w *web) {
		const host = "203.0.113.1:80"
		w.receive(host, answer(503))
		a := b.topic("a")
		b.webhook(a, "http://203.0.113.1/")
		time.Sleep(10 * time.Minute)
		w.start()
		b.publish(a, "hello")
		time.Sleep(30 * time.Second)
		b.restart()
		time.Sleep(10 * time.Minute)
		got := w.times(host)
		for i, want := range seconds(0, 20, 40, 60) { // after a restart a deadline may be a second early
			if len(got) != 4 || got[i] < want-time.Second || got[i] > want+2*time.Second {
				t.Fatalf("tried after %v", got)
			}
		}
	})
}

// TestThrottledSubscription gets two a second, from two processes together.
func TestThrottledSubscription(t *testing.T) {
	t.Parallel()
	onWeb(t, func(t *testing.T, b *bundle, w *web) {
		const host = "203.0.113.1:80"
		w.receive(host, answer(200))
		b.process()
		a := b.topic("a")
		b.webhook(a, "http://203.0.113.1/", attrDelivery, `{"throttlePolicy":{"maxReceivesPerSecond":2}}`)
		time.Sleep(10 * time.Minute)
		w.start()
		var bodies []string
		for i := range 20 {
			bodies = append(bodies, fmt.Sprint("m", i))
		}
		b.publish(a, bodies...)
		time.Sleep(time.Minute)
		got := w.times(host)
		if len(got) != 20 || got[19] < 9*time.Second || got[19] > 12*time.Second {
			t.Fatalf("they came after %v", got)
		}
		for i := 2; i < len(got); i++ {
			if got[i]-got[i-2] < time.Second-2*time.Millisecond {
				t.Errorf("three within %s", got[i]-got[i-2])
			}
		}
	})
}

// TestRemovedSubscriptionLeavesNothing: what waits for it is removed with it, and so is
// its consumer.
func TestRemovedSubscriptionLeavesNothing(t *testing.T) {
	t.Parallel()
	onWeb(t, func(t *testing.T, b *bundle, w *web) {
		const host = "203.0.113.1:80"
		w.receive(host, answer(503))
		other := b.process()
		a := b.topic("a")
		sub := b.function(a, "http://203.0.113.1/")
		w.start()
		b.publish(a, "hello")
		time.Sleep(30 * time.Second)
		tried := len(w.times(host))
		if err := other.topics.Unsubscribe(t.Context(), b.ns, "a", sub.ID); err != nil {
			t.Fatal(err)
		}
		b.publish(a, "for nobody")
		time.Sleep(10 * time.Minute)
		if n := len(w.times(host)); n != tried {
			t.Errorf("tried %d times after it was removed", n-tried)
		}
		b.idle(a)
		st, err := b.processes[0].js.Stream(t.Context(), a.state.Load().stream())
		if err != nil {
			t.Fatal(err)
		}
		for name := range st.ConsumerNames(t.Context()).Name() {
			if name != fanOutConsumer {
				t.Errorf("consumer %s is left", name)
			}
		}
		for i, p := range b.processes {
			if n := p.topics.deliveries.count(); n != 0 {
				t.Errorf("%d sources are left in process %d", n, i)
			}
		}
	})
}

// TestStopWaitsForAttempts: what an endpoint answers within the grace is not repeated.
func TestStopWaitsForAttempts(t *testing.T) {
	t.Parallel()
	onWeb(t, func(t *testing.T, b *bundle, w *web) {
		const slow, hanging = "203.0.113.1:80", "203.0.113.2:80"
		w.receive(slow, func(http.ResponseWriter, *http.Request) { time.Sleep(2 * time.Second) })
		w.receive(hanging, hang)
		a := b.topic("a")
		b.webhook(a, "http://203.0.113.1/")
		b.webhook(a, "http://203.0.113.2/")
		time.Sleep(10 * time.Minute)
		w.start()
		b.publish(a, "hello")
		time.Sleep(time.Second)
		begun := time.Now()
		b.restart()
		if took := time.Since(begun); took > stopGrace+time.Second {
			t.Errorf("the restart took %s", took)
		}
		w.receive(hanging, answer(200))
		time.Sleep(10 * time.Minute)
		if got := w.times(slow); len(got) != 1 {
			t.Errorf("repeated: %v", got)
		}
		if got := w.times(hanging); len(got) != 2 || got[1] > 6*time.Second {
			t.Errorf("the attempt that was cut off was made again after %v", got)
		}
	})
}

// TestQueuesThatRefuse: what a queue refuses goes to the dead-letter queue at once, in
// the form in which the queue would have got it.
func TestQueuesThatRefuse(t *testing.T) {
	t.Parallel()
	onWeb(t, func(t *testing.T, b *bundle, w *web) {
		a := b.topic("a")
		b.queue("dead")
		b.queue("small", "MaximumMessageSize", "1024")
		dead := `{"deadLetterTargetArn":"` + b.arn("dead") + `"}`
		missing := b.subscribe(a, "missing", attrRedrive, dead)
		raw := b.subscribe(a, "small", attrRaw, "true", attrRedrive, dead)
		w.start()
		var attrs []queue.Attribute
		for i := range 11 {
			attrs = append(attrs, queue.Attribute{Name: fmt.Sprintf("a%02d", i), DataType: "String", Value: []byte("v")})
		}
		if out := a.Publish(t.Context(), b.ns, []Publication{{Message: "many", Attributes: attrs}}); out[0].Err != nil {
			t.Fatal(out[0].Err)
		}
		time.Sleep(time.Minute)
		for _, m := range b.drain("dead", 2) { // eleven attributes do not fit a raw message
			body := parseBody(t, m.Body)
			if body["Message"] != "many" || len(body["MessageAttributes"].(map[string]any)) != 11 || len(m.Attributes) != 0 {
				t.Errorf("%+v", m)
			}
			if at := m.SentAt.Sub(w.begun); at > time.Second {
				t.Errorf("a dead letter after %s", at)
			}
		}
		long := strings.Repeat("x", 2000)
		b.publish(a, long)
		time.Sleep(time.Minute)
		got := b.drain("dead", 2)
		if got[0].Body != long && got[1].Body != long {
			t.Error("the raw message that was too long for its queue is not there as it was")
		}
		for _, sub := range []Subscription{missing, raw} {
			all, err := a.svc.Attempts(t.Context(), b.ns, "a", sub.ID)
			if err != nil || len(all) == 0 || all[0].Outcome != outcomeDeadLetter || all[0].Number != 1 {
				t.Errorf("%+v, %v", all, err)
			}
		}
		b.drain("small", 0)
		b.idle(a)
	})
}

// TestProcessThatLagsBehind takes a message for a subscription of which it does not know
// yet that it was confirmed. It must not take it for unwanted.
func TestProcessThatLagsBehind(t *testing.T) {
	t.Parallel()
	onWeb(t, func(t *testing.T, b *bundle, w *web) {
		const host, messages = "203.0.113.1:80", 8
		w.receive(host, answer(200))
		behind := b.process()
		a := b.topic("a")
		sub := b.pending(a, "http://203.0.113.1/")
		time.Sleep(time.Minute) // both take from it
		asked := w.of(host, typeSubscribed)
		behind.topics.defs.mu.Lock() // learns nothing from now on
		if _, err := a.svc.ConfirmLink(t.Context(), linkOf(t, asked[0].body)); err != nil {
			t.Fatal(err)
		}
		r := a.svc.subscriptionByID(sub.ID)
		for i := range messages {
			m := &message{id: uuid.New(), publishedAt: time.Now(), seq: r.From + 1 + uint64(i), body: "hello"}
			if err := a.enqueue(t.Context(), r, m); err != nil {
				t.Fatal(err)
			}
		}
		for len(w.of(host, typeNotification))+behind.topics.deliveries.busy(sub.ID) < messages && b.left(a) > 0 {
			runtime.Gosched() // no time passes while the other waits for the lock
		}
		if behind.topics.deliveries.busy(sub.ID) == 0 {
			t.Error("the process that lags behind has taken nothing")
		}
		behind.topics.defs.mu.Unlock()
		time.Sleep(time.Minute)
		if got := w.of(host, typeNotification); len(got) != messages {
			t.Errorf("%d of %d messages came", len(got), messages)
		}
		b.idle(a)
	})
}

// busy is how many messages of a subscription have been taken.
func (d *deliveries) busy(subscriptionID string) int {
	d.mu.Lock()
	x := d.sources[subscriptionID]
	d.mu.Unlock()
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.busy
}

// left is how many messages are in a topic's stream.
func (b *bundle) left(a *Topic) uint64 {
	b.t.Helper()
	st, err := b.processes[0].js.Stream(context.Background(), a.state.Load().stream())
	if err != nil {
		b.t.Fatal(err)
	}
	return st.CachedInfo().State.Msgs
}
