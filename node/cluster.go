package node

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/service"
)

// Cluster makes the embedded server one of several that form a NATS cluster. All
// of them hold the same operator key, which also authenticates and encrypts the
// connections between them: a server without it is not let in.
type Cluster struct {
	Name   string   // the same in every process
	Node   string   // names this process in the cluster, for good; default: host name and port of Listen
	Listen string   // host:port for the other servers
	Routes []string // host:port of every server, this one included
}

var wellFormedName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func (c *Cluster) validate(replicas int) error {
	bad := func(field, format string, args ...any) error {
		return &mnq.Error{Kind: mnq.Invalid, Op: "node.New", Field: field, Msg: fmt.Sprintf(format, args...)}
	}
	host, port, err := splitListen(c.Listen)
	if err != nil || c.Listen == "" {
		return bad("cluster-listen", "must be host:port, not %q", c.Listen)
	}
	if !wellFormedName.MatchString(c.Name) {
		return bad("cluster-name", "must be letters, digits, dots, dashes and underscores, not %q", c.Name)
	}
	if c.Node == "" {
		c.Node = nodeName(host, port)
	}
	if !wellFormedName.MatchString(c.Node) {
		return bad("cluster-node", "must be letters, digits, dots, dashes and underscores, not %q", c.Node)
	}
	if _, err := c.routes(); err != nil {
		return bad("cluster-routes", "%s", err)
	}
	// The servers found a cluster when more than half of those listed have met, so
	// a list that is too short could found two.
	if most := max(replicas, 2); len(c.Routes) < most {
		return bad("cluster-routes", "must list every node, this one included: at least %d, not %d", most, len(c.Routes))
	}
	return nil
}

// nodeName is unique on a machine and, as far as host names are, among machines.
func nodeName(host string, port int) string {
	if name, err := os.Hostname(); err == nil {
		host = name
	}
	return fmt.Sprintf("%s-%d", strings.Trim(host, "[]:"), port)
}

// routes reads the addresses, each host:port or a URL of it.
func (c *Cluster) routes() ([]*url.URL, error) {
	var out []*url.URL
	for _, r := range c.Routes {
		for _, scheme := range []string{"nats://", "nats-route://", "tls://"} {
			r = strings.TrimPrefix(r, scheme)
		}
		if _, port, err := net.SplitHostPort(r); err != nil || port == "" || strings.ContainsAny(r, "/@ ") {
			return nil, fmt.Errorf("must be a list of host:port, not %q", r)
		}
		out = append(out, &url.URL{Scheme: "nats-route", Host: r})
	}
	return out, nil
}

// apply makes the server's options those of a member.
func (c *Cluster) apply(o *server.Options, k *keys) error {
	host, port, err := splitListen(c.Listen)
	if err != nil {
		return err
	}
	tlsConfig, err := k.routeTLS(c.Node)
	if err != nil {
		return fmt.Errorf("make the certificate for the cluster: %w", err)
	}
	if o.Routes, err = c.routes(); err != nil {
		return err
	}
	o.ServerName = c.Node
	o.LameDuckGracePeriod, o.LameDuckDuration = 500*time.Millisecond, 2*time.Second
	o.Cluster = server.ClusterOpts{
		Name: c.Name, Host: host, Port: port,
		TLSConfig: tlsConfig, TLSTimeout: dialTimeout.Seconds(), AuthTimeout: dialTimeout.Seconds(),
		PingInterval: 5 * time.Second, MaxPingsOut: 2, // a peer that hangs is noticed before its messages pile up
		WriteDeadline: 10 * time.Second,
	}
	return nil
}

// awaitCluster returns when the cluster has a leader and this server is level with
// it. It waits for as long as ctx allows: the others may be started much later.
func (n *Node) awaitCluster(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	say := time.NewTicker(5 * time.Second)
	defer say.Stop()
	for {
		missing := n.clusterMissing()
		n.waiting.Store(&missing)
		if missing == "" {
			return nil
		}
		select {
		case <-tick.C:
		case <-say.C:
			n.log.WarnContext(ctx, "waiting for the cluster", "missing", missing, "cluster", n.cfg.Cluster.Name, "node", n.cfg.Cluster.Node)
		case <-ctx.Done():
			return &mnq.Error{Kind: mnq.Unavailable, Op: "node.Start", Msg: "the cluster did not come together: " + missing, Err: context.Cause(ctx)}
		}
	}
}

// clusterMissing says in words what keeps the cluster from working, as this
// server sees it; "" is nothing.
func (n *Node) clusterMissing() string {
	info, err := n.srv.Jsz(&server.JSzOptions{})
	switch {
	case err != nil || info.Meta == nil:
		return "JetStream is not running yet"
	case info.Meta.Leader == "":
		names := n.connectedNodes()
		if 2*len(names) > info.Meta.Size {
			return "the nodes are choosing a leader: " + strings.Join(names, ", ")
		}
		return fmt.Sprintf("no leader, because not more than half of the %d nodes are connected: %s", info.Meta.Size, strings.Join(names, ", "))
	case !n.srv.JetStreamIsCurrent():
		return "this node is catching up with leader " + info.Meta.Leader
	}
	return ""
}

// connectedNodes lists this server and those that it has a connection to.
func (n *Node) connectedNodes() []string {
	names := []string{n.cfg.Cluster.Node}
	if routes, err := n.srv.Routez(nil); err == nil {
		for _, r := range routes.Routes {
			names = append(names, r.RemoteName)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// clusterReady is a reason that may be shown to anybody why the cluster cannot
// decide anything now, or nil.
func (n *Node) clusterReady() error {
	if n.cfg.Cluster == nil || n.srv == nil {
		return nil
	}
	if missing := n.clusterMissing(); missing != "" {
		return &mnq.Error{Kind: mnq.Unavailable, Op: "node.Ready", Msg: missing, Err: service.PublicError(missing)}
	}
	return nil
}

// Waiting says in words what Start waits for; "" when it does not.
func (n *Node) Waiting() string {
	if w := n.waiting.Load(); w != nil {
		return *w
	}
	return ""
}
