package queue

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/openmnq/mnq"
)

// TestFIFOModel drives random operations on a FIFO queue and its dead-letter queue
// against the model. -rapid.checks and -rapid.steps say how many; by default about
// 6,000 steps, and as many again by TestStandardModel.
func TestFIFOModel(t *testing.T) {
	t.Parallel()
	for _, processes := range []int{1, 2} {
		t.Run(fmt.Sprintf("With%dProcesses", processes), func(t *testing.T) {
			virtual(t, func(t *testing.T, b *bundle) {
				b.change = func(c *Config) { c.LenientNames = true }
				b.restart()
				for range processes - 1 {
					b.process()
				}
				run := 0
				// Wrapped, because rapid asks a *testing.T for its deadline, and in a bubble that panics.
				rapid.Check(struct{ *testing.T }{t}, func(rt *rapid.T) {
					run++
					d := &fifoDriver{
						b: b, processes: processes, name: fmt.Sprintf("q%d.fifo", run), dead: fmt.Sprintf("d%d.fifo", run),
						m: newFIFOModel(), dlq: newFIFOModel(),
					}
					d.open(rt)
					rt.Repeat(map[string]func(*rapid.T){
						"send": d.send, "send2": d.send, "receive": d.receive, "receive2": d.receive, "receiveDead": d.receiveDead,
						"delete": d.delete, "delete2": d.delete, "visibility": d.visibility, "wait": d.wait, "restart": d.restart,
						"purge": d.purge, "bringBack": d.bringBack, "": d.counts,
					})
					for _, name := range []string{d.name, d.dead} {
						if err := b.queue(0, name).Delete(context.Background()); err != nil {
							rt.Fatal(err)
						}
					}
				})
			})
		})
	}
}

type fifoDriver struct {
	b          *bundle
	name, dead string
	processes  int
	m, dlq     *fifoModel
}

func (d *fifoDriver) open(rt *rapid.T) {
	d.m.races, d.dlq.races = d.processes > 1, d.processes > 1
	d.m.scope = rapid.SampledFrom([]string{scopeQueue, scopeGroup}).Draw(rt, "scope")
	d.m.delay = time.Duration(rapid.SampledFrom([]int{0, 0, 2}).Draw(rt, "delay")) * time.Second
	d.m.receives = rapid.SampledFrom([]int{0, 1, 3}).Draw(rt, "receives")
	attrs := map[string]string{"FifoQueue": "true", "ContentBasedDeduplication": "true"}
	create := func(name string) {
		if _, err := d.b.services[0].Create(context.Background(), d.b.ns, name, attrs, nil); err != nil {
			rt.Fatal(err)
		}
	}
	create(d.dead)
	attrs["DeduplicationScope"], attrs["DelaySeconds"] = d.m.scope, strconv.Itoa(int(d.m.delay.Seconds()))
	if d.m.receives > 0 {
		attrs["RedrivePolicy"] = d.b.policy(d.dead, d.m.receives)
	}
	create(d.name)
	synctest.Wait()
}

// process picks one.
func (d *fifoDriver) process(rt *rapid.T) int {
	return rapid.IntRange(0, d.processes-1).Draw(rt, "process")
}

func (d *fifoDriver) queue(rt *rapid.T) *Queue { return d.b.queue(d.process(rt), d.name) }

func (d *fifoDriver) send(rt *rapid.T) {
	q := d.queue(rt)
	var in []Send
	for range rapid.IntRange(1, 4).Draw(rt, "n") {
		in = append(in, Send{
			GroupID: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(rt, "group"), Body: strconv.Itoa(rapid.IntRange(0, 15).Draw(rt, "body")), SenderID: "me",
		})
	}
	at := time.Now()
	results := q.Send(context.Background(), in)
	var fresh []*modelled
	for i, r := range results {
		if r.Err != nil {
			rt.Fatal(r.Err)
		}
		if r.SequenceNumber == "" {
			rt.Fatal("no sequence number")
		}
		if old := d.m.earlier(in[i].GroupID, in[i].Body, at); old != nil {
			if old.MessageID == "" {
				old.Sent = r.Sent
			}
			if r.Sent != old.Sent {
				rt.Fatalf("a duplicate of %v answers %v", old.Sent, r.Sent)
			}
			continue
		}
		x := &modelled{Sent: r.Sent, group: in[i].GroupID, body: in[i].Body, at: at}
		d.m.add(x)
		fresh = append(fresh, x)
	}
	for i, x := range fresh { // within a group the order is that of the call
		for _, y := range fresh[:i] {
			if y.group == x.group && y.SequenceNumber >= x.SequenceNumber {
				rt.Fatalf("%v is before %v", x.Sent, y.Sent)
			}
		}
	}
}

func (d *fifoDriver) receive(rt *rapid.T)     { d.receiveFrom(rt, d.m, d.name) }
func (d *fifoDriver) receiveDead(rt *rapid.T) { d.receiveFrom(rt, d.dlq, d.dead) }

func (d *fifoDriver) receiveFrom(rt *rapid.T, m *fifoModel, name string) {
	q := d.b.queue(d.process(rt), name)
	in := Receive{
		Max:        rapid.IntRange(1, 10).Draw(rt, "max"),
		Visibility: time.Duration(rapid.SampledFrom([]int{0, 1, 5, 30}).Draw(rt, "visibility")) * time.Second,
	}
	start := time.Now()
	got, err := q.Receive(context.Background(), in)
	if err != nil {
		rt.Fatal(err)
	}
	at := time.Now()
	if why := m.explain(q.svc, in.Max, at, got); why != "" && m.explain(q.svc, in.Max, start, got) != "" {
		for _, x := range m.msgs {
			rt.Logf("model: %s/%s %s received %d times", x.group, x.body, x.SequenceNumber, x.count)
		}
		for _, g := range got {
			rt.Logf("got: %s/%s %s", g.GroupID, g.Body, g.SequenceNumber)
		}
		rt.Fatalf("%s: got %q", why, bodies(got))
	}
	if m == d.m {
		d.bury(rt, q.svc, at, len(got) < in.Max)
	}
	m.took(q.svc, got, at, in.Visibility)
}

// bury follows what a receive has moved: of each group some of the dead letters at its
// head, or all of them if the receive looked at all groups.
func (d *fifoDriver) bury(rt *rapid.T, s *Service, at time.Time, all bool) {
	dead, _ := d.m.available(s, at)
	moved := d.perGroup(rt, d.dead)
	for _, x := range d.dlq.msgs {
		moved[x.group]--
	}
	for group, n := range moved {
		xs := dead[group]
		if n < 0 || n > len(xs) || all && n < len(xs) {
			rt.Fatalf("%d of the %d dead letters of group %s were moved, all %v", n, len(xs), group, all)
		}
		for _, x := range xs[:n] {
			x.left = true
			d.m.remove(x)
			copied := &modelled{group: x.group, body: x.body, at: at, past: x.past + x.count, first: x.first}
			copied.MessageID = x.MessageID
			d.dlq.add(copied)
		}
	}
}

// perGroup counts the messages of each group in a queue.
func (d *fifoDriver) perGroup(rt *rapid.T, name string) map[string]int {
	synctest.Wait()
	q := d.b.queue(0, name)
	w, err := q.svc.connection(context.Background(), q.space)
	if err != nil {
		rt.Fatal(err)
	}
	fw, err := q.fifo.index(context.Background(), w)
	if err != nil {
		rt.Fatal(err)
	}
	out := map[string]int{}
	fw.x.mu.Lock()
	defer fw.x.mu.Unlock()
	for _, group := range []string{"a", "b", "c"} {
		out[group] = 0
		if g := fw.x.groups[hashOf(group)]; g != nil {
			out[group] = len(g.msgs)
		}
	}
	return out
}

// bringBack lets a task move dead letters to where they come from, as new messages: of
// each group those before the first that is in flight.
func (d *fifoDriver) bringBack(rt *rapid.T) {
	if d.m.receives == 0 {
		return
	}
	q := d.b.queue(d.process(rt), d.dead)
	at := time.Now()
	_, back := d.dlq.available(q.svc, at)
	task, err := q.svc.StartMove(context.Background(), d.b.ns, NewMove{Source: q.ARN(d.b.ns)})
	if err != nil {
		rt.Fatal(err)
	}
	synctest.Wait()
	list, err := q.svc.Moves(d.b.ns, q.ARN(d.b.ns), 1)
	if err != nil || list[0].ID != task.ID || list[0].Status != MoveCompleted {
		rt.Fatalf("%+v, %v", list, err)
	}
	n := 0
	for _, group := range slices.Sorted(maps.Keys(back)) {
		for _, x := range back[group] {
			x.left = true
			d.dlq.remove(x)
			d.m.add(&modelled{group: x.group, body: x.body, at: at})
			n++
		}
	}
	if list[0].Moved != int64(n) {
		rt.Fatalf("%d were moved, want %d", list[0].Moved, n)
	}
}

// handle picks one that was handed out at some time.
func (d *fifoDriver) handle(rt *rapid.T) (m *fifoModel, name, handle string, x *modelled) {
	m, name = d.m, d.name
	if len(d.dlq.dealt) > 0 && rapid.Bool().Draw(rt, "dead") {
		m, name = d.dlq, d.dead
	}
	if len(m.dealt) == 0 {
		rt.Skip("nothing received yet")
	}
	byAge := slices.SortedFunc(maps.Keys(m.dealt), func(a, b string) int {
		x, y := m.dealt[a], m.dealt[b]
		current := func(h string, x *modelled) int {
			if x.handle == h && !m.gone(x) {
				return 0
			}
			return 1
		}
		if c := current(a, x) - current(b, y); c != 0 {
			return c
		}
		return strings.Compare(x.SequenceNumber+x.handle+a, y.SequenceNumber+y.handle+b)
	})
	handle = byAge[rapid.IntRange(0, len(byAge)-1).Draw(rt, "handle")]
	return m, name, handle, m.dealt[handle]
}

func (d *fifoDriver) delete(rt *rapid.T) {
	m, name, h, x := d.handle(rt)
	q := d.b.queue(d.process(rt), name)
	gone, usable := m.gone(x), x.handle == h && m.hiddenFrom(q.svc, x, time.Now())
	err := q.DeleteMessages(context.Background(), []string{h})[0]
	switch {
	case x.left: // remembered for a while
		if err != nil && mnq.KindOf(err) != mnq.Invalid {
			rt.Fatal(err)
		}
	case (gone || usable) && err != nil:
		rt.Fatalf("gone %v, usable %v: %v", gone, usable, err)
	case !gone && !usable && mnq.KindOf(err) != mnq.Invalid:
		rt.Fatalf("an old handle: %v", err)
	case usable:
		m.remove(x)
	}
}

func (d *fifoDriver) visibility(rt *rapid.T) {
	m, name, h, x := d.handle(rt)
	q := d.b.queue(d.process(rt), name)
	timeout := time.Duration(rapid.SampledFrom([]int{0, 1, 20}).Draw(rt, "timeout")) * time.Second
	ok := !m.gone(x) && x.handle == h && m.hiddenFrom(q.svc, x, time.Now())
	err := q.ChangeVisibility(context.Background(), []Visibility{{h, timeout}})[0]
	if ok != (err == nil) || err != nil && mnq.KindOf(err) != mnq.Invalid {
		rt.Fatalf("usable %v: %v", ok, err)
	}
	if ok {
		x.hidden, x.owner = time.Time{}, q.svc
		if timeout > 0 {
			x.hidden = time.Now().Add(timeout)
		}
	}
}

func (d *fifoDriver) wait(rt *rapid.T) {
	time.Sleep(time.Duration(rapid.SampledFrom([]int{1, 1, 2, 4, 10, 60, 240}).Draw(rt, "seconds")) * time.Second)
}

func (d *fifoDriver) restart(rt *rapid.T) {
	if rapid.IntRange(0, 5).Draw(rt, "really") > 0 {
		return
	}
	d.b.restart()
	for range d.processes - 1 {
		d.b.process()
	}
}

func (d *fifoDriver) purge(rt *rapid.T) {
	if rapid.IntRange(0, 5).Draw(rt, "really") > 0 {
		return
	}
	if err := d.queue(rt).Purge(context.Background()); err != nil {
		rt.Fatal(err)
	}
	synctest.Wait()
	d.m.msgs = nil
}

// counts holds every process to the model after each step.
func (d *fifoDriver) counts(rt *rapid.T) {
	synctest.Wait()
	for i := range d.processes {
		for name, m := range map[string]*fifoModel{d.name: d.m, d.dead: d.dlq} {
			q := d.b.queue(i, name)
			now := time.Now()
			var want Counts
			for _, x := range m.msgs {
				switch hidden := m.hiddenFrom(q.svc, x, now); {
				case hidden && x.count == 0:
					want.Delayed++
				case hidden:
					want.InFlight++
				default:
					want.Visible++
				}
			}
			got, err := q.Counts(context.Background())
			if oldest := m.oldest(); got.Oldest.Sub(oldest).Abs() > time.Second {
				rt.Fatalf("process %d: the oldest message of %s is from %s, want %s", i, name, got.Oldest, oldest)
			}
			got.Oldest, got.Groups = time.Time{}, 0
			if err != nil || got != want {
				rt.Fatalf("process %d counts %+v, %v in %s; want %+v", i, got, err, name, want)
			}
		}
	}
}
