package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// sqs is a small queue server that can be told to misbehave.
type sqs struct {
	t        *testing.T
	drop     int // every n-th message vanishes after its confirmation
	double   int // every n-th is delivered twice
	damage   int // every n-th is changed
	mu       sync.Mutex
	bodies   []string
	sent     int
	handles  int
	vanished int
}

func (s *sqs) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Error(err)
	}
	var in struct {
		MessageBody         string
		MaxNumberOfMessages int
		Entries             []struct{ MessageBody string }
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		s.t.Errorf("%v in %s", err, raw)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]any{}
	switch strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "AmazonSQS.") {
	case "CreateQueue":
		out["QueueUrl"] = "http://here/1/q"
	case "SendMessage":
		s.put(in.MessageBody)
	case "SendMessageBatch":
		for _, e := range in.Entries {
			s.put(e.MessageBody)
		}
	case "ReceiveMessage":
		var messages []map[string]string
		for range min(in.MaxNumberOfMessages, len(s.bodies)) {
			s.handles++
			messages = append(messages, map[string]string{"Body": s.bodies[0], "ReceiptHandle": strconv.Itoa(s.handles)})
			s.bodies = s.bodies[1:]
		}
		if len(messages) > 0 {
			out["Messages"] = messages
		}
	case "GetQueueAttributes":
		out["Attributes"] = map[string]string{
			"ApproximateNumberOfMessages": strconv.Itoa(len(s.bodies)), "ApproximateNumberOfMessagesNotVisible": "0",
		}
	case "DeleteMessage", "DeleteMessageBatch", "DeleteQueue":
	default:
		s.t.Errorf("unexpected %s", r.Header.Get("X-Amz-Target"))
	}
	if err := json.NewEncoder(w).Encode(out); err != nil {
		s.t.Error(err)
	}
}

func (s *sqs) put(body string) {
	s.sent++
	every := func(n int) bool { return n > 0 && s.sent%n == 0 }
	switch {
	case every(s.drop):
		s.vanished++
		return
	case every(s.damage):
		body = body[:len(body)-1] + "!"
	case every(s.double):
		s.bodies = append(s.bodies, body)
	}
	s.bodies = append(s.bodies, body)
}

func TestTheCheckerSeesWhatAServerDoesWrong(t *testing.T) {
	t.Parallel()
	for _, work := range []string{"send", "cycle", "cycle10"} {
		for name, s := range map[string]*sqs{
			"honest": {}, "drops": {drop: 10}, "doubles": {double: 10}, "damages": {damage: 10},
		} {
			t.Run(work+" "+name, func(t *testing.T) {
				t.Parallel()
				s, b := wrong(t, work, s, 50*time.Millisecond)
				if b.Lost > 0 != (s.drop > 0 || s.damage > 0) || b.Duplicated > 0 != (s.double > 0) || b.Bad > 0 != (s.damage > 0) {
					t.Errorf("%+v after %d messages", b, s.sent)
				}
				if s.drop > 0 && b.Lost != s.vanished {
					t.Errorf("%d lost, not %d", b.Lost, s.vanished)
				}
			})
		}
	}
}

// wrong measures a server with the faults of like, for as long as it takes a busy
// machine to send enough to show them.
func wrong(t *testing.T, work string, like *sqs, d time.Duration) (*sqs, balance) {
	t.Helper()
	s := &sqs{t: t, drop: like.drop, double: like.double, damage: like.damage}
	srv := httptest.NewServer(s)
	defer srv.Close()
	jobs, err := options{works: work, clients: "4"}.work()
	if err != nil {
		t.Fatal(err)
	}
	r, err := measure(context.Background(), at(srv), plan{work: jobs[0].work, clients: 4, size: 200, d: d, balanced: true})
	if err != nil || r.Errors > 0 {
		t.Fatal(err, r.First)
	}
	if s.sent < 20 && d < 10*time.Second {
		return wrong(t, work, like, 2*d)
	}
	return s, r.Balance
}

func at(srv *httptest.Server) endpoint {
	return endpoint{strings.TrimPrefix(srv.URL, "http://"), access, secret, region}
}

func TestSignaturesAreThoseOfTheSDK(t *testing.T) {
	t.Parallel()
	s := &signer{host: "127.0.0.1:9324", access: "AKID", secret: "shh", region: "fr-par"}
	for _, day := range []int{1, 2} { // the key changes at midnight
		now := time.Date(2026, 3, day, 12, 0, 0, 0, time.UTC)
		body := []byte(`{"QueueUrl":"q"}`)
		got := string(s.request("SendMessage", body, now))
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1:9324/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		r.ContentLength = -1
		r.Header.Set("X-Amz-Target", "AmazonSQS.SendMessage")
		r.Header.Set("Content-Type", contentType)
		who := aws.Credentials{AccessKeyID: "AKID", SecretAccessKey: "shh"}
		if err := v4.NewSigner().SignHTTP(context.Background(), who, r, fmt.Sprintf("%x", sha256.Sum256(body)), "sqs", "fr-par", now); err != nil {
			t.Fatal(err)
		}
		if want := r.Header.Get("Authorization"); !strings.Contains(got, "Authorization: "+want+"\r\n") {
			t.Errorf("want %s in\n%s", want, got)
		}
	}
}

func TestReferencesAnswer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	e := endpoint{l.Addr().String(), access, secret, region}
	log, err := openLog(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: &signedServer{endpoint: e, store: log.append}}
	go func() { _ = srv.Serve(l) }()
	defer srv.Close()
	for _, w := range works[:2] {
		r, err := measure(context.Background(), e, plan{work: w, clients: 8, size: 100, d: 50 * time.Millisecond})
		if err != nil || r.Errors > 0 || r.Rate == 0 {
			t.Fatalf("%s: %+v %v", w.name, r, err)
		}
	}
	info, err := log.file.Stat()
	if err != nil || info.Size() == 0 {
		t.Errorf("the log is empty: %v", err)
	}
	e.secret = "another"
	if _, err := measure(context.Background(), e, plan{work: works[0], clients: 1, size: 100, d: 50 * time.Millisecond}); err == nil {
		t.Error("a false signature was taken")
	}
}

// TestPaceIsKept: a paced connection never does more than it should, however fast the
// server is.
func TestPaceIsKept(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(&sqs{t: t})
	defer srv.Close()
	const d, pace = 200 * time.Millisecond, 20 * time.Millisecond
	r, err := measure(context.Background(), at(srv), plan{work: works[0], clients: 2, size: 200, d: d, pace: pace})
	if most := 2 * (d/pace + 1); err != nil || r.Rate*d.Seconds() > float64(most) {
		t.Errorf("%.0f/s, %v; at most %d in %s are due", r.Rate, err, most, d)
	}
}
