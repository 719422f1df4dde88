package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openmnq/mnq"
)

func TestDataDirectory(t *testing.T) {
	t.Parallel()
	open := func(t *testing.T, dir string, c *Cluster) error {
		t.Helper()
		cfg := Config{DataDir: dir, Cluster: c, CutOff: func() {}}
		if err := cfg.validate(); err != nil {
			t.Fatal(err)
		}
		return checkLayout(cfg)
	}
	member := func(cluster, node string) *Cluster {
		return &Cluster{Name: cluster, Node: node, Listen: "127.0.0.1:0", Routes: []string{"a:1", "b:1", "c:1"}}
	}
	write := func(t *testing.T, dir, file, text string) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, file)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	refused := func(t *testing.T, err error, text string) {
		t.Helper()
		if mnq.KindOf(err) != mnq.Invalid || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, want an invalid setting: %s", err, text)
		}
	}

	t.Run("OpensAgain", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		for range 2 {
			if err := open(t, dir, nil); err != nil {
				t.Fatal(err)
			}
		}
		if text, err := os.ReadFile(filepath.Join(dir, "format")); err != nil || string(text) != "{\"format\":1}\n" {
			t.Errorf("%q %v", text, err)
		}
	})
	t.Run("OfBeforeThereWasAFormatOpens", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		write(t, dir, "nats/x", "")
		if err := open(t, dir, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(dir, "format")); err != nil {
			t.Error(err)
		}
	})
	t.Run("OfANewerVersionIsRefusedAndLeftAlone", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		write(t, dir, "format", `{"format":2,"more":"unknown"}`)
		refused(t, open(t, dir, nil), "has format 2, and this mnq knows formats up to 1")
		if text, _ := os.ReadFile(filepath.Join(dir, "format")); string(text) != `{"format":2,"more":"unknown"}` {
			t.Errorf("it now says %s", text)
		}
		if _, err := New(Config{DataDir: dir}); err == nil {
			t.Error("a node opens it")
		}
		if _, err := os.Stat(filepath.Join(dir, "keys")); !os.IsNotExist(err) {
			t.Error("keys were made in it")
		}
	})
	t.Run("ThatIsDamagedIsRefused", func(t *testing.T) {
		t.Parallel()
		for _, text := range []string{"", "{", `{"format":0}`} {
			dir := t.TempDir()
			write(t, dir, "format", text)
			refused(t, open(t, dir, nil), "is damaged")
		}
	})
	t.Run("OfASingleNodeDoesNotJoinACluster", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		if err := open(t, dir, nil); err != nil {
			t.Fatal(err)
		}
		if err := open(t, dir, member("x", "n1")); err != nil { // nothing is in it yet
			t.Fatal(err)
		}
		dir = t.TempDir()
		write(t, dir, "nats/x", "")
		refused(t, open(t, dir, member("x", "n1")), "belongs to a single node; to move the data use mnq backup")
	})
	t.Run("OfAMemberKeepsItsClusterAndName", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		for range 2 {
			if err := open(t, dir, member("x", "n1")); err != nil {
				t.Fatal(err)
			}
		}
		write(t, dir, "nats/x", "")
		refused(t, open(t, dir, nil), "belongs to node n1 of cluster x")
		refused(t, open(t, dir, member("y", "n1")), "belongs to cluster x, not y")
		refused(t, open(t, dir, member("x", "n2")), "belongs to node n1, not n2")
	})
}
