package rest

import (
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/service"
)

func TestBounds(t *testing.T) {
	t.Parallel()
	const path = alpha + "/namespaces"
	get := func(b *bundle, token string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), "GET", path, nil)
		r.Header.Set("X-Auth-Token", token)
		w := httptest.NewRecorder()
		b.api.ServeHTTP(w, r)
		return w
	}
	throttled := func(t *testing.T, w *httptest.ResponseRecorder) {
		t.Helper()
		if w.Code != 429 || w.Header().Get("Retry-After") != "1" {
			t.Errorf("got %d %s, Retry-After %q", w.Code, w.Body, w.Header().Get("Retry-After"))
		}
	}

	t.Run("TooMuchAtOnceIsShed", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.api.bounds = service.NewBounds(service.BoundsConfig{InFlight: 1})
		leave, _ := b.api.bounds.Enter()
		throttled(t, get(b, b.bound))
		leave()
		for range 3 {
			if w := get(b, b.bound); w.Code != 200 {
				t.Errorf("afterwards: %d %s", w.Code, w.Body)
			}
		}
	})
	t.Run("KeysHaveARate", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.api.bounds = service.NewBounds(service.BoundsConfig{CredentialRate: 1})
		n := 0
		for ; n < 1000 && get(b, b.bound).Code == 200; n++ {
		}
		if n < 2 || n == 1000 {
			t.Errorf("%d requests passed", n)
		}
		if w := get(b, b.full); w.Code != 200 {
			t.Errorf("another key: %d", w.Code)
		}
	})
	t.Run("WhoKeepsFailingIsToldToSlowDown", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		b.api.bounds = service.NewBounds(service.BoundsConfig{AuthFailures: 1})
		n := 0
		for ; n < 1000 && get(b, unknownUUID).Code == 401; n++ {
		}
		if n < 10 || n == 1000 {
			t.Errorf("%d requests were refused for their token", n)
		}
		if w := get(b, b.bound); w.Code != 200 {
			t.Errorf("a good key behind the same proxy: %d", w.Code)
		}
	})
}

func TestRefusedTokensAreForgivenInTime(t *testing.T) { //nolint:paralleltest // a bubble's clock is its own
	synctest.Test(t, func(t *testing.T) {
		b := service.NewBounds(service.BoundsConfig{AuthFailures: 1})
		a := &API{bounds: b}
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil) // without a token
		refused := func() (n int) {
			for ; ; n++ {
				if _, err := a.admit(r, "192.0.2.1"); isThrottled(err) {
					return n
				}
			}
		}
		if n := refused(); n != 10 {
			t.Errorf("%d at once", n)
		}
		time.Sleep(3 * time.Second)
		if n := refused(); n != 3 {
			t.Errorf("%d three seconds later", n)
		}
	})
}

func isThrottled(err error) bool { return err != nil && mnq.KindOf(err) == mnq.Throttled }
