//go:build e2e

// Package awscli runs the part of README.md that uses the AWS CLI, with
// Debian's, which up to Debian 12 speaks the Query protocol; the quick start has the rest, with
// the CLI in PATH.
package awscli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/openmnq/mnq/internal/mnqtest"
)

const debian = "/usr/bin/aws" // whichever else is in PATH

// install gives a directory in which aws is Debian's.
func install(t *testing.T) string {
	t.Helper()
	if out, err := exec.Command(debian, "--version").CombinedOutput(); err != nil {
		t.Fatalf("Debian's awscli is needed: run make test, which installs it: %v\n%s", err, out)
	}
	dir := t.TempDir()
	if err := os.Symlink(debian, filepath.Join(dir, "aws")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// tour is the lines of README.md's tour that are about SQS and SNS, in order.
func tour(t *testing.T) []string {
	t.Helper()
	raw, err := os.ReadFile("../../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	inside := false
	for line := range strings.Lines(string(raw)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```sh"
		case inside && (strings.Contains(line, "sqs") || strings.Contains(line, "message.json")):
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		t.Fatal("README.md has no lines about SQS and SNS")
	}
	return lines
}

func TestTheTourWorksWithDebiansAWSCLI(t *testing.T) {
	t.Parallel()
	path := install(t)
	p := mnqtest.Start(t, mnqtest.Options{})
	var script strings.Builder
	script.WriteString("set -uo pipefail\napi=\"$SCW_API_URL/mnq/v1alpha1/regions/$SCW_DEFAULT_REGION\"\nauth=\"X-Auth-Token: $SCW_SECRET_KEY\"\n" +
		"export AWS_DEFAULT_REGION=$SCW_DEFAULT_REGION\n")
	lines := tour(t)
	for _, must := range []string{"sqs create-queue", "sqs receive-message", "sqs delete-message", "sns publish", "! aws"} {
		if !strings.Contains(strings.Join(lines, "\n"), must) {
			t.Errorf("the tour has no line with %q", must)
		}
	}
	for _, line := range lines {
		fmt.Fprintf(&script, "%s\n[ $? -eq 0 ] || { echo failed: '%s'; exit 1; }\n", line, strings.ReplaceAll(line, "'", `'\''`))
	}
	cmd := exec.CommandContext(t.Context(), "bash")
	cmd.Dir = t.TempDir()
	cmd.Env = mnqtest.Environment(cmd.Dir, "PATH="+path+":"+os.Getenv("PATH"))
	for name, value := range p.Env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	cmd.Stdin = strings.NewReader(script.String())
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatalf("the tour failed: %v", err)
	}
	if !bytes.Contains(out, []byte("InvalidClientTokenId")) {
		t.Error("the client was not refused after the namespace was deleted")
	}
}
