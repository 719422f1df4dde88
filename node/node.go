// Package node starts the embedded nats-server, or joins an external NATS
// cluster in operator mode, and gives out connections to accounts. It is the
// only package that imports nats-server.
//
// Both ways run the same code: one operator key signs every account, accounts
// are published through the system account, and connections are made with users
// that are signed for the purpose. Embedded, the connections are in-process.
package node

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/openmnq/mnq"
)

// Fsync modes.
const (
	FsyncAlways   = "always"   // an acknowledged write is on disk
	FsyncInterval = "interval" // synced by the server every two minutes; survives a process kill, not a power cut
)

// MaxPayload is the largest NATS message the embedded server takes: the largest
// SQS message (1 MiB) with its attributes and headers.
const MaxPayload = 2 << 20

// dialTimeout is how long a handshake may take.
const dialTimeout = 5 * time.Second

// Config says how to run or reach NATS.
type Config struct {
	DataDir   string      // keys/, nats/ and accounts/ live under it; one process at a time
	Listen    string      // host:port of the NATS client listener; empty: in-process connections only
	WebSocket string      // host:port of a listener for NATS over WebSocket; empty: none; embedded only
	Advertise string      // host:port of Listen for clients that ask other servers of the cluster; default: Listen
	Fsync     string      // FsyncAlways (default) or FsyncInterval; embedded only
	Replicas  int         // stream replicas: 1 (default), 3 or 5
	TLS       *tls.Config // for the client listener; nil: clear text
	Cluster   *Cluster    // nil: the embedded server stands alone
	External  *External   // nil: embedded
	Log       *slog.Logger
	Version   string // of this program, for Status

	// AcceptDamage goes on without messages that have become unreadable on the disk.
	AcceptDamage bool

	// CutOff is called when a member of a cluster has lost contact with the others.
	// From then on it must not be believed: the process has to end at once, as if
	// killed, and to start anew. Needed with Cluster.
	CutOff func()
}

// External describes a NATS cluster in operator mode that others run.
type External struct {
	URL              string      // nats://host:port[,…]
	OperatorSeedFile string      // operator or operator signing seed that signs our accounts, mode 0600
	SystemCredsFile  string      // .creds of a user of the system account
	TLS              *tls.Config // nil: as the URL scheme says
}

func (c *Config) validate() error {
	c.Fsync = cmp.Or(c.Fsync, FsyncAlways)
	c.Replicas = cmp.Or(c.Replicas, 1)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	bad := func(field, msg string) error {
		return &mnq.Error{Kind: mnq.Invalid, Op: "node.New", Field: field, Msg: msg}
	}
	switch {
	case c.DataDir == "":
		return bad("data-dir", "must name a directory")
	case c.Fsync != FsyncAlways && c.Fsync != FsyncInterval:
		return bad("fsync", fmt.Sprintf("must be always or interval, not %q", c.Fsync))
	case c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5:
		return bad("replicas", fmt.Sprintf("must be 1, 3 or 5, not %d", c.Replicas))
	case c.External == nil && c.Cluster == nil && c.Replicas > 1:
		return bad("replicas", "more than 1 needs a cluster: use --cluster-name or --nats-url")
	case c.External != nil && c.Cluster != nil:
		return bad("nats-url", "cannot be used with --cluster-name")
	case c.External != nil && c.WebSocket != "":
		return bad("nats-websocket", "cannot be used with --nats-url: the external server has its own")
	case c.External != nil && (c.External.URL == "" || c.External.OperatorSeedFile == "" || c.External.SystemCredsFile == ""):
		return bad("nats-url", "needs nats-operator-seed-file and nats-system-creds-file too")
	case c.Cluster != nil && c.CutOff == nil:
		return bad("cut-off", "is needed with a cluster")
	case c.Cluster != nil:
		return c.Cluster.validate(c.Replicas)
	}
	return nil
}

// Node is one NATS server, or the connections to a cluster. It is safe for
// concurrent use once Start has returned.
type Node struct {
	cfg  Config
	log  *slog.Logger
	keys *keys
	lock *dirLock
	srv  *server.Server // nil with an external cluster
	logs *serverLog
	ws   *webSocket // nil without a listener for it

	began     time.Time
	instance  string                    // tells this process from others on the machine
	reachable atomic.Pointer[nats.Conn] // sys, once there is one
	started   atomic.Bool

	srvOptions *server.Options        // of srv
	resolver   *server.DirAccResolver // of srv
	open       *server.Options        // those with which clients are let in, in a cluster
	waiting    atomic.Pointer[string] // for what Start waits

	contact     atomic.Pointer[contact] // nil outside a cluster
	stopContact context.CancelFunc
	stopRepair  context.CancelFunc

	sys *nats.Conn // system account
	ctl *nats.Conn // control account
	cjs jetstream.JetStream

	health     health
	streams    sync.Mutex // held while every stream is looked at
	streamsAt  time.Time  // when that was last done
	streamsErr error      // and what came of it
	streamsOK  time.Time  // when nothing was wrong last
	caughtUp   bool       // nothing was wrong at least once, in a cluster

	repairing sync.WaitGroup

	mu      sync.Mutex
	known   map[string]string // servers that answered last, by id with their names
	knownAt time.Time
	stopped bool
}

// New checks the configuration, takes the data directory for this process and
// reads or makes the keys. It does not start anything.
func New(cfg Config) (*Node, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	lock, err := lockDir(cfg.DataDir)
	if err != nil {
		return nil, dirError(cfg.DataDir, err)
	}
	k, err := openDir(cfg)
	if err != nil {
		return nil, errors.Join(err, lock.release())
	}
	return &Node{cfg: cfg, log: cfg.Log, keys: k, lock: lock, began: time.Now().UTC(), instance: nuid.Next()[:6]}, nil
}

// openDir checks the data directory and reads or makes the keys.
func openDir(cfg Config) (*keys, error) {
	warnIfOpen(cfg)
	if err := checkLayout(cfg); err != nil {
		return nil, err
	}
	return loadKeys(cfg)
}

// warnIfOpen says that others may put files of their own in the place of ours. A
// mounted volume can be like that for a reason, so it is no error.
func warnIfOpen(cfg Config) {
	if info, err := os.Stat(cfg.DataDir); err == nil && info.Mode().Perm()&0o022 != 0 {
		cfg.Log.Warn("data_dir_writable_by_others", "data_dir", cfg.DataDir, "mode", fmt.Sprintf("%04o", info.Mode().Perm()),
			"hint", "others can replace the keys: chmod 700 it, or use a directory in it that mnq makes itself")
	}
}

// errLocked is why a data directory cannot be taken that another process has.
var errLocked = errors.New("locked by another process")

// dirError tells a directory in use, which may be free in a moment, from one that
// is no good.
func dirError(dir string, err error) error {
	e := &mnq.Error{Kind: mnq.Invalid, Op: "node.New", Field: "data-dir", Resource: dir, Msg: "cannot be used: " + err.Error(), Err: err}
	if errors.Is(err, errLocked) {
		e.Kind, e.Msg = mnq.Conflict, "another mnq is running on this data-dir"
	}
	return e
}

// Start brings up the server (or reaches the cluster), with its client port
// still closed, and connects to the system and control accounts.
func (n *Node) Start(ctx context.Context) error {
	if err := n.start(ctx); err != nil {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return errors.Join(err, n.Stop(stop))
	}
	return nil
}

func (n *Node) start(ctx context.Context) error {
	if n.cfg.External == nil {
		if err := n.verify(ctx); err != nil {
			return err
		}
		if err := n.startEmbedded(); err != nil {
			return err
		}
		n.keepRepaired(ctx)
	}
	var err error
	if n.sys, err = n.connectSystem(ctx); err != nil {
		return fmt.Errorf("connect to the system account: %w", err)
	}
	n.reachable.Store(n.sys)
	if err := n.answerStatus(ctx, n.sys); err != nil {
		return fmt.Errorf("subscribe to questions for the status: %w", err)
	}
	if n.cfg.Cluster != nil {
		if err := n.awaitCluster(ctx); err != nil {
			return err
		}
		if err := n.keepContact(ctx); err != nil {
			return err
		}
	}
	if n.cfg.External != nil {
		if err := n.PushAccount(ctx, n.keys.controlAccount()); err != nil {
			return fmt.Errorf("publish the control account: %w", err)
		}
	}
	if n.ctl, n.cjs, err = n.Connect(ctx, n.keys.controlID, n.keys.controlSigning); err != nil {
		return fmt.Errorf("connect to the control account: %w", err)
	}
	n.started.Store(true)
	return n.checkDurability(ctx)
}

// Listen opens the NATS client port. Call it once every account has been pushed,
// so that no revoked user slips in between.
func (n *Node) Listen() error {
	if n.srv == nil || n.cfg.Listen == "" {
		return nil
	}
	if n.cfg.Cluster != nil {
		return n.openGate()
	}
	ready := make(chan struct{})
	go n.srv.AcceptLoop(ready)
	<-ready
	if n.srv.Addr() == nil {
		return &mnq.Error{
			Kind: mnq.Invalid, Op: "node.Listen", Field: "nats", Resource: n.cfg.Listen,
			Msg: "cannot listen on " + n.cfg.Listen, Err: n.logs.fatal(),
		}
	}
	return nil
}

// Stop closes the connections and shuts the server down, waiting for its last
// writes. It may be called twice and before Start.
func (n *Node) Stop(ctx context.Context) error {
	n.mu.Lock()
	done := n.stopped
	n.stopped = true
	n.mu.Unlock()
	if done {
		return nil
	}
	if n.stopContact != nil {
		n.stopContact()
	}
	if n.stopRepair != nil {
		n.stopRepair()
	}
	n.repairing.Wait()
	for _, c := range []*nats.Conn{n.ctl, n.sys} {
		if c != nil {
			c.Close()
		}
	}
	err := n.ws.refuse(ctx)
	if n.srv != nil {
		down := make(chan struct{})
		go func() { n.stopServer(); close(down) }()
		select {
		case <-down:
		case <-ctx.Done():
			err = errors.Join(err, fmt.Errorf("stop nats-server: %w", context.Cause(ctx)))
		}
	}
	if n.srv != nil && err == nil {
		err = n.writeManifest()
	}
	return errors.Join(err, n.ws.wait(ctx), n.lock.release())
}

// stopServer shuts the server down. In a cluster it first hands its leaderships to the
// others and tells its clients to go there.
func (n *Node) stopServer() {
	if n.cfg.Cluster != nil {
		n.srv.LameDuckShutdown() // does nothing when the port is closed
	}
	n.srv.Shutdown()
	n.srv.WaitForShutdown()
}

// Address is the bound host:port of the client listener, "" when not listening.
func (n *Node) Address() string {
	if n.srv == nil || n.srv.Addr() == nil {
		return ""
	}
	return n.srv.Addr().String()
}

// Replicas is the number of copies that streams are to be made with.
func (n *Node) Replicas() int { return n.cfg.Replicas }

// External reports whether NATS is run by others.
func (n *Node) External() bool { return n.cfg.External != nil }

// Clustered reports whether the embedded server is one of several.
func (n *Node) Clustered() bool { return n.cfg.Cluster != nil }

// InProcess connects a NATS client to the embedded server without a socket; nil with an
// external cluster.
func (n *Node) InProcess() nats.Option {
	if n.srv == nil {
		return nil
	}
	return nats.InProcessServer(n.srv)
}

// Control is the control account's JetStream, where the installation keeps its
// directory.
func (n *Node) Control() jetstream.JetStream { return n.cjs }

// ControlConn is the connection behind Control.
func (n *Node) ControlConn() *nats.Conn { return n.ctl }

// accountDir is where the embedded server keeps an account's streams.
func (n *Node) accountDir(id string) string {
	return filepath.Join(n.cfg.DataDir, "nats", "jetstream", id)
}
