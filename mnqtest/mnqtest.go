// Package mnqtest runs an OpenMNQ server inside a test, for programs that use SQS, SNS or
// NATS:
//
//	func TestOrders(t *testing.T) {
//		t.Parallel()
//		s := mnqtest.Start(t)
//		client := sqs.NewFromConfig(s.AWS)
//		…
//	}
//
// The server is the real one, with the settings of `mnq serve --dev`, in the process of
// the test: nothing has to be installed or running. Each test has its own, on free ports
// of the loopback interface, and keeps its data in a temporary directory of the test. It
// stops when the test ends.
//
// # Virtual time
//
// In a bubble of testing/synctest, Start runs the server on the bubble's time, without
// sockets: a visibility timeout of an hour is over as soon as nothing else is left to do,
// and a day takes a few seconds, because the server has work to do in it. Clients reach it through [Server.AWS], [Server.NATS] and [Server.HTTP] only, and
// subscriptions cannot lead to an http or https address. Tests with virtual time run one
// after the other: do not call t.Parallel in those that use it.
package mnqtest

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/nats-io/nats.go"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/definition"
	"github.com/openmnq/mnq/internal/natsclock"
	"github.com/openmnq/mnq/node"
	"github.com/openmnq/mnq/server"
	"github.com/openmnq/mnq/tenant"
)

// Where every server of this package is, for clients that ask.
const (
	Region  = "us-east-1"    // of Server.AWS; any other works too, with queues and topics of its own
	Account = "000000000000" // of Server.AWS
)

// Server is a running server. It is safe for concurrent use.
type Server struct {
	AWS  aws.Config   // reaches SQS and SNS, as account [Account] in region [Region]
	NATS *nats.Conn   // a user of a NATS namespace of the test's own, with JetStream
	HTTP *http.Client // reaches URL, in a bubble too

	URL       string // of SQS, SNS and the control plane
	NATSURL   string // of the NATS listener; "" in a bubble
	CredsFile string // opens the namespace of NATS to other clients
	AdminFile string // SCW_ variables that open the control plane, in shell syntax

	t testing.TB
}

// Option changes how Start starts a server.
type Option func(*config)

type config struct {
	server.Config

	definitions string
}

// LogTo writes the server's log to w, from level on. Without it there is none.
func LogTo(w io.Writer, level slog.Level) Option {
	return func(c *config) { c.Log = slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})) }
}

// Dir keeps the data in dir instead of a temporary directory, so that a later server can
// go on with it. One server at a time can use it.
func Dir(dir string) Option { return func(c *config) { c.DataDir = dir } }

// Lenient leaves out SQS's rules of 60 seconds after DeleteQueue and PurgeQueue.
func Lenient() Option { return func(c *config) { c.DevLenient = true } }

// Synced makes every acknowledged write reach the disk, as mnq serve does. Without it a
// kill of the test's process loses nothing either, but a power cut may.
func Synced() Option { return func(c *config) { c.Fsync = node.FsyncAlways } }

// Define creates the queues and topics in the text of an mnq.yaml, in region [Region].
func Define(yaml string) Option {
	return func(c *config) { c.Region, c.definitions = Region, yaml }
}

// stopTimeout bounds the end of a test.
const stopTimeout = 20 * time.Second

// Start runs a server until the test ends. It fails the test when that is not possible.
func Start(t testing.TB, options ...Option) *Server {
	t.Helper()
	config := config{Config: server.Config{
		Settings: server.Settings{
			HTTP: "127.0.0.1:0", NATS: "127.0.0.1:0", Region: "fr-par", ARNPartition: "aws", Fsync: node.FsyncInterval, Replicas: 1,
			ShutdownTimeout: stopTimeout, Dev: true, DevAccountID: Account,
		},
		Log: slog.New(slog.DiscardHandler),
	}}
	for _, o := range options {
		o(&config)
	}
	if config.DataDir == "" {
		config.DataDir = filepath.Join(t.TempDir(), "mnq")
	}
	s := &Server{t: t, HTTP: &http.Client{}}
	var dial []nats.Option
	if inBubble() {
		l := newPipes()
		config.Listener, config.NATS, config.PublicURL = l, "", "http://mnq.test"
		s.HTTP.Transport = &http.Transport{DialContext: l.dial, MaxIdleConnsPerHost: 64}
		emptyPools()
		t.Cleanup(emptyPools)
		natsclock.Virtual(t)
	} else {
		s.HTTP.Transport = &http.Transport{MaxIdleConnsPerHost: 64}
		t.Cleanup(natsclock.Wall())
	}
	if err := config.Validate(); config.Listener == nil && err != nil {
		t.Fatalf("mnqtest: %v", err)
	}
	var err error
	if config.Definitions, err = definition.Parse([]byte(config.definitions)); err != nil {
		t.Fatalf("mnqtest: the definitions: %v", err)
	}
	running, err := server.New(t.Context(), config.Config)
	if err != nil {
		t.Fatalf("mnqtest: %v", err)
	}
	if err := running.Start(t.Context()); err != nil {
		t.Fatalf("mnqtest: %v", err)
	}
	t.Cleanup(func() {
		s.HTTP.CloseIdleConnections()
		if err := running.Stop(context.Background()); err != nil {
			t.Errorf("mnqtest: %v", err)
		}
	})
	s.URL, s.AdminFile = running.URL(), running.Directory().AdminEnvPath()
	s.AWS = s.Config(Account, Region)
	if config.Listener != nil {
		dial = append(dial, running.Node().InProcess())
	} else {
		s.NATSURL = running.NATSURL()
	}
	if err := s.connect(running.Directory(), dial); err != nil {
		t.Fatalf("mnqtest: %v", err)
	}
	return s
}

// Config reaches SQS and SNS as another account, of 12 digits, or in another region. Each
// account and region has queues and topics of its own.
func (s *Server) Config(account, region string) aws.Config {
	key := account
	if account == Account {
		key = "test"
	}
	return aws.Config{
		Region: region, BaseEndpoint: aws.String(s.URL), HTTPClient: s.HTTP,
		Credentials: credentials.NewStaticCredentialsProvider(key, "test", ""),
	}
}

// connect makes a NATS namespace with a credential and opens a connection with it.
func (s *Server) connect(d *tenant.Directory, dial []nats.Option) error {
	ctx := s.t.Context()
	ns, err := d.CreateNamespace(ctx, tenant.NewNamespace{Name: "mnqtest", Protocol: mnq.ProtocolNATS, ProjectID: d.DefaultProjectID()})
	if err != nil {
		return err
	}
	_, secret, err := d.CreateCredential(ctx, tenant.NewCredential{Name: "mnqtest", NamespaceID: ns.ID})
	if err != nil {
		return err
	}
	s.CredsFile = filepath.Join(s.t.TempDir(), "user.creds")
	if err := os.WriteFile(s.CredsFile, []byte(secret.CredsFile.Reveal()), 0o600); err != nil {
		return err
	}
	s.NATS, err = nats.Connect(s.NATSURL, append(dial, nats.UserCredentials(s.CredsFile), nats.Name("mnqtest"))...)
	if err != nil {
		return err
	}
	s.t.Cleanup(s.NATS.Close)
	return nil
}

// inBubble reports whether the caller is in a bubble of testing/synctest, which nothing
// else tells: Wait panics outside one.
func inBubble() (yes bool) {
	defer func() { yes = recover() == nil }()
	synctest.Wait()
	return true
}
