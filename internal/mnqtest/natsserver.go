package mnqtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// NATSServer is a stock nats-server process in operator mode, as an operator
// would run it, with the configuration that docs/operations.md describes.
type NATSServer struct {
	URL          string
	OperatorSeed string // file
	SystemCreds  string // file
	Dir          string // of its data

	t    testing.TB
	conf string
	cmd  *exec.Cmd
}

var natsServerBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "nats-server-")
	if err != nil {
		return "", err
	}
	out := filepath.Join(dir, "nats-server")
	build := exec.Command("go", "build", "-o", out, "github.com/nats-io/nats-server/v2")
	if text, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build nats-server: %w\n%s", err, text)
	}
	return out, nil
})

// StartNATSServer runs a nats-server until the test ends.
func StartNATSServer(t testing.TB) *NATSServer {
	t.Helper()
	dir := t.TempDir()
	addr := FreeAddress(t)
	s := &NATSServer{
		t: t, URL: "nats://" + addr, Dir: dir, conf: filepath.Join(dir, "nats.conf"),
		OperatorSeed: filepath.Join(dir, "operator.nk"), SystemCreds: filepath.Join(dir, "system.creds"),
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	operator, err := nkeys.CreateOperator()
	must(err)
	system, err := nkeys.CreateAccount()
	must(err)
	user, err := nkeys.CreateUser()
	must(err)
	systemID := public(t, system)

	oc := jwt.NewOperatorClaims(public(t, operator))
	oc.SystemAccount = systemID
	operatorJWT, err := oc.Encode(operator)
	must(err)
	ac := jwt.NewAccountClaims(systemID)
	systemJWT, err := ac.Encode(operator)
	must(err)
	userJWT, err := jwt.NewUserClaims(public(t, user)).Encode(system)
	must(err)
	userSeed, err := user.Seed()
	must(err)
	creds, err := jwt.FormatUserConfig(userJWT, userSeed)
	must(err)
	operatorSeed, err := operator.Seed()
	must(err)
	must(os.WriteFile(s.SystemCreds, creds, 0o600))
	must(os.WriteFile(s.OperatorSeed, operatorSeed, 0o600))
	must(os.WriteFile(s.conf, fmt.Appendf(nil, `
listen: %q
max_payload: 2MB
operator: %s
system_account: %s
resolver { type: full, dir: %q, allow_delete: true, interval: "2m" }
resolver_preload { %s: %s }
jetstream { store_dir: %q, sync_interval: always }
`, addr, operatorJWT, systemID, filepath.Join(dir, "accounts"), systemID, systemJWT, dir), 0o600))
	s.Start()
	t.Cleanup(s.Kill)
	return s
}

// Start runs the server, again after Kill.
func (s *NATSServer) Start() {
	s.t.Helper()
	bin, err := natsServerBinary()
	if err != nil {
		s.t.Fatal(err)
	}
	s.cmd = exec.Command(bin, "-c", s.conf)
	var out strings.Builder
	s.cmd.Stdout, s.cmd.Stderr = &out, &out
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	nc, err := nats.Connect(s.URL, nats.UserCredentials(s.SystemCreds), nats.RetryOnFailedConnect(true), nats.MaxReconnects(300), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		s.t.Fatal(err, out.String())
	}
	defer nc.Close()
	if err := nc.FlushTimeout(15 * time.Second); err != nil {
		s.t.Fatal(err, out.String())
	}
}

// Kill ends the server with SIGKILL.
func (s *NATSServer) Kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// Args are the flags that make an mnq a gateway to the server.
func (s *NATSServer) Args() []string {
	return []string{"--nats-url", s.URL, "--nats-operator-seed-file", s.OperatorSeed, "--nats-system-creds-file", s.SystemCreds}
}

func public(t testing.TB, kp nkeys.KeyPair) string {
	t.Helper()
	p, err := kp.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return p
}
