package main

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/openmnq/mnq"
)

// namespace is a namespace as v1alpha1 answers it.
type namespace struct {
	ID        string       `json:"id"`
	Name      string       `json:"name"`
	Endpoint  string       `json:"endpoint"`
	Protocol  mnq.Protocol `json:"protocol"`
	ProjectID string       `json:"project_id"`
	Region    string       `json:"region"`
	CreatedAt time.Time    `json:"created_at"`
	UpdatedAt time.Time    `json:"updated_at"`
}

type namespaceCmd struct {
	Ls     namespaceLsCmd     `cmd:"" help:"List namespaces."`
	Create namespaceCreateCmd `cmd:"" help:"Create a namespace."`
	Show   namespaceShowCmd   `cmd:"" help:"Show a namespace."`
	Set    namespaceSetCmd    `cmd:"" help:"Change the settings of a namespace, or show them."`
	Rm     namespaceRmCmd     `cmd:"" help:"Delete a namespace with its credentials and messages."`
}

type namespaceLsCmd struct {
	connection

	ProjectID string `placeholder:"UUID" help:"Only those of a project."`
}

// Run lists the namespaces that the key may see.
func (c *namespaceLsCmd) Run(a *app) error {
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	query := url.Values{}
	if c.ProjectID != "" {
		query.Set("project_id", c.ProjectID)
	}
	all, err := list[namespace](a.ctx, cl, cl.regional("namespaces"), "namespaces", query)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(a.stdout, all)
	}
	t := newTable(a.stdout, "ID", "NAME", "PROTOCOL", "PROJECT", "CREATED")
	for _, n := range all {
		t.row(n.ID, n.Name, string(n.Protocol), n.ProjectID, stamp(n.CreatedAt))
	}
	return t.flush()
}

type namespaceCreateCmd struct {
	connection

	Name      string `arg:"" help:"Name of the namespace, 1 to 64 characters."`
	Protocol  string `default:"nats" enum:"nats,sqs_sns" help:"nats or sqs_sns."`
	ProjectID string `placeholder:"UUID" help:"Project that owns it. Default: SCW_DEFAULT_PROJECT_ID."`
}

// Run creates the namespace and shows it.
func (c *namespaceCreateCmd) Run(a *app) error {
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	in := map[string]string{
		"name": c.Name, "protocol": c.Protocol, "project_id": cmp.Or(c.ProjectID, cl.ProjectID),
	}
	if in["project_id"] == "" {
		return usagef("--project-id: is needed, or SCW_DEFAULT_PROJECT_ID")
	}
	var n namespace
	if err := cl.call(a.ctx, http.MethodPost, cl.regional("namespaces"), in, &n); err != nil {
		return err
	}
	return showNamespace(a, c.JSON, n)
}

type namespaceShowCmd struct {
	connection

	ID string `arg:"" help:"Id of the namespace."`
}

// Run shows one namespace.
func (c *namespaceShowCmd) Run(a *app) error {
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	n, err := cl.namespace(a.ctx, c.ID)
	if err != nil {
		return err
	}
	return showNamespace(a, c.JSON, n)
}

// namespaceSettings are the settings of a namespace as our own API answers them.
type namespaceSettings struct {
	FIFOWithoutGroup bool `json:"fifo_without_group"`
}

type namespaceSetCmd struct {
	connection

	ID               string `arg:"" help:"Id of the namespace, or the account part of its queue URLs."`
	FIFOWithoutGroup *bool  `name:"fifo-without-group" negatable:"" help:"Let FIFO queues take messages without a group, which together form one."`
}

// Run changes what is given and shows the settings.
func (c *namespaceSetCmd) Run(a *app) error {
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	path := own("namespaces", c.ID) + "/settings"
	var s namespaceSettings
	if err := cl.call(a.ctx, http.MethodGet, path, nil, &s); err != nil {
		return err
	}
	if c.FIFOWithoutGroup != nil {
		s.FIFOWithoutGroup = *c.FIFOWithoutGroup
		if err := cl.call(a.ctx, http.MethodPut, path, s, &s); err != nil {
			return err
		}
	}
	if c.JSON {
		return printJSON(a.stdout, s)
	}
	t := newTable(a.stdout, "SETTING", "VALUE")
	t.row("fifo-without-group", strconv.FormatBool(s.FIFOWithoutGroup))
	return t.flush()
}

func (c *client) namespace(ctx context.Context, id string) (n namespace, err error) {
	return n, c.call(ctx, http.MethodGet, c.regional("namespaces", id), nil, &n)
}

type namespaceRmCmd struct {
	connection

	ID []string `arg:"" help:"Ids of the namespaces."`
}

// Run deletes the namespaces.
func (c *namespaceRmCmd) Run(a *app) error {
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	return cl.remove(a, c.JSON, c.ID, func(id string) string { return cl.regional("namespaces", id) })
}

// remove tries to delete every resource and says which are gone. It gives up when
// the server does not answer.
func (c *client) remove(a *app, asJSON bool, ids []string, path func(id string) string) error {
	if slices.Contains(ids, "") { // would be the path of the whole collection
		return usagef("an empty id names nothing")
	}
	gone := []string{}
	var failed []error
	for _, id := range ids {
		if err := c.call(a.ctx, http.MethodDelete, path(id), nil, nil); err != nil {
			failed = append(failed, err)
			if mnq.KindOf(err) == mnq.Unavailable { // and will be for the next one
				break
			}
			continue
		}
		gone = append(gone, id)
		if asJSON {
			continue
		}
		if err := printf(a.stdout, "deleted %s\n", id); err != nil {
			return err
		}
	}
	if asJSON {
		if err := printJSON(a.stdout, map[string][]string{"deleted": gone}); err != nil {
			return err
		}
	}
	if failed == nil {
		return nil
	}
	return failures{failed, len(gone) > 0}
}

func showNamespace(a *app, asJSON bool, n namespace) error {
	if asJSON {
		return printJSON(a.stdout, n)
	}
	t := newTable(a.stdout, "FIELD", "VALUE")
	t.row("id", n.ID)
	t.row("name", n.Name)
	t.row("protocol", string(n.Protocol))
	t.row("endpoint", n.Endpoint)
	t.row("project", n.ProjectID)
	t.row("region", n.Region)
	t.row("created", stamp(n.CreatedAt))
	t.row("updated", stamp(n.UpdatedAt))
	return t.flush()
}

// stamp renders a time for tables; JSON keeps the server's own.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}
