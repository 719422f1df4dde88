package topic

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/openmnq/mnq/node"
)

// BenchmarkFanOut publishes to one topic with many queues and waits until every queue
// has every message.
func BenchmarkFanOut(b *testing.B) {
	for _, c := range []struct {
		name   string
		queues int
		fsync  string
		attrs  []string
	}{
		{"1queue", 1, node.FsyncAlways, []string{attrRaw, "true"}},
		{"100queues", 100, node.FsyncAlways, []string{attrRaw, "true"}},
		{"100queues/envelope", 100, node.FsyncAlways, nil},
		{"100queues/interval", 100, node.FsyncInterval, []string{attrRaw, "true"}},
	} {
		b.Run(c.name, func(b *testing.B) {
			f := newBundleWith(b, b.TempDir(), c.fsync)
			defer f.stop()
			f.ns.Quota.Queues, f.ns.Quota.Subscriptions = -1, -1
			a := f.topic("a")
			for i := range c.queues {
				f.queue(fmt.Sprint("q", i))
				f.subscribe(a, fmt.Sprint("q", i), c.attrs...)
			}
			body := strings.Repeat("x", 512)
			b.ReportAllocs()
			b.ResetTimer()
			publishMany(b, f, a, body, b.N)
			waitIdle(b, f, a)
			b.StopTimer()
			b.ReportMetric(float64(b.N*c.queues)/b.Elapsed().Seconds(), "deliveries/s")
		})
	}
}

// publishMany publishes n messages, ten at a time, from a few goroutines.
func publishMany(tb testing.TB, f *bundle, t *Topic, body string, n int) {
	tb.Helper()
	work := make(chan int, n/10+1)
	for n > 0 {
		work <- min(n, 10)
		n -= 10
	}
	close(work)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for k := range work {
				msgs := make([]Publication, k)
				for i := range msgs {
					msgs[i] = Publication{Message: body}
				}
				for _, p := range t.Publish(context.Background(), f.ns, msgs) {
					if p.Err != nil {
						tb.Error(p.Err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

// waitIdle waits until nothing is left in the topic's stream.
func waitIdle(tb testing.TB, f *bundle, t *Topic) {
	tb.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		s, err := f.processes[0].js.Stream(context.Background(), t.state.Load().stream())
		if err != nil {
			tb.Fatal(err)
		}
		if s.CachedInfo().State.Msgs == 0 {
			return
		}
		<-time.After(time.Millisecond)
	}
	tb.Fatal("messages are left in the topic")
}
