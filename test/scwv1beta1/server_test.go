package scw_test

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

	"github.com/scaleway/scaleway-sdk-go/scw"
)

// TestMain runs the tests against the server that the SCW_* variables describe
// when MNQ_TEST_API_URL is set, and else against one of its own: the program
// MNQ_BIN, built first if that is not set either.
func TestMain(m *testing.M) {
	if url := os.Getenv("MNQ_TEST_API_URL"); url != "" {
		must(os.Setenv("SCW_API_URL", url))
		os.Exit(m.Run())
	}
	os.Exit(withServer(m))
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func withServer(m *testing.M) int {
	dir, err := os.MkdirTemp("", "mnq-scw-")
	must(err)
	defer os.RemoveAll(dir)
	bin := os.Getenv("MNQ_BIN")
	if bin == "" {
		bin = filepath.Join(dir, "mnq")
		build := exec.Command("go", "build", "-C", filepath.Join("..", ".."), "-o", bin, "./cmd/mnq")
		build.Stderr = os.Stderr
		must(build.Run())
	}
	data := filepath.Join(dir, "data")
	serve := exec.Command(bin, "serve", "--data-dir", data, "--http", "127.0.0.1:0", "--nats", "127.0.0.1:0")
	serve.Stderr = os.Stderr
	out, err := serve.StdoutPipe()
	must(err)
	must(serve.Start())
	must(waitReady(out))
	must(loadEnv(filepath.Join(data, "admin.env")))
	code := m.Run()
	must(serve.Process.Signal(syscall.SIGTERM))
	go func() { _, _ = io.Copy(io.Discard, out) }()
	if err := serve.Wait(); err != nil {
		fmt.Fprintln(os.Stderr, "mnq serve:", err)
		return 1
	}
	return code
}

// waitReady reads what the server prints up to its last address.
func waitReady(out io.Reader) error {
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "nats ") {
			return nil
		}
	}
	return errors.Join(errors.New("the server ended before it was ready"), lines.Err())
}

func loadEnv(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if name, value, ok := strings.Cut(line, "="); ok && strings.HasPrefix(name, "SCW_") {
			if err := os.Setenv(name, strings.Trim(value, `'"`)); err != nil {
				return err
			}
		}
	}
	return nil
}

// client returns an SDK client for the first API key, changed by opts.
func client(t *testing.T, opts ...scw.ClientOption) *scw.Client {
	t.Helper()
	c, err := scw.NewClient(append([]scw.ClientOption{scw.WithEnv()}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantError fails unless err is of the SDK's type E, and returns it.
func wantError[E error](t *testing.T, err error) E {
	t.Helper()
	e, ok := errors.AsType[E](err)
	if !ok {
		t.Fatalf("got %T %v, want %T", err, err, e)
	}
	return e
}
