package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
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
}

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
	Ls   queueLsCmd   `cmd:"" help:"List queues with what is in them and the age of the oldest message."`
	Show queueShowCmd `cmd:"" help:"Show what is in a queue."`
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
	all, err := list[queueInfo](a.ctx, cl, own("namespaces", id, "queues"), "queues", query)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(a.stdout, all)
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
	if c.Name == "" {
		return usagef("an empty name names nothing")
	}
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	id, err := c.namespaceID(a.ctx, cl)
	if err != nil {
		return err
	}
	var q queueInfo
	if err := cl.call(a.ctx, http.MethodGet, own("namespaces", id, "queues", c.Name), nil, &q); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(a.stdout, q)
	}
	t := newTable(a.stdout, "FIELD", "VALUE")
	t.row("name", q.Name)
	t.row("arn", q.ARN)
	t.row("kind", q.kind())
	t.row("visible", number(q.Visible))
	t.row("in flight", number(q.InFlight))
	t.row("delayed", number(q.Delayed))
	t.row("oldest", q.oldest())
	return t.flush()
}
