package console

import (
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/service"
	"github.com/openmnq/mnq/tenant"
)

// Prefix is the path that everything of the console is below.
const Prefix = "/console"

// maxForm is the largest form in bytes: a message of a mebibyte, encoded.
const maxForm = 4 << 20

// Config is what a console needs. Every field is required unless it says otherwise.
type Config struct {
	// Directory says who is signed in.
	Directory *tenant.Directory

	// API answers calls of the control plane for somebody.
	API func(mnq.Identity) http.Handler

	Region       string
	PublicURL    func() string // of SQS, SNS and the control plane
	NATSEndpoint func() string

	// Log receives failures that are not the user's. Default: slog.Default().
	Log *slog.Logger

	// Version of the program. Default: "dev".
	Version string
}

// Console serves the pages. It is safe for concurrent use.
type Console struct {
	cfg    Config
	pages  pages
	mux    *http.ServeMux
	origin *http.CrossOriginProtection
	tries  *tries
	busy   chan struct{} // pages being made
	tails  chan struct{} // queues being followed
}

// maxBusy is how many pages are made at a time; what is beyond waits.
const maxBusy = 32

// New checks the configuration and returns a console that is ready to serve.
func New(cfg Config) (*Console, error) {
	if cfg.Directory == nil || cfg.API == nil || cfg.PublicURL == nil || cfg.NATSEndpoint == nil || cfg.Region == "" {
		return nil, &mnq.Error{Kind: mnq.Invalid, Op: "console.New", Field: "config", Msg: "is not complete"}
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	if cfg.Version == "" {
		cfg.Version = "dev"
	}
	p, err := parsePages()
	if err != nil {
		return nil, &mnq.Error{Kind: mnq.Internal, Op: "console.New", Err: err}
	}
	c := &Console{
		cfg: cfg, pages: p, mux: http.NewServeMux(), origin: http.NewCrossOriginProtection(),
		tries: newTries(), busy: make(chan struct{}, maxBusy), tails: make(chan struct{}, maxTails),
	}
	c.routes()
	return c, nil
}

// contentPolicy allows what this server serves, and nothing inline.
const contentPolicy = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"

// ServeHTTP answers one request.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if r.TLS != nil {
		h.Set("Strict-Transport-Security", "max-age=63072000")
	}
	defer c.recoverPanic(w, r)
	if r.URL.Path == Prefix {
		http.Redirect(w, r, Prefix+"/", http.StatusMovedPermanently)
		return
	}
	if err := c.origin.Check(r); err != nil {
		c.fail(c.visitor(w, r), &problem{Status: http.StatusForbidden, Message: "This request came from another site, so nothing was done."})
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	c.mux.ServeHTTP(w, r)
}

func (c *Console) recoverPanic(w http.ResponseWriter, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler { //nolint:errorlint // the value net/http itself panics with
		panic(v)
	}
	c.cfg.Log.ErrorContext(r.Context(), "console panicked", slog.Any("error", v), slog.String("stack", string(debug.Stack())))
	http.Error(w, "internal error", http.StatusInternalServerError)
}

// open registers a page for everybody.
func (c *Console) open(pattern string, f func(*page) error) {
	c.handle(pattern, func(p *page) error { return f(p) })
}

// page registers a page for those who have signed in.
func (c *Console) page(pattern string, f func(*page) error) {
	c.handle(pattern, func(p *page) error {
		if err := p.signedIn(); err != nil {
			return err
		}
		return f(p)
	})
}

// action registers what a form does. A form carries its session's token.
func (c *Console) action(pattern string, f func(*page) error) {
	c.handle("POST "+pattern, func(p *page) error {
		if err := p.signedIn(); err != nil {
			return err
		}
		if err := p.readForm(); err != nil {
			return err
		}
		if !p.session.ownForm(p.r.PostFormValue("csrf")) {
			return &problem{Status: http.StatusForbidden, Message: "This form is not of your session, so nothing was done. Open the page again and repeat."}
		}
		return f(p)
	})
}

func (c *Console) handle(pattern string, f func(*page) error) {
	method, path, found := strings.Cut(pattern, " ")
	if !found {
		method, path = http.MethodGet, pattern
	}
	c.mux.HandleFunc(method+" "+Prefix+path, func(w http.ResponseWriter, r *http.Request) {
		if info := service.RequestOf(r.Context()); info != nil {
			defer func() { info.Front, info.Operation = "console", method+" "+path }()
		}
		select {
		case c.busy <- struct{}{}:
			defer func() { <-c.busy }()
		case <-r.Context().Done():
			return
		}
		p := c.visitor(w, r)
		if err := f(p); err != nil {
			c.fail(p, err)
		}
	})
}

// errSignIn says that somebody has to sign in first.
var errSignIn = errors.New("sign in first")

// fail answers with what went wrong.
func (c *Console) fail(p *page, err error) {
	if errors.Is(err, errSignIn) {
		p.toSignIn()
		return
	}
	bad := p.problem(err)
	title := "Something went wrong"
	switch bad.Status {
	case http.StatusNotFound:
		title = "Not found"
	case http.StatusForbidden:
		title = "Not allowed"
	case http.StatusServiceUnavailable:
		title = "Not available right now"
	}
	p.status = bad.Status
	if err := p.show("error", title, bad); err != nil {
		c.cfg.Log.WarnContext(p.r.Context(), "console page failed", "error", err)
	}
}

// visitor is a page for a request of somebody who may or may not have signed in.
func (c *Console) visitor(w http.ResponseWriter, r *http.Request) *page {
	return &page{c: c, w: w, r: r, status: http.StatusOK, now: time.Now()}
}
