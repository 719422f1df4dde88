//go:build e2e

// Package sqsconsumer runs npm's sqs-consumer with AWS's JavaScript SDK, and the
// last of these SDKs that speaks the Query protocol, at the versions in
// package-lock.json, against mnq.
package sqsconsumer

import (
	"os"
	"os/exec"
	"testing"

	"github.com/openmnq/mnq/internal/mnqtest"
)

func TestConsumers(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"sqs-consumer", "client-sqs-query"} {
		if _, err := os.Stat("node_modules/" + name + "/package.json"); err != nil {
			t.Fatalf("%s is needed: run make test, which installs it: %v", name, err)
		}
	}
	p := mnqtest.Start(t, mnqtest.Options{Args: []string{"--dev"}})
	cmd := exec.CommandContext(t.Context(), "node", "--no-warnings", "--test", "--test-reporter", "spec", "consumer.test.mjs", "query.test.mjs")
	cmd.Env = p.DevEnvironment(t.TempDir())
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("the consumers' tests failed: %v", err)
	}
}
