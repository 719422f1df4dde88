//go:build e2e

// Package packages runs the tests of what starts the server for other languages' tests.
package packages

import (
	"os/exec"
	"testing"

	"github.com/openmnq/mnq/internal/mnqtest"
)

func TestServers(t *testing.T) {
	t.Parallel()
	for language, command := range map[string][]string{
		"npm":    {"node", "--test", "index.test.mjs"},
		"python": {"/usr/bin/python3", "-B", "-W", "ignore", "test_openmnq_test_server.py"},
	} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			cmd := exec.CommandContext(t.Context(), command[0], command[1:]...)
			cmd.Dir = language
			cmd.Env = append(mnqtest.Environment(t.TempDir()), "MNQ_BIN="+mnqtest.Binary(t))
			out, err := cmd.CombinedOutput()
			t.Logf("%s", out)
			if err != nil {
				t.Error(err)
			}
		})
	}
}
