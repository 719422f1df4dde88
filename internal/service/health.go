package service

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

const checkTimeout = time.Second

// Health answers liveness and readiness. The zero value is alive and not ready.
// It is safe for concurrent use.
type Health struct {
	mu sync.RWMutex

	phase   phase
	checks  []check
	waiting func() string
}

type phase uint8

const (
	starting phase = iota
	running
	stopping
)

type check struct {
	name string
	run  func(ctx context.Context) error
}

// AddCheck adds a condition of readiness. It is called on every request for
// /readyz and has a second to answer.
func (h *Health) AddCheck(name string, run func(ctx context.Context) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks, check{name, run})
}

// WaitsFor names what says in words, fit for anybody, what the start waits for; "" is
// nothing.
func (h *Health) WaitsFor(f func() string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.waiting = f
}

// Waiting is what the start waits for, in words fit for anybody; "" is nothing.
func (h *Health) Waiting() string {
	h.mu.RLock()
	f := h.waiting
	h.mu.RUnlock()
	if f == nil {
		return ""
	}
	return f()
}

// Started says that every part runs: from now on the checks decide.
func (h *Health) Started() { h.set(running) }

// Stopping turns readiness off for good, so that load balancers look elsewhere
// before the listener closes.
func (h *Health) Stopping() { h.set(stopping) }

func (h *Health) set(p phase) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.phase = p
}

// Live serves /healthz: 200 while the process can answer at all.
func (h *Health) Live(w http.ResponseWriter, _ *http.Request) {
	plain(w, http.StatusOK, "ok\n")
}

// Ready serves /readyz: 200 when every check passes, else 503 with what the start waits
// for or a [PublicError] that a check gives. Other reasons stay in the log, since this path
// needs no authentication. With the query parameter "verbose" it names each check.
func (h *Health) Ready(w http.ResponseWriter, r *http.Request) {
	h.mu.RLock()
	at, checks := h.phase, h.checks
	h.mu.RUnlock()

	ctx, cancel := context.WithTimeout(r.Context(), checkTimeout)
	defer cancel()
	status, summary := http.StatusOK, "ready"
	var details strings.Builder
	for _, c := range checks {
		state := "ok"
		if at != starting {
			if err := c.run(ctx); err != nil {
				status, state = http.StatusServiceUnavailable, "failed"
				if summary == "ready" {
					summary = "not ready"
				}
				if why, ok := errors.AsType[PublicError](err); ok {
					state, summary = "failed: "+string(why), "not ready: "+string(why)
				}
			}
		}
		if at == starting {
			state = "starting"
		}
		fmt.Fprintf(&details, "%s: %s\n", c.name, state)
	}
	switch at {
	case starting:
		status, summary = http.StatusServiceUnavailable, "starting"
		if what := h.Waiting(); what != "" {
			summary += ": " + what
		}
	case stopping:
		status, summary = http.StatusServiceUnavailable, "stopping"
	case running:
	}
	body := summary + "\n"
	if r.URL.Query().Has("verbose") {
		body = details.String() + body
	}
	plain(w, status, body)
}

func plain(w http.ResponseWriter, status int, body string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body)) // the client has gone when this fails
}
