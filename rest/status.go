package rest

import (
	"context"
	"encoding/json"
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
