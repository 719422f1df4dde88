package node

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"

	"github.com/openmnq/mnq"
)

// RemoveNode takes a node that is gone for good out of the cluster. The copies that it
// had are made anew on others, which goes on after RemoveNode has returned (see
// [Status]); the node must not come back with its old data. Kind NotFound: the cluster
// knows no node of that name; Conflict: it still runs, or too few would remain.
func (n *Node) RemoveNode(ctx context.Context, name string) error {
	const op = "node.RemoveNode"
	fail := func(kind mnq.Kind, format string, args ...any) error {
		return &mnq.Error{Kind: kind, Op: op, Resource: name, Msg: fmt.Sprintf(format, args...)}
	}
	if n.Mode() != ModeCluster {
		return fail(mnq.Unsupported, "this is no cluster of mnq processes")
	}
	s := n.Status(ctx)
	var found *NodeStatus
	remain := 0
	for i, one := range s.Nodes {
		switch {
		case one.Name == name:
			found = &s.Nodes[i]
		case one.State != "away" && one.State != "silent":
			remain++
		}
	}
	switch {
	case found == nil:
		return fail(mnq.NotFound, "there is no node %s", name)
	case found.State != "away" || slices.Contains(n.connectedNodes(), name):
		return fail(mnq.Conflict, "%s runs: stop it first", name)
	case remain < n.cfg.Replicas:
		return fail(mnq.Conflict, "%d nodes would remain, and streams have %d copies: start another node first, or bring this one back under its name with an empty data-dir",
			remain, n.cfg.Replicas)
	}
	body, err := json.Marshal(map[string]string{"peer": name})
	if err != nil {
		return err
	}
	m, err := Retry(ctx, PatienceFor(n.cfg.Replicas), func(ctx context.Context) (*nats.Msg, error) {
		return n.sys.RequestWithContext(ctx, "$JS.API.SERVER.REMOVE", body)
	})
	var answer apiRefusal
	if err == nil {
		err = json.Unmarshal(m.Data, &answer)
	}
	if err == nil && answer.Error != nil {
		err = answer.Error
	}
	if err != nil {
		return &mnq.Error{Kind: mnq.Unavailable, Op: op, Resource: name, Err: err}
	}
	return nil
}
