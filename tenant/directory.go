// Package tenant is the directory: projects, API keys, namespaces, credentials
// and quotas, stored in JetStream KV in the control account.
//
// The bucket is the truth. A process keeps all of it in memory, held right by one
// watch, and answers every lookup from there. Writes are compare-and-set and
// return when the writer's own memory has them. What takes several steps, such as
// deleting a namespace, is first marked in its record, from when on nobody can
// use the thing; whoever finds a mark that nobody is working on finishes the job.
// DESIGN.md has the reasons.
package tenant

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/node"
)

// Limits bound the whole installation. They keep it from being filled up by
// mistake; two requests at the same moment may each take the last place.
type Limits struct {
	Projects   int // default 1,000
	APIKeys    int // default 1,000
	Users      int // default 1,000
	Namespaces int // default 10,000, hidden ones included
	// Credentials is how many a namespace may have. For NATS the deleted ones
	// count too, because the account has to carry their revocation for ever.
	// Default 5,000.
	Credentials int
}

// Config says where the directory lives.
type Config struct {
	Node    *node.Node // started; its client port may still be closed
	DataDir string     // admin.env and keys/master.key live there

	// MasterKey seals secrets: 32 bytes in base64. Empty: the key file is used,
	// and made at the first start. Every process of an installation needs the
	// same one.
	MasterKey string

	Region string // of every namespace and credential; default fr-par

	// APIURL is written to admin.env, and replaced there when it has changed.
	// It may be empty and given later to SetAPIURL.
	APIURL string

	// Quota is what a namespace is given when it is made; zero fields stand for
	// the protocol's default, whatever that is later. nil: the defaults.
	Quota func(mnq.Protocol) mnq.Quota

	Limits Limits
	Log    *slog.Logger
}

func (c *Config) validate() error {
	c.Region = cmp.Or(c.Region, "fr-par")
	if c.Quota == nil {
		c.Quota = func(mnq.Protocol) mnq.Quota { return mnq.Quota{} }
	}
	c.Limits.Projects = cmp.Or(c.Limits.Projects, 1000)
	c.Limits.APIKeys = cmp.Or(c.Limits.APIKeys, 1000)
	c.Limits.Users = cmp.Or(c.Limits.Users, 1000)
	c.Limits.Namespaces = cmp.Or(c.Limits.Namespaces, 10_000)
	c.Limits.Credentials = cmp.Or(c.Limits.Credentials, 5000)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	switch {
	case c.Node == nil:
		return &mnq.Error{Kind: mnq.Invalid, Op: "tenant.New", Field: "node", Msg: "is needed"}
	case c.DataDir == "":
		return &mnq.Error{Kind: mnq.Invalid, Op: "tenant.New", Field: "data-dir", Msg: "must name a directory"}
	}
	return nil
}

// Directory answers who may do what, and makes and unmakes tenants. It is safe
// for concurrent use once Start has returned. Every change is durable when the
// call returns, is seen by later calls on the same Directory at once, and by
// every other process of the installation within a second.
//
// Lookups are answered from memory and do no I/O. Calls that change something may
// fail with kind Unavailable; the change may have happened then.
type Directory struct {
	cfg    Config
	log    *slog.Logger
	sealer *Sealer
	store  *store
	view   *view
	conns  *connections
	audit  *auditLog

	sessions sessions
	used     lastUse

	follower *follower // nil unless other processes change accounts of our server

	first  bool // this process bootstrapped the installation
	resume chan struct{}

	mu         sync.Mutex
	onGone     []func(namespaceID string)
	onService  []func(ctx context.Context, namespaceID string, s mnq.Service) error
	busy       map[string]*turn // multi-step work under way, by record key
	stop       context.CancelFunc
	running    sync.WaitGroup
	adminEnvMu sync.Mutex
}

// New checks the configuration and reads the master key, if there is one yet.
func New(cfg Config) (*Directory, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	sealer, err := loadSealer(cfg.MasterKey, cfg.DataDir)
	if err != nil {
		return nil, err
	}
	d := &Directory{
		cfg: cfg, log: cfg.Log, sealer: sealer, view: newView(),
		resume: make(chan struct{}, 1), busy: map[string]*turn{},
	}
	d.conns = newConnections(d)
	d.view.onGone = d.namespaceGone
	d.view.onApply = d.applied
	if cfg.Node.Clustered() {
		d.follower = newFollower()
	}
	d.view.onError = func(key string, err error) {
		d.log.Error("directory record refused", "key", key, "error", err)
	}
	return d, nil
}

// Start opens the bucket, bootstraps a new installation, loads everything into
// memory and publishes every namespace's account again, so that revocations hold
// before a client can connect. Deletions that were cut off are finished in the
// background.
func (d *Directory) Start(ctx context.Context) error {
	if err := d.start(ctx); err != nil {
		return errors.Join(err, d.Stop(context.WithoutCancel(ctx)))
	}
	return nil
}

func (d *Directory) start(ctx context.Context) error {
	if err := d.open(ctx); err != nil {
		return err
	}
	if err := d.bootstrap(ctx); err != nil {
		return err
	}
	d.view.sealer = d.sealer
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	d.mu.Lock()
	d.stop = cancel
	d.mu.Unlock()
	loaded := make(chan error, 1)
	d.running.Go(func() { d.view.run(background, d.store, d.cfg.Node.ControlConn(), loaded) })
	select {
	case err := <-loaded:
		if err != nil {
			return unavailable("tenant.Start", "load the directory", err)
		}
	case <-ctx.Done():
		return unavailable("tenant.Start", "load the directory", context.Cause(ctx))
	}
	if err := d.finishBootstrap(ctx); err != nil {
		return err
	}
	if err := d.publishAll(ctx); err != nil {
		return err
	}
	d.running.Go(func() { d.finishWork(background) })
	d.running.Go(func() { d.noteUse(background) })
	if d.follower != nil {
		d.running.Go(func() { d.followAccounts(background) })
	}
	return nil
}

// open opens the bucket and the audit log. In a cluster that may take until enough
// servers are there, so it waits for as long as ctx allows.
func (d *Directory) open(ctx context.Context) (err error) {
	for {
		if err = d.notHalfRestored(ctx); err == nil {
			d.store, err = openStore(ctx, d.cfg.Node)
		}
		if err == nil {
			d.audit, err = openAudit(ctx, d.cfg.Node.Control(), d.cfg.Node.Replicas())
		}
		if err == nil || !d.cfg.Node.Clustered() || !node.Temporary(err) || ctx.Err() != nil {
			return err
		}
		d.log.WarnContext(ctx, "waiting for the directory's storage", "error", err)
	}
}

// Stop ends the watch and closes the connections given out by Connect. It may be
// called twice and before Start.
func (d *Directory) Stop(ctx context.Context) error {
	d.mu.Lock()
	stop := d.stop
	d.mu.Unlock()
	if stop != nil {
		stop()
	}
	done := make(chan struct{})
	go func() { d.running.Wait(); close(done) }()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	d.conns.closeAll()
	d.audit.close(ctx)
	return err
}

// Ready returns nil while the directory follows its bucket. While it does not,
// lookups are answered as of the interruption.
func (d *Directory) Ready(context.Context) error { return d.view.ready() }

// FirstStart reports whether this process made the installation, so that admin.env
// is new.
func (d *Directory) FirstStart() bool { return d.first }

// AdminEnvPath is where admin.env is.
func (d *Directory) AdminEnvPath() string { return filepath.Clean(adminEnvPath(d.cfg.DataDir)) }

// DeriveKey returns a key bound to the master key for the named purpose, the same
// in every process of the installation. Call it after Start.
func (d *Directory) DeriveKey(purpose string) [32]byte { return d.sealer.DeriveKey(purpose) }

// Region is where everything in this directory is.
func (d *Directory) Region() string { return d.cfg.Region }

// OrganizationID is the one organization of the installation.
func (d *Directory) OrganizationID() (id string) {
	d.view.look(func(x *index) {
		if x.org != nil {
			id = x.org.ID
		}
	})
	return id
}

// DefaultProjectID is the project made at the first start.
func (d *Directory) DefaultProjectID() (id string) {
	d.view.look(func(x *index) {
		if x.org != nil {
			id = x.org.DefaultProjectID
		}
	})
	return id
}

// OnNamespaceGone registers f to be called, once per namespace, when a namespace
// has been deleted by any process. f runs on the goroutine that follows the
// directory: it must be quick and must not change the directory. Register before
// Start or right after it; what went before is not told.
func (d *Directory) OnNamespaceGone(f func(namespaceID string)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.onGone = append(d.onGone, f)
}

// OnServiceGone registers f to remove what a service keeps in a namespace: it is
// called when a project's SQS or SNS is switched off while the other stays on, and
// may be called again after an error. A deactivation is not over before every f
// has succeeded.
func (d *Directory) OnServiceGone(f func(ctx context.Context, namespaceID string, s mnq.Service) error) {
	d.mu.Lock()
	d.onService = append(d.onService, f)
	d.mu.Unlock()
	d.wake()
}

// applied takes note of a change; "" stands for all. It runs on the goroutine of the
// watch.
func (d *Directory) applied(key string) {
	d.noteUnfinished(key)
	if d.follower == nil {
		return
	}
	if prefix, id := splitKey(key); prefix == namespacePrefix {
		d.follower.note(id)
	} else if key == "" {
		d.follower.note(d.accounts()...)
	}
}

// namespaceGone runs on the goroutine of the watch.
func (d *Directory) namespaceGone(id string) {
	d.conns.close(id)
	d.mu.Lock()
	hooks := d.onGone
	d.mu.Unlock()
	for _, f := range hooks {
		f(id)
	}
}

// turn is a mutex that is forgotten when nobody wants it.
type turn struct {
	sync.Mutex
	wanted int
}

// lock keeps this process from doing the same multi-step work twice at a time.
// Other processes may; every step can be repeated.
func (d *Directory) lock(key string) (unlock func()) {
	d.mu.Lock()
	m := d.busy[key]
	if m == nil {
		m = &turn{}
		d.busy[key] = m
	}
	m.wanted++
	d.mu.Unlock()
	m.Lock()
	return func() {
		m.Unlock()
		d.mu.Lock()
		defer d.mu.Unlock()
		if m.wanted--; m.wanted == 0 {
			delete(d.busy, key)
		}
	}
}

// detached lets work that has been decided go on when the caller hangs up.
func detached(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
}

// now is the time for records: the precision that the control plane shows.
func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

func notFound(op, kind, id string) error {
	return &mnq.Error{Kind: mnq.NotFound, Op: op, Code: kind, Resource: id, Msg: kind + " does not exist"}
}

func invalid(op, field, msg string) error {
	return &mnq.Error{Kind: mnq.Invalid, Op: op, Field: field, Msg: msg}
}

// tooMany refuses one more of what there are used of already.
func tooMany(op, what string, used, limit int) error {
	return &mnq.Error{
		Kind: mnq.QuotaExceeded, Op: op, Code: what, Limit: int64(limit), Used: int64(used),
		Msg: fmt.Sprintf("there are %d %s already, of %d at most: delete some first", used, what, limit),
	}
}
