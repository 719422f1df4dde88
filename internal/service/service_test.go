package service

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestStartAll(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	var events []string
	part := func(name string, startErr, stopErr error) Part {
		return Part{
			Name:  name,
			Start: func(context.Context) error { events = append(events, "start "+name); return startErr },
			Stop:  func(context.Context) error { events = append(events, "stop "+name); return stopErr },
		}
	}
	check := func(t *testing.T, want ...string) {
		t.Helper()
		if !slices.Equal(events, want) {
			t.Errorf("events: %v, want %v", events, want)
		}
		events = nil
	}

	g, err := StartAll(t.Context(), part("a", nil, nil), Part{Name: "empty"}, part("b", nil, broken), part("c", nil, nil))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.StopAll(t.Context()); !errors.Is(err, broken) || !strings.Contains(err.Error(), "stop b") {
		t.Errorf("StopAll: %v, want the failure of b", err)
	}
	if err := g.StopAll(t.Context()); err != nil {
		t.Errorf("StopAll again: %v", err)
	}
	check(t, "start a", "start b", "start c", "stop c", "stop b", "stop a")

	if _, err := StartAll(t.Context(), part("a", nil, nil), part("b", broken, nil), part("c", nil, nil)); !errors.Is(err, broken) {
		t.Errorf("StartAll: %v, want the failure of b", err)
	}
	check(t, "start a", "start b", "stop a")

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := StartAll(ctx, part("a", nil, nil)); !errors.Is(err, context.Canceled) {
		t.Errorf("StartAll with an ended context: %v", err)
	}
	check(t)
}

func TestStopAllLeavesTimeForLaterParts(t *testing.T) { //nolint:paralleltest // a bubble's clock is its own
	synctest.Test(t, func(t *testing.T) {
		stopped := false
		g, err := StartAll(t.Context(),
			Part{Name: "store", Stop: func(ctx context.Context) error { stopped = ctx.Err() == nil; return nil }},
			Part{Name: "stubborn", Stop: func(context.Context) error { time.Sleep(time.Hour); return nil }},
		)
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := g.StopAll(ctx); err == nil || !strings.Contains(err.Error(), "stop stubborn") {
			t.Errorf("StopAll: %v, want that the stubborn part is named", err)
		}
		if took := time.Since(begun); took > 10*time.Second || !stopped {
			t.Errorf("took %s, store stopped in time: %v", took, stopped)
		}
		time.Sleep(time.Hour) // until the stubborn part is gone
	})
}

func TestHealth(t *testing.T) {
	t.Parallel()
	var h Health
	sick := errors.New("secret reason")
	var state error
	h.AddCheck("store", func(context.Context) error { return state })
	for _, c := range []struct {
		name   string
		change func()
		status int
		body   string
	}{
		{"IsNotReadyWhileStarting", func() {}, 503, "store: starting\nstarting\n"},
		{"IsReadyWhenEveryCheckPasses", h.Started, 200, "store: ok\nready\n"},
		{"IsNotReadyWhenACheckFails", func() { state = sick }, 503, "store: failed\nnot ready\n"},
		{"IsNotReadyWhileStopping", func() { state = nil; h.Stopping() }, 503, "store: ok\nstopping\n"},
	} {
		c.change()
		w := httptest.NewRecorder()
		h.Ready(w, httptest.NewRequest(http.MethodGet, "/readyz?verbose", nil))
		if w.Code != c.status || w.Body.String() != c.body {
			t.Errorf("%s: %d %q, want %d %q", c.name, w.Code, w.Body, c.status, c.body)
		}
		w = httptest.NewRecorder()
		h.Live(w, httptest.NewRequest(http.MethodGet, "/healthz", nil))
		if w.Code != http.StatusOK {
			t.Errorf("%s: liveness %d", c.name, w.Code)
		}
	}
}

func startHTTP(t *testing.T, cfg HTTPConfig) *HTTP {
	t.Helper()
	cfg.Address, cfg.Log = "127.0.0.1:0", slog.New(slog.DiscardHandler)
	h, err := NewHTTP(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Stop(context.WithoutCancel(t.Context())) })
	return h
}

func TestHTTPStopAnswersLongPolls(t *testing.T) {
	t.Parallel()
	waiting := make(chan struct{})
	h := startHTTP(t, HTTPConfig{Before: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, stop := UntilDraining(r.Context())
		defer stop()
		close(waiting)
		<-ctx.Done()
		if !errors.Is(context.Cause(ctx), ErrDraining) || r.Context().Err() != nil {
			t.Errorf("ended by %v, request %v", context.Cause(ctx), r.Context().Err())
		}
		_, _ = io.WriteString(w, "nothing")
	})})
	answer := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + h.Address())
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		answer <- string(body)
	}()
	<-waiting
	if err := h.Stop(t.Context()); err != nil {
		t.Errorf("Stop: %v", err)
	}
	if got := <-answer; got != "nothing" {
		t.Errorf("the long poll was answered %q", got)
	}
	if err := h.Stop(t.Context()); err != nil {
		t.Errorf("Stop again: %v", err)
	}
}

func TestHTTPCutsOffAtTheDeadline(t *testing.T) {
	t.Parallel()
	waiting, ended := make(chan struct{}), make(chan struct{})
	h := startHTTP(t, HTTPConfig{Before: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(waiting)
		<-r.Context().Done()
		close(ended)
	})})
	go func() {
		if resp, err := http.Get("http://" + h.Address()); err == nil {
			resp.Body.Close()
		}
	}()
	<-waiting
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := h.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Stop: %v", err)
	}
	<-ended
}

// exchange sends raw requests on one connection and returns everything that
// comes back until the server closes it.
func exchange(t *testing.T, address, raw string) string {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, raw); err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(conn)
	if err != nil && len(all) == 0 {
		t.Fatal(err)
	}
	return string(all)
}

func TestHTTPLimits(t *testing.T) {
	t.Parallel()
	h := startHTTP(t, HTTPConfig{Before: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, r.URL.Path)
	})})
	t.Run("AnAmbiguousRequestIsTheLastOnItsConnection", func(t *testing.T) {
		t.Parallel()
		got := exchange(t, h.Address(), "POST /first HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
		if strings.Contains(got, "/smuggled") || !strings.Contains(got, "Connection: close") {
			t.Errorf("answered %q", got)
		}
	})
	t.Run("LargeHeadersAreRefused", func(t *testing.T) {
		t.Parallel()
		got := exchange(t, h.Address(), "GET / HTTP/1.1\r\nHost: x\r\nX-Big: "+strings.Repeat("x", 64<<10)+"\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 431") {
			t.Errorf("answered %.40q", got)
		}
	})
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	m := NewMetrics(Build{Version: "v1", Commit: "c", Go: "go"})
	h := m.Observe("sqs", slog.New(slog.DiscardHandler), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/known" {
			RequestOf(r.Context()).Operation = "SendMessage"
			return
		}
		http.Error(w, "no", http.StatusForbidden)
	}))
	for _, path := range []string{"/known", "/unknown"} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, path, nil))
	}
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, want := range []string{
		`mnq_http_requests_total{code="ok",front="sqs",operation="SendMessage"} 1`,
		`mnq_http_requests_total{code="4xx",front="sqs",operation="other"} 1`,
		`mnq_http_request_duration_seconds_count{front="sqs",operation="SendMessage"} 1`,
		`mnq_build_info{commit="c",go_version="go",version="v1"} 1`,
		"go_goroutines", "process_resident_memory_bytes",
	} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	if RequestOf(t.Context()) != nil {
		t.Error("a context of no request has a record")
	}
}

func writePair(t *testing.T, dir, name string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour), DNSNames: []string{name},
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	rawKey, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: rawKey},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

func TestCertificateFollowsItsFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	certFile, keyFile := writePair(t, dir, "first.example")
	c, err := LoadCertificate(certFile, keyFile, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	name := func(now time.Time) string {
		leaf, err := x509.ParseCertificate(c.current(now).Certificate[0])
		if err != nil {
			t.Fatal(err)
		}
		return leaf.Subject.CommonName
	}
	if left := time.Until(c.Expires()); left <= 0 || left > 48*time.Hour {
		t.Errorf("expires in %v", left)
	}
	now := time.Now()
	writePair(t, dir, "second.example.org") // another size, whatever the clock of the file system
	if got := name(now); got != "first.example" {
		t.Errorf("looked at the files again at once, got %s", got)
	}
	now = now.Add(time.Minute)
	if got := name(now); got != "second.example.org" {
		t.Errorf("serves %s after the renewal", got)
	}
	if err := os.WriteFile(certFile, []byte("broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	if got := name(now); got != "second.example.org" {
		t.Errorf("serves %s after a broken renewal", got)
	}
	if _, err := LoadCertificate(certFile, keyFile, slog.New(slog.DiscardHandler)); err == nil {
		t.Error("a broken certificate was loaded")
	}
}
