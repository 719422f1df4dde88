package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openmnq/mnq"
)

// queueInfo is a queue with what is in it now.
type queueInfo struct {
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
}

func (q queueInfo) messages() int64 { return q.Visible + q.InFlight + q.Delayed }

func (q queueInfo) kind() string {
	if q.FIFO {
		return "fifo"
	}
	return "standard"
}

// oldest is the age of the oldest message in a form that people read at a glance.
func (q queueInfo) oldest() string {
	if q.OldestAt == nil {
		return ""
	}
	age := time.Duration(q.OldestAge * float64(time.Second))
	if age >= 48*time.Hour {
		return fmt.Sprintf("%dd%dh", age/(24*time.Hour), age%(24*time.Hour)/time.Hour)
	}
	return age.Truncate(time.Second).String()
}

type queueCmd struct {
	Ls      queueLsCmd      `cmd:"" help:"List queues with what is in them and the age of the oldest message."`
	Create  queueCreateCmd  `cmd:"" help:"Create a queue."`
	Show    queueShowCmd    `cmd:"" help:"Show a queue and what is in it."`
	Set     queueSetCmd     `cmd:"" help:"Change attributes and tags of a queue."`
	Send    queueSendCmd    `cmd:"" help:"Send a message."`
	Receive queueReceiveCmd `cmd:"" help:"Receive messages; they are hidden for a while, or deleted with --ack."`
	Peek    queuePeekCmd    `cmd:"" help:"Look at messages without receiving them."`
	Tail    queueTailCmd    `cmd:"" help:"Follow what is sent to a queue without receiving it."`
	Purge   queuePurgeCmd   `cmd:"" help:"Remove all messages of a queue."`
	Redrive queueRedriveCmd `cmd:"" help:"Move the messages of a dead-letter queue back, or to another queue."`
	Rm      queueRmCmd      `cmd:"" help:"Delete queues with their messages."`
}

// inNamespace is what every command about queues shares.
type inNamespace struct {
	connection

	NamespaceID string `placeholder:"ID" help:"Namespace of the queue: its id, or the account part of a queue URL. Default: the only SQS/SNS namespace."`
}

// namespaceID returns the namespace that was named, or the only one there is.
func (c *inNamespace) namespaceID(ctx context.Context, cl *client) (string, error) {
	if c.NamespaceID != "" {
		return c.NamespaceID, nil
	}
	type entry struct {
		ID       string       `json:"id"`
		Protocol mnq.Protocol `json:"protocol"`
	}
	all, err := list[entry](ctx, cl, own("namespaces"), "namespaces", nil)
	if err != nil {
		return "", err
	}
	id := ""
	for _, n := range all {
		switch {
		case n.Protocol != mnq.ProtocolSQSSNS:
		case id != "":
			return "", usagef("--namespace-id: is needed, there are several SQS/SNS namespaces (mnq namespace ls)")
		default:
			id = n.ID
		}
	}
	if id == "" {
		return "", &mnq.Error{Kind: mnq.NotFound, Op: opClient, Msg: "there is no SQS/SNS namespace (mnq namespace create NAME --protocol sqs_sns)"}
	}
	return id, nil
}

type queueLsCmd struct {
	inNamespace

	Prefix string `placeholder:"TEXT" help:"Only those whose name begins with it."`
}

// Run lists the queues of a namespace.
func (c *queueLsCmd) Run(a *app) error {
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	id, err := c.namespaceID(a.ctx, cl)
	if err != nil {
		return err
	}
	query := url.Values{}
	if c.Prefix != "" {
		query.Set("prefix", c.Prefix)
	}
	path := own("namespaces", id, "queues")
	if c.JSON {
		return listJSON(a, cl, path, "queues", query)
	}
	all, err := list[queueInfo](a.ctx, cl, path, "queues", query)
	if err != nil {
		return err
	}
	t := newTable(a.stdout, "NAME", "KIND", "VISIBLE", "IN FLIGHT", "DELAYED", "OLDEST")
	for _, q := range all {
		t.row(q.Name, q.kind(), number(q.Visible), number(q.InFlight), number(q.Delayed), q.oldest())
	}
	return t.flush()
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

type queueShowCmd struct {
	inNamespace

	Name string `arg:"" help:"Name of the queue."`
}

// Run shows one queue.
func (c *queueShowCmd) Run(a *app) error {
	q, err := c.queue(a, c.Name)
	if err != nil {
		return err
	}
	return q.show(a, c.JSON, http.MethodGet, "", nil)
}

// namedQueue is a queue that a command works on.
type namedQueue struct {
	cl   *client
	path string
}

// queue names a queue of the namespace; whether there is one the server says.
func (c *inNamespace) queue(a *app, name string) (namedQueue, error) {
	if name == "" {
		return namedQueue{}, usagef("an empty name names nothing")
	}
	cl, err := c.client(a)
	if err != nil {
		return namedQueue{}, err
	}
	id, err := c.namespaceID(a.ctx, cl)
	return namedQueue{cl, own("namespaces", id, "queues", name)}, err
}

// info is what the server says of the queue.
func (q namedQueue) info(ctx context.Context) (i queueInfo, err error) {
	return i, q.cl.call(ctx, http.MethodGet, q.path, nil, &i)
}

// show makes a call that answers with a queue, and prints it.
func (q namedQueue) show(a *app, asJSON bool, method, below string, in any) error {
	return showCall(a, asJSON, q.cl, apiCall{method, q.path + below, in}, showQueue)
}

func showQueue(t *table, q queueInfo) {
	t.row("name", q.Name)
	t.row("arn", q.ARN)
	t.row("kind", q.kind())
	t.row("visible", number(q.Visible))
	t.row("in flight", number(q.InFlight))
	t.row("delayed", number(q.Delayed))
	t.row("oldest", q.oldest())
	t.row("dead letters of", strings.Join(q.DeadLetterSources, " "))
	for _, name := range slices.Sorted(maps.Keys(q.Attributes)) {
		t.row(name, q.Attributes[name])
	}
	for _, key := range slices.Sorted(maps.Keys(q.Tags)) {
		t.row("tag "+key, q.Tags[key])
	}
}
