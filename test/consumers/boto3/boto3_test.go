//go:build e2e

// Package boto3 looks at the server with the eyes of a Python program: the
// exceptions, the keys that are left out, the digests. Up to Debian 12 its boto3
// speaks the Query protocol; later ones, and one from PyPI where there is one, speak
// JSON. That Query is tried in any case is the matter of the JavaScript test.
package boto3

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openmnq/mnq/internal/mnqtest"
)

const debian = "/usr/bin/python3" // whichever else is in PATH

func TestChecksPass(t *testing.T) {
	t.Parallel()
	p := mnqtest.Start(t, mnqtest.Options{Args: []string{"--dev", "--ephemeral"}})
	for _, python := range interpreters(t) {
		for _, name := range []string{"checks.py", "checks_sns.py"} {
			t.Run(python+"/"+name, func(t *testing.T) {
				t.Parallel()
				script, err := filepath.Abs(name)
				if err != nil {
					t.Fatal(err)
				}
				cmd := exec.CommandContext(t.Context(), python, "-B", script)
				cmd.Env = p.DevEnvironment(t.TempDir())
				out, err := cmd.CombinedOutput()
				t.Logf("%s", out)
				if err != nil {
					t.Errorf("the checks failed: %v", err)
				}
			})
		}
	}
}

// interpreters are Debian's Python and the one in PATH if it has another boto3.
func interpreters(t *testing.T) []string {
	t.Helper()
	version := func(python string) string {
		out, err := exec.Command(python, "-c", "import boto3; print(boto3.__version__)").CombinedOutput()
		if err != nil {
			return ""
		}
		return strings.TrimSpace(string(out))
	}
	own := version(debian)
	if own == "" {
		t.Fatal("Debian's boto3 is needed: run make test, which installs it")
	}
	other, err := exec.LookPath("python3")
	if v := version(other); err != nil || v == "" || v == own {
		t.Log("no other boto3 on this machine: only the protocol of Debian's is checked")
		return []string{debian}
	}
	return []string{debian, other}
}
