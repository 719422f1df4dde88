package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/openmnq/mnq"
)

// SupportFile is a part of a support bundle.
type SupportFile struct {
	Name  string `json:"name"`
	About string `json:"about" doc:"what it has, in a few words"`
	Text  string `json:"text"`
}

// SupportPath is where a support bundle is asked for.
const SupportPath = "/openmnq/v1/support"

type supportBundle struct {
	CreatedAt *time.Time    `json:"created_at"`
	Files     []SupportFile `json:"files" nullable:"false"`
}

func (a *API) registerSupport() {
	handle(a, operation{
		id: "openmnq.GetSupportBundle", method: http.MethodGet, path: "/support",
		summary: "Get what helps to find out what is wrong with this process, without secrets and messages; for keys that see all projects",
		noun:    "support_bundle", look: true,
	}, a.getSupport)
}

func (a *API) getSupport(ctx context.Context, who mnq.Identity, _ *struct{}) (supportBundle, error) {
	if who.ProjectID != "" {
		return supportBundle{}, permissionsDenied("read", "support_bundle")
	}
	now := time.Now()
	return supportBundle{CreatedAt: &now, Files: a.support(ctx)}, nil
}
