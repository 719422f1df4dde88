package mnqtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Balancer spreads requests over processes as a load balancer in front of them would:
// it asks each for /readyz, prefers those that are ready, passes over one that takes no
// connection, and gives up what it has sent to one that does not answer any more. What
// breaks is the client's to repeat.
type Balancer struct {
	targets []*target
	next    atomic.Uint64
	base    http.RoundTripper
}

type target struct {
	url   *url.URL
	ready atomic.Bool

	mu   sync.Mutex
	gone chan struct{} // closed and replaced when it does not answer
}

var errGone = errors.New("the process does not answer any more")

// unreachable ends what has been sent to the target.
func (o *target) unreachable() {
	o.mu.Lock()
	defer o.mu.Unlock()
	close(o.gone)
	o.gone = make(chan struct{})
}

func (o *target) whenGone() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.gone
}

// NewBalancer makes a balancer over the processes, until the test ends.
func NewBalancer(t testing.TB, processes ...*Process) *Balancer {
	t.Helper()
	b := &Balancer{base: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true}}
	ctx, stop := context.WithCancel(context.Background())
	var probes sync.WaitGroup
	for _, p := range processes {
		u, err := url.Parse(p.URL)
		if err != nil {
			t.Fatal(err)
		}
		one := &target{url: u, gone: make(chan struct{})}
		one.ready.Store(true)
		b.targets = append(b.targets, one)
		probes.Go(func() { one.probe(ctx) })
	}
	t.Cleanup(func() { stop(); probes.Wait() })
	return b
}

// probe keeps ready up to date.
func (o *target) probe(ctx context.Context) {
	client := &http.Client{Timeout: time.Second}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, o.url.JoinPath("readyz").String(), nil)
		if err == nil {
			res, err := client.Do(req)
			if err == nil {
				_ = res.Body.Close()
			}
			o.ready.Store(err == nil && res.StatusCode == http.StatusOK)
			if err != nil && ctx.Err() == nil {
				o.unreachable()
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// order returns the targets in the order in which to try them.
func (b *Balancer) order() (ready, others []*target) {
	first := int(b.next.Add(1))
	for i := range b.targets {
		if t := b.targets[(first+i)%len(b.targets)]; t.ready.Load() {
			ready = append(ready, t)
		} else {
			others = append(others, t)
		}
	}
	return ready, others
}

// RoundTrip implements [http.RoundTripper].
func (b *Balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	var body []byte
	if r.Body != nil {
		var err error
		if body, err = io.ReadAll(r.Body); err != nil {
			return nil, err
		}
		_ = r.Body.Close()
	}
	ready, others := b.order()
	var failed error
	for _, t := range append(ready, others...) {
		ctx, cancel := context.WithCancelCause(r.Context())
		out := r.Clone(ctx)
		if out.Host == "" {
			out.Host = r.URL.Host // what was signed
		}
		out.URL.Scheme, out.URL.Host = t.url.Scheme, t.url.Host
		if body != nil {
			out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
			out.Body, _ = out.GetBody()
		}
		res, err := b.send(out, t, cancel)
		if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
			failed = err
			continue
		}
		return res, err
	}
	return nil, failed
}

// send makes a request and reads the whole answer.
func (b *Balancer) send(r *http.Request, t *target, cancel context.CancelCauseFunc) (*http.Response, error) {
	gone, done := t.whenGone(), make(chan struct{})
	defer cancel(nil)
	defer close(done)
	go func() {
		select {
		case <-gone:
			cancel(errGone)
		case <-done:
		}
	}()
	res, err := b.base.RoundTrip(r)
	if err != nil {
		return nil, brokenOff(r, err)
	}
	text, err := io.ReadAll(res.Body)
	_ = res.Body.Close()
	if err != nil {
		return nil, brokenOff(r, err)
	}
	res.Body = io.NopCloser(bytes.NewReader(text))
	return res, nil
}

// brokenOff makes a request that was given up look to the client as one whose
// connection broke.
func brokenOff(r *http.Request, err error) error {
	if context.Cause(r.Context()) == errGone { //nolint:errorlint // it is that value
		return io.ErrUnexpectedEOF
	}
	return err
}
