package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"

	"github.com/openmnq/mnq"
)

// settingFlags are what create and set share.
type settingFlags struct {
	Attribute map[string]string `short:"a" mapsep:"none" placeholder:"NAME=VALUE" help:"An attribute, as SQS names it; may be repeated."`
	Tag       map[string]string `mapsep:"none" placeholder:"KEY=VALUE" help:"A tag; may be repeated."`
}

type queueCreateCmd struct {
	inNamespace
	settingFlags

	Name string `arg:"" help:"Name of the queue; ends in .fifo for a FIFO queue."`
	From string `placeholder:"FILE" help:"Take attributes and tags from what show --json printed; - is standard input."`
}

// Run creates the queue, or finds the one that is the same, and shows it.
func (c *queueCreateCmd) Run(a *app) error {
	in := struct {
		Name       string            `json:"name"`
		Attributes map[string]string `json:"attributes"`
		Tags       map[string]string `json:"tags"`
	}{Name: c.Name, Attributes: map[string]string{}, Tags: map[string]string{}}
	if c.From != "" {
		from, err := a.definition(c.From)
		if err != nil {
			return err
		}
		in.Attributes, in.Tags = from.Attributes, from.Tags
	}
	maps.Copy(in.Attributes, c.Attribute)
	maps.Copy(in.Tags, c.Tag)
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	id, err := c.namespaceID(a.ctx, cl)
	if err != nil {
		return err
	}
	return showCall(a, c.JSON, cl, apiCall{http.MethodPost, own("namespaces", id, "queues"), in}, showQueue)
}

// definition reads what show --json printed.
func (a *app) definition(file string) (q queueInfo, err error) {
	r := a.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return q, usagef("--from: %w", err)
		}
		defer f.Close()
		r = f
	}
	text, err := readBounded(r)
	if err == nil {
		err = json.Unmarshal([]byte(text), &q)
	}
	if err != nil {
		return q, usagef("--from: %w", err)
	}
	if q.Attributes == nil {
		q.Attributes = map[string]string{}
	}
	if q.Tags == nil {
		q.Tags = map[string]string{}
	}
	return q, nil
}

type queueSetCmd struct {
	inNamespace
	settingFlags

	Name  string   `arg:"" help:"Name of the queue."`
	Untag []string `placeholder:"KEY" help:"Remove a tag; may be repeated."`
}

// Run changes the queue and shows it.
func (c *queueSetCmd) Run(a *app) error {
	if len(c.Attribute)+len(c.Tag)+len(c.Untag) == 0 {
		return usagef("nothing to set: give --attribute, --tag or --untag")
	}
	q, err := c.queue(a, c.Name)
	if err != nil {
		return err
	}
	in := map[string]any{}
	if len(c.Attribute) > 0 {
		in["attributes"] = c.Attribute
	}
	if len(c.Tag) > 0 {
		in["tags"] = c.Tag
	}
	if len(c.Untag) > 0 {
		in["untag"] = c.Untag
	}
	return q.show(a, c.JSON, http.MethodPatch, "", in)
}

// destructive are the flags of commands that remove something.
type destructive struct {
	Yes    bool `short:"y" help:"Do not ask."`
	DryRun bool `help:"Only say how many messages it is about."`
}

// dryRun is what a command would do.
type dryRun struct {
	Queue    string `json:"queue"`
	Messages int64  `json:"messages"`
	DryRun   bool   `json:"dry_run"`
}

func (a *app) printDryRun(asJSON bool, what string, of ...queueInfo) error {
	out := []dryRun{}
	for _, q := range of {
		out = append(out, dryRun{q.Name, q.messages(), true})
		if asJSON {
			continue
		}
		if err := printf(a.stdout, "would %s %s: %d messages\n", what, q.Name, q.messages()); err != nil {
			return err
		}
	}
	if asJSON {
		return printJSON(a.stdout, out)
	}
	return nil
}

type queuePurgeCmd struct {
	inNamespace
	destructive

	Name string `arg:"" help:"Name of the queue."`
}

// Run removes all messages once the user has typed the queue's name.
func (c *queuePurgeCmd) Run(a *app) error {
	q, err := c.queue(a, c.Name)
	if err != nil {
		return err
	}
	now, err := q.info(a.ctx)
	if err != nil {
		return err
	}
	if c.DryRun {
		return a.printDryRun(c.JSON, "purge", now)
	}
	if err := a.confirm(c.Yes, fmt.Sprintf("remove %d messages of %s", now.messages(), c.Name), c.Name); err != nil {
		return err
	}
	var done struct {
		Messages int64 `json:"messages"`
	}
	if err := q.cl.call(a.ctx, http.MethodPost, q.path+"/purge", nil, &done); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(a.stdout, done)
	}
	return printf(a.stdout, "purged %s: %d messages\n", c.Name, done.Messages)
}

type queueRedriveCmd struct {
	inNamespace
	destructive

	Name string `arg:"" help:"Name of the dead-letter queue."`
	To   string `placeholder:"QUEUE" help:"Where the messages go. Default: each to the queue it came from."`
	Rate int    `placeholder:"N" help:"Messages a second, 1 to 500. Default: as fast as possible."`
	Wait bool   `help:"Wait until the task has ended."`
}

// Run begins a message move task.
func (c *queueRedriveCmd) Run(a *app) error {
	q, err := c.queue(a, c.Name)
	if err != nil {
		return err
	}
	now, err := q.info(a.ctx)
	if err != nil {
		return err
	}
	if c.DryRun {
		return a.printDryRun(c.JSON, "redrive", now)
	}
	if err := a.confirm(c.Yes, fmt.Sprintf("move %d messages of %s", now.messages(), c.Name), c.Name); err != nil {
		return err
	}
	in := map[string]any{}
	if c.To != "" {
		in["destination"] = c.To
	}
	if c.Rate != 0 {
		in["rate"] = c.Rate
	}
	if !c.Wait {
		return q.showTask(a, c.JSON, in)
	}
	var t task
	if err := q.cl.call(a.ctx, http.MethodPost, q.path+"/redrive", in, &t); err != nil {
		return err
	}
	id, err := c.namespaceID(a.ctx, q.cl)
	if err != nil {
		return err
	}
	return watchTask(a, c.JSON, q.cl, own("namespaces", id, "tasks", t.ID))
}

func (q namedQueue) showTask(a *app, asJSON bool, in any) error {
	return showCall(a, asJSON, q.cl, apiCall{http.MethodPost, q.path + "/redrive", in}, showTask)
}

type queueRmCmd struct {
	inNamespace
	destructive

	Name []string `arg:"" help:"Names of the queues."`
}

// Run deletes the queues once the user has typed the name of each.
func (c *queueRmCmd) Run(a *app) error {
	if slices.Contains(c.Name, "") {
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
	path := func(name string) string { return own("namespaces", id, "queues", name) }
	if c.DryRun || !c.Yes {
		var all []queueInfo
		for _, name := range c.Name {
			q, err := (namedQueue{cl, path(name)}).info(a.ctx)
			if err != nil && (c.DryRun || !mnq.IsNotFound(err)) {
				return err
			}
			if err == nil {
				all = append(all, q)
			}
		}
		if c.DryRun {
			return a.printDryRun(c.JSON, "delete", all...)
		}
		for _, q := range all {
			if err := a.confirm(false, fmt.Sprintf("delete %s with %d messages", q.Name, q.messages()), q.Name); err != nil {
				return err
			}
		}
	}
	return cl.remove(a, c.JSON, c.Name, path)
}
