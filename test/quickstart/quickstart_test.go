//go:build e2e

// Package quickstart runs the tour in README.md, line by line, as a user would
// type it, with the real curl, jq, nats and aws.
package quickstart

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

const patience = 3 * time.Minute

func TestEveryLineOfTheTourSucceeds(t *testing.T) {
	t.Parallel()
	lines := tour(t, "../../README.md")
	for _, must := range []string{"nats --server", "sqs create-queue", "-X DELETE", "! nats", "! aws"} {
		if !strings.Contains(strings.Join(lines, "\n"), must) {
			t.Errorf("the tour has no line with %q", must)
		}
	}
	for _, tool := range []string{"bash", "curl", "jq", "nats", "aws"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is needed: run make test, which installs it: %v", tool, err)
		}
	}

	dir := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	serve(ctx, t, dir)

	shell := exec.CommandContext(ctx, "bash")
	shell.Dir = dir
	shell.Env = environment(dir)
	shell.Stdin = strings.NewReader(script(lines))
	// Killing the shell alone would leave what it started with the pipe open.
	shell.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	shell.Cancel = func() error { return syscall.Kill(-shell.Process.Pid, syscall.SIGKILL) }
	out, err := shell.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatalf("the tour failed: %v", err)
	}
	for _, refusal := range []string{"Authorization Violation", "InvalidClientTokenId"} {
		if !bytes.Contains(out, []byte(refusal)) {
			t.Errorf("no client was told %q after the namespaces were deleted", refusal)
		}
	}
}

// tour returns the lines of the sh blocks in the tour's section.
func tour(t *testing.T, readme string) []string {
	t.Helper()
	raw, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(raw), "\n## Five-minute tour\n")
	if !ok {
		t.Fatal("README.md has no section named Five-minute tour")
	}
	section, _, _ := strings.Cut(rest, "\n## ")
	var lines []string
	inside := false
	for line := range strings.Lines(section) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "```"):
			inside = line == "```sh"
		case inside && line != "" && !strings.HasPrefix(line, "#"):
			lines = append(lines, line)
		}
	}
	return lines
}

// script runs each line on its own and ends at the first that fails. Checking
// the status after the line also catches "! command" whose command succeeds,
// which set -e does not.
func script(lines []string) string {
	var b strings.Builder
	b.WriteString("set -uo pipefail\n")
	for _, line := range lines {
		quoted := "'" + strings.ReplaceAll(line, "'", `'\''`) + "'"
		b.WriteString("printf '$ %s\\n' " + quoted + "\n")
		b.WriteString(line + "\n")
		b.WriteString("status=$?; [ $status -eq 0 ] || { printf 'exit %s from: %s\\n' $status " + quoted + "; exit 1; }\n")
	}
	return b.String()
}

// environment keeps the user's own settings for aws and nats out of the test.
func environment(home string) []string {
	env := []string{"HOME=" + home, "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER="}
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		switch {
		case name == "HOME", strings.HasPrefix(name, "AWS_"), strings.HasPrefix(name, "SCW_"),
			strings.HasPrefix(name, "NATS_"), strings.HasPrefix(name, "MNQ_"):
		default:
			env = append(env, kv)
		}
	}
	return env
}

// serve starts the server in dir, on free ports so that it can run beside
// others, and stops it at the end of the test.
func serve(ctx context.Context, t *testing.T, dir string) {
	t.Helper()
	bin, err := filepath.Abs(cmp.Or(os.Getenv("MNQ_BIN"), "../../bin/mnq"))
	if err != nil {
		t.Fatal(err)
	}
	server := exec.CommandContext(context.WithoutCancel(ctx), bin, "serve", "--http", "127.0.0.1:0", "--nats", "127.0.0.1:0")
	server.Dir = dir
	server.Env = environment(dir)
	var log bytes.Buffer
	server.Stderr = &log
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatalf("start the server (make build makes it): %v", err)
	}
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGTERM)
		if err := server.Wait(); err != nil {
			t.Errorf("the server did not stop cleanly: %v\n%s", err, log.String())
		}
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "keys ") {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return
		}
	}
	t.Fatalf("the server ended before it was ready:\n%s", log.String())
}
