package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/tenant"
)

// awsCredentials are SQS or SNS credentials as v1beta1 shows them.
type awsCredentials struct {
	ID             string          `json:"id"`
	Name           string          `json:"name"`
	ProjectID      string          `json:"project_id"`
	Region         string          `json:"region"`
	CreatedAt      *time.Time      `json:"created_at"`
	UpdatedAt      *time.Time      `json:"updated_at"`
	AccessKey      string          `json:"access_key"`
	SecretKey      string          `json:"secret_key" doc:"empty except in the answer to create"`
	SecretChecksum string          `json:"secret_checksum" doc:"SHA-1 of the secret key, hexadecimal"`
	Permissions    mnq.Permissions `json:"permissions"`
}

type sqsCredentialsList struct {
	SQSCredentials []awsCredentials `json:"sqs_credentials" nullable:"false"`
	TotalCount     int              `json:"total_count"`
}

type snsCredentialsList struct {
	SNSCredentials []awsCredentials `json:"sns_credentials" nullable:"false"`
	TotalCount     int              `json:"total_count"`
}

// ActivationInfo is what SqsInfo and SnsInfo have in common. The times are null
// while the service is off.
type ActivationInfo struct {
	ProjectID string     `json:"project_id"`
	Region    string     `json:"region"`
	Status    string     `json:"status" enum:"unknown_status,enabled,disabled"`
	CreatedAt *time.Time `json:"created_at"`
	UpdatedAt *time.Time `json:"updated_at"`
}

type sqsInfo struct {
	ActivationInfo
	Endpoint string `json:"sqs_endpoint_url"`
}

type snsInfo struct {
	ActivationInfo
	Endpoint string `json:"sns_endpoint_url"`
}

// awsFront holds the eight calls of one service. SQS and SNS differ only in
// names: Info and List are the bodies that carry those names.
type awsFront[Info, List any] struct {
	api     *API
	service mnq.Service
	noun    string // of the activation, in error bodies
	title   string // "SQS"
	info    func(ActivationInfo, string) Info
	list    func([]awsCredentials, int) List
}

func (a *API) registerAWS() {
	awsFront[sqsInfo, sqsCredentialsList]{
		api: a, service: mnq.ServiceSQS, noun: "MnqSQSNamespace", title: "SQS",
		info: func(i ActivationInfo, url string) sqsInfo { return sqsInfo{i, url} },
		list: func(c []awsCredentials, n int) sqsCredentialsList { return sqsCredentialsList{c, n} },
	}.register("Sqs")
	awsFront[snsInfo, snsCredentialsList]{
		api: a, service: mnq.ServiceSNS, noun: "MnqSNSNamespace", title: "SNS",
		info: func(i ActivationInfo, url string) snsInfo { return snsInfo{i, url} },
		list: func(c []awsCredentials, n int) snsCredentialsList { return snsCredentialsList{c, n} },
	}.register("Sns")
}

// register adds the eight operations; name is the service in operation ids.
func (f awsFront[Info, List]) register(name string) {
	s := string(f.service)
	handle(f.api, operation{
		id: "v1beta1.Activate" + name, method: http.MethodPost, path: "/activate-" + s,
		summary: "Switch " + f.title + " on for a project", noun: "namespace", action: "create",
	}, f.activate)
	handle(f.api, operation{
		id: "v1beta1.Get" + name + "Info", method: http.MethodGet, path: "/" + s + "-info",
		summary: "Say whether " + f.title + " is on for a project, and where", noun: "namespace",
	}, f.getInfo)
	handle(f.api, operation{
		id: "v1beta1.Deactivate" + name, method: http.MethodPost, path: "/deactivate-" + s,
		summary: "Switch " + f.title + " off for a project and delete everything in it", noun: "namespace", action: "delete",
	}, f.deactivate)
	handle(f.api, operation{
		id: "v1beta1.Create" + name + "Credentials", method: http.MethodPost, path: "/" + s + "-credentials",
		summary: "Create " + f.title + " credentials; the only answer that shows the secret key", noun: "credentials", action: "create",
	}, f.create)
	handle(f.api, operation{
		id: "v1beta1.List" + name + "Credentials", method: http.MethodGet, path: "/" + s + "-credentials",
		summary: "List " + f.title + " credentials", noun: "credentials",
	}, f.listCredentials)
	handle(f.api, operation{
		id: "v1beta1.Get" + name + "Credentials", method: http.MethodGet, path: "/" + s + "-credentials/{credentials_id}",
		summary: "Get " + f.title + " credentials", noun: "credentials", look: true,
	}, f.get)
	handle(f.api, operation{
		id: "v1beta1.Update" + name + "Credentials", method: http.MethodPatch, path: "/" + s + "-credentials/{credentials_id}",
		summary: "Change the name or the permissions of " + f.title + " credentials", noun: "credentials", action: "write",
	}, f.update)
	remove(f.api, operation{
		id: "v1beta1.Delete" + name + "Credentials", method: http.MethodDelete, path: "/" + s + "-credentials/{credentials_id}",
		summary: "Delete " + f.title + " credentials", noun: "credentials", action: "delete",
	}, f.delete)
}

// show describes an activation. While the service is off the answer has no times.
func (f awsFront[Info, List]) show(act mnq.Activation, project string) Info {
	i := ActivationInfo{ProjectID: project, Region: f.api.region, Status: "disabled"}
	if act.Enabled {
		i.Status, i.CreatedAt, i.UpdatedAt = "enabled", stamp(act.CreatedAt), stamp(act.UpdatedAt)
	}
	return f.info(i, f.api.httpURL())
}

func (f awsFront[Info, List]) owns(c mnq.Credential) bool { return c.Service == f.service }

type activateInput struct {
	InRegion
	Body activateRequest
}

type activateRequest struct {
	_ struct{} `additionalProperties:"true"`

	ProjectID string `json:"project_id" format:"uuid"`
}

func (f awsFront[Info, List]) activate(ctx context.Context, who mnq.Identity, in *activateInput) (Info, error) {
	var none Info
	project := canonical(in.Body.ProjectID)
	if err := f.api.visibleProject(who, project, "create", "namespace"); err != nil {
		return none, err
	}
	act, err := f.api.dir.Activate(ctx, project, f.service)
	switch {
	case err != nil && mnq.KindOf(err) == mnq.Exists:
		return none, alreadyExists(f.noun, project, f.title+" is already enabled on this project")
	case err != nil:
		return none, gone(err, "namespace")
	}
	return f.show(act, project), nil
}

type infoInput struct {
	InRegion
	ProjectID string `query:"project_id" required:"true" format:"uuid"`
}

func (f awsFront[Info, List]) getInfo(_ context.Context, who mnq.Identity, in *infoInput) (Info, error) {
	project := canonical(in.ProjectID)
	if err := f.api.visibleProject(who, project, "read", "namespace"); err != nil {
		var none Info
		return none, err
	}
	return f.show(f.api.dir.Activation(project, f.service), project), nil
}

func (f awsFront[Info, List]) deactivate(ctx context.Context, who mnq.Identity, in *activateInput) (Info, error) {
	var none Info
	project := canonical(in.Body.ProjectID)
	if err := f.api.visibleProject(who, project, "delete", "namespace"); err != nil {
		return none, err
	}
	act, err := f.api.dir.Deactivate(ctx, project, f.service)
	if err != nil {
		return none, as(err, f.noun, project)
	}
	return f.show(act, project), nil
}

type createAWSCredentialsInput struct {
	InRegion
	Body createAWSCredentialsRequest
}

type createAWSCredentialsRequest struct {
	_ struct{} `additionalProperties:"true"`

	ProjectID   string            `json:"project_id" format:"uuid"`
	Name        string            `json:"name" minLength:"1" maxLength:"500"`
	Permissions *permissionChange `json:"permissions" required:"false" doc:"what is left out is not granted"`
}

func (f awsFront[Info, List]) create(ctx context.Context, who mnq.Identity, in *createAWSCredentialsInput) (awsCredentials, error) {
	project := canonical(in.Body.ProjectID)
	if err := f.api.visibleProject(who, project, "create", "credentials"); err != nil {
		return awsCredentials{}, err
	}
	if !f.api.dir.Activation(project, f.service).Enabled {
		return awsCredentials{}, notFound(f.noun, project)
	}
	c, secret, err := f.api.dir.CreateCredential(ctx, tenant.NewCredential{
		Name: in.Body.Name, ProjectID: project, Service: f.service, Permissions: granted(in.Body.Permissions),
	})
	if err != nil {
		return awsCredentials{}, as(err, f.noun, project)
	}
	out := awsCredentialsOnWire(c)
	out.SecretKey = secret.SecretKey.Reveal()
	return out, nil
}

// granted reads the permissions of new v1beta1 credentials: what is not granted
// is denied.
func granted(in *permissionChange) mnq.Permissions {
	if in == nil {
		return mnq.Permissions{}
	}
	yes := func(v *bool) bool { return v != nil && *v }
	return mnq.Permissions{CanPublish: yes(in.CanPublish), CanReceive: yes(in.CanReceive), CanManage: yes(in.CanManage)}
}

func awsCredentialsOnWire(c mnq.Credential) awsCredentials {
	return awsCredentials{
		ID: c.ID, Name: c.Name, ProjectID: c.ProjectID, Region: c.Region, AccessKey: c.AccessKey,
		SecretChecksum: c.Checksum, Permissions: c.Permissions,
		CreatedAt: stamp(c.CreatedAt), UpdatedAt: stamp(c.UpdatedAt),
	}
}

type listAWSCredentialsInput struct {
	InRegion
	ProjectQuery
}

//nolint:unparam // the error belongs to the form of every operation
func (f awsFront[Info, List]) listCredentials(_ context.Context, who mnq.Identity, in *listAWSCredentialsInput) (List, error) {
	project := canonical(in.ProjectID)
	all := f.api.visibleCredentials(who, in.OrderBy, func(c mnq.Credential) bool {
		return f.owns(c) && (project == "" || c.ProjectID == project)
	})
	return f.list(convert(cut(all, in.PageQuery), awsCredentialsOnWire), len(all)), nil
}

type awsCredentialsInput struct {
	InRegion
	ID string `path:"credentials_id" format:"uuid"`
}

func (f awsFront[Info, List]) get(_ context.Context, who mnq.Identity, in *awsCredentialsInput) (awsCredentials, error) {
	c, err := f.api.visibleCredential(who, in.ID, "credentials", f.owns)
	if err != nil {
		return awsCredentials{}, err
	}
	return awsCredentialsOnWire(c), nil
}

type updateAWSCredentialsInput struct {
	InRegion
	ID   string `path:"credentials_id" format:"uuid"`
	Body updateCredentialRequest
}

func (f awsFront[Info, List]) update(ctx context.Context, who mnq.Identity, in *updateAWSCredentialsInput) (awsCredentials, error) {
	c, err := f.api.visibleCredential(who, in.ID, "credentials", f.owns)
	if err != nil {
		return awsCredentials{}, err
	}
	if c, err = f.api.changeCredential(ctx, c, in.Body.change(), "credentials"); err != nil {
		return awsCredentials{}, err
	}
	return awsCredentialsOnWire(c), nil
}

func (f awsFront[Info, List]) delete(ctx context.Context, who mnq.Identity, in *awsCredentialsInput) error {
	c, err := f.api.visibleCredential(who, in.ID, "credentials", f.owns)
	if err != nil {
		return err
	}
	return as(f.api.dir.DeleteCredential(ctx, c.ID), "credentials", c.ID)
}
