//go:build e2e

package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/openmnq/mnq/internal/mnqtest"
)

var shell = regexp.MustCompile("(?s)```sh\n(.*?)```")

// TestGuidesRun runs the shell of the guides, one after the other in one session, against a
// server in development mode.
func TestGuidesRun(t *testing.T) {
	t.Parallel()
	p := mnqtest.Start(t, mnqtest.Options{Args: []string{"--dev", "--fsync", "interval"}})
	var script strings.Builder
	script.WriteString("set -xeuo pipefail\n")
	for _, name := range []string{"queues.md", "topics.md", "nats.md"} {
		raw, err := os.ReadFile(filepath.Join("../../docs/guides", name))
		if err != nil {
			t.Fatal(err)
		}
		blocks := shell.FindAllStringSubmatch(string(raw), -1)
		if len(blocks) == 0 {
			t.Errorf("%s has no shell", name)
		}
		for _, b := range blocks {
			script.WriteString(strings.ReplaceAll(b[1], "http://127.0.0.1:9324", p.URL))
		}
	}
	bin := filepath.Join(t.TempDir(), "mnq")
	if err := os.Symlink(mnqtest.Binary(t), bin); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "bash")
	cmd.Dir = t.TempDir()
	cmd.Stdin = strings.NewReader(script.String())
	cmd.Env = append(mnqtest.Environment(t.TempDir()), "PATH="+filepath.Dir(bin)+":"+os.Getenv("PATH"))
	for name, value := range p.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`Messages: +1\b`).Match(out) {
		t.Error("the stream does not have what was published")
	}
}
