package queue

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/bubble"
	"github.com/openmnq/mnq/internal/history"
)

var (
	historyRounds = flag.Int("history.rounds", 6, "how many histories are recorded")
	historySeed   = flag.Uint64("history.seed", 0, "the seed of the first one")
	historyOut    = flag.String("history.out", "", "a file for the first history in which something is wrong")
	historyFaults = flag.Int("history.faults", 12, "how many faults happen in each")
)

// TestFIFOHistory lets producers and consumers of three processes work at the same
// time while lines break, the server restarts and processes are replaced, and holds
// what they saw to the promises of a FIFO queue.
//
// All rounds share one bubble, and this is the only test whose connections come back
// by themselves: nats.go keeps timers for that in a pool of the whole process.
func TestFIFOHistory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bubble.DropPools()
	synctest.Test(t, func(t *testing.T) {
		for i := range *historyRounds {
			seed := *historySeed + uint64(i)
			r := &recorder{
				t: t, p: newPlant(t, filepath.Join(dir, strconv.FormatUint(seed, 10)), 3),
				rnd: rand.New(rand.NewPCG(seed, 1)), groups: 6, each: 25,
			}
			r.run()
			r.p.stop()
			for _, wrong := range r.history.Check(historyVisibility) {
				t.Errorf("seed %d: %s", seed, wrong)
			}
			if t.Failed() {
				if *historyOut != "" {
					r.dump(*historyOut)
				}
				return
			}
		}
	})
}

// recorder makes a history.
type recorder struct {
	t            *testing.T
	p            *plant
	groups, each int

	producing atomic.Int64
	history   history.History

	mu  sync.Mutex
	rnd *rand.Rand
	q   []*Queue // by process
}

const historyVisibility = 5 * time.Second

func (r *recorder) random(n int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rnd.IntN(n)
}

func (r *recorder) span(least, most time.Duration) time.Duration {
	return least + time.Duration(r.random(int((most-least)/time.Millisecond)))*time.Millisecond
}

// queue is the queue at a process.
func (r *recorder) queue(process int) *Queue {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.q[process]
}

// attach finds the queue at a process.
func (r *recorder) attach(process int) {
	q, err := r.p.procs[process].svc.Queue(r.p.ns, "q.fifo")
	if err != nil {
		r.t.Error(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.q) <= process {
		r.q = append(r.q, nil)
	}
	r.q[process] = q
}

func (r *recorder) run() {
	attrs := map[string]string{"FifoQueue": "true", "VisibilityTimeout": strconv.Itoa(int(historyVisibility.Seconds()))}
	if _, err := r.p.procs[0].svc.Create(context.Background(), r.p.ns, "q.fifo", attrs, nil); err != nil {
		r.t.Fatal(err)
	}
	synctest.Wait()
	for i := range r.p.procs {
		r.attach(i)
	}
	var wg sync.WaitGroup
	r.producing.Store(int64(r.groups))
	for g := range r.groups {
		wg.Go(func() { r.produce(fmt.Sprint("g", g)) })
	}
	for i := range 6 {
		wg.Go(func() { r.consume(i % len(r.p.procs)) })
	}
	wg.Go(func() {
		for range *historyFaults {
			time.Sleep(r.span(100*time.Millisecond, 3*time.Second))
			r.fault()
		}
	})
	wg.Wait()
}

// fault makes something break.
func (r *recorder) fault() {
	i := r.random(len(r.p.procs))
	kind := r.random(8)
	switch kind {
	case 5:
		r.p.down()
		time.Sleep(r.span(0, 8*time.Second))
		r.p.up()
	case 6:
		old := r.p.procs[i]
		r.p.procs[i] = r.p.process()
		r.attach(i)
		old.end()
	case 7: // both at a time
		r.p.procs[i].hit(deaf, r.span(0, 2*time.Second))
		r.p.procs[(i+1)%len(r.p.procs)].hit(tardy, r.span(0, 9*time.Second))
	default:
		r.p.procs[i].hit(fault(kind), r.span(0, 9*time.Second))
	}
	r.history.Note(fmt.Sprintf("fault %d at process %d", kind, i))
}

// produce sends a group's messages in order, each until it is accepted.
func (r *recorder) produce(group string) {
	defer r.producing.Add(-1)
	for n := range r.each {
		m := Send{GroupID: group, Body: strconv.Itoa(n), DedupID: fmt.Sprint(group, "-", n), SenderID: "me"}
		for accepted := false; !accepted; {
			c := r.history.Begin(history.Send, r.random(len(r.p.procs)))
			res := r.queue(c.Process).Send(context.Background(), []Send{m})[0]
			r.end(c, res.Err, history.Message{Group: group, N: n, ID: res.MessageID, Sequence: res.SequenceNumber})
			if accepted = res.Err == nil; !accepted {
				time.Sleep(r.span(1*time.Millisecond, 200*time.Millisecond))
			}
		}
		time.Sleep(r.span(0, 300*time.Millisecond))
	}
}

func (r *recorder) consume(process int) {
	for !r.finished() {
		c := r.history.Begin(history.Receive, process)
		got, err := r.queue(process).Receive(context.Background(), Receive{Max: 1 + r.random(10), Wait: 3 * time.Second, Visibility: -1})
		var ts []history.Message
		for _, m := range got {
			n, err := strconv.Atoi(m.Body)
			if err != nil {
				r.t.Error(err)
			}
			ts = append(ts, history.Message{Group: m.GroupID, N: n, ID: m.ID, Sequence: m.SequenceNumber})
		}
		r.end(c, err, ts...)
		switch {
		case err != nil:
			time.Sleep(10 * time.Millisecond)
		case r.random(5) == 0:
			time.Sleep(historyVisibility + 2*time.Second) // too slow: others take over
		default:
			time.Sleep(r.span(0, 500*time.Millisecond))
		}
		back := r.random(10) == 0
		for i, m := range got {
			at := process
			if r.random(4) == 0 {
				at = r.random(len(r.p.procs))
			}
			if back {
				c := r.history.Begin(history.Release, at)
				err = r.queue(at).ChangeVisibility(context.Background(), []Visibility{{m.Handle, 0}})[0]
				r.end(c, err, ts[i])
			} else {
				c := r.history.Begin(history.Delete, at)
				err = r.queue(at).DeleteMessages(context.Background(), []string{m.Handle})[0]
				r.end(c, err, ts[i])
			}
		}
	}
}

// finished reports that all has been sent and nothing is left.
func (r *recorder) finished() bool {
	if r.producing.Load() > 0 {
		return false
	}
	c, err := r.queue(0).Counts(context.Background())
	return err == nil && c.Visible+c.InFlight+c.Delayed == 0
}

func (r *recorder) end(c *history.Call, err error, msgs ...history.Message) {
	outcome := history.Unknown
	switch {
	case err == nil:
		outcome = history.OK
	case mnq.KindOf(err) == mnq.Invalid:
		outcome = history.Refused
	}
	r.history.End(c, outcome, err, msgs...)
}

func (r *recorder) dump(name string) {
	f, err := os.Create(name)
	if err != nil {
		r.t.Error(err)
		return
	}
	if err := errors.Join(r.history.Write(f), f.Close()); err != nil {
		r.t.Error(err)
	}
}
