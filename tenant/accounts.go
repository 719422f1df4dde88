package tenant

import (
	"context"
	"sync"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/node"
)

// publish makes every server take over the namespace's account as it is in the
// bucket. Processes may publish different states at the same time, in any order:
// each looks at the record again afterwards, so the last to publish has published
// the last state. An account that was deleted meanwhile is deleted again.
func (d *Directory) publish(ctx context.Context, id string) error {
	pushed := uint64(0)
	for {
		r := &namespaceRecord{}
		rev, err := d.store.read(ctx, namespacePrefix+id, r)
		if mnq.IsNotFound(err) || err == nil && r.Deleting {
			if pushed > 0 {
				if err := d.cfg.Node.DeleteAccount(ctx, id); err != nil {
					return unavailable("tenant.publish", id, err)
				}
			}
			return notFound("tenant.publish", "namespace", id)
		}
		if err != nil {
			return err
		}
		if rev == pushed {
			return nil
		}
		if err := d.cfg.Node.PushAccount(ctx, account(r)); err != nil {
			return unavailable("tenant.publish", id, err)
		}
		pushed = rev
	}
}

// publishAll publishes every namespace, a few at a time, before the client port opens:
// what was revoked while this process was away is in force by then. It runs before
// anybody can change one through this Directory.
func (d *Directory) publishAll(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan string)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for id := range work {
				if err := d.publishOwn(ctx, id); err != nil && !mnq.IsNotFound(err) {
					cancel(err)
				}
			}
		})
	}
	for _, id := range d.accounts() {
		if ctx.Err() != nil {
			break
		}
		work <- id
	}
	close(work)
	wg.Wait()
	if ctx.Err() != nil {
		return unavailable("tenant.Start", "publish the accounts", context.Cause(ctx))
	}
	return nil
}

// accounts returns the ids of the namespaces that stand.
func (d *Directory) accounts() (ids []string) {
	d.view.look(func(x *index) {
		for id := range x.namespaces {
			if x.namespace(id) != nil {
				ids = append(ids, id)
			}
		}
	})
	return ids
}

// publishOwn makes this process's own server take over an account as it is in memory;
// with an external cluster, all of them as it is in the bucket.
func (d *Directory) publishOwn(ctx context.Context, id string) error {
	if d.cfg.Node.External() {
		return d.publish(ctx, id)
	}
	var r *namespaceRecord
	d.view.look(func(x *index) { r = x.namespace(id) })
	if r == nil {
		return nil
	}
	return d.cfg.Node.StoreAccount(ctx, account(r))
}

// follower keeps the accounts of this process's own server in step with the
// directory when other processes change it: their push does not reach a server that
// is cut off for a while.
type follower struct {
	mu      sync.Mutex
	changed map[string]bool // ids of namespaces
	wake    chan struct{}   // capacity 1
}

func newFollower() *follower {
	return &follower{changed: map[string]bool{}, wake: make(chan struct{}, 1)}
}

// note tells that namespaces have changed. It does not block.
func (f *follower) note(ids ...string) {
	f.mu.Lock()
	for _, id := range ids {
		f.changed[id] = true
	}
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// followAccounts publishes what changes until ctx ends.
func (d *Directory) followAccounts(ctx context.Context) {
	f := d.follower
	for {
		select {
		case <-f.wake:
		case <-ctx.Done():
			return
		}
		f.mu.Lock()
		ids := f.changed
		f.changed = map[string]bool{}
		f.mu.Unlock()
		for id := range ids {
			if _, err := d.Namespace(id); mnq.IsNotFound(err) {
				d.forgetAccount(ctx, id)
			} else if err := d.publishOwn(ctx, id); err != nil && ctx.Err() == nil {
				d.log.ErrorContext(ctx, "account not taken over by this process's NATS server", "namespace_id", id, "error", err)
			}
		}
	}
}

// forgetAccount removes what is left on this disk of a namespace that is gone.
func (d *Directory) forgetAccount(ctx context.Context, id string) {
	deleting := false
	d.view.look(func(x *index) { deleting = x.namespaces[id] != nil })
	if deleting {
		return // its record goes last
	}
	if err := d.cfg.Node.ForgetAccount(id); err != nil {
		d.log.WarnContext(ctx, "files of a deleted namespace stay", "namespace_id", id, "error", err)
	}
}

// account is what servers are told about a namespace. Clients connect only to
// NATS namespaces; the account behind SQS and SNS is bounded by its storage, and
// everything else by the queue and topic engines, which know what to answer.
func account(r *namespaceRecord) node.Account {
	limits := node.Unlimited()
	q := r.inForce().Quota
	limits.Storage = q.StorageBytes
	if r.Namespace.Protocol == mnq.ProtocolNATS {
		limits = node.Limits{
			Storage: q.StorageBytes, Streams: q.Streams, Consumers: q.Consumers, Payload: q.MessageBytes,
			Connections: q.Connections, Subscriptions: q.NATSSubs, MaxAckPending: q.MaxAckPending,
		}
	}
	return node.Account{
		ID: r.Namespace.ID, Name: r.Namespace.Name, SigningKey: r.SigningKey, Limits: limits, Revoked: r.Revoked,
	}
}
