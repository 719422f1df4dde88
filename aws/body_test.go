package aws

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// countedBody is an endless body that counts what is taken from it.
type countedBody struct{ read int }

func (b *countedBody) Read(p []byte) (int, error) {
	b.read += len(p)
	return len(p), nil
}

func TestStrangersCannotMakeTheServerReadALargeBody(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, key, code string }{
		{"without a signature", "", "MissingAuthenticationToken"},
		{"with an unknown access key", "nobody", "InvalidClientTokenId"},
	} {
		for length, form := range map[int64]string{-1: "in chunks", maxBody: "with a length"} {
			t.Run(tc.name+", "+form, func(t *testing.T) {
				t.Parallel()
				b := setup(t)
				r := httptest.NewRequest(http.MethodPost, "http://mq.test/", strings.NewReader("Action=ListQueues&Version=2012-11-05"))
				if tc.key != "" {
					sign(t, r, tc.key, testNow)
				}
				body := &countedBody{}
				r.Body, r.ContentLength = io.NopCloser(body), length
				if a := b.serve(r); a.code != tc.code {
					t.Errorf("got %d %s, want %s", a.status, a.code, tc.code)
				}
				if body.read > 2*smallBody {
					t.Errorf("%d bytes were read", body.read)
				}
			})
		}
	}
}

func TestLargeBodiesAreReadAFewAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t)
		send := func() answer {
			form := "Action=TagQueue&Version=2012-11-05&Long=" + strings.Repeat("x", smallBody)
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://mq.test/", strings.NewReader(form))
			return b.serve(sign(t, r, testKey, testNow))
		}
		for range largeBodies {
			b.h.large <- struct{}{}
		}
		begin := time.Now()
		if a := send(); a.code != "RequestThrottled" || time.Since(begin) != bodyWait {
			t.Errorf("got %d %s after %s, want RequestThrottled after %s", a.status, a.code, time.Since(begin), bodyWait)
		}
		<-b.h.large
		for range 2 { // the place is given back
			if a := send(); a.code != "MissingParameter" {
				t.Errorf("got %d %s", a.status, a.code)
			}
		}
		if n := len(b.h.large); n != largeBodies-1 {
			t.Errorf("%d places are taken", n)
		}
	})
}
