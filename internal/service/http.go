package service

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"time"
)

// Limits of every HTTP listener. The read and write limits stand above the
// longest long poll (20 s), because Go cancels a request whose read deadline
// passes while its handler waits.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 60 * time.Second
	writeTimeout      = 90 * time.Second
	idleTimeout       = 60 * time.Second
	maxHeaderBytes    = 32 << 10
	maxStreams        = 100 // requests at a time of one HTTP/2 connection
)

// HTTP is one HTTP listener. Until [HTTP.Handle] is called it answers 503, so
// that health can be asked for while the other parts start.
type HTTP struct {
	listener net.Listener
	server   *http.Server
	handler  atomic.Pointer[http.Handler]
	failed   func(error)
	done     chan struct{}
	serving  atomic.Bool
	drain    context.CancelFunc // ends the waiting of long polls
	conns    *connections
}

// ErrDraining is the cause of contexts made by [UntilDraining] when the server
// stops.
var ErrDraining = errors.New("the server is stopping")

type drainingKey struct{}

// UntilDraining returns a context that ends, with the cause [ErrDraining], when
// the server that took the request begins to stop, so that a long poll can answer
// with what it has. Outside a request of an [HTTP] it only follows ctx.
func UntilDraining(ctx context.Context) (context.Context, context.CancelFunc) {
	draining, ok := ctx.Value(drainingKey{}).(context.Context)
	if !ok {
		return context.WithCancel(ctx)
	}
	until, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(draining, func() { cancel(ErrDraining) })
	return until, func() {
		stop()
		cancel(nil)
	}
}

// HTTPConfig says where and what to serve.
type HTTPConfig struct {
	Address  string       // host:port; port 0 takes a free one
	Listener net.Listener // in the place of Address
	TLS      *tls.Config  // nil: plain HTTP
	Before   http.Handler
	Failed   func(error) // called once when serving ends by itself
	Log      *slog.Logger

	// How many connections there may be at a time, and of one address. More are closed
	// at once. Zero is no limit.
	MaxConnections, MaxPerAddress int
	// Refused is told of each that was closed, with one of the Limit names; nil: nobody.
	Refused func(limit string)
}

// NewHTTP binds the address, unless it is given a listener. Before answers requests until Handle is called.
func NewHTTP(ctx context.Context, cfg HTTPConfig) (*HTTP, error) {
	l := cfg.Listener
	if l == nil {
		var err error
		if l, err = new(net.ListenConfig).Listen(ctx, "tcp", cfg.Address); err != nil {
			return nil, err
		}
	}
	h := &HTTP{
		listener: l, failed: cfg.Failed, done: make(chan struct{}),
		conns: newConnections(cfg.MaxConnections, cfg.MaxPerAddress, cfg.Refused),
	}
	draining, drain := context.WithCancel(context.WithoutCancel(ctx))
	h.drain = drain
	h.Handle(cfg.Before)
	h.server = &http.Server{
		Handler:           refuseAmbiguous(http.HandlerFunc(h.serve)),
		TLSConfig:         cfg.TLS,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: maxStreams},
		ConnState:         h.conns.changed,
		BaseContext: func(net.Listener) context.Context {
			return context.WithValue(context.WithoutCancel(ctx), drainingKey{}, draining)
		},
		ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
	}
	if cfg.TLS != nil {
		h.server.TLSConfig = cfg.TLS.Clone()
	}
	return h, nil
}

// Address is the bound host:port.
func (h *HTTP) Address() string { return h.listener.Addr().String() }

// Connections is how many are open.
func (h *HTTP) Connections() int { return h.conns.count() }

// Handle replaces the handler for requests that arrive from now on.
func (h *HTTP) Handle(next http.Handler) { h.handler.Store(&next) }

func (h *HTTP) serve(w http.ResponseWriter, r *http.Request) { (*h.handler.Load()).ServeHTTP(w, r) }

// Start begins to serve and returns at once.
func (h *HTTP) Start(context.Context) error {
	h.serving.Store(true)
	go func() {
		defer close(h.done)
		var err error
		if h.server.TLSConfig != nil {
			err = h.server.ServeTLS(h.listener, "", "")
		} else {
			err = h.server.Serve(h.listener)
		}
		if !errors.Is(err, http.ErrServerClosed) && h.failed != nil {
			h.failed(fmt.Errorf("serve http on %s: %w", h.Address(), err))
		}
	}()
	return nil
}

// Stop stops accepting, ends long polls and waits for requests in progress. At
// ctx's deadline it closes what is left and says so.
func (h *HTTP) Stop(ctx context.Context) error {
	h.drain()
	if !h.serving.Load() {
		if err := h.listener.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
	err := h.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("requests cut off: %w", err), h.server.Close())
	}
	<-h.done
	return err
}

// refuseAmbiguous takes away what request smuggling needs: a request whose
// length is not given by one Content-Length is the last one on its connection,
// because Go has already dropped a Content-Length that stood beside a
// Transfer-Encoding (RFC 9112, 6.3).
func refuseAmbiguous(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TransferEncoding) > 0 {
			w.Header().Set("Connection", "close")
		}
		next.ServeHTTP(w, r)
	})
}

// Profiles adds the pprof pages below /debug/pprof/. They are for the operator's
// listener only.
func Profiles(mux *http.ServeMux) {
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
}
