package topic

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/node"
	"github.com/openmnq/mnq/queue"
)

// bundle is an installation without a directory: one node, one namespace, and any
// number of processes with their queues and topics.
type bundle struct {
	t         testing.TB
	dir       string
	fsync     string
	node      *node.Node
	ns        mnq.Namespace
	signing   nkeys.KeyPair
	account   node.Account
	processes []*process
	change    func(*Config)
}

// process is one mnq process on the installation.
type process struct {
	queues *queue.Service
	topics *Service

	mu    turn
	nc    *nats.Conn
	js    jetstream.JetStream
	conns []*nats.Conn // all that were ever made

	deleted bool // the namespace is
}

// turn is a mutex with which virtual time goes on while somebody waits for it: who has
// it may be waiting for a connection.
type turn chan struct{}

// Lock takes the turn.
func (t turn) Lock() { t <- struct{}{} }

// Unlock gives it back.
func (t turn) Unlock() { <-t }

// virtual runs f on virtual time against a fresh installation.
func virtual(t *testing.T, f func(t *testing.T, b *bundle)) {
	t.Helper()
	t.Parallel()
	alone(t, f)
}

// alone is virtual for tests that cannot be parallel.
func alone(t *testing.T, f func(t *testing.T, b *bundle)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		b := newBundle(t, dir)
		defer b.stop()
		f(t, b)
	})
}

func newBundle(t testing.TB, dir string) *bundle {
	t.Helper()
	return newBundleWith(t, dir, node.FsyncInterval)
}

func newBundleWith(t testing.TB, dir string, fsync string) *bundle {
	t.Helper()
	acc, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	signing, err := nkeys.CreateAccount()
	if err != nil {
		t.Fatal(err)
	}
	id, _ := acc.PublicKey()
	pub, _ := signing.PublicKey()
	limits := node.Unlimited()
	limits.Storage = 100 << 20
	b := &bundle{
		t: t, dir: dir, fsync: fsync, signing: signing,
		ns:      mnq.Namespace{ID: id, Name: "n", Protocol: mnq.ProtocolSQSSNS, Region: "fr-par", Quota: mnq.DefaultQuota(mnq.ProtocolSQSSNS)},
		account: node.Account{ID: id, Name: "n", SigningKey: pub, Limits: limits},
	}
	b.start()
	return b
}

func (b *bundle) start() {
	b.t.Helper()
	n, err := node.New(node.Config{DataDir: b.dir, Fsync: b.fsync})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := n.Start(context.Background()); err != nil {
		b.t.Fatal(err)
	}
	if err := n.PushAccount(context.Background(), b.account); err != nil {
		b.t.Fatal(err)
	}
	b.node = n
	b.process()
}

// process adds a process, as another mnq on the same installation would.
func (b *bundle) process() *process {
	b.t.Helper()
	p := &process{mu: make(turn, 1)}
	var err error
	p.queues, err = queue.New(queue.Config{
		Control: b.node.Control(), HandleKey: []byte(strings.Repeat("k", 32)), Connect: p.connect(b), LenientNames: true, GroupCommit: b.fsync == node.FsyncAlways,
	})
	if err != nil {
		b.t.Fatal(err)
	}
	if err := p.queues.Start(context.Background()); err != nil {
		b.t.Fatal(err)
	}
	cfg := Config{
		Control: b.node.Control(), Connect: p.connect(b), Queues: p.queues, Key: [32]byte{1},
		PublicURL: func() string { return "http://mnq.test" },
		Namespace: func(id string) (mnq.Namespace, error) {
			if id != b.ns.ID {
				return mnq.Namespace{}, &mnq.Error{Kind: mnq.NotFound}
			}
			return b.ns, nil
		},
	}
	if b.change != nil {
		b.change(&cfg)
	}
	if p.topics, err = New(cfg); err != nil {
		b.t.Fatal(err)
	}
	if err := p.topics.Start(context.Background()); err != nil {
		b.t.Fatal(err)
	}
	b.processes = append(b.processes, p)
	return p
}

func (p *process) connect(b *bundle) func(context.Context, string) (*nats.Conn, jetstream.JetStream, error) {
	return func(ctx context.Context, id string) (*nats.Conn, jetstream.JetStream, error) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.deleted {
			return nil, nil, &mnq.Error{Kind: mnq.NotFound}
		}
		if p.nc == nil || p.nc.IsClosed() {
			nc, js, err := b.node.Connect(ctx, id, b.signing)
			if err != nil {
				return nil, nil, err
			}
			p.nc, p.js = nc, js
			p.conns = append(p.conns, nc)
		}
		return p.nc, p.js, nil
	}
}

// kill ends a process as if it had died: nothing is finished.
func (p *process) kill(t testing.TB) {
	t.Helper()
	p.mu.Lock()
	for _, c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.end(t)
}

// lose tells the process that its namespace is gone. No connection is left or made
// later: one that the server turns away while it comes back holds its lock for a moment
// of virtual time, which does not pass while Close waits for that lock.
func (p *process) lose() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deleted = true
	for _, c := range p.conns {
		c.Close()
	}
}

func (p *process) end(t testing.TB) {
	t.Helper()
	if err := errors.Join(p.topics.Stop(context.Background()), p.queues.Stop(context.Background())); err != nil {
		t.Error(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
}

func (b *bundle) stop() {
	b.t.Helper()
	for _, p := range b.processes {
		p.end(b.t)
	}
	b.processes = nil
	if err := b.node.Stop(context.Background()); err != nil {
		b.t.Error(err)
	}
}

func (b *bundle) restart() {
	b.t.Helper()
	b.stop()
	b.start()
}

// topic creates a topic on the first process.
func (b *bundle) topic(name string, attrs ...string) *Topic {
	b.t.Helper()
	t, err := b.processes[0].topics.Create(context.Background(), b.ns, NewTopic{Name: name, Attributes: pairs(attrs)})
	if err != nil {
		b.t.Fatal(err)
	}
	return t
}

func pairs(list []string) map[string]string {
	m := map[string]string{}
	for i := 0; i+1 < len(list); i += 2 {
		m[list[i]] = list[i+1]
	}
	return m
}

// queue creates a queue on the first process.
func (b *bundle) queue(name string, attrs ...string) *queue.Queue {
	b.t.Helper()
	q, err := b.processes[0].queues.Create(context.Background(), b.ns, name, pairs(attrs), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return q
}

func (b *bundle) arn(name string) string {
	return "arn:scw:sqs:" + b.ns.Region + ":" + b.ns.Account() + ":" + name
}

// subscribe subscribes a queue.
func (b *bundle) subscribe(t *Topic, queueName string, attrs ...string) Subscription {
	b.t.Helper()
	sub, err := t.Subscribe(context.Background(), b.ns, NewSubscription{
		Protocol: "sqs", Endpoint: b.arn(queueName), Attributes: pairs(attrs), Principal: "arn:scw:iam::x:user/me",
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return sub
}

func (b *bundle) publish(t *Topic, bodies ...string) []string {
	b.t.Helper()
	msgs := make([]Publication, len(bodies))
	for i, body := range bodies {
		msgs[i] = Publication{Message: body, SenderID: "me"}
	}
	var ids []string
	for _, p := range t.Publish(context.Background(), b.ns, msgs) {
		if p.Err != nil {
			b.t.Fatal(p.Err)
		}
		ids = append(ids, p.MessageID)
	}
	return ids
}

func wantError(t *testing.T, err error, kind mnq.Kind, code, text string) {
	t.Helper()
	e, ok := errors.AsType[*mnq.Error](err)
	if !ok || e.Kind != kind || e.Code != code || e.Msg != text {
		t.Errorf("error %v, want %v %s %q", err, kind, code, text)
	}
}

func TestTopics(t *testing.T) {
	t.Parallel()
	t.Run("AreTheSameForAllProcesses", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			other := b.process()
			a := b.topic("a", "DisplayName", "Hello")
			b.topic("b")
			time.Sleep(time.Second)
			got, err := other.topics.Topic(b.ns, "a")
			if err != nil {
				t.Fatal(err)
			}
			if err := got.SetAttribute(t.Context(), b.ns, "DisplayName", "Bye"); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			attrs, err := a.Attributes(t.Context(), b.ns)
			if err != nil || attrs["DisplayName"] != "Bye" || attrs["TopicArn"] != "arn:scw:sns:fr-par:"+b.ns.ID+":a" {
				t.Error(attrs, err)
			}
			if names, more := other.topics.List(b.ns, "", 1); len(names) != 1 || names[0] != "a" || !more {
				t.Error(names, more)
			}
			if names, more := other.topics.List(b.ns, "a", 1); len(names) != 1 || names[0] != "b" || more {
				t.Error(names, more)
			}
		})
	})
	t.Run("AreFoundAgainWhenTheyAreTheSame", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			first := b.topic("a", "DisplayName", "x", "SignatureVersion", "2")
			if again := b.topic("a", "DisplayName", "x"); again != first {
				t.Error("another topic")
			}
			s := b.processes[0].topics
			_, err := s.Create(t.Context(), b.ns, NewTopic{Name: "a", Attributes: pairs([]string{"DisplayName", "y"})})
			wantError(t, err, mnq.Invalid, "InvalidParameter", "Invalid parameter: Attributes Reason: Topic already exists with different attributes")
			_, err = s.Create(t.Context(), b.ns, NewTopic{Name: "a", Tags: map[string]string{"k": "v"}})
			wantError(t, err, mnq.Invalid, "InvalidParameter", "Invalid parameter: Tags Reason: Topic already exists with different tags")
			for _, name := range []string{"", "a b", "a.b", "a.fifo", strings.Repeat("a", 257)} {
				_, err = s.Create(t.Context(), b.ns, NewTopic{Name: name})
				wantError(t, err, mnq.Invalid, "InvalidParameter", "Invalid parameter: Topic Name")
			}
		})
	})
	t.Run("AreMadeByTwoProcessesAtOnce", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			b.process()
			var wg sync.WaitGroup
			var made [2]*Topic
			for i, p := range b.processes {
				wg.Go(func() {
					var err error
					if made[i], err = p.topics.Create(context.Background(), b.ns, NewTopic{Name: "a"}); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if made[0].id != made[1].id {
				t.Error("two topics of one name")
			}
			b.publish(made[0], "x")
			b.publish(made[1], "y")
		})
	})
	t.Run("CountAgainstTheQuota", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			b.ns.Quota.Topics = 1
			b.topic("a")
			_, err := b.processes[0].topics.Create(t.Context(), b.ns, NewTopic{Name: "b"})
			if e, ok := errors.AsType[*mnq.Error](err); !ok || e.Code != "TopicLimitExceeded" {
				t.Error(err)
			}
			if err := b.processes[0].topics.Delete(t.Context(), b.ns, "a"); err != nil {
				t.Fatal(err)
			}
			b.topic("b")
		})
	})
	t.Run("AreDeletedWithWhatBelongsToThem", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			b.queue("q")
			a := b.topic("a")
			b.subscribe(a, "q")
			s := b.processes[0].topics
			for range 2 {
				if err := s.Delete(t.Context(), b.ns, "a"); err != nil {
					t.Fatal(err)
				}
			}
			_, err := s.Topic(b.ns, "a")
			wantError(t, err, mnq.NotFound, "NotFound", "Topic does not exist")
			wantError(t, a.Publish(t.Context(), b.ns, []Publication{{Message: "x"}})[0].Err, mnq.NotFound, "NotFound", "Topic does not exist")
			b.topic("a")
			if subs, _ := s.Subscriptions(b.ns, "", "", 10); len(subs) != 0 {
				t.Error(subs)
			}
			for name := range b.processes[0].js.StreamNames(t.Context()).Name() {
				if name == "t_"+a.id {
					t.Error("the stream is still there")
				}
			}
		})
	})
	t.Run("SurviveARestart", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			b.queue("q")
			b.subscribe(b.topic("a", "DisplayName", "x"), "q", "RawMessageDelivery", "true")
			b.restart()
			s := b.processes[0].topics
			a, err := s.Topic(b.ns, "a")
			if err != nil {
				t.Fatal(err)
			}
			subs, _ := s.Subscriptions(b.ns, "a", "", 10)
			if len(subs) != 1 {
				t.Fatal(subs)
			}
			attrs, err := s.SubscriptionAttributes(t.Context(), b.ns, "a", subs[0].ID)
			if err != nil || attrs["RawMessageDelivery"] != "true" || attrs["Endpoint"] != b.arn("q") || attrs["PendingConfirmation"] != "false" {
				t.Error(attrs, err)
			}
			b.publish(a, "x")
		})
	})
}
