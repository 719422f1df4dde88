// Package mnqtest runs the real binary for black-box tests and speaks to its
// control plane as a client would.
package mnqtest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Process is one running `mnq serve`.
type Process struct {
	URL    string // of the HTTP listener
	NATS   string // host:port of the NATS listener
	Dir    string // data directory
	Secret string // the bootstrap API key's secret
	Env    map[string]string

	t      testing.TB
	client *http.Client
	args   []string
	env    []string
	binary string
	within []string // the command that runs it, if any
	cmd    *exec.Cmd
	out    *Buffer
	done   chan error

	ended error // how it ended last
}

var binary = sync.OnceValues(func() (string, error) {
	if b := os.Getenv("MNQ_BIN"); b != "" {
		return b, nil
	}
	dir, err := os.MkdirTemp("", "mnq-bin-")
	if err != nil {
		return "", err
	}
	out := filepath.Join(dir, "mnq")
	build := exec.Command("go", "build", "-trimpath", "-o", out, "github.com/openmnq/mnq/cmd/mnq")
	if text, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build mnq: %w\n%s", err, text)
	}
	return out, nil
})

// Binary returns the path of a built mnq: MNQ_BIN, or one built for this run.
func Binary(t testing.TB) string {
	t.Helper()
	b, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Options change how a process is started.
type Options struct {
	Dir  string         // default: a temporary directory
	Args []string       // further flags of mnq serve
	Env  []string       // further variables, NAME=value
	CA   *x509.CertPool // when the process is given a certificate: who signed it

	Binary string // default: the one of [Binary]

	host   string   // its address; default: free ports of loopback
	within []string // the command that runs it
}

// Start runs `mnq serve` on free ports of loopback and returns when it is ready.
// It is stopped at the end of the test.
func Start(t testing.TB, o Options) *Process {
	t.Helper()
	p := prepare(t, o)
	p.Restart()
	return p
}

// prepare is Start without starting.
func prepare(t testing.TB, o Options) *Process {
	t.Helper()
	p := &Process{t: t, Dir: cmp.Or(o.Dir, filepath.Join(t.TempDir(), "data")), env: o.Env, within: o.within, binary: cmp.Or(o.Binary, Binary(t))}
	addr := o.host + ":9324"
	p.NATS = o.host + ":4222"
	if o.host == "" {
		addr, p.NATS = FreeAddress(t), FreeAddress(t)
	}
	p.URL, p.client = "http://"+addr, http.DefaultClient
	if o.CA != nil {
		p.URL = "https://" + addr
		p.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: o.CA, MinVersion: tls.VersionTLS12}}}
	}
	p.args = append([]string{"serve", "--data-dir", p.Dir, "--http", addr, "--nats", p.NATS}, o.Args...)
	t.Cleanup(func() {
		if p.cmd != nil {
			p.Kill()
		}
		if t.Failed() && p.out != nil {
			t.Logf("output of %s:\n%s", p.URL, p.out.tail(8000))
		}
	})
	return p
}

// given are the ports that FreeAddress has handed out.
var given sync.Map

// FreeAddress returns a loopback address that nothing listens on just now. No connection
// that is made meanwhile gets its port either: systems take theirs from 32768 or higher.
func FreeAddress(t testing.TB) string {
	t.Helper()
	var lc net.ListenConfig
	for range 1000 {
		address := fmt.Sprint("127.0.0.1:", 10_000+rand.IntN(22_000))
		if _, taken := given.LoadOrStore(address, true); taken {
			continue
		}
		if l, err := lc.Listen(context.Background(), "tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}

// Restart starts the process again with the same flags, after Kill or Stop, and returns
// when it is ready.
func (p *Process) Restart() {
	p.t.Helper()
	p.Launch()
	p.WaitReady()
}

// Launch starts the process and returns at once.
func (p *Process) Launch() {
	p.t.Helper()
	if p.out == nil {
		p.out = &Buffer{}
	}
	command := append(append(slices.Clone(p.within), p.binary), p.args...)
	p.cmd = exec.Command(command[0], command[1:]...)
	p.cmd.Env = append(append(os.Environ(), "MNQ_CONFIG="), p.env...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	done := make(chan error, 1)
	p.done = done
	go func(c *exec.Cmd) { done <- c.Wait() }(p.cmd)
}

// WaitReady returns when a launched process is ready.
func (p *Process) WaitReady() {
	p.t.Helper()
	p.waitReady()
	p.readAdminEnv()
}

func (p *Process) waitReady() {
	p.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	give := time.After(60 * time.Second)
	for {
		select {
		case err := <-p.done:
			p.t.Fatalf("mnq ended: %v\n%s", err, p.out.tail(8000))
		case <-give:
			p.t.Fatalf("mnq is not ready after a minute\n%s", p.out.tail(8000))
		case <-tick.C:
		}
		if res, err := p.client.Get(p.URL + "/readyz"); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
	}
}

func (p *Process) readAdminEnv() {
	p.t.Helper()
	b, err := os.ReadFile(filepath.Join(p.Dir, "admin.env"))
	if errors.Is(err, os.ErrNotExist) {
		return // another process of the installation has made the keys
	}
	if err != nil {
		p.t.Fatal(err)
	}
	p.Env = map[string]string{}
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(k, "#") {
			p.Env[strings.TrimPrefix(k, "export ")] = strings.Trim(v, `"'`)
		}
	}
	p.Secret = p.Env["SCW_SECRET_KEY"]
}

// Kill ends the process with SIGKILL.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	p.ended = <-p.done
	p.cmd = nil
}

// Stop ends the process with SIGTERM and returns how it ended; nil is exit code 0.
func (p *Process) Stop() error {
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	err := <-p.done
	p.cmd = nil
	return err
}

// Pause stops the process where it is, until Resume. When it returns, what the process
// had asked the kernel for is over, too.
func (p *Process) Pause() {
	p.signal(syscall.SIGSTOP)
	if err := waitStopped(p.Pid()); err != nil {
		p.t.Errorf("waiting until %d has stopped: %v", p.Pid(), err)
	}
}

// Resume lets a paused process go on.
func (p *Process) Resume() { p.signal(syscall.SIGCONT) }

func (p *Process) signal(s os.Signal) {
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Error(err)
	}
}

// Args are the flags of mnq serve that it is started with.
func (p *Process) Args() []string { return p.args[1:] }

// Pid is the process id.
func (p *Process) Pid() int { return p.cmd.Process.Pid }

// Output is what the process has printed so far.
func (p *Process) Output() string { return p.out.tail(1 << 20) }

// Answer is what the control plane answered.
type Answer struct {
	Status int
	Body   []byte
	JSON   map[string]any
}

// Call makes a control-plane request as the bootstrap key. An error means that
// the outcome is unknown.
func (p *Process) Call(method, path string, body any) (Answer, error) {
	return call(p.client, p.URL, p.Secret, method, path, body)
}

// Call makes a control-plane request with the secret of an API key.
func Call(url, secret, method, path string, body any) (Answer, error) {
	return call(http.DefaultClient, url, secret, method, path, body)
}

func call(c *http.Client, url, secret, method, path string, body any) (Answer, error) { //nolint:revive // the parts of a request
	var in io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return Answer{}, err
		}
		in = bytes.NewReader(b)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url+path, in)
	if err != nil {
		return Answer{}, err
	}
	req.Header.Set("X-Auth-Token", secret)
	req.Header.Set("Content-Type", "application/json")
	res, err := c.Do(req)
	if err != nil {
		return Answer{}, err
	}
	defer func() { _ = res.Body.Close() }()
	a := Answer{Status: res.StatusCode}
	if a.Body, err = io.ReadAll(io.LimitReader(res.Body, 8<<20)); err != nil {
		return a, err
	}
	if len(a.Body) > 0 {
		_ = json.Unmarshal(a.Body, &a.JSON) // text pages stay in Body
	}
	return a, nil
}

// Namespaces is the v1alpha1 path of namespaces, Credentials that of credentials.
const (
	Namespaces  = "/mnq/v1alpha1/regions/fr-par/namespaces"
	Credentials = "/mnq/v1alpha1/regions/fr-par/credentials"
)

// Must makes a request that has to succeed.
func (p *Process) Must(method, path string, body any) map[string]any {
	p.t.Helper()
	a, err := p.Call(method, path, body)
	if err != nil {
		p.t.Fatal(err)
	}
	if a.Status >= 300 {
		p.t.Fatalf("%s %s: %d %s", method, path, a.Status, a.Body)
	}
	return a.JSON
}

// Namespace creates a v1alpha1 namespace in the default project and returns its id.
func (p *Process) Namespace(name, protocol string) string {
	p.t.Helper()
	id, _ := p.Must("POST", Namespaces, map[string]any{
		"name": name, "protocol": protocol, "project_id": p.Env["SCW_DEFAULT_PROJECT_ID"],
	})["id"].(string)
	return id
}

// Keys is an SQS/SNS credential.
type Keys struct{ ID, Access, Secret string }

// Keys creates an SQS/SNS credential; perms holds letters p, r, m for publish,
// receive and manage.
func (p *Process) Keys(namespaceID, perms string) Keys {
	p.t.Helper()
	a := p.Must("POST", Credentials, map[string]any{
		"namespace_id": namespaceID, "name": "c", "permissions": map[string]bool{
			"can_publish": strings.Contains(perms, "p"), "can_receive": strings.Contains(perms, "r"), "can_manage": strings.Contains(perms, "m"),
		},
	})
	k, _ := a["sqs_sns_credentials"].(map[string]any)
	id, _ := a["id"].(string)
	access, _ := k["access_key"].(string)
	secret, _ := k["secret_key"].(string)
	return Keys{id, access, secret}
}

// Creds creates a NATS credential and returns its id and the path of its .creds file.
func (p *Process) Creds(namespaceID string) (id, path string) {
	p.t.Helper()
	a := p.Must("POST", Credentials, map[string]any{"namespace_id": namespaceID, "name": "c"})
	n, _ := a["nats_credentials"].(map[string]any)
	content, _ := n["content"].(string)
	id, _ = a["id"].(string)
	path = filepath.Join(p.t.TempDir(), "user.creds")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		p.t.Fatal(err)
	}
	return id, path
}

// Buffer is a buffer that one goroutine writes and another one reads.
type Buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements [io.Writer].
func (l *Buffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is all that was written.
func (l *Buffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *Buffer) tail(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.b.Bytes()
	return string(b[max(0, len(b)-n):])
}
