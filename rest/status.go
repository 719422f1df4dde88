package rest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/google/uuid"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/node"
)

// StatusPath is where the status is.
const StatusPath = "/openmnq/v1/status"

func (a *API) registerStatus() {
	handle(a, operation{
		id: "openmnq.GetStatus", method: http.MethodGet, path: "/status",
		summary: "Get the state of nodes and streams, and what is wrong in words; for keys that see all projects", noun: "status",
	}, a.getStatus)
	remove(a, operation{
		id: "openmnq.RemoveNode", method: http.MethodDelete, path: "/nodes/{node_name}",
		summary: "Take a node that is gone for good out of the cluster", noun: "node", action: "delete", admin: true,
	}, a.removeNode)
}

type nodeInput struct {
	Name string `path:"node_name" maxLength:"64"`
}

func (a *API) removeNode(ctx context.Context, _ mnq.Identity, in *nodeInput) error {
	if a.remove == nil {
		return &mnq.Error{Kind: mnq.Unsupported, Op: "rest.RemoveNode", Msg: "there is no cluster"}
	}
	err := a.remove(ctx, in.Name)
	if e, ok := errors.AsType[*mnq.Error](err); ok && e.Kind == mnq.Conflict {
		return preconditionFailed("resource_still_in_use", e.Msg)
	}
	return as(err, "node", in.Name)
}

func (a *API) getStatus(ctx context.Context, who mnq.Identity, _ *struct{}) (node.Status, error) {
	if who.ProjectID != "" {
		return node.Status{}, permissionsDenied("read", "status")
	}
	return a.status(ctx), nil
}

// WriteStatus answers in the operation's place while nobody can be authenticated by an
// API key. The caller has made sure who asks.
func WriteStatus(w http.ResponseWriter, r *http.Request, s node.Status) {
	setHeaders(w.Header(), uuid.NewString(), r.TLS != nil)
	_ = json.NewEncoder(w).Encode(s) // the client is gone if this fails
}
