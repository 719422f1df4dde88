package node

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/openmnq/mnq"
)

// startEmbedded runs nats-server in this process, in operator mode, with its
// client port closed.
func (n *Node) startEmbedded() error {
	var err error
	if n.resolver, err = n.newResolver(); err != nil {
		return fmt.Errorf("open the account directory: %w", err)
	}
	opts, err := n.serverOptions()
	if err != nil {
		return err
	}
	if n.cfg.Cluster != nil && n.cfg.Listen != "" {
		n.gate(opts)
	}
	n.srvOptions = opts
	srv, err := server.NewServer(opts)
	if err != nil {
		return fmt.Errorf("configure nats-server: %w", err)
	}
	n.logs = newServerLog(n.log)
	srv.SetLoggerV2(n.logs, false, false, false)
	n.srv = srv
	srv.Start()
	if err := n.logs.fatal(); err != nil {
		return fmt.Errorf("start nats-server: %w", err)
	}
	if !srv.ReadyForConnections(time.Minute) {
		return &mnq.Error{Kind: mnq.Unavailable, Op: "node.Start", Msg: "nats-server did not become ready within a minute"}
	}
	return nil
}

func (n *Node) serverOptions() (*server.Options, error) {
	host, port, err := splitListen(n.cfg.Listen)
	if err != nil {
		return nil, &mnq.Error{Kind: mnq.Invalid, Op: "node.Start", Field: "nats", Msg: "must be host:port", Err: err}
	}
	operator := jwt.NewOperatorClaims(n.keys.operatorID)
	operator.Name = "openmnq"
	operator.SystemAccount = n.keys.systemID
	if _, err := operator.Encode(n.keys.operator); err != nil {
		return nil, fmt.Errorf("sign the operator: %w", err)
	}
	opts := &server.Options{
		ServerName:       "mnq",
		Host:             host,
		Port:             port,
		DontListen:       true, // Listen opens the port when the accounts are in place
		NoSigs:           true,
		NoLog:            true,
		MaxPayload:       MaxPayload,
		MaxControlLine:   4096,
		MaxConn:          64 << 10,
		AuthTimeout:      dialTimeout.Seconds(),
		WriteDeadline:    10 * time.Second,
		TLSConfig:        n.cfg.TLS,
		TLS:              n.cfg.TLS != nil,
		TLSTimeout:       5,
		TrustedOperators: []*jwt.OperatorClaims{operator},
		SystemAccount:    n.keys.systemID,
		AccountResolver:  n.resolver,
		JetStream:        true,
		// The server adds up the storage limits of all accounts and takes no more
		// accounts once they could fill this. Quotas are limits, not reservations:
		// the disk itself is watched instead (see Accepts).
		JetStreamMaxStore: 1 << 60,
		StoreDir:          filepath.Join(n.cfg.DataDir, "nats"),
		SyncAlways:        n.cfg.Fsync == FsyncAlways,
	}
	if n.cfg.Cluster != nil {
		opts.ClientAdvertise = n.cfg.Advertise
		if err := n.cfg.Cluster.apply(opts, n.keys); err != nil {
			return nil, err
		}
	}
	return opts, nil
}

// gate lets the server listen, because a member of a cluster has to tell the others
// its address, but keeps clients out: it waits for a TLS handshake that always fails
// before it says anything, so a client sees a server that does not answer and tries
// again. Listen opens it.
func (n *Node) gate(o *server.Options) {
	o.DontListen = false
	open := *o
	n.open = &open
	o.TLSHandshakeFirst, o.TLSTimeout = true, 0.25
	o.TLSConfig = &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return nil, errors.New("starting")
		},
	}
}

// openGate takes clients from now on.
func (n *Node) openGate() error {
	if err := n.srv.ReloadOptions(n.open); err != nil {
		return fmt.Errorf("open the client port: %w", err)
	}
	return nil
}

// newResolver keeps account JWTs on disk. The two accounts of our own are written
// anew at each start, because the resolver's files may be damaged by a power cut
// (they are neither replaced atomically nor synced); all others are pushed again
// by the directory.
func (n *Node) newResolver() (*server.DirAccResolver, error) {
	dir := filepath.Join(n.cfg.DataDir, "accounts")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	sysSigning, err := n.keys.system.PublicKey()
	if err != nil {
		return nil, err
	}
	system := Account{ID: n.keys.systemID, Name: "mnq-system", SigningKey: sysSigning, Limits: Limits{
		Payload: -1, Connections: -1, Subscriptions: -1, // and no JetStream
	}}
	own := []Account{system, n.keys.controlAccount()}
	for _, a := range own { // before the resolver reads the directory: it keeps what it knows
		if err := os.Remove(filepath.Join(dir, a.ID+".jwt")); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	var opts []server.DirResOption
	if n.cfg.Cluster == nil {
		// Who names an account that is not here would wait until all others have been asked.
		opts = append(opts, server.FetchTimeout(time.Millisecond))
	}
	res, err := server.NewDirAccResolver(dir, 0, time.Minute, server.HardDelete, opts...)
	if err != nil {
		return nil, err
	}
	for _, a := range own {
		token, err := n.accountJWT(a)
		if err != nil {
			return nil, err
		}
		if err := res.Store(a.ID, token); err != nil {
			return nil, err
		}
	}
	return res, nil
}

func splitListen(listen string) (host string, port int, err error) {
	if listen == "" {
		return "127.0.0.1", -1, nil
	}
	host, p, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, err
	}
	port, err = strconv.Atoi(p)
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("port %q is not a number from 0 to 65535", p)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}
