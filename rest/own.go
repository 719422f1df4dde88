package rest

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/tenant"
)

// projectOnWire is a project.
type projectOnWire struct {
	ID             string     `json:"id"`
	Name           string     `json:"name"`
	OrganizationID string     `json:"organization_id"`
	CreatedAt      *time.Time `json:"created_at"`
	UpdatedAt      *time.Time `json:"updated_at"`
}

type projectList struct {
	Projects   []projectOnWire `json:"projects" nullable:"false"`
	TotalCount int             `json:"total_count"`
}

// apiKeyOnWire is an API key. ProjectID is null for keys that see all projects.
type apiKeyOnWire struct {
	AccessKey string     `json:"access_key"`
	Name      string     `json:"name"`
	ProjectID *string    `json:"project_id"`
	ReadOnly  bool       `json:"read_only"`
	CreatedAt *time.Time `json:"created_at"`
	SecretKey *string    `json:"secret_key,omitempty" doc:"only in the answer to create"`
}

// usedAPIKey is an API key in a list.
type usedAPIKey struct {
	apiKeyOnWire

	LastUsedAt *time.Time `json:"last_used_at" doc:"right within two minutes; null: never"`
}

type apiKeyList struct {
	APIKeys    []usedAPIKey `json:"api_keys" nullable:"false"`
	TotalCount int          `json:"total_count"`
}

// namespaceOnWire is a namespace as the operator sees it, the hidden ones of
// v1beta1 included.
type namespaceOnWire struct {
	ID        string       `json:"id"`
	Account   string       `json:"account" doc:"its part in queue URLs and ARNs"`
	Name      string       `json:"name"`
	Protocol  mnq.Protocol `json:"protocol"`
	ProjectID string       `json:"project_id"`
	Activated bool         `json:"activated" doc:"true: behind SQS and SNS of v1beta1"`
	Quota     mnq.Quota    `json:"quota"`
	Settings  settings     `json:"settings"`
	CreatedAt *time.Time   `json:"created_at"`
	UpdatedAt *time.Time   `json:"updated_at"`
}

type namespaceList struct {
	Namespaces []namespaceOnWire `json:"namespaces" nullable:"false"`
	TotalCount int               `json:"total_count"`
}

// iamAPIKey is what clients ask for to find their default project.
type iamAPIKey struct {
	AccessKey        string     `json:"access_key"`
	SecretKey        *string    `json:"secret_key" doc:"always null"`
	Description      string     `json:"description"`
	DefaultProjectID string     `json:"default_project_id"`
	CreatedAt        *time.Time `json:"created_at"`
	UpdatedAt        *time.Time `json:"updated_at"`
	ExpiresAt        *time.Time `json:"expires_at"`
	Editable         bool       `json:"editable"`
	Deletable        bool       `json:"deletable"`
	Managed          bool       `json:"managed"`
	CreationIP       string     `json:"creation_ip"`
}

func (a *API) registerOwn() {
	handle(a, operation{
		id: "openmnq.ListProjects", method: http.MethodGet, path: "/projects",
		summary: "List projects", noun: "project",
	}, a.listProjects)
	handle(a, operation{
		id: "openmnq.CreateProject", method: http.MethodPost, path: "/projects",
		summary: "Create a project", noun: "project", action: "create", admin: true,
	}, a.createProject)
	handle(a, operation{
		id: "openmnq.GetProject", method: http.MethodGet, path: "/projects/{project_id}",
		summary: "Get a project", noun: "project",
	}, a.getProject)
	remove(a, operation{
		id: "openmnq.DeleteProject", method: http.MethodDelete, path: "/projects/{project_id}",
		summary: "Delete a project that has no namespaces", noun: "project", action: "delete", admin: true,
	}, a.deleteProject)
	handle(a, operation{
		id: "openmnq.ListAPIKeys", method: http.MethodGet, path: "/api-keys",
		summary: "List API keys", noun: "api_key",
	}, a.listAPIKeys)
	handle(a, operation{
		id: "openmnq.CreateAPIKey", method: http.MethodPost, path: "/api-keys",
		summary: "Create an API key; the only answer that shows its secret", noun: "api_key", action: "create", admin: true,
	}, a.createAPIKey)
	handle(a, operation{
		id: "openmnq.GetAPIKey", method: http.MethodGet, path: "/api-keys/{access_key}",
		summary: "Get an API key", noun: "api_key", look: true,
	}, a.getAPIKey)
	remove(a, operation{
		id: "openmnq.DeleteAPIKey", method: http.MethodDelete, path: "/api-keys/{access_key}",
		summary: "Delete an API key", noun: "api_key", action: "delete", admin: true,
	}, a.deleteAPIKey)
	handle(a, operation{
		id: "openmnq.ListNamespaces", method: http.MethodGet, path: "/namespaces",
		summary: "List all namespaces, the hidden ones too, with their quotas", noun: "namespace",
	}, a.listAllNamespaces)
	handle(a, operation{
		id: "openmnq.GetNamespace", method: http.MethodGet, path: "/namespaces/{namespace_id}",
		summary: "Get a namespace, hidden ones too, by its id or the account part of its queue URLs", noun: "namespace",
	}, a.getAnyNamespace)
	handle(a, operation{
		id: "openmnq.GetQuota", method: http.MethodGet, path: "/namespaces/{namespace_id}/quota",
		summary: "Get the quota in force of a namespace", noun: "namespace",
	}, a.getQuota)
	handle(a, operation{
		id: "openmnq.SetQuota", method: http.MethodPut, path: "/namespaces/{namespace_id}/quota",
		summary: "Replace the quota of a namespace; what is left out gets its default, -1 is unlimited",
		noun:    "namespace", action: "write", admin: true,
	}, a.setQuota)
	handle(a, operation{
		id: "openmnq.GetNamespaceSettings", method: http.MethodGet, path: "/namespaces/{namespace_id}/settings",
		summary: "Get the settings of a namespace", noun: "namespace",
	}, a.getSettings)
	handle(a, operation{
		id: "openmnq.SetNamespaceSettings", method: http.MethodPut, path: "/namespaces/{namespace_id}/settings",
		summary: "Replace the settings of a namespace; what is left out gets its default",
		noun:    "namespace", action: "write",
	}, a.setSettings)
	handle(a, operation{
		id: "iam.GetAPIKey", method: http.MethodGet, path: "/api-keys/{access_key}",
		summary: "Get the caller's own API key", noun: "api_key",
	}, a.getOwnAPIKey)
}

func projectWire(p mnq.Project) projectOnWire {
	return projectOnWire{
		ID: p.ID, Name: p.Name, OrganizationID: p.OrganizationID,
		CreatedAt: stamp(p.CreatedAt), UpdatedAt: stamp(p.UpdatedAt),
	}
}

type pageInput struct{ PageQuery }

func (a *API) listProjects(_ context.Context, who mnq.Identity, in *pageInput) (projectList, error) {
	all := filter(a.dir.Projects(), func(p mnq.Project) bool { return who.Sees(p.ID) })
	slices.SortStableFunc(all, func(x, y mnq.Project) int {
		return cmp.Or(x.CreatedAt.Compare(y.CreatedAt), cmp.Compare(x.ID, y.ID))
	})
	return projectList{Projects: convert(cut(all, in.PageQuery), projectWire), TotalCount: len(all)}, nil
}

type createProjectInput struct{ Body createProjectRequest }

type createProjectRequest struct {
	Name string `json:"name" minLength:"1" maxLength:"64"`
	ID   string `json:"id" required:"false" format:"uuid" doc:"chosen by the server if left out"`
}

func (a *API) createProject(ctx context.Context, _ mnq.Identity, in *createProjectInput) (projectOnWire, error) {
	p, err := a.dir.CreateProject(ctx, tenant.NewProject{ID: canonical(in.Body.ID), Name: in.Body.Name})
	if err != nil && mnq.KindOf(err) == mnq.Exists {
		return projectOnWire{}, alreadyExists("project", canonical(in.Body.ID), "a project with this id exists")
	}
	return projectWire(p), err
}

type projectInput struct {
	ProjectID string `path:"project_id" format:"uuid"`
}

func (a *API) visible(who mnq.Identity, id string) (mnq.Project, error) {
	if !who.Sees(canonical(id)) {
		return mnq.Project{}, notFound("project", id)
	}
	p, err := a.dir.Project(canonical(id))
	return p, as(err, "project", id)
}

func (a *API) getProject(_ context.Context, who mnq.Identity, in *projectInput) (projectOnWire, error) {
	p, err := a.visible(who, in.ProjectID)
	if err != nil {
		return projectOnWire{}, err
	}
	return projectWire(p), nil
}

func (a *API) deleteProject(ctx context.Context, who mnq.Identity, in *projectInput) error {
	p, err := a.visible(who, in.ProjectID)
	if err != nil {
		return err
	}
	return inUse(as(a.dir.DeleteProject(ctx, p.ID), "project", p.ID), "default_project")
}

func apiKeyWire(k mnq.APIKey) apiKeyOnWire {
	out := apiKeyOnWire{AccessKey: k.AccessKey, Name: k.Name, ReadOnly: k.ReadOnly, CreatedAt: stamp(k.CreatedAt)}
	if k.ProjectID != "" {
		out.ProjectID = new(k.ProjectID)
	}
	return out
}

// seesKey: a key that is bound to a project sees the keys bound to the same one.
func seesKey(who mnq.Identity, k mnq.APIKey) bool {
	return who.ProjectID == "" || k.ProjectID == who.ProjectID
}

func (a *API) listAPIKeys(ctx context.Context, who mnq.Identity, in *pageInput) (apiKeyList, error) {
	all := filter(a.dir.APIKeys(), func(k mnq.APIKey) bool { return seesKey(who, k) })
	slices.SortStableFunc(all, func(x, y mnq.APIKey) int {
		return cmp.Or(x.CreatedAt.Compare(y.CreatedAt), cmp.Compare(x.AccessKey, y.AccessKey))
	})
	out := apiKeyList{APIKeys: convert(cut(all, in.PageQuery), func(k mnq.APIKey) usedAPIKey { return usedAPIKey{apiKeyOnWire: apiKeyWire(k)} }), TotalCount: len(all)}
	err := a.whenUsed(ctx, len(out.APIKeys), func(i int) (string, **time.Time) { return out.APIKeys[i].AccessKey, &out.APIKeys[i].LastUsedAt })
	return out, err
}

type createAPIKeyInput struct{ Body createAPIKeyRequest }

type createAPIKeyRequest struct {
	Name      string  `json:"name" minLength:"1" maxLength:"500"`
	ProjectID *string `json:"project_id" required:"false" format:"uuid" doc:"null: all projects"`
	ReadOnly  bool    `json:"read_only" required:"false"`
}

func (a *API) createAPIKey(ctx context.Context, who mnq.Identity, in *createAPIKeyInput) (apiKeyOnWire, error) {
	n := tenant.NewAPIKey{Name: in.Body.Name, ReadOnly: in.Body.ReadOnly}
	if in.Body.ProjectID != nil {
		p, err := a.visible(who, *in.Body.ProjectID)
		if err != nil {
			return apiKeyOnWire{}, err
		}
		n.ProjectID = p.ID
	}
	k, secret, err := a.dir.CreateAPIKey(ctx, n)
	if err != nil {
		return apiKeyOnWire{}, as(err, "project", n.ProjectID)
	}
	out := apiKeyWire(k)
	out.SecretKey = new(secret.Reveal())
	return out, nil
}

type apiKeyInput struct {
	AccessKey string `path:"access_key" maxLength:"64"`
}

func (a *API) visibleKey(who mnq.Identity, accessKey string) (mnq.APIKey, error) {
	k, err := a.dir.APIKeyByAccessKey(accessKey)
	switch {
	case err != nil:
		return mnq.APIKey{}, as(err, "api_key", accessKey)
	case !seesKey(who, k):
		return mnq.APIKey{}, notFound("api_key", accessKey)
	default:
		return k, nil
	}
}

func (a *API) getAPIKey(_ context.Context, who mnq.Identity, in *apiKeyInput) (apiKeyOnWire, error) {
	k, err := a.visibleKey(who, in.AccessKey)
	if err != nil {
		return apiKeyOnWire{}, err
	}
	return apiKeyWire(k), nil
}

// deleteAPIKey leaves the last key alone that could create others.
func (a *API) deleteAPIKey(ctx context.Context, who mnq.Identity, in *apiKeyInput) error {
	k, err := a.visibleKey(who, in.AccessKey)
	if err != nil {
		return err
	}
	return inUse(as(a.dir.DeleteAPIKey(ctx, k.AccessKey), "api_key", k.AccessKey), "last_api_key")
}

// inUse turns a refusal to delete into the answer for it; code is the one that
// marks what may never be deleted.
func inUse(err error, code string) error {
	e, ok := errors.AsType[*mnq.Error](err)
	switch {
	case !ok || e.Kind != mnq.Conflict:
		return err
	case e.Code == code:
		return preconditionFailed("protected_resource", e.Msg)
	default:
		return preconditionFailed("resource_still_in_use", e.Msg)
	}
}

func ownNamespace(n mnq.Namespace) namespaceOnWire {
	return namespaceOnWire{
		ID: n.ID, Account: n.Account(), Name: n.Name, Protocol: n.Protocol, ProjectID: n.ProjectID,
		Activated: n.Activated, Quota: n.Quota, Settings: settingsOf(n), CreatedAt: stamp(n.CreatedAt), UpdatedAt: stamp(n.UpdatedAt),
	}
}

func (a *API) listAllNamespaces(_ context.Context, who mnq.Identity, in *pageInput) (namespaceList, error) {
	all := filter(a.dir.Namespaces(), func(n mnq.Namespace) bool { return who.Sees(n.ProjectID) })
	sortBy(all, "created_at_asc", namespaceOrder)
	return namespaceList{Namespaces: convert(cut(all, in.PageQuery), ownNamespace), TotalCount: len(all)}, nil
}

func (a *API) getAnyNamespace(_ context.Context, who mnq.Identity, in *quotaInput) (namespaceOnWire, error) {
	n, err := a.anyNamespace(who, in.NamespaceID)
	if err != nil {
		return namespaceOnWire{}, err
	}
	return ownNamespace(n), nil
}

type quotaInput struct {
	NamespaceID string `path:"namespace_id" maxLength:"64" doc:"an id, or the account part of a queue URL"`
}

// anyNamespace resolves an id or an account, hidden namespaces included.
func (a *API) anyNamespace(who mnq.Identity, id string) (mnq.Namespace, error) {
	n, err := a.dir.NamespaceByAccount(id)
	if mnq.IsNotFound(err) {
		n, err = a.dir.Namespace(id)
	}
	switch {
	case err != nil:
		return mnq.Namespace{}, as(err, "namespace", id)
	case !who.Sees(n.ProjectID):
		return mnq.Namespace{}, notFound("namespace", id)
	default:
		return n, nil
	}
}

func (a *API) getQuota(_ context.Context, who mnq.Identity, in *quotaInput) (mnq.Quota, error) {
	n, err := a.anyNamespace(who, in.NamespaceID)
	return n.Quota, err
}

type setQuotaInput struct {
	NamespaceID string `path:"namespace_id" maxLength:"64"`
	Body        mnq.Quota
}

func (a *API) setQuota(ctx context.Context, who mnq.Identity, in *setQuotaInput) (mnq.Quota, error) {
	n, err := a.anyNamespace(who, in.NamespaceID)
	if err != nil {
		return mnq.Quota{}, err
	}
	n, err = a.dir.SetQuota(ctx, n.ID, in.Body)
	return n.Quota, as(err, "namespace", in.NamespaceID)
}

// settings are what a namespace's owner chooses.
type settings struct {
	FIFOWithoutGroup bool `json:"fifo_without_group" required:"false" doc:"whether FIFO queues take messages without a group, as the original service does; together they form one group. Default: false"`
}

func settingsOf(n mnq.Namespace) settings { return settings{FIFOWithoutGroup: n.FIFOWithoutGroup} }

func (a *API) getSettings(_ context.Context, who mnq.Identity, in *quotaInput) (settings, error) {
	n, err := a.anyNamespace(who, in.NamespaceID)
	return settingsOf(n), err
}

type setSettingsInput struct {
	NamespaceID string `path:"namespace_id" maxLength:"64"`
	Body        settings
}

func (a *API) setSettings(ctx context.Context, who mnq.Identity, in *setSettingsInput) (settings, error) {
	n, err := a.anyNamespace(who, in.NamespaceID)
	if err != nil {
		return settings{}, err
	}
	n, err = a.dir.SetFIFOWithoutGroup(ctx, n.ID, in.Body.FIFOWithoutGroup)
	return settingsOf(n), as(err, "namespace", in.NamespaceID)
}

func (a *API) getOwnAPIKey(_ context.Context, who mnq.Identity, in *apiKeyInput) (iamAPIKey, error) {
	if in.AccessKey != who.AccessKey {
		return iamAPIKey{}, notFound("api_key", in.AccessKey)
	}
	k, err := a.dir.APIKeyByAccessKey(in.AccessKey)
	if err != nil {
		return iamAPIKey{}, as(err, "api_key", in.AccessKey)
	}
	project := k.ProjectID
	if project == "" {
		project = a.dir.DefaultProjectID()
	}
	return iamAPIKey{
		AccessKey: k.AccessKey, Description: k.Name, DefaultProjectID: project,
		CreatedAt: stamp(k.CreatedAt), UpdatedAt: stamp(k.CreatedAt),
	}, nil
}
