package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/openmnq/mnq"
)

// claimsTimeout is how long a server may be silent before it is asked whether it is
// there at all.
const claimsTimeout = 3 * time.Second

// serverInfo is what a server puts into its answers about itself.
type serverInfo struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// claimReply is a server's answer to a claims request.
type claimReply struct {
	Server serverInfo
	Data   *struct{ Code int }
	Error  *struct {
		Code        int
		Description string
	}
}

// PushAccount publishes an account and returns when every server that runs has
// taken it over, users that it revokes included. A server that does not answer at
// all is passed over: it serves nobody, and gets the account when it is back, before
// it takes clients.
func (n *Node) PushAccount(ctx context.Context, a Account) error {
	token, err := n.accountJWT(a)
	if err != nil {
		return fmt.Errorf("sign account %s: %w", a.ID, err)
	}
	return n.claims(ctx, "$SYS.REQ.CLAIMS.UPDATE", []byte(token))
}

// StoreAccount is PushAccount for the embedded server of this process only. With an
// external cluster there is none, and it publishes.
func (n *Node) StoreAccount(ctx context.Context, a Account) error {
	if n.srv == nil {
		return n.PushAccount(ctx, a)
	}
	token, err := n.accountJWT(a)
	if err != nil {
		return fmt.Errorf("sign account %s: %w", a.ID, err)
	}
	if err := n.resolver.SaveAcc(a.ID, token); err != nil {
		return fmt.Errorf("store account %s: %w", a.ID, err)
	}
	return nil
}

// claims sends a claims request to all servers and collects an answer from each of
// those that are up.
func (n *Node) claims(ctx context.Context, subject string, body []byte) error {
	open, err := n.servers(ctx, false)
	if err != nil {
		return err
	}
	fail := func(err error) error {
		return &mnq.Error{
			Kind: mnq.Unavailable, Op: "node.claims", Resource: subject,
			Msg: "not every NATS server took the account over", Hint: "missing: " + names(open), Err: err,
		}
	}
	for range 3 {
		var refused error
		if err := n.ask(ctx, subject, body, func(data []byte) bool {
			var r claimReply
			if err := json.Unmarshal(data, &r); err != nil {
				refused = errors.Join(refused, err)
			} else if r.Error != nil {
				refused = errors.Join(refused, fmt.Errorf("%s: %s", r.Server.Name, r.Error.Description))
			} else {
				delete(open, r.Server.ID)
			}
			return refused != nil || len(open) == 0
		}); err == nil {
			return refused
		} else if ctx.Err() != nil {
			return fail(err)
		}
		// Some are silent: those that are down do not count.
		up, err := n.servers(ctx, true)
		if err != nil {
			return fail(err)
		}
		maps.DeleteFunc(open, func(id, _ string) bool { return up[id] == "" })
		if len(open) == 0 {
			return nil
		}
	}
	return fail(errors.New("it answers, but not this"))
}

func names(servers map[string]string) string {
	return strings.Join(slices.Sorted(maps.Values(servers)), ", ")
}

// ask publishes a request on the system account and feeds the answers to each
// until it returns true. claimsTimeout without an answer is an error.
func (n *Node) ask(ctx context.Context, subject string, body []byte, each func([]byte) (enough bool)) error {
	inbox := n.sys.NewRespInbox()
	sub, err := n.sys.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := n.sys.PublishRequest(subject, inbox, body); err != nil {
		return err
	}
	for {
		wait, cancel := context.WithTimeout(ctx, claimsTimeout)
		m, err := sub.NextMsgWithContext(wait)
		cancel()
		if err != nil {
			return err
		}
		if each(m.Data) {
			return nil
		}
	}
}

// countedFor is how long the list of servers is used again.
const countedFor = 5 * time.Second

// servers returns the servers that answer, by id with their names. A server that
// stands alone is known; a cluster is asked, at most every few seconds unless anew.
func (n *Node) servers(ctx context.Context, anew bool) (map[string]string, error) {
	if n.srv != nil && n.cfg.Cluster == nil {
		return map[string]string{n.srv.ID(): n.srv.Name()}, nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !anew && len(n.known) > 0 && time.Since(n.knownAt) < countedFor {
		return maps.Clone(n.known), nil
	}
	inbox := n.sys.NewRespInbox()
	sub, err := n.sys.SubscribeSync(inbox)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := n.sys.PublishRequest("$SYS.REQ.SERVER.PING", inbox, nil); err != nil {
		return nil, err
	}
	known, quiet := map[string]string{}, 2*time.Second
	for {
		wait, cancel := context.WithTimeout(ctx, quiet)
		m, err := sub.NextMsgWithContext(wait)
		cancel()
		if err != nil {
			break
		}
		var r struct {
			Server serverInfo `json:"server"`
		}
		if json.Unmarshal(m.Data, &r) == nil && r.Server.ID != "" {
			known[r.Server.ID] = r.Server.Name
		}
		quiet = 250 * time.Millisecond // the others answer at nearly the same time
	}
	if len(known) == 0 {
		return nil, &mnq.Error{Kind: mnq.Unavailable, Op: "node.servers", Msg: "no NATS server answers on the system account", Err: context.Cause(ctx)}
	}
	n.known, n.knownAt = known, time.Now()
	return maps.Clone(known), nil
}
