package tenant

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/backup"
	"github.com/openmnq/mnq/node"
)

// BackupPlan is what the owners of queues and topics know of the ways of messages. A
// message that moves while streams are read one after the other is in one of them all
// the same when the stream that it leaves is read before the one that it comes to.
type BackupPlan struct {
	Version string // of this program

	// Rank puts streams into that order, the lowest first.
	Rank func(namespaceID, stream string) int

	// Moves tells of movements that no order can follow: those since an earlier
	// revision, and those under way. The first call has revision 0.
	Moves func(ctx context.Context, since uint64) (Moves, error)
}

// Moves are movements of messages between streams of the same namespace.
type Moves struct {
	Revision   uint64
	Namespaces []string // where something has moved since, or moves
	Active     bool     // something moves now
}

const (
	backupTries   = 3                      // at streams between which messages move
	backupPatient = 30 * time.Second       // with tasks that are under way, before each
	backupLook    = 200 * time.Millisecond // at them
)

// Backup writes everything that a new installation needs to go on as this one, but the
// master key: every message that was acknowledged before Backup was called and not
// deleted, all definitions, accounts, keys (sealed) and revocations. What happens
// meanwhile may be in it or not. It changes nothing and holds up nobody.
func (d *Directory) Backup(ctx context.Context, w io.Writer, plan BackupPlan) error {
	org := &orgRecord{}
	if _, err := d.store.read(ctx, orgKey, org); err != nil {
		return err
	}
	out, err := backup.NewWriter(w, backup.Manifest{
		Version: plan.Version, CreatedAt: now(), OrganizationID: org.ID, Region: d.cfg.Region, KeyCheck: org.KeyCheck,
	})
	if err != nil {
		return err
	}
	b := &backupRun{d: d, out: out, plan: plan, taken: map[source]bool{}}
	defer b.close()
	if err := b.run(ctx); err != nil {
		d.log.ErrorContext(ctx, "backup failed", "error", err)
		if failed := out.Fail(err.Error()); failed != nil {
			return failed
		}
		return err
	}
	return out.Close(b.warnings)
}

// source is a stream to save.
type source struct{ account, stream string }

type backupRun struct {
	d        *Directory
	out      *backup.Writer
	plan     BackupPlan
	taken    map[source]bool
	warnings []string

	account string // whose connection is open
	nc      *nats.Conn
	js      jetstream.JetStream
}

// run saves first what namespaces hold, then the definitions, then what has been made
// meanwhile: so whatever a definition speaks of is there.
func (b *backupRun) run(ctx context.Context) error {
	moves, err := b.plan.Moves(ctx, 0)
	if err != nil {
		return err
	}
	all, err := b.list(ctx, b.d.accounts())
	if err != nil {
		return err
	}
	if err := b.take(ctx, all); err != nil {
		return err
	}
	if err := b.follow(ctx, moves.Revision); err != nil {
		return err
	}
	standing, err := b.list(ctx, b.d.accounts())
	if err != nil {
		return err
	}
	for s := range b.taken {
		if !slices.Contains(standing, s) {
			b.out.Drop(s.account, s.stream)
		}
	}
	if err := b.take(ctx, b.missing(standing)); err != nil {
		return err
	}
	if err := b.takeControl(ctx); err != nil {
		return err
	}
	last, err := b.list(ctx, b.d.accounts())
	if err != nil {
		return err
	}
	return b.take(ctx, b.missing(last))
}

func (b *backupRun) missing(all []source) []source {
	return slices.DeleteFunc(slices.Clone(all), func(s source) bool { return b.taken[s] })
}

// follow saves again the streams between which messages have moved against the order,
// until nothing has moved while they were read.
func (b *backupRun) follow(ctx context.Context, since uint64) error {
	for try := 0; ; try++ {
		m, err := b.plan.Moves(ctx, since)
		if err != nil || len(m.Namespaces) == 0 {
			return err
		}
		if try == backupTries {
			b.warnings = append(b.warnings, fmt.Sprintf(
				"message move tasks went on all the time: messages that they moved may be missing in %d namespaces; repeat the backup when they have ended", len(m.Namespaces)))
			return nil
		}
		spaces := m.Namespaces
		for until := time.Now().Add(backupPatient); m.Active && time.Now().Before(until); {
			select {
			case <-time.After(backupLook):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if m, err = b.plan.Moves(ctx, since); err != nil {
				return err
			}
			spaces = m.Namespaces
		}
		since = m.Revision
		again, err := b.list(ctx, spaces)
		if err != nil {
			return err
		}
		if err := b.take(ctx, again); err != nil {
			return err
		}
	}
}

// list returns the streams of accounts in the order in which they are to be saved.
func (b *backupRun) list(ctx context.Context, accounts []string) (all []source, err error) {
	slices.Sort(accounts)
	rank := map[source]int{}
	for _, id := range accounts {
		if err := b.connect(ctx, id); mnq.IsNotFound(err) {
			continue // deleted meanwhile
		} else if err != nil {
			return nil, err
		}
		names, err := node.StreamNames(ctx, b.js)
		if err != nil {
			if _, gone := b.d.Namespace(id); mnq.IsNotFound(gone) {
				continue
			}
			return nil, unavailable("tenant.Backup", id, err)
		}
		for _, name := range names {
			s := source{id, name}
			rank[s] = b.plan.Rank(id, name)
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(x, y source) int {
		return cmp.Or(cmp.Compare(rank[x], rank[y]), cmp.Compare(x.account, y.account), cmp.Compare(x.stream, y.stream))
	})
	return all, nil
}

// take saves streams; what has been deleted meanwhile is left out.
func (b *backupRun) take(ctx context.Context, all []source) error {
	for _, s := range all {
		err := b.connect(ctx, s.account)
		if err == nil {
			err = b.save(ctx, b.nc, s)
		}
		if _, gone := b.d.Namespace(s.account); err != nil && !mnq.IsNotFound(err) && !mnq.IsNotFound(gone) {
			return err
		}
		if err != nil {
			b.out.Drop(s.account, s.stream)
			delete(b.taken, s)
			continue
		}
		b.taken[s] = true
	}
	return nil
}

func (b *backupRun) save(ctx context.Context, nc *nats.Conn, s source) error {
	return node.Snapshot(ctx, nc, s.stream, func(i node.StreamSnapshot, data func(io.Writer) error) error {
		return b.out.Stream(backup.Stream{
			Account: s.account, Name: s.stream, Messages: i.Messages(), Config: i.Config, State: i.State,
		}, data)
	})
}

// takeControl saves the control account, the directory last: where that is, the rest is.
func (b *backupRun) takeControl(ctx context.Context) error {
	names, err := node.StreamNames(ctx, b.d.cfg.Node.Control())
	if err != nil {
		return unavailable("tenant.Backup", backup.Control, err)
	}
	slices.SortFunc(names, func(x, y string) int {
		return cmp.Or(cmp.Compare(btoi(x == directoryStream), btoi(y == directoryStream)), cmp.Compare(x, y))
	})
	for _, name := range names {
		if err := b.save(ctx, b.d.cfg.Node.ControlConn(), source{backup.Control, name}); err != nil {
			return err
		}
	}
	return nil
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// connect opens a connection of its own to a namespace: one at a time, for there may
// be thousands.
func (b *backupRun) connect(ctx context.Context, id string) (err error) {
	if b.account == id && b.nc != nil {
		return nil
	}
	b.close()
	if b.nc, b.js, err = b.d.dialNamespace(ctx, id); err != nil {
		b.nc = nil
		return err
	}
	b.account = id
	return nil
}

func (b *backupRun) close() {
	if b.nc != nil {
		b.nc.Close()
		b.nc = nil
	}
}
