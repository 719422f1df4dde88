package main

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/atomicfile"
)

// credential is a credential as v1alpha1 answers it.
type credential struct {
	ID          string       `json:"id"`
	Name        string       `json:"name"`
	NamespaceID string       `json:"namespace_id"`
	Protocol    mnq.Protocol `json:"protocol"`
	NATS        *struct {
		Content string `json:"content"`
	} `json:"nats_credentials,omitempty"`
	SQSSNS *struct {
		AccessKey   string          `json:"access_key"`
		SecretKey   string          `json:"secret_key,omitempty"`
		Permissions mnq.Permissions `json:"permissions"`
	} `json:"sqs_sns_credentials,omitempty"`
}

func (c credential) permissions() string {
	if c.SQSSNS == nil {
		return "all"
	}
	p := c.SQSSNS.Permissions
	var names []string
	for _, may := range []struct {
		ok   bool
		name string
	}{{p.CanPublish, "publish"}, {p.CanReceive, "receive"}, {p.CanManage, "manage"}} {
		if may.ok {
			names = append(names, may.name)
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ",")
}

func (c credential) accessKey() string {
	if c.SQSSNS == nil {
		return ""
	}
	return c.SQSSNS.AccessKey
}

type credentialCmd struct {
	Ls     credentialLsCmd     `cmd:"" help:"List credentials."`
	Create credentialCreateCmd `cmd:"" help:"Create a credential; its secret is shown this once."`
	Show   credentialShowCmd   `cmd:"" help:"Show a credential, without its secret."`
	Rm     credentialRmCmd     `cmd:"" help:"Revoke credentials; live connections are cut."`
}

type credentialLsCmd struct {
	connection

	NamespaceID string `placeholder:"ID" help:"Only those of a namespace."`
}

// Run lists credentials without their secrets.
func (c *credentialLsCmd) Run(a *app) error {
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	query := url.Values{}
	if c.NamespaceID != "" {
		query.Set("namespace_id", c.NamespaceID)
	}
	all, err := list[credential](a.ctx, cl, cl.regional("credentials"), "credentials", query)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(a.stdout, all)
	}
	t := newTable(a.stdout, "ID", "NAME", "PROTOCOL", "ACCESS KEY", "PERMISSIONS", "NAMESPACE")
	for _, k := range all {
		t.row(k.ID, k.Name, string(k.Protocol), k.accessKey(), k.permissions(), k.NamespaceID)
	}
	return t.flush()
}

type credentialCreateCmd struct {
	connection

	NamespaceID string   `arg:"" help:"Id of the namespace it opens."`
	Name        string   `default:"mnq" help:"Name of the credential, 1 to 500 characters."`
	Permissions []string `placeholder:"LIST" help:"SQS/SNS only: of publish, receive, manage. Default: all three."`
	CredsFile   string   `placeholder:"FILE" help:"NATS only: write the .creds file here, mode 0600, instead of printing it."`
	Format      string   `default:"table" enum:"table,env" help:"env prints shell assignments for the AWS CLI."`
}

// Run creates the credential. The secret goes to one place: the file, the
// assignments, the JSON or the table.
func (c *credentialCreateCmd) Run(a *app) error {
	given, err := c.permissions()
	if err != nil {
		return err
	}
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	ns, err := cl.namespace(a.ctx, c.NamespaceID)
	if err != nil {
		return err
	}
	in := map[string]any{"namespace_id": c.NamespaceID, "name": c.Name, "permissions": nil}
	switch {
	case ns.Protocol != mnq.ProtocolNATS && c.CredsFile != "":
		return usagef("--creds-file: is for NATS namespaces, and %s speaks %s", ns.ID, ns.Protocol)
	case ns.Protocol == mnq.ProtocolNATS && c.Format == "env":
		return usagef("--format: env is for SQS and SNS, and %s speaks nats", ns.ID)
	case ns.Protocol == mnq.ProtocolNATS && len(c.Permissions) > 0:
		return usagef("--permissions: NATS credentials open the whole namespace and take none")
	case ns.Protocol != mnq.ProtocolNATS:
		in["permissions"] = given
	}
	var made credential
	if err := cl.call(a.ctx, http.MethodPost, cl.regional("credentials"), in, &made); err != nil {
		return err
	}
	return c.hand(a, cl, ns, made)
}

// permissions reads --permissions; none given means all.
func (c *credentialCreateCmd) permissions() (p mnq.Permissions, err error) {
	if len(c.Permissions) == 0 {
		return mnq.Permissions{CanPublish: true, CanReceive: true, CanManage: true}, nil
	}
	for _, name := range c.Permissions {
		switch name {
		case "publish":
			p.CanPublish = true
		case "receive":
			p.CanReceive = true
		case "manage":
			p.CanManage = true
		default:
			return p, usagef("--permissions: must be of publish, receive, manage, not %q", name)
		}
	}
	return p, nil
}

// hand gives the caller the new credential in the form asked for.
func (c *credentialCreateCmd) hand(a *app, cl *client, ns namespace, made credential) error {
	if c.CredsFile != "" && made.NATS != nil {
		if err := atomicfile.Write(c.CredsFile, []byte(made.NATS.Content)); err != nil {
			return err
		}
		made.NATS = nil
	}
	switch {
	case c.Format == "env":
		return printf(a.stdout, "AWS_ACCESS_KEY_ID=%s\nAWS_SECRET_ACCESS_KEY=%s\nAWS_DEFAULT_REGION=%s\nAWS_ENDPOINT_URL=%s\n",
			made.SQSSNS.AccessKey, made.SQSSNS.SecretKey, cl.Region, ns.Endpoint)
	case c.JSON:
		return printJSON(a.stdout, made)
	}
	return showCredential(a, made, c.CredsFile)
}

type credentialShowCmd struct {
	connection

	ID string `arg:"" help:"Id of the credential."`
}

// Run shows one credential.
func (c *credentialShowCmd) Run(a *app) error {
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	var k credential
	if err := cl.call(a.ctx, http.MethodGet, cl.regional("credentials", c.ID), nil, &k); err != nil {
		return err
	}
	if c.JSON {
		return printJSON(a.stdout, k)
	}
	return showCredential(a, k, "")
}

func showCredential(a *app, k credential, file string) error {
	t := newTable(a.stdout, "FIELD", "VALUE")
	t.row("id", k.ID)
	t.row("name", k.Name)
	t.row("namespace", k.NamespaceID)
	t.row("protocol", string(k.Protocol))
	if k.SQSSNS != nil {
		t.row("permissions", k.permissions())
		t.row("access key", k.SQSSNS.AccessKey)
		if k.SQSSNS.SecretKey != "" {
			t.row("secret key", k.SQSSNS.SecretKey)
		}
	}
	if file != "" {
		t.row("creds file", file)
	}
	if err := t.flush(); err != nil || k.NATS == nil {
		return err
	}
	return printf(a.stdout, "\n%s", k.NATS.Content)
}

type credentialRmCmd struct {
	connection

	ID []string `arg:"" help:"Ids of the credentials."`
}

// Run revokes the credentials.
func (c *credentialRmCmd) Run(a *app) error {
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	return cl.remove(a, c.JSON, c.ID, func(id string) string { return cl.regional("credentials", id) })
}
