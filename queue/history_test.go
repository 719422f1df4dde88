package queue

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openmnq/mnq/internal/bubble"
)

// TestHistory lets producers and consumers of three processes work on one standard
// queue at the same time while lines break, the server restarts and processes are
// replaced, and holds what happened to the promises: nothing accepted is lost, nothing
// comes back after its deletion, nothing comes that nobody sent, and nobody gets a
// message while it is hidden for another. How many and from where: see TestFIFOHistory.
//
// Not parallel, and all rounds in one bubble: see there, too.
func TestHistory(t *testing.T) { //nolint:paralleltest // see above
	dir := t.TempDir()
	bubble.DropPools()
	synctest.Test(t, func(t *testing.T) {
		for i := range *historyRounds {
			seed := *historySeed + uint64(i)
			h := &chronicle{
				t: t, p: newPlant(t, filepath.Join(dir, strconv.FormatUint(seed, 10)), 3, seed), rnd: rand.New(rand.NewPCG(seed, 2)),
				sent: map[string]bool{}, accepted: map[string]bool{}, over: map[string]bool{}, gone: map[string]time.Time{}, held: map[string]hold{}, loose: map[string]bool{},
			}
			h.run()
			h.p.stop()
			if h.check(); t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
	})
}

// hold is the time for which a message is surely hidden for a receiver.
type hold struct{ from, to time.Time }

func (h hold) overlaps(other hold) bool { return h.from.Before(other.to) && other.from.Before(h.to) }

type chronicle struct {
	t *testing.T
	p *plant

	producing atomic.Int64

	mu       sync.Mutex
	rnd      *rand.Rand
	q        []*Queue             // by process
	sent     map[string]bool      // bodies, whatever came of it
	accepted map[string]bool      // bodies of messages that were acknowledged
	over     map[string]bool      // bodies that were deleted, or may have been
	gone     map[string]time.Time // ids whose deletion was acknowledged, and when
	held     map[string]hold      // whose a message is, by id
	loose    map[string]bool      // ids of messages whose visibility somebody has changed
	received int
	failed   int // calls whose outcome nobody knows
}

// queue is the queue at a process.
func (h *chronicle) queue(process int) *Queue {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.q[process]
}

func (h *chronicle) attach(process int) {
	q, err := h.p.procs[process].svc.Queue(h.p.ns, "q")
	if err != nil {
		h.t.Error(err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for len(h.q) <= process {
		h.q = append(h.q, nil)
	}
	h.q[process] = q
}

func (h *chronicle) random(n int) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rnd.IntN(n)
}

func (h *chronicle) pause(most int) {
	time.Sleep(time.Duration(h.random(most)) * time.Millisecond)
}

// run works until everything that was sent is gone.
func (h *chronicle) run() {
	if _, err := h.p.procs[0].svc.Create(context.Background(), h.p.ns, "q", map[string]string{"VisibilityTimeout": "5"}, nil); err != nil {
		h.t.Fatal(err)
	}
	synctest.Wait()
	for i := range h.p.procs {
		h.attach(i)
	}
	var wg sync.WaitGroup
	const producers = 4
	h.producing.Store(producers)
	for i := range producers {
		wg.Go(func() { h.produce(i) })
	}
	for i := range 6 {
		wg.Go(func() { h.consume(i % len(h.p.procs)) })
	}
	wg.Go(func() {
		for range *historyFaults {
			h.pause(3000)
			h.fault()
		}
	})
	wg.Wait()
}

// fault makes something break.
func (h *chronicle) fault() {
	i := h.random(len(h.p.procs))
	span := func(most int) time.Duration { return time.Duration(h.random(most)) * time.Millisecond }
	switch kind := h.random(7); kind {
	case 5:
		h.p.outage(span(8000))
	case 6:
		old := h.p.procs[i]
		h.p.procs[i] = h.p.process()
		h.attach(i)
		old.end()
	default:
		// For less than it takes the server to give up what was asked for over a line.
		h.p.procs[i].hit(fault(kind), span(4000))
	}
}

func (h *chronicle) produce(producer int) {
	defer h.producing.Add(-1)
	for n := range 30 {
		in := make([]Send, 1+h.random(4))
		for i := range in {
			in[i] = Send{Body: fmt.Sprintf("%d/%d/%d", producer, n, i), SenderID: "me"}
			if h.random(5) == 0 {
				in[i].Delay = new(time.Duration(1+h.random(4)) * time.Second)
			}
			if h.random(3) == 0 {
				in[i].GroupID = fmt.Sprint("g", h.random(3))
			}
			h.mu.Lock()
			h.sent[in[i].Body] = true
			h.mu.Unlock()
		}
		for i, r := range h.queue(h.random(len(h.p.procs))).Send(context.Background(), in) {
			h.note(r.Err)
			if r.Err != nil {
				h.pause(2000) // until what is broken may be whole again
				continue
			}
			h.mu.Lock()
			h.accepted[in[i].Body] = true
			h.mu.Unlock()
		}
		h.pause(400)
	}
}

func (h *chronicle) consume(process int) {
	for !h.finished() {
		q := h.queue(process)
		began := time.Now()
		got, err := q.Receive(context.Background(), Receive{Max: 1 + h.random(10), Wait: time.Duration(h.random(4)) * time.Second, Visibility: -1})
		if err != nil {
			h.note(err)
			time.Sleep(10 * time.Millisecond)
			continue
		}
		h.took(q, began, got)
		if h.random(6) == 0 {
			time.Sleep(7 * time.Second) // too slow: others take over
		} else {
			h.pause(800)
		}
		for _, m := range got {
			if h.random(4) == 0 {
				q = h.queue(h.random(len(h.p.procs)))
			}
			switch h.random(8) {
			case 0: // gives it back
				h.change(q, m, 0)
			case 1: // needs longer
				h.change(q, m, 10*time.Second)
				h.pause(9000)
				h.remove(q, m)
			default:
				h.remove(q, m)
			}
		}
	}
}

// took notes what was received. Each message is hidden from when its process asked the
// server for it, which its handle says. The server keeps deadlines in whole seconds:
// after it has been restarted they end up to a second early.
func (h *chronicle) took(q *Queue, began time.Time, got []Message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range got {
		if !h.sent[m.Body] {
			h.t.Errorf("nobody sent %q", m.Body)
		}
		if at, deleted := h.gone[m.ID]; deleted && began.After(at) {
			h.t.Errorf("%s was deleted %s before it was asked for", m.Body, began.Sub(at))
		}
		r, err := q.svc.sealer.open(q.id, m.Handle)
		if err != nil {
			h.t.Error(err)
		}
		now := hold{r.received, r.expires.Add(-time.Second)}
		if other := h.held[m.ID]; now.overlaps(other) && !h.loose[m.ID] {
			h.t.Errorf("%s is somebody's from %s to %s, and somebody else's from %s to %s", m.Body, other.from, other.to, now.from, now.to)
		}
		h.held[m.ID] = now
		h.received++
	}
}

// note counts a failure that leaves the outcome open.
func (h *chronicle) note(err error) {
	if err != nil {
		h.mu.Lock()
		h.failed++
		h.mu.Unlock()
	}
}

// change takes what is known of the message: the request may be late, and then it is
// about what somebody else has received meanwhile.
func (h *chronicle) change(q *Queue, m Message, timeout time.Duration) {
	h.mu.Lock()
	h.loose[m.ID] = true
	h.mu.Unlock()
	h.note(q.ChangeVisibility(context.Background(), []Visibility{{m.Handle, timeout}})[0])
}

func (h *chronicle) remove(q *Queue, m Message) {
	h.mu.Lock()
	h.over[m.Body] = true // from here on it may be
	h.mu.Unlock()
	err := q.DeleteMessages(context.Background(), []string{m.Handle})[0]
	h.note(err)
	if err == nil {
		h.mu.Lock()
		h.gone[m.ID] = time.Now()
		h.mu.Unlock()
	}
}

// finished reports that all has been sent and nothing is left.
func (h *chronicle) finished() bool {
	if h.producing.Load() > 0 {
		return false
	}
	c, err := h.queue(0).Counts(context.Background())
	return err == nil && c.Visible+c.InFlight+c.Delayed == 0
}

func (h *chronicle) check() {
	for body := range h.accepted {
		if !h.over[body] {
			h.t.Errorf("%s is lost", body)
		}
	}
	if len(h.accepted) < 150 || h.received < len(h.accepted) {
		h.t.Errorf("%d accepted, %d received: too few to show anything", len(h.accepted), h.received)
	}
	h.t.Logf("%d sent, %d accepted, %d received, %d calls failed", len(h.sent), len(h.accepted), h.received, h.failed)
}
