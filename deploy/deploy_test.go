// Package deploy checks the files that are shipped beside the program.
package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/openmnq/mnq/internal/mnqtest"
)

func text(t *testing.T, name string) string {
	t.Helper()
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestUnitStartsWhatIsPackaged takes the unit's command line and has the program read the
// settings in the package.
func TestUnitStartsWhatIsPackaged(t *testing.T) {
	t.Parallel()
	line := ""
	for l := range strings.Lines(text(t, "systemd/mnq.service")) {
		if command, ok := strings.CutPrefix(l, "ExecStart="); ok {
			line = strings.TrimSpace(command)
		}
	}
	if line != "/usr/bin/mnq serve --config /etc/mnq/mnq.yaml" {
		t.Fatalf("the unit starts %q", line)
	}
	packaged := text(t, "packages/nfpm.yaml")
	for _, want := range []string{"dst: /usr/bin/mnq,", "src: deploy/packages/mnq.yaml, dst: /etc/mnq/mnq.yaml, type: \"config|noreplace\"", "dst: /usr/lib/systemd/system/mnq.service"} {
		if !strings.Contains(packaged, want) {
			t.Errorf("the package has no %s", want)
		}
	}
	out, err := exec.Command(mnqtest.Binary(t), "config", "print", "--config", "packages/mnq.yaml").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "/var/lib/mnq") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestScriptsAreShell(t *testing.T) {
	t.Parallel()
	scripts, err := filepath.Glob("packages/*.sh")
	if err != nil || len(scripts) != 3 {
		t.Fatal(scripts, err)
	}
	for _, s := range append(scripts, "../scripts/release", "../scripts/try-deb") {
		shell := "sh"
		if strings.HasPrefix(text(t, s), "#!/bin/bash") {
			shell = "bash"
		}
		if out, err := exec.Command(shell, "-n", s).CombinedOutput(); err != nil {
			t.Errorf("%s: %s", s, out)
		}
	}
}

func TestComposeFile(t *testing.T) {
	t.Parallel()
	var c struct {
		Services map[string]struct {
			Image       string            `yaml:"image"`
			Environment map[string]string `yaml:"environment"`
			Volumes     []string          `yaml:"volumes"`
		} `yaml:"services"`
	}
	if err := yaml.Unmarshal([]byte(text(t, "compose/compose.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	settings := text(t, "mnq.yaml")
	for name := range c.Services["mnq"].Environment {
		if setting := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, "MNQ_"), "_", "-")); !strings.Contains(settings, setting+":") {
			t.Errorf("%s is no setting", name)
		}
	}
	if len(c.Services["mnq"].Volumes) == 0 {
		t.Error("the data is lost with the container")
	}
}

// TestBinaryIsSmall builds it as a release does, for this machine.
func TestBinaryIsSmall(t *testing.T) {
	t.Parallel()
	out := filepath.Join(t.TempDir(), "mnq")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", out, "github.com/openmnq/mnq/cmd/mnq")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	st, err := os.Stat(out)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d bytes", st.Size())
	if st.Size() >= 45_000_000 {
		t.Errorf("the binary has %d bytes, and must have less than 45 MB", st.Size())
	}
}
