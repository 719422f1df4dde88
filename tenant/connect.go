package tenant

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/openmnq/mnq"
)

// connectTimeout bounds the making of one connection, whoever waits for it.
const connectTimeout = 10 * time.Second

// connections are this process's connections to namespaces: at most one each,
// made on first use and kept until the namespace is gone or the directory stops.
type connections struct {
	d *Directory

	mu   sync.Mutex
	open map[string]*connection
	done bool
}

// connection is made by one caller while the others wait for ready.
type connection struct {
	ready chan struct{}
	nc    *nats.Conn // the rest is set before ready is closed
	js    jetstream.JetStream
	err   error
}

func newConnections(d *Directory) *connections {
	return &connections{d: d, open: map[string]*connection{}}
}

// Connect returns this process's own connection to a namespace's account, made
// on first use and shared: the caller must not close it. It is closed when the
// namespace is deleted. Gone: kind NotFound, code "namespace".
func (d *Directory) Connect(ctx context.Context, namespaceID string) (*nats.Conn, jetstream.JetStream, error) {
	c, mine, err := d.conns.get(namespaceID)
	if err != nil {
		return nil, nil, err
	}
	if mine {
		d.conns.dial(context.WithoutCancel(ctx), namespaceID, c)
	}
	select {
	case <-c.ready:
		return c.nc, c.js, c.err
	case <-ctx.Done():
		return nil, nil, unavailable("tenant.Connect", namespaceID, context.Cause(ctx))
	}
}

// get returns the namespace's connection; mine says that the caller has to dial.
func (k *connections) get(id string) (c *connection, mine bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.done {
		return nil, false, &mnq.Error{Kind: mnq.Unavailable, Op: "tenant.Connect", Msg: "shutting down"}
	}
	if c := k.open[id]; c != nil && !c.broken() {
		return c, false, nil
	}
	c = &connection{ready: make(chan struct{})}
	k.open[id] = c
	return c, true, nil
}

// broken reports whether the connection has been closed for good.
func (c *connection) broken() bool {
	select {
	case <-c.ready:
		return c.nc == nil || c.nc.IsClosed()
	default:
		return false
	}
}

func (k *connections) dial(ctx context.Context, id string, c *connection) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	nc, js, err := k.d.dialNamespace(ctx, id)
	k.mu.Lock()
	defer k.mu.Unlock()
	if err == nil && k.open[id] != c { // closed while dialling
		nc.Close()
		nc, js, err = nil, nil, notFound("tenant.Connect", "namespace", id)
	}
	if err != nil && k.open[id] == c {
		delete(k.open, id)
	}
	c.nc, c.js, c.err = nc, js, err
	close(c.ready)
}

func (d *Directory) dialNamespace(ctx context.Context, id string) (*nats.Conn, jetstream.JetStream, error) {
	var ns *namespaceRecord
	d.view.look(func(x *index) { ns = x.namespace(id) })
	if ns == nil {
		return nil, nil, notFound("tenant.Connect", "namespace", id)
	}
	seed, err := d.openSigningSeed(ns)
	if err != nil {
		return nil, nil, err
	}
	signing, err := nkeys.FromSeed(seed)
	if err != nil {
		return nil, nil, err
	}
	defer signing.Wipe()
	nc, js, err := d.cfg.Node.Connect(ctx, id, signing)
	if err != nil {
		return nil, nil, unavailable("tenant.Connect", id, err)
	}
	return nc, js, nil
}

// close closes the connection of a namespace that is gone.
func (k *connections) close(id string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.drop(id)
}

func (k *connections) closeAll() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.done = true
	for id := range k.open {
		k.drop(id)
	}
}

// drop forgets a connection; one still being dialled is closed by its dialler.
func (k *connections) drop(id string) {
	c := k.open[id]
	delete(k.open, id)
	if c == nil {
		return
	}
	select {
	case <-c.ready:
		if c.nc != nil {
			c.nc.Close()
		}
	default:
	}
}
