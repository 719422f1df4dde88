// Package gocloud_test runs the Go CDK's pubsub over SQS, in a module of its own
// so that what it needs stays out of the server's.
package gocloud_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

var serverURL string

// TestMain runs the tests against the program MNQ_BIN, built first if that is
// not set.
func TestMain(m *testing.M) {
	code, err := withServer(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func withServer(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "mnq-gocloud-")
	if err != nil {
		return 0, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	bin := os.Getenv("MNQ_BIN")
	if bin == "" {
		bin = filepath.Join(dir, "mnq")
		build := exec.Command("go", "build", "-C", filepath.Join("..", "..", ".."), "-o", bin, "./cmd/mnq")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return 0, err
		}
	}
	serve := exec.Command(bin, "serve", "--dev", "--data-dir", filepath.Join(dir, "data"), "--http", "127.0.0.1:0", "--nats", "127.0.0.1:0")
	serve.Stderr = os.Stderr
	out, err := serve.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := serve.Start(); err != nil {
		return 0, err
	}
	defer func() {
		_ = serve.Process.Signal(syscall.SIGTERM)
		go func() { _, _ = io.Copy(io.Discard, out) }()
		err = errors.Join(err, serve.Wait())
	}()
	if serverURL, err = address(out); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

// address reads what the server prints up to its last line and returns the
// address of its HTTP listener.
func address(out io.Reader) (url string, err error) {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		name, rest, _ := strings.Cut(lines.Text(), " ")
		switch name {
		case "http":
			url = strings.TrimSpace(rest)
		case "keys":
			return url, nil
		}
	}
	return "", errors.Join(errors.New("the server ended before it was ready"), lines.Err())
}
