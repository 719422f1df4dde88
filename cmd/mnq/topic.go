package main

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

type topicInfo struct {
	Name          string             `json:"name"`
	ARN           string             `json:"arn"`
	FIFO          bool               `json:"fifo"`
	Attributes    map[string]string  `json:"attributes"`
	Tags          map[string]string  `json:"tags"`
	Subscriptions []subscriptionInfo `json:"subscriptions"`
}

type subscriptionInfo struct {
	ID         string            `json:"id"`
	ARN        string            `json:"arn"`
	Protocol   string            `json:"protocol"`
	Endpoint   string            `json:"endpoint"`
	Pending    bool              `json:"pending"`
	Attributes map[string]string `json:"attributes"`
}

func (s subscriptionInfo) state() string {
	if s.Pending {
		return "pending"
	}
	return "confirmed"
}

func (t topicInfo) kind() string { return queueInfo{FIFO: t.FIFO}.kind() }

func showTopic(t *table, v topicInfo) {
	t.row("name", v.Name)
	t.row("arn", v.ARN)
	t.row("kind", v.kind())
	for _, name := range slices.Sorted(maps.Keys(v.Attributes)) {
		t.row(name, v.Attributes[name])
	}
	for _, key := range slices.Sorted(maps.Keys(v.Tags)) {
		t.row("tag "+key, v.Tags[key])
	}
	for _, s := range v.Subscriptions {
		t.row("subscription "+s.ID, s.Protocol+" "+s.Endpoint+" "+s.state())
	}
}

func showSubscription(t *table, s subscriptionInfo) {
	t.row("id", s.ID)
	t.row("arn", s.ARN)
	t.row("protocol", s.Protocol)
	t.row("endpoint", s.Endpoint)
	t.row("state", s.state())
}

type topicCmd struct {
	Ls          topicLsCmd          `cmd:"" help:"List topics."`
	Create      topicCreateCmd      `cmd:"" help:"Create a topic."`
	Show        topicShowCmd        `cmd:"" help:"Show a topic with its subscriptions."`
	Publish     topicPublishCmd     `cmd:"" help:"Publish a message."`
	Subscribe   topicSubscribeCmd   `cmd:"" help:"Subscribe a queue or a URL."`
	Unsubscribe topicUnsubscribeCmd `cmd:"" help:"Remove subscriptions."`
	TestFilter  topicTestFilterCmd  `cmd:"" help:"Try a filter policy on a message; nothing is sent."`
	Rm          topicRmCmd          `cmd:"" help:"Delete topics with their subscriptions."`
}

// topicPath names a topic; whether there is one the server says.
func (c *inNamespace) topicPath(a *app, name ...string) (*client, string, error) {
	if slices.Contains(name, "") {
		return nil, "", usagef("an empty name names nothing")
	}
	cl, err := c.client(a)
	if err != nil {
		return nil, "", err
	}
	id, err := c.namespaceID(a.ctx, cl)
	return cl, own("namespaces", append([]string{id, "topics"}, name...)...), err
}

type topicLsCmd struct {
	inNamespace

	Prefix string `placeholder:"TEXT" help:"Only those whose name begins with it."`
}

// Run lists the topics of a namespace.
func (c *topicLsCmd) Run(a *app) error {
	cl, path, err := c.topicPath(a)
	if err != nil {
		return err
	}
	query := url.Values{}
	if c.Prefix != "" {
		query.Set("prefix", c.Prefix)
	}
	if c.JSON {
		return listJSON(a, cl, path, "topics", query)
	}
	all, err := list[topicInfo](a.ctx, cl, path, "topics", query)
	if err != nil {
		return err
	}
	t := newTable(a.stdout, "NAME", "KIND", "SUBSCRIPTIONS", "PENDING")
	for _, v := range all {
		pending := int64(0)
		for _, s := range v.Subscriptions {
			if s.Pending {
				pending++
			}
		}
		t.row(v.Name, v.kind(), number(int64(len(v.Subscriptions))), number(pending))
	}
	return t.flush()
}

type topicCreateCmd struct {
	inNamespace

	Name      string            `arg:"" help:"Name of the topic; ends in .fifo for a FIFO topic."`
	Attribute map[string]string `short:"a" mapsep:"none" placeholder:"NAME=VALUE" help:"An attribute, as SNS names it; may be repeated."`
	Tag       map[string]string `mapsep:"none" placeholder:"KEY=VALUE" help:"A tag; may be repeated."`
}

// Run creates the topic, or finds the one that is the same, and shows it.
func (c *topicCreateCmd) Run(a *app) error {
	cl, path, err := c.topicPath(a)
	if err != nil {
		return err
	}
	in := map[string]any{"name": c.Name}
	if len(c.Attribute) > 0 {
		in["attributes"] = c.Attribute
	}
	if len(c.Tag) > 0 {
		in["tags"] = c.Tag
	}
	return showCall(a, c.JSON, cl, apiCall{http.MethodPost, path, in}, showTopic)
}

type topicShowCmd struct {
	inNamespace

	Name string `arg:"" help:"Name of the topic."`
}

// Run shows one topic.
func (c *topicShowCmd) Run(a *app) error {
	cl, path, err := c.topicPath(a, c.Name)
	if err != nil {
		return err
	}
	return showCall(a, c.JSON, cl, apiCall{http.MethodGet, path, nil}, showTopic)
}

type topicPublishCmd struct {
	inNamespace

	Name      string            `arg:"" help:"Name of the topic."`
	Message   string            `arg:"" help:"The message; - reads standard input."`
	Subject   string            `help:"Subject."`
	Attribute map[string]string `short:"a" mapsep:"none" placeholder:"NAME[:TYPE]=VALUE" help:"A message attribute; may be repeated."`
	Structure string            `enum:"json," default:"" help:"json: the message is an object of texts by protocol."`
	Group     string            `placeholder:"ID" help:"Message group."`
	DedupID   string            `placeholder:"ID" help:"Deduplication id, for FIFO topics."`
}

// Run publishes one message and prints its id.
func (c *topicPublishCmd) Run(a *app) error {
	cl, path, err := c.topicPath(a, c.Name)
	if err != nil {
		return err
	}
	attributes, err := messageAttributes(c.Attribute)
	if err != nil {
		return err
	}
	text, err := a.input(c.Message)
	if err != nil {
		return err
	}
	in := map[string]any{"message": text, "attributes": attributes}
	for name, v := range map[string]string{"subject": c.Subject, "structure": c.Structure, "group_id": c.Group, "deduplication_id": c.DedupID} {
		if v != "" {
			in[name] = v
		}
	}
	var out sent
	if err := cl.call(a.ctx, http.MethodPost, path+"/publish", in, &out); err != nil {
		return err
	}
	return printSent(a, c.JSON, []sent{out})
}

type topicSubscribeCmd struct {
	inNamespace

	Name     string `arg:"" help:"Name of the topic."`
	Endpoint string `arg:"" help:"Name or ARN of a queue, or a URL that begins with http:// or https://."`
	Protocol string `placeholder:"NAME" help:"sqs, http, https or lambda. Default: as the endpoint looks."`
	Filter   string `placeholder:"JSON" help:"Filter policy."`
	Scope    string `enum:"MessageAttributes,MessageBody" default:"MessageAttributes" help:"What the filter policy looks at: MessageAttributes or MessageBody."`
	Raw      bool   `help:"Deliver the message alone, without SNS's envelope."`
}

// Run subscribes an endpoint and shows the subscription.
func (c *topicSubscribeCmd) Run(a *app) error {
	cl, path, err := c.topicPath(a, c.Name)
	if err != nil {
		return err
	}
	protocol := c.Protocol
	if protocol == "" {
		switch scheme, _, url := strings.Cut(c.Endpoint, "://"); {
		case url:
			protocol = scheme
		default:
			protocol = "sqs"
		}
	}
	attributes := map[string]string{}
	if c.Filter != "" {
		attributes["FilterPolicy"], attributes["FilterPolicyScope"] = c.Filter, c.Scope
	}
	if c.Raw {
		attributes["RawMessageDelivery"] = "true"
	}
	in := map[string]any{"protocol": protocol, "endpoint": c.Endpoint, "attributes": attributes}
	return showCall(a, c.JSON, cl, apiCall{http.MethodPost, path + "/subscriptions", in}, showSubscription)
}

type topicUnsubscribeCmd struct {
	inNamespace

	Name string   `arg:"" help:"Name of the topic."`
	ID   []string `arg:"" help:"Ids of the subscriptions."`
}

// Run removes subscriptions.
func (c *topicUnsubscribeCmd) Run(a *app) error {
	cl, path, err := c.topicPath(a, c.Name)
	if err != nil {
		return err
	}
	return cl.remove(a, c.JSON, c.ID, func(id string) string { return path + "/subscriptions/" + url.PathEscape(id) })
}

type topicTestFilterCmd struct {
	connection

	Policy    string            `arg:"" help:"The filter policy."`
	Message   string            `arg:"" optional:"" help:"The message, with --scope MessageBody; - reads standard input."`
	Scope     string            `enum:"MessageAttributes,MessageBody" default:"MessageAttributes" help:"What the policy looks at: MessageAttributes or MessageBody."`
	Attribute map[string]string `short:"a" mapsep:"none" placeholder:"NAME[:TYPE]=VALUE" help:"A message attribute; may be repeated."`
}

// Run says whether the policy matches; that it does not is no failure.
func (c *topicTestFilterCmd) Run(a *app) error {
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	attributes, err := messageAttributes(c.Attribute)
	if err != nil {
		return err
	}
	text, err := a.input(c.Message)
	if err != nil {
		return err
	}
	var out struct {
		Matches bool `json:"matches"`
	}
	in := map[string]any{"policy": c.Policy, "scope": c.Scope, "message": text, "attributes": attributes}
	if err := cl.call(a.ctx, http.MethodPost, own("filter-test"), in, &out); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(a.stdout, out)
	}
	return printf(a.stdout, "%s\n", map[bool]string{true: "matches", false: "does not match"}[out.Matches])
}

type topicRmCmd struct {
	inNamespace

	Yes    bool     `short:"y" help:"Do not ask."`
	DryRun bool     `help:"Only say how many subscriptions it is about."`
	Name   []string `arg:"" help:"Names of the topics."`
}

// Run deletes the topics once the user has typed the name of each.
func (c *topicRmCmd) Run(a *app) error {
	cl, path, err := c.topicPath(a)
	if err != nil {
		return err
	}
	if slices.Contains(c.Name, "") {
		return usagef("an empty name names nothing")
	}
	at := func(name string) string { return path + "/" + url.PathEscape(name) }
	type plan struct {
		Topic         string `json:"topic"`
		Subscriptions int    `json:"subscriptions"`
		DryRun        bool   `json:"dry_run"`
	}
	plans := []plan{}
	for _, name := range c.Name {
		if c.Yes && !c.DryRun {
			break
		}
		var t topicInfo
		if err := cl.call(a.ctx, http.MethodGet, at(name), nil, &t); err != nil {
			return err
		}
		plans = append(plans, plan{name, len(t.Subscriptions), true})
	}
	switch {
	case c.DryRun && c.JSON:
		return printJSON(a.stdout, plans)
	case c.DryRun:
		for _, p := range plans {
			if err := printf(a.stdout, "would delete %s: %d subscriptions\n", p.Topic, p.Subscriptions); err != nil {
				return err
			}
		}
		return nil
	}
	for _, p := range plans {
		if err := a.confirm(false, fmt.Sprintf("delete %s with %d subscriptions", p.Topic, p.Subscriptions), p.Topic); err != nil {
			return err
		}
	}
	return cl.remove(a, c.JSON, c.Name, at)
}
