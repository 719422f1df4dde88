package tenant

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/atomicfile"
	"github.com/openmnq/mnq/internal/backup"
	"github.com/openmnq/mnq/node"
)

const (
	directoryStream = "KV_" + bucket

	// restoringStream is there from the first change of a restore to its last: an
	// installation with it is none.
	restoringStream = "mnq_restoring"
)

// RestoreConfig says where to restore a backup to.
type RestoreConfig struct {
	DataDir   string
	MasterKey string // of the installation that was saved, base64; "": keys/master.key in DataDir
	KeepKey   bool   // store MasterKey in DataDir
	Region    string
	Log       *slog.Logger
	Progress  func(done, of int, stream string) // nil: none
}

// Restore is a backup that has been read to its end and found whole.
type Restore struct {
	cfg    RestoreConfig
	file   io.ReadSeeker
	sealer *Sealer
	manif  backup.Manifest
	counts map[int]backup.Sum
	spaces map[string]bool // accounts
}

// NewRestore reads the whole backup, compares its sums and tries the master key on it.
// It changes nothing. Kind Invalid says what is wrong with file, key or region.
func NewRestore(cfg RestoreConfig, file io.ReadSeeker) (*Restore, error) {
	if cfg.Progress == nil {
		cfg.Progress = func(int, int, string) {}
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	b, err := backup.NewReader(file)
	if err != nil {
		return nil, err
	}
	for {
		if _, _, err = b.Next(); err != nil {
			break
		}
	}
	if !errors.Is(err, io.EOF) {
		return nil, err
	}
	r := &Restore{cfg: cfg, file: file, manif: b.Manifest, counts: b.Counts(), spaces: map[string]bool{}}
	directory := false
	for _, s := range r.counts {
		switch {
		case s.Account == backup.Control:
			directory = directory || s.Name == directoryStream
		case nkeys.IsValidPublicAccountKey(s.Account):
			r.spaces[s.Account] = true
		default:
			return nil, invalid("tenant.Restore", "", fmt.Sprintf("the backup names an account %q", s.Account))
		}
	}
	if !directory {
		return nil, invalid("tenant.Restore", "", "the backup has no directory in it")
	}
	if cfg.Region != r.manif.Region {
		return nil, invalid("tenant.Restore", "region", "must be "+r.manif.Region+", that of the backup")
	}
	return r, r.openKey()
}

func (r *Restore) openKey() (err error) {
	if r.sealer, err = loadSealer(r.cfg.MasterKey, r.cfg.DataDir); err != nil {
		return err
	}
	if r.sealer == nil {
		return &mnq.Error{
			Kind: mnq.Invalid, Op: "tenant.Restore", Field: "master-key-file",
			Msg: "is needed: the master key is not in a backup. Give the keys/master.key of the installation that was saved, or MNQ_MASTER_KEY",
		}
	}
	if plain, err := r.sealer.Open("org", "key check", r.manif.KeyCheck); err != nil || string(plain) != keyCheckText {
		return &mnq.Error{Kind: mnq.Invalid, Op: "tenant.Restore", Field: "master-key-file", Msg: "is not the master key of the installation that was saved"}
	}
	return nil
}

// Describe says what the backup is of.
func (r *Restore) Describe() string {
	return fmt.Sprintf("backup of %s by mnq %s, %d streams in %d namespaces", r.manif.CreatedAt.Format(time.RFC3339), r.manif.Version, len(r.counts), len(r.spaces))
}

// Run makes an empty installation that of the backup. n has been started, with its
// client port closed. Kind Conflict: it is not empty. After any other error what has been
// begun is of no use; the installation says so if it is started.
//
// When it returns, every server that is to have a copy of something has it.
func (r *Restore) Run(ctx context.Context, n *node.Node) error {
	if err := r.checkEmpty(ctx, n); err != nil {
		return err
	}
	_, err := node.Retry(ctx, node.PatienceFor(3), func(ctx context.Context) (jetstream.Stream, error) {
		return n.Control().CreateStream(ctx, jetstream.StreamConfig{
			Name: restoringStream, Subjects: []string{"mnq.restoring"}, Storage: jetstream.FileStorage, Replicas: n.Replicas(), MaxMsgs: 1,
		})
	})
	if err != nil {
		return unavailable("tenant.Restore", restoringStream, err)
	}
	if err := r.streams(ctx, n); err != nil {
		return err
	}
	if err := r.adopt(ctx, n); err != nil {
		return err
	}
	if err := r.level(ctx, n); err != nil {
		return err
	}
	_, err = node.Retry(ctx, node.PatienceFor(3), func(ctx context.Context) (struct{}, error) {
		err := n.Control().DeleteStream(ctx, restoringStream)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			err = nil
		}
		return struct{}{}, err
	})
	return err
}

// checkEmpty refuses an installation in which there is something already.
func (r *Restore) checkEmpty(ctx context.Context, n *node.Node) error {
	held, err := n.Holds(ctx)
	if err != nil {
		return err
	}
	full := func(what string) error {
		return &mnq.Error{
			Kind: mnq.Conflict, Op: "tenant.Restore", Field: "data-dir",
			Msg: what + ": a backup is restored into an empty installation only, and nothing was changed",
		}
	}
	if slices.Contains(held["control"], restoringStream) {
		return full("an earlier restore was cut off here")
	}
	for account, streams := range held {
		if len(streams) > 0 && (account == "control" || r.spaces[account] || !n.External()) {
			return full(fmt.Sprintf("there are %d streams in account %s", len(streams), account))
		}
	}
	return nil
}

// streams restores all streams that count, in the order of the file.
func (r *Restore) streams(ctx context.Context, n *node.Node) error {
	if _, err := r.file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	b, err := backup.NewReader(r.file)
	if err != nil {
		return err
	}
	to := &restoreTarget{n: n, known: map[string]bool{}}
	defer to.close()
	for done := 0; ; {
		s, data, err := b.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, ok := r.counts[b.N()]; !ok {
			continue
		}
		nc, err := to.connect(ctx, s.Account)
		if err == nil {
			err = node.RestoreStream(ctx, nc, node.StreamSnapshot{Config: s.Config, State: s.State}, n.Replicas(), data)
		}
		if err != nil {
			return fmt.Errorf("restore %s > %s: %w", s.Account, s.Name, err)
		}
		done++
		r.cfg.Progress(done, len(r.counts), s.Account+" > "+s.Name)
	}
}

// restoreTarget connects to accounts, one at a time. Until the installation is started
// and publishes them as they are in the directory, they have no limits, and nobody has
// a key to them.
type restoreTarget struct {
	n       *node.Node
	known   map[string]bool
	account string
	signing nkeys.KeyPair
	nc      *nats.Conn
}

func (t *restoreTarget) connect(ctx context.Context, account string) (*nats.Conn, error) {
	if account == backup.Control {
		return t.n.ControlConn(), nil
	}
	if t.account == account {
		return t.nc, nil
	}
	t.close()
	if t.signing == nil {
		var err error
		if t.signing, err = nkeys.CreateAccount(); err != nil {
			return nil, err
		}
	}
	if !t.known[account] {
		pub, err := t.signing.PublicKey()
		if err != nil {
			return nil, err
		}
		if err := t.n.PushAccount(ctx, node.Account{ID: account, Name: "restoring", SigningKey: pub, Limits: node.Unlimited()}); err != nil {
			return nil, err
		}
		t.known[account] = true
	}
	nc, _, err := t.n.Connect(ctx, account, t.signing)
	if err != nil {
		return nil, err
	}
	t.account, t.nc = account, nc
	return nc, nil
}

func (t *restoreTarget) close() {
	if t.nc != nil {
		t.nc.Close()
	}
	t.account, t.nc = "", nil
}

// adopt lets the operator of the new machines in: with an API key of their own, in
// admin.env, beside those that the backup has. It is made at the next start, as the first
// key of an installation is.
func (r *Restore) adopt(ctx context.Context, n *node.Node) error {
	s, err := openStore(ctx, n)
	if err != nil {
		return err
	}
	text, ok, err := readAdminEnv(r.cfg.DataDir)
	if err != nil {
		return err
	}
	env := adminEnv{}
	if ok {
		env = parseAdminEnv(text)
	}
	if env.AccessKey == "" || env.SecretKey == "" {
		env = adminEnv{AccessKey: newAPIAccessKey(), SecretKey: uuid.NewString()}
	}
	hash := tokenHash(env.SecretKey)
	org, _, err := change(ctx, s, orgKey, func(o *orgRecord) error {
		if o.FirstKey == nil {
			o.FirstKey = &apiKeyRecord{Key: mnq.APIKey{AccessKey: env.AccessKey, Name: "restored", CreatedAt: now()}, Hash: hash[:]}
		}
		return nil
	})
	if err != nil {
		return err
	}
	env.ProjectID, env.OrganizationID, env.Region = org.DefaultProjectID, org.ID, r.cfg.Region
	if err := writeAdminEnv(r.cfg.DataDir, env.String()); err != nil {
		return err
	}
	if r.cfg.MasterKey == "" || !r.cfg.KeepKey {
		return nil
	}
	return atomicfile.Write(masterKeyPath(r.cfg.DataDir), []byte(strings.TrimSpace(r.cfg.MasterKey)+"\n"))
}

// level returns when every copy is there.
func (r *Restore) level(ctx context.Context, n *node.Node) error {
	if n.Mode() == node.ModeSingle {
		return nil
	}
	for {
		s := n.Status(ctx)
		if s.Streams.Short == 0 && s.Streams.Leaderless == 0 && s.State != node.StateDown {
			return nil
		}
		r.cfg.Progress(len(r.counts), len(r.counts), fmt.Sprintf("waiting for the copies of %d streams", s.Streams.Short+s.Streams.Leaderless))
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// AwaitRestore returns when a restore that another process of the cluster runs is over.
func AwaitRestore(ctx context.Context, n *node.Node) error {
	for {
		there, err := standing(ctx, n, directoryStream)
		if err == nil && there {
			there, err = standing(ctx, n, restoringStream)
			if err == nil && !there {
				return nil
			}
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

// standing reports whether the control account has a stream.
func standing(ctx context.Context, n *node.Node, stream string) (bool, error) {
	_, err := node.Retry(ctx, node.PatienceFor(n.Replicas()), func(ctx context.Context) (jetstream.Stream, error) { return n.Control().Stream(ctx, stream) })
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return false, nil
	}
	return err == nil, err
}

// notHalfRestored refuses an installation in which a restore was cut off.
func (d *Directory) notHalfRestored(ctx context.Context) error {
	half, err := standing(ctx, d.cfg.Node, restoringStream)
	if err != nil {
		return unavailable("tenant.Start", restoringStream, err)
	}
	if half {
		return &mnq.Error{
			Kind: mnq.Invalid, Op: "tenant.Start", Field: "data-dir",
			Msg: "a restore into this installation was cut off or is under way: when it is not, restore again into empty data directories",
		}
	}
	return nil
}
