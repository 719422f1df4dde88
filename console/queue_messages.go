package console

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// attribute is a message attribute.
type attribute struct {
	DataType    string  `json:"data_type"`
	StringValue *string `json:"string_value,omitempty"`
	BinaryValue []byte  `json:"binary_value,omitempty"`
}

// Text is the value for people: binary ones in base64.
func (a attribute) Text() string {
	if a.StringValue != nil {
		return *a.StringValue
	}
	return base64.StdEncoding.EncodeToString(a.BinaryValue)
}

// message is one that was looked at.
type message struct {
	ID              string               `json:"id"`
	Body            string               `json:"body"`
	BodyMD5         string               `json:"body_md5"`
	Attributes      map[string]attribute `json:"attributes"`
	SentAt          *time.Time           `json:"sent_at"`
	ReceiveCount    *int                 `json:"receive_count"`
	FirstReceivedAt *time.Time           `json:"first_received_at"`

	SenderID         string `json:"sender_id"`
	GroupID          string `json:"group_id"`
	DeduplicationID  string `json:"deduplication_id"`
	SequenceNumber   string `json:"sequence_number"`
	DeadLetterSource string `json:"dead_letter_source"`
	TraceHeader      string `json:"trace_header"`

	Sequence uint64     `json:"sequence"`
	State    string     `json:"state"`
	Until    *time.Time `json:"until"`
	StoredAt *time.Time `json:"stored_at"`
}

// Source is the name of the queue that it failed in.
func (m message) Source() string {
	return m.DeadLetterSource[strings.LastIndexByte(m.DeadLetterSource, ':')+1:]
}

// StateText is the state in words.
func (m message) StateText() string { return strings.ReplaceAll(m.State, "_", " ") }

// Hex is the body as bytes, the first 4 KiB.
func (m message) Hex() string { return hex.Dump([]byte(m.Body[:min(len(m.Body), 4096)])) }

// JSON reports whether the body is a JSON object or array.
func (m message) JSON() bool { return pretty(m.Body) != m.Body || json.Valid([]byte(m.Body)) }

// Readable reports whether the body is text that can be shown.
func (m message) Readable() bool { return utf8.ValidString(m.Body) }

// Names are those of the attributes, in order.
func (m message) Names() []string { return slices.Sorted(maps.Keys(m.Attributes)) }

// filter is which messages somebody wants to see.
type filter struct {
	Text, Attribute, Order, From string
	At                           string
}

func (p *page) filter() filter {
	f := filter{Text: p.query("text"), Attribute: p.query("attribute"), Order: p.query("order"), From: p.query("from"), At: p.query("at")}
	if f.Order != "oldest" {
		f.Order = "newest"
	}
	return f
}

// Set reports whether anything is filtered.
func (f filter) Set() bool { return f.Text != "" || f.Attribute != "" }

func (f filter) query() url.Values {
	q := url.Values{"order": {f.Order}}
	for name, v := range map[string]string{"text": f.Text, "attribute": f.Attribute, "from": f.From, "at": f.At} {
		if v != "" {
			q.Set(name, v)
		}
	}
	return q
}

func (f filter) words() []string {
	var out []string
	if f.Order == "newest" {
		out = append(out, "--newest")
	}
	for _, o := range []struct{ flag, v string }{{"--text", f.Text}, {"--attribute", f.Attribute}, {"--from", f.From}, {"--at", f.At}} {
		if o.v != "" {
			out = append(out, o.flag, o.v)
		}
	}
	return out
}

const (
	shownMessages = 25
	scanned       = 5000 // records that one look goes through
)

// messageList is what a look finds.
type messageList struct {
	filter

	Messages []message
	Scanned  int
	Next     string // address of what goes on
	Total    int64
}

// peek looks at messages, which changes nothing.
func (p *page) peek(f filter, max int) (*messageList, error) {
	q := f.query()
	q.Set("max", strconv.Itoa(max))
	q.Set("scan", strconv.Itoa(scanned))
	if f.At != "" {
		if t, err := time.Parse("2006-01-02T15:04", f.At); err == nil {
			q.Set("at", t.UTC().Format(time.RFC3339))
		}
	}
	var found struct {
		Messages []message `json:"messages"`
		Scanned  int       `json:"scanned"`
		Next     *uint64   `json:"next"`
	}
	if err := p.get(p.queuePath("messages"), q, &found); err != nil {
		return nil, err
	}
	out := &messageList{filter: f, Messages: found.Messages, Scanned: found.Scanned}
	if found.Next != nil {
		next := f
		next.From, next.At = strconv.FormatUint(*found.Next, 10), ""
		out.Next = p.r.URL.Path + "?" + next.query().Encode()
	}
	return out, nil
}

func (p *page) messages() error {
	q, err := p.inQueue()
	if err != nil {
		return err
	}
	f := p.filter()
	found, err := p.peek(f, shownMessages)
	if p.refused(err) {
		found, err = &messageList{filter: f}, nil
	}
	if err != nil {
		return err
	}
	found.Total = q.Total()
	return p.showQueue(q, "messages", found, p.cli(append([]string{"queue", "peek", q.Name}, f.words()...)...))
}

func (p *page) message() error {
	q, err := p.inQueue()
	if err != nil {
		return err
	}
	var m message
	if err := p.get(p.queuePath("messages", p.r.PathValue("sequence")), nil, &m); err != nil {
		return err
	}
	cli := p.cli("queue", "peek", q.Name, "--from", strconv.FormatUint(m.Sequence, 10), "--max", "1")
	return p.showQueue(q, "message", m, cli)
}

// attributeRow is a line of the form of attributes.
type attributeRow struct{ Name, Type, Value string }

// sendForm is a message to send.
type sendForm struct {
	Body, Group, Dedup, Delay string
	Rows                      []attributeRow
	Copied                    string // sequence of the message that this is a copy of
}

const attributeRows = 10 // as many as a message may have

// sendForm is the empty form, or a copy of a message to send again.
func (p *page) sendForm() error {
	q, err := p.inQueue()
	if err != nil {
		return err
	}
	f := sendForm{}
	if from := p.query("copy"); from != "" {
		var m message
		if err := p.get(p.queuePath("messages", from), nil, &m); err != nil {
			return err
		}
		f = sendForm{Body: m.Body, Group: m.GroupID, Copied: from}
		for _, name := range m.Names() {
			f.Rows = append(f.Rows, attributeRow{name, m.Attributes[name].DataType, m.Attributes[name].Text()})
		}
	}
	return p.showQueue(q, "send", f.padded(), "")
}

// padded has an empty line to write in, at least.
func (f sendForm) padded() sendForm {
	for len(f.Rows) < 3 {
		f.Rows = append(f.Rows, attributeRow{Type: "String"})
	}
	return f
}

func (p *page) sent() sendForm {
	f := sendForm{Body: p.form("body"), Group: p.form("group"), Dedup: p.form("dedup"), Delay: strings.TrimSpace(p.form("delay"))}
	names, types, values := p.r.PostForm["an"], p.r.PostForm["at"], p.r.PostForm["av"]
	for i := range min(len(names), len(types), len(values), attributeRows) {
		if names[i] != "" || values[i] != "" {
			f.Rows = append(f.Rows, attributeRow{names[i], types[i], values[i]})
		}
	}
	return f
}

// wire is the message as the control plane takes it, and the words of the command line.
func (f sendForm) wire() (m map[string]any, words []string, bad string) {
	m = map[string]any{"body": strings.ReplaceAll(f.Body, "\r\n", "\n")}
	attributes := map[string]attribute{}
	for _, r := range f.Rows {
		a := attribute{DataType: r.Type, StringValue: &r.Value}
		if strings.HasPrefix(r.Type, "Binary") {
			raw, err := base64.StdEncoding.DecodeString(r.Value)
			if err != nil {
				return nil, nil, "The value of " + r.Name + " is not base64."
			}
			a = attribute{DataType: r.Type, BinaryValue: raw}
		}
		attributes[r.Name] = a
		words = append(words, "-a", r.Name+":"+r.Type+"="+r.Value)
	}
	m["attributes"] = attributes
	if f.Delay != "" {
		n, err := strconv.Atoi(f.Delay)
		if err != nil {
			return nil, nil, "The delay must be a number of seconds."
		}
		m["delay_seconds"] = n
		words = append(words, "--delay", f.Delay)
	}
	for _, o := range []struct{ key, flag, v string }{{"group_id", "--group", f.Group}, {"deduplication_id", "--dedup-id", f.Dedup}} {
		if o.v != "" {
			m[o.key] = o.v
			words = append(words, o.flag, o.v)
		}
	}
	return m, words, ""
}

func (p *page) send() error {
	q, err := p.inQueue()
	if err != nil {
		return err
	}
	f := p.sent()
	m, words, bad := f.wire()
	if bad != "" {
		p.refuse(bad)
		return p.showQueue(q, "send", f.padded(), "")
	}
	var out struct {
		Results []struct {
			ID             string `json:"id"`
			SequenceNumber string `json:"sequence_number"`
			Error          string `json:"error"`
		} `json:"results"`
	}
	err = p.post(p.queuePath("messages"), map[string]any{"messages": []any{m}}, &out)
	if p.refused(err) {
		return p.showQueue(q, "send", f.padded(), "")
	}
	if err != nil {
		return err
	}
	if len(out.Results) != 1 || out.Results[0].Error != "" {
		p.refuse("The message was not sent.")
		return p.showQueue(q, "send", f.padded(), "")
	}
	p.notify("Sent, id "+out.Results[0].ID+".", p.cli(append([]string{"queue", "send", q.Name, f.Body}, words...)...))
	return p.toQueue("send")
}
