package console

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// task is a move of messages.
type task struct {
	ID          string     `json:"id"`
	Kind        string     `json:"kind"`
	Status      string     `json:"status"`
	Queue       string     `json:"queue"`
	Destination string     `json:"destination_arn"`
	Rate        int        `json:"rate"`
	Moved       int64      `json:"moved"`
	ToMove      int64      `json:"to_move"`
	Failure     string     `json:"failure"`
	StartedAt   *time.Time `json:"started_at"`
}

// To is the name of the queue that it moves to; "" is each message's own source.
func (t task) To() string { return t.Destination[strings.LastIndexByte(t.Destination, ':')+1:] }

// Active reports whether it goes on.
func (t task) Active() bool { return t.Status == "running" || t.Status == "cancelling" }

type taskList struct {
	paging

	Tasks []task
}

func (p *page) listTasks(g paging) (*taskList, error) {
	var list struct {
		Tasks      []task `json:"tasks"`
		TotalCount int    `json:"total_count"`
	}
	if err := p.get(own("namespaces", p.ns.Account, "tasks"), g.query(), &list); err != nil {
		return nil, err
	}
	g.Total = list.TotalCount
	return &taskList{g, list.Tasks}, nil
}

func (p *page) tasks() error {
	if err := p.inNamespace(); err != nil {
		return err
	}
	list, err := p.listTasks(p.paging())
	if err != nil {
		return err
	}
	return p.show("tasks", "Tasks", list)
}

func (p *page) cancelTask() error {
	if err := p.inNamespace(); err != nil {
		return err
	}
	id := p.r.PathValue("task")
	err := p.post(own("namespaces", p.ns.Account, "tasks", id, "cancel"), nil, nil)
	if err != nil {
		return err
	}
	p.notify("The task is asked to end. What it has moved stays moved.", p.cli("task", "cancel", id))
	return p.redirectTo(ownPath(p.form("to")))
}

// deadLetters is the page of a queue's dead letters: of a dead-letter queue its
// messages, of another one where its dead letters go.
type deadLetters struct {
	*messageList

	Tasks  []task
	Target *queue // where dead letters of this queue go
	Form   url.Values
	Dry    string // what would happen
}

func (p *page) deadLetters() error {
	q, err := p.inQueue()
	if err != nil {
		return err
	}
	return p.showDeadLetters(q, deadLetters{Form: url.Values{}})
}

func (p *page) showDeadLetters(q queue, out deadLetters) error {
	f := p.filter()
	var err error
	out.messageList = &messageList{filter: f}
	if p.query("part") != "tasks" { // which refreshes itself, and looking is audited
		if out.messageList, err = p.peek(f, shownMessages); err != nil {
			return err
		}
	}
	out.Total = q.Total()
	list, err := p.listTasks(paging{Page: 1, Size: 100})
	if err != nil {
		return err
	}
	out.Tasks = slices.DeleteFunc(list.Tasks, func(t task) bool { return t.Queue != q.Name })
	if to := q.Redrive().Queue; to != "" {
		var target queue
		if err := p.get(own("namespaces", p.ns.Account, "queues", to), nil, &target); err == nil {
			out.Target = &target
		}
	}
	return p.showQueue(q, "dead-letters", out, p.cli("queue", "redrive", q.Name))
}

// redrive moves messages of a dead-letter queue, or says what it would do.
func (p *page) redrive() error {
	q, err := p.inQueue()
	if err != nil {
		return err
	}
	in, words := map[string]any{}, []string{"queue", "redrive", q.Name}
	if to := strings.TrimSpace(p.form("destination")); to != "" {
		in["destination"] = to
		words = append(words, "--to", to)
	}
	if rate := strings.TrimSpace(p.form("rate")); rate != "" {
		n, err := strconv.Atoi(rate)
		if err != nil {
			p.refuse("The rate must be a number of messages a second, 1 to 500.")
			return p.showDeadLetters(q, deadLetters{Form: p.r.PostForm})
		}
		in["rate"] = n
		words = append(words, "--rate", rate)
	}
	if p.form("dry") != "" {
		where := "each to the queue it came from"
		if to, ok := in["destination"].(string); ok {
			where = "to " + to
		}
		return p.showDeadLetters(q, deadLetters{Form: p.r.PostForm, Dry: plural(q.Visible, "message") + " would be moved, " + where + ". Nothing was done."})
	}
	var t task
	err = p.post(p.queuePath("redrive"), in, &t)
	if p.refused(err) {
		return p.showDeadLetters(q, deadLetters{Form: p.r.PostForm})
	}
	if err != nil {
		return err
	}
	p.notify("The redrive has begun: "+plural(t.ToMove, "message")+" to move.", p.cli(words...))
	return p.toQueue("dead-letters")
}
