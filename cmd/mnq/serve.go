package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/aws"
	"github.com/openmnq/mnq/internal/service"
	"github.com/openmnq/mnq/node"
	"github.com/openmnq/mnq/queue"
	"github.com/openmnq/mnq/rest"
	"github.com/openmnq/mnq/tenant"
	"github.com/openmnq/mnq/topic"
)

type serveCmd struct {
	Settings `embed:"" group:"settings"`
}

// Run serves until the context of the app ends, then drains.
func (c *serveCmd) Run(a *app, settings []setting) error {
	if err := c.validate(); err != nil {
		return err
	}
	c.forDev(settings)
	c.forCluster(settings)
	if c.Ephemeral {
		dir, err := os.MkdirTemp("", "mnq-dev-")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		c.DataDir = dir
	}
	s, err := newServer(a.ctx, c.Settings, a.env[envMasterKey], c.logger(a.stderr))
	if err != nil {
		return err
	}
	return s.run(a.ctx, a.stdout)
}

// server is one process: its parts in the order in which they start.
type server struct {
	cfg     Settings
	log     *slog.Logger
	begun   time.Time
	health  service.Health
	metrics *service.Metrics

	http      *service.HTTP
	admin     *service.HTTP // nil without --admin-http
	node      *node.Node
	directory *tenant.Directory
	queues    *queue.Service
	topics    *topic.Service
	failed    chan error // a part that ended by itself
}

// newServer takes the addresses and the data directory. Nothing of what it took
// is released when it fails, because the process ends then.
func newServer(ctx context.Context, cfg Settings, masterKey string, log *slog.Logger) (*server, error) {
	s := &server{
		cfg: cfg, log: log, begun: time.Now(),
		metrics: service.NewMetrics(service.ReadBuild()), failed: make(chan error, 2),
	}
	var tlsConfig *tls.Config
	if cfg.TLSCert != "" {
		cert, err := service.LoadCertificate(cfg.TLSCert, cfg.TLSKey, log)
		if err != nil {
			return nil, usagef("--tls-cert: %w", err)
		}
		tlsConfig = cert.Config()
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
	if err := s.newParts(ctx, masterKey, tlsConfig); err != nil {
		return nil, errors.Join(err, s.closeListeners(ctx))
	}
	return s, nil
}

func (s *server) listen(ctx context.Context, name, address string, t *tls.Config, before http.Handler) (*service.HTTP, error) {
	h, err := service.NewHTTP(ctx, service.HTTPConfig{
		Address: address, TLS: t, Before: before, Log: s.log,
		Failed: func(err error) { s.failed <- err },
	})
	if err != nil {
		return nil, usagef("--%s: %w", name, err)
	}
	return h, nil
}

func (s *server) closeListeners(ctx context.Context) error {
	err := s.http.Stop(ctx)
	if s.admin != nil {
		err = errors.Join(err, s.admin.Stop(ctx))
	}
	return err
}

func (s *server) newParts(ctx context.Context, masterKey string, t *tls.Config) (err error) {
	nodeConfig := node.Config{
		DataDir: s.cfg.DataDir, Listen: s.cfg.NATS, WebSocket: s.cfg.NATSWebsocket, Fsync: s.cfg.Fsync, Replicas: s.cfg.Replicas,
		TLS: t, Log: s.log,
	}
	if s.cfg.ClusterName != "" {
		nodeConfig.Cluster = &node.Cluster{
			Name: s.cfg.ClusterName, Node: s.cfg.ClusterNode, Listen: s.cfg.ClusterListen,
			Routes: strings.FieldsFunc(s.cfg.ClusterRoutes, func(r rune) bool { return r == ',' || r == ' ' }),
		}
		nodeConfig.CutOff = startAnew
		nodeConfig.Advertise = advertised(s.cfg.PublicNATSURL)
	}
	if s.cfg.NATSURL != "" {
		nodeConfig.Listen = ""
		nodeConfig.External = &node.External{
			URL:              s.cfg.NATSURL,
			OperatorSeedFile: s.cfg.NATSOperatorSeedFile,
			SystemCredsFile:  s.cfg.NATSSystemCredsFile,
		}
	}
	if s.node, err = node.New(nodeConfig); err != nil {
		return err
	}
	var quota func(mnq.Protocol) mnq.Quota
	if s.cfg.Dev {
		quota = tenant.DevQuota
	}
	s.health.WaitsFor(s.node.Waiting)
	s.directory, err = tenant.New(tenant.Config{
		Node: s.node, DataDir: s.cfg.DataDir, MasterKey: masterKey,
		Region: s.cfg.Region, APIURL: s.publicHTTP(), Quota: quota, Log: s.log,
	})
	if err != nil {
		return errors.Join(err, s.node.Stop(ctx))
	}
	return nil
}

// parts lists what is started, in order, and stopped in reverse. HTTP comes
// first so that health can be asked for meanwhile; it stops first through drain.
func (s *server) parts() []service.Part {
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
		service.Part{Name: "nats listener", Start: func(context.Context) error { return s.node.Listen() }},
		service.Part{Name: "nats websocket", Start: s.node.ListenWebSocket},
	)
}

func (s *server) startQueues(ctx context.Context) (err error) {
	key := s.directory.DeriveKey("receipt handles")
	s.queues, err = queue.New(queue.Config{
		Connect: s.directory.Connect, Control: s.node.Control(), HandleKey: key[:],
		Replicas: s.node.Replicas(), Partition: s.cfg.ARNPartition, Log: s.log,
		GroupCommit: s.cfg.Fsync == node.FsyncAlways && !s.node.External(),
		Accepts:     s.node.Accepts, Current: s.node.Current, Exists: s.exists, LenientNames: s.cfg.DevLenient,
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
func (s *server) exists(namespaceID string) (exists, sure bool) {
	if _, err := s.directory.Namespace(namespaceID); err == nil {
		return true, true
	}
	return false, s.directory.Ready(context.Background()) == nil
}

func (s *server) openFrontDoors(ctx context.Context) error {
	config := aws.Config{
		Directory: s.directory, Queues: s.queues, Topics: s.topics, PublicURL: s.cfg.PublicURL,
		Region: s.cfg.Region, SkipSignature: s.cfg.DevSkipSignature, Log: s.log,
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
	control, err := rest.New(rest.Config{
		Directory: s.directory, Queues: s.queues, Topics: s.topics, Region: s.cfg.Region, NATSEndpoint: s.publicNATS, PublicURL: s.publicHTTP,
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
	s.http.Handle(s.routes(control, planes, s.serveMetrics))
	if s.admin != nil {
		s.admin.Handle(s.adminRoutes())
	}
	return nil
}

// prepareDev makes what a developer expects to find: the account of the access
// key "test", and SQS and SNS of the default project switched on.
func (s *server) prepareDev(ctx context.Context, dev *tenant.Dev) error {
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

// run starts the parts, says where they are, waits for ctx to end or for a part
// to fail, and drains.
func (s *server) run(ctx context.Context, stdout io.Writer) error {
	group, err := service.StartAll(ctx, s.parts()...)
	if err != nil {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.ShutdownTimeout)
		defer cancel()
		err = errors.Join(err, s.closeListeners(stop), s.node.Stop(stop))
		if ctx.Err() != nil {
			return nil // asked to stop while starting
		}
		return err
	}
	s.health.Started()
	if err := s.announce(stdout); err != nil {
		s.log.Warn("announce_failed", "error", err)
	}
	var failure error
	select {
	case <-ctx.Done():
	case failure = <-s.failed:
	}
	s.health.Stopping()
	s.log.Info("stopping", "timeout", s.cfg.ShutdownTimeout.String())
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.ShutdownTimeout)
	defer cancel()
	if err := group.StopAll(stop); err != nil {
		// What was acknowledged is on disk; being cut off is no failure of the stop.
		s.log.Warn("stopped_in_part", "error", err)
	}
	return failure
}

// announce prints one line per address, for people and for scripts.
func (s *server) announce(w io.Writer) error {
	ready := time.Since(s.begun).Round(time.Millisecond)
	err := printf(w, "mnq %s ready in %s\n", service.ReadBuild().Version, ready)
	err = errors.Join(err, printf(w, "http   %s\n", s.publicHTTP()))
	if s.admin != nil {
		err = errors.Join(err, printf(w, "admin  %s\n", publicURL("", s.scheme(), s.admin.Address(), hostname())))
	}
	err = errors.Join(err, printf(w, "nats   %s\n", s.publicNATS()))
	if a := s.node.WebSocketAddress(); a != "" {
		err = errors.Join(err, printf(w, "ws     %s\n", publicURL("", strings.Replace(s.scheme(), "http", "ws", 1), a, hostname())))
	}
	if s.cfg.Dev {
		err = errors.Join(err, printf(w, "dev    access key test, secret test, account %s, any region\n", s.cfg.DevAccountID))
	}
	if s.directory.FirstStart() {
		path := s.directory.AdminEnvPath()
		err = errors.Join(err, printf(w, "keys   written to %s; load them with: set -a; . %s; set +a\n", path, path))
	}
	return err
}

func (s *server) scheme() string {
	if s.cfg.TLSCert != "" {
		return "https"
	}
	return "http"
}

func (s *server) publicHTTP() string {
	return publicURL(s.cfg.PublicURL, s.scheme(), s.http.Address(), hostname())
}

func (s *server) publicNATS() string {
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
