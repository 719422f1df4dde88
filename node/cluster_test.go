package node

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq/internal/mnqtest"
)

// members are the nodes of one cluster, all in this process.
type members struct {
	cfgs  []Config
	nodes []*Node
}

// free returns addresses that nothing listens on.
func free(t *testing.T, n int) (out []string) {
	t.Helper()
	for range n {
		out = append(out, mnqtest.FreeAddress(t))
	}
	return out
}

func startMembers(t *testing.T) *members {
	t.Helper()
	m := &members{}
	routes := free(t, 3)
	seed, err := PrepareKey(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for i := range routes {
		cfg := Config{
			DataDir: t.TempDir(), Fsync: FsyncInterval, Replicas: 3, Listen: free(t, 1)[0], CutOff: func() {},
			Cluster: &Cluster{Name: "test", Node: fmt.Sprintf("n%d", i), Listen: routes[i], Routes: routes},
		}
		if err := StoreKey(cfg.DataDir, seed); err != nil {
			t.Fatal(err)
		}
		n, err := New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		m.cfgs, m.nodes = append(m.cfgs, cfg), append(m.nodes, n)
	}
	var starting sync.WaitGroup
	errs := make([]error, 3)
	for i, n := range m.nodes {
		starting.Go(func() { errs[i] = n.Start(context.Background()) })
	}
	starting.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, n := range m.nodes {
			if err := n.Stop(context.Background()); err != nil {
				t.Error(err)
			}
		}
	})
	return m
}

// leaderOf is the index of the node that leads a stream of the control account.
func (m *members) leaderOf(t *testing.T, js jetstream.JetStream, stream string) int {
	t.Helper()
	s, err := js.Stream(t.Context(), stream)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range m.cfgs {
		if c.Cluster.Node == s.CachedInfo().Cluster.Leader {
			return i
		}
	}
	t.Fatalf("%s has no leader", stream)
	return 0
}

// greeting is the first line that a server says to whoever connects.
func greeting(t *testing.T, address string) (string, error) {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return bufio.NewReader(c).ReadString('\n')
}

func TestCluster(t *testing.T) { //nolint:tparallel // the steps share one cluster, and the last takes a node away
	t.Parallel()
	m := startMembers(t)
	ctx := t.Context()

	t.Run("ClientsAreKeptOutUntilListen", func(t *testing.T) {
		for _, n := range m.nodes {
			if said, _ := greeting(t, n.cfg.Listen); said != "" {
				t.Errorf("it says %s", said)
			}
		}
		for _, n := range m.nodes {
			if err := n.Listen(); err != nil {
				t.Fatal(err)
			}
			said, err := greeting(t, n.cfg.Listen)
			if !strings.HasPrefix(said, "INFO ") || strings.Contains(said, "tls_required") {
				t.Errorf("it says %q, %v", said, err)
			}
		}
	})

	t.Run("AServerWithoutTheKeyIsNotLetIn", func(t *testing.T) {
		other, err := PrepareKey(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		k, err := deriveKeys([]byte(other))
		if err != nil {
			t.Fatal(err)
		}
		c := *m.cfgs[0].Cluster
		c.Listen = "127.0.0.1:0"
		o := &server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true}
		if err := c.apply(o, k); err != nil {
			t.Fatal(err)
		}
		o.ServerName = "n9"
		s, err := server.NewServer(o)
		if err != nil {
			t.Fatal(err)
		}
		refused := make(chan struct{}, 100)
		s.SetLoggerV2(&watchedLog{refused}, false, false, false)
		s.Start()
		defer func() { s.Shutdown(); s.WaitForShutdown() }()
		for range 6 { // each of its routes, twice
			<-refused
		}
		if n := s.NumRoutes(); n != 0 {
			t.Errorf("it has %d routes", n)
		}
	})

	t.Run("ClearTextIsNotLetIn", func(t *testing.T) {
		c, err := net.Dial("tcp", m.cfgs[0].Cluster.Listen)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "CONNECT {\"name\":\"n9\",\"cluster\":\"test\"}\r\nPING\r\n"); err != nil {
			t.Fatal(err)
		}
		if text, _ := io.ReadAll(c); strings.Contains(string(text), "PONG") {
			t.Errorf("answered: %s", text)
		}
	})

	t.Run("EveryServerTakesAccountsOver", func(t *testing.T) {
		b := &testBundle{node: m.nodes[0]}
		tn := b.tenant(t, Unlimited())
		for _, n := range m.nodes {
			at := &testBundle{node: n}
			_, user, cut := at.user(t, tn)
			revoked := tn.Account
			revoked.Revoked = map[string]int64{user: time.Now().Add(time.Minute).Unix()}
			if err := m.nodes[1].PushAccount(ctx, revoked); err != nil {
				t.Fatal(err)
			}
			<-cut
		}
	})

	t.Run("ClientsLearnAllAddresses", func(t *testing.T) {
		b := &testBundle{node: m.nodes[0]}
		nc, _, _ := b.user(t, b.tenant(t, Unlimited()))
		if got := nc.Servers(); len(got) != 3 {
			t.Errorf("the client knows %v", got)
		}
	})

	t.Run("ABucketOutlivesItsLeader", func(t *testing.T) {
		js := m.nodes[0].Control()
		if _, err := OpenBucket(ctx, js, BucketConfig{Name: "b", Replicas: 3}); err != nil {
			t.Fatal(err)
		}
		lead := m.leaderOf(t, js, "KV_b")
		reader := m.nodes[(lead+1)%3]
		b, err := OpenBucket(ctx, reader.Control(), BucketConfig{Name: "b", Replicas: 3})
		if err != nil {
			t.Fatal(err)
		}
		rev, err := b.Create(ctx, "k", []byte("1"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.Create(ctx, "k", []byte("2")); !errors.Is(err, ErrLostRace) {
			t.Errorf("got %v, want a lost race", err)
		}
		seen := make(chan string, 10)
		watching, stop := context.WithCancel(ctx)
		over := make(chan error, 1)
		go func() { over <- watchValues(watching, b, seen) }()
		if v := <-seen; v != "1" {
			t.Fatalf("saw %q", v)
		}
		if v := <-seen; v != "" {
			t.Fatalf("saw %q, want the end of the first round", v)
		}

		m.nodes[lead].srv.Shutdown() // at once: it hands nothing over that is not stored
		if rev, err = b.Update(ctx, "k", []byte("2"), rev); err != nil {
			t.Fatal(err)
		}
		if e, err := b.Get(ctx, "k"); err != nil || string(e.Value()) != "2" || e.Revision() != rev {
			t.Errorf("%v %v", e, err)
		}
		if v := <-seen; v != "2" {
			t.Errorf("saw %q", v)
		}
		if _, err := b.Update(ctx, "k", []byte("3"), rev-1); !errors.Is(err, ErrLostRace) {
			t.Errorf("got %v, want a lost race", err)
		}
		stop()
		<-over

		// A server that is down does not keep the others from taking an account over.
		at := &testBundle{node: reader}
		at.tenant(t, Unlimited())
		if err := reader.Current(); err != nil {
			t.Error(err)
		}
	})
}

// watchValues passes the values that a watch shows, "" for the end of the first round,
// and begins anew when it breaks.
func watchValues(ctx context.Context, b *Bucket, seen chan<- string) error {
	last := uint64(0)
	for {
		err := b.WatchAll(ctx, func(e jetstream.KeyValueEntry) error {
			switch {
			case e == nil && last == 1:
				seen <- ""
			case e != nil && e.Revision() > last:
				last = e.Revision()
				seen <- string(e.Value())
			}
			return nil
		})
		if ctx.Err() != nil {
			return err
		}
	}
}

// watchedLog tells of every error that a server logs.
type watchedLog struct{ errors chan struct{} }

func (l *watchedLog) Errorf(string, ...any) {
	select {
	case l.errors <- struct{}{}:
	default:
	}
}
func (*watchedLog) Noticef(string, ...any) {}
func (*watchedLog) Warnf(string, ...any)   {}
func (*watchedLog) Debugf(string, ...any)  {}
func (*watchedLog) Tracef(string, ...any)  {}
func (*watchedLog) Fatalf(string, ...any)  {}
