package aws

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	sdkaws "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/openmnq/mnq"
)

// verify runs only the signature check.
func (b *bundle) verify(t testing.TB, r *http.Request) (mnq.Principal, error) {
	t.Helper()
	sig, err := parseSignature(r)
	if err != nil {
		return mnq.Principal{}, err
	}
	req := &request{http: r}
	if err := (&Handler{}).readBody(req); err != nil {
		return mnq.Principal{}, err
	}
	return b.h.verifier.verify(r, sig, req.body, mnq.ServiceSQS)
}

func TestSignatureOfTheSDKIsAccepted(t *testing.T) {
	t.Parallel()
	requests := map[string]func() *http.Request{
		"JSON":  func() *http.Request { return jsonRequest(t, "SendMessage", &sendMessageInput{MessageBody: "é"}) },
		"Query": func() *http.Request { return queryRequest(t, "ListQueues", nil) },
		"PathAndSpaces": func() *http.Request {
			return httptest.NewRequest(http.MethodPost, "http://h/a/b%20c%2Fd?x=%20&a=1&a=%2B", nil)
		},
		"FoldedHeaders": func() *http.Request {
			r := httptest.NewRequest(http.MethodGet, "http://h:9324/?Action=ListQueues&empty=", nil)
			r.Header.Set("X-Amz-Meta", "  a   b  ")
			r.Header.Add("X-Multi", "1")
			r.Header.Add("X-Multi", "2")
			return r
		},
	}
	for name, request := range requests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			for range 2 { // the second time from the cache
				p, err := b.verify(t, sign(t, request(), testKey, testNow))
				if err != nil {
					t.Fatal(err)
				}
				if p.Namespace.ID != b.ns.ID {
					t.Errorf("namespace %s, want %s", p.Namespace.ID, b.ns.ID)
				}
			}
		})
	}
}

func presign(t testing.TB, rawURL string, expires time.Duration, at time.Time) *http.Request {
	t.Helper()
	creds := sdkaws.Credentials{AccessKeyID: testKey, SecretAccessKey: "secret of " + testKey}
	return httptest.NewRequest(http.MethodGet, presignAs(t, rawURL, creds, expires, at), nil)
}

func presignAs(t testing.TB, rawURL string, creds sdkaws.Credentials, expires time.Duration, at time.Time) string {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, rawURL, nil)
	q := r.URL.Query()
	q.Set("X-Amz-Expires", strconv.Itoa(int(expires.Seconds())))
	r.URL.RawQuery = q.Encode()
	signed, _, err := v4.NewSigner().PresignHTTP(context.Background(), creds,
		r, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "sqs", "fr-par", at)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func TestPresignedURL(t *testing.T) {
	t.Parallel()
	const target = "http://mq.test/?Action=ListQueues&Version=2012-11-05&Body=a+b%2Bc~"
	t.Run("IsAcceptedForItsWholeLife", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		for _, age := range []time.Duration{0, 5 * time.Minute, time.Hour} {
			if _, err := b.verify(t, presign(t, target, time.Hour, testNow.Add(-age))); err != nil {
				t.Errorf("age %v: %v", age, err)
			}
		}
	})
	t.Run("ExpiresAfterIt", func(t *testing.T) {
		t.Parallel()
		_, err := setup(t).verify(t, presign(t, target, time.Hour, testNow.Add(-time.Hour-time.Second)))
		wantCode(t, err, "SignatureDoesNotMatch", "Signature expired: ")
	})
	t.Run("MustNotLiveLongerThanAWeek", func(t *testing.T) {
		t.Parallel()
		_, err := setup(t).verify(t, presign(t, target, 8*24*time.Hour, testNow))
		wantCode(t, err, "IncompleteSignature", "X-Amz-Expires")
	})
	t.Run("MustNotBeChanged", func(t *testing.T) {
		t.Parallel()
		r := presign(t, target, time.Hour, testNow)
		r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "Action=ListQueues", "Action=PurgeQueue", 1)
		_, err := setup(t).verify(t, r)
		wantCode(t, err, "SignatureDoesNotMatch", "The request signature we calculated")
	})
	t.Run("MustNameEveryParameterOnce", func(t *testing.T) {
		t.Parallel()
		r := presign(t, target, time.Hour, testNow)
		r.URL.RawQuery += "&X-Amz-Expires=604800"
		_, err := setup(t).verify(t, r)
		wantCode(t, err, "IncompleteSignature", "given twice")
	})
	t.Run("MayCarryABlankAsPlus", func(t *testing.T) {
		t.Parallel()
		r := presign(t, target, time.Hour, testNow)
		r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "Body=a%20b", "Body=a+b", 1)
		if _, err := setup(t).verify(t, r); err != nil {
			t.Error(err)
		}
	})
}

func wantCode(t testing.TB, err error, code, text string) {
	t.Helper()
	if err == nil {
		t.Fatalf("accepted, want %s", code)
	}
	if f := failureOf(mnq.ServiceSQS, err); f.name != code || !strings.Contains(f.msg, text) {
		t.Errorf("got %s %q, want %s with %q", f.name, f.msg, code, text)
	}
}

// TestRefusedSignature holds every failure to its own code in both protocols.
func TestRefusedSignature(t *testing.T) {
	t.Parallel()
	replace := func(old, with string) func(*http.Request) {
		return func(r *http.Request) {
			a := r.Header.Get("Authorization")
			if !strings.Contains(a, old) {
				t.Errorf("%q is not in %q", old, a)
			}
			r.Header.Set("Authorization", strings.Replace(a, old, with, 1))
		}
	}
	type want struct{ code, shape string }
	missingToken := want{"MissingAuthenticationToken", "AccessDeniedException"}
	incomplete := want{"IncompleteSignature", "IncompleteSignatureException"}
	mismatch := want{"SignatureDoesNotMatch", "InvalidSignatureException"}
	unknown := want{"InvalidClientTokenId", "UnrecognizedClientException"}

	cases := []struct {
		name   string
		at     time.Duration // of the signature, from now
		before func(*http.Request)
		after  func(*http.Request)
		want   want
		text   string
	}{
		{name: "NoAuthorization", after: func(r *http.Request) { r.Header.Del("Authorization") }, want: missingToken, text: "Request is missing Authentication Token"},
		{name: "UnknownKey", after: replace(testKey, "NOBODY"), want: unknown, text: "The security token included in the request is invalid."},
		{name: "UnknownKeyWithWrongScope", after: func(r *http.Request) { replace(testKey, "NOBODY")(r); replace("/sqs/", "/s3/")(r) }, want: unknown},
		{name: "SessionToken", before: func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "x") }, want: unknown},
		{name: "WrongSignature", after: replace("Signature=", "Signature=0"), want: mismatch, text: "The request signature we calculated does not match"},
		{name: "ChangedBody", after: func(r *http.Request) { r.Body = http.NoBody }, want: mismatch, text: "The request signature we calculated"},
		{name: "ChangedPath", after: func(r *http.Request) { r.URL.Path = "/x" }, want: mismatch, text: "The request signature we calculated"},
		{name: "ChangedHost", after: func(r *http.Request) { r.Host = "other" }, want: mismatch, text: "The request signature we calculated"},
		{name: "TooOld", at: -15*time.Minute - time.Second, want: mismatch, text: "Signature expired: 20260504T024700Z is now earlier than 20260504T024701Z (20260504T030201Z - 15 min.)"},
		{name: "TooYoung", at: 15*time.Minute + time.Second, want: mismatch, text: "Signature not yet current: 20260504T031702Z is still later than 20260504T031701Z (20260504T030201Z + 15 min.)"},
		{name: "WrongService", after: replace("/sqs/", "/sns/"), want: mismatch, text: "Credential should be scoped to correct service: 'sqs'. "},
		{name: "BadRegion", after: replace("/fr-par/", "/FR_PAR/"), want: mismatch, text: "Credential should be scoped to a valid region, not 'FR_PAR'. "},
		{name: "WrongTerminator", after: replace("/aws4_request", "/aws5_request"), want: mismatch, text: "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'. "},
		{name: "WrongScopeDate", after: replace("/20260504/", "/20260503/"), want: mismatch, text: "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20260503' != '20260504', from '20260504T030201Z'."},
		{name: "HostNotSigned", after: replace("host;", ""), want: mismatch, text: "'Host' or ':authority' must be a 'SignedHeader'"},
		{name: "HeaderNotSigned", after: func(r *http.Request) { r.Header.Set("X-Amz-Extra", "x") }, want: mismatch, text: "x-amz-extra"},
		{name: "UnsortedHeaders", after: replace("SignedHeaders=", "SignedHeaders=zz;"), want: mismatch, text: "ascending"},
		{name: "UnsignedPayload", before: func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD") }, want: mismatch, text: "x-amz-content-sha256"},
		{name: "StreamedPayload", before: func(r *http.Request) { r.Header.Set("X-Amz-Content-Sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD") }, want: mismatch, text: "x-amz-content-sha256"},
		{name: "OtherAlgorithm", after: replace("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"), want: incomplete, text: "Unsupported AWS 'algorithm': 'AWS4-ECDSA-P256-SHA256'."},
		{name: "NoAlgorithm", after: func(r *http.Request) { r.Header.Set("Authorization", "") }, want: incomplete, text: "Unsupported AWS 'algorithm'"},
		{name: "NothingButTheAlgorithm", after: func(r *http.Request) { r.Header.Set("Authorization", "AWS4-HMAC-SHA256"); r.Header.Del("X-Amz-Date") }, want: incomplete, text: "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' parameter. " +
			"Authorization header requires 'SignedHeaders' parameter. Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."},
		{name: "NoSignature", after: replace("Signature=", "Nothing="), want: incomplete, text: "Authorization header requires 'Signature' parameter."},
		{name: "ShortCredential", after: replace("/aws4_request", ""), want: incomplete, text: "Credential must have exactly 5 slash-delimited elements"},
		{name: "LongCredential", after: replace("/aws4_request", "/aws4_request/x"), want: incomplete, text: "Credential must have exactly 5 slash-delimited elements"},
		{name: "NamedTwice", after: replace("Signature=", "Credential=x, Signature="), want: incomplete, text: "twice"},
		{name: "BadDate", after: func(r *http.Request) { r.Header.Set("X-Amz-Date", "2013") }, want: incomplete, text: "Date must be in ISO-8601 'basic format'. Got '2013'."},
		{name: "TooLong", after: func(r *http.Request) { r.Header.Set("Authorization", strings.Repeat("x", 5000)) }, want: incomplete, text: "too long"},
		{name: "BothForms", after: func(r *http.Request) { r.URL.RawQuery = "X-Amz-Signature=0" }, want: incomplete, text: "Only one form"},
		{name: "TwoHeaders", after: func(r *http.Request) { r.Header.Add("Authorization", "x") }, want: incomplete, text: "Only one form"},
		{name: "CompressedBody", before: func(r *http.Request) { r.Header.Set("Content-Encoding", "gzip") }, want: want{"UnsupportedMediaType", "UnsupportedMediaTypeException"}},
		{name: "LengthAndChunks", after: func(r *http.Request) {
			r.TransferEncoding = []string{"chunked"}
			r.Header.Set("Content-Length", "1")
		}, want: want{"MalformedInput", "SerializationException"}},
		{name: "TooLongBody", after: func(r *http.Request) { r.ContentLength = maxBody + 1 }, want: want{"RequestEntityTooLarge", "RequestEntityTooLargeException"}},
		{name: "OtherMethod", before: func(r *http.Request) { r.Method = http.MethodPut }, want: want{"MethodNotAllowed", "UnknownOperationException"}},
	}
	for _, w := range wires {
		for _, tc := range cases {
			t.Run(w.name+"/"+tc.name, func(t *testing.T) {
				t.Parallel()
				r := w.request(t, "ListQueues", &listQueuesInput{QueueNamePrefix: "x"})
				if tc.before != nil {
					tc.before(r)
				}
				sign(t, r, testKey, testNow.Add(tc.at))
				if tc.after != nil {
					tc.after(r)
				}
				a := setup(t).serve(r)
				code := tc.want.code
				if w.name == "JSON" && code == "MissingAuthenticationToken" {
					code = "AccessDenied"
				}
				if a.code != code || !strings.Contains(a.msg, tc.text) {
					t.Errorf("got %d %s %q, want %s with %q", a.status, a.code, a.msg, code, tc.text)
				}
				if a.status != vocabularies[mnq.ServiceSQS].faults[failureName(tc.want.code)].status {
					t.Errorf("status %d", a.status)
				}
				if want := coralShape + tc.want.shape; w.name == "JSON" && a.shape != want {
					t.Errorf("shape %s, want %s", a.shape, want)
				}
			})
		}
	}
}

func failureName(code string) string {
	if code == "MalformedInput" {
		return "SerializationException"
	}
	return code
}

func TestStrictRegionRefusesOthers(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.h.verifier.region = "nl-ams"
	_, err := b.verify(t, sign(t, queryRequest(t, "ListQueues", nil), testKey, testNow))
	wantCode(t, err, "SignatureDoesNotMatch", "Credential should be scoped to a valid region, not 'fr-par'. ")
}

func TestChangedSecretIsNotServedFromTheCache(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if _, err := b.verify(t, sign(t, queryRequest(t, "ListQueues", nil), testKey, testNow)); err != nil {
		t.Fatal(err)
	}
	p := b.keys[testKey]
	p.Secret = "another"
	b.keys[testKey] = p
	_, err := b.verify(t, sign(t, queryRequest(t, "ListQueues", nil), testKey, testNow))
	wantCode(t, err, "SignatureDoesNotMatch", "")
	delete(b.keys, testKey)
	_, err = b.verify(t, sign(t, queryRequest(t, "ListQueues", nil), testKey, testNow))
	wantCode(t, err, "InvalidClientTokenId", "")
}

func TestSigningKeysAreBounded(t *testing.T) {
	t.Parallel()
	var c signingKeys
	for i := range maxSigningKeys + 10 {
		c.put(scope{accessKey: strconv.Itoa(i)}, "s", [32]byte{})
	}
	if len(c.keys) != maxSigningKeys {
		t.Errorf("%d keys", len(c.keys))
	}
}

func TestDirectoryOutOfOrderIsNotARefusal(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.h.verifier.lookup = func(context.Context, string, string) (mnq.Principal, error) {
		return mnq.Principal{}, &mnq.Error{Kind: mnq.Unavailable}
	}
	_, err := b.verify(t, sign(t, queryRequest(t, "ListQueues", nil), testKey, testNow))
	wantCode(t, err, "ServiceUnavailable", "")
}

// TestCanonicalForms has vectors in the manner of the signature test suites:
// what a request says, and what is signed.
func TestCanonicalForms(t *testing.T) {
	t.Parallel()
	paths := map[string]string{
		"": "/", "/": "/", "//": "/", "/./": "/", "/a//b": "/a/b", "/a/./b/": "/a/b/", "/a/../b": "/b", "/../../a": "/a",
		"/a%20b": "/a%2520b", "/~-_.": "/~-_.", "/q:1": "/q%3A1",
	}
	for in, want := range paths {
		if got := string(appendCanonicalPath(nil, in)); got != want {
			t.Errorf("path %q: %q, want %q", in, got, want)
		}
	}
	queries := map[string]string{
		"": "", "b=2&a=1": "a=1&b=2", "a=2&a=1": "a=1&a=2", "a": "a=", "a=+": "a=%20", "a=%2b": "a=%2B",
		"a=%C3%A9&X-Amz-Signature=z": "a=%C3%A9", "a=b=c": "a=b%3Dc", "a-b=1&a=2": "a=2&a-b=1",
	}
	for in, want := range queries {
		pairs, err := parsePairs(nil, in)
		if err != nil {
			t.Errorf("query %q: %v", in, err)
		}
		if got := string(appendCanonicalQuery(nil, pairs)); got != want {
			t.Errorf("query %q: %q, want %q", in, got, want)
		}
	}
	headers := map[string]string{"": "", "  a ": "a", "a  \t b": "a b", "\t": "", "a b": "a b"}
	for in, want := range headers {
		if got := string(appendFolded(nil, in)); got != want {
			t.Errorf("header %q: %q, want %q", in, got, want)
		}
	}
}

func FuzzSigV4Header(f *testing.F) {
	b := setup(f)
	good := sign(f, queryRequest(f, "TagQueue", nil), testKey, testNow)
	f.Add(good.Header.Get("Authorization"), "20260504T030201Z", "")
	f.Add("AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=host;;, Signature=00", "20260504T030201Z", "a=%zz")
	f.Add("AWS4-HMAC-SHA256 ,,,=", "", "X-Amz-Signature=&X-Amz-Credential=////")
	f.Fuzz(func(t *testing.T, authorization, date, query string) {
		r := queryRequest(t, "TagQueue", nil)
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		r.Header.Set("X-Amz-Date", date)
		r.URL.RawQuery = query
		a := b.serve(r)
		if a.status == http.StatusOK || a.status >= 500 || a.code == "" {
			t.Errorf("status %d code %q", a.status, a.code)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	bundle := setup(b)
	body := strings.Repeat("x", 1024)
	r := sign(b, jsonRequest(b, "SendMessage", &sendMessageInput{QueueUrl: "http://mq.test/a/q", MessageBody: body}), testKey, testNow)
	req := &request{http: r}
	if err := (&Handler{}).readBody(req); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		sig, err := parseSignature(r)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := bundle.h.verifier.verify(r, sig, req.body, mnq.ServiceSQS); err != nil {
			b.Fatal(err)
		}
	}
}
