package queue

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/node"
)

// sendAtOnce sends one message from each of n callers at the same time.
func sendAtOnce(t *testing.T, q *Queue, n int, body func(i int) string) []SendResult {
	t.Helper()
	out := make([]SendResult, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { out[i] = q.Send(context.Background(), []Send{{Body: body(i)}})[0] })
	}
	all.Wait()
	return out
}

func TestConcurrentSendsGoTogether(t *testing.T) { //nolint:paralleltest // virtual does it
	virtual(t, func(t *testing.T, b *bundle) {
		q := b.create("together", nil)
		const n = 600
		for i, r := range sendAtOnce(t, q, n, func(i int) string { return fmt.Sprintf("body %d", i) }) {
			if r.Err != nil {
				t.Fatalf("send %d: %v", i, r.Err)
			}
		}
		seen := map[string]int{}
		for len(seen) < n {
			got, err := q.Receive(context.Background(), Receive{Max: 10, Visibility: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			if len(got) == 0 {
				t.Fatalf("%d of %d messages", len(seen), n)
			}
			for _, m := range got {
				if seen[m.Body]++; seen[m.Body] > 1 {
					t.Fatalf("%q twice", m.Body)
				}
			}
		}
	})
}

// A batch is refused as a whole, but each caller gets the answer to its own
// message: here the account is full in the middle of them.
func TestFullAccountRefusesOnlyWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	for _, limit := range []int64{1 << 20, 40 << 20} { // with and without batches before
		t.Run(fmt.Sprintf("%d bytes", limit), func(t *testing.T) {
			virtual(t, func(t *testing.T, b *bundle) {
				b.account.Limits.Storage = limit
				if err := b.node.PushAccount(context.Background(), b.account); err != nil {
					t.Fatal(err)
				}
				q := b.create("full", nil)
				const n = 200
				filler := string(make([]byte, limit/n*5/4))
				stored, refused := 0, 0
				for _, r := range sendAtOnce(t, q, n, func(int) string { return filler }) {
					switch {
					case r.Err == nil:
						stored++
					case mnq.KindOf(r.Err) == mnq.QuotaExceeded:
						refused++
					default:
						t.Fatal(r.Err)
					}
				}
				c, err := q.Counts(context.Background())
				if err != nil {
					t.Fatal(err)
				}
				// What the consumer has not heard of yet counts as delayed for a moment.
				if counted := c.Visible + c.Delayed; stored == 0 || refused == 0 || counted != int64(stored) {
					t.Fatalf("%d stored, %d refused, %d counted", stored, refused, counted)
				}
			})
		})
	}
}

// BenchmarkSend sends 1 KiB messages with every write synced to disk.
func BenchmarkSend(b *testing.B) {
	for _, together := range []bool{false, true} {
		for _, callers := range []int{1, 4, 16, 64, 256} {
			b.Run(fmt.Sprintf("callers=%d/group=%t", callers, together), func(b *testing.B) {
				q := syncedQueue(b, together, false)
				body := string(make([]byte, 1024))
				work := make(chan struct{}, callers)
				var all sync.WaitGroup
				b.ResetTimer()
				for range callers {
					all.Go(func() {
						for range work {
							if r := q.Send(context.Background(), []Send{{Body: body}})[0]; r.Err != nil {
								b.Error(r.Err)
							}
						}
					})
				}
				for range b.N {
					work <- struct{}{}
				}
				close(work)
				all.Wait()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
			})
		}
	}
}

// syncedQueue is a queue on a server of its own that syncs every write.
func syncedQueue(b *testing.B, together, fifo bool) *Queue {
	b.Helper()
	n, err := node.New(node.Config{DataDir: b.TempDir(), Fsync: node.FsyncAlways})
	if err != nil {
		b.Fatal(err)
	}
	if err := n.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	acc, _ := nkeys.CreateAccount()
	id, _ := acc.PublicKey()
	if err := n.PushAccount(b.Context(), node.Account{ID: id, Name: "n", SigningKey: id, Limits: node.Unlimited()}); err != nil {
		b.Fatal(err)
	}
	nc, js, err := n.Connect(b.Context(), id, acc)
	if err != nil {
		b.Fatal(err)
	}
	s, err := New(Config{
		Control: n.Control(), HandleKey: make([]byte, 32), GroupCommit: together,
		Connect: func(context.Context, string) (*nats.Conn, jetstream.JetStream, error) { return nc, js, nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = s.Stop(context.Background())
		nc.Close()
		_ = n.Stop(context.Background())
	})
	quota := mnq.Quota{StorageBytes: -1, MessageBytes: 1 << 20, Queues: -1}
	name, attrs := "q", map[string]string{}
	if fifo {
		name, attrs = "q.fifo", map[string]string{"FifoQueue": "true"}
	}
	q, err := s.Create(b.Context(), mnq.Namespace{ID: id, Region: "fr-par", Quota: quota}, name, attrs, nil)
	if err != nil {
		b.Fatal(err)
	}
	return q
}
