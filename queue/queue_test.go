package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/bubble"
	"github.com/openmnq/mnq/node"
)

func TestMain(m *testing.M) {
	bubble.Main(m)
}

// bundle is an installation without a directory: one node, one namespace, and
// any number of services that stand for processes.
type bundle struct {
	t        *testing.T
	dir      string
	node     *node.Node
	ns       mnq.Namespace
	signing  nkeys.KeyPair
	account  node.Account
	services []*Service
	conns    []*nats.Conn // all that were ever made
	change   func(*Config)

	mu sync.Mutex // for conns
}

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
		defer time.Sleep(time.Second) // loops of the server's that flush what it has dropped end by themselves
		defer b.stop()
		f(t, b)
	})
}

func newBundle(t *testing.T, dir string) *bundle {
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
		t: t, dir: dir, signing: signing,
		ns:      mnq.Namespace{ID: id, Name: "n", Protocol: mnq.ProtocolSQSSNS, Region: "fr-par", Quota: mnq.DefaultQuota(mnq.ProtocolSQSSNS)},
		account: node.Account{ID: id, Name: "n", SigningKey: pub, Limits: limits},
	}
	b.start()
	return b
}

func (b *bundle) start() {
	b.t.Helper()
	n, err := node.New(node.Config{DataDir: b.dir, Fsync: node.FsyncInterval})
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

// process adds a service, as another mnq process on the same installation would.
func (b *bundle) process() *Service {
	b.t.Helper()
	var nc *nats.Conn
	var js jetstream.JetStream
	cfg := Config{
		Control: b.node.Control(), HandleKey: []byte(strings.Repeat("k", 32)), GroupCommit: true,
		Connect: func(ctx context.Context, id string) (*nats.Conn, jetstream.JetStream, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			if nc == nil {
				var err error
				if nc, js, err = b.node.Connect(ctx, id, b.signing); err != nil {
					return nil, nil, err
				}
				b.conns = append(b.conns, nc)
			}
			return nc, js, nil
		},
	}
	if b.change != nil {
		b.change(&cfg)
	}
	s, err := New(cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := s.Start(context.Background()); err != nil {
		b.t.Fatal(err)
	}
	b.services = append(b.services, s)
	return s
}

func (b *bundle) stop() {
	b.t.Helper()
	for _, s := range b.services {
		if err := s.Stop(context.Background()); err != nil {
			b.t.Error(err)
		}
	}
	for _, c := range b.conns {
		c.Close()
	}
	b.services, b.conns = nil, nil
	if err := b.node.Stop(context.Background()); err != nil {
		b.t.Error(err)
	}
}

func (b *bundle) restart() {
	b.t.Helper()
	b.stop()
	b.start()
}

func (b *bundle) create(name string, attrs map[string]string) *Queue {
	b.t.Helper()
	q, err := b.services[0].Create(context.Background(), b.ns, name, attrs, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	return q
}

func (b *bundle) queue(i int, name string) *Queue {
	b.t.Helper()
	q, err := b.services[i].Queue(b.ns, name)
	if err != nil {
		b.t.Fatal(err)
	}
	return q
}

func send(t *testing.T, q *Queue, bodies ...string) []string {
	t.Helper()
	msgs := make([]Send, len(bodies))
	for i, body := range bodies {
		msgs[i] = Send{Body: body, SenderID: "me"}
	}
	var ids []string
	for _, r := range q.Send(context.Background(), msgs) {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		ids = append(ids, r.MessageID)
	}
	return ids
}

func receive(t *testing.T, q *Queue, in Receive) []Message {
	t.Helper()
	got, err := q.Receive(context.Background(), in)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// now takes up to ten messages at once with the queue's own visibility timeout.
var now = Receive{Max: 10, Visibility: -1}

func bodies(ms []Message) []string {
	out := []string{}
	for _, m := range ms {
		out = append(out, m.Body)
	}
	return out
}

func wantBodies(t *testing.T, got []Message, want ...string) {
	t.Helper()
	if g := bodies(got); !slices.Equal(g, want) {
		t.Fatalf("got %q, want %q", g, want)
	}
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	if e, ok := errors.AsType[*mnq.Error](err); !ok || e.Code != code {
		t.Fatalf("got %v, want %s", err, code)
	}
}

func remove(t *testing.T, q *Queue, ms ...Message) {
	t.Helper()
	for _, m := range ms {
		if err := q.DeleteMessages(context.Background(), []string{m.Handle})[0]; err != nil {
			t.Fatal(err)
		}
	}
}

func wantCounts(t *testing.T, q *Queue, want Counts) {
	t.Helper()
	got, err := q.Counts(context.Background())
	got.Oldest, got.Groups = time.Time{}, 0
	if err != nil || got != want {
		t.Fatalf("got %+v, %v, want %+v", got, err, want)
	}
}

func TestMessageLife(t *testing.T) {
	t.Parallel()

	t.Run("ComesBackAsItWasSent", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", nil)
			in := Send{
				Body: "héllo", SenderID: "me", TraceHeader: "Root=1", GroupID: "g",
				Attributes: []Attribute{{"a", "String.x", []byte("1")}, {"b", "Binary", []byte{0, 255}}},
			}
			sent := q.Send(t.Context(), []Send{in})[0]
			if sent.Err != nil {
				t.Fatal(sent.Err)
			}
			start := time.Now()
			m := receive(t, q, now)[0]
			if m.ID != sent.MessageID || m.Body != in.Body || m.SenderID != "me" || m.TraceHeader != "Root=1" || m.GroupID != "g" ||
				m.ReceiveCount != 1 || !m.FirstReceived.Equal(start) || m.BodyMD5 != "2b9cd6ac1cbd2b98ebaea1b7e9a7e1f4" && len(m.BodyMD5) != 32 {
				t.Fatalf("%+v", m)
			}
			if fmt.Sprint(m.Attributes) != fmt.Sprint(in.Attributes) {
				t.Fatalf("attributes %v", m.Attributes)
			}
		})
	})

	t.Run("IsHiddenUntilTheVisibilityTimeoutAndCountsReceives", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", map[string]string{"VisibilityTimeout": "43200"})
			send(t, q, "a")
			first := time.Now()
			wantBodies(t, receive(t, q, now), "a")
			wantCounts(t, q, Counts{InFlight: 1})
			time.Sleep(12*time.Hour - time.Second)
			wantBodies(t, receive(t, q, now))
			time.Sleep(2 * time.Second)
			wantCounts(t, q, Counts{Visible: 1})
			m := receive(t, q, now)[0]
			if m.ReceiveCount != 2 || !m.FirstReceived.Equal(first) {
				t.Fatalf("count %d, first received %v after the send", m.ReceiveCount, m.FirstReceived.Sub(first))
			}
		})
	})

	t.Run("DeletedStaysAwayAndDeletingAgainSucceeds", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", map[string]string{"VisibilityTimeout": "5"})
			send(t, q, "a", "b")
			ms := receive(t, q, now)
			remove(t, q, ms[0], ms[0])
			time.Sleep(6 * time.Second)
			wantBodies(t, receive(t, q, now), "b")
			remove(t, q, ms[1]) // an older handle of a message that is out again
			time.Sleep(6 * time.Second)
			wantBodies(t, receive(t, q, now))
			wantCounts(t, q, Counts{})
		})
	})

	t.Run("DelayedIsInvisibleUntilItsTime", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", map[string]string{"DelaySeconds": "900"})
			delay := 10 * time.Second
			for _, r := range q.Send(t.Context(), []Send{{Body: "soon", Delay: &delay}, {Body: "late"}, {Body: "now", Delay: new(time.Duration)}}) {
				if r.Err != nil {
					t.Fatal(r.Err)
				}
			}
			wantCounts(t, q, Counts{Visible: 1, Delayed: 2})
			wantBodies(t, receive(t, q, now), "now")
			time.Sleep(9 * time.Second)
			wantBodies(t, receive(t, q, now))
			time.Sleep(1500 * time.Millisecond)
			wantBodies(t, receive(t, q, now), "soon")
			time.Sleep(15 * time.Minute)
			got := bodies(receive(t, q, now))
			if !slices.Contains(got, "late") {
				t.Fatalf("after 15 minutes: %q", got)
			}
		})
	})

	t.Run("SurvivesARestartWithItsDeadline", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", map[string]string{"VisibilityTimeout": "600"})
			send(t, q, "hidden")
			time.Sleep(time.Minute) // older than ackWait, which is what a naive lease would forget
			hidden := receive(t, q, now)
			wantBodies(t, hidden, "hidden")
			send(t, q, "waiting")
			time.Sleep(time.Second) // the server writes consumer state ten times a second
			b.restart()
			q = b.queue(0, "q")
			wantBodies(t, receive(t, q, now), "waiting")
			remove(t, q, hidden[0]) // a handle of before the restart
			time.Sleep(10*time.Minute + time.Second)
			wantBodies(t, receive(t, q, now), "waiting")
		})
	})
}

// Not parallel: the server's clock for message ages is one for the process.
func TestRetention(t *testing.T) { //nolint:paralleltest // see above
	alone(t, func(t *testing.T, b *bundle) {
		bubble.Expire(t)
		q := b.create("q", map[string]string{"MessageRetentionPeriod": "345600", "VisibilityTimeout": "1"})
		send(t, q, "a")
		time.Sleep(95 * time.Hour)
		send(t, q, "b")
		wantBodies(t, receive(t, q, now), "a", "b")
		time.Sleep(61 * time.Minute)
		wantBodies(t, receive(t, q, now), "b")
		if err := q.SetAttributes(t.Context(), b.ns, map[string]string{"MessageRetentionPeriod": "3600"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		wantBodies(t, receive(t, q, now))
		wantCounts(t, q, Counts{})
		send(t, q, "c")
		time.Sleep(59 * time.Minute)
		wantBodies(t, receive(t, q, now), "c")
		time.Sleep(2 * time.Minute)
		wantBodies(t, receive(t, q, now))
	})
}

func TestVisibility(t *testing.T) {
	t.Parallel()

	change := func(t *testing.T, q *Queue, m Message, d time.Duration) {
		t.Helper()
		if err := q.ChangeVisibility(t.Context(), []Visibility{{m.Handle, d}})[0]; err != nil {
			t.Fatal(err)
		}
	}

	t.Run("ZeroIsVisibleAtOnce", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", nil)
			send(t, q, "a")
			change(t, q, receive(t, q, now)[0], 0)
			wantCounts(t, q, Counts{Visible: 1})
			wantBodies(t, receive(t, q, now), "a")
		})
	})

	t.Run("LastChangeCountsFromNow", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", nil)
			send(t, q, "a")
			m := receive(t, q, now)[0]
			change(t, q, m, time.Hour)
			change(t, q, m, time.Minute)
			time.Sleep(59 * time.Second)
			wantBodies(t, receive(t, q, now))
			time.Sleep(2 * time.Second)
			wantBodies(t, receive(t, q, now), "a")
		})
	})

	t.Run("HidesAMessageThatIsVisibleAgain", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", map[string]string{"VisibilityTimeout": "1"})
			send(t, q, "a")
			m := receive(t, q, now)[0]
			time.Sleep(2 * time.Second)
			change(t, q, m, time.Minute)
			wantBodies(t, receive(t, q, now))
		})
	})

	t.Run("OfADeletedMessageIsRefused", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", nil)
			send(t, q, "a")
			m := receive(t, q, now)[0]
			remove(t, q, m)
			wantCode(t, q.ChangeVisibility(t.Context(), []Visibility{{m.Handle, 0}})[0], "InvalidParameterValue")
		})
	})

	t.Run("PerReceiveOverridesTheQueueAndZeroLeavesItVisible", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", nil)
			send(t, q, "a")
			for want := 1; want <= 3; want++ {
				m := receive(t, q, Receive{Max: 1, Visibility: 0})
				if len(m) != 1 || m[0].ReceiveCount != want {
					t.Fatalf("receive %d: %+v", want, m)
				}
			}
			receive(t, q, Receive{Max: 1, Visibility: time.Hour})
			time.Sleep(59 * time.Minute)
			wantBodies(t, receive(t, q, now))
		})
	})
}

func TestLongPoll(t *testing.T) {
	t.Parallel()
	long := Receive{Max: 10, Wait: 20 * time.Second, Visibility: -1}

	t.Run("EndsExactlyAtTheWait", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", nil)
			start := time.Now()
			wantBodies(t, receive(t, q, long))
			if d := time.Since(start); d != long.Wait {
				t.Fatalf("ended after %v", d)
			}
		})
	})

	t.Run("AnswersWhenSomethingBecomesVisible", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", map[string]string{"VisibilityTimeout": "7"})
			other := b.process()
			second, err := other.Queue(b.ns, "q")
			if err != nil {
				t.Fatal(err)
			}
			expect := func(what string, after time.Duration, cause func()) []Message {
				t.Helper()
				start := time.Now()
				if cause != nil {
					time.AfterFunc(after, cause)
				}
				got := receive(t, q, long)
				d := time.Since(start)
				if len(got) != 1 || d < after || d > after+300*time.Millisecond {
					t.Fatalf("%s: %q after %v, want one message after %v", what, bodies(got), d, after)
				}
				return got
			}
			expect("send by another process", 3*time.Second, func() { send(t, second, "a") })
			m := expect("end of the visibility timeout", 7*time.Second, nil)
			expect("visibility set to 0", 2*time.Second, func() {
				if err := second.ChangeVisibility(context.Background(), []Visibility{{m[0].Handle, 0}})[0]; err != nil {
					t.Error(err)
				}
			})
			time.Sleep(time.Second)
			m = expect("end of the second timeout", 6*time.Second, nil)
			remove(t, q, m...)
			delay := 5 * time.Second
			if r := q.Send(t.Context(), []Send{{Body: "later", Delay: &delay}}); r[0].Err != nil {
				t.Fatal(r[0].Err)
			}
			expect("end of a delay", delay, nil)
		})
	})

	t.Run("VanishedClientSwallowsNothing", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", nil)
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Second, cancel)
			if _, err := q.Receive(ctx, long); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
			send(t, q, "a") // answers the request that still stands at the server
			synctest.Wait()
			start := time.Now()
			wantBodies(t, receive(t, q, long), "a")
			if d := time.Since(start); d > time.Second {
				t.Fatalf("came after %v", d)
			}
		})
	})

	t.Run("NextReceiverTakesOverTheStandingRequest", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", nil)
			for range 3 * maxPulls {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
				if _, err := q.Receive(ctx, long); err == nil {
					t.Fatal("a receive without messages ended before its client")
				}
				cancel()
			}
			time.AfterFunc(time.Second, func() { send(t, q, "a") })
			start := time.Now()
			got := receive(t, q, long)
			wantBodies(t, got, "a")
			if d := time.Since(start); d > 1100*time.Millisecond || got[0].ReceiveCount != 1 {
				t.Fatalf("came after %v as receive %d", d, got[0].ReceiveCount)
			}
		})
	})

	t.Run("ManyWaitAndEachMessageGoesToOne", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", nil)
			const receivers = 4 * maxPulls
			got := make(chan string, receivers)
			for range receivers {
				go func() {
					ms, err := q.Receive(context.Background(), Receive{Max: 1, Wait: 20 * time.Second, Visibility: -1})
					if err != nil || len(ms) != 1 {
						got <- fmt.Sprint(len(ms), err)
						return
					}
					got <- ms[0].Body
				}()
			}
			synctest.Wait()
			want := map[string]bool{}
			for i := range receivers {
				want[fmt.Sprint("m", i)] = true
				send(t, q, fmt.Sprint("m", i))
			}
			for range receivers {
				if g := <-got; !want[g] {
					t.Fatalf("got %q, unknown or for a second time", g)
				} else {
					delete(want, g)
				}
			}
		})
	})

	t.Run("EndsWhenTheQueueIsDeleted", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", nil)
			other := b.process()
			deleted := make(chan struct{})
			time.AfterFunc(time.Second, func() {
				defer close(deleted)
				second, err := other.Queue(b.ns, "q")
				if err == nil {
					err = second.Delete(context.Background())
				}
				if err != nil {
					t.Error(err)
				}
			})
			_, err := q.Receive(t.Context(), long)
			wantCode(t, err, "QueueDoesNotExist")
			<-deleted
		})
	})
}

func TestQueueLife(t *testing.T) {
	t.Parallel()

	t.Run("CreateIsIdempotentForTheNamedAttributesOnly", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			s := b.services[0]
			q := b.create("q", map[string]string{"DelaySeconds": "5"})
			for _, attrs := range []map[string]string{nil, {"DelaySeconds": "5"}, {"DelaySeconds": "05"}} {
				if again, err := s.Create(t.Context(), b.ns, "q", attrs, nil); err != nil || again != q {
					t.Fatalf("%v: %v", attrs, err)
				}
			}
			_, err := s.Create(t.Context(), b.ns, "q", map[string]string{"DelaySeconds": "6"}, nil)
			wantCode(t, err, "QueueNameExists")
		})
	})

	t.Run("OfTwoProcessesCreatingOneWinsAndBothHaveIt", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			b.process()
			for i := range 20 {
				name := fmt.Sprint("q", i)
				ids := make(chan string, 2)
				for _, s := range b.services {
					go func() {
						q, err := s.Create(context.Background(), b.ns, name, nil, nil)
						if err != nil {
							ids <- err.Error()
							return
						}
						ids <- q.record.Load().ID
					}()
				}
				if x, y := <-ids, <-ids; x != y {
					t.Fatalf("%s: %s and %s", name, x, y)
				}
			}
		})
	})

	t.Run("DeletedNameIsHeldForAMinuteAndTheNewQueueIsEmpty", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			other := b.process()
			q := b.create("q", nil)
			send(t, q, "old")
			old := receive(t, q, now)[0]
			if err := q.Delete(t.Context()); err != nil {
				t.Fatal(err)
			}
			wantCode(t, q.Delete(t.Context()), "QueueDoesNotExist")
			wantCode(t, q.Send(t.Context(), []Send{{Body: "x"}})[0].Err, "QueueDoesNotExist")
			synctest.Wait()
			_, err := other.Queue(b.ns, "q")
			wantCode(t, err, "QueueDoesNotExist")
			_, err = other.Create(t.Context(), b.ns, "q", nil, nil)
			wantCode(t, err, "QueueDeletedRecently")
			time.Sleep(61 * time.Second)
			again, err := other.Create(t.Context(), b.ns, "q", nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			wantBodies(t, receive(t, again, now))
			wantCode(t, again.DeleteMessages(t.Context(), []string{old.Handle})[0], "ReceiptHandleIsInvalid")
		})
	})

	t.Run("CreationThatWasCutOffIsFinishedByWhoeverUsesTheQueue", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			s := b.services[0]
			r := record{Version: 1, ID: "cut", State: stateCreating, Settings: defaultSettings(b.ns.Quota), Created: time.Now()}
			value, _ := r.encode()
			if _, err := s.kv.Create(t.Context(), key(b.ns.ID, "q"), value); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			send(t, b.queue(0, "q"), "a")
			wantBodies(t, receive(t, b.queue(0, "q"), now), "a")
		})
	})

	t.Run("DeletionThatWasCutOffIsFinishedAtTheNextStart", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", nil)
			stream := q.record.Load().stream()
			if err := q.change(t.Context(), "test", func(r *record) error {
				r.State, r.Deleted = stateDeleted, time.Now().UTC()
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			b.restart()
			synctest.Wait()
			w, err := b.services[0].connection(t.Context(), b.services[0].spaces[b.ns.ID])
			if err != nil {
				t.Fatal(err)
			}
			if _, err := w.js.Stream(t.Context(), stream); !errors.Is(err, jetstream.ErrStreamNotFound) {
				t.Fatalf("stream of the deleted queue: %v", err)
			}
			time.Sleep(2 * time.Minute)
			if _, err := b.services[0].kv.Get(t.Context(), key(b.ns.ID, "q")); !errors.Is(err, jetstream.ErrKeyNotFound) {
				t.Fatalf("definition of the deleted queue: %v", err)
			}
		})
	})

	t.Run("NamespaceThatIsGoneLeavesNoDefinitions", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			var exists atomic.Bool
			b.change = func(c *Config) { c.Exists = func(string) (bool, bool) { return exists.Load(), true } }
			exists.Store(true)
			s := b.process()
			b.create("q", nil)
			time.Sleep(time.Hour)
			if _, err := s.kv.Get(t.Context(), key(b.ns.ID, "q")); err != nil {
				t.Fatal(err)
			}
			exists.Store(false) // deleted by a process that died before it could tell
			time.Sleep(12 * time.Minute)
			if _, err := s.kv.Get(t.Context(), key(b.ns.ID, "q")); !errors.Is(err, jetstream.ErrKeyNotFound) {
				t.Fatalf("definition: %v", err)
			}
			if _, err := s.Queue(b.ns, "q"); !mnq.IsNotFound(err) {
				t.Fatal(err)
			}
		})
	})

	t.Run("PurgeRemovesAllAndIsRefusedForAMinute", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", nil)
			send(t, q, "a", "b", "c")
			receive(t, q, Receive{Max: 1, Visibility: -1})
			delay := time.Minute
			q.Send(t.Context(), []Send{{Body: "later", Delay: &delay}})
			if err := q.Purge(t.Context()); err != nil {
				t.Fatal(err)
			}
			wantCounts(t, q, Counts{})
			wantCode(t, q.Purge(t.Context()), "PurgeQueueInProgress")
			time.Sleep(61 * time.Second)
			wantBodies(t, receive(t, q, now))
			if err := q.Purge(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	})

	t.Run("ListIsSortedPrefixedAndPaged", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			for _, n := range []string{"b2", "a1", "b1", "B1"} {
				b.create(n, nil)
			}
			s := b.services[0]
			names, more := s.List(b.ns, "b", "", 1)
			if !slices.Equal(names, []string{"b1"}) || !more {
				t.Fatal(names, more)
			}
			names, more = s.List(b.ns, "b", "b1", 1)
			if !slices.Equal(names, []string{"b2"}) || more {
				t.Fatal(names, more)
			}
		})
	})
}
