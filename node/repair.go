package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/openmnq/mnq"
)

// A stream of the embedded server whose file could not be written takes nothing more
// until JetStream starts again, even when there is room again, and it goes on saying
// that messages were removed which are still there. So a failed write is noticed when
// the server logs it, which it does before it answers; from then on nothing that it
// says about writes is believed, and as soon as the disk takes writes again JetStream
// is started anew, within the running process.
const (
	repairEvery = time.Second
	repairPause = 5 * time.Second // between two repairs, should one not help
	probeBytes  = 1 << 20
)

// failure remembers the first write that failed.
type failure struct {
	text atomic.Pointer[string]
	news chan struct{} // has room for one
}

// note takes a line of the server's log.
func (f *failure) note(line string) {
	for _, sign := range []string{"ritical write error", "will be DISABLED", "disabling JetStream"} {
		if strings.Contains(line, sign) {
			f.text.CompareAndSwap(nil, &line)
			select {
			case f.news <- struct{}{}:
			default:
			}
			return
		}
	}
}

func (f *failure) err() error {
	text := f.text.Load()
	if text == nil {
		return nil
	}
	return &mnq.Error{
		Kind: mnq.Unavailable, Code: mnq.CodeStorageFailed, Op: "node.Stored", Err: errors.New(*text),
		Msg: "The disk does not take writes: nothing is stored or removed until it does again.",
	}
}

// Stored returns nil when every write that the server has confirmed so far was really
// made. Ask it after the answer has come: while it returns an error, a confirmation is
// worth nothing. It answers from memory. With several copies a confirmation does not
// depend on this server's disk, and an external server is taken at its word.
func (n *Node) Stored() error {
	if n.logs == nil || n.cfg.Cluster != nil {
		return nil
	}
	return n.logs.failed.err()
}

// keepRepaired begins to repair. It goes on when ctx has ended, until Stop.
func (n *Node) keepRepaired(ctx context.Context) {
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	n.stopRepair = stop
	n.repairing.Go(func() { n.repair(ctx) })
}

// repair starts JetStream anew whenever a write has failed and the disk takes writes
// again, until ctx ends. A member of a cluster starts the whole process anew, as when
// it was cut off: the others go on meanwhile.
func (n *Node) repair(ctx context.Context) {
	for {
		select {
		case <-n.logs.failed.news:
		case <-ctx.Done():
			return
		}
		for pause := repairEvery; n.logs.failed.err() != nil; pause = repairPause {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
				return
			}
			n.awaitRoom(ctx)
			if ctx.Err() != nil {
				return
			}
			n.repairOnce(ctx)
		}
	}
}

// awaitRoom returns when the disk takes writes, or ctx ends.
func (n *Node) awaitRoom(ctx context.Context) {
	tick := time.NewTicker(repairEvery)
	defer tick.Stop()
	for n.roomFor(ctx) != nil {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (n *Node) repairOnce(ctx context.Context) {
	if n.cfg.Cluster != nil {
		n.log.ErrorContext(ctx, "a write failed and the disk is in order again: starting anew")
		n.cfg.CutOff()
		return
	}
	began := time.Now()
	if err := n.restartJetStream(ctx); err != nil {
		n.log.ErrorContext(ctx, "jetstream did not start again", "error", err)
		return
	}
	n.log.WarnContext(ctx, "a write had failed: jetstream was started again", "took", time.Since(began).Round(time.Millisecond).String())
}

// roomFor returns nil when there is room for new messages and the disk takes writes.
func (n *Node) roomFor(ctx context.Context) error {
	if err := n.room(); err != nil {
		return err
	}
	path := filepath.Join(n.cfg.DataDir, "probe")
	err := writeProbe(path)
	if rm := os.Remove(path); rm != nil && !errors.Is(rm, os.ErrNotExist) {
		n.log.WarnContext(ctx, "cannot remove a file", "path", path, "error", rm)
	}
	return err
}

func writeProbe(path string) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, probeBytes))
	return errors.Join(err, f.Sync(), f.Close())
}

// restartJetStream stops JetStream, reads everything from the disk anew, and makes every
// client connect anew, so that whoever waits for something of before finds out.
func (n *Node) restartJetStream(ctx context.Context) error {
	if err := n.srv.ShutdownJetStream(); err != nil {
		return err
	}
	n.logs.failed.text.Store(nil) // what fails from here on is news
	opts := n.srvOptions
	if err := n.srv.EnableJetStream(&server.JetStreamConfig{
		StoreDir: opts.StoreDir, MaxMemory: opts.JetStreamMaxMemory, MaxStore: opts.JetStreamMaxStore,
		SyncInterval: opts.SyncInterval, SyncAlways: opts.SyncAlways, Strict: !opts.NoJetStreamStrict,
	}); err != nil {
		n.logs.failed.note("will be DISABLED: " + err.Error())
		return err
	}
	if err := n.checkDurability(ctx); err != nil {
		return err
	}
	conns, err := n.srv.Connz(&server.ConnzOptions{Limit: 1 << 20})
	if err != nil {
		return err
	}
	for _, c := range conns.Conns {
		_ = n.srv.DisconnectClientByID(c.Cid) // it is gone if this fails
	}
	n.health.last.Store(nil)
	n.streams.Lock()
	n.streamsAt = time.Time{}
	n.streams.Unlock()
	return nil
}
