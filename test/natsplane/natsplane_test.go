// Package natsplane uses a NATS namespace as its owner would, with nats.go and
// the .creds file that the control plane handed out.
package natsplane

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq/internal/mnqtest"
)

func connect(t *testing.T, p *mnqtest.Process, creds string, more ...nats.Option) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect("nats://"+p.NATS, append(more, nats.UserCredentials(creds), nats.NoReconnect())...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return nc, js
}

func TestNamespace(t *testing.T) {
	t.Parallel()
	p := mnqtest.Start(t, mnqtest.Options{Args: []string{"--fsync", "interval"}})

	t.Run("EndpointIsWhereTheServerListens", func(t *testing.T) {
		t.Parallel()
		got := fmt.Sprint(p.Must("GET", mnqtest.Namespaces+"/"+p.Namespace("n", "nats"), nil)["endpoint"])
		if got != "nats://"+p.NATS {
			t.Fatalf("endpoint %s", got)
		}
	})

	t.Run("CoreNATSWorks", func(t *testing.T) {
		t.Parallel()
		core(t, p)
	})
	t.Run("JetStreamKeyValueAndObjectStoreWork", func(t *testing.T) {
		t.Parallel()
		stores(t, p)
	})
	t.Run("LimitsOfTheQuotaHold", func(t *testing.T) {
		t.Parallel()
		limits(t, p)
	})

	t.Run("DeletedCredentialIsCutAndTheOtherIsNot", func(t *testing.T) {
		t.Parallel()
		ns := p.Namespace("n", "nats")
		id, creds := p.Creds(ns)
		_, other := p.Creds(ns)
		cut := make(chan struct{})
		connect(t, p, creds, nats.ClosedHandler(func(*nats.Conn) { close(cut) }))
		stays, _ := connect(t, p, other)
		p.Must("DELETE", mnqtest.Credentials+"/"+id, nil)
		<-cut
		if _, err := nats.Connect("nats://"+p.NATS, nats.UserCredentials(creds)); !errors.Is(err, nats.ErrAuthRevoked) && !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("the deleted credential: %v", err)
		}
		if err := stays.Flush(); err != nil {
			t.Errorf("the other credential: %v", err)
		}
	})

	t.Run("DeletedNamespaceIsCutAndItsFilesAreRemoved", func(t *testing.T) {
		t.Parallel()
		ns := p.Namespace("n", "nats")
		_, creds := p.Creds(ns)
		cut := make(chan struct{})
		_, js := connect(t, p, creds, nats.ClosedHandler(func(*nats.Conn) { close(cut) }))
		if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(t.Context(), "s", []byte("needle-in-the-data-directory")); err != nil {
			t.Fatal(err)
		}
		if !onDisk(t, p.Dir, ns) {
			t.Fatal("nothing of the namespace is on disk, so its removal would show nothing")
		}
		p.Must("DELETE", mnqtest.Namespaces+"/"+ns, nil)
		<-cut
		if onDisk(t, p.Dir, ns) {
			t.Error("files of the deleted namespace are still there")
		}
		if _, err := nats.Connect("nats://"+p.NATS, nats.UserCredentials(creds)); err == nil {
			t.Error("a credential of the deleted namespace still opens the server")
		}
	})

	t.Run("ForgedAndForeignCredentialsAreRefused", func(t *testing.T) {
		t.Parallel()
		_, creds := p.Creds(p.Namespace("n", "nats"))
		other := mnqtest.Start(t, mnqtest.Options{Args: []string{"--fsync", "interval"}})
		if _, err := nats.Connect("nats://"+other.NATS, nats.UserCredentials(creds)); err == nil {
			t.Error("another installation takes the credential")
		}
		if _, err := nats.Connect("nats://" + p.NATS); err == nil {
			t.Error("the server takes a client without credentials")
		}
	})
}

func onDisk(t *testing.T, dir, id string) bool {
	t.Helper()
	found := false
	if err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) { // the server is at work meanwhile
			return nil
		}
		found = found || d != nil && strings.Contains(d.Name(), id)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return found
}

func core(t *testing.T, p *mnqtest.Process) {
	_, creds := p.Creds(p.Namespace("n", "nats"))
	a, _ := connect(t, p, creds)
	b, _ := connect(t, p, creds)
	sub, err := a.SubscribeSync("greet.*")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan string, 10)
	for _, worker := range []string{"w1", "w2"} {
		if _, err := a.QueueSubscribe("work", "workers", func(m *nats.Msg) {
			served <- worker
			_ = m.Respond([]byte(worker))
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := b.Publish("greet.joe", []byte("hello")); err != nil {
		t.Fatal(err)
	}
	m, err := sub.NextMsg(5 * time.Second)
	if err != nil || string(m.Data) != "hello" || m.Subject != "greet.joe" {
		t.Fatalf("%v %v", m, err)
	}
	for range 5 {
		if _, err := b.Request("work", nil, 5*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if len(served) != 5 {
		t.Errorf("5 requests to a queue group were served %d times", len(served))
	}
}

func stores(t *testing.T, p *mnqtest.Process) {
	_, creds := p.Creds(p.Namespace("n", "nats"))
	_, js := connect(t, p, creds)
	ctx := t.Context()
	s, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(ctx, "s.1", []byte("one")); err != nil {
		t.Fatal(err)
	}
	c, err := s.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{Durable: "c", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Next(jetstream.FetchMaxWait(5 * time.Second))
	if err != nil || string(m.Data()) != "one" {
		t.Fatalf("%v %v", m, err)
	}
	if err := m.DoubleAck(ctx); err != nil {
		t.Fatal(err)
	}
	kv, err := js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "kv", History: 3})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.PutString(ctx, "k", "v"); err != nil {
		t.Fatal(err)
	}
	if e, err := kv.Get(ctx, "k"); err != nil || string(e.Value()) != "v" {
		t.Fatalf("%v %v", e, err)
	}
	o, err := js.CreateObjectStore(ctx, jetstream.ObjectStoreConfig{Bucket: "o"})
	if err != nil {
		t.Fatal(err)
	}
	big := bytes.Repeat([]byte("0123456789"), 100_000)
	if _, err := o.PutBytes(ctx, "big", big); err != nil {
		t.Fatal(err)
	}
	if got, err := o.GetBytes(ctx, "big"); err != nil || !bytes.Equal(got, big) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
}

func limits(t *testing.T, p *mnqtest.Process) {
	ctx := t.Context()
	ns := p.Namespace("n", "nats")
	_, creds := p.Creds(ns)
	p.Must("PUT", "/openmnq/v1/namespaces/"+ns+"/quota", map[string]any{
		"storage_bytes": 64 << 10, "streams": 2, "consumers": 1, "message_bytes": 8 << 10, "connections": 2,
	})
	nc, js := connect(t, p, creds)
	connect(t, p, creds)
	if _, err := nats.Connect("nats://"+p.NATS, nats.UserCredentials(creds)); err == nil || !strings.Contains(err.Error(), "maximum account active connections") {
		t.Errorf("a third connection: %v", err)
	}
	s, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "A", Subjects: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "B", Subjects: []string{"b"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "C", Subjects: []string{"c"}}); err == nil {
		t.Error("a third stream was allowed")
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "M", Subjects: []string{"m"}, Storage: jetstream.MemoryStorage}); err == nil {
		t.Error("a memory stream was allowed")
	}
	for i, want := range []bool{true, false} {
		if _, err := s.CreateConsumer(ctx, jetstream.ConsumerConfig{Durable: fmt.Sprint("c", i), AckPolicy: jetstream.AckExplicitPolicy}); (err == nil) != want {
			t.Errorf("consumer %d: %v", i+1, err)
		}
	}
	if err := nc.Publish("a", make([]byte, 9<<10)); !errors.Is(err, nats.ErrMaxPayload) {
		t.Errorf("a message over the limit: %v", err)
	}
	var full error
	for n := 0; full == nil && n < 100; n++ {
		_, full = js.Publish(ctx, "a", make([]byte, 4<<10))
	}
	if full == nil || !strings.Contains(full.Error(), "resource limits exceeded") {
		t.Errorf("storage: %v", full)
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	cert, key, pool := mnqtest.Certificate(t, t.TempDir(), "localhost")
	p := mnqtest.Start(t, mnqtest.Options{
		Args: []string{"--tls-cert", cert, "--tls-key", key, "--admin-http", mnqtest.FreeAddress(t)}, CA: pool,
	})
	ns := p.Namespace("n", "nats")
	_, creds := p.Creds(ns)
	config := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	nc, _ := connect(t, p, creds, nats.Secure(config))
	if state, err := nc.TLSConnectionState(); err != nil || !state.HandshakeComplete {
		t.Errorf("the connection is not encrypted: %v", err)
	}
	if _, err := nats.Connect("nats://"+p.NATS, nats.UserCredentials(creds)); err == nil {
		t.Error("a client that does not trust the certificate got in")
	}
	var d net.Dialer
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	raw, err := d.DialContext(ctx, "tcp", p.NATS)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = raw.Close() }()
	if _, err := raw.Write([]byte("CONNECT {\"verbose\":true,\"tls_required\":false}\r\nPING\r\n")); err != nil {
		t.Fatal(err)
	}
	_ = raw.SetReadDeadline(time.Now().Add(8 * time.Second))
	all := make([]byte, 0, 4096)
	for buf := make([]byte, 1024); len(all) < 4096; {
		n, err := raw.Read(buf)
		all = append(all, buf[:n]...)
		if err != nil {
			break
		}
	}
	if strings.Contains(string(all), "PONG") || strings.Contains(string(all), "+OK") {
		t.Errorf("a clear-text client was served: %q", all)
	}
}
