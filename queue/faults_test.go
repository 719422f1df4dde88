package queue

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/node"
)

// plant is a nats-server with processes that reach it over lines which break. It
// has no accounts: control and namespace are one.
type plant struct {
	t   *testing.T
	dir string
	ns  mnq.Namespace

	mu       sync.Mutex
	patience node.Patience // of the processes
	batches  bool

	procs []*process
	srv   *server.Server // nil while it is down
}

// process is a Service and its line to the server.
type process struct {
	p       *plant
	svc     *Service
	nc      *nats.Conn
	control *nats.Conn

	mu   sync.Mutex
	line *line // the one in use
}

// newPlant varies how processes work with the seed: every other three rounds they repeat
// what gets no answer, as in a cluster, and every other round writes go in batches
// whenever they can.
func newPlant(t *testing.T, dir string, processes int, seed uint64) *plant {
	t.Helper()
	p := &plant{t: t, dir: dir, patience: node.PatienceFor(1 + int(seed/3%2)), batches: seed%2 == 1, ns: mnq.Namespace{ID: "ns", Name: "n", Region: "fr-par", Quota: mnq.DefaultQuota(mnq.ProtocolSQSSNS)}}
	p.up()
	for range processes {
		p.procs = append(p.procs, p.process())
	}
	return p
}

// up starts the server.
func (p *plant) up() {
	srv, err := server.NewServer(&server.Options{JetStream: true, StoreDir: p.dir, DontListen: true, NoSigs: true, NoLog: true, MaxPayload: 4 << 20})
	if err != nil {
		p.t.Error(err)
		return
	}
	srv.Start()
	if !srv.ReadyForConnections(time.Minute) {
		p.t.Error("the server does not start")
	}
	p.mu.Lock()
	p.srv = srv
	p.mu.Unlock()
}

// down ends the server.
func (p *plant) down() {
	p.mu.Lock()
	srv := p.srv
	p.srv = nil
	p.mu.Unlock()
	srv.Shutdown()
	srv.WaitForShutdown()
}

func (p *plant) process() *process {
	o := &process{p: p}
	connect := func(server nats.InProcessConnProvider) (*nats.Conn, jetstream.JetStream) {
		nc, err := nats.Connect("", nats.InProcessServer(server), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond),
			nats.ReconnectBufSize(-1), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
		if err != nil {
			p.t.Fatal(err)
		}
		js, err := jetstream.New(nc)
		if err != nil {
			p.t.Fatal(err)
		}
		return nc, js
	}
	var js, control jetstream.JetStream
	o.nc, js = connect(o)
	// Definitions come over a line of their own that only breaks with the server: while
	// nats.go waits for the answer to a watch it holds a lock, and when others wait for a
	// lock virtual time stands still.
	o.control, control = connect(p)
	var err error
	o.svc, err = New(Config{
		Control: control, HandleKey: []byte(strings.Repeat("k", 32)), LenientNames: true, GroupCommit: p.batches,
		Connect: func(context.Context, string) (*nats.Conn, jetstream.JetStream, error) { return o.nc, js, nil },
	})
	if err != nil {
		p.t.Fatal(err)
	}
	o.svc.patience, o.svc.batchAlways = p.patience, p.batches
	if err := o.svc.Start(context.Background()); err != nil {
		p.t.Fatal(err)
	}
	return o
}

// at is a process's Service.
func (p *plant) at(process int) *Service {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.procs[process].svc
}

// replace ends a process after another one has taken its place.
func (p *plant) replace(process int) {
	fresh := p.process()
	p.mu.Lock()
	old := p.procs[process]
	p.procs[process] = fresh
	p.mu.Unlock()
	old.end()
}

func (p *plant) hit(process int, f fault, d time.Duration) {
	p.mu.Lock()
	o := p.procs[process]
	p.mu.Unlock()
	o.hit(f, d)
}

// outage stops the server for a while. Where it might be in the middle of a batch all
// lines break instead: a server that is stopped then leaves goroutines behind, which a
// bubble does not take.
func (p *plant) outage(d time.Duration) {
	if p.batches {
		for i := range p.procs {
			p.hit(i, mute, d)
		}
		time.Sleep(d)
		return
	}
	p.down()
	time.Sleep(d)
	p.up()
}

func (p *plant) stop() {
	for _, o := range p.procs {
		o.end()
	}
	time.Sleep(11 * time.Second) // faults end by themselves, and the server drops batches that broke off
	p.down()
}

func (o *process) end() {
	if err := o.svc.Stop(context.Background()); err != nil {
		o.p.t.Error(err)
	}
	o.nc.Close()
	o.control.Close()
}

// InProcessConn is how nats.go connects, also after the server was down.
func (p *plant) InProcessConn() (net.Conn, error) {
	p.mu.Lock()
	srv := p.srv
	p.mu.Unlock()
	if srv == nil {
		return nil, errors.New("the server is down")
	}
	return srv.InProcessConn()
}

// InProcessConn is how nats.go connects, also after a line broke.
func (o *process) InProcessConn() (net.Conn, error) {
	c, err := o.p.InProcessConn()
	if err != nil {
		return nil, err
	}
	l := newLine(c)
	o.mu.Lock()
	o.line = l
	o.mu.Unlock()
	return l, nil
}

// fault is what happens to a line.
type fault int

const (
	cut   fault = iota // it breaks
	deaf               // what the server says gets lost for a while, then it breaks
	mute               // what the server is told gets lost for a while, then it breaks
	slow               // nothing gets through for a while, then everything does
	tardy              // the server hears late and answers at once
)

func (o *process) hit(f fault, d time.Duration) {
	o.mu.Lock()
	l := o.line
	o.mu.Unlock()
	l.mu.Lock()
	until := time.Now().Add(d)
	switch f {
	case cut:
	case deaf:
		l.deaf = true
	case mute:
		l.mute = true
	case slow:
		l.readAt, l.writeAt = until, until
	case tardy:
		l.writeAt = until
	}
	l.mu.Unlock()
	switch f {
	case cut:
		_ = l.Close()
	case deaf, mute:
		time.AfterFunc(d, func() { _ = l.Close() })
	case slow, tardy:
	}
}

// line is a connection that faults can happen to. It never makes its writer wait:
// nats.go writes under a lock, and virtual time stands still while others wait for that.
type line struct {
	net.Conn
	out  chan []byte
	gone chan struct{}
	once sync.Once

	mu              sync.Mutex
	deaf, mute      bool
	readAt, writeAt time.Time
}

func newLine(c net.Conn) *line {
	l := &line{Conn: c, out: make(chan []byte, 1<<16), gone: make(chan struct{})}
	go l.pump()
	return l
}

func (l *line) Close() error {
	l.once.Do(func() { close(l.gone) })
	return l.Conn.Close()
}

func (l *line) Read(b []byte) (int, error) {
	for {
		n, err := l.Conn.Read(b)
		l.mu.Lock()
		lost, at := l.deaf, l.readAt
		l.mu.Unlock()
		time.Sleep(time.Until(at))
		if err != nil || !lost {
			return n, err
		}
	}
}

func (l *line) Write(b []byte) (int, error) {
	select {
	case <-l.gone:
		return 0, net.ErrClosed
	case l.out <- slices.Clone(b):
		return len(b), nil
	}
}

func (l *line) pump() {
	for {
		select {
		case b := <-l.out:
			l.mu.Lock()
			lost, at := l.mute, l.writeAt
			l.mu.Unlock()
			time.Sleep(time.Until(at))
			if !lost {
				_, _ = l.Conn.Write(b) // an error shows in Read
			}
		case <-l.gone:
			return
		}
	}
}

// A line never gives up by itself.
func (l *line) SetDeadline(time.Time) error      { return nil }
func (l *line) SetReadDeadline(time.Time) error  { return nil }
func (l *line) SetWriteDeadline(time.Time) error { return nil }
