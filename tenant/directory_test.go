package tenant

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/node"
)

func TestMain(m *testing.M) {
	ats.Register() // its ticker must live outside every synctest bubble
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

// testBundle is one installation. Directories started on the same node stand for
// processes: they share nothing but the bucket and the master key.
type testBundle struct {
	node   *node.Node
	dir    string
	listen string
}

func setup(t *testing.T, listen string) *testBundle {
	t.Helper()
	b := &testBundle{dir: t.TempDir(), listen: listen}
	b.startNode(t)
	return b
}

func (b *testBundle) startNode(t *testing.T) {
	t.Helper()
	n, err := node.New(node.Config{DataDir: b.dir, Fsync: node.FsyncInterval, Listen: b.listen})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	b.node = n
	t.Cleanup(func() { b.stopNode(t) })
}

func (b *testBundle) stopNode(t *testing.T) {
	t.Helper()
	if err := b.node.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

func (b *testBundle) config() Config {
	return Config{
		Node: b.node, DataDir: b.dir, APIURL: "http://127.0.0.1:1",
		Log: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
	}
}

// process starts a Directory.
func (b *testBundle) process(t *testing.T) *Directory {
	t.Helper()
	d, err := New(b.config())
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, d) })
	return d
}

func stop(t *testing.T, d *Directory) {
	t.Helper()
	if err := d.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

func wantKind(t *testing.T, err error, kind mnq.Kind) {
	t.Helper()
	if err == nil || mnq.KindOf(err) != kind {
		t.Fatalf("got %v, want an error of kind %v", err, kind)
	}
}

func must[T any](v T, err error) func(t *testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newNS(t *testing.T, d *Directory, p mnq.Protocol) mnq.Namespace {
	t.Helper()
	return must(d.CreateNamespace(t.Context(), NewNamespace{Name: "n", Protocol: p, ProjectID: d.DefaultProjectID()}))(t)
}

func newCred(t *testing.T, d *Directory, ns mnq.Namespace) (mnq.Credential, CredentialSecret) {
	t.Helper()
	c, s, err := d.CreateCredential(t.Context(), NewCredential{Name: "c", NamespaceID: ns.ID})
	if err != nil {
		t.Fatal(err)
	}
	return c, s
}

// caughtUp waits until other has taken in all that d has written.
func caughtUp(t *testing.T, d, other *Directory) {
	t.Helper()
	if err := other.view.wait(t.Context(), applied(d)); err != nil {
		t.Fatal(err)
	}
}

// client connects with a .creds file as a customer would; closed is closed when
// the server cuts it.
func (b *testBundle) client(t *testing.T, creds mnq.Secret) (nc *nats.Conn, closed chan struct{}, err error) {
	t.Helper()
	closed = make(chan struct{})
	file := t.TempDir() + "/user.creds"
	if err := os.WriteFile(file, []byte(creds.Reveal()), 0o600); err != nil {
		t.Fatal(err)
	}
	nc, err = nats.Connect("nats://"+b.node.Address(), nats.UserCredentials(file), nats.NoReconnect(),
		nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}),
		nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err == nil {
		t.Cleanup(nc.Close)
	}
	return nc, closed, err
}

func TestProjectsAndKeys(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	d, other := b.process(t), b.process(t)
	ctx := t.Context()

	env := parseAdminEnv(string(must(os.ReadFile(d.AdminEnvPath()))(t)))
	admin := must(d.Authenticate(env.SecretKey))(t)
	if diff := cmp.Diff(mnq.Identity{AccessKey: env.AccessKey, OrganizationID: env.OrganizationID}, admin); diff != "" {
		t.Error(diff)
	}
	p := must(d.CreateProject(ctx, NewProject{Name: "p"}))(t)
	k, secret, err := d.CreateAPIKey(ctx, NewAPIKey{Name: "k", ProjectID: p.ID, ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	caughtUp(t, d, other)
	want := mnq.Identity{AccessKey: k.AccessKey, OrganizationID: d.OrganizationID(), ProjectID: p.ID, ReadOnly: true}
	for _, dir := range []*Directory{d, other} {
		if diff := cmp.Diff(want, must(dir.Authenticate(secret.Reveal()))(t)); diff != "" {
			t.Error(diff)
		}
	}
	_, err = d.Authenticate(uuid.NewString())
	wantKind(t, err, mnq.Unauthenticated)
	_, err = d.Authenticate("")
	wantKind(t, err, mnq.Unauthenticated)

	if err := other.DeleteAPIKey(ctx, k.AccessKey); err != nil {
		t.Fatal(err)
	}
	caughtUp(t, other, d)
	_, err = d.Authenticate(secret.Reveal())
	wantKind(t, err, mnq.Unauthenticated)
	wantKind(t, d.DeleteAPIKey(ctx, k.AccessKey), mnq.NotFound)
	wantKind(t, d.DeleteAPIKey(ctx, d.APIKeys()[0].AccessKey), mnq.Conflict)

	_, err = d.CreateProject(ctx, NewProject{Name: "again", ID: p.ID})
	wantKind(t, err, mnq.Exists)
	_, err = d.CreateProject(ctx, NewProject{Name: "bad", ID: "x"})
	wantKind(t, err, mnq.Invalid)
	wantKind(t, d.DeleteProject(ctx, d.DefaultProjectID()), mnq.Conflict)

	ns := must(d.CreateNamespace(ctx, NewNamespace{Name: "n", Protocol: mnq.ProtocolNATS, ProjectID: p.ID}))(t)
	wantKind(t, other.DeleteProject(ctx, p.ID), mnq.Conflict)
	if err := d.DeleteNamespace(ctx, ns.ID); err != nil {
		t.Fatal(err)
	}
	_, bound, err := d.CreateAPIKey(ctx, NewAPIKey{Name: "bound", ProjectID: p.ID})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.DeleteProject(ctx, p.ID); err != nil {
		t.Fatal(err)
	}
	_, err = d.Authenticate(bound.Reveal())
	wantKind(t, err, mnq.Unauthenticated)
	_, err = d.CreateNamespace(ctx, NewNamespace{Name: "n", Protocol: mnq.ProtocolNATS, ProjectID: p.ID})
	wantKind(t, err, mnq.NotFound)
	_, err = d.Project(p.ID)
	wantKind(t, err, mnq.NotFound)
}

func TestNATSNamespace(t *testing.T) {
	t.Parallel()
	b := setup(t, "127.0.0.1:0")
	d, other := b.process(t), b.process(t)
	if err := b.node.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()

	t.Run("CredentialOpensItUntilDeletedByAnotherProcess", func(t *testing.T) {
		t.Parallel()
		ns := newNS(t, d, mnq.ProtocolNATS)
		c, s := newCred(t, d, ns)
		if c.Checksum != checksum(s.CredsFile.Reveal()) || s.SecretKey != "" || c.AccessKey != "" {
			t.Fatalf("credential %+v", c)
		}
		nc, closed, err := b.client(t, s.CredsFile)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := must(jetstream.New(nc))(t).CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}, MaxBytes: 1 << 20}); err != nil {
			t.Fatal(err)
		}
		_, s2 := newCred(t, d, ns)
		caughtUp(t, d, other)
		if err := other.DeleteCredential(ctx, c.ID); err != nil {
			t.Fatal(err)
		}
		<-closed
		if _, _, err := b.client(t, s.CredsFile); !errors.Is(err, nats.ErrAuthorization) {
			t.Fatalf("got %v after revocation", err)
		}
		if _, _, err := b.client(t, s2.CredsFile); err != nil {
			t.Fatalf("the other credential: %v", err)
		}
		caughtUp(t, other, d)
		_, err = d.Credential(c.ID)
		wantKind(t, err, mnq.NotFound)
	})
	t.Run("CredsFileIsAsTheOriginals", func(t *testing.T) {
		t.Parallel()
		ns := newNS(t, d, mnq.ProtocolNATS)
		for name, want := range map[string]string{
			"orders": "orders", strings.Repeat("<\U0001F600", 250): strings.Repeat("<\U0001F600", 32), strings.Repeat("x", 64): strings.Repeat("x", 64),
		} {
			_, s, err := d.CreateCredential(ctx, NewCredential{Name: name, NamespaceID: ns.ID})
			if err != nil {
				t.Fatal(err)
			}
			token, err := jwt.ParseDecoratedJWT([]byte(s.CredsFile.Reveal()))
			if err != nil {
				t.Fatal(err)
			}
			c, err := jwt.DecodeUserClaims(token)
			if err != nil || c.Name != want || c.IssuerAccount != ns.ID || c.Issuer == ns.ID || c.Expires != 0 || c.Subs != -1 || c.Data != -1 || c.Limits.Payload != -1 ||
				len(c.Pub.Allow)+len(c.Pub.Deny)+len(c.Sub.Allow)+len(c.Sub.Deny) > 0 {
				t.Errorf("claims %+v %v", c, err)
			}
			if !strings.HasSuffix(s.CredsFile.Reveal(), "------END USER NKEY SEED------\n\n*************************************************************\n") {
				t.Errorf("the file ends with %q", s.CredsFile.Reveal()[len(s.CredsFile.Reveal())-120:])
			}
			if _, _, err := b.client(t, s.CredsFile); err != nil {
				t.Errorf("a credential with a name of %d bytes: %v", len(name), err)
			}
		}
	})

	t.Run("DeletionCutsEverybody", func(t *testing.T) {
		t.Parallel()
		ns := newNS(t, d, mnq.ProtocolNATS)
		c, s := newCred(t, d, ns)
		_, closed, err := b.client(t, s.CredsFile)
		if err != nil {
			t.Fatal(err)
		}
		caughtUp(t, d, other)
		if err := other.DeleteNamespace(ctx, ns.ID); err != nil {
			t.Fatal(err)
		}
		<-closed
		if _, _, err := b.client(t, s.CredsFile); err == nil {
			t.Fatal("still connects")
		}
		caughtUp(t, other, d)
		for _, dir := range []*Directory{d, other} {
			_, err := dir.Credential(c.ID)
			wantKind(t, err, mnq.NotFound)
			_, err = dir.Namespace(ns.ID)
			wantKind(t, err, mnq.NotFound)
			wantKind(t, dir.DeleteNamespace(ctx, ns.ID), mnq.NotFound)
		}
	})
	t.Run("QuotaBoundsTheAccount", func(t *testing.T) {
		t.Parallel()
		ns := newNS(t, d, mnq.ProtocolNATS)
		_, s := newCred(t, d, ns)
		got := must(d.SetQuota(ctx, ns.ID, mnq.Quota{Streams: 1}))(t)
		if got.Quota.Streams != 1 || got.Quota.StorageBytes != mnq.DefaultQuota(mnq.ProtocolNATS).StorageBytes {
			t.Fatalf("quota %+v", got.Quota)
		}
		nc, _, err := b.client(t, s.CredsFile)
		if err != nil {
			t.Fatal(err)
		}
		js := must(jetstream.New(nc))(t)
		if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "A", MaxBytes: 1 << 20}); err != nil {
			t.Fatal(err)
		}
		if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "B", MaxBytes: 1 << 20}); err == nil {
			t.Fatal("a second stream was made")
		}
	})
	t.Run("PermissionsAreRefused", func(t *testing.T) {
		t.Parallel()
		ns := newNS(t, d, mnq.ProtocolNATS)
		_, _, err := d.CreateCredential(ctx, NewCredential{
			Name: "c", NamespaceID: ns.ID, Permissions: mnq.Permissions{CanManage: true},
		})
		wantKind(t, err, mnq.Invalid)
		c, _ := newCred(t, d, ns)
		_, err = d.UpdateCredential(ctx, c.ID, CredentialChange{CanManage: new(true)})
		wantKind(t, err, mnq.Invalid)
		if got := must(d.UpdateCredential(ctx, c.ID, CredentialChange{Name: new("x")}))(t); got.Name != "x" {
			t.Fatalf("got %+v", got)
		}
	})
	t.Run("CredentialsHaveALimitThatCountsRevokedOnes", func(t *testing.T) {
		t.Parallel()
		cfg := b.config()
		cfg.Limits.Credentials = 2
		small := must(New(cfg))(t)
		if err := small.Start(ctx); err != nil {
			t.Fatal(err)
		}
		defer stop(t, small)
		ns := newNS(t, small, mnq.ProtocolNATS)
		c, _ := newCred(t, small, ns)
		newCred(t, small, ns)
		if err := small.DeleteCredential(ctx, c.ID); err != nil {
			t.Fatal(err)
		}
		_, _, err := small.CreateCredential(ctx, NewCredential{Name: "c", NamespaceID: ns.ID})
		wantKind(t, err, mnq.QuotaExceeded)
	})
}

func TestPrincipal(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	d, other := b.process(t), b.process(t)
	ctx := t.Context()
	ns := newNS(t, d, mnq.ProtocolSQSSNS)
	c, s, err := d.CreateCredential(ctx, NewCredential{
		Name: "c", NamespaceID: ns.ID, ProjectID: ns.ProjectID, Permissions: mnq.Permissions{CanPublish: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(c.AccessKey) != 20 || len(s.SecretKey.Reveal()) != 64 || c.Checksum != checksum(s.SecretKey.Reveal()) {
		t.Fatalf("credential %+v", c)
	}
	caughtUp(t, d, other)
	p := must(other.Principal(c.AccessKey))(t)
	if p.Secret.Reveal() != s.SecretKey.Reveal() || p.Namespace.ID != ns.ID || p.Namespace.Quota.Queues != 50 {
		t.Fatalf("principal %+v", p)
	}
	if diff := cmp.Diff(c, p.Credential); diff != "" {
		t.Error(diff)
	}
	must(other.UpdateCredential(ctx, c.ID, CredentialChange{CanManage: new(true), CanPublish: new(false)}))(t)
	caughtUp(t, other, d)
	if got := must(d.Principal(c.AccessKey))(t).Credential.Permissions; got != (mnq.Permissions{CanManage: true}) {
		t.Fatalf("permissions %+v", got)
	}
	if raw := must(d.store.kv.Get(ctx, credentialPrefix+c.ID))(t); strings.Contains(string(raw.Value()), s.SecretKey.Reveal()) {
		t.Fatal("the secret is stored in clear")
	}
	if err := d.DeleteCredential(ctx, c.ID); err != nil {
		t.Fatal(err)
	}
	caughtUp(t, d, other)
	for _, key := range []string{c.AccessKey, "", "nobody"} {
		_, err = other.Principal(key)
		wantKind(t, err, mnq.Unauthenticated)
	}
	_, _, err = d.CreateCredential(ctx, NewCredential{Name: "c", NamespaceID: ns.ID, ProjectID: uuid.NewString()})
	wantKind(t, err, mnq.NotFound)
}

func TestConcurrentChanges(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	a, c := b.process(t), b.process(t)
	ctx := t.Context()
	ns := newNS(t, a, mnq.ProtocolNATS)
	var creds []mnq.Credential
	for range 10 {
		cr, _ := newCred(t, a, ns)
		creds = append(creds, cr)
	}
	caughtUp(t, a, c)
	var wg sync.WaitGroup
	for i, cr := range creds {
		d := []*Directory{a, c}[i%2]
		wg.Go(func() {
			if err := d.DeleteCredential(ctx, cr.ID); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			if _, err := d.RenameNamespace(ctx, ns.ID, cr.ID); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	r := &namespaceRecord{}
	if _, err := a.store.read(ctx, namespacePrefix+ns.ID, r); err != nil {
		t.Fatal(err)
	}
	if len(r.Revoked) != len(creds) {
		t.Fatalf("%d of %d revocations were kept", len(r.Revoked), len(creds))
	}
}

func TestActivation(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	d, other := b.process(t), b.process(t)
	newProject := func(t *testing.T) string {
		t.Helper()
		p := must(d.CreateProject(t.Context(), NewProject{Name: "p"}))(t)
		caughtUp(t, d, other)
		return p.ID
	}
	cred := func(t *testing.T, project string, s mnq.Service) mnq.Credential {
		t.Helper()
		c, _, err := d.CreateCredential(t.Context(), NewCredential{Name: "c", ProjectID: project, Service: s})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	t.Run("SQSAndSNSShareOneHiddenNamespaceWhoeverComesFirst", func(t *testing.T) {
		t.Parallel()
		ctx, p := t.Context(), newProject(t)
		var wg sync.WaitGroup
		wg.Go(func() { must(d.Activate(ctx, p, mnq.ServiceSQS))(t) })
		wg.Go(func() { must(other.Activate(ctx, p, mnq.ServiceSNS))(t) })
		wg.Wait()
		caughtUp(t, other, d)
		sqs, sns := cred(t, p, mnq.ServiceSQS), cred(t, p, mnq.ServiceSNS)
		if sqs.NamespaceID != sns.NamespaceID {
			t.Fatal("two namespaces")
		}
		ns := must(d.NamespaceByAccount("project-" + p))(t)
		if ns.ID != sqs.NamespaceID || !ns.Activated || ns.Account() != "project-"+p {
			t.Fatalf("namespace %+v", ns)
		}
		_, err := d.NamespaceByAccount(ns.ID) // its account part has another form
		wantKind(t, err, mnq.NotFound)
		_, err = d.Activate(ctx, p, mnq.ServiceSQS)
		wantKind(t, err, mnq.Exists)
		wantKind(t, d.DeleteNamespace(ctx, ns.ID), mnq.Conflict)
		wantKind(t, d.DeleteProject(ctx, p), mnq.Conflict)
	})
	t.Run("DeactivatingOneLeavesTheOther", func(t *testing.T) {
		t.Parallel()
		ctx, p := t.Context(), newProject(t)
		var cleared atomic.Int32
		d.OnServiceGone(func(_ context.Context, _ string, s mnq.Service) error {
			if s == mnq.ServiceSQS {
				cleared.Add(1)
			}
			return nil
		})
		act := must(d.Activate(ctx, p, mnq.ServiceSQS))(t)
		if !act.Enabled || act.CreatedAt.IsZero() {
			t.Fatalf("activation %+v", act)
		}
		must(d.Activate(ctx, p, mnq.ServiceSNS))(t)
		sqs, sns := cred(t, p, mnq.ServiceSQS), cred(t, p, mnq.ServiceSNS)
		off := must(d.Deactivate(ctx, p, mnq.ServiceSQS))(t)
		if diff := cmp.Diff(mnq.Activation{ProjectID: p, Service: mnq.ServiceSQS}, off); diff != "" {
			t.Error(diff)
		}
		if cleared.Load() == 0 {
			t.Error("nobody was told to clear SQS")
		}
		_, err := d.Principal(sqs.AccessKey)
		wantKind(t, err, mnq.Unauthenticated)
		must(d.Principal(sns.AccessKey))(t)
		_, err = d.Deactivate(ctx, p, mnq.ServiceSQS)
		wantKind(t, err, mnq.NotFound)
		_, _, err = d.CreateCredential(ctx, NewCredential{Name: "c", ProjectID: p, Service: mnq.ServiceSQS})
		wantKind(t, err, mnq.Conflict)

		must(d.Activate(ctx, p, mnq.ServiceSQS))(t)
		_, err = d.Principal(sqs.AccessKey)
		wantKind(t, err, mnq.Unauthenticated)
	})
	t.Run("DeactivatingTheLastRemovesTheNamespace", func(t *testing.T) {
		t.Parallel()
		ctx, p := t.Context(), newProject(t)
		var gone sync.Map
		other.OnNamespaceGone(func(id string) { gone.Store(id, true) })
		must(d.Activate(ctx, p, mnq.ServiceSNS))(t)
		c := cred(t, p, mnq.ServiceSNS)
		must(d.Deactivate(ctx, p, mnq.ServiceSNS))(t)
		_, err := d.Namespace(c.NamespaceID)
		wantKind(t, err, mnq.NotFound)
		caughtUp(t, d, other)
		if _, ok := gone.Load(c.NamespaceID); !ok {
			t.Error("the other process was not told")
		}
		must(other.Activate(ctx, p, mnq.ServiceSNS))(t)
		if again := must(other.NamespaceByAccount("project-" + p))(t); again.ID == c.NamespaceID {
			t.Error("the old namespace came back")
		}
	})
}

func TestConnect(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	d, other := b.process(t), b.process(t)
	ctx := t.Context()
	ns := newNS(t, d, mnq.ProtocolSQSSNS)
	conns := make([]*nats.Conn, 8)
	var wg sync.WaitGroup
	for i := range conns {
		wg.Go(func() {
			nc, js, err := d.Connect(ctx, ns.ID)
			if err != nil || js == nil {
				t.Error(err)
			}
			conns[i] = nc
		})
	}
	wg.Wait()
	for _, nc := range conns {
		if nc != conns[0] {
			t.Fatal("more than one connection was made")
		}
	}
	caughtUp(t, d, other)
	if err := other.DeleteNamespace(ctx, ns.ID); err != nil {
		t.Fatal(err)
	}
	caughtUp(t, other, d)
	if !conns[0].IsClosed() {
		t.Error("the connection outlives its namespace")
	}
	_, _, err := d.Connect(ctx, ns.ID)
	wantKind(t, err, mnq.NotFound)
}

func TestRestartKeepsEverything(t *testing.T) {
	t.Parallel()
	b := setup(t, "127.0.0.1:0")
	d := b.process(t)
	ns := newNS(t, d, mnq.ProtocolNATS)
	revoked, gone := newCred(t, d, ns)
	_, kept := newCred(t, d, ns)
	if err := d.DeleteCredential(t.Context(), revoked.ID); err != nil {
		t.Fatal(err)
	}
	env := must(os.ReadFile(d.AdminEnvPath()))(t)
	before := []any{d.OrganizationID(), d.DefaultProjectID(), d.Projects(), d.APIKeys(), d.Namespaces(), d.Credentials()}
	key := d.DeriveKey("x")
	stop(t, d)
	b.stopNode(t)
	if err := os.RemoveAll(b.dir + "/accounts"); err != nil { // as after a power cut
		t.Fatal(err)
	}

	b.startNode(t)
	d = b.process(t)
	if d.FirstStart() {
		t.Error("bootstrapped again")
	}
	after := []any{d.OrganizationID(), d.DefaultProjectID(), d.Projects(), d.APIKeys(), d.Namespaces(), d.Credentials()}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Error(diff)
	}
	if key != d.DeriveKey("x") {
		t.Error("another derived key")
	}
	if diff := cmp.Diff(string(env), string(must(os.ReadFile(d.AdminEnvPath()))(t))); diff != "" {
		t.Error(diff)
	}
	must(d.Authenticate(parseAdminEnv(string(env)).SecretKey))(t)
	if err := b.node.Listen(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.client(t, kept.CredsFile); err != nil {
		t.Error(err)
	}
	if _, _, err := b.client(t, gone.CredsFile); err == nil {
		t.Error("a revoked credential connects after the restart")
	}
}

func TestUnfinishedWork(t *testing.T) {
	t.Parallel()
	t.Run("IsFinishedAtTheNextStart", func(t *testing.T) {
		t.Parallel()
		b := setup(t, "")
		d := b.process(t)
		ctx := t.Context()
		ns := newNS(t, d, mnq.ProtocolSQSSNS)
		c, _ := newCred(t, d, ns)
		markDeleting(t, d, ns.ID)
		_, err := d.Principal(c.AccessKey)
		wantKind(t, err, mnq.Unauthenticated)
		_, err = d.Namespace(ns.ID)
		wantKind(t, err, mnq.NotFound)
		stop(t, d)

		d = b.process(t)
		waitFor(t, d, func(x *index) bool { return x.namespaces[ns.ID] == nil && x.credentials[c.ID] == nil })
		_, err = d.store.read(ctx, credentialPrefix+c.ID, &credentialRecord{})
		wantKind(t, err, mnq.NotFound)
	})
	t.Run("OfAnotherProcessIsTakenOverAfterAGrace", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		synctest.Test(t, func(t *testing.T) {
			b := &testBundle{dir: dir}
			b.startNode(t)
			d := b.process(t)
			ns := newNS(t, d, mnq.ProtocolSQSSNS)
			p := must(d.CreateProject(t.Context(), NewProject{Name: "p"}))(t)
			must(d.Activate(t.Context(), p.ID, mnq.ServiceSQS))(t)
			markDeleting(t, d, ns.ID)
			_, rev, err := change(t.Context(), d.store, activationPrefix+p.ID, func(r *activationRecord) error {
				r.SQS.State = serviceClosing
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := d.view.wait(t.Context(), rev); err != nil {
				t.Fatal(err)
			}
			time.Sleep(grace - time.Second)
			if !stands(d, ns.ID) {
				t.Error("taken over too early")
			}
			time.Sleep(sweepEvery + 10*time.Second)
			if stands(d, ns.ID) {
				t.Error("never finished")
			}
			d.view.look(func(x *index) {
				if a := x.activations[p.ID]; a.closing() || a.Namespace != nil || len(x.namespaces) != 0 {
					t.Errorf("activation %+v, %d namespaces", a, len(x.namespaces))
				}
			})
		})
	})
}

func stands(d *Directory, id string) (yes bool) {
	d.view.look(func(x *index) { yes = x.namespaces[id] != nil })
	return yes
}

// markDeleting does the first step of a deletion and no other.
func markDeleting(t *testing.T, d *Directory, id string) {
	t.Helper()
	_, rev, err := change(t.Context(), d.store, namespacePrefix+id, func(r *namespaceRecord) error {
		r.Deleting = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.view.wait(t.Context(), rev); err != nil {
		t.Fatal(err)
	}
}

// waitFor returns when the index of d satisfies ok.
func waitFor(t *testing.T, d *Directory, ok func(x *index) bool) {
	t.Helper()
	for {
		d.view.mu.RLock()
		done, changed := ok(d.view.x), d.view.changed
		d.view.mu.RUnlock()
		if done {
			return
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatal("never happened")
		}
	}
}

// applied is the newest revision that the directory has taken in.
func applied(d *Directory) (rev uint64) {
	d.view.look(func(x *index) { rev = x.applied })
	return rev
}
