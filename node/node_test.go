package node

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server/ats"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
	"go.uber.org/goleak"

	"github.com/openmnq/mnq"
)

func TestMain(m *testing.M) {
	ats.Register() // its ticker must live outside every synctest bubble
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

type testBundle struct {
	node *Node
	cfg  Config
}

func setup(t *testing.T, change func(*Config)) *testBundle {
	t.Helper()
	cfg := Config{DataDir: t.TempDir(), Fsync: FsyncInterval}
	if change != nil {
		change(&cfg)
	}
	b := &testBundle{cfg: cfg}
	b.start(t)
	t.Cleanup(func() { b.stop(t) })
	return b
}

func (b *testBundle) start(t *testing.T) {
	t.Helper()
	n, err := New(b.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	if err := n.Listen(); err != nil {
		t.Fatal(err)
	}
	b.node = n
}

func (b *testBundle) stop(t *testing.T) {
	t.Helper()
	if err := b.node.Stop(context.Background()); err != nil {
		t.Error(err)
	}
}

type tenant struct {
	Account
	signing nkeys.KeyPair
}

func (b *testBundle) tenant(t *testing.T, limits Limits) tenant {
	t.Helper()
	acc, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	signing, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	id, _ := acc.PublicKey()
	key, _ := signing.PublicKey()
	tn := tenant{Account{ID: id, Name: "t", SigningKey: key, Limits: limits}, signing}
	if err := b.node.PushAccount(context.Background(), tn.Account); err != nil {
		t.Fatal(err)
	}
	return tn
}

// user connects over TCP as a customer would, and reports when it is cut.
func (b *testBundle) user(t *testing.T, tn tenant) (nc *nats.Conn, pub string, closed chan struct{}) {
	t.Helper()
	user, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	pub, _ = user.PublicKey()
	c := jwt.NewUserClaims(pub)
	c.IssuerAccount = tn.ID
	token, err := c.Encode(tn.signing)
	if err != nil {
		t.Fatal(err)
	}
	closed = make(chan struct{})
	nc, err = nats.Connect("nats://"+b.node.Address(),
		nats.UserJWT(func() (string, error) { return token, nil }, user.Sign),
		nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc, pub, closed
}

func listening(c *Config) { c.Listen = "127.0.0.1:0" }

func TestNode(t *testing.T) {
	t.Parallel()
	ctx := context.Background()

	t.Run("RestartKeepsWhatWasStored", func(t *testing.T) {
		t.Parallel()
		b := setup(t, nil)
		tn := b.tenant(t, Unlimited())
		nc, js, err := b.node.Connect(ctx, tn.ID, tn.signing)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(ctx, "s", []byte("kept")); err != nil {
			t.Fatal(err)
		}
		nc.Close()
		operator := b.node.keys.operatorID
		b.stop(t)
		b.start(t)
		if b.node.keys.operatorID != operator {
			t.Fatal("the operator key changed over a restart")
		}
		if err := b.node.PushAccount(ctx, tn.Account); err != nil {
			t.Fatal(err)
		}
		nc, js, err = b.node.Connect(ctx, tn.ID, tn.signing)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		s, err := js.Stream(ctx, "S")
		if err != nil {
			t.Fatal(err)
		}
		m, err := s.GetMsg(ctx, 1)
		if err != nil || string(m.Data) != "kept" {
			t.Fatalf("message %v, error %v", m, err)
		}
	})

	t.Run("LostAccountFileIsHealedByThePush", func(t *testing.T) {
		t.Parallel()
		b := setup(t, nil)
		tn := b.tenant(t, Unlimited())
		nc, js, err := b.node.Connect(ctx, tn.ID, tn.signing)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
			t.Fatal(err)
		}
		nc.Close()
		b.stop(t)
		if err := os.WriteFile(filepath.Join(b.cfg.DataDir, "accounts", tn.ID+".jwt"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(b.cfg.DataDir, "accounts", b.node.keys.controlID+".jwt"), []byte("torn"), 0o600); err != nil {
			t.Fatal(err)
		}
		b.start(t)
		if err := b.node.PushAccount(ctx, tn.Account); err != nil {
			t.Fatal(err)
		}
		nc, js, err = b.node.Connect(ctx, tn.ID, tn.signing)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if _, err := js.Stream(ctx, "S"); err != nil {
			t.Fatal(err)
		}
	})

	t.Run("RevokedUserIsCutAndStaysOut", func(t *testing.T) {
		t.Parallel()
		b := setup(t, listening)
		tn := b.tenant(t, Unlimited())
		_, pub, cut := b.user(t, tn)
		_, _, other := b.user(t, tn)
		tn.Revoked = map[string]int64{pub: time.Now().Unix()}
		if err := b.node.PushAccount(ctx, tn.Account); err != nil {
			t.Fatal(err)
		}
		<-cut
		select {
		case <-other:
			t.Fatal("another user of the account was cut too")
		default:
		}
	})

	t.Run("DeletedAccountIsCutAndItsDataRemoved", func(t *testing.T) {
		t.Parallel()
		b := setup(t, listening)
		tn := b.tenant(t, Unlimited())
		nc, _, cut := b.user(t, tn)
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(b.node.accountDir(tn.ID)); err != nil {
			t.Fatal("the account's folder is not where DeleteAccount looks for it:", err)
		}
		for range 2 { // repeating is harmless
			if err := b.node.DeleteAccount(ctx, tn.ID); err != nil {
				t.Fatal(err)
			}
		}
		<-cut
		if _, err := os.Stat(b.node.accountDir(tn.ID)); !errors.Is(err, os.ErrNotExist) {
			t.Fatal("data is still on disk:", err)
		}
		if _, _, err := b.node.Connect(ctx, tn.ID, tn.signing); err == nil {
			t.Fatal("the old signing key still opens the account")
		}
	})

	t.Run("EveryNegativeLimitIsUnlimited", func(t *testing.T) {
		t.Parallel()
		b := setup(t, listening)
		tn := b.tenant(t, Limits{-2, -3, -4, -5, -6, -7, -8})
		nc, _, _ := b.user(t, tn)
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		s, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: "c"}); err != nil {
			t.Error(err)
		}
		if _, err := js.Publish(ctx, "s", make([]byte, 4096)); err != nil {
			t.Error(err)
		}
	})

	t.Run("LimitsAreEnforced", func(t *testing.T) {
		t.Parallel()
		b := setup(t, listening)
		l := Unlimited()
		l.Streams, l.Storage, l.Connections, l.Payload = 1, 4096, 2, 1024
		tn := b.tenant(t, l)
		nc, _, _ := b.user(t, tn)
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "A", Subjects: []string{"a"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "B", Subjects: []string{"b"}}); err == nil {
			t.Error("a second stream was allowed")
		}
		if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "M", Subjects: []string{"m"}, Storage: jetstream.MemoryStorage}); err == nil {
			t.Error("a memory stream was allowed")
		}
		var full error
		for range 10 {
			if _, full = js.Publish(ctx, "a", make([]byte, 1000)); full != nil {
				break
			}
		}
		if full == nil || !strings.Contains(full.Error(), "resource limits exceeded") {
			t.Error("storage limit:", full)
		}
		if err := nc.Publish("a", make([]byte, 2000)); !errors.Is(err, nats.ErrMaxPayload) {
			t.Error("payload limit:", err)
		}
	})

	t.Run("QuotasMayAddUpToMoreThanTheDisk", func(t *testing.T) {
		t.Parallel()
		b := setup(t, nil)
		for range 4 {
			l := Unlimited()
			l.Storage = 1 << 50
			tn := b.tenant(t, l)
			nc, js, err := b.node.Connect(ctx, tn.ID, tn.signing)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
				t.Fatal(err)
			}
		}
	})

	t.Run("NothingNewIsAcceptedOnADiskThatIsNearlyFull", func(t *testing.T) {
		t.Parallel()
		b := setup(t, nil)
		if err := b.node.Accepts(ctx); err != nil {
			t.Fatal(err)
		}
		full := &mnq.Error{Kind: mnq.Unavailable, Msg: "full"}
		b.node.health.last.Store(&state{at: time.Now(), noRoom: full})
		if err := b.node.Accepts(ctx); !errors.Is(err, full) {
			t.Errorf("got %v", err)
		}
		if err := b.node.Ready(ctx); err != nil {
			t.Errorf("receives and deletes: %v", err)
		}
	})

	t.Run("SecondProcessOnTheSameDirectoryIsRefused", func(t *testing.T) {
		t.Parallel()
		b := setup(t, nil)
		_, err := New(b.cfg)
		if mnq.KindOf(err) != mnq.Conflict {
			t.Fatalf("got %v", err)
		}
	})

	t.Run("ReleasedDirectoryIsFreeThoughAChildHasTheFileOpen", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		l, err := lockDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		child, err := syscall.Dup(int(l.f.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		defer syscall.Close(child)
		if err := l.release(); err != nil {
			t.Fatal(err)
		}
		again, err := lockDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := again.release(); err != nil {
			t.Error(err)
		}
	})

	t.Run("DirectoryThatOthersMayWriteToIsWarnedOf", func(t *testing.T) {
		t.Parallel()
		for mode, want := range map[os.FileMode]bool{0o777: true, 0o770: true, 0o755: false} {
			dir := t.TempDir()
			if err := os.Chmod(dir, mode); err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			n, err := New(Config{DataDir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			if err := n.Stop(ctx); err != nil {
				t.Error(err)
			}
			if strings.Contains(log.String(), "data_dir_writable_by_others") != want {
				t.Errorf("mode %o: %q", mode, log.String())
			}
		}
	})

	t.Run("DirectoryThatCannotBeUsedIsAnErrorThatNamesTheSetting", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		for _, dir := range []string{file, filepath.Join(file, "below")} {
			_, err := New(Config{DataDir: dir})
			if e, ok := errors.AsType[*mnq.Error](err); !ok || e.Kind != mnq.Invalid || e.Field != "data-dir" {
				t.Errorf("%s: %v", dir, err)
			}
		}
	})

	t.Run("PortInUseIsAnErrorThatNamesTheSetting", func(t *testing.T) {
		t.Parallel()
		b := setup(t, listening)
		n, err := New(Config{DataDir: t.TempDir(), Listen: b.node.Address()})
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Start(ctx); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = n.Stop(ctx) }()
		err = n.Listen()
		if e, ok := errors.AsType[*mnq.Error](err); !ok || e.Field != "nats" {
			t.Fatalf("got %v", err)
		}
	})

	t.Run("MissingOperatorKeyBesideDataIsRefused", func(t *testing.T) {
		t.Parallel()
		b := setup(t, nil)
		b.stop(t)
		if err := os.Remove(filepath.Join(b.cfg.DataDir, "keys", "operator.nk")); err != nil {
			t.Fatal(err)
		}
		if _, err := New(b.cfg); mnq.KindOf(err) != mnq.Invalid {
			t.Fatalf("got %v", err)
		}
	})

	t.Run("KeyReadableByOthersIsRefused", func(t *testing.T) {
		t.Parallel()
		b := setup(t, nil)
		b.stop(t)
		if err := os.Chmod(filepath.Join(b.cfg.DataDir, "keys", "operator.nk"), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := New(b.cfg); !errors.Is(err, os.ErrPermission) {
			t.Fatalf("got %v", err)
		}
	})

	t.Run("IsReadyWithSyncAlways", func(t *testing.T) {
		t.Parallel()
		b := setup(t, func(c *Config) { c.Fsync = FsyncAlways })
		if err := b.node.Ready(ctx); err != nil {
			t.Fatal(err)
		}
	})
}

func TestReserve(t *testing.T) {
	t.Parallel()
	for total, want := range map[uint64]uint64{1 << 30: 64 << 20, 10 << 30: 512 << 20, 1 << 40: 1 << 30} {
		if got := reserve(total); got != want {
			t.Errorf("of %d bytes %d are kept free, want %d", total, got, want)
		}
	}
}

func TestNodeInBubble(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		n, err := New(Config{DataDir: dir, Fsync: FsyncInterval})
		if err != nil {
			t.Fatal(err)
		}
		if err := n.Start(ctx); err != nil {
			t.Fatal(err)
		}
		kv, err := n.Control().CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "b", TTL: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kv.PutString(ctx, "k", "v"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(61 * time.Minute)
		if _, err := kv.Get(ctx, "k"); !errors.Is(err, jetstream.ErrKeyNotFound) {
			t.Fatalf("got %v after the bucket's hour", err)
		}
		if err := n.Stop(context.Background()); err != nil {
			t.Fatal(err)
		}
	})
}
