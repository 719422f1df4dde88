package main

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestAnswers(t *testing.T) {
	t.Parallel()
	calls, fail := 0, true
	f := &function{seen: map[string]bool{}, handle: func(m message) error {
		if calls++; fail {
			return errors.New("not yet")
		}
		if m.Message != "hello" || m.Subject != nil || m.MessageAttributes["a"].Value != "b" {
			t.Errorf("%+v", m)
		}
		return nil
	}}
	call := func(method, body string) int {
		w := httptest.NewRecorder()
		f.ServeHTTP(w, httptest.NewRequest(method, "/", strings.NewReader(body)))
		return w.Code
	}
	const body = `{"Records":[{"EventSource":"aws:sns","Sns":{"MessageId":"1","Subject":null,"Message":"hello","MessageAttributes":{"a":{"Type":"String","Value":"b"}}}}]}`
	for _, c := range []struct {
		method, body string
		want         int
	}{
		{http.MethodGet, "", http.StatusMethodNotAllowed},
		{http.MethodPost, "hello", http.StatusBadRequest},
		{http.MethodPost, "{}", http.StatusBadRequest},
		{http.MethodPost, body, http.StatusInternalServerError},
	} {
		if got := call(c.method, c.body); got != c.want {
			t.Errorf("%s %q: %d, want %d", c.method, c.body, got, c.want)
		}
	}
	fail = false
	for range 3 {
		if got := call(http.MethodPost, body); got != http.StatusNoContent {
			t.Errorf("%d", got)
		}
	}
	if calls != 2 {
		t.Errorf("handled %d times", calls)
	}
}
