package node

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/service"
)

// freshFor is how long an answer about the server's state is used again.
const freshFor = time.Second

// fullyFor is how long the answer to a look at every stream is used again: it
// costs the server a walk over all of them.
const fullyFor = 5 * time.Second

// state is what was last known of the server.
type state struct {
	at     time.Time
	err    error // it is down or has a write error
	noRoom error // the disk is nearly full
}

// health keeps the last known state. Whoever finds it old asks again; everybody
// else goes on with what is known.
type health struct {
	last   atomic.Pointer[state]
	asking sync.Mutex
}

// troubleFor is how long a stream of a cluster may be in trouble before this server
// counts as not ready: while a stream finds a new leader, requests wait for it, and a
// load balancer has nowhere better to send them.
const troubleFor = 15 * time.Second

// Ready returns nil when a server answers, JetStream is up, the cluster has a leader
// and no stream has a write error. The streams are looked at every few seconds at
// most, and twice before one counts as broken: the server also reports a stream that
// is being made or deleted at the moment. After its start a server is ready once it
// has caught up with all its streams.
func (n *Node) Ready(ctx context.Context) error {
	if err := n.connected(); err != nil { // known at once, whatever was true a moment ago
		return err
	}
	if err := cmp.Or(n.clusterReady(), n.Stored(), n.state(ctx).err); err != nil {
		return err
	}
	n.streams.Lock()
	defer n.streams.Unlock()
	if time.Since(n.streamsAt) >= fullyFor {
		n.lookAtStreams(ctx)
	}
	if n.streamsErr != nil && n.caughtUp && time.Since(n.streamsOK) < troubleFor {
		return nil
	}
	return n.streamsErr
}

// lookAtStreams asks how all streams are. The caller holds n.streams.
func (n *Node) lookAtStreams(ctx context.Context) {
	ask, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	for range 2 {
		if n.streamsErr = n.askHealth(ask, ""); n.streamsErr == nil {
			n.streamsOK, n.caughtUp = time.Now(), n.cfg.Cluster != nil
			break
		}
	}
	n.streamsAt = time.Now()
}

// Accepts returns nil when new data may be stored: the server is ready and the
// disk has more than its reserve left. With the embedded server the reserve is
// what keeps deletes, which need a little room themselves, going.
func (n *Node) Accepts(ctx context.Context) error {
	s := n.state(ctx)
	return cmp.Or(n.Stored(), s.err, s.noRoom)
}

func (n *Node) state(ctx context.Context) *state {
	s := n.health.last.Load()
	if s != nil && time.Since(s.at) < freshFor {
		return s
	}
	if s == nil {
		n.health.asking.Lock()
	} else if !n.health.asking.TryLock() {
		return s
	}
	defer n.health.asking.Unlock()
	if s = n.health.last.Load(); s == nil || time.Since(s.at) >= freshFor {
		s = &state{err: n.alive(ctx), noRoom: n.room()}
		s.at = time.Now()
		n.health.last.Store(s)
	}
	return s
}

// alive returns nil when the server is there. The embedded one is as long as it runs: to
// ask it would only tell how busy it is.
func (n *Node) alive(ctx context.Context) error {
	if n.srv != nil {
		return n.connected()
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	return n.askHealth(ctx, `{"js-server-only":true}`)
}

// reserve is how much of a disk of that size is kept free: a twentieth, at least
// 64 MiB and at most 1 GiB.
func reserve(total uint64) uint64 { return min(max(total/20, 64<<20), 1<<30) }

// room returns an error when the embedded server's disk is nearly full.
func (n *Node) room() error {
	if n.cfg.External != nil {
		return nil
	}
	free, total, err := diskSpace(n.cfg.DataDir)
	if err != nil || free > reserve(total) {
		return nil //nolint:nilerr // a disk that cannot be measured is not known to be full
	}
	return &mnq.Error{
		Kind: mnq.Unavailable, Code: mnq.CodeDiskFull, Op: "node.Accepts", Resource: n.cfg.DataDir,
		Msg: "The disk is nearly full: nothing new is stored until there is room again. Messages can be received and deleted.",
	}
}

// connected returns an error while one of the node's own connections is down.
func (n *Node) connected() error {
	for _, c := range []*nats.Conn{n.ctl, n.sys} {
		if c == nil || !c.IsConnected() {
			return &mnq.Error{Kind: mnq.Unavailable, Op: "node.Ready", Msg: "not connected to NATS", Err: service.PublicError("not connected to NATS")}
		}
	}
	return nil
}

// askHealth asks the server how it is; the options say how closely it looks.
func (n *Node) askHealth(ctx context.Context, options string) error {
	if err := n.connected(); err != nil {
		return err
	}
	var r struct {
		Data struct {
			Status string `json:"status"`
			Error  string `json:"error"`
		} `json:"data"`
	}
	err := n.askOwn(ctx, "HEALTHZ", options, &r)
	if err == nil && r.Data.Status != "ok" {
		err = errors.New(r.Data.Status + ": " + r.Data.Error)
	}
	if err != nil {
		return &mnq.Error{Kind: mnq.Unavailable, Op: "node.Ready", Msg: "NATS is not healthy", Err: err}
	}
	return nil
}

// askOwn sends a monitoring request to the server that this process is connected to
// and decodes the answer into out.
func (n *Node) askOwn(ctx context.Context, what, options string, out any) (err error) {
	subject := "$SYS.REQ.SERVER." + n.sys.ConnectedServerId() + "." + what
	if e := n.ask(ctx, subject, []byte(options), func(data []byte) bool {
		err = json.Unmarshal(data, out)
		return true
	}); e != nil {
		return e
	}
	return err
}

// checkDurability asserts that the server syncs every write when that is what
// clients were promised.
func (n *Node) checkDurability(ctx context.Context) error {
	if n.cfg.Fsync != FsyncAlways {
		return nil
	}
	var r struct {
		Data struct {
			Config struct {
				SyncAlways bool `json:"sync_always"`
			} `json:"config"`
		} `json:"data"`
	}
	err := n.askOwn(ctx, "JSZ", "", &r)
	if err != nil {
		return &mnq.Error{Kind: mnq.Unavailable, Op: "node.Start", Msg: "cannot ask the NATS server how it syncs writes", Err: err}
	}
	if !r.Data.Config.SyncAlways {
		return &mnq.Error{
			Kind: mnq.Invalid, Op: "node.Start", Field: "fsync",
			Msg: "the NATS server does not sync every write: set sync_interval: always in its jetstream block, or start with --fsync interval",
		}
	}
	return nil
}

// Derive returns 32 bytes bound to the installation for the named purpose, the
// same in every process that holds the operator key.
func (n *Node) Derive(purpose string) ([]byte, error) { return n.keys.derive(purpose) }
