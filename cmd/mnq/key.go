package main

import (
	"net/http"

	"github.com/openmnq/mnq"
)

// newKey is an API key in the one answer that shows its secret.
type newKey struct {
	mnq.APIKey

	SecretKey string `json:"secret_key,omitempty"`
}

type keyCmd struct {
	Ls     keyLsCmd     `cmd:"" help:"List API keys."`
	Create keyCreateCmd `cmd:"" help:"Create an API key; its secret is shown this once."`
	Show   keyShowCmd   `cmd:"" help:"Show an API key, without its secret."`
	Rm     keyRmCmd     `cmd:"" help:"Delete API keys."`
}

type keyLsCmd struct{ connection }

// Run lists the API keys that the key may see.
func (c *keyLsCmd) Run(a *app) error {
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	all, err := list[mnq.APIKey](a.ctx, cl, own("api-keys"), "api_keys", nil)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(a.stdout, all)
	}
	t := newTable(a.stdout, "ACCESS KEY", "NAME", "PROJECT", "ACCESS", "CREATED")
	for _, k := range all {
		t.row(k.AccessKey, k.Name, keyProject(k), keyAccess(k), stamp(k.CreatedAt))
	}
	return t.flush()
}

func keyProject(k mnq.APIKey) string {
	if k.ProjectID == "" {
		return "all"
	}
	return k.ProjectID
}

func keyAccess(k mnq.APIKey) string {
	if k.ReadOnly {
		return "read-only"
	}
	return "full"
}

type keyCreateCmd struct {
	connection

	Name      string `arg:"" help:"Name of the key, 1 to 500 characters."`
	ProjectID string `placeholder:"UUID" help:"Bind the key to one project. Default: all projects."`
	ReadOnly  bool   `help:"The key can look but not change anything."`
}

// Run creates the key and shows it with its secret.
func (c *keyCreateCmd) Run(a *app) error {
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	in := map[string]any{"name": c.Name, "read_only": c.ReadOnly}
	if c.ProjectID != "" {
		in["project_id"] = c.ProjectID
	}
	var k newKey
	if err := cl.call(a.ctx, http.MethodPost, own("api-keys"), in, &k); err != nil {
		return err
	}
	return showKey(a, c.JSON, k)
}

type keyShowCmd struct {
	connection

	AccessKey string `arg:"" help:"Access key, SCW…"`
}

// Run shows one key.
func (c *keyShowCmd) Run(a *app) error {
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	var k newKey
	if err := cl.call(a.ctx, http.MethodGet, own("api-keys", c.AccessKey), nil, &k); err != nil {
		return err
	}
	return showKey(a, c.JSON, k)
}

func showKey(a *app, asJSON bool, k newKey) error {
	if asJSON {
		return printJSON(a.stdout, k)
	}
	t := newTable(a.stdout, "FIELD", "VALUE")
	t.row("access key", k.AccessKey)
	if k.SecretKey != "" {
		t.row("secret key", k.SecretKey)
	}
	t.row("name", k.Name)
	t.row("project", keyProject(k.APIKey))
	t.row("access", keyAccess(k.APIKey))
	t.row("created", stamp(k.CreatedAt))
	return t.flush()
}

type keyRmCmd struct {
	connection

	AccessKey []string `arg:"" help:"Access keys."`
}

// Run deletes the keys.
func (c *keyRmCmd) Run(a *app) error {
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	return cl.remove(a, c.JSON, c.AccessKey, func(id string) string { return own("api-keys", id) })
}
