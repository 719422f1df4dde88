// Package server puts the parts of OpenMNQ together: one node, the directory of tenants,
// queues, topics and the front doors, in the order in which they start.
package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/aws"
	"github.com/openmnq/mnq/console"
	"github.com/openmnq/mnq/definition"
	"github.com/openmnq/mnq/internal/service"
	"github.com/openmnq/mnq/node"
	"github.com/openmnq/mnq/queue"
	"github.com/openmnq/mnq/rest"
	"github.com/openmnq/mnq/tenant"
	"github.com/openmnq/mnq/topic"
)

// Config says what to serve.
type Config struct {
	Settings

	MasterKey string // opens the secrets at rest; "": a key in the data directory
	Log       *slog.Logger
	Tracer    *service.Tracer // nil: no spans are made
	CutOff    func()          // ends the process at once; see [node.Config.CutOff]

	// Definitions are created when the server starts, with Settings.Dev.
	Definitions *definition.File

	// Listener takes the place of Settings.HTTP, which still names it. Together with
	// an empty Settings.NATS it makes a server without sockets.
	Listener net.Listener
}

// Server is one process: its parts in the order in which they start.
type Server struct {
	cfg     Config
	group   *service.Group
	log     *slog.Logger
	begun   time.Time
	health  service.Health
	metrics *service.Metrics
	bounds  *service.Bounds

	http      *service.HTTP
	admin     *service.HTTP // nil without --admin-http
	node      *node.Node
	directory *tenant.Directory
	queues    *queue.Service
	topics    *topic.Service
	planes    http.Handler // SQS and SNS

	certificate *service.Certificate // nil without TLS
	delivered   *prometheus.HistogramVec
	counted     counts
	recent      service.Recent // of the log

	failed chan error // a part that ended by itself
}

// maxBodyBytes is the memory for bodies of up to 64 KiB; what is longer is bounded by
// how many there may be of it.
const maxBodyBytes = 128 << 20

// New takes the addresses and the data directory. The settings must be valid.
func New(ctx context.Context, cfg Config) (*Server, error) {
	s := &Server{
		cfg: cfg, log: cfg.Log, begun: time.Now(),
		metrics: service.NewMetrics(service.ReadBuild()), delivered: deliveryDurations(), failed: make(chan error, 2),
		bounds: service.NewBounds(service.BoundsConfig{
			InFlight: cfg.MaxInFlight, BodyBytes: maxBodyBytes,
			CredentialRate: cfg.RateLimitCredential, NamespaceRate: cfg.RateLimitNamespace, AuthFailures: cfg.RateLimitAuthFailures,
		}),
	}
	s.log = slog.New(s.recent.Wrap(cfg.Log.Handler()))
	s.metrics.Tracer = cfg.Tracer
	var tlsConfig *tls.Config
	if cfg.TLSCert != "" {
		cert, err := service.LoadCertificate(cfg.TLSCert, cfg.TLSKey, s.log)
		if err != nil {
			return nil, badSetting("tls-cert", err)
		}
		tlsConfig, s.certificate = cert.Config(), cert
	}
	var err error
	if s.http, err = s.listen(ctx, "http", cfg.HTTP, tlsConfig, s.starting()); err != nil {
		return nil, err
	}
	if cfg.AdminHTTP != "" {
		if s.admin, err = s.listen(ctx, "admin-http", cfg.AdminHTTP, tlsConfig, s.adminStarting()); err != nil {
			return nil, errors.Join(err, s.http.Stop(ctx))
		}
	}
	if err := s.newParts(ctx, tlsConfig); err != nil {
		return nil, errors.Join(err, s.closeListeners(ctx))
	}
	return s, nil
}

func (s *Server) listen(ctx context.Context, name, address string, t *tls.Config, before http.Handler) (*service.HTTP, error) {
	h, err := service.NewHTTP(ctx, service.HTTPConfig{
		Address: address, Listener: s.cfg.listener(name), TLS: t, Before: before, Log: s.log,
		Failed:         func(err error) { s.failed <- err },
		MaxConnections: cmp.Or(s.cfg.MaxConnections, service.ConnectionsForFiles()), MaxPerAddress: s.cfg.MaxConnectionsPerAddress,
		Refused: func(limit string) { s.metrics.Throttled(name, limit) },
	})
	if err != nil {
		return nil, badSetting(name, err)
	}
	return h, nil
}

// listener is the one that stands in for that of the setting; nil: none does.
func (c *Config) listener(name string) net.Listener {
	if name == "http" {
		return c.Listener
	}
	return nil
}

func (s *Server) closeListeners(ctx context.Context) error {
	err := s.http.Stop(ctx)
	if s.admin != nil {
		err = errors.Join(err, s.admin.Stop(ctx))
	}
	return err
}

// nodeConfig is how the settings want NATS.
func (c *Config) nodeConfig(t *tls.Config) node.Config {
	n := node.Config{
		DataDir: c.DataDir, Listen: c.NATS, WebSocket: c.NATSWebsocket, Fsync: c.Fsync, Replicas: c.Replicas,
		TLS: t, Log: c.Log, Version: service.ReadBuild().Version,
	}
	if c.ClusterName != "" {
		n.Cluster = &node.Cluster{
			Name: c.ClusterName, Node: c.ClusterNode, Listen: c.ClusterListen,
			Routes: strings.FieldsFunc(c.ClusterRoutes, func(r rune) bool { return r == ',' || r == ' ' }),
		}
		n.CutOff = c.CutOff
		n.Advertise = advertised(c.PublicNATSURL)
	}
	if c.NATSURL != "" {
		n.Listen = ""
		n.External = &node.External{
			URL:              c.NATSURL,
			OperatorSeedFile: c.NATSOperatorSeedFile,
			SystemCredsFile:  c.NATSSystemCredsFile,
		}
	}
	return n
}

func (s *Server) newParts(ctx context.Context, t *tls.Config) (err error) {
	if s.node, err = node.New(s.cfg.nodeConfig(t)); err != nil {
		return err
	}
	var quota func(mnq.Protocol) mnq.Quota
	if s.cfg.Dev {
		quota = tenant.DevQuota
	}
	s.health.WaitsFor(s.node.Waiting)
	s.directory, err = tenant.New(tenant.Config{
		Node: s.node, DataDir: s.cfg.DataDir, MasterKey: s.cfg.MasterKey,
		Region: s.cfg.Region, APIURL: s.publicHTTP(), Quota: quota, Log: s.log,
	})
	if err != nil {
		return errors.Join(err, s.node.Stop(ctx))
	}
	return nil
}

// parts lists what is started, in order, and stopped in reverse. HTTP comes
// first so that health can be asked for meanwhile; it stops first through drain.
func (s *Server) parts() []service.Part {
	parts := []service.Part{{Name: "http", Start: s.http.Start}}
	if s.admin != nil {
		parts = append(parts, service.Part{Name: "admin http", Start: s.admin.Start, Stop: s.admin.Stop})
	}
	return append(parts,
		service.Part{Name: "node", Start: s.node.Start, Stop: s.node.Stop},
		service.Part{Name: "directory", Start: s.directory.Start, Stop: s.directory.Stop},
		service.Part{Name: "queues", Start: s.startQueues, Stop: func(ctx context.Context) error { return s.queues.Stop(ctx) }},
		service.Part{Name: "topics", Start: s.startTopics, Stop: func(ctx context.Context) error { return s.topics.Stop(ctx) }},
		service.Part{Name: "front doors", Start: s.openFrontDoors, Stop: s.http.Stop},
		service.Part{Name: "definitions", Start: s.define},
		service.Part{Name: "nats listener", Start: func(context.Context) error { return s.node.Listen() }},
		service.Part{Name: "nats websocket", Start: s.node.ListenWebSocket},
	)
}

func (s *Server) startQueues(ctx context.Context) (err error) {
	key := s.directory.DeriveKey("receipt handles")
	s.queues, err = queue.New(queue.Config{
		Connect: s.directory.Connect, Control: s.node.Control(), HandleKey: key[:],
		Replicas: s.node.Replicas(), Partition: s.cfg.ARNPartition, Log: s.log,
		GroupCommit: s.cfg.Fsync == node.FsyncAlways && !s.node.External(),
		Accepts:     s.node.Accepts, Current: s.node.Current, Stored: s.node.Stored, Exists: s.exists, LenientNames: s.cfg.DevLenient,
		Charts: true, Tracer: s.cfg.Tracer,
	})
	if err != nil {
		return err
	}
	if err := s.queues.Start(ctx); err != nil {
		return err
	}
	s.directory.OnNamespaceGone(s.queues.NamespaceGone)
	s.directory.OnServiceGone(func(ctx context.Context, namespaceID string, gone mnq.Service) error {
		if gone != mnq.ServiceSQS {
			return nil
		}
		return s.queues.DeleteAll(ctx, namespaceID)
	})
	return nil
}

// exists tells the queues which namespaces there are, as far as that is certain.
func (s *Server) exists(namespaceID string) (exists, sure bool) {
	if _, err := s.directory.Namespace(namespaceID); err == nil {
		return true, true
	}
	return false, s.directory.Ready(context.Background()) == nil
}

func (s *Server) openFrontDoors(ctx context.Context) error {
	config := aws.Config{
		Directory: s.directory, Queues: s.queues, Topics: s.topics, PublicURL: s.cfg.PublicURL,
		Region: s.cfg.Region, SkipSignature: s.cfg.DevSkipSignature, Log: s.log,
		Bounds: s.bounds,
	}
	if s.cfg.Dev {
		dev := tenant.NewDev(s.directory, s.cfg.DevAccountID, s.cfg.DevSkipSignature)
		if err := s.prepareDev(ctx, dev); err != nil {
			return err
		}
		config.Lookup, config.Owner = dev.Principal, dev.Owner
	}
	planes, err := aws.New(config)
	if err != nil {
		return err
	}
	s.planes = planes
	control, err := rest.New(rest.Config{
		Directory: s.directory, Queues: s.queues, Topics: s.topics, Region: s.cfg.Region, NATSEndpoint: s.publicNATS, PublicURL: s.publicHTTP,
		Status: s.status, RemoveNode: s.node.RemoveNode, Backup: s.backup, Support: s.support, Log: s.log, Version: service.ReadBuild().Version, Bounds: s.bounds,
	})
	if err != nil {
		return err
	}
	pages, err := console.New(console.Config{ //nolint:contextcheck // its handlers have that of their request
		Directory: s.directory, API: control.As, Region: s.cfg.Region, PublicURL: s.publicHTTP, NATSEndpoint: s.publicNATS,
		Log: s.log, Version: service.ReadBuild().Version,
	})
	if err != nil {
		return err
	}
	if err := s.registerMetrics(); err != nil {
		return err
	}
	s.health.AddCheck("nats", s.node.Ready)
	s.health.AddCheck("directory", s.directory.Ready)
	s.http.Handle(s.routes(control, planes, pages, s.serveMetrics))
	if s.admin != nil {
		s.admin.Handle(s.adminRoutes())
	}
	return nil
}

// prepareDev makes what a developer expects to find: the account of the access
// key "test", and SQS and SNS of the default project switched on.
func (s *Server) prepareDev(ctx context.Context, dev *tenant.Dev) error {
	if _, err := dev.Namespace(ctx, s.cfg.DevAccountID, s.cfg.Region); err != nil {
		return err
	}
	for _, service := range []mnq.Service{mnq.ServiceSQS, mnq.ServiceSNS} {
		if _, err := s.directory.Activate(ctx, s.directory.DefaultProjectID(), service); err != nil && mnq.KindOf(err) != mnq.Exists {
			return err
		}
	}
	return nil
}

// Run starts the server, says where it is, waits for ctx to end or for a part to fail,
// and drains.
func (s *Server) Run(ctx context.Context, stdout io.Writer) error {
	if err := s.Start(ctx); err != nil {
		if ctx.Err() != nil {
			return nil //nolint:nilerr // asked to stop while starting
		}
		return err
	}
	if err := s.announce(stdout); err != nil {
		s.log.Warn("announce_failed", "error", err)
	}
	var failure error
	select {
	case <-ctx.Done():
	case failure = <-s.failed:
	}
	s.log.Info("stopping", "timeout", s.cfg.ShutdownTimeout.String())
	if err := s.Stop(context.WithoutCancel(ctx)); err != nil {
		// What was acknowledged is on disk; being cut off is no failure of the stop.
		s.log.Warn("stopped_in_part", "error", err)
	}
	return failure
}

// Start starts the parts and returns when the server is ready. After a failure nothing
// of it is left.
func (s *Server) Start(ctx context.Context) (err error) {
	if s.group, err = service.StartAll(ctx, s.parts()...); err != nil {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.ShutdownTimeout)
		defer cancel()
		return errors.Join(err, s.closeListeners(stop), s.node.Stop(stop))
	}
	s.health.Started()
	return nil
}

// Stop drains a started server within Settings.ShutdownTimeout: it answers long polls,
// finishes requests, flushes. An error says what was cut off.
func (s *Server) Stop(ctx context.Context) error {
	s.health.Stopping()
	stop, cancel := context.WithTimeout(ctx, s.cfg.ShutdownTimeout)
	defer cancel()
	return s.group.StopAll(stop)
}

// Node is the server's part that runs NATS.
func (s *Server) Node() *node.Node { return s.node }

// Directory is the server's part that knows tenants.
func (s *Server) Directory() *tenant.Directory { return s.directory }

// URL is what clients are told to use for HTTP.
func (s *Server) URL() string { return s.publicHTTP() }

// NATSURL is what clients are told to use for NATS.
func (s *Server) NATSURL() string { return s.publicNATS() }

// announce prints one line per address, for people and for scripts.
func (s *Server) announce(w io.Writer) error {
	ready := time.Since(s.begun).Round(time.Millisecond)
	err := line(w, "mnq %s ready in %s\n", service.ReadBuild().Version, ready)
	err = errors.Join(err, line(w, "http   %s\n", s.publicHTTP()))
	if s.admin != nil {
		err = errors.Join(err, line(w, "admin  %s\n", publicURL("", s.scheme(), s.admin.Address(), hostname())))
	}
	err = errors.Join(err, line(w, "nats   %s\n", s.publicNATS()))
	if a := s.node.WebSocketAddress(); a != "" {
		err = errors.Join(err, line(w, "ws     %s\n", publicURL("", strings.Replace(s.scheme(), "http", "ws", 1), a, hostname())))
	}
	if s.cfg.Dev {
		err = errors.Join(err, line(w, "dev    access key test, secret test, account %s, any region\n", s.cfg.DevAccountID))
	}
	if s.directory.FirstStart() {
		path := s.directory.AdminEnvPath()
		err = errors.Join(err, line(w, "keys   written to %s; load them with: set -a; . %s; set +a\n", path, path))
	}
	return err
}

func line(w io.Writer, format string, args ...any) error {
	_, err := fmt.Fprintf(w, format, args...)
	return err
}

func (s *Server) scheme() string {
	if s.cfg.TLSCert != "" {
		return "https"
	}
	return "http"
}

func (s *Server) publicHTTP() string {
	return publicURL(s.cfg.PublicURL, s.scheme(), s.http.Address(), hostname())
}

func (s *Server) publicNATS() string {
	if s.cfg.PublicNATSURL == "" && s.cfg.NATSURL != "" {
		return s.cfg.NATSURL
	}
	return publicURL(s.cfg.PublicNATSURL, "nats", s.node.Address(), hostname())
}

// advertised is the host:port of a NATS URL; "" without one.
func advertised(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return ""
	}
	return net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "4222"))
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "127.0.0.1"
	}
	return name
}
