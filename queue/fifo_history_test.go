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
// what they saw to the promises of a FIFO queue. In two rounds of three half of the
// messages become dead letters, which are received there, or brought back by tasks. In
// every other three rounds processes repeat what gets no answer, as they do in a cluster.
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
				t: t, p: newPlant(t, filepath.Join(dir, strconv.FormatUint(seed, 10)), 3, seed),
				rnd: rand.New(rand.NewPCG(seed, 1)), groups: 6, each: 25, kind: historyKind(seed % 3),
			}
			r.run()
			r.p.stop()
			var wrong []string
			if r.kind == oneQueue {
				wrong = r.history.Check(historyVisibility)
			} else {
				wrong = r.history.CheckMoves(historyVisibility, []string{workQueue, deadQueue}, r.kind == circles)
			}
			for _, text := range wrong {
				t.Errorf("seed %d: %s", seed, text)
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

// historyKind is what happens to messages that are received too often.
type historyKind int

const (
	oneQueue historyKind = iota // nothing does
	deadEnd                     // they are received from the queue of dead letters
	circles                     // tasks bring them back
)

const workQueue, deadQueue = "q.fifo", "dlq.fifo"

// recorder makes a history.
type recorder struct {
	t            *testing.T
	p            *plant
	groups, each int
	kind         historyKind

	producing atomic.Int64
	history   history.History

	mu    sync.Mutex
	rnd   *rand.Rand
	empty time.Time // since when the queues have been, as far as known
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

// queue is a queue at a process.
func (r *recorder) queue(name string, process int) *Queue {
	q, err := r.p.at(process).Queue(r.p.ns, name)
	if err != nil {
		r.t.Error(err)
	}
	return q
}

func (r *recorder) run() {
	attrs := map[string]string{"FifoQueue": "true", "VisibilityTimeout": strconv.Itoa(int(historyVisibility.Seconds()))}
	create := func(name string) {
		if _, err := r.p.at(0).Create(context.Background(), r.p.ns, name, attrs, nil); err != nil {
			r.t.Fatal(err)
		}
	}
	create(deadQueue)
	if r.kind != oneQueue {
		attrs[attrRedrive] = `{"deadLetterTargetArn":"` + r.queue(deadQueue, 0).ARN(r.p.ns) + `","maxReceiveCount":2}`
	}
	create(workQueue)
	synctest.Wait()
	var wg sync.WaitGroup
	r.producing.Store(int64(r.groups))
	for g := range r.groups {
		wg.Go(func() { r.produce(fmt.Sprint("g", g)) })
	}
	for i := range 6 {
		wg.Go(func() { r.consume(workQueue, i%3) })
	}
	switch r.kind {
	case oneQueue:
	case deadEnd:
		for i := range 3 {
			wg.Go(func() { r.consume(deadQueue, i) })
		}
	case circles:
		wg.Go(r.bringBack)
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
	i := r.random(3)
	kind := r.random(8)
	switch kind {
	case 5:
		r.p.outage(r.span(0, 8*time.Second))
	case 6:
		r.p.replace(i)
	case 7: // both at a time
		r.p.hit(i, deaf, r.span(0, 2*time.Second))
		r.p.hit((i+1)%3, tardy, r.span(0, 9*time.Second))
	default:
		r.p.hit(i, fault(kind), r.span(0, 9*time.Second))
	}
	r.history.Note(fmt.Sprintf("fault %d at process %d", kind, i))
}

// produce sends a group's messages in order, each until it is accepted.
func (r *recorder) produce(group string) {
	defer r.producing.Add(-1)
	for n := range r.each {
		m := Send{GroupID: group, Body: strconv.Itoa(n), DedupID: fmt.Sprint(group, "-", n), SenderID: "me"}
		for accepted := false; !accepted; {
			c := r.history.Begin(history.Send, r.random(3))
			res := r.queue(workQueue, c.Process).Send(context.Background(), []Send{m})[0]
			r.end(c, res.Err, history.Message{Group: group, N: n, ID: res.MessageID, Sequence: res.SequenceNumber})
			if accepted = res.Err == nil; !accepted {
				time.Sleep(r.span(1*time.Millisecond, 200*time.Millisecond))
			}
		}
		time.Sleep(r.span(0, 300*time.Millisecond))
	}
}

func (r *recorder) consume(name string, process int) {
	for !r.finished() {
		c := r.history.Begin(history.Receive, process)
		c.Queue = name
		got, err := r.queue(name, process).Receive(context.Background(), Receive{Max: 1 + r.random(10), Wait: 3 * time.Second, Visibility: -1})
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
			if r.kind != oneQueue && name == workQueue && r.random(2) == 0 {
				continue // it fails
			}
			at := process
			if r.random(4) == 0 {
				at = r.random(3)
			}
			q := r.queue(name, at)
			if back {
				c := r.history.Begin(history.Release, at)
				c.Queue = name
				err = q.ChangeVisibility(context.Background(), []Visibility{{m.Handle, 0}})[0]
				r.end(c, err, ts[i])
			} else {
				c := r.history.Begin(history.Delete, at)
				c.Queue = name
				err = q.DeleteMessages(context.Background(), []string{m.Handle})[0]
				r.end(c, err, ts[i])
			}
		}
	}
}

// bringBack starts a move task of the dead letters now and then.
func (r *recorder) bringBack() {
	for !r.finished() {
		time.Sleep(r.span(0, 8*time.Second))
		at := r.random(3)
		_, err := r.p.at(at).StartMove(context.Background(), r.p.ns, NewMove{Source: r.queue(deadQueue, at).ARN(r.p.ns)})
		r.history.Note(fmt.Sprintf("task by %d: %v", at, err))
	}
}

// finished reports that all has been sent and nothing is left. What moves is in neither
// queue for a moment, as far as the process knows that is asked.
func (r *recorder) finished() bool {
	empty := r.producing.Load() == 0
	for _, name := range []string{workQueue, deadQueue} {
		if empty {
			c, err := r.queue(name, 0).Counts(context.Background())
			empty = err == nil && c.Visible+c.InFlight+c.Delayed == 0
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case !empty:
		r.empty = time.Time{}
	case r.empty.IsZero():
		r.empty = time.Now()
	}
	return empty && (r.kind == oneQueue || time.Since(r.empty) > 2*moveHold)
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
