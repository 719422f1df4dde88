package queue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq/internal/bubble"
	"github.com/openmnq/mnq/node"
	"github.com/openmnq/mnq/test/history"
)

// TestBucketHistory lets three processes change the same entries of a bucket, as they do
// with definitions, ledgers and tasks, while lines break and the server restarts. Each
// entry must have been one register that changes by compare-and-set.
//
// Not parallel, and all rounds in one bubble: see TestFIFOHistory.
func TestBucketHistory(t *testing.T) { //nolint:paralleltest // see above
	dir := t.TempDir()
	bubble.DropPools()
	registers := map[string]*register{}
	synctest.Test(t, func(t *testing.T) {
		p := newPlant(t, dir, 3, *historySeed)
		rnd := rand.New(rand.NewPCG(*historySeed, 3))
		clock := history.New()
		done := make(chan struct{})
		var wg sync.WaitGroup
		for i := range p.procs {
			js, err := jetstream.New(p.procs[i].nc)
			if err != nil {
				t.Fatal(err)
			}
			b, err := node.OpenBucket(t.Context(), js, node.BucketConfig{Name: "b", Replicas: 1})
			if err != nil {
				t.Fatal(err)
			}
			for n := range 2 {
				key := fmt.Sprint("k", n)
				if registers[key] == nil {
					registers[key] = &register{clock: clock}
				}
				r, rnd := registers[key], rand.New(rand.NewPCG(*historySeed, uint64(10*i+n)))
				wg.Go(func() { r.use(b, key, i, rnd, done) })
			}
		}
		for range *historyFaults {
			time.Sleep(time.Duration(rnd.IntN(3000)) * time.Millisecond)
			if kind := rnd.IntN(6); kind == 5 {
				p.outage(time.Duration(rnd.IntN(8000)) * time.Millisecond)
			} else {
				p.hit(rnd.IntN(3), fault(kind), time.Duration(rnd.IntN(9000))*time.Millisecond)
			}
		}
		close(done)
		wg.Wait()
		p.stop()
	})
	for key, r := range registers {
		outcomes := map[history.Outcome]int{}
		for _, c := range r.calls {
			if c.Write {
				outcomes[c.Outcome]++
			}
		}
		t.Logf("%s: %d calls, writes by outcome %v", key, len(r.calls), outcomes)
		if outcomes[history.OK] == 0 || outcomes[history.Refused] == 0 {
			t.Error("too few to show anything")
		}
		if !history.RegisterLinearizable(r.calls, time.Minute) {
			t.Errorf("seed %d: %s is no register: %+v", *historySeed, key, r.calls)
		}
	}
}

// register is what happened to an entry.
type register struct {
	clock *history.History

	mu    sync.Mutex
	calls []history.Register
}

func (r *register) add(c history.Register) {
	c.End = r.clock.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, c)
}

// use reads the entry and replaces what it has read.
func (r *register) use(b *node.Bucket, key string, process int, rnd *rand.Rand, done <-chan struct{}) {
	for n := 0; ; n++ {
		select {
		case <-done:
			return
		case <-time.After(time.Duration(rnd.IntN(300)) * time.Millisecond):
		}
		read := history.Register{Begin: r.clock.Now()}
		e, err := b.Get(context.Background(), key)
		switch {
		case err == nil:
			read.Value, read.Revision = string(e.Value()), e.Revision()
		case !errors.Is(err, jetstream.ErrKeyNotFound):
			continue
		}
		r.add(read)
		time.Sleep(time.Duration(rnd.IntN(100)) * time.Millisecond)
		write := history.Register{Begin: r.clock.Now(), Write: true, Value: fmt.Sprintf("%d:%d", process, n), Expected: read.Revision}
		write.Revision, err = b.Update(context.Background(), key, []byte(write.Value), read.Revision)
		switch {
		case errors.Is(err, node.ErrLostRace):
			write.Outcome = history.Refused
		case err != nil:
			write.Outcome = history.Unknown
		}
		r.add(write)
	}
}
