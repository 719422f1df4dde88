package server

import (
	"net/http"
	"strings"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/aws"
	"github.com/openmnq/mnq/internal/service"
	"github.com/openmnq/mnq/rest"
)

// routes puts the front doors on one listener. Paths that no other front door owns
// belong to SQS and SNS: queue URLs are /{account}/{queue}, the links in messages of
// topics are /?Action=…, and their certificates are beside them.
func (s *Server) routes(control, planes, pages http.Handler, metrics http.HandlerFunc) http.Handler {
	control = s.metrics.Observe("rest", s.log, s.withStatus(control))
	planes = s.metrics.Observe("sqs", s.log, planes) // which of the two, it tells itself
	pages = s.metrics.Observe("console", s.log, pages)
	if s.cfg.AdminHTTP != "" {
		metrics = http.NotFound
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch first, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/"); first {
		case "mnq", "openmnq", "iam", "openapi.json", "openapi.yaml", "docs":
			control.ServeHTTP(w, r)
		case "healthz":
			s.health.Live(w, r)
		case "readyz":
			s.health.Ready(w, r)
		case "metrics":
			metrics.ServeHTTP(w, r)
		case "console":
			pages.ServeHTTP(w, r)
		default:
			planes.ServeHTTP(w, r)
		}
	})
}

// starting answers while the parts start.
func (s *Server) starting() http.Handler {
	return s.routes(rest.Starting(s.health.Waiting), aws.Starting(), http.HandlerFunc(notYet), notYet)
}

func (s *Server) adminStarting() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.health.Live)
	mux.HandleFunc("GET /readyz", s.health.Ready)
	mux.HandleFunc("/", notYet)
	return mux
}

func notYet(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Retry-After", "1")
	http.Error(w, "starting", http.StatusServiceUnavailable)
}

// adminRoutes is what moves to the operator's listener.
func (s *Server) adminRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.health.Live)
	mux.HandleFunc("GET /readyz", s.health.Ready)
	mux.HandleFunc("GET /metrics", s.metrics.ServePrivate)
	mux.HandleFunc("GET /metrics/queues", func(w http.ResponseWriter, r *http.Request) { s.serveQueueMetrics(w, r, mnq.Identity{}) })
	mux.HandleFunc("GET /metrics/topics", func(w http.ResponseWriter, r *http.Request) { s.serveTopicMetrics(w, r, mnq.Identity{}) })
	service.Profiles(mux)
	return mux
}
