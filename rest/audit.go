package rest

import (
	"context"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/tenant"
)

// AuditOutcome implements [tenant.Outcome].
func (p *problem) AuditOutcome() (result, reason string) {
	kinds := map[string]mnq.Kind{
		"invalid_arguments": mnq.Invalid, typeDenied: mnq.Unauthenticated, "permissions_denied": mnq.Denied, "not_found": mnq.NotFound,
		"already_exists": mnq.Exists, "precondition_failed": mnq.Conflict,
	}
	return kinds[p.Type].String(), p.HelpMessage
}

// on notes what the input's body names, since the path of a creation does not.
func (op operation) on(in any) operation {
	body := reflect.ValueOf(in).Elem().FieldByName("Body")
	if !body.IsValid() || body.Kind() != reflect.Struct {
		return op
	}
	for _, field := range []string{"NamespaceID", "NATSAccountID", "ProjectID", "Name"} {
		v := body.FieldByName(field)
		if v.IsValid() && v.Kind() == reflect.Pointer {
			v = v.Elem()
		}
		if v.IsValid() && v.Kind() == reflect.String && v.String() != "" {
			op.target += "/" + v.String()
		}
	}
	return op
}

// audited runs f as the audit log wants it: a change between two records, a look and
// a refusal before one.
func audited[O any](ctx context.Context, a *API, op operation, f func() (O, error)) (out O, err error) {
	c, _ := ctx.Value(contextKey{}).(caller)
	run := func() error {
		out, err = f()
		return err
	}
	switch {
	case op.data || op.action == "" && !op.look:
		return f()
	case op.look || op.refuses(c.Identity):
		err = a.dir.AuditLook(ctx, a.auditRecord(c, op), run)
	default:
		err = a.dir.Audit(ctx, a.auditRecord(c, op), run)
	}
	return out, err
}

func (a *API) auditRecord(c caller, op operation) tenant.AuditRecord {
	r := tenant.AuditRecord{
		Actor: c.AccessKey, Role: "full", ProjectID: a.projectOf(c, op), Action: op.id, Resource: c.path + op.target,
		Address: c.address, Agent: c.agent, RequestID: c.requestID, Via: c.via,
	}
	switch {
	case c.ReadOnly:
		r.Role = "read-only"
	case c.ProjectID != "":
		r.Role = "project"
	}
	return r
}

// projectOf is whose record it is: of a key that is bound to a project that one, else
// the project of what the request names, as far as it says.
func (a *API) projectOf(c caller, op operation) string {
	if c.ProjectID != "" {
		return c.ProjectID
	}
	for part := range strings.SplitSeq(c.path+op.target, "/") {
		if n, err := a.anyNamespace(c.Identity, part); err == nil {
			return n.ProjectID
		}
		if p, err := a.dir.Project(canonical(part)); err == nil {
			return p.ID
		}
		if cr, err := a.dir.Credential(canonical(part)); err == nil {
			return cr.ProjectID
		}
	}
	return ""
}

func (a *API) registerAudit() {
	handle(a, operation{
		id: "openmnq.ListAuditRecords", method: http.MethodGet, path: "/audit",
		summary: "Read the audit log, the newest record first; keys of one project see what concerns it", noun: "audit",
	}, a.listAudit)
}

type auditInput struct {
	ProjectID string    `query:"project_id" format:"uuid" doc:"only what concerns a project"`
	Actor     string    `query:"actor" maxLength:"64" doc:"access key"`
	Action    string    `query:"action" maxLength:"64" doc:"part of the action, such as purge"`
	Resource  string    `query:"resource" maxLength:"300" doc:"part of the resource"`
	Result    string    `query:"result" maxLength:"32" doc:"ok, denied, not_found, … or unknown: begun, and nothing is known of its end"`
	Since     time.Time `query:"since"`
	Until     time.Time `query:"until"`
	Before    uint64    `query:"before" doc:"next of the answer that this one goes on from"`
	Max       int64     `query:"max" minimum:"1" maximum:"1000" default:"100"`
}

type auditList struct {
	Records []tenant.AuditRecord `json:"records" nullable:"false"`
	Next    *uint64              `json:"next" doc:"before of the call that goes on; null when there is nothing more"`
}

func (a *API) listAudit(ctx context.Context, who mnq.Identity, in *auditInput) (auditList, error) {
	project := canonical(in.ProjectID)
	if who.ProjectID != "" {
		if project != "" && project != who.ProjectID {
			return auditList{Records: []tenant.AuditRecord{}}, nil // as if it had none
		}
		project = who.ProjectID
	}
	page, err := a.dir.AuditRecords(ctx, tenant.AuditQuery{
		Project: project, Actor: in.Actor, Action: in.Action, Resource: in.Resource, Result: in.Result,
		Since: in.Since, Until: in.Until, Before: in.Before, Max: int(in.Max),
	})
	if err != nil {
		return auditList{}, err
	}
	out := auditList{Records: page.Records}
	if page.Next > 0 {
		out.Next = &page.Next
	}
	return out, nil
}
