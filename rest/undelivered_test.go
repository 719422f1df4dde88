package rest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// brokenWriter stands for a client that has gone.
type brokenWriter struct{ *httptest.ResponseRecorder }

// Write implements [http.ResponseWriter].
func (*brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

// TestReceiveGivesBackWhatNobodyTook cuts the client off between the receive and the
// answer.
func TestReceiveGivesBackWhatNobodyTook(t *testing.T) {
	t.Parallel()
	b := setup(t)
	path := b.space() + "/queues"
	b.must(b.full, "POST", path, `{"name":"q"}`)
	b.must(b.full, "POST", path+"/q/messages", `{"messages":[{"body":"x"}]}`)
	const receive = `{"max":10,"wait_seconds":20,"visibility_timeout":43200}`
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://mnq.test"+path+"/q/receive", strings.NewReader(receive))
	r.Header.Set("X-Auth-Token", b.full)
	b.api.ServeHTTP(&brokenWriter{httptest.NewRecorder()}, r)
	got := b.must(b.full, "POST", path+"/q/receive", receive)
	if list, _ := got.body["messages"].([]any); len(list) != 1 {
		t.Errorf("the message stayed hidden: %s", got.text)
	}
}
