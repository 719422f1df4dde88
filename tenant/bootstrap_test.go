package tenant

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq"
)

// envOf reads admin.env.
func envOf(t *testing.T, dir string) adminEnv {
	t.Helper()
	text, ok, err := readAdminEnv(dir)
	if err != nil || !ok {
		t.Fatalf("admin.env: %v, %v", ok, err)
	}
	return parseAdminEnv(text)
}

// wantUsable checks that the key in admin.env opens the installation.
func wantUsable(t *testing.T, d *Directory) {
	t.Helper()
	env := envOf(t, d.cfg.DataDir)
	want := mnq.Identity{AccessKey: env.AccessKey, OrganizationID: d.OrganizationID()}
	if diff := cmp.Diff(want, must(d.Authenticate(env.SecretKey))(t)); diff != "" {
		t.Error(diff)
	}
	if env.ProjectID != d.DefaultProjectID() || env.OrganizationID != d.OrganizationID() || env.Region != d.Region() {
		t.Errorf("admin.env %+v", env)
	}
	if p := must(d.Project(env.ProjectID))(t); p.Name != "default" {
		t.Errorf("project %+v", p)
	}
}

func TestBootstrap(t *testing.T) {
	t.Parallel()
	t.Run("MakesAUsableInstallation", func(t *testing.T) {
		t.Parallel()
		b := setup(t, "")
		d := b.process(t)
		wantUsable(t, d)
		if !d.FirstStart() || b.process(t).FirstStart() {
			t.Error("the first start is not told from the second")
		}
	})
	t.Run("SurvivesACrashBeforeTheDecidingRecord", func(t *testing.T) {
		t.Parallel()
		b := setup(t, "")
		if _, err := createMasterKey(b.dir); err != nil {
			t.Fatal(err)
		}
		left := adminEnv{
			AccessKey: newAPIAccessKey(), SecretKey: "6f0c8c5c-0000-4000-8000-000000000001",
			ProjectID: "6f0c8c5c-0000-4000-8000-000000000002", OrganizationID: "6f0c8c5c-0000-4000-8000-000000000003",
		}
		if err := writeAdminEnv(b.dir, left.String()); err != nil {
			t.Fatal(err)
		}
		d := b.process(t)
		wantUsable(t, d)
		if d.OrganizationID() != left.OrganizationID {
			t.Error("the ids that were handed out already are lost")
		}
	})
	t.Run("SurvivesACrashAfterTheDecidingRecord", func(t *testing.T) {
		t.Parallel()
		b := setup(t, "")
		d := must(New(b.config()))(t)
		d.store = must(openStore(t.Context(), b.node))(t)
		if err := d.bootstrap(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantUsable(t, b.process(t))
	})
	t.Run("IsDoneByOneOfTwoProcesses", func(t *testing.T) {
		t.Parallel()
		b := setup(t, "")
		winner := b.process(t)
		cfg := b.config()
		cfg.DataDir = t.TempDir()
		loser := must(New(cfg))(t)
		loser.store = winner.store
		// As if both had found nothing: the loser has written its files by now.
		loser.sealer = must(createMasterKey(cfg.DataDir))(t)
		if err := writeAdminEnv(cfg.DataDir, "x"); err != nil {
			t.Fatal(err)
		}
		wantKind(t, loser.lostBootstrap(t.Context(), adminEnv{}, true), mnq.Invalid) // it lacks the winner's key
		for _, path := range []string{adminEnvPath(cfg.DataDir), masterKeyPath(cfg.DataDir)} {
			if _, err := os.Stat(path); !os.IsNotExist(err) {
				t.Errorf("%s is left behind", path)
			}
		}
		wantUsable(t, winner)
	})
	t.Run("RefusesAMissingOrAnotherMasterKey", func(t *testing.T) {
		t.Parallel()
		b := setup(t, "")
		d := b.process(t)
		ns := newNS(t, d, mnq.ProtocolSQSSNS)
		stop(t, d)
		start := func(change func(*Config)) error {
			cfg := b.config()
			change(&cfg)
			d := must(New(cfg))(t)
			return d.Start(context.Background())
		}
		empty, foreign := t.TempDir(), t.TempDir()
		if _, err := createMasterKey(foreign); err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{empty, foreign} {
			err := start(func(c *Config) { c.DataDir = dir })
			wantKind(t, err, mnq.Invalid)
			if !strings.Contains(err.Error(), "MNQ_MASTER_KEY") {
				t.Errorf("no hint in %v", err)
			}
		}
		key := string(must(os.ReadFile(masterKeyPath(b.dir)))(t))
		cfg := b.config()
		cfg.DataDir, cfg.MasterKey = empty, key
		again := must(New(cfg))(t)
		if err := again.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer stop(t, again)
		must(again.Namespace(ns.ID))(t)
	})
	t.Run("KeepsTheURLInAdminEnvUpToDate", func(t *testing.T) {
		t.Parallel()
		b := setup(t, "")
		d := b.process(t)
		if err := d.SetAPIURL("http://127.0.0.1:4711"); err != nil {
			t.Fatal(err)
		}
		if got := envOf(t, b.dir).APIURL; got != "http://127.0.0.1:4711" {
			t.Errorf("URL %q", got)
		}
		wantUsable(t, d)
		if err := os.Remove(d.AdminEnvPath()); err != nil {
			t.Fatal(err)
		}
		if err := d.SetAPIURL("http://x"); err != nil {
			t.Fatal(err)
		}
		if _, ok, _ := readAdminEnv(b.dir); ok {
			t.Error("a file that its owner removed came back")
		}
	})
}

func TestWatch(t *testing.T) {
	t.Parallel()
	t.Run("RebuildsWhatItMissed", func(t *testing.T) {
		t.Parallel()
		b := setup(t, "")
		d, cutOff := b.process(t), b.process(t)
		ctx := t.Context()
		ns := newNS(t, d, mnq.ProtocolSQSSNS)
		c, _ := newCred(t, d, ns)
		caughtUp(t, d, cutOff)
		told := make(chan string, 10)
		cutOff.OnNamespaceGone(func(id string) { told <- id })
		removeWatch(t, cutOff)
		if err := d.DeleteNamespace(ctx, ns.ID); err != nil {
			t.Fatal(err)
		}
		later := newNS(t, d, mnq.ProtocolNATS)
		cutOff.view.requestRewatch()
		caughtUp(t, d, cutOff)
		_, err := cutOff.Principal(c.AccessKey)
		wantKind(t, err, mnq.Unauthenticated)
		must(cutOff.Namespace(later.ID))(t)
		if id := <-told; id != ns.ID {
			t.Errorf("told of %s", id)
		}
		if err := cutOff.Ready(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Run("RefusesRecordsThatItCannotRead", func(t *testing.T) {
		t.Parallel()
		b := setup(t, "")
		cfg := b.config()
		cfg.Log = nil
		d := must(New(cfg))(t)
		if err := d.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		defer stop(t, d)
		key := d.APIKeys()[0].AccessKey
		for _, bad := range []string{`{"v":2}`, `{"v":1,"hash":"AA=="}`, `{`, ``} {
			rev := must(d.store.kv.Put(t.Context(), apiKeyPrefix+key, []byte(bad)))(t)
			if err := d.view.wait(t.Context(), rev); err != nil {
				t.Fatal(err)
			}
			if len(d.APIKeys()) != 0 {
				t.Errorf("a key remains after %q", bad)
			}
		}
		rev := must(d.store.kv.Put(t.Context(), "unknown.x", []byte("{}")))(t)
		if err := d.view.wait(t.Context(), rev); err != nil {
			t.Fatal(err)
		}
	})
}

// removeWatch takes away the consumer behind the watch, as a server does that has
// lost it.
func removeWatch(t *testing.T, d *Directory) {
	t.Helper()
	s := must(d.cfg.Node.Control().Stream(t.Context(), "KV_"+bucket))(t)
	// The newest one belongs to the directory that was started last.
	var newest *jetstream.ConsumerInfo
	for info := range s.ListConsumers(t.Context()).Info() {
		if newest == nil || info.Created.After(newest.Created) {
			newest = info
		}
	}
	if err := s.DeleteConsumer(t.Context(), newest.Name); err != nil {
		t.Fatal(err)
	}
}
