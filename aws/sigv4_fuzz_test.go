package aws

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	sdkaws "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// signedRequest is what a client signs with AWS's own signer.
type signedRequest struct {
	method, host, path, query, header, value, body string
	presigned                                      bool
}

// send signs the request and returns it as it arrives at the other end of a connection.
func (in *signedRequest) send(t *testing.T) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), in.method, "http://"+in.host, strings.NewReader(in.body))
	if err != nil {
		t.Skip(err)
	}
	r.URL.Path, r.URL.RawQuery = in.path, in.query
	r.Header.Add(in.header, in.value)
	r.Header.Add(in.header, "more")
	creds := sdkaws.Credentials{AccessKeyID: testKey, SecretAccessKey: "secret of " + testKey}
	sum := sha256.Sum256([]byte(in.body))
	if in.presigned {
		q := r.URL.Query()
		q.Set("X-Amz-Expires", "60")
		r.URL.RawQuery = q.Encode()
		to, signed, err := v4.NewSigner().PresignHTTP(context.Background(), creds, r, hex.EncodeToString(sum[:]), "sqs", "fr-par", testNow)
		if err != nil {
			t.Fatal(err)
		}
		if r.URL, err = url.Parse(to); err != nil {
			t.Fatal(err)
		}
		r.Header, r.Host = signed, strings.TrimSuffix(in.host, ":80") // clients leave the usual port out
	} else if err := v4.NewSigner().SignHTTP(context.Background(), creds, r, hex.EncodeToString(sum[:]), "sqs", "fr-par", testNow); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		t.Skip(err)
	}
	got, err := http.ReadRequest(bufio.NewReader(&b))
	if err != nil {
		t.Skip(err) // nothing that a server sees
	}
	return got
}

// plain reports whether the signer and the rules of AWS agree about the request. The
// signer leaves empty and dot segments in paths and tabs in headers; semicolons in a query
// and names that mean a signature are not for requests.
func (in *signedRequest) plain() bool {
	for s := range strings.SplitSeq(in.path[min(1, len(in.path)):], "/") {
		if s == "." || s == ".." || s == "" && in.path != "/" {
			return false
		}
	}
	query, err := url.QueryUnescape(in.query)
	odd := func(r rune) bool { return r < ' ' || r > '~' }
	name := func(r rune) bool { return r != '-' && (r < 'a' || r > 'z') && (r < '0' || r > '9') }
	return strings.HasPrefix(in.path, "/") && !strings.ContainsFunc(in.value, odd) && in.header != "x-" && strings.HasPrefix(in.header, "x-") &&
		!strings.ContainsFunc(in.header, name) && !strings.HasPrefix(in.header, "x-amz") &&
		err == nil && utf8.ValidString(query) && !strings.Contains(strings.ToLower(query), "x-amz-") && !strings.Contains(in.query, ";")
}

// FuzzSignatureOfTheSDK holds the verifier to aws-sdk-go-v2's signer: what that has
// signed is accepted, whatever is in it, and nothing else is.
func FuzzSignatureOfTheSDK(f *testing.F) {
	b := setup(f)
	hosts := []string{"mq.test", "mq.test:80", "mq.test:9324", "[::1]:9324", "127.0.0.1:443"}
	f.Add(false, false, uint8(0), "/", "", "x-a", "v", "body")
	f.Add(true, false, uint8(1), "/a b/c%2Fd/é+~", "a=+&a=%2B&a=&b&%C3%A9=1", "x-meta", "  a   b  ", "")
	f.Add(true, true, uint8(2), "/000000000000/q", "Action=ListQueues&Version=2012-11-05&c=%20*'()", "x-b", "", "")
	f.Add(false, true, uint8(3), "/=&?#:@!$,;", "%41=%7e&a.b=1&a-b=2", "x-amzn-other", `"a  b"`, "\x00\xff")
	f.Fuzz(func(t *testing.T, get, presigned bool, host uint8, path, query, header, value, body string) {
		in := &signedRequest{http.MethodPost, hosts[int(host)%len(hosts)], path, query, header, value, body, presigned}
		if get {
			in.method = http.MethodGet
		}
		if !in.plain() {
			t.Skip()
		}
		if _, err := b.verify(t, in.send(t)); err != nil {
			t.Fatalf("%+v: %v", in, err)
		}
		for what, change := range map[string]func(r *http.Request){
			"method": func(r *http.Request) { r.Method += "X" },
			"host":   func(r *http.Request) { r.Host += "x" },
			"path":   func(r *http.Request) { r.URL.Path, r.URL.RawPath = r.URL.Path+"x", "" },
			"query":  func(r *http.Request) { r.URL.RawQuery += "&more=" },
			"body":   func(r *http.Request) { r.Body = http.NoBody },
			"header": func(r *http.Request) {
				if name := http.CanonicalHeaderKey(in.header); slices.Contains(r.Header[name], "more") {
					r.Header[name] = []string{in.value, "more", "x"}
				}
			},
			"date": func(r *http.Request) { r.Header.Set("X-Amz-Date", testNow.Add(1e9).Format(sigTimeFormat)) },
		} {
			r := in.send(t)
			change(r)
			if what == "body" && body == "" || what == "header" && !signs(r, in.header) {
				continue // nothing was changed that is signed
			}
			if _, err := b.verify(t, r); err == nil {
				t.Errorf("%+v: accepted with another %s", in, what)
			}
		}
	})
}

// signs reports whether the request's signature is over a header.
func signs(r *http.Request, header string) bool {
	sig, err := parseSignature(r)
	return err == nil && slices.Contains(sig.headers, header)
}
