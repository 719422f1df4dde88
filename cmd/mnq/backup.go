package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/atomicfile"
	"github.com/openmnq/mnq/internal/backup"
	"github.com/openmnq/mnq/internal/service"
	"github.com/openmnq/mnq/rest"
	"github.com/openmnq/mnq/server"
)

type backupCmd struct {
	connection

	File string `arg:"" help:"Where to write the backup, for its owner only; there must be no such file yet."`
}

// Run fetches a backup, checks it as it comes, and gives the file its name when all of
// it is on disk.
func (c *backupCmd) Run(a *app) error {
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	if _, err := os.Lstat(c.File); !errors.Is(err, fs.ErrNotExist) {
		return usagef("FILE: %s is there already", c.File)
	}
	partial := c.File + ".partial"
	f, err := os.OpenFile(partial, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return usagef("FILE: %w", err)
	}
	sums, err := fetchBackup(a, cl, f)
	if err == nil {
		err = f.Sync()
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		if err = os.Rename(partial, c.File); err == nil {
			err = atomicfile.SyncDir(filepath.Dir(c.File))
		}
	}
	if err != nil {
		_ = os.Remove(partial) // it is of no use
		return err
	}
	if err := c.tell(a, sums); err != nil {
		return err
	}
	if len(sums.Warnings) > 0 {
		return statusError(exitPartial)
	}
	return nil
}

func (c *backupCmd) tell(a *app, sums backup.Sums) error {
	for _, w := range sums.Warnings {
		if err := printf(a.stderr, "mnq: warning: %s\n", w); err != nil {
			return err
		}
	}
	if c.JSON {
		return printJSON(a.stdout, map[string]any{"file": c.File, "streams": sums.Streams, "warnings": sums.Warnings})
	}
	var size int64
	var messages uint64
	for _, s := range sums.Streams {
		size, messages = size+s.Bytes, messages+s.Messages
	}
	return printf(a.stdout, "%s: %d streams, %d records, %s; the master key is not in it: keep keys/master.key or MNQ_MASTER_KEY elsewhere\n",
		c.File, len(sums.Streams), messages, bytesOf(uint64(max(0, size))))
}

// fetchBackup copies the backup to f and reads it on the way.
func fetchBackup(a *app, cl *client, f io.Writer) (sums backup.Sums, err error) {
	req, err := http.NewRequestWithContext(a.ctx, http.MethodGet, cl.APIURL+rest.BackupPath, nil)
	if err != nil {
		return sums, err
	}
	req.Header.Set("X-Auth-Token", cl.SecretKey)
	req.Header.Set("User-Agent", "mnq/"+service.ReadBuild().Version)
	patient := *cl.http
	patient.Timeout = 0 // it takes as long as it takes
	resp, err := patient.Do(req)
	if err != nil {
		return sums, cl.unreachable(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		if err != nil {
			return sums, cl.unreachable(err)
		}
		return sums, answerError(resp.StatusCode, answer)
	}
	p := &progress{w: a.stderr, terminal: terminal(a.stderr)}
	defer p.end()
	r, err := backup.NewReader(io.TeeReader(resp.Body, f))
	for n := 0; err == nil; n++ {
		var s backup.Stream
		var data io.Reader
		if s, data, err = r.Next(); err == nil {
			p.say("%d streams, %s: %s > %s", n, bytesOf(p.bytes), s.Account, s.Name)
			_, err = io.Copy(io.Discard, p.counting(data))
		}
	}
	if !errors.Is(err, io.EOF) {
		return sums, backupError(err)
	}
	return r.Sums, nil
}

// backupError is a failure of the backup, which is none of the command line's.
func backupError(err error) error {
	if e, ok := errors.AsType[*mnq.Error](err); ok && e.Op == "backup" {
		return &mnq.Error{Kind: e.Kind, Op: opClient, Msg: e.Msg}
	}
	return err
}

// progress tells on standard error how far a command has come: on a terminal in one
// line that changes, else once every few seconds.
type progress struct {
	w        io.Writer
	terminal bool
	said     time.Time
	bytes    uint64
}

func (p *progress) say(format string, args ...any) {
	every := 5 * time.Second
	if p.terminal {
		every = 200 * time.Millisecond
	}
	if now := time.Now(); now.Sub(p.said) >= every {
		p.said = now
		text := strings.Map(printable, fmt.Sprintf(format, args...))
		if p.terminal {
			text = "\r\x1b[K" + text
		} else {
			text += "\n"
		}
		_, _ = io.WriteString(p.w, text) // it is not what the command is for
	}
}

func (p *progress) end() {
	if p.terminal {
		_, _ = io.WriteString(p.w, "\r\x1b[K")
	}
}

// counting counts what is read from r.
func (p *progress) counting(r io.Reader) io.Reader { return io.TeeReader(r, p) }

// Write implements [io.Writer].
func (p *progress) Write(data []byte) (int, error) {
	p.bytes += uint64(len(data))
	return len(data), nil
}

type restoreCmd struct {
	server.Settings `embed:"" group:"settings"`

	File          string `arg:"" optional:"" help:"The backup. Without: another node of the cluster restores, and this one takes its copies."`
	MasterKeyFile string `placeholder:"FILE" help:"keys/master.key of the installation that was saved, unless MNQ_MASTER_KEY or the data directory has it."`
}

// Run restores into the installation that the settings of mnq serve describe.
func (c *restoreCmd) Run(a *app, settings []setting) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if c.Dev {
		return usagef("--dev: cannot be used with restore")
	}
	forCluster(&c.Settings, settings)
	cfg := server.RestoreConfig{Config: server.Config{Settings: c.Settings, MasterKey: a.env[envMasterKey], CutOff: startAnew}}
	cfg.LogLevel = max(cfg.LogLevel, 4) // warnings, beside the progress
	cfg.Log = logger(&cfg.Settings, a.stderr)
	if c.MasterKeyFile != "" {
		key, err := atomicfile.ReadSecret(c.MasterKeyFile)
		if err != nil {
			return usagef("--master-key-file: %w", err)
		}
		cfg.MasterKey, cfg.KeepKey = cmp.Or(strings.TrimSpace(string(key)), "empty"), true
	}
	p := &progress{w: a.stderr, terminal: terminal(a.stderr)}
	cfg.Begin = func(what string) { _ = printf(a.stderr, "%s\n", what) }
	cfg.Progress = func(done, of int, stream string) { p.say("%d of %d streams: %s", done, of, stream) }
	err := c.restore(a.ctx, cfg)
	p.end()
	if err != nil {
		return backupError(err)
	}
	if c.File == "" {
		return printf(a.stdout, "the restore is over: start this node with mnq serve\n")
	}
	return printf(a.stdout, "restored into %s: start it with mnq serve; its admin.env has a new API key\n", c.DataDir)
}

func (c *restoreCmd) restore(ctx context.Context, cfg server.RestoreConfig) error {
	if c.File == "" {
		if c.ClusterName == "" {
			return usagef("FILE: is needed, but on the other nodes of a cluster")
		}
		return server.Restore(ctx, cfg, nil)
	}
	f, err := os.Open(c.File)
	if err != nil {
		return usagef("FILE: %w", err)
	}
	defer f.Close()
	return server.Restore(ctx, cfg, f)
}
