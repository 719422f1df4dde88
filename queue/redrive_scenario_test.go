package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/openmnq/mnq"
)

// The scenarios say what is done; what comes of it is written by -rewrite and
// read by whoever changes it.
//
//	create NAME [VisibilityTimeout=…] [redrive=TARGET/N]   a FIFO queue if the name ends like that
//	send NAME                    one message for each word; of a FIFO queue: group/body
//	receive NAME [max=10] [wait=0s] [visibility=30s] [at=0]
//	send NAME delay=10s
//	delete NAME [at=0]           of what was received last, one body for each line
//	visibility NAME for=10s [at=0] [handle=first]   likewise, or of what was received first
//	redrive NAME TARGET/N        changes the policy; none for no policy
//	counts NAME [at=0] · sources NAME · sleep 10s · process · restart · remove NAME · purge NAME
//	move NAME [to=NAME] [rate=N] [at=0] · cancel NAME · tasks NAME
func TestScenarios(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"redrive", "fifo_redrive", "visibility"} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(t *testing.T, b *bundle) {
				s := scenario{b: b, handles: map[string]string{}, first: map[string]string{}}
				datadriven.RunTest(t, "testdata/"+name+".txt", s.step)
			})
		})
	}
}

type scenario struct {
	b       *bundle
	handles map[string]string // by body, of what was received last
	first   map[string]string // and first
}

func (s *scenario) step(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	name := ""
	if len(d.CmdArgs) > 0 {
		name = d.CmdArgs[0].Key
	}
	switch d.Cmd {
	case "sleep":
		pause, err := time.ParseDuration(name)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(pause)
	case "process":
		s.b.process()
	case "restart":
		s.b.restart()
	case "create":
		return s.create(d, name)
	default:
		svc := s.b.services[count(d, "at", 0)]
		q, err := svc.Queue(s.b.ns, name)
		if err != nil {
			return outcome(err)
		}
		if d.Cmd == "move" || d.Cmd == "cancel" || d.Cmd == "tasks" {
			return s.task(d, svc, q)
		}
		return s.onQueue(t, d, q)
	}
	return "ok"
}

func (s *scenario) create(d *datadriven.TestData, name string) string {
	attrs := map[string]string{}
	if isFIFO(name) {
		attrs = map[string]string{"FifoQueue": "true", "ContentBasedDeduplication": "true"}
	}
	for _, a := range d.CmdArgs[1:] {
		if a.Key == "redrive" {
			attrs[attrRedrive] = s.policy(a.Vals[0])
		} else {
			attrs[a.Key] = a.Vals[0]
		}
	}
	_, err := s.b.services[0].Create(context.Background(), s.b.ns, name, attrs, nil)
	return outcome(err)
}

// policy is a RedrivePolicy written as target/count.
func (s *scenario) policy(text string) string {
	target, n, ok := strings.Cut(text, "/")
	if !ok {
		return ""
	}
	return `{"deadLetterTargetArn":"arn:scw:sqs:fr-par:` + s.b.ns.ID + ":" + target + `","maxReceiveCount":` + n + `}`
}

func (s *scenario) onQueue(t *testing.T, d *datadriven.TestData, q *Queue) string {
	t.Helper()
	ctx := context.Background()
	switch d.Cmd {
	case "send":
		return s.send(t, d, q)
	case "redrive":
		return outcome(q.SetAttributes(ctx, s.b.ns, map[string]string{attrRedrive: s.policy(d.CmdArgs[1].Key)}))
	case "sources":
		names, _ := q.DeadLetterSources("", 10)
		return strings.Join(names, " ")
	case "purge":
		return outcome(q.Purge(ctx))
	case "receive":
		in := Receive{Max: count(d, "max", 10), Wait: span(t, d, "wait", 0), Visibility: span(t, d, "visibility", 30*time.Second)}
		got, err := q.Receive(ctx, in)
		if err != nil {
			return outcome(err)
		}
		var b strings.Builder
		for _, m := range got {
			s.handles[m.Body] = m.Handle
			if s.first[m.Body] == "" {
				s.first[m.Body] = m.Handle
			}
			if m.GroupID != "" {
				b.WriteString(m.GroupID + "/")
			}
			fmt.Fprintf(&b, "%s count=%d", m.Body, m.ReceiveCount)
			if m.DeadLetterSource != "" {
				b.WriteString(" from=" + m.DeadLetterSource[strings.LastIndex(m.DeadLetterSource, ":")+1:])
			}
			b.WriteString("\n")
		}
		return b.String()
	case "delete":
		for body := range strings.FieldsSeq(d.Input) {
			if err := q.DeleteMessages(ctx, []string{s.handles[body]})[0]; err != nil {
				return outcome(err)
			}
		}
	case "visibility":
		handles := s.handles
		if v, _ := value(d, "handle"); v == "first" {
			handles = s.first
		}
		for body := range strings.FieldsSeq(d.Input) {
			if err := q.ChangeVisibility(ctx, []Visibility{{handles[body], span(t, d, "for", 0)}})[0]; err != nil {
				_, reason, _ := strings.Cut(outcome(err), "Reason: ")
				return reason
			}
		}
	case "counts":
		c, err := q.Counts(ctx)
		if err != nil {
			return outcome(err)
		}
		return fmt.Sprintf("visible=%d in-flight=%d delayed=%d", c.Visible, c.InFlight, c.Delayed)
	case "remove":
		return outcome(q.Delete(ctx))
	default:
		d.Fatalf(t, "unknown command %s", d.Cmd)
	}
	return "ok"
}

// send sends what the input says.
func (s *scenario) send(t *testing.T, d *datadriven.TestData, q *Queue) string {
	t.Helper()
	if q.FIFO() {
		put(t, q, strings.Fields(d.Input)...)
		return "ok"
	}
	delay := span(t, d, "delay", 0)
	for body := range strings.FieldsSeq(d.Input) {
		if err := q.Send(context.Background(), []Send{{Body: body, Delay: &delay}})[0].Err; err != nil {
			return outcome(err)
		}
	}
	return "ok"
}

func (s *scenario) task(d *datadriven.TestData, svc *Service, q *Queue) string {
	ctx, source := context.Background(), q.ARN(s.b.ns)
	switch d.Cmd {
	case "move":
		in := NewMove{Source: source}
		if to, ok := value(d, "to"); ok {
			in.Destination = strings.TrimSuffix(source, q.Name()) + to
		}
		if n := count(d, "rate", 0); n > 0 {
			in.Rate = &n
		}
		_, err := svc.StartMove(ctx, s.b.ns, in)
		return outcome(err)
	case "cancel":
		_, err := svc.CancelMove(ctx, s.b.ns, svc.tasks.list(q.taskKey())[0].Handle())
		return outcome(err)
	}
	list, err := svc.Moves(s.b.ns, source, 10)
	if err != nil {
		return outcome(err)
	}
	var b strings.Builder
	for _, m := range list {
		fmt.Fprintf(&b, "%s moved=%d of=%d %s\n", m.Status, m.Moved, m.ToMove, m.Failure)
	}
	return b.String()
}

func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	if e, ok := errors.AsType[*mnq.Error](err); ok {
		return e.Code + ": " + e.Msg
	}
	return err.Error()
}

func value(d *datadriven.TestData, name string) (string, bool) {
	for _, a := range d.CmdArgs {
		if a.Key == name && len(a.Vals) == 1 {
			return a.Vals[0], true
		}
	}
	return "", false
}

func count(d *datadriven.TestData, name string, otherwise int) int {
	n := otherwise
	if v, ok := value(d, name); ok {
		_, _ = fmt.Sscan(v, &n) // a mistake shows in the output
	}
	return n
}

func span(t *testing.T, d *datadriven.TestData, name string, otherwise time.Duration) time.Duration {
	t.Helper()
	v, ok := value(d, name)
	if !ok {
		return otherwise
	}
	pause, err := time.ParseDuration(v)
	if err != nil {
		t.Fatal(err)
	}
	return pause
}
