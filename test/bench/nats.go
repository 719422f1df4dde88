package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"
)

// stock is a nats-server of the version that mnq is built with, which stands beside.
type stock struct {
	url string
	cmd *exec.Cmd
	dir string
}

// stockBinary is where scripts/bench builds it.
const stockBinary = ".tmp/nats-server"

func startStock(ctx context.Context) (*stock, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	if err := l.Close(); err != nil {
		return nil, err
	}
	n := &stock{url: "nats://127.0.0.1:" + port}
	if n.dir, err = os.MkdirTemp("", "mnq-bench-"); err != nil {
		return nil, err
	}
	n.cmd = exec.CommandContext(ctx, stockBinary, "-a", "127.0.0.1", "-p", port, "-js", "-sd", filepath.Join(n.dir, "js"), "-l", filepath.Join(n.dir, "log"))
	if err := n.cmd.Start(); err != nil {
		return nil, err
	}
	for ctx.Err() == nil {
		if nc, err := nats.Connect(n.url); err == nil {
			nc.Close()
			return n, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil, errors.Join(ctx.Err(), n.stop())
}

func (n *stock) stop() error {
	return errors.Join(n.cmd.Process.Signal(syscall.SIGTERM), n.cmd.Wait(), os.RemoveAll(n.dir))
}

const (
	natsMessages = 200_000 // published without answer
	natsAnswered = 20_000  // requests, and messages of a stream
	natsClients  = 16
	natsTurns    = 5
)

// natsWork is what is done on a connection to either server. Each returns how many
// messages a second.
var natsWork = []struct {
	name string
	do   func(ctx context.Context, nc *nats.Conn, turn int) (float64, error)
}{
	{"publish", natsPublish}, {"request", natsRequest}, {"stream publish", natsStream}, {"stream consume", natsConsume},
}

// beside does the same work on a NATS namespace and on a stock server, in turns.
func beside(s *server) error {
	op, err := s.operator()
	if err != nil {
		return err
	}
	ns, err := op.namespace(s.ctx, "nats", "nats")
	if err != nil {
		return err
	}
	creds := filepath.Join(s.dir, "bench.creds")
	if err := os.WriteFile(creds, []byte(ns.NATS.Content), 0o600); err != nil {
		return err
	}
	other, err := startStock(s.ctx)
	if err != nil {
		return err
	}
	ours, err := nats.Connect(ns.Endpoint, nats.UserCredentials(creds))
	if err != nil {
		return errors.Join(err, other.stop())
	}
	defer ours.Close()
	theirs, err := nats.Connect(other.url)
	if err != nil {
		return errors.Join(err, other.stop())
	}
	defer theirs.Close()
	for _, w := range natsWork {
		var mine, stock, ratio []float64
		for turn := range natsTurns {
			pair := [2]float64{}
			for i := range pair { // who is first changes
				at := (i + turn) % 2
				if pair[at], err = w.do(s.ctx, []*nats.Conn{ours, theirs}[at], turn); err != nil {
					return errors.Join(fmt.Errorf("%s: %w", w.name, err), other.stop())
				}
			}
			mine, stock, ratio = append(mine, pair[0]), append(stock, pair[1]), append(ratio, pair[0]/pair[1])
		}
		for _, list := range [][]float64{mine, stock, ratio} {
			slices.Sort(list)
		}
		if _, err := fmt.Printf("NATS %-16s mnq %.0f/s, stock %.0f/s: ratio %.2f, median of %d\n", w.name, mine[natsTurns/2], stock[natsTurns/2], ratio[natsTurns/2], natsTurns); err != nil {
			return err
		}
	}
	return other.stop()
}

// natsPublish counts what reaches a subscriber.
func natsPublish(ctx context.Context, nc *nats.Conn, _ int) (float64, error) {
	got, done := 0, make(chan struct{})
	sub, err := nc.Subscribe("bench.publish", func(*nats.Msg) {
		if got++; got == natsMessages {
			close(done)
		}
	})
	if err != nil {
		return 0, err
	}
	if err := errors.Join(sub.SetPendingLimits(-1, -1), nc.Flush()); err != nil {
		return 0, err
	}
	begun := time.Now()
	for range natsMessages {
		if err := nc.Publish("bench.publish", []byte(kibibyte)); err != nil {
			return 0, err
		}
	}
	select {
	case <-done:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	return natsMessages / time.Since(begun).Seconds(), sub.Unsubscribe()
}

func natsRequest(ctx context.Context, nc *nats.Conn, _ int) (float64, error) {
	sub, err := nc.Subscribe("bench.request", func(m *nats.Msg) { _ = m.Respond(m.Data) }) // who asks sees that
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	var all errgroup.Group
	for range natsClients {
		all.Go(func() error {
			for range natsAnswered / natsClients {
				if _, err := nc.RequestWithContext(ctx, "bench.request", []byte(kibibyte)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		return 0, err
	}
	return natsAnswered / time.Since(begun).Seconds(), sub.Unsubscribe()
}

// natsStream publishes to a new stream, 16 at a time, each confirmed.
func natsStream(ctx context.Context, nc *nats.Conn, turn int) (float64, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return 0, err
	}
	name := fmt.Sprintf("bench%d", turn)
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{name}, MaxBytes: 256 << 20}); err != nil {
		return 0, err
	}
	begun := time.Now()
	var all errgroup.Group
	for range natsClients {
		all.Go(func() error {
			for range natsAnswered / natsClients {
				if _, err := js.Publish(ctx, name, []byte(kibibyte)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err = all.Wait()
	return natsAnswered / time.Since(begun).Seconds(), err
}

// natsConsume takes what natsStream published, each acknowledged, and removes the stream.
func natsConsume(ctx context.Context, nc *nats.Conn, turn int) (float64, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return 0, err
	}
	name := fmt.Sprintf("bench%d", turn)
	c, err := js.CreateConsumer(ctx, name, jetstream.ConsumerConfig{Durable: "c", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	for n := 0; n < natsAnswered; {
		batch, err := c.Fetch(min(1000, natsAnswered-n))
		if err != nil {
			return 0, err
		}
		for m := range batch.Messages() {
			if n++; n == natsAnswered {
				err = m.DoubleAck(ctx)
			} else {
				err = m.Ack()
			}
			if err != nil {
				return 0, err
			}
		}
		if err := batch.Error(); err != nil && !strings.Contains(err.Error(), "timeout") {
			return 0, err
		}
	}
	took := time.Since(begun)
	return natsAnswered / took.Seconds(), js.DeleteStream(ctx, name)
}
