package aws

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/service"
	"github.com/openmnq/mnq/queue"
	"github.com/openmnq/mnq/tenant"
	"github.com/openmnq/mnq/topic"
)

const (
	// maxBody bounds a request: a batch of 1 MiB may triple when a client escapes it.
	maxBody = 4 << 20
	// smallBody is what is read for anybody. A longer one is read for a known
	// access key only, and for largeBodies requests at a time: what is kept in
	// memory for unfinished requests must not depend on how many there are.
	smallBody   = 64 << 10
	largeBodies = 64
	bodyWait    = 5 * time.Second // for one of the largeBodies places

	defaultLongPolls = 20_000
	limitLongPolls   = "long_polls" // as metrics name it
	giveBackTimeout  = 5 * time.Second

	versionSQS = "2012-11-05"
	versionSNS = "2010-03-31"
)

// Config says what the front door serves.
type Config struct {
	Directory *tenant.Directory // whose access keys are accepted
	Queues    *queue.Service
	Topics    *topic.Service

	// PublicURL begins every queue URL that is handed out, such as
	// "https://mq.example.com"; it may have a path. Empty: scheme and Host of the
	// request at hand. Forwarding headers are never read.
	PublicURL string

	Region string // of this installation

	// StrictRegion refuses signatures for other regions than Region. By default
	// any well-formed region is accepted, because clients are often set up oddly.
	StrictRegion bool

	// Lookup returns what an access key opens in the region it was signed for.
	// Default: Directory.Principal, in whatever region.
	Lookup func(ctx context.Context, accessKey, region string) (mnq.Principal, error)

	// Owner returns the namespace that the account part of a queue URL or ARN names
	// in a region. Default: Directory.NamespaceByAccount, whatever the region.
	Owner func(account, region string) (mnq.Namespace, error)

	// SkipSignature takes every request for what it says it is, also one without a
	// signature, whose region is then Region. For local development only.
	SkipSignature bool

	// MaxLongPolls is how many ReceiveMessage calls may wait at once; more answer
	// RequestThrottled. Default 20000.
	MaxLongPolls int

	// Bounds says what to turn away, and is told who could not prove an identity. nil:
	// nothing.
	Bounds *service.Bounds

	// Audit runs what changes queues, topics and subscriptions, and writes it down.
	// Default: Directory.Audit.
	Audit func(ctx context.Context, r tenant.AuditRecord, f func() error) error

	Now func() time.Time // default time.Now
	Log *slog.Logger     // default: none
}

// Handler serves SQS and SNS on any path: POST / for both protocols, GET with an
// Action, both on /{account}/{queue}, and the certificates of SNS. It is safe for
// concurrent use.
type Handler struct {
	cfg      Config
	base     string // PublicURL without a slash at the end
	basePath string // its path
	verifier verifier
	polls    atomic.Int64
	large    chan struct{} // a token for each request with a large body
}

// New returns a handler.
func New(cfg Config) (*Handler, error) {
	if cfg.Directory == nil || cfg.Queues == nil || cfg.Topics == nil {
		return nil, &mnq.Error{Kind: mnq.Internal, Op: "aws.New", Msg: "Directory, Queues and Topics are required"}
	}
	if cfg.Lookup == nil {
		cfg.Lookup = func(_ context.Context, accessKey, _ string) (mnq.Principal, error) {
			return cfg.Directory.Principal(accessKey)
		}
	}
	if cfg.Audit == nil {
		cfg.Audit = cfg.Directory.Audit
	}
	if cfg.Owner == nil {
		cfg.Owner = func(account, _ string) (mnq.Namespace, error) { return cfg.Directory.NamespaceByAccount(account) }
	}
	return newHandler(cfg)
}

func newHandler(cfg Config) (*Handler, error) {
	cfg.MaxLongPolls = cmp.Or(cfg.MaxLongPolls, defaultLongPolls)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	h := &Handler{
		cfg: cfg, verifier: verifier{lookup: cfg.Lookup, now: cfg.Now}, large: make(chan struct{}, largeBodies),
	}
	if cfg.StrictRegion {
		if !wellFormedRegion(cfg.Region) {
			return nil, &mnq.Error{Kind: mnq.Invalid, Op: "aws.New", Field: "Region", Msg: "StrictRegion needs a region"}
		}
		h.verifier.region = cfg.Region
	}
	if cfg.PublicURL != "" {
		h.base = strings.TrimRight(cfg.PublicURL, "/")
		_, rest, ok := strings.Cut(h.base, "://")
		if !ok || rest == "" {
			return nil, &mnq.Error{Kind: mnq.Invalid, Op: "aws.New", Field: "PublicURL", Msg: "the public URL must begin with http:// or https:// and a host"}
		}
		if i := strings.IndexByte(rest, '/'); i >= 0 {
			h.basePath = rest[i:]
		}
	}
	return h, nil
}

// newRequest tells the protocol of a request by its headers.
func newRequest(r *http.Request, path string) *request {
	req := &request{id: uuid.NewString(), http: r, path: path, proto: queryProtocol{}, service: mnq.ServiceSQS}
	if r.Header.Get(targetHeader) != "" || strings.HasPrefix(r.Header.Get("Content-Type"), jsonContentType) {
		req.proto = jsonProtocol{}
	}
	return req
}

// Starting answers in a handler's place while the server starts: every client is
// told in its own protocol to try again.
func Starting() http.Handler {
	h := &Handler{cfg: Config{Log: slog.New(slog.DiscardHandler)}}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req := newRequest(r, r.URL.Path)
		sig, _ := parseSignature(r) // nothing is done that it would have to be right for
		req.service = serviceOf(req, sig)
		w.Header().Set("X-Amzn-Requestid", req.id)
		w.Header().Set("Retry-After", "1")
		h.fail(r.Context(), w, req, &mnq.Error{Kind: mnq.Unavailable, Op: "aws.Starting"})
	})
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req := newRequest(r, below(h.basePath, r.URL.Path))
	w.Header().Set("X-Amzn-Requestid", req.id)
	defer h.recoverPanic(r.Context(), w, req)
	if _, query := req.proto.(queryProtocol); query && r.Method == http.MethodGet && !strings.Contains(r.URL.RawQuery, "Action=") {
		h.serveFile(r.Context(), w, req)
		return
	}
	defer h.release(req)
	c, out, err := h.serve(r.Context(), req)
	if err != nil {
		h.fail(r.Context(), w, req, err)
		return
	}
	body, contentType, err := req.proto.encode(req, out)
	if err != nil {
		h.fail(r.Context(), w, req, err)
		return
	}
	// Who has gone before the answer begins has not got it. Later it tells nothing: many
	// clients close their connection as soon as they have read the answer.
	delivered := r.Context().Err() == nil
	delivered = write(w, http.StatusOK, body, contentType) && delivered
	if c.giveBack == nil {
		return
	}
	if delivered {
		delivered = http.NewResponseController(w).Flush() == nil
	}
	if !delivered {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), giveBackTimeout)
		defer cancel()
		c.giveBack(ctx)
	}
}

// release gives back what a request had taken of what there is for all of them.
func (h *Handler) release(req *request) {
	if req.large {
		<-h.large
	}
	for _, free := range req.taken {
		free()
	}
}

// serveFile answers a GET without an action: one of the certificates that SNS
// messages are signed with, or that there is nothing.
func (h *Handler) serveFile(ctx context.Context, w http.ResponseWriter, req *request) {
	file := strings.TrimPrefix(req.path, "/")
	if strings.HasPrefix(file, "SimpleNotificationService-") {
		if pem, ok := h.cfg.Topics.Certificate(ctx, file); ok {
			w.Header().Set("Cache-Control", "public, max-age=86400") // a file of that name never changes
			write(w, http.StatusOK, pem, "application/x-pem-file")
			return
		}
	}
	write(w, http.StatusNotFound, []byte("<UnknownOperationException/>\n"), xmlContentType)
}

// serve takes the steps from an unknown request to the output of an operation.
func (h *Handler) serve(ctx context.Context, req *request) (*call, any, error) {
	c, err := h.authenticate(ctx, req)
	if err != nil {
		return nil, nil, err
	}
	if req.name, err = req.proto.action(req); err != nil {
		return nil, nil, err
	}
	op, err := find(req.service, req.name)
	if err != nil {
		return nil, nil, err
	}
	if err := op.admit(c); err != nil {
		return nil, nil, err
	}
	if info := service.RequestOf(ctx); info != nil {
		info.Operation = req.name
	}
	out, err := op.run(h, ctx, c)
	return c, out, err
}

// authenticate reads the request and finds out who made it.
func (h *Handler) authenticate(ctx context.Context, req *request) (*call, error) {
	r := req.http
	if r.Method != http.MethodPost && r.Method != http.MethodGet {
		return nil, invalid("MethodNotAllowed", "Only GET and POST are served here.")
	}
	sig, sigErr := parseSignature(r)
	if sigErr == nil {
		req.query = sig.query
	} else {
		var err error
		if req.query, err = parsePairs(nil, r.URL.RawQuery); err != nil {
			return nil, err
		}
	}
	anonymous := isLink(req, sigErr)
	req.admit = func() error { return h.admit(ctx, req, sig, sigErr) }
	if err := h.readBody(req); err != nil {
		return nil, err
	}
	req.service = serviceOf(req, sig)
	leave, ok := h.cfg.Bounds.Enter()
	if !ok {
		return nil, throttled(service.LimitInFlight, "The server has more to do than it can. Please try again.")
	}
	req.leave, req.taken = leave, append(req.taken, leave)
	if info := service.RequestOf(ctx); info != nil {
		info.Front, info.RequestID = string(req.service), req.id
	}
	if anonymous {
		return &call{request: req, anonymous: true, baseURL: h.baseURL(r)}, nil
	}
	var principal mnq.Principal
	var err error
	switch {
	case h.cfg.SkipSignature && sigErr != nil:
		principal, err = h.cfg.Lookup(ctx, "", h.cfg.Region)
	case sigErr != nil:
		return nil, sigErr
	case h.cfg.SkipSignature:
		principal, err = h.cfg.Lookup(ctx, sig.scope.accessKey, cmp.Or(sig.scope.region, h.cfg.Region))
	default:
		principal, err = h.verify(r, sig, req)
	}
	if err != nil {
		return nil, err
	}
	if limit := h.cfg.Bounds.Reached(principal.Credential.AccessKey, principal.Namespace.ID); limit != "" {
		return nil, throttled(limit, "The rate of requests is too high. Please try again, more slowly.")
	}
	if only := principal.Credential.Service; only != "" && only != req.service {
		return nil, &mnq.Error{
			Kind: mnq.Denied, Code: "AccessDenied", Op: "aws.authenticate",
			Msg: "The credential is for " + string(only) + ", not for " + string(req.service) + ".",
		}
	}
	return &call{request: req, principal: principal, baseURL: h.baseURL(r)}, nil
}

// verify checks the signature, unless whoever sent it has failed to prove an identity
// again and again. Those with a key that nobody has share the patience for their
// address; who uses somebody's key has a patience of its own, so that others behind the
// same proxy do not suffer.
func (h *Handler) verify(r *http.Request, sig *signature, req *request) (mnq.Principal, error) {
	who := service.ClientAddress(r)
	if _, err := h.verifier.lookup(r.Context(), sig.scope.accessKey, sig.scope.region); err == nil {
		who += " " + sig.scope.accessKey
	}
	if h.cfg.Bounds.Failing(who) {
		return mnq.Principal{}, throttled(service.LimitAuthFailures, "Too many requests from this address were not signed correctly. Please try again later.")
	}
	principal, err := h.verifier.verify(r, sig, req.body, req.service)
	switch {
	case err == nil:
		if h.cfg.Directory != nil { // else there is a Lookup of somebody else's keys
			h.cfg.Directory.Used(principal.Credential.AccessKey)
		}
	case mnq.KindOf(err) == mnq.Unauthenticated:
		h.cfg.Bounds.Failed(who)
	}
	return principal, err
}

// throttled refuses because a limit of the server is reached for now.
func throttled(limit, msg string) error {
	return &mnq.Error{Kind: mnq.Throttled, Code: "RequestThrottled", Op: "aws.serve", Field: limit, Msg: msg}
}

// readBody reads the whole body, so that the connection is watched from then on
// and a client that goes away ends the request's context.
func (h *Handler) readBody(req *request) error {
	r := req.http
	if e := r.Header.Get("Content-Encoding"); e != "" && e != "identity" {
		return invalid("UnsupportedMediaType", "Content-Encoding "+clip(e)+" is not accepted: send the body as it is.")
	}
	if len(r.TransferEncoding) > 0 && r.Header.Get("Content-Length") != "" {
		return malformed("A request has either Content-Length or Transfer-Encoding.", nil)
	}
	tooLarge := func() error {
		return invalid("RequestEntityTooLarge", "A request must not be longer than "+strconv.Itoa(maxBody)+" bytes.")
	}
	if r.ContentLength > maxBody {
		return tooLarge()
	}
	first := r.ContentLength
	if first < 0 || first > smallBody {
		first = smallBody
	}
	free, ok := h.cfg.Bounds.Body(first)
	if !ok {
		return throttled(service.LimitBodies, "Too many requests with a body are being read. Please try again.")
	}
	req.taken = append(req.taken, free)
	b := bytes.NewBuffer(make([]byte, 0, min(max(r.ContentLength, 0), smallBody)+bytes.MinRead))
	if _, err := b.ReadFrom(io.LimitReader(r.Body, smallBody+1)); err != nil {
		return malformed("The request body could not be read.", err)
	}
	if b.Len() <= smallBody {
		req.body = b.Bytes()
		return nil
	}
	if req.admit != nil {
		if err := req.admit(); err != nil {
			return err
		}
	}
	if r.ContentLength > 0 {
		b.Grow(int(r.ContentLength) - b.Len() + bytes.MinRead) // at once, so that nothing is copied again
	}
	if _, err := b.ReadFrom(io.LimitReader(r.Body, int64(maxBody+1-b.Len()))); err != nil {
		return malformed("The request body could not be read.", err)
	}
	if b.Len() > maxBody {
		return tooLarge()
	}
	req.body = b.Bytes()
	return nil
}

// admit lets a request read a body longer than smallBody, or says why not. The
// place it takes is given back by [Handler.ServeHTTP].
func (h *Handler) admit(ctx context.Context, req *request, sig *signature, sigErr error) error {
	if !h.cfg.SkipSignature {
		if sigErr != nil {
			return sigErr
		}
		if _, err := h.verifier.lookup(ctx, sig.scope.accessKey, sig.scope.region); err != nil {
			return unknownKey(err)
		}
	}
	wait := time.NewTimer(bodyWait)
	defer wait.Stop()
	select {
	case h.large <- struct{}{}:
		req.large = true
		return nil
	case <-wait.C:
		return throttled(service.LimitBodies, "Too many large requests at once. Please try again.")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// isLink reports whether req calls an operation as links do: by GET, without a
// signature.
func isLink(req *request, sigErr error) bool {
	if e, ok := errors.AsType[*mnq.Error](sigErr); !ok || e.Code != codeMissingAuthentication {
		return false
	}
	if _, ok := req.proto.(queryProtocol); !ok || req.http.Method != http.MethodGet {
		return false
	}
	op := tables[mnq.ServiceSNS][rawParameter(req.http.URL.RawQuery, "Action")]
	return op != nil && op.link
}

// serviceOf tells which service a request is meant for: by its target, its
// Version, or the scope of its signature, which must be for that service; without
// any of them by an action that only SNS has.
func serviceOf(req *request, sig *signature) mnq.Service {
	if _, ok := req.proto.(jsonProtocol); ok {
		return mnq.ServiceSQS
	}
	query, body := req.http.URL.RawQuery, string(req.body)
	read := func(name string) string { return cmp.Or(rawParameter(query, name), rawParameter(body, name)) }
	switch read("Version") {
	case versionSQS:
		return mnq.ServiceSQS
	case versionSNS:
		return mnq.ServiceSNS
	}
	if sig != nil && (sig.scope.service == string(mnq.ServiceSNS) || sig.scope.service == string(mnq.ServiceSQS)) {
		return mnq.Service(sig.scope.service)
	}
	if action := read("Action"); tables[mnq.ServiceSQS][action] == nil && tables[mnq.ServiceSNS][action] != nil {
		return mnq.ServiceSNS
	}
	return mnq.ServiceSQS
}

// rawParameter returns the first value of a parameter in a form, both of which
// need no escaping.
func rawParameter(form, name string) string {
	for part := range strings.SplitSeq(form, "&") {
		if value, ok := strings.CutPrefix(part, name); ok && strings.HasPrefix(value, "=") {
			return value[1:]
		}
	}
	return ""
}

// below is what of path comes after base. A path that is not below it stays as it
// is, for clients that reach the server without the proxy that adds it.
func below(base, path string) string {
	if rest, found := strings.CutPrefix(path, base); found && (rest == "" || rest[0] == '/') {
		return rest
	}
	return path
}

func (h *Handler) baseURL(r *http.Request) string {
	if h.base != "" {
		return h.base
	}
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// fail answers err; the cause of what is our fault is logged and not shown.
func (h *Handler) fail(ctx context.Context, w http.ResponseWriter, req *request, err error) {
	f := failureOf(req.service, err)
	if f.receiver() && !errors.Is(err, context.Canceled) {
		h.cfg.Log.ErrorContext(ctx, "request_failed", "request_id", req.id, "service", string(req.service), "operation", clip(req.name), "error", err)
	}
	if f.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", "GET, POST")
	}
	if info := service.RequestOf(ctx); info != nil {
		info.Code, info.RequestID = f.name, req.id
		switch mnq.KindOf(err) {
		case mnq.Unauthenticated:
			info.Refused = f.name
		case mnq.Throttled:
			info.Throttled = f.name
			if e, ok := errors.AsType[*mnq.Error](err); ok {
				info.Throttled = cmp.Or(e.Field, f.name)
			}
		default:
		}
	}
	if kind := mnq.KindOf(err); kind == mnq.Throttled || kind == mnq.Unavailable {
		w.Header().Set("Retry-After", "1")
	}
	body, contentType := req.proto.encodeFailure(req, f, w.Header())
	write(w, f.status, body, contentType)
}

// recoverPanic answers a request whose handling panicked, and logs where. It must
// be deferred.
func (h *Handler) recoverPanic(ctx context.Context, w http.ResponseWriter, req *request) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler { //nolint:errorlint // the value net/http itself panics with
		panic(v)
	}
	h.fail(ctx, w, req, &mnq.Error{
		Kind: mnq.Internal, Op: "aws.ServeHTTP", Err: fmt.Errorf("panic: %v\n%s", v, debug.Stack()),
	})
}

// write reports whether all of body was taken.
func write(w http.ResponseWriter, status int, body []byte, contentType string) bool {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, err := w.Write(body) //nolint:gosec // text of clients is escaped in both protocols
	return err == nil
}
