package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/definition"
	"github.com/openmnq/mnq/tenant"
)

// importTarget is where queues and topics are created.
type importTarget struct {
	To     string `placeholder:"URL" help:"Server to create them at, with the keys in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, in the region AWS_REGION. Default: AWS_ENDPOINT_URL, or http://127.0.0.1:9324."`
	DryRun bool   `help:"Only print what there is, as mnq.yaml."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

// importSource is an endpoint to read from.
type importSource struct {
	Endpoint     string `placeholder:"URL" help:"Server to read from, with the keys in SOURCE_ACCESS_KEY_ID and SOURCE_SECRET_ACCESS_KEY. Default: AWS itself."`
	SourceRegion string `default:"us-east-1" placeholder:"REGION" help:"Region to read from."`
	Prefix       string `placeholder:"TEXT" help:"Only queues and topics whose name begins with it."`
}

type importCmd struct {
	importTarget
	importSource

	Source      string            `arg:"" help:"A file (elasticmq.conf, goaws.yaml, a CloudFormation template, serverless.yml, mnq.yaml), or aws for what the server at --endpoint has."`
	Kind        definition.Kind   `placeholder:"KIND" help:"Format of the file: elasticmq, goaws, cloudformation, serverless or mnq. Default: by its name and contents."`
	Environment string            `placeholder:"NAME" help:"Environment of a GoAWS file."`
	Stage       string            `placeholder:"NAME" help:"Stage of a serverless.yml. Default: its own, or dev."`
	Parameter   map[string]string `mapsep:"none" placeholder:"NAME=VALUE" help:"Parameter of a template; may be repeated."`
}

// Run creates what the source defines and says what it could not carry over.
func (c *importCmd) Run(a *app) error {
	f, err := c.read(a)
	if err != nil {
		return err
	}
	return c.apply(a, f)
}

func (c *importCmd) read(a *app) (*definition.File, error) {
	if c.Source == "aws" {
		return c.readEndpoint(a)
	}
	raw, err := readBoundedFile(c.Source)
	if err != nil {
		return nil, usage(err)
	}
	values := definition.Values{Region: a.env["AWS_REGION"], Parameters: c.Parameter, Stage: c.Stage}
	var f *definition.File
	switch kind := cmp.Or(c.Kind, definition.KindOf(c.Source, raw)); kind {
	case definition.KindMNQ:
		f, err = definition.Parse(raw)
	case definition.KindElasticMQ:
		f, err = definition.ElasticMQ(raw)
	case definition.KindGoAWS:
		f, err = definition.GoAWS(raw, c.Environment)
	case definition.KindCloudFormation:
		f, err = definition.CloudFormation(raw, values)
	case definition.KindServerless:
		f, err = definition.Serverless(raw, values)
	case "":
		return nil, usagef("%s: its format is not known; name it with --kind", c.Source)
	default:
		return nil, usagef("--kind: must be elasticmq, goaws, cloudformation, serverless or mnq, not %q", kind)
	}
	if err != nil {
		return nil, usagef("%s: %w", c.Source, err)
	}
	return f, nil
}

func (s *importSource) readEndpoint(a *app) (*definition.File, error) {
	from, err := s.endpoint(a.env)
	if err != nil {
		return nil, err
	}
	f, err := from.Read(a.ctx, s.Prefix)
	if err != nil {
		return nil, endpointError(cmp.Or(s.Endpoint, "AWS"), err)
	}
	return f, nil
}

// apply prints the notes on standard error and what was done on standard output.
func (t *importTarget) apply(a *app, f *definition.File) error {
	for _, n := range f.Notes {
		if err := printf(a.stderr, "not carried over: %s\n", n); err != nil {
			return err
		}
	}
	if t.DryRun {
		text, err := f.YAML()
		if err == nil {
			_, err = a.stdout.Write(text)
		}
		return err
	}
	to, where, err := t.endpoint(a.env)
	if err != nil {
		return err
	}
	changes, failed := to.Apply(a.ctx, f)
	if failed != nil && len(changes) == 0 {
		return endpointError(where, failed)
	}
	if err := t.print(a, changes, f.Notes); err != nil {
		return err
	}
	if failed != nil {
		return failures{errs: []error{endpointError(where, failed)}, partial: true}
	}
	return nil
}

func (t *importTarget) print(a *app, changes []definition.Change, notes []definition.Note) error {
	if t.JSON {
		texts := []string{}
		for _, n := range notes {
			texts = append(texts, n.String())
		}
		type row struct {
			What string `json:"what"`
			Done string `json:"done"`
		}
		rows := []row{}
		for _, c := range changes {
			rows = append(rows, row(c))
		}
		return printJSON(a.stdout, map[string]any{"changes": rows, "not_carried_over": texts})
	}
	table := newTable(a.stdout, "WHAT", "DONE")
	for _, c := range changes {
		table.row(c.What, c.Done)
	}
	return table.flush()
}

// at is where the target is, and the region there.
func (t *importTarget) at(e env) (where, region string) {
	return cmp.Or(t.To, e["AWS_ENDPOINT_URL"], "http://127.0.0.1:9324"), cmp.Or(e["AWS_REGION"], e["AWS_DEFAULT_REGION"], "us-east-1")
}

func (t *importTarget) endpoint(e env) (_ definition.Endpoint, where string, err error) {
	where, region := t.at(e)
	to, err := newEndpoint(where, "--to", region, endpointKeys{
		e["AWS_ACCESS_KEY_ID"], e["AWS_SECRET_ACCESS_KEY"], e["AWS_SESSION_TOKEN"], "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
	})
	return to, where, err
}

func (s *importSource) endpoint(e env) (definition.Endpoint, error) {
	return newEndpoint(s.Endpoint, "--endpoint", s.SourceRegion, endpointKeys{
		e["SOURCE_ACCESS_KEY_ID"], e["SOURCE_SECRET_ACCESS_KEY"], e["SOURCE_SESSION_TOKEN"], "SOURCE_ACCESS_KEY_ID and SOURCE_SECRET_ACCESS_KEY",
	})
}

type endpointKeys struct{ access, secret, session, variables string }

// newEndpoint reaches a server; one on this machine with the keys of development unless
// others are given.
func newEndpoint(where, flag, region string, k endpointKeys) (definition.Endpoint, error) {
	c := aws.Config{Region: region}
	if where != "" {
		u, err := url.Parse(where)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return definition.Endpoint{}, usagef("%s: must be a URL such as http://127.0.0.1:9324, not %q", flag, where)
		}
		c.BaseEndpoint = &where
		if ip := net.ParseIP(u.Hostname()); k.access == "" && (u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()) {
			access, secret := tenant.DevKeys()
			k.access, k.secret = access, secret.Reveal()
		}
	}
	if k.access == "" || k.secret == "" {
		return definition.Endpoint{}, usagef("%s: %s are needed", flag, k.variables)
	}
	c.Credentials = credentials.NewStaticCredentialsProvider(k.access, k.secret, k.session)
	return definition.NewEndpoint(c), nil
}

// endpointError tells a server that cannot be reached from one that refuses.
func endpointError(where string, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return &mnq.Error{Kind: mnq.Unavailable, Op: opClient, Msg: "cannot reach " + where}
	}
	return fmt.Errorf("%s: %w", where, err)
}

type migrateCmd struct {
	importTarget
	importSource

	Drain   bool   `help:"Move the messages too: each is sent to the target and then deleted at the source."`
	Journal string `default:"mnq-migrate.journal" placeholder:"FILE" help:"With --drain: remembers what has been moved, so that the command can be repeated; removed when all is done."`
}

// Run copies definitions, and moves messages when asked to.
func (c *migrateCmd) Run(a *app) error {
	if c.same(a.env) {
		return usagef("--to: is where the messages come from")
	}
	f, err := c.readEndpoint(a)
	if err != nil {
		return err
	}
	if err := c.apply(a, f); err != nil || !c.Drain || c.DryRun {
		return err
	}
	from, err := c.importSource.endpoint(a.env)
	if err != nil {
		return err
	}
	to, _, err := c.importTarget.endpoint(a.env)
	if err != nil {
		return err
	}
	return c.drain(a, f, from, to)
}

// same reports whether source and target are one.
func (c *migrateCmd) same(e env) bool {
	where, region := c.at(e)
	return strings.TrimRight(where, "/") == strings.TrimRight(c.Endpoint, "/") && region == c.SourceRegion &&
		e["SOURCE_ACCESS_KEY_ID"] == e["AWS_ACCESS_KEY_ID"]
}

func (c *migrateCmd) drain(a *app, f *definition.File, from, to definition.Endpoint) (err error) {
	j, err := definition.OpenJournal(c.Journal)
	if err != nil {
		return usagef("--journal: %w", err)
	}
	defer func() { err = errors.Join(err, j.Finish(err == nil)) }()
	table := newTable(a.stdout, "QUEUE", "MOVED", "MOVED BEFORE", "SENT AGAIN", "LEFT IN FLIGHT")
	rows := map[string]definition.Moved{}
	for _, q := range f.Queues {
		m, moveErr := definition.Move(a.ctx, from, to, q.Name, j)
		rows[q.Name] = m
		table.row(q.Name, strconv.Itoa(m.Messages), strconv.Itoa(m.Known), strconv.Itoa(m.Doubtful), strconv.Itoa(m.InFlight))
		if moveErr != nil {
			err = fmt.Errorf("queue %s: %w; repeat the command to go on", q.Name, moveErr)
			break
		}
		if m.InFlight > 0 {
			err = errors.Join(err, fmt.Errorf("queue %s: %d messages are in flight; repeat the command when they are deleted or visible again", q.Name, m.InFlight))
		}
	}
	if c.JSON {
		return errors.Join(printJSON(a.stdout, rows), err)
	}
	return errors.Join(table.flush(), err)
}
