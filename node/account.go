package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/openmnq/mnq"
)

// Limits are the limits of an account. A negative number is unlimited, zero is
// none at all.
type Limits struct {
	Storage       int64 // bytes of file storage
	Streams       int64
	Consumers     int64 // counted per stream by the server
	Payload       int64 // bytes of one message
	Connections   int64
	Subscriptions int64
	MaxAckPending int64 // of one consumer
}

// Unlimited returns limits that bound nothing.
func Unlimited() Limits { return Limits{-1, -1, -1, -1, -1, -1, -1} }

// normal returns the limits as servers understand them: -1 is unlimited there,
// and any other negative number allows nothing.
func (l Limits) normal() Limits {
	u := func(v int64) int64 { return max(v, -1) }
	return Limits{
		Storage: u(l.Storage), Streams: u(l.Streams), Consumers: u(l.Consumers), Payload: u(l.Payload),
		Connections: u(l.Connections), Subscriptions: u(l.Subscriptions), MaxAckPending: u(l.MaxAckPending),
	}
}

// Account is what NATS servers are told about an account.
type Account struct {
	ID         string           // public nkey, "A…"
	Name       string           // for humans
	SigningKey string           // public nkey of the key that signs the account's users
	Limits     Limits           //
	Revoked    map[string]int64 // user public nkey → JWTs issued until then (unix seconds) are refused
}

// accountJWT signs what servers know about an account: no imports, no exports,
// no leaf nodes, no memory streams, no bearer tokens.
func (n *Node) accountJWT(a Account) (string, error) {
	c := jwt.NewAccountClaims(a.ID)
	c.Name = a.Name
	if a.SigningKey != a.ID {
		c.SigningKeys.Add(a.SigningKey)
	}
	l := a.Limits.normal()
	c.Limits.NatsLimits = jwt.NatsLimits{Subs: l.Subscriptions, Data: -1, Payload: l.Payload}
	c.Limits.AccountLimits = jwt.AccountLimits{
		Imports: 0, Exports: 0, WildcardExports: false, DisallowBearer: true,
		Conn: l.Connections, LeafNodeConn: 0,
	}
	c.Limits.JetStreamLimits = jwt.JetStreamLimits{
		MemoryStorage: 0, DiskStorage: l.Storage, Streams: l.Streams,
		Consumer: l.Consumers, MaxAckPending: l.MaxAckPending,
	}
	for user, until := range a.Revoked {
		c.RevokeAt(user, time.Unix(until, 0))
	}
	return c.Encode(n.keys.operator)
}

// DeleteAccount cuts every connection to the account, removes its streams and
// what is on disk, and then the account itself. It may be repeated after a
// failure, and for an account that is already gone.
func (n *Node) DeleteAccount(ctx context.Context, id string) error {
	// A signing key that nobody holds cuts every user there is, gateways too.
	signing, err := nkeys.CreateAccount()
	if err != nil {
		return err
	}
	pub, err := signing.PublicKey()
	if err != nil {
		return err
	}
	if err := n.PushAccount(ctx, Account{ID: id, Name: "deleting", SigningKey: pub, Limits: Unlimited()}); err != nil {
		return err
	}
	if err := n.removeStreams(ctx, id, signing); err != nil {
		return fmt.Errorf("remove the streams of %s: %w", id, err)
	}
	req := jwt.NewGenericClaims(n.keys.operatorID)
	req.Data["accounts"] = []string{id}
	token, err := req.Encode(n.keys.operator)
	if err != nil {
		return err
	}
	if err := n.claims(ctx, "$SYS.REQ.CLAIMS.DELETE", []byte(token)); err != nil && n.srv != nil {
		return err
	} else if err != nil {
		// A cluster may forbid deletion (allow_delete: false); the account is
		// empty and nobody can sign for it.
		n.log.WarnContext(ctx, "account left behind", "account", id, "error", err)
	}
	if n.srv == nil {
		return nil
	}
	return os.RemoveAll(n.accountDir(id))
}

// ForgetAccount removes what is left on this process's disk of an account that another
// process has deleted. A stream that the server has not removed yet is left to it.
func (n *Node) ForgetAccount(id string) error {
	if n.srv == nil {
		return nil
	}
	if left, err := os.ReadDir(filepath.Join(n.accountDir(id), "streams")); err == nil && len(left) > 0 {
		return nil
	}
	return os.RemoveAll(n.accountDir(id))
}

// removeStreams deletes all streams of an account. A connection may be cut along
// with those that the account's change cuts, and then a request gets no answer: so
// each try is short, and on a connection of its own.
func (n *Node) removeStreams(ctx context.Context, id string, signing nkeys.KeyPair) (err error) {
	for range 5 {
		try, cancel := context.WithTimeout(ctx, 3*time.Second)
		err = n.removeStreamsOnce(try, id, signing)
		cancel()
		if err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

func (n *Node) removeStreamsOnce(ctx context.Context, id string, signing nkeys.KeyPair) error {
	nc, js, err := n.Connect(ctx, id, signing)
	if err != nil {
		return err
	}
	defer nc.Close()
	list := js.StreamNames(ctx)
	var names []string
	for name := range list.Name() {
		names = append(names, name)
	}
	if err := list.Err(); err != nil && !errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		return err
	}
	for _, name := range names {
		if err := js.DeleteStream(ctx, name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return err
		}
	}
	return nil
}

// Connect opens a connection to the account as a user of our own, signed by the
// account's signing key. It reconnects by itself until closed; calls made while
// it is down fail at once.
func (n *Node) Connect(ctx context.Context, accountID string, signing nkeys.KeyPair) (*nats.Conn, jetstream.JetStream, error) {
	user, err := nkeys.CreateUser()
	if err != nil {
		return nil, nil, err
	}
	pub, err := user.PublicKey()
	if err != nil {
		return nil, nil, err
	}
	claims := jwt.NewUserClaims(pub)
	claims.Name = "mnq"
	if issuer, err := signing.PublicKey(); err != nil {
		return nil, nil, err
	} else if issuer != accountID {
		claims.IssuerAccount = accountID
	}
	token, err := claims.Encode(signing)
	if err != nil {
		return nil, nil, err
	}
	nc, err := n.dialAgain(ctx, nats.UserJWT(
		func() (string, error) { return token, nil },
		user.Sign,
	), nats.Name("mnq"))
	if err != nil {
		return nil, nil, &mnq.Error{Kind: mnq.Unavailable, Op: "node.Connect", Resource: accountID, Err: err}
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, nil, err
	}
	if err := ctx.Err(); err != nil {
		nc.Close()
		return nil, nil, err
	}
	return nc, js, nil
}

func (n *Node) connectSystem(ctx context.Context) (*nats.Conn, error) {
	if n.cfg.External != nil {
		return n.dial(nats.UserCredentials(n.cfg.External.SystemCredsFile), nats.Name("mnq-system"))
	}
	nc, _, err := n.Connect(ctx, n.keys.systemID, n.keys.system)
	return nc, err
}

// dialAgain dials up to twice: while an account is being changed the server
// may cut a connection that has only just been made, and a busy machine may be too
// slow for one handshake.
func (n *Node) dialAgain(ctx context.Context, opts ...nats.Option) (nc *nats.Conn, err error) {
	for try := range 2 {
		if nc, err = n.dial(opts...); err == nil {
			return nc, nil
		}
		select {
		case <-time.After(50 * time.Millisecond << try):
		case <-ctx.Done():
			return nil, err
		}
	}
	return nil, err
}

func (n *Node) dial(opts ...nats.Option) (*nats.Conn, error) {
	opts = append(opts,
		nats.Timeout(dialTimeout),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250*time.Millisecond),
		nats.ReconnectBufSize(-1), // a write that cannot be sent is an error, not a promise
		nats.IgnoreAuthErrorAbort(),
		nats.ErrorHandler(func(_ *nats.Conn, s *nats.Subscription, err error) {
			subject := ""
			if s != nil {
				subject = s.Subject
			}
			n.log.Warn("nats connection", "error", err, "subject", subject)
		}),
	)
	if n.srv != nil {
		return nats.Connect("", append(opts, nats.InProcessServer(n.srv))...)
	}
	if n.cfg.External.TLS != nil {
		opts = append(opts, nats.Secure(n.cfg.External.TLS))
	}
	return nats.Connect(n.cfg.External.URL, opts...)
}
