package console

import (
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// queue is what the control plane says of one.
type queue struct {
	Name      string     `json:"name"`
	ARN       string     `json:"arn"`
	FIFO      bool       `json:"fifo"`
	Visible   int64      `json:"visible"`
	InFlight  int64      `json:"in_flight"`
	Delayed   int64      `json:"delayed"`
	OldestAt  *time.Time `json:"oldest_at"`
	OldestAge float64    `json:"oldest_age_seconds"`

	Attributes        map[string]string `json:"attributes"`
	Tags              map[string]string `json:"tags"`
	DeadLetterSources []string          `json:"dead_letter_sources"`
	CreatedAt         *time.Time        `json:"created_at"`
	UpdatedAt         *time.Time        `json:"updated_at"`
}

// Total is how many messages there are.
func (q queue) Total() int64 { return q.Visible + q.InFlight + q.Delayed }

// DLQ reports whether other queues send their dead letters here.
func (q queue) DLQ() bool { return len(q.DeadLetterSources) > 0 }

// Redrive is the redrive policy, as far as it is one.
func (q queue) Redrive() (out redrivePolicy) {
	var raw struct {
		Target string `json:"deadLetterTargetArn"`
		Max    any    `json:"maxReceiveCount"` // a number, or one in quotes
	}
	if json.Unmarshal([]byte(q.Attributes["RedrivePolicy"]), &raw) != nil {
		return out
	}
	out.Queue = raw.Target[strings.LastIndexByte(raw.Target, ':')+1:]
	switch n := raw.Max.(type) {
	case float64:
		out.Max = strconv.Itoa(int(n))
	case string:
		out.Max = n
	}
	return out
}

// redrivePolicy is where messages go that were received too often.
type redrivePolicy struct{ Queue, Max string }

// Attention says why somebody should look at the queue; "" if nothing says so.
func (q queue) Attention() string {
	switch {
	case q.DLQ() && q.Visible > 0:
		return plural(q.Visible, "dead letter")
	case q.Visible > 0 && q.OldestAge > oldAge.Seconds():
		return "oldest message is " + age(q.OldestAge) + " old"
	default:
		return ""
	}
}

// oldAge is from when on a waiting message is worth a look.
const oldAge = 15 * time.Minute

type queueList struct {
	paging

	Queues   []queue
	Contains string
}

func (p *page) queues() error {
	if err := p.inNamespace(); err != nil {
		return err
	}
	out := queueList{paging: p.paging(), Contains: p.query("q")}
	in := out.query()
	if out.Contains != "" {
		in.Set("contains", out.Contains)
	}
	var list struct {
		Queues     []queue `json:"queues"`
		TotalCount int     `json:"total_count"`
	}
	if err := p.get(own("namespaces", p.ns.Account, "queues"), in, &list); err != nil {
		return err
	}
	out.Queues, out.Total = list.Queues, list.TotalCount
	return p.show("queues", "Queues", out)
}

// newQueue is the form of a new queue.
type newQueue struct {
	Form   url.Values
	Fields []field
}

func (p *page) newQueue() error {
	if err := p.inNamespace(); err != nil {
		return err
	}
	return p.show("queue-new", "New queue", newQueue{Form: url.Values{}, Fields: fieldsOf(nil, false)})
}

func (p *page) createQueue() error {
	if err := p.inNamespace(); err != nil {
		return err
	}
	name := strings.TrimSpace(p.form("name"))
	if p.form("kind") == "fifo" && !strings.HasSuffix(name, ".fifo") {
		name += ".fifo"
	}
	attributes := map[string]string{}
	for _, f := range fieldsOf(nil, strings.HasSuffix(name, ".fifo")) {
		if v := strings.TrimSpace(p.form("a." + f.Name)); v != "" && v != f.Default {
			attributes[f.Name] = v
		}
	}
	cli := []string{"queue", "create", name}
	for _, k := range slices.Sorted(maps.Keys(attributes)) {
		cli = append(cli, "-a", k+"="+attributes[k])
	}
	var made queue
	err := p.post(own("namespaces", p.ns.Account, "queues"), map[string]any{"name": name, "attributes": attributes}, &made)
	if p.refused(err) {
		return p.show("queue-new", "New queue", newQueue{Form: p.r.PostForm, Fields: fieldsOf(nil, false)})
	}
	if err != nil {
		return err
	}
	p.notify("The queue "+made.Name+" is ready.", p.cli(cli...))
	return p.redirect("ns", p.ns.Account, "queues", made.Name)
}

// cli is a command line about something in the namespace of the page.
func (p *page) cli(words ...string) string {
	return command(append(words, "--namespace-id", p.ns.Account)...)
}

// queuePage is what all pages of a queue have.
type queuePage struct {
	Queue queue
	Tab   string
	CLI   string
	Data  any
}

// inQueue finds the queue of the path.
func (p *page) inQueue() (queue, error) {
	var q queue
	if err := p.inNamespace(); err != nil {
		return q, err
	}
	return q, p.get(p.queuePath(), nil, &q)
}

// queuePath is the control plane's address of the queue of the path.
func (p *page) queuePath(parts ...string) string {
	return own(append([]string{"namespaces", p.ns.Account, "queues", p.r.PathValue("queue")}, parts...)...)
}

func (p *page) showQueue(q queue, tab string, data any, cli string) error {
	return p.show("queue-"+tab, q.Name, queuePage{Queue: q, Tab: tab, CLI: cli, Data: data})
}

func (p *page) toQueue(parts ...string) error {
	return p.redirect(append([]string{"ns", p.ns.Account, "queues", p.r.PathValue("queue")}, parts...)...)
}

// queueOverview is what the first page of a queue has besides it.
type queueOverview struct {
	Fields []field
	Charts *charts
}

func (p *page) queueOverview() error {
	q, err := p.inQueue()
	if err != nil {
		return err
	}
	ch, err := p.charts(p.queuePath("history"), at(Prefix, "ns", p.ns.Account, "queues", q.Name, "history.json"))
	if err != nil {
		return err
	}
	return p.showQueue(q, "overview", queueOverview{fieldsOf(q.Attributes, q.FIFO), ch}, p.cli("queue", "show", q.Name))
}

func (p *page) danger() error {
	q, err := p.inQueue()
	if err != nil {
		return err
	}
	return p.showQueue(q, "danger", nil, "")
}

// typed reports whether the name of what goes was typed; if not, the page says so.
func (p *page) typed(name string) bool {
	if p.form("confirm") == name {
		return true
	}
	p.refuse("Type the name " + name + " to confirm. Nothing was done.")
	return false
}

func (p *page) purge() error {
	q, err := p.inQueue()
	if err != nil {
		return err
	}
	if !p.typed(q.Name) {
		return p.showQueue(q, "danger", nil, "")
	}
	var out struct {
		Messages int64 `json:"messages"`
	}
	err = p.post(p.queuePath("purge"), nil, &out)
	if p.refused(err) {
		return p.showQueue(q, "danger", nil, "")
	}
	if err != nil {
		return err
	}
	p.notify("Purged: "+plural(out.Messages, "message")+" removed.", p.cli("queue", "purge", "--yes", q.Name))
	return p.toQueue()
}

func (p *page) deleteQueue() error {
	q, err := p.inQueue()
	if err != nil {
		return err
	}
	if !p.typed(q.Name) {
		return p.showQueue(q, "danger", nil, "")
	}
	err = p.delete(p.queuePath())
	if p.refused(err) {
		return p.showQueue(q, "danger", nil, "")
	}
	if err != nil {
		return err
	}
	p.notify("The queue "+q.Name+" is deleted.", p.cli("queue", "rm", "--yes", q.Name))
	return p.redirect("ns", p.ns.Account, "queues")
}
