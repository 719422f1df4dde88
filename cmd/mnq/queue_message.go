package main

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/openmnq/mnq"
)

// message is a message as the server shows it: received, looked at or followed.
type message struct {
	ID            string     `json:"id"`
	Body          string     `json:"body"`
	SentAt        *time.Time `json:"sent_at"`
	ReceiveCount  *int       `json:"receive_count"`
	GroupID       string     `json:"group_id"`
	Sequence      uint64     `json:"sequence"`
	State         string     `json:"state"`
	ReceiptHandle string     `json:"receipt_handle"`
}

const shownBody = 80 // characters of a body in a table

func (m message) row(t *table) {
	sequence, received, sent := "", "", ""
	if m.Sequence > 0 {
		sequence = strconv.FormatUint(m.Sequence, 10)
	}
	if m.ReceiveCount != nil {
		received = strconv.Itoa(*m.ReceiveCount)
	}
	if m.SentAt != nil {
		sent = stamp(*m.SentAt)
	}
	body := []rune(m.Body)
	if len(body) > shownBody {
		body = append(body[:shownBody], '…')
	}
	t.row(sequence, sent, m.State, received, m.GroupID, string(body))
}

func messageTable(a *app) *table {
	return newTable(a.stdout, "SEQUENCE", "SENT", "STATE", "RECEIVED", "GROUP", "BODY")
}

// attributeValue is a message attribute on its way.
type attributeValue struct {
	DataType    string  `json:"data_type"`
	StringValue *string `json:"string_value,omitempty"`
	BinaryValue []byte  `json:"binary_value,omitempty"`
}

// messageAttributes reads NAME[:TYPE]=VALUE; values of type Binary are in base64.
func messageAttributes(flags map[string]string) (map[string]attributeValue, error) {
	out := map[string]attributeValue{}
	for name, value := range flags {
		name, kind, typed := strings.Cut(name, ":")
		if !typed {
			kind = "String"
		}
		v := attributeValue{DataType: kind, StringValue: &value}
		if base, _, _ := strings.Cut(kind, "."); base == "Binary" {
			b, err := base64.StdEncoding.DecodeString(value)
			if err != nil {
				return nil, usagef("--attribute: %s must be in base64: %w", name, err)
			}
			v = attributeValue{DataType: kind, BinaryValue: b}
		}
		out[name] = v
	}
	return out, nil
}

type queueSendCmd struct {
	inNamespace

	Name      string            `arg:"" help:"Name of the queue."`
	Body      string            `arg:"" help:"The message; - reads standard input."`
	Attribute map[string]string `short:"a" mapsep:"none" placeholder:"NAME[:TYPE]=VALUE" help:"A message attribute; may be repeated. TYPE is String, Number or Binary (in base64)."`
	Delay     *int              `placeholder:"SECONDS" help:"How long it cannot be received. Default: the queue's."`
	Group     string            `placeholder:"ID" help:"Message group."`
	DedupID   string            `placeholder:"ID" help:"Deduplication id, for FIFO queues."`
}

// sent is the outcome of one message.
type sent struct {
	ID             string `json:"id"`
	SequenceNumber string `json:"sequence_number,omitempty"`
}

// Run sends one message and prints its id.
func (c *queueSendCmd) Run(a *app) error {
	q, err := c.queue(a, c.Name)
	if err != nil {
		return err
	}
	attributes, err := messageAttributes(c.Attribute)
	if err != nil {
		return err
	}
	body, err := a.input(c.Body)
	if err != nil {
		return err
	}
	m := map[string]any{"body": body, "attributes": attributes}
	if c.Delay != nil {
		m["delay_seconds"] = *c.Delay
	}
	if c.Group != "" {
		m["group_id"] = c.Group
	}
	if c.DedupID != "" {
		m["deduplication_id"] = c.DedupID
	}
	var out struct {
		Results []sent `json:"results"`
	}
	if err := q.cl.call(a.ctx, http.MethodPost, q.path+"/messages", map[string]any{"messages": []any{m}}, &out); err != nil {
		return err
	}
	return printSent(a, c.JSON, out.Results)
}

func printSent(a *app, asJSON bool, results []sent) error {
	if len(results) != 1 {
		return &mnq.Error{Kind: mnq.Internal, Op: opClient, Msg: "the server's answer is not what was expected"}
	}
	if asJSON {
		return printJSON(a.stdout, results[0])
	}
	return printf(a.stdout, "%s\n", results[0].ID)
}

type queueReceiveCmd struct {
	inNamespace

	Name       string `arg:"" help:"Name of the queue."`
	Max        int    `default:"1" help:"How many messages at most, 1 to 10."`
	Wait       int    `default:"0" placeholder:"SECONDS" help:"How long to wait for one, 0 to 20."`
	Visibility *int   `placeholder:"SECONDS" help:"How long they stay hidden. Default: the queue's."`
	Ack        bool   `help:"Delete them once they are printed."`
}

// Run receives messages, prints them, and deletes them only then.
func (c *queueReceiveCmd) Run(a *app) error {
	q, err := c.queue(a, c.Name)
	if err != nil {
		return err
	}
	in := map[string]any{"max": c.Max, "wait_seconds": c.Wait}
	if c.Visibility != nil {
		in["visibility_timeout"] = *c.Visibility
	}
	var out struct {
		Messages []json.RawMessage `json:"messages"`
	}
	if err := q.cl.call(a.ctx, http.MethodPost, q.path+"/receive", in, &out); err != nil {
		return err
	}
	got, err := a.printMessages(c.JSON, out.Messages, out.Messages)
	if err != nil || !c.Ack || len(got) == 0 {
		return err
	}
	handles := []string{}
	for _, m := range got {
		handles = append(handles, m.ReceiptHandle)
	}
	var deleted struct {
		Results []struct {
			Error string `json:"error"`
		} `json:"results"`
	}
	if err := q.cl.call(a.ctx, http.MethodPost, q.path+"/messages/delete", map[string]any{"receipt_handles": handles}, &deleted); err != nil {
		return err
	}
	var failed []error
	for _, r := range deleted.Results {
		if r.Error != "" {
			failed = append(failed, &mnq.Error{Kind: mnq.Internal, Op: opClient, Msg: "not deleted: " + r.Error})
		}
	}
	if failed != nil {
		return failures{failed, true}
	}
	return nil
}

// printMessages prints messages as a table, or v as JSON.
func (a *app) printMessages(asJSON bool, raw []json.RawMessage, v any) ([]message, error) {
	list := make([]message, len(raw))
	for i := range raw {
		if err := json.Unmarshal(raw[i], &list[i]); err != nil {
			return nil, err
		}
	}
	if asJSON {
		return list, printJSON(a.stdout, v)
	}
	t := messageTable(a)
	for _, m := range list {
		m.row(t)
	}
	return list, t.flush()
}

// matchFlags choose messages.
type matchFlags struct {
	Text      string `placeholder:"TEXT" help:"Only messages with this text in the body or an attribute."`
	Attribute string `short:"a" placeholder:"NAME[=VALUE]" help:"Only messages with this attribute."`
}

func (m matchFlags) query() url.Values {
	q := url.Values{}
	if m.Text != "" {
		q.Set("text", m.Text)
	}
	if m.Attribute != "" {
		q.Set("attribute", m.Attribute)
	}
	return q
}

type queuePeekCmd struct {
	inNamespace
	matchFlags

	Name   string `arg:"" help:"Name of the queue."`
	Newest bool   `help:"Begin with the newest message."`
	From   uint64 `placeholder:"SEQUENCE" help:"Begin at this sequence."`
	At     string `placeholder:"TIME" help:"Begin at this time: RFC 3339, or an age such as 10m."`
	Max    int    `default:"10" help:"How many messages at most, 1 to 100."`
	Scan   int    `default:"1000" help:"How many records to look at before giving up, 1 to 10000."`
}

// Run looks at messages and says where to go on.
func (c *queuePeekCmd) Run(a *app) error {
	q, err := c.queue(a, c.Name)
	if err != nil {
		return err
	}
	query := c.query()
	query.Set("max", strconv.Itoa(c.Max))
	query.Set("scan", strconv.Itoa(c.Scan))
	if c.Newest {
		query.Set("order", "newest")
	}
	if c.From > 0 {
		query.Set("from", strconv.FormatUint(c.From, 10))
	}
	if c.At != "" {
		at, err := timeOrAge(c.At, time.Now())
		if err != nil {
			return usagef("--at: %w", err)
		}
		query.Set("at", at.Format(time.RFC3339Nano))
	}
	var out struct {
		Messages []json.RawMessage `json:"messages"`
		Scanned  int               `json:"scanned"`
		Next     *uint64           `json:"next"`
	}
	if err := q.cl.call(a.ctx, http.MethodGet, q.path+"/messages?"+query.Encode(), nil, &out); err != nil {
		return err
	}
	if _, err := a.printMessages(c.JSON, out.Messages, out); err != nil || c.JSON || out.Next == nil {
		return err
	}
	return printf(a.stderr, "there is more: --from %d\n", *out.Next)
}

// timeOrAge reads a time, or how long ago it was.
func timeOrAge(s string, now time.Time) (time.Time, error) {
	if age, err := time.ParseDuration(s); err == nil {
		return now.Add(-age), nil
	}
	return time.Parse(time.RFC3339, s)
}

type queueTailCmd struct {
	inNamespace
	matchFlags

	Name  string `arg:"" help:"Name of the queue."`
	Count int    `placeholder:"N" help:"End after so many messages. Default: go on until interrupted."`
}

// Run prints messages as they are sent, with --json one to a line.
func (c *queueTailCmd) Run(a *app) error {
	q, err := c.queue(a, c.Name)
	if err != nil {
		return err
	}
	shown := 0
	return q.cl.events(a.ctx, q.path+"/tail?"+c.query().Encode(), func(name string, data []byte) (bool, error) {
		switch name {
		case "begin":
			return true, printf(a.stderr, "following %s\n", c.Name)
		case "missed":
			return true, printf(a.stderr, "missed some: %s\n", data)
		case "message":
			shown++
			return c.Count <= 0 || shown < c.Count, c.print(a, data)
		}
		return true, nil
	})
}

func (c *queueTailCmd) print(a *app, data []byte) error {
	if c.JSON {
		return printf(a.stdout, "%s\n", data)
	}
	var m message
	if err := json.Unmarshal(data, &m); err != nil {
		return err
	}
	body := strings.Map(printable, m.Body)
	sent := ""
	if m.SentAt != nil {
		sent = stamp(*m.SentAt)
	}
	return printf(a.stdout, "%s  %s  %s\n", sent, m.ID, body)
}
