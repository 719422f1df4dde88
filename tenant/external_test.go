package tenant

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nkeys"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/node"
)

// gateway starts a second process that reaches b's server over TCP, as it would
// a cluster run by others.
func (b *testBundle) gateway(t *testing.T) *Directory {
	t.Helper()
	dir := t.TempDir()
	n := must(node.New(node.Config{
		DataDir: dir, Fsync: node.FsyncInterval,
		External: &node.External{
			URL:              "nats://" + b.node.Address(),
			OperatorSeedFile: filepath.Join(b.dir, "keys", "operator.nk"),
			SystemCredsFile:  b.systemCreds(t),
		},
	}))(t)
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	cfg := b.config()
	cfg.Node, cfg.DataDir = n, dir
	cfg.MasterKey = string(must(os.ReadFile(masterKeyPath(b.dir)))(t))
	d := must(New(cfg))(t)
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, d) })
	return d
}

func (b *testBundle) systemCreds(t *testing.T) string {
	t.Helper()
	raw := must(b.node.Derive("system account"))(t)
	system := must(nkeys.FromRawSeed(nkeys.PrefixByteAccount, raw))(t)
	user := must(nkeys.CreateUser())(t)
	token := must(jwt.NewUserClaims(must(user.PublicKey())(t)).Encode(system))(t)
	file := must(jwt.FormatUserConfig(token, must(user.Seed())(t)))(t)
	path := filepath.Join(t.TempDir(), "system.creds")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestGatewayProcess(t *testing.T) {
	t.Parallel()
	b := setup(t, "127.0.0.1:0")
	d := b.process(t)
	if err := b.node.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	g := b.gateway(t)
	if g.OrganizationID() != d.OrganizationID() || g.FirstStart() || g.DeriveKey("x") != d.DeriveKey("x") {
		t.Fatal("the gateway is in another installation")
	}
	if _, ok, _ := readAdminEnv(g.cfg.DataDir); ok {
		t.Error("the gateway wrote an admin.env")
	}
	ns := newNS(t, g, mnq.ProtocolNATS)
	c, s := newCred(t, g, ns)
	_, closed, err := b.client(t, s.CredsFile)
	if err != nil {
		t.Fatal(err)
	}
	caughtUp(t, g, d)
	if err := d.DeleteCredential(ctx, c.ID); err != nil {
		t.Fatal(err)
	}
	<-closed

	sqs := newNS(t, d, mnq.ProtocolSQSSNS)
	key, _ := newCred(t, d, sqs)
	caughtUp(t, d, g)
	must(g.Principal(key.AccessKey))(t)
	if _, js, err := g.Connect(ctx, sqs.ID); err != nil || js == nil {
		t.Fatal(err)
	}
	if err := g.cfg.Node.ControlConn().ForceReconnect(); err != nil {
		t.Fatal(err)
	}
	if err := d.DeleteNamespace(ctx, sqs.ID); err != nil {
		t.Fatal(err)
	}
	caughtUp(t, d, g)
	_, err = g.Principal(key.AccessKey)
	wantKind(t, err, mnq.Unauthenticated)
	if !strings.Contains(string(must(os.ReadFile(b.dir+"/admin.env"))(t)), "://127.0.0.1:1\n") {
		t.Error("admin.env was changed by the gateway")
	}
}
