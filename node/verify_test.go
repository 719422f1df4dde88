package node

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq"
)

// rotten is a data directory with a stream of twenty messages, and its block.
type rotten struct {
	cfg   Config
	tn    tenant
	block string
	log   bytes.Buffer
}

// newRotten makes one. With stopped the server was stopped, else its files are as after a
// kill.
func newRotten(t *testing.T, fsync string, stopped bool) *rotten {
	t.Helper()
	ctx := t.Context()
	b := setup(t, func(c *Config) { c.Fsync = fsync })
	r := &rotten{cfg: b.cfg, tn: b.tenant(t, Unlimited())}
	nc, js, err := b.node.Connect(ctx, r.tn.ID, r.tn.signing)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		if _, err := js.Publish(ctx, "s", fmt.Appendf(nil, "%02d %s", i, strings.Repeat("x", 100))); err != nil {
			t.Fatal(err)
		}
	}
	r.cfg.DataDir = t.TempDir()
	if stopped {
		b.stop(t)
	}
	if err := os.CopyFS(r.cfg.DataDir, os.DirFS(b.cfg.DataDir)); err != nil {
		t.Fatal(err)
	}
	if err := filepath.WalkDir(r.cfg.DataDir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			err = os.Chmod(path, 0o600)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	r.cfg.Log = slog.New(slog.NewTextHandler(&r.log, nil))
	r.block = filepath.Join(r.cfg.DataDir, "nats", "jetstream", r.tn.ID, "streams", "S", "msgs", "1.blk")
	return r
}

func (r *rotten) change(t *testing.T, f func(data []byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(r.block)
	if err == nil {
		err = os.WriteFile(r.block, f(data), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// open starts a server on it and returns which messages there are.
func (r *rotten) open(t *testing.T) (seqs []uint64, err error) {
	t.Helper()
	n, err := New(r.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err != nil {
		return nil, err
	}
	defer func() {
		if err := n.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	if err := n.PushAccount(t.Context(), r.tn.Account); err != nil {
		t.Fatal(err)
	}
	nc, js, err := n.Connect(t.Context(), r.tn.ID, r.tn.signing)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	s, err := js.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	for seq := range uint64(30) {
		if m, err := s.GetMsg(t.Context(), seq+1); err == nil {
			if !strings.HasPrefix(string(m.Data), fmt.Sprintf("%02d ", seq)) {
				t.Errorf("message %d is %q", seq+1, m.Data)
			}
			seqs = append(seqs, m.Sequence)
		}
	}
	return seqs, nil
}

// flip damages the record in the middle.
func flip(data []byte) []byte { data[len(data)/2] ^= 1; return data }

func TestDamagedBlocksAreNotOpened(t *testing.T) {
	t.Parallel()
	for _, stopped := range []bool{false, true} {
		t.Run(fmt.Sprintf("stopped %v", stopped), func(t *testing.T) {
			t.Parallel()
			r := newRotten(t, FsyncAlways, stopped)
			r.change(t, flip)
			for range 2 { // trying again changes nothing
				_, err := r.open(t)
				if mnq.KindOf(err) != mnq.Invalid || !strings.Contains(err.Error(), r.block) || !strings.Contains(err.Error(), "--accept-damage") {
					t.Fatalf("got %v", err)
				}
			}
			r.cfg.AcceptDamage = true
			seqs, err := r.open(t)
			if err != nil || len(seqs) != 19 {
				t.Errorf("accepted: %v %v", seqs, err)
			}
			if !strings.Contains(r.log.String(), r.block) {
				t.Errorf("the log does not name the file: %s", &r.log)
			}
			kept := filepath.Join(r.cfg.DataDir, damagedDir, strings.TrimPrefix(r.block, r.cfg.DataDir))
			if _, err := os.Stat(kept); err != nil {
				t.Errorf("the damaged file was not kept: %v", err)
			}
			r.cfg.AcceptDamage = false
			if seqs, err := r.open(t); err != nil || len(seqs) != 19 {
				t.Errorf("afterwards: %v %v", seqs, err)
			}
		})
	}
}

func TestWhatACrashLeavesIsNoDamage(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		fsync  string
		change func([]byte) []byte
		left   int
	}{
		"half a record at the end":                    {FsyncAlways, func(b []byte) []byte { return b[:len(b)-50] }, 19},
		"zeros at the end":                            {FsyncAlways, func(b []byte) []byte { return append(b, make([]byte, 4096)...) }, 20},
		"a hole in what several writes left":          {FsyncAlways, func(b []byte) []byte { clear(b[len(b)-len(b)/20*2 : len(b)-len(b)/20]); return b }, 19},
		"a hole where not every write is synced":      {FsyncInterval, func(b []byte) []byte { clear(b[len(b)-len(b)/20*2 : len(b)-len(b)/20]); return b }, 18},
		"nothing but what the server itself has done": {FsyncAlways, func(b []byte) []byte { return b }, 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRotten(t, tc.fsync, false)
			r.change(t, tc.change)
			seqs, err := r.open(t)
			if err != nil || len(seqs) != tc.left {
				t.Errorf("%d messages %v, %v; want %d", len(seqs), seqs, err, tc.left)
			}
			if said := strings.Contains(r.log.String(), r.block); said == (tc.left == 20 && !strings.HasPrefix(name, "zeros")) {
				t.Errorf("the log names the file: %v: %s", said, &r.log)
			}
		})
	}
}

func TestABlockThatLostItsEndIsNoticedAfterAStop(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(string) error{
		"shorter": func(path string) error { return os.Truncate(path, 30) },
		"gone":    os.Remove,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRotten(t, FsyncAlways, true)
			if err := change(r.block); err != nil {
				t.Fatal(err)
			}
			if _, err := r.open(t); mnq.KindOf(err) != mnq.Invalid || !strings.Contains(err.Error(), r.block) {
				t.Errorf("got %v", err)
			}
		})
	}
}
