package server

import (
	"context"
	"net/http"

	"github.com/openmnq/mnq/node"
	"github.com/openmnq/mnq/rest"
)

// withStatus answers the status ahead of the control plane: for whoever has the token
// of the data directory, and in its place while it cannot check API keys yet.
func (s *Server) withStatus(control http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == rest.StatusPath && r.Method == http.MethodGet && s.node.OpensStatus(r.Header.Get("X-Auth-Token")) {
			rest.WriteStatus(w, r, s.node.Status(r.Context()))
			return
		}
		control.ServeHTTP(w, r)
	})
}

// status is what the node knows, and what the directory lacks.
func (s *Server) status(ctx context.Context) node.Status {
	st := s.node.Status(ctx)
	if err := s.directory.Ready(ctx); err != nil {
		st.Add(node.Trouble{
			What: "this process does not follow the directory: " + err.Error(),
			Do:   "it catches up by itself once the cluster answers; until then changes of others are not seen here",
		})
	}
	return st
}
