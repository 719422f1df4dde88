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

// modelled is a message as the model sees it.
type modelled struct {
	Sent
	group, body string
	at          time.Time // of the send
	first       time.Time
	count       int
	hidden      time.Time // until when; zero: visible
	owner       *Service  // whose clock says so
	handle      string    // of the last delivery
}

// fifoModel is a FIFO queue in the most obvious form: a list.
type fifoModel struct {
	delay time.Duration
	scope string
	races bool        // there are several processes
	msgs  []*modelled // in the order of sending
	memo  map[string]*modelled
	dealt map[string]*modelled // by handle, also old ones
}

func (m *fifoModel) dedupKey(group, body string) string {
	if m.scope == scopeGroup {
		return group + "/" + body
	}
	return body
}

// send returns the message that a send stands for: an earlier one, or nil when it
// is new.
func (m *fifoModel) earlier(group, body string, now time.Time) *modelled {
	if old := m.memo[m.dedupKey(group, body)]; old != nil && now.Sub(old.at) < dedupWindow {
		return old
	}
	return nil
}

func (m *fifoModel) hiddenFrom(s *Service, x *modelled, now time.Time) bool {
	switch {
	case x.count == 0:
		return x.at.Add(m.delay).After(now)
	case x.hidden.IsZero():
		return false
	case x.owner == s:
		return x.hidden.After(now)
	default:
		return x.hidden.Add(clockSlack).After(now)
	}
}

// available returns what each group has to give.
func (m *fifoModel) available(s *Service, now time.Time) map[string][]*modelled {
	out, blocked := map[string][]*modelled{}, map[string]bool{}
	for _, x := range m.msgs {
		if blocked[x.group] = blocked[x.group] || m.hiddenFrom(s, x, now); !blocked[x.group] {
			out[x.group] = append(out[x.group], x)
		}
	}
	return out
}

// oldest is when the oldest message was sent; zero when there is none.
func (m *fifoModel) oldest() (at time.Time) {
	for _, x := range m.msgs {
		if at.IsZero() || x.at.Before(at) {
			at = x.at
		}
	}
	return at
}

func (m *fifoModel) gone(x *modelled) bool { return !slices.Contains(m.msgs, x) }

// explain returns what is wrong with an answer to a receive at now, or nothing.
// Among several processes a group may lose its turn to a lost race.
func (m *fifoModel) explain(s *Service, n int, now time.Time, got []Message) string {
	fair := !m.races
	have := m.available(s, now)
	total := 0
	for _, ms := range have {
		total += len(ms)
	}
	if len(got) != min(n, total) {
		return fmt.Sprintf("%d messages, want %d", len(got), min(n, total))
	}
	last := ""
	closed := map[string]bool{}
	for _, g := range got {
		if g.GroupID != last {
			if closed[g.GroupID] {
				return "messages of a group are not together"
			}
			if last != "" && len(have[last]) > 0 && fair {
				return "group " + last + " was left for another one"
			}
			last, closed[g.GroupID] = g.GroupID, true
		}
		if len(have[last]) == 0 || have[last][0].MessageID != g.ID {
			return "group " + last + " is out of order at " + g.Body
		}
		x := have[last][0]
		if g.ReceiveCount != x.count+1 || g.SequenceNumber != x.SequenceNumber || g.Body != x.body {
			return fmt.Sprintf("%+v, want %+v", g, x)
		}
		if x.count > 0 && !g.FirstReceived.Equal(x.first) {
			return "first receive time changed"
		}
		have[last] = have[last][1:]
	}
	return ""
}

// TestFIFOModel drives random operations against the model. -rapid.checks and
// -rapid.steps say how many; by default about 3,000 steps.
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
						b: b, name: fmt.Sprintf("q%d.fifo", run), processes: processes,
						m: &fifoModel{races: processes > 1, memo: map[string]*modelled{}, dealt: map[string]*modelled{}},
					}
					d.open(rt)
					rt.Repeat(map[string]func(*rapid.T){
						"send": d.send, "send2": d.send, "receive": d.receive, "receive2": d.receive, "delete": d.delete, "delete2": d.delete,
						"visibility": d.visibility, "wait": d.wait, "restart": d.restart, "purge": d.purge, "": d.counts,
					})
					if err := b.queue(0, d.name).Delete(context.Background()); err != nil {
						rt.Fatal(err)
					}
				})
			})
		})
	}
}

type fifoDriver struct {
	b         *bundle
	name      string
	processes int
	m         *fifoModel
}

func (d *fifoDriver) open(rt *rapid.T) {
	d.m.scope = rapid.SampledFrom([]string{scopeQueue, scopeGroup}).Draw(rt, "scope")
	d.m.delay = time.Duration(rapid.SampledFrom([]int{0, 0, 2}).Draw(rt, "delay")) * time.Second
	_, err := d.b.services[0].Create(context.Background(), d.b.ns, d.name, map[string]string{
		"FifoQueue": "true", "ContentBasedDeduplication": "true", "DeduplicationScope": d.m.scope, "DelaySeconds": strconv.Itoa(int(d.m.delay.Seconds())),
	}, nil)
	if err != nil {
		rt.Fatal(err)
	}
	synctest.Wait()
}

// queue picks a process.
func (d *fifoDriver) queue(rt *rapid.T) *Queue {
	return d.b.queue(rapid.IntRange(0, d.processes-1).Draw(rt, "process"), d.name)
}

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
		key := d.m.dedupKey(in[i].GroupID, in[i].Body)
		if old := d.m.earlier(in[i].GroupID, in[i].Body, at); old != nil {
			if r.Sent != old.Sent {
				rt.Fatalf("a duplicate of %v answers %v", old.Sent, r.Sent)
			}
			continue
		}
		x := &modelled{Sent: r.Sent, group: in[i].GroupID, body: in[i].Body, at: at}
		d.m.memo[key], fresh = x, append(fresh, x)
	}
	for i, x := range fresh { // within a group the order is that of the call
		for _, y := range fresh[:i] {
			if y.group == x.group && y.SequenceNumber >= x.SequenceNumber {
				rt.Fatalf("%v is before %v", x.Sent, y.Sent)
			}
		}
	}
	d.m.msgs = append(d.m.msgs, fresh...)
}

func (d *fifoDriver) receive(rt *rapid.T) {
	q := d.queue(rt)
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
	if why := d.m.explain(q.svc, in.Max, at, got); why != "" && d.m.explain(q.svc, in.Max, start, got) != "" {
		for _, x := range d.m.msgs {
			rt.Logf("model: %s/%s %s received %d times", x.group, x.body, x.SequenceNumber, x.count)
		}
		for _, g := range got {
			rt.Logf("got: %s/%s %s", g.GroupID, g.Body, g.SequenceNumber)
		}
		rt.Fatalf("%s: got %q", why, bodies(got))
	}
	for _, g := range got {
		for _, x := range d.m.msgs {
			if x.MessageID != g.ID {
				continue
			}
			x.count++
			x.first = g.FirstReceived
			x.hidden, x.owner, x.handle = time.Time{}, q.svc, g.Handle
			if in.Visibility > 0 {
				x.hidden = at.Add(in.Visibility)
			}
			d.m.dealt[g.Handle] = x
		}
	}
}

// handle picks one that was handed out at some time.
func (d *fifoDriver) handle(rt *rapid.T) (string, *modelled) {
	if len(d.m.dealt) == 0 {
		rt.Skip("nothing received yet")
	}
	byAge := slices.SortedFunc(maps.Keys(d.m.dealt), func(a, b string) int {
		x, y := d.m.dealt[a], d.m.dealt[b]
		current := func(h string, x *modelled) int {
			if x.handle == h && !d.m.gone(x) {
				return 0
			}
			return 1
		}
		if c := current(a, x) - current(b, y); c != 0 {
			return c
		}
		return strings.Compare(x.SequenceNumber+x.handle+a, y.SequenceNumber+y.handle+b)
	})
	h := byAge[rapid.IntRange(0, len(byAge)-1).Draw(rt, "handle")]
	return h, d.m.dealt[h]
}

func (d *fifoDriver) usable(q *Queue, h string, x *modelled) bool {
	return x.handle == h && d.m.hiddenFrom(q.svc, x, time.Now())
}

func (d *fifoDriver) delete(rt *rapid.T) {
	q := d.queue(rt)
	h, x := d.handle(rt)
	gone, usable := d.m.gone(x), d.usable(q, h, x)
	err := q.DeleteMessages(context.Background(), []string{h})[0]
	switch {
	case (gone || usable) && err != nil:
		rt.Fatalf("gone %v, usable %v: %v", gone, usable, err)
	case !gone && !usable && mnq.KindOf(err) != mnq.Invalid:
		rt.Fatalf("an old handle: %v", err)
	case usable:
		d.m.msgs = slices.DeleteFunc(d.m.msgs, func(y *modelled) bool { return x == y })
	}
}

func (d *fifoDriver) visibility(rt *rapid.T) {
	q := d.queue(rt)
	h, x := d.handle(rt)
	timeout := time.Duration(rapid.SampledFrom([]int{0, 1, 20}).Draw(rt, "timeout")) * time.Second
	ok := !d.m.gone(x) && d.usable(q, h, x)
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
		q := d.b.queue(i, d.name)
		now := time.Now()
		var want Counts
		for _, x := range d.m.msgs {
			switch hidden := d.m.hiddenFrom(q.svc, x, now); {
			case hidden && x.count == 0:
				want.Delayed++
			case hidden:
				want.InFlight++
			default:
				want.Visible++
			}
		}
		got, err := q.Counts(context.Background())
		if oldest := d.m.oldest(); got.Oldest.Sub(oldest).Abs() > time.Second {
			rt.Fatalf("process %d: the oldest message is from %s, want %s", i, got.Oldest, oldest)
		}
		got.Oldest = time.Time{}
		if err != nil || got != want {
			rt.Fatalf("process %d counts %+v, %v; want %+v", i, got, err, want)
		}
	}
}
