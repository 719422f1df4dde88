package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/tenant"
)

// credsFileName is the name every handed-out NATS credentials file carries.
const credsFileName = "user.creds"

// natsAccount is a NATS namespace as v1beta1 shows it.
type natsAccount struct {
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Endpoint  string     `json:"endpoint"`
	ProjectID string     `json:"project_id"`
	Region    string     `json:"region"`
	CreatedAt *time.Time `json:"created_at"`
	UpdatedAt *time.Time `json:"updated_at"`
}

type natsAccounts struct {
	NATSAccounts []natsAccount `json:"nats_accounts" nullable:"false"`
	TotalCount   int           `json:"total_count"`
}

type natsCredentials struct {
	ID            string     `json:"id"`
	Name          string     `json:"name"`
	NATSAccountID string     `json:"nats_account_id"`
	Region        string     `json:"region"`
	CreatedAt     *time.Time `json:"created_at"`
	UpdatedAt     *time.Time `json:"updated_at"`
	Credentials   *credsFile `json:"credentials" doc:"null except in the answer to create"`
	Checksum      string     `json:"checksum" doc:"SHA-1 of the file, hexadecimal"`
}

type credsFile struct {
	Name    string `json:"name"`
	Content string `json:"content"`
}

type natsCredentialsList struct {
	NATSCredentials []natsCredentials `json:"nats_credentials" nullable:"false"`
	TotalCount      int               `json:"total_count"`
}

func (a *API) registerNATS() {
	handle(a, operation{
		id: "v1beta1.CreateNatsAccount", method: http.MethodPost, path: "/nats-accounts",
		summary: "Create a NATS account", noun: "namespace", action: "create",
	}, a.createNATSAccount)
	handle(a, operation{
		id: "v1beta1.ListNatsAccounts", method: http.MethodGet, path: "/nats-accounts",
		summary: "List NATS accounts", noun: "namespace",
	}, a.listNATSAccounts)
	handle(a, operation{
		id: "v1beta1.GetNatsAccount", method: http.MethodGet, path: "/nats-accounts/{nats_account_id}",
		summary: "Get a NATS account", noun: "namespace",
	}, a.getNATSAccount)
	handle(a, operation{
		id: "v1beta1.UpdateNatsAccount", method: http.MethodPatch, path: "/nats-accounts/{nats_account_id}",
		summary: "Rename a NATS account", noun: "namespace", action: "write",
	}, a.updateNATSAccount)
	remove(a, operation{
		id: "v1beta1.DeleteNatsAccount", method: http.MethodDelete, path: "/nats-accounts/{nats_account_id}",
		summary: "Delete a NATS account with its credentials and all its messages", noun: "namespace", action: "delete",
	}, a.deleteNATSAccount)
	handle(a, operation{
		id: "v1beta1.CreateNatsCredentials", method: http.MethodPost, path: "/nats-credentials",
		summary: "Create NATS credentials; the only answer that shows the file", noun: "credentials", action: "create",
	}, a.createNATSCredentials)
	handle(a, operation{
		id: "v1beta1.ListNatsCredentials", method: http.MethodGet, path: "/nats-credentials",
		summary: "List NATS credentials", noun: "credentials",
	}, a.listNATSCredentials)
	handle(a, operation{
		id: "v1beta1.GetNatsCredentials", method: http.MethodGet, path: "/nats-credentials/{nats_credentials_id}",
		summary: "Get NATS credentials", noun: "credentials", look: true,
	}, a.getNATSCredentials)
	remove(a, operation{
		id: "v1beta1.DeleteNatsCredentials", method: http.MethodDelete, path: "/nats-credentials/{nats_credentials_id}",
		summary: "Delete NATS credentials; open connections that use them are closed", noun: "credentials", action: "delete",
	}, a.deleteNATSCredentials)
}

func (a *API) natsAccount(n mnq.Namespace) natsAccount {
	return natsAccount{
		ID: n.ID, Name: n.Name, Endpoint: a.natsURL(), ProjectID: n.ProjectID, Region: n.Region,
		CreatedAt: stamp(n.CreatedAt), UpdatedAt: stamp(n.UpdatedAt),
	}
}

func natsCredentialsOnWire(c mnq.Credential) natsCredentials {
	return natsCredentials{
		ID: c.ID, Name: c.Name, NATSAccountID: c.NamespaceID, Region: c.Region,
		CreatedAt: stamp(c.CreatedAt), UpdatedAt: stamp(c.UpdatedAt), Checksum: c.Checksum,
	}
}

// visibleAccount returns a NATS namespace of the caller; others do not exist. The
// answer calls it a namespace, as the original does.
func (a *API) visibleAccount(who mnq.Identity, id string) (mnq.Namespace, error) {
	n, err := a.visibleNamespace(who, id)
	if err == nil && n.Protocol != mnq.ProtocolNATS {
		return mnq.Namespace{}, notFound("namespace", id)
	}
	return n, err
}

func isNATS(c mnq.Credential) bool { return c.Protocol == mnq.ProtocolNATS }

type createNATSAccountInput struct {
	InRegion
	Body createNATSAccountRequest
}

type createNATSAccountRequest struct {
	_ struct{} `additionalProperties:"true"`

	Name      string `json:"name" minLength:"1" maxLength:"64"`
	ProjectID string `json:"project_id" format:"uuid"`
}

func (a *API) createNATSAccount(ctx context.Context, who mnq.Identity, in *createNATSAccountInput) (natsAccount, error) {
	project := canonical(in.Body.ProjectID)
	if err := a.visibleProject(who, project, "create", "namespace"); err != nil {
		return natsAccount{}, err
	}
	n, err := a.dir.CreateNamespace(ctx, tenant.NewNamespace{
		Name: in.Body.Name, Protocol: mnq.ProtocolNATS, ProjectID: project,
	})
	if err != nil {
		return natsAccount{}, gone(err, "namespace")
	}
	return a.natsAccount(n), nil
}

// ProjectQuery is the part that all lists of v1beta1 have in common.
type ProjectQuery struct {
	PageQuery
	ProjectID string `query:"project_id" format:"uuid"`
	OrderBy   string `query:"order_by" default:"created_at_asc" enum:"created_at_asc,created_at_desc,updated_at_asc,updated_at_desc,name_asc,name_desc"`
}

type listNATSAccountsInput struct {
	InRegion
	ProjectQuery
}

func (a *API) listNATSAccounts(_ context.Context, who mnq.Identity, in *listNATSAccountsInput) (natsAccounts, error) {
	project := canonical(in.ProjectID)
	all := a.visibleNamespaces(who, in.OrderBy, func(n mnq.Namespace) bool {
		return n.Protocol == mnq.ProtocolNATS && (project == "" || n.ProjectID == project)
	})
	return natsAccounts{NATSAccounts: convert(cut(all, in.PageQuery), a.natsAccount), TotalCount: len(all)}, nil
}

type natsAccountInput struct {
	InRegion
	NATSAccountID string `path:"nats_account_id" minLength:"56" maxLength:"56"`
}

func (a *API) getNATSAccount(_ context.Context, who mnq.Identity, in *natsAccountInput) (natsAccount, error) {
	n, err := a.visibleAccount(who, in.NATSAccountID)
	if err != nil {
		return natsAccount{}, err
	}
	return a.natsAccount(n), nil
}

type updateNATSAccountInput struct {
	InRegion
	NATSAccountID string `path:"nats_account_id" minLength:"56" maxLength:"56"`
	Body          updateNATSAccountRequest
}

type updateNATSAccountRequest struct {
	_ struct{} `additionalProperties:"true"`

	Name *string `json:"name" required:"false" minLength:"1" maxLength:"64" doc:"null: unchanged"`
}

func (a *API) updateNATSAccount(ctx context.Context, who mnq.Identity, in *updateNATSAccountInput) (natsAccount, error) {
	n, err := a.visibleAccount(who, in.NATSAccountID)
	if err != nil {
		return natsAccount{}, err
	}
	if n, err = a.rename(ctx, n, in.Body.Name); err != nil {
		return natsAccount{}, err
	}
	return a.natsAccount(n), nil
}

func (a *API) deleteNATSAccount(ctx context.Context, who mnq.Identity, in *natsAccountInput) error {
	n, err := a.visibleAccount(who, in.NATSAccountID)
	if err != nil {
		return err
	}
	return as(a.dir.DeleteNamespace(ctx, n.ID), "namespace", n.ID)
}

type createNATSCredentialsInput struct {
	InRegion
	Body createNATSCredentialsRequest
}

type createNATSCredentialsRequest struct {
	_ struct{} `additionalProperties:"true"`

	NATSAccountID string `json:"nats_account_id" minLength:"56" maxLength:"56"`
	Name          string `json:"name" minLength:"1" maxLength:"500"`
}

func (a *API) createNATSCredentials(ctx context.Context, who mnq.Identity, in *createNATSCredentialsInput) (natsCredentials, error) {
	n, err := a.visibleAccount(who, in.Body.NATSAccountID)
	if err != nil {
		return natsCredentials{}, err
	}
	c, secret, err := a.dir.CreateCredential(ctx, tenant.NewCredential{
		Name: in.Body.Name, NamespaceID: n.ID, ProjectID: n.ProjectID,
	})
	if err != nil {
		return natsCredentials{}, as(err, "namespace", n.ID)
	}
	out := natsCredentialsOnWire(c)
	out.Credentials = &credsFile{Name: credsFileName, Content: secret.CredsFile.Reveal()}
	return out, nil
}

type listNATSCredentialsInput struct {
	InRegion
	ProjectQuery
	NATSAccountID string `query:"nats_account_id" minLength:"56" maxLength:"56"`
}

func (a *API) listNATSCredentials(_ context.Context, who mnq.Identity, in *listNATSCredentialsInput) (natsCredentialsList, error) {
	project := canonical(in.ProjectID)
	all := a.visibleCredentials(who, in.OrderBy, func(c mnq.Credential) bool {
		return isNATS(c) && (project == "" || c.ProjectID == project) &&
			(in.NATSAccountID == "" || c.NamespaceID == in.NATSAccountID)
	})
	return natsCredentialsList{
		NATSCredentials: convert(cut(all, in.PageQuery), natsCredentialsOnWire), TotalCount: len(all),
	}, nil
}

type natsCredentialsInput struct {
	InRegion
	ID string `path:"nats_credentials_id" format:"uuid"`
}

func (a *API) getNATSCredentials(_ context.Context, who mnq.Identity, in *natsCredentialsInput) (natsCredentials, error) {
	c, err := a.visibleCredential(who, in.ID, "credentials", isNATS)
	if err != nil {
		return natsCredentials{}, err
	}
	return natsCredentialsOnWire(c), nil
}

func (a *API) deleteNATSCredentials(ctx context.Context, who mnq.Identity, in *natsCredentialsInput) error {
	c, err := a.visibleCredential(who, in.ID, "credentials", isNATS)
	if err != nil {
		return err
	}
	return as(a.dir.DeleteCredential(ctx, c.ID), "credentials", c.ID)
}
