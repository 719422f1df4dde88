package server

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/service"
	"github.com/openmnq/mnq/node"
	"github.com/openmnq/mnq/tenant"
)

// backup saves the installation, streams in the order in which messages go through them.
func (s *Server) backup(ctx context.Context, w io.Writer) error {
	return s.directory.Backup(ctx, w, tenant.BackupPlan{
		Version: service.ReadBuild().Version, Rank: s.backupRank,
		Moves: func(ctx context.Context, since uint64) (m tenant.Moves, err error) {
			m.Revision, m.Namespaces, m.Active, err = s.queues.MovedSince(ctx, since)
			return m, err
		},
	})
}

// backupRank is where a stream stands on the way of messages: bridges feed topics and
// queues, topics feed subjects of NATS namespaces and queues, and queues their dead-letter
// queues.
func (s *Server) backupRank(namespaceID, stream string) int {
	const bridges, topics, nats, queues = 0, 1, 2, 3
	if ns, err := s.directory.Namespace(namespaceID); err == nil && ns.Protocol == mnq.ProtocolNATS {
		if strings.HasPrefix(stream, "mnq_bridge_") {
			return bridges
		}
		return nats
	}
	if depth, ok := s.queues.MoveRank(stream); ok {
		return queues + depth
	}
	return topics
}

// RestoreConfig says what to restore.
type RestoreConfig struct {
	Config

	KeepKey  bool // store Config.MasterKey in the data directory
	Begin    func(what string)
	Progress func(done, of int, stream string)
}

// Restore makes an empty installation that of a backup. It starts NATS as the settings
// say, keeps clients out, and stops it again. file nil: another process of the cluster
// restores, and this one takes its copies.
//
// The whole file is read and checked, and the master key tried, before anything is
// changed.
func Restore(ctx context.Context, cfg RestoreConfig, file io.ReadSeeker) (err error) {
	var r *tenant.Restore
	if file != nil {
		if r, err = tenant.NewRestore(tenant.RestoreConfig{
			DataDir: cfg.DataDir, MasterKey: cfg.MasterKey, KeepKey: cfg.KeepKey, Region: cfg.Region, Log: cfg.Log, Progress: cfg.Progress,
		}, file); err != nil {
			return err
		}
		cfg.Begin(r.Describe())
	}
	nc := cfg.nodeConfig(nil)
	nc.WebSocket = ""
	n, err := node.New(nc)
	if err != nil {
		return err
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		err = errors.Join(err, n.Stop(stop))
	}()
	if err := n.Start(ctx); err != nil {
		return err
	}
	if r == nil {
		return tenant.AwaitRestore(ctx, n)
	}
	return r.Run(ctx, n)
}
