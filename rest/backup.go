package rest

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/service"
)

// BackupPath is where a backup is had from.
const BackupPath = "/openmnq/v1/backup"

// backupWait is how long a client may take for the next part.
const backupWait = time.Minute

func (a *API) registerBackup() {
	op := operation{
		id: "openmnq.GetBackup", method: http.MethodGet, path: "/backup",
		summary: "Get a backup of the whole installation, but for the master key; use mnq backup, which checks what comes",
		noun:    "backup", action: "read", admin: true,
	}
	described := a.describe(op, http.StatusOK)
	described.Responses["200"] = &huma.Response{
		Description: "a tar archive, whole only if its last entry is \"end\"",
		Content:     map[string]*huma.MediaType{"application/x-tar": {Schema: &huma.Schema{Type: "string", Format: "binary"}}},
	}
	huma.Register(a.huma, described, func(ctx context.Context, _ *struct{}) (*huma.StreamResponse, error) {
		return run(ctx, a, op, func(mnq.Identity) (*huma.StreamResponse, error) { //nolint:contextcheck // huma hands the same one over
			if a.backup == nil {
				return nil, &mnq.Error{Kind: mnq.Unsupported, Op: "rest.Backup", Msg: "this server makes no backups"}
			}
			if !a.saving.TryLock() {
				return nil, preconditionFailed("resource_still_in_use", "another backup is being made by this process")
			}
			return &huma.StreamResponse{Body: func(hc huma.Context) {
				defer a.saving.Unlock()
				r, w := humago.Unwrap(hc)
				a.serveBackup(r.Context(), w)
			}}, nil
		})
	})
}

func (a *API) serveBackup(ctx context.Context, w http.ResponseWriter) {
	ctx, cancel := service.UntilDraining(ctx)
	defer cancel()
	begun := time.Now()
	if info := service.RequestOf(ctx); info != nil {
		defer func() { info.Waited = time.Since(begun) }() // it is no slow answer
	}
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Time{}) // only a real connection has deadlines
	w.Header().Set("Content-Type", "application/x-tar")
	w.Header().Set("X-Accel-Buffering", "no")
	// A failure stands in the file, and in the log.
	_ = a.backup(ctx, patientWriter{w, c})
}

// patientWriter gives the client a while for each write.
type patientWriter struct {
	w io.Writer
	c *http.ResponseController
}

// Write implements [io.Writer].
func (p patientWriter) Write(data []byte) (int, error) {
	_ = p.c.SetWriteDeadline(time.Now().Add(backupWait)) // only a real connection has deadlines
	return p.w.Write(data)
}
