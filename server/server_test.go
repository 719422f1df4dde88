package server

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/openmnq/mnq/internal/service"
)

// TestStartingIsToldInEachProtocol asks before any part has started.
func TestStartingIsToldInEachProtocol(t *testing.T) {
	t.Parallel()
	s := &Server{cfg: Config{Settings: Settings{AdminHTTP: "x"}}, log: slog.New(slog.DiscardHandler), metrics: service.NewMetrics(service.ReadBuild())}
	for _, c := range []struct{ path, contentType, authorization, wantType, want string }{
		{"/?Action=ListQueues&Version=2012-11-05", "", "", "text/xml", `<ErrorResponse xmlns="http://queue.amazonaws.com/doc/2012-11-05/"><Error><Type>Receiver</Type><Code>ServiceUnavailable</Code>`},
		{"/a/q", "application/x-www-form-urlencoded", "AWS4-HMAC-SHA256 Credential=a/20260504/fr-par/sns/aws4_request, SignedHeaders=host;x-amz-date, Signature=0", "text/xml", `<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Receiver</Type><Code>`},
		{"/", "application/x-amz-json-1.0", "", "application/x-amz-json-1.0", `{"__type":"com.amazon.coral.service#ServiceUnavailable"`},
		{"/mnq/v1alpha1/regions/fr-par/namespaces", "", "", "application/json", `{"message":"the service is starting","type":"unavailable"}`},
		{"/openmnq/v1/projects", "", "", "application/json", `"unavailable"`},
		{"/readyz", "", "", "text/plain; charset=utf-8", "starting"},
	} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, c.path, http.NoBody)
		r.Header.Set("Content-Type", c.contentType)
		r.Header.Set("X-Amz-Date", "20260504T030201Z")
		if c.authorization != "" {
			r.Header.Set("Authorization", c.authorization)
		}
		w := httptest.NewRecorder()
		s.starting().ServeHTTP(w, r)
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Content-Type") != c.wantType || !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%s: %d %s %s", c.path, w.Code, w.Header().Get("Content-Type"), w.Body)
		}
		if c.path != "/readyz" && w.Header().Get("Retry-After") != "1" {
			t.Errorf("%s: Retry-After %q", c.path, w.Header().Get("Retry-After"))
		}
	}
	w := httptest.NewRecorder()
	s.starting().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusNotFound {
		t.Errorf("metrics are on the public listener while starting: %d", w.Code)
	}
}

func TestPublicURL(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ configured, bound, want string }{
		{"", "127.0.0.1:9324", "http://127.0.0.1:9324"},
		{"", "[::1]:9324", "http://[::1]:9324"},
		{"", "0.0.0.0:80", "http://box:80"},
		{"", "[::]:80", "http://box:80"},
		{"https://mq.example.com", "0.0.0.0:80", "https://mq.example.com"},
	} {
		if got := publicURL(c.configured, "http", c.bound, "box"); got != c.want {
			t.Errorf("publicURL(%q, %q) = %s, want %s", c.configured, c.bound, got, c.want)
		}
	}
}
