package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/tenant"
)

// namespaceV1alpha1 is a namespace on the wire.
type namespaceV1alpha1 struct {
	ID        string       `json:"id"`
	Name      string       `json:"name"`
	Endpoint  string       `json:"endpoint"`
	Protocol  mnq.Protocol `json:"protocol"`
	ProjectID string       `json:"project_id"`
	Region    string       `json:"region"`
	CreatedAt *time.Time   `json:"created_at"`
	UpdatedAt *time.Time   `json:"updated_at"`
}

type namespacesV1alpha1 struct {
	Namespaces []namespaceV1alpha1 `json:"namespaces" nullable:"false"`
	TotalCount int                 `json:"total_count"`
}

// credentialV1alpha1 is a credential on the wire. Exactly the secrets of a create
// answer are ever filled in.
type credentialV1alpha1 struct {
	ID                string                     `json:"id"`
	Name              string                     `json:"name"`
	NamespaceID       string                     `json:"namespace_id"`
	Protocol          mnq.Protocol               `json:"protocol"`
	NATSCredentials   *natsCredentialsV1alpha1   `json:"nats_credentials,omitempty" doc:"only in the answer to create"`
	SQSSNSCredentials *sqsSNSCredentialsV1alpha1 `json:"sqs_sns_credentials,omitempty"`
}

type natsCredentialsV1alpha1 struct {
	Content string `json:"content" doc:"a complete .creds file"`
}

type sqsSNSCredentialsV1alpha1 struct {
	AccessKey   string          `json:"access_key"`
	SecretKey   *string         `json:"secret_key" doc:"null except in the answer to create"`
	Permissions mnq.Permissions `json:"permissions"`
}

type credentialSummaryV1alpha1 struct {
	ID                string              `json:"id"`
	Name              string              `json:"name"`
	NamespaceID       string              `json:"namespace_id"`
	Protocol          mnq.Protocol        `json:"protocol"`
	SQSSNSCredentials *sqsSNSKeysV1alpha1 `json:"sqs_sns_credentials,omitempty"`
}

type sqsSNSKeysV1alpha1 struct {
	AccessKey   string          `json:"access_key"`
	Permissions mnq.Permissions `json:"permissions"`
}

type credentialsV1alpha1 struct {
	Credentials []credentialSummaryV1alpha1 `json:"credentials" nullable:"false"`
	TotalCount  int                         `json:"total_count"`
}

// permissionChange is what a request says about permissions; null and absent
// fields say nothing.
type permissionChange struct {
	_ struct{} `additionalProperties:"true"`

	CanPublish *bool `json:"can_publish" required:"false"`
	CanReceive *bool `json:"can_receive" required:"false"`
	CanManage  *bool `json:"can_manage" required:"false"`
}

func (a *API) registerV1alpha1() {
	handle(a, operation{
		id: "v1alpha1.ListNamespaces", method: http.MethodGet, path: "/namespaces",
		summary: "List namespaces", noun: "namespace",
	}, a.listNamespaces)
	handle(a, operation{
		id: "v1alpha1.CreateNamespace", method: http.MethodPost, path: "/namespaces",
		summary: "Create a namespace", noun: "namespace", action: "create",
	}, a.createNamespace)
	handle(a, operation{
		id: "v1alpha1.UpdateNamespace", method: http.MethodPatch, path: "/namespaces",
		summary: "Rename a namespace", noun: "namespace", action: "write",
	}, a.updateNamespace)
	handle(a, operation{
		id: "v1alpha1.GetNamespace", method: http.MethodGet, path: "/namespaces/{namespace_id}",
		summary: "Get a namespace", noun: "namespace",
	}, a.getNamespace)
	remove(a, operation{
		id: "v1alpha1.DeleteNamespace", method: http.MethodDelete, path: "/namespaces/{namespace_id}",
		summary: "Delete a namespace with its credentials and all its messages", noun: "namespace", action: "delete",
	}, a.deleteNamespace)
	handle(a, operation{
		id: "v1alpha1.CreateCredential", method: http.MethodPost, path: "/credentials",
		summary: "Create a credential; the only answer that shows its secret", noun: "credential", action: "create",
	}, a.createCredential)
	handle(a, operation{
		id: "v1alpha1.ListCredentials", method: http.MethodGet, path: "/credentials",
		summary: "List credentials", noun: "credential",
	}, a.listCredentials)
	handle(a, operation{
		id: "v1alpha1.GetCredential", method: http.MethodGet, path: "/credentials/{credential_id}",
		summary: "Get a credential", noun: "credential", look: true,
	}, a.getCredential)
	handle(a, operation{
		id: "v1alpha1.UpdateCredential", method: http.MethodPatch, path: "/credentials/{credential_id}",
		summary: "Change the name or the permissions of a credential", noun: "credential", action: "write",
	}, a.updateCredential)
	remove(a, operation{
		id: "v1alpha1.DeleteCredential", method: http.MethodDelete, path: "/credentials/{credential_id}",
		summary: "Delete a credential; open connections that use it are closed", noun: "credential", action: "delete",
	}, a.deleteCredential)
}

// endpoint is where clients of a namespace connect to.
func (a *API) endpoint(p mnq.Protocol) string {
	if p == mnq.ProtocolNATS {
		return a.natsURL()
	}
	return a.httpURL()
}

func (a *API) namespaceV1alpha1(n mnq.Namespace) namespaceV1alpha1 {
	return namespaceV1alpha1{
		ID: n.ID, Name: n.Name, Endpoint: a.endpoint(n.Protocol), Protocol: n.Protocol, ProjectID: n.ProjectID,
		Region: n.Region, CreatedAt: stamp(n.CreatedAt), UpdatedAt: stamp(n.UpdatedAt),
	}
}

// visibleProject checks a project that a request names. One that the caller may
// not see and one that does not exist are refused alike.
func (a *API) visibleProject(who mnq.Identity, id, action, noun string) error {
	if who.Sees(id) {
		_, err := a.dir.Project(id)
		if err == nil || !mnq.IsNotFound(err) {
			return err
		}
	}
	return permissionsDenied(action, noun)
}

// visibleNamespace returns a namespace that v1alpha1 shows to the caller. Those
// of other projects and the hidden ones of v1beta1 do not exist for it.
func (a *API) visibleNamespace(who mnq.Identity, id string) (mnq.Namespace, error) {
	n, err := a.dir.Namespace(id)
	switch {
	case err != nil:
		return mnq.Namespace{}, as(err, "namespace", id)
	case n.Activated || !who.Sees(n.ProjectID):
		return mnq.Namespace{}, notFound("namespace", id)
	default:
		return n, nil
	}
}

// visibleNamespaces is the list that goes with visibleNamespace, in order.
func (a *API) visibleNamespaces(who mnq.Identity, by string, keep func(mnq.Namespace) bool) []mnq.Namespace {
	all := filter(a.dir.Namespaces(), func(n mnq.Namespace) bool {
		return !n.Activated && who.Sees(n.ProjectID) && keep(n)
	})
	sortBy(all, by, namespaceOrder)
	return all
}

// visibleCredential returns a credential that the caller may see and that has
// the wanted kind. noun is its name in an answer that denies its existence.
func (a *API) visibleCredential(who mnq.Identity, id, noun string, wanted func(mnq.Credential) bool) (mnq.Credential, error) {
	c, err := a.dir.Credential(canonical(id))
	switch {
	case err != nil:
		return mnq.Credential{}, as(err, noun, id)
	case !who.Sees(c.ProjectID) || !wanted(c):
		return mnq.Credential{}, notFound(noun, id)
	default:
		return c, nil
	}
}

// visibleCredentials is the list that goes with visibleCredential, in order.
func (a *API) visibleCredentials(who mnq.Identity, by string, keep func(mnq.Credential) bool) []mnq.Credential {
	all := filter(a.dir.Credentials(), func(c mnq.Credential) bool { return who.Sees(c.ProjectID) && keep(c) })
	sortBy(all, by, credentialOrder)
	return all
}

// inV1alpha1 reports whether c belongs to a namespace that v1alpha1 shows.
func inV1alpha1(c mnq.Credential) bool { return c.Service == "" }

type listNamespacesInput struct {
	InRegion
	PageQuery
	OrganizationID string `query:"organization_id" format:"uuid"`
	ProjectID      string `query:"project_id" format:"uuid"`
	OrderBy        string `query:"order_by" default:"created_at_asc" enum:"created_at_asc,created_at_desc,updated_at_asc,updated_at_desc,id_asc,id_desc,name_asc,name_desc,project_id_asc,project_id_desc"`
}

func (a *API) listNamespaces(_ context.Context, who mnq.Identity, in *listNamespacesInput) (namespacesV1alpha1, error) {
	organization, project := canonical(in.OrganizationID), canonical(in.ProjectID)
	foreign := organization != "" && organization != who.OrganizationID
	all := a.visibleNamespaces(who, in.OrderBy, func(n mnq.Namespace) bool {
		return !foreign && (project == "" || n.ProjectID == project)
	})
	return namespacesV1alpha1{
		Namespaces: convert(cut(all, in.PageQuery), a.namespaceV1alpha1), TotalCount: len(all),
	}, nil
}

type createNamespaceInput struct {
	InRegion
	Body createNamespaceRequest
}

type createNamespaceRequest struct {
	_ struct{} `additionalProperties:"true"`

	Name      string       `json:"name" minLength:"1" maxLength:"64"`
	Protocol  mnq.Protocol `json:"protocol" enum:"nats,sqs_sns"`
	ProjectID string       `json:"project_id" format:"uuid"`
}

func (a *API) createNamespace(ctx context.Context, who mnq.Identity, in *createNamespaceInput) (namespaceV1alpha1, error) {
	project := canonical(in.Body.ProjectID)
	if err := a.visibleProject(who, project, "create", "namespace"); err != nil {
		return namespaceV1alpha1{}, err
	}
	n, err := a.dir.CreateNamespace(ctx, tenant.NewNamespace{
		Name: in.Body.Name, Protocol: in.Body.Protocol, ProjectID: project,
	})
	if err != nil {
		return namespaceV1alpha1{}, gone(err, "namespace")
	}
	return a.namespaceV1alpha1(n), nil
}

// gone says what a create answers when the project was deleted meanwhile: the
// same as when it had never been there.
func gone(err error, noun string) error {
	if mnq.IsNotFound(err) {
		return permissionsDenied("create", noun)
	}
	return err
}

type updateNamespaceInput struct {
	InRegion
	Body updateNamespaceRequest
}

type updateNamespaceRequest struct {
	_ struct{} `additionalProperties:"true"`

	NamespaceID string  `json:"namespace_id" minLength:"56" maxLength:"56"`
	Name        *string `json:"name" required:"false" minLength:"1" maxLength:"64" doc:"null: unchanged"`
}

func (a *API) updateNamespace(ctx context.Context, who mnq.Identity, in *updateNamespaceInput) (namespaceV1alpha1, error) {
	n, err := a.visibleNamespace(who, in.Body.NamespaceID)
	if err != nil {
		return namespaceV1alpha1{}, err
	}
	if n, err = a.rename(ctx, n, in.Body.Name); err != nil {
		return namespaceV1alpha1{}, err
	}
	return a.namespaceV1alpha1(n), nil
}

// rename gives n a new name, unless there is none.
func (a *API) rename(ctx context.Context, n mnq.Namespace, name *string) (mnq.Namespace, error) {
	if name == nil {
		return n, nil
	}
	renamed, err := a.dir.RenameNamespace(ctx, n.ID, *name)
	return renamed, as(err, "namespace", n.ID)
}

type namespaceInput struct {
	InRegion
	NamespaceID string `path:"namespace_id" minLength:"56" maxLength:"56"`
}

func (a *API) getNamespace(_ context.Context, who mnq.Identity, in *namespaceInput) (namespaceV1alpha1, error) {
	n, err := a.visibleNamespace(who, in.NamespaceID)
	if err != nil {
		return namespaceV1alpha1{}, err
	}
	return a.namespaceV1alpha1(n), nil
}

func (a *API) deleteNamespace(ctx context.Context, who mnq.Identity, in *namespaceInput) error {
	n, err := a.visibleNamespace(who, in.NamespaceID)
	if err != nil {
		return err
	}
	return as(a.dir.DeleteNamespace(ctx, n.ID), "namespace", n.ID)
}

type createCredentialInput struct {
	InRegion
	Body createCredentialRequest
}

type createCredentialRequest struct {
	_ struct{} `additionalProperties:"true"`

	NamespaceID string            `json:"namespace_id" minLength:"56" maxLength:"56"`
	Name        string            `json:"name" minLength:"1" maxLength:"500"`
	Permissions *permissionChange `json:"permissions" required:"false" doc:"SQS/SNS: required with all three; NATS: none"`
}

func (a *API) createCredential(ctx context.Context, who mnq.Identity, in *createCredentialInput) (credentialV1alpha1, error) {
	n, err := a.visibleNamespace(who, in.Body.NamespaceID)
	if err != nil {
		return credentialV1alpha1{}, err
	}
	permissions, err := permissionsFor(n.Protocol, in.Body.Permissions)
	if err != nil {
		return credentialV1alpha1{}, err
	}
	c, secret, err := a.dir.CreateCredential(ctx, tenant.NewCredential{
		Name: in.Body.Name, NamespaceID: n.ID, ProjectID: n.ProjectID, Permissions: permissions,
	})
	if err != nil {
		return credentialV1alpha1{}, as(err, "namespace", n.ID)
	}
	out := credentialOnWire(c)
	if c.Protocol == mnq.ProtocolNATS {
		out.NATSCredentials = &natsCredentialsV1alpha1{Content: secret.CredsFile.Reveal()}
	} else {
		out.SQSSNSCredentials.SecretKey = new(secret.SecretKey.Reveal())
	}
	return out, nil
}

// permissionsFor checks the permissions of a new v1alpha1 credential: none for
// NATS, all three for SQS/SNS.
func permissionsFor(p mnq.Protocol, in *permissionChange) (mnq.Permissions, error) {
	if p == mnq.ProtocolNATS {
		return mnq.Permissions{}, noNATSPermissions(in)
	}
	if in == nil {
		return mnq.Permissions{}, invalid("permissions", "required", "value is required")
	}
	var missing []detail
	get := func(name string, v *bool) bool {
		if v == nil {
			missing = append(missing, detail{ArgumentName: "permissions." + name, Reason: "required", HelpMessage: "value is required"})
			return false
		}
		return *v
	}
	out := mnq.Permissions{
		CanPublish: get("can_publish", in.CanPublish),
		CanReceive: get("can_receive", in.CanReceive),
		CanManage:  get("can_manage", in.CanManage),
	}
	if missing != nil {
		return mnq.Permissions{}, invalidArguments(missing...)
	}
	return out, nil
}

func noNATSPermissions(in *permissionChange) error {
	if in == nil {
		return nil
	}
	return invalid("permissions", "constraint", "a NATS credential has no permissions: leave the field out")
}

// credentialOnWire shows a credential without its secret.
func credentialOnWire(c mnq.Credential) credentialV1alpha1 {
	out := credentialV1alpha1{ID: c.ID, Name: c.Name, NamespaceID: c.NamespaceID, Protocol: c.Protocol}
	if c.Protocol == mnq.ProtocolSQSSNS {
		out.SQSSNSCredentials = &sqsSNSCredentialsV1alpha1{AccessKey: c.AccessKey, Permissions: c.Permissions}
	}
	return out
}

type listCredentialsInput struct {
	InRegion
	PageQuery
	NamespaceID string `query:"namespace_id" minLength:"56" maxLength:"56"`
	OrderBy     string `query:"order_by" default:"id_asc" enum:"id_asc,id_desc,name_asc,name_desc"`
}

func (a *API) listCredentials(_ context.Context, who mnq.Identity, in *listCredentialsInput) (credentialsV1alpha1, error) {
	all := a.visibleCredentials(who, in.OrderBy, func(c mnq.Credential) bool {
		return inV1alpha1(c) && (in.NamespaceID == "" || c.NamespaceID == in.NamespaceID)
	})
	return credentialsV1alpha1{
		TotalCount: len(all),
		Credentials: convert(cut(all, in.PageQuery), func(c mnq.Credential) credentialSummaryV1alpha1 {
			s := credentialSummaryV1alpha1{ID: c.ID, Name: c.Name, NamespaceID: c.NamespaceID, Protocol: c.Protocol}
			if c.Protocol == mnq.ProtocolSQSSNS {
				s.SQSSNSCredentials = &sqsSNSKeysV1alpha1{AccessKey: c.AccessKey, Permissions: c.Permissions}
			}
			return s
		}),
	}, nil
}

type credentialInput struct {
	InRegion
	CredentialID string `path:"credential_id" format:"uuid"`
}

func (a *API) getCredential(_ context.Context, who mnq.Identity, in *credentialInput) (credentialV1alpha1, error) {
	c, err := a.visibleCredential(who, in.CredentialID, "credential", inV1alpha1)
	if err != nil {
		return credentialV1alpha1{}, err
	}
	return credentialOnWire(c), nil
}

type updateCredentialInput struct {
	InRegion
	CredentialID string `path:"credential_id" format:"uuid"`
	Body         updateCredentialRequest
}

type updateCredentialRequest struct {
	_ struct{} `additionalProperties:"true"`

	Name        *string           `json:"name" required:"false" minLength:"1" maxLength:"500" doc:"null: unchanged"`
	Permissions *permissionChange `json:"permissions" required:"false" doc:"null, or null inside: unchanged"`
}

// change is what the request asks for.
func (r updateCredentialRequest) change() tenant.CredentialChange {
	out := tenant.CredentialChange{Name: r.Name}
	if p := r.Permissions; p != nil {
		out.CanPublish, out.CanReceive, out.CanManage = p.CanPublish, p.CanReceive, p.CanManage
	}
	return out
}

func (a *API) updateCredential(ctx context.Context, who mnq.Identity, in *updateCredentialInput) (credentialV1alpha1, error) {
	c, err := a.visibleCredential(who, in.CredentialID, "credential", inV1alpha1)
	if err != nil {
		return credentialV1alpha1{}, err
	}
	if c.Protocol == mnq.ProtocolNATS {
		if err := noNATSPermissions(in.Body.Permissions); err != nil {
			return credentialV1alpha1{}, err
		}
	}
	if c, err = a.changeCredential(ctx, c, in.Body.change(), "credential"); err != nil {
		return credentialV1alpha1{}, err
	}
	return credentialOnWire(c), nil
}

// changeCredential applies a change; an empty one leaves updated_at alone.
func (a *API) changeCredential(ctx context.Context, c mnq.Credential, change tenant.CredentialChange, noun string) (mnq.Credential, error) {
	if change == (tenant.CredentialChange{}) {
		return c, nil
	}
	changed, err := a.dir.UpdateCredential(ctx, c.ID, change)
	return changed, as(err, noun, c.ID)
}

func (a *API) deleteCredential(ctx context.Context, who mnq.Identity, in *credentialInput) error {
	c, err := a.visibleCredential(who, in.CredentialID, "credential", inV1alpha1)
	if err != nil {
		return err
	}
	return as(a.dir.DeleteCredential(ctx, c.ID), "credential", c.ID)
}
