// Package rest is the control plane over HTTP: the Messaging and Queuing API in
// its versions v1alpha1 (namespaces and credentials) and v1beta1 (NATS accounts,
// SQS and SNS), our own additions under /openmnq/v1, and the OpenAPI document
// that describes them.
//
// A request is checked in a fixed order, so that an answer never tells more than
// the caller may know: token, region, form of the request, permission, existence.
package rest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/google/uuid"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/service"
	"github.com/openmnq/mnq/node"
	"github.com/openmnq/mnq/queue"
	"github.com/openmnq/mnq/tenant"
	"github.com/openmnq/mnq/topic"
)

// maxBody is the largest request body in bytes. The largest legitimate one is a
// credential with a name of 500 characters; calls that carry messages say so.
const (
	maxBody     = 64 << 10
	maxSendBody = 4 << 20
)

// Config is what an API needs. Every field is required unless it says otherwise.
type Config struct {
	Directory *tenant.Directory
	Queues    *queue.Service
	Topics    *topic.Service

	// Region is the only region this installation answers for, such as "fr-par".
	Region string

	// NATSEndpoint returns the URL handed out to NATS clients. It is called per
	// request, because a listener on port 0 knows its port only after the start.
	NATSEndpoint func() string

	// PublicURL returns the base URL of the SQS and SNS front door.
	PublicURL func() string

	// Status returns what is known of the installation's nodes.
	Status func(context.Context) node.Status

	// Support returns what helps to find out what is wrong with this process.
	Support func(context.Context) []SupportFile

	// Bounds says what to turn away, and is told who could not prove an identity. nil:
	// nothing.
	Bounds *service.Bounds

	// RemoveNode takes a node out of the cluster. nil: there is no cluster.
	RemoveNode func(ctx context.Context, name string) error

	// Backup writes a backup of the installation. nil: there is none to be had.
	Backup func(context.Context, io.Writer) error

	// Log receives failures that are not the caller's. Default: slog.Default().
	Log *slog.Logger

	// Version of the program, shown in the OpenAPI document. Default: "dev".
	Version string
}

// API serves the control plane. It is safe for concurrent use.
type API struct {
	dir     *tenant.Directory
	queues  *queue.Service
	topics  *topic.Service
	region  string
	natsURL func() string
	httpURL func() string
	status  func(context.Context) node.Status
	remove  func(ctx context.Context, node string) error
	backup  func(context.Context, io.Writer) error
	saving  sync.Mutex // while a backup is made
	support func(context.Context) []SupportFile
	log     *slog.Logger
	bounds  *service.Bounds
	mux     *http.ServeMux
	huma    huma.API
	spec    func() []byte
	ops     []Operation
}

// Operation describes one call of the control plane.
type Operation struct {
	ID      string // unique, such as "v1beta1.CreateNatsAccount"
	Group   string // "v1alpha1", "v1beta1", "openmnq" or "iam"
	Method  string
	Path    string // with {parameters}
	Summary string
	Status  int  // of success
	Writes  bool // refused to read-only keys
	Admin   bool // refused to keys bound to one project
}

func (c *Config) validate() error {
	bad := func(field, msg string) error {
		return &mnq.Error{Kind: mnq.Invalid, Op: "rest.New", Field: field, Msg: msg}
	}
	switch {
	case c.Directory == nil:
		return bad("directory", "is needed")
	case c.Queues == nil || c.Topics == nil:
		return bad("queues", "and topics are needed")
	case c.Region == "":
		return bad("region", "must not be empty")
	case c.NATSEndpoint == nil || c.PublicURL == nil:
		return bad("public-url", "is needed")
	case c.Status == nil || c.Support == nil:
		return bad("status", "is needed")
	default:
		return nil
	}
}

// New checks the configuration and returns an API that is ready to serve.
func New(cfg Config) (*API, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	return build(cfg), nil
}

func build(cfg Config) *API {
	a := &API{
		dir: cfg.Directory, queues: cfg.Queues, topics: cfg.Topics, region: cfg.Region, natsURL: cfg.NATSEndpoint, httpURL: cfg.PublicURL,
		status: cfg.Status, remove: cfg.RemoveNode, backup: cfg.Backup, support: cfg.Support, log: cfg.Log, bounds: cfg.Bounds, mux: http.NewServeMux(),
	}
	if a.log == nil {
		a.log = slog.Default()
	}
	version := cfg.Version
	if version == "" {
		version = "dev"
	}
	useProblems()
	a.huma = humago.New(a.mux, humaConfig(version))
	a.registerV1alpha1()
	a.registerNATS()
	a.registerAWS()
	a.registerOwn()
	a.registerUsers()
	a.registerUsage()
	a.registerSubscriptions()
	a.registerOwnCredentials()
	a.registerQueues()
	a.registerQueueChanges()
	a.registerMessages()
	a.registerSends()
	a.registerTasks()
	a.registerHistory()
	a.registerTopics()
	a.registerAudit()
	a.registerBridges()
	a.registerStatus()
	a.registerBackup()
	a.registerSupport()
	a.spec = sync.OnceValue(func() []byte { return openAPI(a.huma.OpenAPI()) })
	a.mux.HandleFunc("GET /openapi.json", a.serveSpec)
	registerDocs(a.mux)
	return a
}

// Paths lists the patterns, in the syntax of [http.ServeMux], that an [API]
// answers; a server mounts it on each of them.
func Paths() []string {
	return []string{"/mnq/", "/openmnq/", "/iam/", "/openapi.json", "/docs", "/docs/"}
}

// Operations lists every call of the control plane, compatible and our own, in
// the order of the documentation.
func Operations() []Operation { return build(Config{}).ops }

func humaConfig(version string) huma.Config {
	c := huma.DefaultConfig("OpenMNQ control plane", version)
	c.CreateHooks = nil // no $schema fields in answers
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "", "", ""
	c.Info.Description = "Namespaces and credentials (v1alpha1), NATS accounts, SQS and SNS (v1beta1), " +
		"and the operator's additions (openmnq). Every call carries the secret of an API key in X-Auth-Token."
	c.Info.License = &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"}
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token": {Type: "apiKey", In: "header", Name: "X-Auth-Token", Description: "the secret key (UUID) of an API key"},
	}
	c.Security = []map[string][]string{{"token": {}}}
	return c
}

type contextKey struct{}

// caller is what the outer layer finds out about a request before its operation
// runs.
type caller struct {
	mnq.Identity
	requestID string
	path      string
	address   string // host of the client, or of the proxy before us
	agent     string
	via       string // as the audit log names it
	answer    *delivering
}

// ClientHeader is how our command line says that it is the one who asks, for the audit
// log. The console needs none: it calls [API.As].
const ClientHeader = "X-Mnq-Client"

func newCaller(r *http.Request, via string) caller {
	id := uuid.NewString()
	if info := service.RequestOf(r.Context()); info != nil {
		info.RequestID = id // also of what is refused before it is known what it is
	}
	return caller{requestID: id, path: r.URL.Path, address: service.ClientAddress(r), agent: r.UserAgent(), via: via}
}

// ServeHTTP answers one request. Every answer, errors and empty ones included,
// carries Content-Type application/json and the security headers of the API.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := newCaller(r, "api")
	if r.Header.Get(ClientHeader) == "cli" {
		c.via = "cli"
	}
	setHeaders(w.Header(), c.requestID, r.TLS != nil)
	defer a.recoverPanic(w, r, c.requestID)

	if !needsToken(r.URL.Path) {
		if _, pattern := a.mux.Handler(r); pattern == "" {
			a.writeProblem(w, r, c.requestID, a.noRoute(w, r))
			return
		}
		a.mux.ServeHTTP(w, r)
		return
	}
	var err error
	if c.Identity, err = a.admit(r, c.address); err != nil {
		a.writeProblem(w, r, c.requestID, err)
		return
	}
	a.serve(w, r, c)
}

// serve answers a caller whose identity is known.
func (a *API) serve(w http.ResponseWriter, r *http.Request, c caller) {
	if err := a.checkRegion(r.URL.Path); err != nil {
		a.writeProblem(w, r, c.requestID, err)
		return
	}
	if _, pattern := a.mux.Handler(r); pattern == "" {
		a.writeProblem(w, r, c.requestID, a.noRoute(w, r))
		return
	}
	c.answer = &delivering{ResponseWriter: w}
	defer c.answer.end(r.Context()) // also when the framework panics because it cannot write
	a.mux.ServeHTTP(c.answer, asJSON(r.WithContext(context.WithValue(r.Context(), contextKey{}, c))))
}

// As answers requests of somebody whom the console has identified. They may do what
// an API key of the same project and access may, and the audit log says that they did
// it in the console.
func (a *API) As(who mnq.Identity) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := newCaller(r, "console")
		c.Identity = who
		setHeaders(w.Header(), c.requestID, r.TLS != nil)
		defer a.recoverPanic(w, r, c.requestID)
		a.serve(w, r, c)
	})
}

// needsToken: all but the documentation does, paths that do not exist included.
func needsToken(path string) bool {
	return !strings.HasPrefix(path, "/docs") && path != "/openapi.json"
}

func setHeaders(h http.Header, requestID string, overTLS bool) {
	h.Set("Content-Type", "application/json")
	h.Set("X-Request-Id", requestID)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	if overTLS {
		h.Set("Strict-Transport-Security", "max-age=63072000")
	}
}

// asJSON returns r as the operations expect it: the body counts as JSON whatever
// the client calls it (curl -d calls it a form), and an absent one as an empty
// object, so that the answer names the fields that are missing.
func asJSON(r *http.Request) *http.Request {
	r = r.Clone(r.Context())
	r.Header.Set("Content-Type", "application/json")
	r.Header.Del("Accept")
	if r.ContentLength == 0 && r.Method != http.MethodGet && r.Method != http.MethodHead {
		r.Body = io.NopCloser(bytes.NewReader([]byte("{}")))
	}
	return r
}

// admit finds out who makes a request, and whether that is one too many. Looking a
// token up is cheap, so whoever has a good one is served although others at the same
// address have none; the others are told to go slower.
func (a *API) admit(r *http.Request, address string) (mnq.Identity, error) {
	who, err := a.authenticate(r)
	if err != nil {
		if a.bounds.Failing(address) {
			return who, throttled(service.LimitAuthFailures, "too many requests from this address had no valid token")
		}
		a.bounds.Failed(address)
		return who, err
	}
	if limit := a.bounds.Reached(who.AccessKey, ""); limit != "" {
		return who, throttled(limit, "the rate of requests with this key is too high")
	}
	return who, nil
}

// throttled refuses because a limit of the server is reached for now.
func throttled(limit, msg string) error {
	return &mnq.Error{Kind: mnq.Throttled, Op: "rest", Field: limit, Msg: msg}
}

func (a *API) authenticate(r *http.Request) (mnq.Identity, error) {
	token := r.Header.Get("X-Auth-Token")
	if len(token) != 36 || uuid.Validate(token) != nil {
		return mnq.Identity{}, deniedAuthentication("invalid_argument")
	}
	who, err := a.dir.Authenticate(strings.ToLower(token))
	if err == nil {
		a.dir.Used(who.AccessKey)
	}
	return who, err
}

// checkRegion refuses /mnq/{version}/regions/{region}/… of another region.
func (a *API) checkRegion(path string) error {
	rest, ok := strings.CutPrefix(path, "/mnq/")
	if !ok {
		return nil
	}
	_, rest, _ = strings.Cut(rest, "/")
	rest, ok = strings.CutPrefix(rest, "regions/")
	if !ok {
		return nil
	}
	if region, _, _ := strings.Cut(rest, "/"); region != a.region {
		return invalid("region", "constraint", "value must be one of the regions: "+a.region)
	}
	return nil
}

// noRoute says why no operation answers r: no such path, or not with this
// method.
func (a *API) noRoute(w http.ResponseWriter, r *http.Request) error {
	var allowed []string
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		probe := &http.Request{Method: m, URL: r.URL, Host: r.Host}
		if _, pattern := a.mux.Handler(probe); pattern != "" {
			allowed = append(allowed, m)
		}
	}
	if len(allowed) == 0 {
		return notFound("path", r.URL.Path)
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	return &problem{status: http.StatusMethodNotAllowed, Message: "method not allowed", Type: "method_not_allowed"}
}

func (a *API) recoverPanic(w http.ResponseWriter, r *http.Request, requestID string) {
	v := recover()
	if v == nil {
		return
	}
	if v == http.ErrAbortHandler { //nolint:errorlint // the value net/http itself panics with
		panic(v)
	}
	a.log.ErrorContext(r.Context(), "control plane panicked",
		slog.String("request_id", requestID), slog.Any("error", v), slog.String("stack", string(debug.Stack())))
	a.writeProblem(w, r, requestID, internalProblem())
}

func (a *API) serveSpec(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(a.spec()) }

// operation is the registration of one call.
type operation struct {
	id      string // "version.Name"
	method  string
	path    string // below the base of its group
	summary string

	noun   string // what the call is about, in the words of the error bodies
	action string // what it does to the noun; empty: it only reads
	admin  bool   // only for keys that see all projects
	target string // what the body names, for the audit log
	large  bool   // it carries messages
	data   bool   // it sends or receives: counted, not audited
	look   bool   // it only reads, and the audit log says who did
}

// bases are the path prefixes of the groups.
var bases = map[string]string{
	"v1alpha1": "/mnq/v1alpha1/regions/{region}",
	"v1beta1":  "/mnq/v1beta1/regions/{region}",
	"openmnq":  "/openmnq/v1",
	"iam":      "/iam/v1alpha1",
}

// answer is how huma wants a response.
type answer[T any] struct{ Body T }

// InRegion is part of the input of every compatible call. Its value has been
// checked before. Like every part of an input it is exported only because huma
// passes over embedded types that are not.
type InRegion struct {
	Region string `path:"region" doc:"the region of the installation"`
}

// handle registers an operation that answers 200 with a body.
func handle[I, O any](a *API, op operation, f func(ctx context.Context, who mnq.Identity, in *I) (O, error)) {
	huma.Register(a.huma, a.describe(op, http.StatusOK), func(ctx context.Context, in *I) (*answer[O], error) {
		out, err := run(ctx, a, op.on(in), func(who mnq.Identity) (O, error) { return f(ctx, who, in) })
		if err != nil {
			return nil, err
		}
		return &answer[O]{Body: out}, nil
	})
}

// remove registers an operation that answers 204.
func remove[I any](a *API, op operation, f func(ctx context.Context, who mnq.Identity, in *I) error) {
	huma.Register(a.huma, a.describe(op, http.StatusNoContent), func(ctx context.Context, in *I) (*struct{}, error) {
		return run(ctx, a, op.on(in), func(who mnq.Identity) (*struct{}, error) { return nil, f(ctx, who, in) })
	})
}

// run checks the permission, runs the operation and turns its error into an
// answer.
func run[O any](ctx context.Context, a *API, op operation, f func(mnq.Identity) (O, error)) (O, error) {
	c, _ := ctx.Value(contextKey{}).(caller)
	if info := service.RequestOf(ctx); info != nil {
		info.Operation, info.RequestID = op.id, c.requestID
	}
	var zero O
	leave, ok := a.bounds.Enter()
	if !ok {
		err := throttled(service.LimitInFlight, "the server has more to do than it can")
		noteThrottled(ctx, err)
		return zero, a.render(ctx, c.requestID, err, op)
	}
	defer leave()
	out, err := audited(ctx, a, op, func() (O, error) {
		if op.refuses(c.Identity) {
			return zero, permissionsDenied(op.action, op.noun)
		}
		return f(c.Identity)
	})
	if err != nil {
		noteThrottled(ctx, err)
		return zero, a.render(ctx, c.requestID, err, op)
	}
	return out, nil
}

// noteThrottled counts a request that was one too many.
func noteThrottled(ctx context.Context, err error) {
	e, ok := errors.AsType[*mnq.Error](err)
	if info := service.RequestOf(ctx); info != nil && ok && e.Kind == mnq.Throttled {
		info.Throttled = cmp.Or(e.Field, "too_many_requests")
	}
}

// refuses reports whether the caller may not do this at all.
func (op operation) refuses(who mnq.Identity) bool {
	return op.action != "" && (who.ReadOnly || op.admin && who.ProjectID != "")
}

func (a *API) describe(op operation, status int) huma.Operation {
	body := int64(maxBody + 1)
	if op.large {
		body = maxSendBody
	}
	group, _, _ := strings.Cut(op.id, ".")
	path := bases[group] + op.path
	a.ops = append(a.ops, Operation{
		ID: op.id, Group: group, Method: op.method, Path: path, Summary: op.summary,
		Status: status, Writes: op.action != "", Admin: op.admin,
	})
	return huma.Operation{
		OperationID: op.id, Method: op.method, Path: path, Summary: op.summary, Tags: []string{group},
		DefaultStatus: status, MaxBodyBytes: body,
		Responses: map[string]*huma.Response{"default": {
			Description: "the request failed; type says how",
			Content:     map[string]*huma.MediaType{"application/json": {Schema: problemSchema(a.huma)}},
		}},
	}
}
