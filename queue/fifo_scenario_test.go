package queue

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// TestFIFOScenarios runs the files of testdata; -rewrite writes what happens into
// them. Commands:
//
//	send [process=N] [batch]     a line for each message: group dedup-id body
//	receive [max=N] [visibility=S] [process=N]
//	delete BODY… | visibility seconds=S BODY…   with the handle of the last receive of each
//	wait DURATION | restart | counts | purge
func TestFIFOScenarios(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"fifo_groups", "fifo_deduplication"} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T, b *bundle) {
				s := &fifoScenario{b: b, handles: map[string]string{}, sequences: map[string]int{}}
				datadriven.RunTest(t, "testdata/"+name+".txt", func(t *testing.T, d *datadriven.TestData) string { return s.run(t, d) })
			})
		})
	}
}

type fifoScenario struct {
	b         *bundle
	handles   map[string]string
	sequences map[string]int // small numbers in the place of sequence numbers
}

func (s *fifoScenario) run(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	process := countArg(t, d, "process", 0)
	if d.Cmd == "create" {
		attrs := map[string]string{}
		for _, a := range d.CmdArgs {
			attrs[a.Key] = a.Vals[0]
		}
		s.b.fifo(attrs)
		s.b.process()
		return "ok\n"
	}
	q := s.b.queue(process, "q.fifo")
	var out strings.Builder
	switch d.Cmd {
	case "send":
		for line := range strings.Lines(d.Input) {
			f := strings.Fields(line)
			r := q.Send(context.Background(), []Send{{GroupID: f[0], DedupID: strings.Trim(f[1], "-"), Body: f[2]}})[0]
			if r.Err != nil {
				fmt.Fprintln(&out, r.Err)
				continue
			}
			if s.sequences[r.SequenceNumber] == 0 {
				s.sequences[r.SequenceNumber] = len(s.sequences) + 1
			}
			fmt.Fprintf(&out, "%s is #%d\n", f[2], s.sequences[r.SequenceNumber])
		}
	case "receive":
		got, err := q.Receive(context.Background(), Receive{Max: countArg(t, d, "max", 10), Visibility: time.Duration(countArg(t, d, "visibility", 30)) * time.Second})
		if err != nil {
			return err.Error() + "\n"
		}
		for _, m := range got {
			s.handles[m.Body] = m.Handle
			fmt.Fprintf(&out, "%s/%s received %d\n", m.GroupID, m.Body, m.ReceiveCount)
		}
		if len(got) == 0 {
			return "nothing\n"
		}
	case "delete", "visibility":
		for body := range strings.FieldsSeq(d.Input) {
			var err error
			if d.Cmd == "delete" {
				err = q.DeleteMessages(context.Background(), []string{s.handles[body]})[0]
			} else {
				err = q.ChangeVisibility(context.Background(), []Visibility{{s.handles[body], time.Duration(countArg(t, d, "seconds", 0)) * time.Second}})[0]
			}
			result := "ok"
			if err != nil {
				_, result, _ = strings.Cut(err.Error(), "Reason: ")
			}
			fmt.Fprintf(&out, "%s: %s\n", body, result)
		}
	case "wait":
		d, err := time.ParseDuration(d.CmdArgs[0].Key)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(d)
		return "ok\n"
	case "restart":
		s.b.restart()
		s.b.process()
		return "ok\n"
	case "purge":
		if err := q.Purge(context.Background()); err != nil {
			return err.Error() + "\n"
		}
		return "ok\n"
	case "counts":
		c, err := q.Counts(context.Background())
		return fmt.Sprintf("{Visible:%d InFlight:%d Delayed:%d} %v\n", c.Visible, c.InFlight, c.Delayed, err)
	default:
		t.Fatalf("%s: unknown command %s", d.Pos, d.Cmd)
	}
	return out.String()
}

func countArg(t *testing.T, d *datadriven.TestData, name string, def int) int {
	t.Helper()
	for _, a := range d.CmdArgs {
		if a.Key == name {
			n, err := strconv.Atoi(a.Vals[0])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	return def
}

// taken is what a receive takes that ends before anybody gets it.
func taken(t *testing.T, q *Queue, in Receive) []handed {
	t.Helper()
	w, err := q.svc.connection(t.Context(), q.space)
	if err != nil {
		t.Fatal(err)
	}
	fw, err := q.fifo.index(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	got, err := q.fifo.takeNow(t.Context(), fw, in)
	if err != nil || len(got) == 0 {
		t.Fatal(got, err)
	}
	return got
}
