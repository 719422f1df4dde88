package ops

import (
	"context"
	"path/filepath"
	"sync"
	"testing"

	"github.com/openmnq/mnq/internal/mnqtest"
)

// TestBackupsGoFromEachKindToEach takes one installation from a single node into a
// cluster, from there to gateways on a NATS server, and back.
func TestBackupsGoFromEachKindToEach(t *testing.T) { //nolint:tparallel // the steps build on each other
	t.Parallel()
	first := mnqtest.Start(t, mnqtest.Options{})
	c := fill(t, first)
	file := c.save(t, first)
	key := filepath.Join(first.Dir, "keys", "master.key")
	first.Kill()
	restored := func(ctx context.Context, t *testing.T, args ...string) {
		t.Helper()
		if r := mnqtest.RunUntil(ctx, t, nil, append([]string{"restore"}, args...)...); r.Code != 0 {
			t.Errorf("mnq restore %v: %+v", args, r)
		}
	}
	again := func(t *testing.T, p *mnqtest.Process) {
		t.Helper()
		file = filepath.Join(t.TempDir(), "backup.mnq")
		if r := mnqtest.Run(t, p.AdminEnv(), "backup", file); r.Code != 0 {
			t.Fatalf("%+v", r)
		}
	}

	t.Run("IntoACluster", func(t *testing.T) {
		cluster := mnqtest.PrepareClusterWithKey(t, 3, key)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var all sync.WaitGroup
		for i, p := range cluster.Nodes {
			args := p.Args()
			if i == 0 {
				args = append(args, file)
			}
			all.Go(func() {
				restored(ctx, t, args...)
				if t.Failed() {
					cancel() // the others would wait for ever
				}
			})
		}
		all.Wait()
		if t.Failed() {
			return
		}
		cluster.Launch()
		status(t, cluster.Nodes[1], 0, "ok: cluster")
		for _, p := range cluster.Nodes {
			// admin.env is right on every node, also where the backup was not restored.
			if r := mnqtest.Run(t, p.AdminEnv(), "queue", "ls"); r.Code != 0 {
				t.Errorf("%+v", r)
			}
		}
		again(t, cluster.Nodes[2])
		for _, p := range cluster.Nodes {
			p.Kill()
		}
	})
	if t.Failed() {
		return
	}

	t.Run("OntoANATSServer", func(t *testing.T) {
		s := mnqtest.StartNATSServer(t)
		dir := filepath.Join(t.TempDir(), "gateway")
		restored(t.Context(), t, append(s.Args(), "--data-dir", dir, "--master-key-file", key, file)...)
		if t.Failed() {
			return
		}
		p := mnqtest.Start(t, mnqtest.Options{Dir: dir, Args: s.Args()})
		status(t, p, 0, "ok: external")
		again(t, p)
		p.Kill()
		if r := mnqtest.Run(t, nil, append(append([]string{"restore"}, s.Args()...), "--data-dir", dir, file)...); r.Code != 1 {
			t.Errorf("into what is there already: %+v", r)
		}
	})
	if t.Failed() {
		return
	}

	t.Run("AndBack", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "last")
		restored(t.Context(), t, "--data-dir", dir, "--master-key-file", key, file)
		c.check(t, mnqtest.Start(t, mnqtest.Options{Dir: dir}))
	})
}
