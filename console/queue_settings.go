package console

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// field is an attribute of a queue that can be set.
type field struct {
	Name, Label, Unit, Default, Help string
	Value                            string
	Long                             bool // a document
	Choice                           []string
	FIFO                             bool // of FIFO queues only
	Fixed                            bool // chosen when the queue is made
}

// Shown is the value in force, a duration as people read it.
func (f field) Shown() string {
	v := cmp.Or(f.Value, f.Default)
	if n, err := strconv.ParseFloat(v, 64); err == nil {
		switch f.Unit {
		case "s":
			return age(n)
		case "bytes":
			return size(int64(n))
		}
	}
	return v
}

var queueFields = []field{
	{Name: "VisibilityTimeout", Label: "Visibility timeout", Unit: "s", Default: "30", Help: "How long a received message is hidden, 0 to 43 200 s."},
	{Name: "MessageRetentionPeriod", Label: "Retention", Unit: "s", Default: "345600", Help: "How long a message is kept, 60 to 1 209 600 s."},
	{Name: "DelaySeconds", Label: "Delivery delay", Unit: "s", Default: "0", Help: "How long a new message cannot be received, 0 to 900 s."},
	{Name: "ReceiveMessageWaitTimeSeconds", Label: "Receive wait time", Unit: "s", Default: "0", Help: "How long a receive waits for a message, 0 to 20 s."},
	{Name: "MaximumMessageSize", Label: "Largest message", Unit: "bytes", Default: "", Help: "From 1 024 bytes to the limit of the namespace."},
	{Name: "RedrivePolicy", Label: "Redrive policy", Help: "After how many receives a message goes to which dead-letter queue.", Long: true},
	{Name: "RedriveAllowPolicy", Label: "Redrive allow policy", Help: "Which queues may use this one for dead letters. Empty: all of the namespace.", Long: true},
	{Name: "Policy", Label: "Access policy", Help: "Who else may use the queue.", Long: true},
	{Name: "ContentBasedDeduplication", Label: "Content-based deduplication", Default: "false", Choice: []string{"false", "true"}, FIFO: true, Help: "Equal bodies are duplicates for five minutes."},
	{Name: "DeduplicationScope", Label: "Deduplication scope", Default: "queue", Choice: []string{"queue", "messageGroup"}, FIFO: true, Help: "Where a deduplication id counts."},
	{Name: "FifoThroughputLimit", Label: "Throughput limit", Default: "perQueue", Choice: []string{"perQueue", "perMessageGroupId"}, FIFO: true, Help: "Goes with the deduplication scope."},
}

// fieldsOf are the attributes that a queue of a kind has, with their values.
func fieldsOf(values map[string]string, fifo bool) []field {
	var out []field
	for _, f := range queueFields {
		if f.FIFO && !fifo {
			continue
		}
		f.Value = values[f.Name]
		out = append(out, f)
	}
	return out
}

// change is a line of the difference between what is and what was asked for.
type change struct{ Name, From, To string }

// settingsForm is the form, and the changes when they are to be looked at first.
type settingsForm struct {
	Fields  []field
	Tags    string // lines of key=value
	Changes []change
	Ready   bool // the changes are to be confirmed
}

func tagLines(tags map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		b.WriteString(k + "=" + tags[k] + "\n")
	}
	return b.String()
}

func parseTags(text string) map[string]string {
	out := map[string]string{}
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "="); ok || k != "" {
			out[strings.TrimSpace(k)] = v
		}
	}
	return out
}

func (p *page) settings() error {
	q, err := p.inQueue()
	if err != nil {
		return err
	}
	return p.showQueue(q, "settings", settingsForm{Fields: fieldsOf(q.Attributes, q.FIFO), Tags: tagLines(q.Tags)}, p.cli("queue", "show", q.Name, "--json"))
}

// asked is what the form wants to be different.
func (p *page) asked(q queue) (f settingsForm, attributes, tags map[string]string, untag []string) {
	f = settingsForm{Fields: fieldsOf(q.Attributes, q.FIFO), Tags: p.form("tags")}
	attributes, tags = map[string]string{}, map[string]string{}
	for i := range f.Fields {
		fd := &f.Fields[i]
		if !p.r.PostForm.Has("a." + fd.Name) {
			continue
		}
		v, now := strings.TrimSpace(p.form("a."+fd.Name)), cmp.Or(q.Attributes[fd.Name], fd.Default)
		if v == now || sameJSON(v, now) {
			continue
		}
		attributes[fd.Name], fd.Value = v, v
		f.Changes = append(f.Changes, change{fd.Label, now, v})
	}
	want := parseTags(f.Tags)
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if old, ok := q.Tags[k]; !ok || old != want[k] {
			tags[k] = want[k]
			f.Changes = append(f.Changes, change{"Tag " + k, old, want[k]})
		}
	}
	for _, k := range slices.Sorted(maps.Keys(q.Tags)) {
		if _, ok := want[k]; !ok {
			untag = append(untag, k)
			f.Changes = append(f.Changes, change{"Tag " + k, q.Tags[k], ""})
		}
	}
	return f, attributes, tags, untag
}

func sameJSON(a, b string) bool {
	var x, y any
	if json.Unmarshal([]byte(a), &x) != nil || json.Unmarshal([]byte(b), &y) != nil {
		return false
	}
	p, _ := json.Marshal(x) // what was decoded always encodes
	q, _ := json.Marshal(y)
	return string(p) == string(q)
}

// changeSettings shows the difference first and changes when that has been confirmed.
func (p *page) changeSettings() error {
	q, err := p.inQueue()
	if err != nil {
		return err
	}
	f, attributes, tags, untag := p.asked(q)
	words := []string{"queue", "set", q.Name}
	for _, k := range slices.Sorted(maps.Keys(attributes)) {
		words = append(words, "-a", k+"="+attributes[k])
	}
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		words = append(words, "--tag", k+"="+tags[k])
	}
	for _, k := range untag {
		words = append(words, "--untag", k)
	}
	cli := p.cli(words...)
	if len(f.Changes) == 0 {
		p.refuse("Nothing is different from what the queue has.")
		return p.showQueue(q, "settings", f, "")
	}
	if p.form("step") != "save" {
		f.Ready = true
		return p.showQueue(q, "settings", f, cli)
	}
	err = p.call("PATCH", p.queuePath(), map[string]any{"attributes": attributes, "tags": tags, "untag": untag}, nil)
	if p.refused(err) {
		return p.showQueue(q, "settings", f, cli)
	}
	if err != nil {
		return err
	}
	p.notify(plural(len(f.Changes), "setting")+" changed.", cli)
	return p.toQueue("settings")
}
