package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/openmnq/mnq/internal/mnqtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"mnq": main})
}

// TestScripts runs the scenarios in testdata: what is typed, what is printed,
// which exit code follows. The command "server" starts a server in the script's
// folder and gives the script its keys; "drain" stops it.
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("XDG_CONFIG_HOME", "")
			e.Setenv("FREE", mnqtest.FreeAddress(t))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"server": cmdServer,
			"drain":  cmdDrain,
			"exits":  cmdExits,
			"checks": cmdChecks,
			"save":   cmdSave,
			"mode":   cmdMode,
			"queue":  cmdQueue,
		},
	})
}

// testServer is mnq serve inside the test process.
type testServer struct {
	stop   context.CancelFunc
	done   chan int
	stderr *mnqtest.Buffer
}

// startServer runs mnq serve with args and returns once it has printed its
// addresses.
func startServer(dir string, args ...string) (*testServer, []string, error) {
	ctx, stop := context.WithCancel(context.Background())
	s := &testServer{stop: stop, done: make(chan int, 1), stderr: &mnqtest.Buffer{}}
	out, in := io.Pipe()
	args = append([]string{"serve", "--data-dir", dir, "--http", "127.0.0.1:0", "--nats", "127.0.0.1:0"}, args...)
	go func() {
		code := run(ctx, args, env{}, streams{strings.NewReader(""), in, s.stderr})
		_ = in.Close()
		s.done <- code
	}()
	var lines []string
	scan := bufio.NewScanner(out)
	for scan.Scan() {
		lines = append(lines, scan.Text())
		if strings.HasPrefix(scan.Text(), "nats ") {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return s, lines, nil
		}
	}
	return nil, lines, fmt.Errorf("the server ended with %d: %s", <-s.done, s.stderr)
}

func cmdServer(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs("data")
	s, lines, err := startServer(dir, args...)
	ts.Check(err)
	ts.Defer(func() { s.stop(); <-s.done })
	servers.Store(ts, s)
	for _, l := range lines {
		name, value, _ := strings.Cut(l, " ")
		_, address, _ := strings.Cut(strings.TrimSpace(value), "://")
		ts.Setenv(strings.ToUpper(name)+"_ADDRESS", address)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "admin.env"))
	ts.Check(err)
	for line := range strings.Lines(string(raw)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && strings.HasPrefix(name, "SCW_") {
			ts.Setenv(name, strings.Trim(value, "'"))
		}
	}
}

var servers sync.Map // *testscript.TestScript → *testServer

// cmdDrain stops the server and checks its exit code: drain 0.
func cmdDrain(ts *testscript.TestScript, _ bool, args []string) {
	v, _ := servers.Load(ts)
	s := v.(*testServer)
	s.stop()
	code := <-s.done
	s.done <- code // for the deferred stop
	if len(args) != 1 || strconv.Itoa(code) != args[0] {
		ts.Fatalf("the server ended with %d: %s", code, s.stderr)
	}
}

// cmdExits runs mnq and checks its exit code: exits 3 namespace show x. A
// failure is one line on standard error and nothing on standard output, unless
// the command works on several things.
func cmdExits(ts *testscript.TestScript, _ bool, args []string) {
	code := 0
	err := ts.Exec("mnq", args[1:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
	if text := ts.ReadFile("stderr"); code != exitOK && code != exitPartial && (strings.Count(text, "\n") != 1 || ts.ReadFile("stdout") != "") {
		ts.Fatalf("a failure is one line on standard error, not %q", text)
	}
}

// cmdChecks runs mnq check and checks its exit code, which is a state: checks 2 queue
// q. It says one line on standard output and nothing else.
func cmdChecks(ts *testscript.TestScript, _ bool, args []string) {
	code := 0
	err := ts.Exec("mnq", append([]string{"check"}, args[1:]...)...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] || strings.Count(ts.ReadFile("stdout"), "\n") != 1 || ts.ReadFile("stderr") != "" {
		ts.Fatalf("exit code %d, want %s: %s%s", code, args[0], ts.ReadFile("stdout"), ts.ReadFile("stderr"))
	}
}

// cmdSave keeps a string of the JSON just printed: save id ID keeps .id in $ID,
// save sqs_sns_credentials.secret_key SECRET a deeper one.
func cmdSave(ts *testscript.TestScript, _ bool, args []string) {
	var v any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &v))
	for key := range strings.SplitSeq(args[0], ".") {
		m, _ := v.(map[string]any)
		v = m[key]
	}
	text, ok := v.(string)
	if !ok || text == "" {
		ts.Fatalf("no string at %s in %s", args[0], ts.ReadFile("stdout"))
	}
	ts.Setenv(args[1], text)
}

// cmdMode checks a file's permissions: mode 0600 file.
func cmdMode(ts *testscript.TestScript, _ bool, args []string) {
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("mode of %s is %s, want %s", args[1], got, args[0])
	}
}
