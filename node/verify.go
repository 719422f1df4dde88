package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/atomicfile"
)

// The embedded server cuts a block off at the first record that it cannot read and goes
// on without a word, so one flipped bit can cost every message behind it. Therefore all
// blocks are read before it starts. A record that is no good at the very end of a stream
// is what a write leaves that a crash has interrupted, and nobody was told that it was
// stored; anything else is damage, and the start is refused.

// damagedDir is where the originals of salvaged blocks are kept, below the data directory.
const damagedDir = "damaged"

// verify reads all blocks before the embedded server starts. Damage is refused, or, when
// it is accepted, the originals are kept and everything readable is saved.
func (n *Node) verify(ctx context.Context) error {
	all, err := blocks(filepath.Join(n.cfg.DataDir, "nats"))
	if err != nil {
		return fmt.Errorf("look for damaged blocks: %w", err)
	}
	complete := n.readManifest()
	reading, until := errgroup.WithContext(ctx)
	reading.SetLimit(runtime.GOMAXPROCS(0))
	for _, k := range all {
		reading.Go(func() error {
			if until.Err() != nil {
				return context.Cause(until)
			}
			_, err := k.inspect()
			return err
		})
	}
	if err := reading.Wait(); err != nil {
		return fmt.Errorf("look for damaged blocks: %w", err)
	}
	damaged := complete.missing(n.cfg.DataDir, all)
	for _, k := range all {
		text, err := n.judge(ctx, k, complete != nil)
		if err != nil {
			return fmt.Errorf("salvage %s: %w", k.path, err)
		}
		if text != "" {
			damaged = append(damaged, text)
		}
	}
	if len(damaged) > 0 && !n.cfg.AcceptDamage {
		return damageError(damaged)
	}
	if len(damaged) > 0 {
		n.log.ErrorContext(ctx, "messages are lost", "files", damaged)
	}
	if err := os.Remove(filepath.Join(n.cfg.DataDir, manifestFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // it is not true any more once the server runs
	}
	return nil
}

// judge decides what to do about a block: nothing, to save what can be read, or, with a
// text, not to start. stopped says that the server was not killed.
func (n *Node) judge(ctx context.Context, k *block, stopped bool) (text string, err error) {
	synced := n.cfg.Fsync == FsyncAlways && n.cfg.Cluster == nil
	switch {
	case k.bad < 0:
		return "", nil
	case !stopped && k.torn:
		n.log.WarnContext(ctx, "the last write was interrupted", "file", k.path, "stream", k.stream, "bytes", k.size-k.bad)
		return "", nil
	case !stopped && !synced:
		// What was not synced may be there in part; a cluster has it elsewhere.
		n.log.ErrorContext(ctx, "a file is unreadable from some byte on", "file", k.path, "stream", k.stream, "byte", k.bad, "of", k.size)
		return "", nil
	case n.cfg.AcceptDamage, !stopped && k.last && k.hole:
		return "", n.salvage(ctx, k)
	default:
		return fmt.Sprintf("%s (stream %s) at byte %d of %d", k.path, k.stream, k.bad, k.size), nil
	}
}

func damageError(files []string) error {
	more := ""
	if len(files) > 10 {
		files, more = files[:10], fmt.Sprintf(" and %d more", len(files)-10)
	}
	return &mnq.Error{
		Kind: mnq.Invalid, Op: "node.Start", Field: "data-dir",
		Msg: "damaged on the disk: " + strings.Join(files, ", ") + more,
		Hint: "restore a backup; in a cluster replace this node; or start once with --accept-damage, which keeps what can be read " +
			"and a copy of the damaged files in " + damagedDir + "/",
	}
}

// salvage keeps the damaged block aside and leaves of it what can be read.
func (n *Node) salvage(ctx context.Context, k *block) error {
	data, err := k.inspect()
	if err != nil {
		return err
	}
	rel, err := filepath.Rel(n.cfg.DataDir, k.path)
	if err != nil {
		return err
	}
	if err := atomicfile.Write(filepath.Join(n.cfg.DataDir, damagedDir, rel), data); err != nil {
		return err
	}
	var kept []byte
	for at := 0; at < len(data); {
		if r := record(data[at:], k.sum); r > 0 {
			kept, at = append(kept, data[at:at+r]...), at+r
			continue
		}
		at = k.next(data, at)
	}
	if err := atomicfile.Write(k.path, kept); err != nil {
		return err
	}
	index := filepath.Join(filepath.Dir(k.path), "index.db") // says what is not there any more
	if err := os.Remove(index); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	n.log.ErrorContext(ctx, "messages are lost in a damaged file", "file", k.path, "stream", k.stream, "bytes", len(data)-len(kept), "kept_in", damagedDir)
	return nil
}

// manifest says how long each block was when the server had stopped. Without one the
// server was not stopped but killed, and nobody knows.
type manifest map[string]int64

const manifestFile = "stopped"

// readManifest returns nil when there is none, or none that can be read.
func (n *Node) readManifest() manifest {
	text, err := os.ReadFile(filepath.Join(n.cfg.DataDir, manifestFile))
	if err != nil {
		return nil
	}
	m := manifest{}
	for line := range strings.Lines(string(text)) {
		size, rel, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		n, err := strconv.ParseInt(size, 10, 64)
		if !ok || err != nil {
			return nil
		}
		m[rel] = n
	}
	return m
}

// missing lists the blocks that are shorter than they were, or gone.
func (m manifest) missing(dataDir string, all []*block) (damaged []string) {
	now := map[string]int64{}
	for _, k := range all {
		if rel, err := filepath.Rel(dataDir, k.path); err == nil {
			now[rel] = int64(k.size)
		}
	}
	for rel, size := range m {
		if got, ok := now[rel]; !ok || got < size {
			damaged = append(damaged, fmt.Sprintf("%s, of which %d bytes of %d are there", filepath.Join(dataDir, rel), got, size))
		}
	}
	slices.Sort(damaged)
	return damaged
}

// writeManifest notes how long each block is, once the server has stopped.
func (n *Node) writeManifest() error {
	all, err := blocks(filepath.Join(n.cfg.DataDir, "nats"))
	if err != nil {
		return err
	}
	var b bytes.Buffer
	for _, k := range all {
		info, err := os.Stat(k.path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(n.cfg.DataDir, k.path)
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%d %s\n", info.Size(), rel)
	}
	return atomicfile.Write(filepath.Join(n.cfg.DataDir, manifestFile), b.Bytes())
}
