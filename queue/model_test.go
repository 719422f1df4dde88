package queue

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/openmnq/mnq"
)

// sample is a message of a standard queue as the model sees it.
type sample struct {
	id, body, group string
	due             time.Time // before it is delayed
	count           int
	hidden          time.Time // until when
	first           time.Time // of the receives; zero when no process is sure to know
	handles         []string  // all that were handed out
}

// slack is how far a deadline of the model and the queue's may lie apart: delays
// end up to 250 ms late, and processes tell each other deadlines by the second.
const slack = 1250 * time.Millisecond

// state is what a message surely is, or unsure near a deadline.
type state int

const (
	stateVisible state = iota
	stateHidden
	stateDelayed
	stateUnsure
)

func (x *sample) at(now time.Time) state {
	near := func(t time.Time) bool { return now.Sub(t).Abs() <= slack }
	switch {
	case x.count == 0 && near(x.due), x.count > 0 && near(x.hidden):
		return stateUnsure
	case x.due.After(now):
		return stateDelayed
	case x.hidden.After(now):
		return stateHidden
	default:
		return stateVisible
	}
}

// rounds of the model test, each with as many steps as -rapid.checks and -rapid.steps
// say: by default about 5,000 together for each number of processes.
const rounds = 3

// TestModel drives random operations on standard queues against a list of messages.
func TestModel(t *testing.T) {
	t.Parallel()
	for _, processes := range []int{1, 2} {
		t.Run(fmt.Sprintf("With%dProcesses", processes), func(t *testing.T) {
			virtual(t, func(t *testing.T, b *bundle) {
				b.change = func(c *Config) { c.LenientNames = true }
				b.ns.Quota.Queues = -1 // a run that failed leaves its queue
				b.restart()
				for range processes - 1 {
					b.process()
				}
				runs, steps := 0, 0
				// Wrapped, because rapid asks a *testing.T for its deadline, and in a bubble that panics.
				check := func(rt *rapid.T) {
					runs++
					d := &driver{b: b, name: fmt.Sprint("q", runs), processes: processes}
					b.create(d.name, nil)
					rt.Repeat(map[string]func(*rapid.T){
						"send": d.send, "send2": d.send, "receive": d.receive, "receive2": d.receive, "delete": d.remove, "delete2": d.remove,
						"visibility": d.visibility, "wait": d.wait, "restart": d.restart, "purge": d.purge, "": d.counts,
					})
					steps += d.steps
					if err := b.queue(0, d.name).Delete(context.Background()); err != nil {
						rt.Fatal(err)
					}
				}
				for range rounds {
					rapid.Check(struct{ *testing.T }{t}, check)
				}
				t.Logf("%d steps", steps)
			})
		})
	}
}

type driver struct {
	b         *bundle
	name      string
	processes int
	msgs      []*sample
	gone      []string // handles of messages that are gone
	steps     int
}

func (d *driver) queue(rt *rapid.T) *Queue {
	return d.b.queue(rapid.IntRange(0, d.processes-1).Draw(rt, "process"), d.name)
}

func (d *driver) send(rt *rapid.T) {
	q := d.queue(rt)
	in := make([]Send, rapid.IntRange(1, 4).Draw(rt, "n"))
	at := time.Now()
	for i := range in {
		in[i] = Send{
			Body: fmt.Sprint(d.steps, "/", i), SenderID: "me", GroupID: rapid.SampledFrom([]string{"", "", "a", "b"}).Draw(rt, "group"),
			Delay: new(time.Duration(rapid.SampledFrom([]int{0, 0, 0, 3, 60}).Draw(rt, "delay")) * time.Second),
		}
	}
	for i, r := range q.Send(context.Background(), in) {
		if r.Err != nil {
			rt.Fatal(r.Err)
		}
		x := &sample{id: r.MessageID, body: in[i].Body, group: in[i].GroupID, due: at.Add(*in[i].Delay)}
		if *in[i].Delay == 0 {
			x.due = time.Time{}
		}
		d.msgs = append(d.msgs, x)
	}
}

func (d *driver) receive(rt *rapid.T) {
	q := d.queue(rt)
	in := Receive{
		Max:        rapid.IntRange(1, 10).Draw(rt, "max"),
		Visibility: time.Duration(rapid.SampledFrom([]int{0, 2, 10, 60}).Draw(rt, "visibility")) * time.Second,
	}
	got, err := q.Receive(context.Background(), in)
	if err != nil {
		rt.Fatal(err)
	}
	now := time.Now()
	sure, unsure := 0, 0
	for _, x := range d.msgs {
		switch x.at(now) {
		case stateVisible:
			sure++
		case stateUnsure:
			unsure++
		case stateHidden, stateDelayed:
		}
	}
	if len(got) < min(in.Max, sure) || len(got) > min(in.Max, sure+unsure) {
		rt.Fatalf("%d messages of at most %d, %d surely and %d perhaps visible", len(got), in.Max, sure, unsure)
	}
	for i, m := range got {
		x := d.find(func(x *sample) bool { return x.id == m.ID })
		switch {
		case x == nil:
			rt.Fatalf("%s is not there any more, or never was", m.Body)
		case slices.ContainsFunc(got[:i], func(o Message) bool { return o.ID == m.ID }):
			rt.Fatalf("%s twice in one receive", m.Body)
		case x.at(now) == stateHidden, x.at(now) == stateDelayed:
			rt.Fatalf("%s is hidden until %s, delayed until %s", m.Body, x.hidden.Sub(now), x.due.Sub(now))
		case m.Body != x.body || m.GroupID != x.group || m.SenderID != "me" || m.ReceiveCount != x.count+1:
			rt.Fatalf("%+v, want %+v", m, x)
		case slices.Contains(x.handles, m.Handle):
			rt.Fatalf("%s with the handle of an earlier receive", m.Body)
		case !x.first.IsZero() && !m.FirstReceived.Truncate(time.Millisecond).Equal(x.first):
			rt.Fatalf("%s was first received at %s, not %s", m.Body, x.first, m.FirstReceived)
		}
		if x.count == 0 {
			x.first = m.FirstReceived.Truncate(time.Millisecond)
		}
		x.count++
		x.hidden = now.Add(in.Visibility)
		if in.Visibility == 0 {
			x.hidden = time.Time{}
		}
		x.handles = append(x.handles, m.Handle)
	}
}

func (d *driver) find(f func(*sample) bool) *sample {
	if i := slices.IndexFunc(d.msgs, f); i >= 0 {
		return d.msgs[i]
	}
	return nil
}

// handle picks one that was handed out at some time; nil is of a message that is
// gone.
func (d *driver) handle(rt *rapid.T) (string, *sample) {
	var all []string
	for _, x := range d.msgs {
		all = append(all, x.handles...)
	}
	all = append(all, d.gone[max(0, len(d.gone)-2):]...)
	if len(all) == 0 {
		rt.Skip("nothing received yet")
	}
	h := all[rapid.IntRange(0, len(all)-1).Draw(rt, "handle")]
	return h, d.find(func(x *sample) bool { return slices.Contains(x.handles, h) })
}

// remove deletes: with any handle, and again.
func (d *driver) remove(rt *rapid.T) {
	q := d.queue(rt)
	h, x := d.handle(rt)
	if err := q.DeleteMessages(context.Background(), []string{h})[0]; err != nil {
		rt.Fatal(err)
	}
	if x != nil {
		d.gone = append(d.gone, x.handles...)
		d.msgs = slices.DeleteFunc(d.msgs, func(y *sample) bool { return x == y })
	}
}

func (d *driver) visibility(rt *rapid.T) {
	q := d.queue(rt)
	h, x := d.handle(rt)
	timeout := time.Duration(rapid.SampledFrom([]int{0, 2, 30}).Draw(rt, "timeout")) * time.Second
	err := q.ChangeVisibility(context.Background(), []Visibility{{h, timeout}})[0]
	switch {
	case x == nil && mnq.KindOf(err) != mnq.Invalid:
		rt.Fatalf("of a message that is gone: %v", err)
	case x != nil && err != nil:
		rt.Fatal(err)
	case x != nil:
		if x.hidden = time.Now().Add(timeout); timeout == 0 {
			x.hidden = time.Time{}
		}
	}
}

func (d *driver) wait(rt *rapid.T) {
	time.Sleep(time.Duration(rapid.SampledFrom([]int{1, 2, 5, 20, 70}).Draw(rt, "seconds")) * time.Second)
}

// restart ends all processes and the server, in order.
func (d *driver) restart(rt *rapid.T) {
	if rapid.IntRange(0, 5).Draw(rt, "really") > 0 {
		return
	}
	d.b.restart()
	for range d.processes - 1 {
		d.b.process()
	}
	for _, x := range d.msgs {
		x.first = time.Time{} // who knew has ended
	}
}

func (d *driver) purge(rt *rapid.T) {
	if rapid.IntRange(0, 5).Draw(rt, "really") > 0 {
		return
	}
	if err := d.queue(rt).Purge(context.Background()); err != nil {
		rt.Fatal(err)
	}
	for _, x := range d.msgs {
		d.gone = append(d.gone, x.handles...)
	}
	d.msgs = nil
}

// fatal fails with what the model and the processes have.
func (d *driver) fatal(rt *rapid.T, format string, args ...any) {
	now := time.Now()
	for _, x := range d.msgs {
		rt.Logf("%s: state %d, received %d times, hidden for %s, delayed for %s", x.body, x.at(now), x.count, x.hidden.Sub(now), x.due.Sub(now))
	}
	for i := range d.processes {
		q := d.b.queue(i, d.name)
		for seq, h := range q.flight.out {
			rt.Logf("process %d: message %d hidden for %s", i, seq, h.until.Sub(now))
		}
		for of, a := range q.svc.ledger.others {
			if x := a.queues[q.id]; x != nil && x.hidden(now, 0) > 0 {
				rt.Logf("process %d: %s has hidden %v %v", i, of, x.until, x.many)
			}
		}
	}
	rt.Fatalf(format, args...)
}

// counts holds every process to the model, a second after each step.
func (d *driver) counts(rt *rapid.T) {
	d.steps++
	time.Sleep(time.Second)
	synctest.Wait()
	for i := range d.processes {
		got, err := d.b.queue(i, d.name).Counts(context.Background())
		if err != nil {
			rt.Fatal(err)
		}
		var n [stateUnsure + 1]int64
		for _, x := range d.msgs {
			n[x.at(time.Now())]++
		}
		for what, c := range map[string]struct{ got, sure int64 }{
			"visible": {got.Visible, n[stateVisible]}, "in flight": {got.InFlight, n[stateHidden]}, "delayed": {got.Delayed, n[stateDelayed]},
		} {
			if c.got < c.sure || c.got > c.sure+n[stateUnsure] {
				d.fatal(rt, "process %d: %d %s, want from %d to %d (%+v)", i, c.got, what, c.sure, c.sure+n[stateUnsure], got)
			}
		}
		if all := got.Visible + got.InFlight + got.Delayed; all != int64(len(d.msgs)) {
			d.fatal(rt, "process %d counts %+v, %d in all; want %d", i, got, all, len(d.msgs))
		}
	}
}
