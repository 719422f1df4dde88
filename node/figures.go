package node

import (
	"github.com/nats-io/nats-server/v2/server"

	"github.com/openmnq/mnq"
)

// Figures are what the embedded server counts.
type Figures struct {
	Streams, Consumers, Messages uint64
	StorageBytes                 uint64 // in use
	StorageLimit                 uint64 // what JetStream may use
	APIRequests, APIErrors       uint64 // of JetStream, since the start
	Connections                  int
	SlowConsumers                int64 // since the start
	InBytes, OutBytes            int64 // since the start

	Leads        bool // this server leads the cluster; one that stands alone does
	PeersLagging int  // servers of the cluster that are away or behind, as their leader knows; 0 on the others
}

// laggingAfter is how many entries a peer may be behind its leader: so many pass by in
// the moment between two looks.
const laggingAfter = 1000

// Figures asks the embedded server. With an external cluster they are Unsupported: its
// own monitoring has them.
func (n *Node) Figures() (Figures, error) {
	if n.srv == nil {
		return Figures{}, &mnq.Error{Kind: mnq.Unsupported, Op: "node.Figures", Msg: "the NATS servers run elsewhere"}
	}
	v, err := n.srv.Varz(nil)
	if err != nil {
		return Figures{}, &mnq.Error{Kind: mnq.Internal, Op: "node.Figures", Err: err}
	}
	js, err := n.srv.Jsz(&server.JSzOptions{})
	if err != nil {
		return Figures{}, &mnq.Error{Kind: mnq.Unavailable, Op: "node.Figures", Err: err}
	}
	f := Figures{
		Streams: uint64(js.Streams), Consumers: uint64(js.Consumers), Messages: js.Messages, //nolint:gosec // counts
		StorageBytes: js.Store, StorageLimit: uint64(max(0, js.Config.MaxStore)), APIRequests: js.API.Total, APIErrors: js.API.Errors,
		Connections: v.Connections, SlowConsumers: v.SlowConsumers, InBytes: v.InBytes, OutBytes: v.OutBytes,
		Leads: n.cfg.Cluster == nil,
	}
	if n.cfg.Cluster != nil && js.Meta != nil {
		if f.Leads = js.Meta.Leader == n.srv.Name(); f.Leads {
			for _, p := range js.Meta.Replicas {
				if p.Offline || !p.Current || p.Lag > laggingAfter {
					f.PeersLagging++
				}
			}
		}
	}
	return f, nil
}

// Usage is how much of JetStream an account uses, in the whole cluster.
type Usage struct {
	StorageBytes uint64
	Streams      int
	Connections  int // clients of this and the other servers
}

// Usage asks the embedded server; false when it does not know, as with an external
// cluster.
func (n *Node) Usage(accountID string) (Usage, bool) {
	if n.srv == nil {
		return Usage{}, false
	}
	a, err := n.srv.LookupAccount(accountID)
	if err != nil || !a.JetStreamEnabled() {
		return Usage{}, false
	}
	u := a.JetStreamUsage()
	return Usage{StorageBytes: u.Store, Streams: u.Streams, Connections: a.NumConnections()}, true
}

// Monitoring is what the embedded server says about itself: "varz" or "jsz", as its own
// monitoring has them. With an external cluster it is Unsupported.
func (n *Node) Monitoring(what string) (any, error) {
	switch {
	case n.srv == nil:
		return nil, &mnq.Error{Kind: mnq.Unsupported, Op: "node.Monitoring", Msg: "the NATS servers run elsewhere"}
	case what == "varz":
		return n.srv.Varz(nil)
	default:
		return n.srv.Jsz(&server.JSzOptions{Accounts: true})
	}
}
