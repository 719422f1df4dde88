package natsplane

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq/internal/mnqtest"
)

func TestWebSocket(t *testing.T) {
	t.Parallel()
	addr := mnqtest.FreeAddress(t)
	p := mnqtest.Start(t, mnqtest.Options{Args: []string{"--fsync", "interval", "--nats-websocket", addr}})
	ws := "ws://" + addr
	mnqtest.Within(t, 5*time.Second, func() error {
		if !strings.Contains(p.Output(), "ws     "+ws+"\n") {
			return errors.New("the address is not printed")
		}
		return nil
	})
	over := func(t *testing.T, creds string, more ...nats.Option) *nats.Conn {
		t.Helper()
		nc, err := nats.Connect(ws, append(more, nats.UserCredentials(creds), nats.NoReconnect())...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(nc.Close)
		return nc
	}

	t.Run("CarriesMessagesOfAnySizeBothWays", func(t *testing.T) {
		t.Parallel()
		_, creds := p.Creds(p.Namespace("n", "nats"))
		nc := over(t, creds)
		tcp, _ := connect(t, p, creds)
		if _, err := tcp.Subscribe("echo", func(m *nats.Msg) { _ = m.Respond(m.Data) }); err != nil {
			t.Fatal(err)
		}
		if err := tcp.Flush(); err != nil {
			t.Fatal(err)
		}
		for _, size := range []int{0, 1, 125, 126, 65535, 65536, 500 << 10} {
			data := make([]byte, size)
			_, _ = rand.Read(data)
			m, err := nc.Request("echo", data, 10*time.Second)
			if err != nil || !bytes.Equal(m.Data, data) {
				t.Errorf("%d bytes: %v", size, err)
			}
		}
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "kv"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := kv.PutString(t.Context(), "k", "v"); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("ChecksCredentialsAndCutsRevokedOnes", func(t *testing.T) {
		t.Parallel()
		id, creds := p.Creds(p.Namespace("n", "nats"))
		cut := make(chan struct{})
		over(t, creds, nats.ClosedHandler(func(*nats.Conn) { close(cut) }))
		p.Must("DELETE", mnqtest.Credentials+"/"+id, nil)
		<-cut
		if _, err := nats.Connect(ws, nats.UserCredentials(creds)); !errors.Is(err, nats.ErrAuthRevoked) && !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("the deleted credential: %v", err)
		}
		if _, err := nats.Connect(ws); !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("no credential: %v", err)
		}
	})
	t.Run("LimitsHoldAsOverTCP", func(t *testing.T) {
		t.Parallel()
		ns := p.Namespace("n", "nats")
		_, creds := p.Creds(ns)
		p.Must("PUT", "/openmnq/v1/namespaces/"+ns+"/quota", map[string]any{"connections": 1, "message_bytes": 1024})
		nc := over(t, creds)
		if err := nc.Flush(); err != nil { // the account's limit comes after the first answer
			t.Fatal(err)
		}
		if nc.MaxPayload() != 1024 {
			t.Errorf("the client is told of %d bytes", nc.MaxPayload())
		}
		if _, err := nats.Connect(ws, nats.UserCredentials(creds)); err == nil || !strings.Contains(err.Error(), "maximum account active connections") {
			t.Errorf("a second connection: %v", err)
		}
	})
	t.Run("IsNothingButWebSocket", func(t *testing.T) {
		t.Parallel()
		for _, path := range []string{"/", "/healthz", "/mnq/v1alpha1/regions/fr-par/namespaces"} {
			res, err := http.Get("http://" + addr + path)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			if res.StatusCode != http.StatusUpgradeRequired {
				t.Errorf("%s: %s", path, res.Status)
			}
		}
	})
}

func TestWebSocketEndsWithTheServer(t *testing.T) {
	t.Parallel()
	addr := mnqtest.FreeAddress(t)
	p := mnqtest.Start(t, mnqtest.Options{Args: []string{"--fsync", "interval", "--nats-websocket", addr}})
	_, creds := p.Creds(p.Namespace("n", "nats"))
	cut := make(chan struct{})
	nc, err := nats.Connect("ws://"+addr, nats.UserCredentials(creds), nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(cut) }))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := p.Stop(); err != nil {
		t.Errorf("the server ended with %v", err)
	}
	<-cut
}

// TestTLSFollowsItsFiles renews the certificate of a running server.
func TestTLSFollowsItsFiles(t *testing.T) {
	t.Parallel()
	addr := mnqtest.FreeAddress(t)
	dir := t.TempDir()
	cert, key, pool := mnqtest.Certificate(t, dir, "localhost")
	p := mnqtest.Start(t, mnqtest.Options{
		Args: []string{"--fsync", "interval", "--tls-cert", cert, "--tls-key", key, "--nats-websocket", addr}, CA: pool,
	})
	_, creds := p.Creds(p.Namespace("n", "nats"))
	config := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	reach := func(url string, config *tls.Config) error {
		nc, err := nats.Connect(url, nats.UserCredentials(creds), nats.Secure(config), nats.NoReconnect())
		if err != nil {
			return err
		}
		nc.Close()
		return nil
	}
	for _, url := range []string{"nats://" + p.NATS, "wss://" + addr} {
		if err := reach(url, config); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	if _, err := nats.Connect("ws://"+addr, nats.UserCredentials(creds)); err == nil {
		t.Error("clear text is served on a listener with a certificate")
	}

	_, _, renewed := mnqtest.Certificate(t, dir, "renewed.example")
	config = &tls.Config{RootCAs: renewed, MinVersion: tls.VersionTLS12}
	for _, url := range []string{"nats://" + p.NATS, "wss://" + addr, p.URL} {
		mnqtest.Within(t, 5*time.Second, func() error {
			if strings.HasPrefix(url, "http") {
				c := &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
				res, err := c.Get(url + "/healthz")
				if err != nil {
					return err
				}
				return res.Body.Close()
			}
			return reach(url, config)
		})
	}
}
