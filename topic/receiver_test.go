package topic

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// web is the outside world of a test: receivers without sockets, by host and port.
// Everything on it happens on the bubble's time.
type web struct {
	t     *testing.T
	begun time.Time

	mu    sync.Mutex
	hosts map[string]func(net.Conn)
	got   []arrived
	dials map[string][]time.Duration // since begun
	close []func()
}

// arrived is one request that a receiver got.
type arrived struct {
	host   string
	after  time.Duration // since begun
	header http.Header
	body   string
}

// onWeb is virtual with a web.
func onWeb(t *testing.T, f func(t *testing.T, b *bundle, w *web)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := newWeb(t)
		b := newBundle(t, dir)
		b.change = func(c *Config) { c.Egress.dial = w.dial }
		b.restart()
		f(t, b, w)
		b.stop()
		w.stop()
	})
}

func newWeb(t *testing.T) *web {
	return &web{t: t, begun: time.Now(), hosts: map[string]func(net.Conn){}, dials: map[string][]time.Duration{}}
}

// start makes now the moment from which times are told.
func (w *web) start() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begun, w.got, w.dials = time.Now(), nil, map[string][]time.Duration{}
}

// since is how long ago the web was started.
func (w *web) since() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Since(w.begun)
}

func (w *web) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.close {
		f()
	}
}

func (w *web) dial(_ context.Context, _, address string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dials[address] = append(w.dials[address], time.Since(w.begun).Round(time.Millisecond))
	serve := w.hosts[address]
	if serve == nil {
		return nil, &net.DNSError{Err: "no such host", Name: address, IsNotFound: true}
	}
	client, server := net.Pipe()
	w.close = append(w.close, func() { server.Close() })
	go serve(server)
	return client, nil
}

// raw lets a receiver do with a connection what it likes.
func (w *web) raw(host string, serve func(net.Conn)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hosts[host] = serve
}

// receive runs a receiver. What it gets is noted before h answers.
func (w *web) receive(host string, h http.HandlerFunc) {
	l := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
	srv := &http.Server{ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		w.mu.Lock()
		w.got = append(w.got, arrived{host, time.Since(w.begun).Round(time.Millisecond), r.Header, string(body)})
		w.mu.Unlock()
		h(rw, r)
	})}
	go func() { _ = srv.Serve(l) }()
	w.mu.Lock()
	w.close = append(w.close, func() { srv.Close() })
	w.mu.Unlock()
	w.raw(host, func(c net.Conn) {
		select {
		case l.conns <- c:
		case <-l.done:
			c.Close()
		}
	})
}

// pipes is a listener for connections that are handed to it.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// of returns what a host got, of one type.
func (w *web) of(host, kind string) []arrived {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []arrived
	for _, a := range w.got {
		if a.host == host && (kind == "" || a.header.Get("X-Amz-Sns-Message-Type") == kind) {
			out = append(out, a)
		}
	}
	return out
}

// times are when a host got notifications.
func (w *web) times(host string) []time.Duration {
	out := []time.Duration{}
	for _, a := range w.of(host, typeNotification) {
		out = append(out, a.after)
	}
	return out
}

// dialled is when connections to a host were tried.
func (w *web) dialled(host string) []time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.dials[host])
}

func seconds(list ...float64) []time.Duration {
	out := []time.Duration{}
	for _, s := range list {
		out = append(out, time.Duration(s*float64(time.Second)))
	}
	return out
}

// near reports whether moments are those wanted; a retry may be a little late, never
// early.
func near(got, want []time.Duration) bool {
	return slices.EqualFunc(got, want, func(g, w time.Duration) bool { return g >= w && g <= w+50*time.Millisecond })
}

// webhook subscribes a URL and confirms it as its receiver would.
func (b *bundle) webhook(t *Topic, url string, attrs ...string) Subscription {
	b.t.Helper()
	protocol, _, _ := strings.Cut(url, "://")
	sub, err := t.Subscribe(context.Background(), b.ns, NewSubscription{Protocol: protocol, Endpoint: url, Attributes: pairs(attrs)})
	if err != nil {
		b.t.Fatal(err)
	}
	if !sub.Pending {
		b.t.Fatalf("%+v", sub)
	}
	r := t.svc.subscriptionByID(sub.ID)
	if sub, err = t.svc.ConfirmLink(context.Background(), Confirmation{TopicARN: t.ARN(b.ns), Token: t.svc.token(r)}); err != nil {
		b.t.Fatal(err)
	}
	return sub
}

// function subscribes a URL of protocol lambda.
func (b *bundle) function(t *Topic, url string, attrs ...string) Subscription {
	b.t.Helper()
	sub, err := t.Subscribe(context.Background(), b.ns, NewSubscription{Protocol: "lambda", Endpoint: url, Attributes: pairs(attrs)})
	if err != nil {
		b.t.Fatal(err)
	}
	if sub.Pending {
		b.t.Fatalf("%+v", sub)
	}
	return sub
}

func answer(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
}

// hang keeps a request until the client gives up.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// hijacked answers a request by hand.
func hijacked(f func(c net.Conn, w *bufio.ReadWriter)) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		c, rw, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		f(c, rw)
	}
}

// slowly writes one byte a second until the client gives up, or n bytes.
func slowly(w http.ResponseWriter, r *http.Request, n int) {
	w.Header().Set("Content-Length", strconv.Itoa(n))
	for range n {
		if _, err := w.Write([]byte{'x'}); err != nil {
			return
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		select {
		case <-time.After(time.Second):
		case <-r.Context().Done():
			return
		}
	}
}
