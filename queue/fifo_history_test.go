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
	"github.com/openmnq/mnq/test/history"
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
	var recorded []*recorder
	synctest.Test(t, func(t *testing.T) {
		for i := range *historyRounds {
			seed := *historySeed + uint64(i)
			r := &recorder{
				t: t, p: newPlant(t, filepath.Join(dir, strconv.FormatUint(seed, 10)), 3, seed), history: history.New(), seed: seed,
				rnd: rand.New(rand.NewPCG(seed, 1)), groups: 6, each: 25, kind: historyKind(seed % 3),
			}
			r.run()
			r.p.stop()
			recorded = append(recorded, r)
		}
	})
	// Outside, where a time limit passes while the checker thinks.
	for _, r := range recorded {
		if r.check(t); t.Failed() {
			if *historyOut != "" {
				r.dump(t, *historyOut)
			}
			return
		}
	}
}

// check holds the history to the promises.
func (r *recorder) check(t *testing.T) {
	t.Helper()
	if r.kind != oneQueue {
		for _, text := range r.history.CheckMoves([]string{workQueue, deadQueue}, r.kind == circles) {
			t.Errorf("seed %d: %s", r.seed, text)
		}
		return
	}
	report := r.history.Check()
	wrong, undecided := r.history.Linearizable(30 * time.Second)
	if v := report.Violations(); v != "" || len(wrong) > 0 {
		t.Errorf("seed %d: %s groups that are no lists: %v", r.seed, v, wrong)
	}
	t.Logf("seed %d: %s, groups undecided %v", r.seed, report, undecided)
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
	seed         uint64
	groups, each int
	kind         historyKind

	producing atomic.Int64
	history   *history.History

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
		m := Send{GroupID: group, Body: fmt.Sprint(group, "/", n), DedupID: fmt.Sprint(group, "-", n), SenderID: "me"}
		for accepted := false; !accepted; {
			e := history.Event{Kind: history.Send, Queue: workQueue, Body: m.Body, Group: group, Process: r.random(3), Begin: r.history.Now()}
			res := r.queue(workQueue, e.Process).Send(context.Background(), []Send{m})[0]
			e.ID, e.Sequence = res.MessageID, res.SequenceNumber
			r.end(e, res.Err)
			if accepted = res.Err == nil; !accepted {
				time.Sleep(r.span(1*time.Millisecond, 200*time.Millisecond))
			}
		}
		time.Sleep(r.span(0, 300*time.Millisecond))
	}
}

func (r *recorder) consume(name string, process int) {
	for !r.finished() {
		got := r.receive(name, process)
		if len(got) > 0 && r.random(5) == 0 {
			time.Sleep(historyVisibility + 2*time.Second) // too slow: others take over
		} else {
			time.Sleep(r.span(0, 500*time.Millisecond))
		}
		back := r.random(10) == 0
		for _, m := range got {
			if r.kind != oneQueue && name == workQueue && r.random(2) == 0 {
				continue // it fails
			}
			e := history.Event{Queue: name, Body: m.Body, ID: m.ID, Group: m.GroupID, Sequence: m.SequenceNumber, Process: process}
			if r.random(4) == 0 {
				e.Process = r.random(3)
			}
			q := r.queue(name, e.Process)
			e.Begin = r.history.Now()
			var err error
			if back {
				e.Kind = history.Release
				err = q.ChangeVisibility(context.Background(), []Visibility{{m.Handle, 0}})[0]
			} else {
				e.Kind = history.Delete
				err = q.DeleteMessages(context.Background(), []string{m.Handle})[0]
			}
			r.end(e, err)
		}
	}
}

// receive receives once.
func (r *recorder) receive(name string, process int) []Message {
	// slack is how much less than its visibility timeout a client may have a message: the
	// timeout begins a little before the answer arrives.
	const slack = 250 * time.Millisecond
	e := history.Event{
		Kind: history.Receive, Queue: name, Process: process, Begin: r.history.Now(), Call: r.history.Call(), Visibility: historyVisibility,
	}
	got, err := r.queue(name, process).Receive(context.Background(), Receive{Max: 1 + r.random(10), Wait: 3 * time.Second, Visibility: -1})
	e.Since = max(1, r.history.Now()-slack)
	for _, m := range got {
		e.Body, e.ID, e.Group, e.Sequence = m.Body, m.ID, m.GroupID, m.SequenceNumber
		r.end(e, nil)
	}
	if len(got) == 0 {
		r.end(e, err)
	}
	if err != nil {
		time.Sleep(10 * time.Millisecond)
	}
	return got
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

func (r *recorder) end(e history.Event, err error) {
	outcome := history.Unknown
	switch {
	case err == nil:
		outcome = history.OK
	case mnq.KindOf(err) == mnq.Invalid:
		outcome = history.Refused
	}
	r.history.End(e, outcome, err)
}

func (r *recorder) dump(t *testing.T, name string) {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Error(err)
		return
	}
	if err := errors.Join(r.history.Write(f), f.Close()); err != nil {
		t.Error(err)
	}
}
