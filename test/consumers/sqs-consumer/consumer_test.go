//go:build e2e

// Package sqsconsumer runs npm's sqs-consumer with AWS's JavaScript SDK, at the
// versions in package-lock.json, against mnq.
package sqsconsumer

import (
	"os"
	"os/exec"
	"testing"

	"github.com/openmnq/mnq/internal/mnqtest"
)

func TestConsumers(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("node_modules/sqs-consumer/package.json"); err != nil {
		t.Fatalf("sqs-consumer is needed: run make test, which installs it: %v", err)
	}
	p := mnqtest.Start(t, mnqtest.Options{Args: []string{"--dev"}})
	cmd := exec.CommandContext(t.Context(), "node", "--no-warnings", "--test", "--test-reporter", "spec", "consumer.test.mjs")
	cmd.Env = p.DevEnvironment(t.TempDir())
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Errorf("the consumers' tests failed: %v", err)
	}
}
