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
	Connections                  int
	SlowConsumers                int64 // since the start
	InBytes, OutBytes            int64 // since the start
}

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
	return Figures{
		Streams: uint64(js.Streams), Consumers: uint64(js.Consumers), Messages: js.Messages, //nolint:gosec // counts
		StorageBytes: js.Store, StorageLimit: uint64(max(0, js.Config.MaxStore)),
		Connections: v.Connections, SlowConsumers: v.SlowConsumers, InBytes: v.InBytes, OutBytes: v.OutBytes,
	}, nil
}
