package server

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openmnq/mnq"
)

// Settings are the server's settings. Each is a flag, an environment variable
// (MNQ_ and the flag's name in capitals) and a key of the configuration file;
// the flag wins over the variable and the variable over the file.
type Settings struct {
	Config string `placeholder:"FILE" help:"Read settings from a YAML file."`

	DataDir   string `default:"./mnq-data" placeholder:"DIR" help:"Everything that must survive."`
	HTTP      string `name:"http" default:"127.0.0.1:9324" placeholder:"HOST:PORT" help:"Listener of control plane, SQS, SNS, health and metrics."`
	AdminHTTP string `name:"admin-http" placeholder:"HOST:PORT" help:"Listener for metrics and profiles, instead of on --http."`
	NATS      string `name:"nats" default:"127.0.0.1:4222" placeholder:"HOST:PORT" help:"NATS client listener."`

	NATSWebsocket string `name:"nats-websocket" placeholder:"HOST:PORT" help:"Listener for NATS over WebSocket. Default: none."`

	PublicURL     string `name:"public-url" placeholder:"URL" help:"What is handed out in queue URLs and endpoints. Default: from --http."`
	PublicNATSURL string `name:"public-nats-url" placeholder:"URL" help:"What is handed out as NATS endpoint. Default: from --nats."`
	TLSCert       string `name:"tls-cert" placeholder:"FILE" help:"PEM certificate chain for both listeners, read again when it changes."`
	TLSKey        string `name:"tls-key" placeholder:"FILE" help:"PEM key of the certificate."`

	Region       string `default:"fr-par" help:"Region in API paths, ARNs and endpoints."`
	ARNPartition string `name:"arn-partition" default:"scw" help:"Partition in ARNs; aws for clients that hard-code it."`
	Fsync        string `default:"always" enum:"always,interval" help:"always: an acknowledged write is on disk. interval: faster, may lose the last moments on power loss."`
	Replicas     int    `default:"1" help:"Stream replicas: 1, 3 or 5; more than 1 needs a cluster, where the default is 3."`

	ClusterName   string `name:"cluster-name" placeholder:"NAME" help:"Make the embedded servers of several mnq processes one cluster of that name; see mnq cluster init."`
	ClusterNode   string `name:"cluster-node" placeholder:"NAME" help:"Name of this process in the cluster, for good. Default: host name and cluster port."`
	ClusterListen string `name:"cluster-listen" placeholder:"HOST:PORT" help:"Listener for the other nodes of the cluster."`
	ClusterRoutes string `name:"cluster-routes" placeholder:"HOST:PORT,…" help:"Every node of the cluster, this one included."`

	EgressAllow string `name:"egress-allow" placeholder:"NETWORKS" help:"Private networks, such as 10.1.0.0/16, that http, https and lambda subscriptions may lead to."`

	MaxConnections           int `default:"0" help:"HTTP connections at a time, on each listener. Default: three quarters of the open files that the process may have."`
	MaxConnectionsPerAddress int `default:"0" help:"HTTP connections at a time of one client address. Default: no limit."`
	MaxInFlight              int `default:"1024" help:"Requests worked on at a time; more are told to try again. Long polls that wait do not count. 0: no limit."`
	RateLimitCredential      int `default:"0" help:"Requests a second of each access key or API key. Default: no limit."`
	RateLimitNamespace       int `default:"0" help:"SQS and SNS requests a second of each namespace. Default: no limit."`
	RateLimitAuthFailures    int `default:"50" help:"Refused keys a second from one address; more are turned away unseen. 0: no limit."`

	NATSURL              string `name:"nats-url" placeholder:"URL" help:"Use an external NATS cluster in operator mode instead of the embedded server."`
	NATSOperatorSeedFile string `name:"nats-operator-seed-file" placeholder:"FILE" help:"Operator seed that signs accounts in the external cluster."`
	NATSSystemCredsFile  string `name:"nats-system-creds-file" placeholder:"FILE" help:"Credentials of a user of the external cluster's system account."`

	LogFormat       string        `default:"text" enum:"text,json" help:"Log as text or json, on standard error."`
	LogLevel        slog.Level    `default:"info" help:"debug, info, warn or error."`
	AcceptDamage    bool          `help:"Start although messages have become unreadable on the disk; what can be read is kept. Only ever once."`
	ShutdownTimeout time.Duration `default:"10s" help:"How long stopping may take."`

	Dev              bool   `help:"For local development and tests: loopback only, access key test with secret test, any region, no quotas."`
	DevAccountID     string `name:"dev-account-id" default:"000000000000" placeholder:"12-DIGITS" help:"With --dev: the account of the access key test."`
	DevSkipSignature bool   `help:"With --dev: do not check signatures, and take any access key."`
	DevLenient       bool   `help:"With --dev: no 60-second rules after DeleteQueue and PurgeQueue."`
	Ephemeral        bool   `help:"With --dev: keep the data in a temporary directory that is removed at the end."`
}

var (
	wellFormedRegion    = regexp.MustCompile(`^[a-z][a-z0-9-]{1,31}$`)
	wellFormedPartition = regexp.MustCompile(`^[a-z][a-z-]{1,15}$`)
)

// badSetting is the error for a setting that cannot be used.
func badSetting(name string, err error) error {
	return &mnq.Error{Kind: mnq.Invalid, Op: "server", Field: name, Msg: err.Error()}
}

// Validate returns the first setting that is wrong, by name. What another part
// knows better (such as whether a key file is usable) is checked there.
func (s *Settings) Validate() error {
	bad := func(name, format string, args ...any) error {
		return badSetting(name, fmt.Errorf(format, args...))
	}
	if s.DataDir == "" {
		return bad("data-dir", "must name a directory")
	}
	for _, l := range []struct {
		name, address string
		optional      bool
	}{{"http", s.HTTP, false}, {"nats", s.NATS, s.NATSURL != ""}, {"nats-websocket", s.NATSWebsocket, true}, {"admin-http", s.AdminHTTP, true}} {
		if l.address == "" && l.optional {
			continue
		}
		if err := checkAddress(l.address); err != nil {
			return bad(l.name, "%s", err)
		}
	}
	if err := checkURL(s.PublicURL, "http", "https"); err != nil {
		return bad("public-url", "%s", err)
	}
	if err := checkURL(s.PublicNATSURL, "nats", "tls", "ws", "wss"); err != nil {
		return bad("public-nats-url", "%s", err)
	}
	if err := checkNATSURL(s.NATSURL); err != nil {
		return bad("nats-url", "%s", err)
	}
	if _, err := networks(s.EgressAllow); err != nil {
		return bad("egress-allow", "%s", err)
	}
	if err := s.validateBounds(); err != nil {
		return err
	}
	if err := s.validateCluster(); err != nil {
		return err
	}
	if err := s.validateDev(); err != nil {
		return err
	}
	switch {
	case s.TLSCert != "" && s.TLSKey == "":
		return bad("tls-key", "is needed with --tls-cert")
	case s.TLSKey != "" && s.TLSCert == "":
		return bad("tls-cert", "is needed with --tls-key")
	case !wellFormedRegion.MatchString(s.Region):
		return bad("region", "must be lower-case letters, digits and dashes, not %q", s.Region)
	case !wellFormedPartition.MatchString(s.ARNPartition):
		return bad("arn-partition", "must be lower-case letters and dashes, not %q", s.ARNPartition)
	case s.ShutdownTimeout <= 0 || s.ShutdownTimeout > time.Hour:
		return bad("shutdown-timeout", "must be more than 0 and at most 1h, not %s", s.ShutdownTimeout)
	case s.NATSURL == "" && s.NATSOperatorSeedFile != "":
		return bad("nats-operator-seed-file", "needs --nats-url")
	case s.NATSURL == "" && s.NATSSystemCredsFile != "":
		return bad("nats-system-creds-file", "needs --nats-url")
	}
	return nil
}

// validateBounds refuses limits that are none.
func (s *Settings) validateBounds() error {
	for name, value := range map[string]int{
		"max-connections": s.MaxConnections, "max-connections-per-address": s.MaxConnectionsPerAddress,
		"max-in-flight": s.MaxInFlight, "rate-limit-credential": s.RateLimitCredential,
		"rate-limit-namespace": s.RateLimitNamespace, "rate-limit-auth-failures": s.RateLimitAuthFailures,
	} {
		if value < 0 || value > 1_000_000 {
			return badSetting(name, fmt.Errorf("must be from 0 to 1000000, not %d", value))
		}
	}
	return nil
}

// validateCluster refuses half a cluster; what is given is checked by the node.
func (s *Settings) validateCluster() error {
	for _, o := range []struct{ name, value string }{
		{"cluster-listen", s.ClusterListen}, {"cluster-routes", s.ClusterRoutes},
	} {
		if s.ClusterName != "" && o.value == "" {
			return badSetting(o.name, errors.New("is needed with --cluster-name"))
		}
		if s.ClusterName == "" && o.value != "" {
			return badSetting(o.name, errors.New("needs --cluster-name"))
		}
	}
	if s.ClusterName == "" && s.ClusterNode != "" {
		return badSetting("cluster-node", errors.New("needs --cluster-name"))
	}
	return nil
}

// validateDev keeps the development mode, whose keys everybody knows, on this
// machine, and its flags in it.
func (s *Settings) validateDev() error {
	bad := func(name, text string) error { return badSetting(name, errors.New(text)) }
	if !s.Dev {
		for name, set := range map[string]bool{"dev-skip-signature": s.DevSkipSignature, "dev-lenient": s.DevLenient, "ephemeral": s.Ephemeral} {
			if set {
				return bad(name, "needs --dev")
			}
		}
		return nil
	}
	for _, l := range []struct{ name, address string }{{"http", s.HTTP}, {"nats", s.NATS}, {"nats-websocket", s.NATSWebsocket}, {"admin-http", s.AdminHTTP}} {
		host, _, err := net.SplitHostPort(l.address)
		if ip := net.ParseIP(host); l.address != "" && (err != nil || host != "localhost" && (ip == nil || !ip.IsLoopback())) {
			return bad(l.name, "must be a loopback address with --dev, not "+l.address)
		}
	}
	switch {
	case s.NATSURL != "":
		return bad("nats-url", "cannot be used with --dev")
	case s.ClusterName != "":
		return bad("cluster-name", "cannot be used with --dev")
	case len(s.DevAccountID) != 12 || strings.Trim(s.DevAccountID, "0123456789") != "":
		return bad("dev-account-id", "must be 12 digits")
	}
	return nil
}

func checkAddress(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("must be host:port, not %q", address)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("must end with a port number, not %q", port)
	}
	return nil
}

// checkURL refuses what cannot be handed out. It quotes no URL that may hold a
// password.
func checkURL(raw string, schemes ...string) error {
	if raw == "" {
		return nil
	}
	if strings.Contains(raw, "@") {
		return errors.New("must not name a user: what is given here is handed out to clients")
	}
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return fmt.Errorf("must be a URL with a host and without query, not %q", raw)
	}
	if slices.Contains(schemes, u.Scheme) {
		return nil
	}
	return fmt.Errorf("must begin with %s://, not %q", schemes[0], raw)
}

// checkNATSURL checks a list of URLs, separated by commas.
func checkNATSURL(list string) error {
	if list == "" {
		return nil
	}
	for one := range strings.SplitSeq(list, ",") {
		if one == "" {
			return errors.New("must be URLs separated by single commas")
		}
		if err := checkURL(one, "nats", "tls", "ws", "wss"); err != nil {
			return err
		}
	}
	return nil
}

// publicURL is the address clients are told. A wildcard host cannot be told, so
// name stands in for it.
func publicURL(configured, scheme, bound, name string) string {
	if configured != "" {
		return configured
	}
	host, port, err := net.SplitHostPort(bound)
	if err != nil {
		return scheme + "://" + bound
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = name
	}
	return scheme + "://" + net.JoinHostPort(host, port)
}
