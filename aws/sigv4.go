package aws

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/openmnq/mnq"
)

const (
	sigAlgorithm  = "AWS4-HMAC-SHA256"
	sigTerminator = "aws4_request"
	sigTimeFormat = "20060102T150405Z"
	sigWindow     = 15 * time.Minute
	sigMaxExpires = 7 * 24 * time.Hour

	maxAuthorization = 4 << 10 // bytes of an Authorization header
	maxSignedHeaders = 64
	maxAccessKey     = 128
)

// scope is what a request says it was signed for. Nothing in it is trusted until
// the signature has been verified.
type scope struct {
	accessKey, date, region, service, terminator string
}

// signature is a parsed Signature Version 4, from either form.
type signature struct {
	scope    scope
	signed   string        // SignedHeaders as sent
	headers  []string      // the same, split: lower-case, ascending, distinct
	value    string        // hex, as sent
	time     string        // X-Amz-Date, or Date in its form
	at       time.Time     // the same
	expires  time.Duration // query form only
	inQuery  bool
	hasToken bool
	query    []pair // the whole query string, decoded
}

// parseSignature reads the signature of r without believing it. Every refusal is
// one a client can be told before its key is known.
func parseSignature(r *http.Request) (*signature, error) {
	query, err := parsePairs(nil, r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	sig := &signature{query: query}
	sig.inQuery = slices.ContainsFunc(query, func(p pair) bool {
		return p.name == "X-Amz-Signature" || p.name == "X-Amz-Algorithm" || p.name == "X-Amz-Credential"
	})
	authorization := r.Header.Values("Authorization")
	switch {
	case len(authorization) > 1, len(authorization) == 1 && sig.inQuery:
		return nil, incomplete("Only one form of authentication is allowed: either one Authorization header or the X-Amz- query parameters.")
	case len(authorization) == 1:
		err = sig.fromHeader(authorization[0], r.Header)
	case sig.inQuery:
		err = sig.fromQuery(r.Header)
	default:
		return nil, &mnq.Error{
			Kind: mnq.Unauthenticated, Code: codeMissingAuthentication, Op: "aws.verify",
			Msg: "Request is missing Authentication Token",
		}
	}
	if err != nil {
		return nil, err
	}
	return sig, nil
}

// fromHeader reads `AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…`.
func (s *signature) fromHeader(authorization string, h http.Header) error {
	if len(authorization) > maxAuthorization {
		return incomplete("The Authorization header is too long.")
	}
	algorithm, rest, _ := strings.Cut(strings.TrimSpace(authorization), " ")
	if algorithm != sigAlgorithm {
		return incomplete("Unsupported AWS 'algorithm': '" + algorithm + "'.")
	}
	var credential, signed string
	for part := range strings.SplitSeq(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		var into *string
		switch name {
		case "Credential":
			into = &credential
		case "SignedHeaders":
			into = &signed
		case "Signature":
			into = &s.value
		default:
			continue
		}
		if *into != "" {
			return incomplete("The Authorization header names '" + name + "' twice.")
		}
		*into = value
	}
	date := h.Get("X-Amz-Date")
	if date == "" {
		if t, err := http.ParseTime(h.Get("Date")); err == nil {
			date = t.UTC().Format(sigTimeFormat)
		} else {
			date = h.Get("Date")
		}
	}
	var missing strings.Builder
	for _, part := range [...]struct{ name, value string }{{"Credential", credential}, {"Signature", s.value}, {"SignedHeaders", signed}} {
		if part.value == "" {
			missing.WriteString("Authorization header requires '" + part.name + "' parameter. ")
		}
	}
	if date == "" {
		missing.WriteString("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ")
	}
	if missing.Len() > 0 {
		return incomplete(strings.TrimSuffix(missing.String(), " "))
	}
	s.hasToken = len(h.Values("X-Amz-Security-Token")) > 0
	return s.set(credential, signed, date)
}

// fromQuery reads the X-Amz- parameters of a presigned URL.
func (s *signature) fromQuery(h http.Header) error {
	values := map[string]string{}
	for _, p := range s.query {
		if !strings.HasPrefix(p.name, "X-Amz-") {
			continue
		}
		if _, twice := values[p.name]; twice {
			return incomplete("The query parameter '" + p.name + "' is given twice.")
		}
		values[p.name] = p.value
	}
	if a := values["X-Amz-Algorithm"]; a != "" && a != sigAlgorithm {
		return incomplete("Unsupported AWS 'algorithm': '" + a + "'.")
	}
	var missing strings.Builder
	for _, name := range []string{
		"X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-SignedHeaders", "X-Amz-Date", "X-Amz-Expires",
	} {
		if values[name] == "" {
			missing.WriteString("AWS query-string parameters must include '" + name + "'. ")
		}
	}
	if missing.Len() > 0 {
		return incomplete(strings.TrimSuffix(missing.String(), " "))
	}
	seconds, err := strconv.Atoi(values["X-Amz-Expires"])
	if err != nil || seconds < 1 || seconds > int(sigMaxExpires/time.Second) {
		return incomplete("X-Amz-Expires must be a number of seconds between 1 and 604800.")
	}
	s.expires = time.Duration(seconds) * time.Second
	s.value = values["X-Amz-Signature"]
	_, s.hasToken = values["X-Amz-Security-Token"]
	s.hasToken = s.hasToken || len(h.Values("X-Amz-Security-Token")) > 0
	return s.set(values["X-Amz-Credential"], values["X-Amz-SignedHeaders"], values["X-Amz-Date"])
}

func (s *signature) set(credential, signed, date string) error {
	parts := strings.SplitN(credential, "/", 6)
	if len(parts) != 5 || parts[0] == "" || len(parts[0]) > maxAccessKey {
		return incomplete("Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '" + credential + "'")
	}
	s.scope = scope{parts[0], parts[1], parts[2], parts[3], parts[4]}
	at, err := time.Parse(sigTimeFormat, date)
	if err != nil {
		return incomplete("Date must be in ISO-8601 'basic format'. Got '" + date + "'. See http://en.wikipedia.org/wiki/ISO_8601")
	}
	s.time, s.at = date, at
	s.signed = signed
	if strings.Count(signed, ";") >= maxSignedHeaders {
		return incomplete("SignedHeaders names too many headers.")
	}
	s.headers = strings.Split(signed, ";")
	return nil
}

// verifier checks signatures. It is safe for concurrent use.
type verifier struct {
	lookup func(ctx context.Context, accessKey, region string) (mnq.Principal, error)
	now    func() time.Time
	region string // the only region a scope may name; empty: any well-formed one
	keys   signingKeys
}

// verify returns the holder of the key that signed r, whose body is body and
// which is meant for service. Refusals are found in the order key, scope, date,
// signature, but every refusal costs what a wrong signature costs, so that the
// time of an answer does not tell which keys exist.
func (v *verifier) verify(r *http.Request, sig *signature, body []byte, service mnq.Service) (mnq.Principal, error) {
	principal, unknown := v.lookup(r.Context(), sig.scope.accessKey, sig.scope.region)
	if refusal := unknownKey(unknown); refusal != nil && mnq.KindOf(refusal) != mnq.Unauthenticated {
		return mnq.Principal{}, refusal
	}
	secret := principal.Secret.Reveal()
	if unknown != nil {
		secret = "an unknown key is checked against this"
	}
	bodyHash := sha256.Sum256(body)
	buffer, _ := signingBuffers.Get().(*[]byte)
	if buffer == nil {
		buffer = new(make([]byte, 0, 1024))
	}
	defer signingBuffers.Put(buffer)
	toSign := appendStringToSign((*buffer)[:0], r, sig, bodyHash)
	*buffer = toSign
	var got [sha256.Size]byte
	n, err := hex.Decode(got[:], []byte(sig.value[:min(len(sig.value), 2*sha256.Size)]))
	wellFormed := err == nil && n == sha256.Size && len(sig.value) == 2*sha256.Size

	key, cached := v.keys.get(sig.scope, secret)
	if !cached {
		key = deriveKey(secret, sig.scope)
	}
	matches := hmac.Equal(hmacSHA256(key[:], toSign), got[:]) && wellFormed
	if cached && !matches {
		deriveKey(secret, sig.scope) // what an unknown key costs
	}

	if unknown != nil || sig.hasToken { // no session tokens are given out
		return mnq.Principal{}, invalidToken(unknown)
	}
	if err := cmp.Or(v.checkScope(sig, service), v.checkDate(sig), checkHeaders(r, sig, bodyHash)); err != nil {
		return mnq.Principal{}, err
	}
	if !matches {
		return mnq.Principal{}, mismatch("The request signature we calculated does not match the signature you provided. " +
			"Check your AWS Secret Access Key and signing method. Consult the service documentation for details.")
	}
	if !cached {
		v.keys.put(sig.scope, secret, key)
	}
	return principal, nil
}

func (v *verifier) checkScope(sig *signature, service mnq.Service) error {
	var wrong strings.Builder
	if !wellFormedRegion(sig.scope.region) || v.region != "" && sig.scope.region != v.region {
		fmt.Fprintf(&wrong, "Credential should be scoped to a valid region, not '%s'. ", sig.scope.region)
	}
	if sig.scope.service != string(service) {
		fmt.Fprintf(&wrong, "Credential should be scoped to correct service: '%s'. ", service)
	}
	if sig.scope.terminator != sigTerminator {
		fmt.Fprintf(&wrong, "Credential should be scoped with a valid terminator: '%s', not '%s'. ", sigTerminator, sig.scope.terminator)
	}
	if date := sig.time[:8]; sig.scope.date != date {
		fmt.Fprintf(&wrong, "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '%s' != '%s', from '%s'.",
			sig.scope.date, date, sig.time)
	}
	if wrong.Len() > 0 {
		return mismatch(wrong.String())
	}
	return nil
}

// checkDate holds a request to 15 minutes around now, a presigned one to its own
// lifetime. SDKs read the bracketed times to correct their clocks.
func (v *verifier) checkDate(sig *signature) error {
	now := v.now().UTC()
	late, early := now.Add(-sigWindow), now.Add(sigWindow)
	f := func(t time.Time) string { return t.Format(sigTimeFormat) }
	switch {
	case sig.at.After(early):
		return mismatch(fmt.Sprintf("Signature not yet current: %s is still later than %s (%s + 15 min.)", sig.time, f(early), f(now)))
	case sig.inQuery && now.After(sig.at.Add(sig.expires)):
		return mismatch(fmt.Sprintf("Signature expired: %s is now earlier than %s (%s - %d min.)",
			sig.time, f(now.Add(-sig.expires)), f(now), int(sig.expires.Minutes())))
	case !sig.inQuery && sig.at.Before(late):
		return mismatch(fmt.Sprintf("Signature expired: %s is now earlier than %s (%s - 15 min.)", sig.time, f(late), f(now)))
	}
	return nil
}

// checkHeaders sees to it that the signature covers what the server acts on: the
// host, every x-amz- header, and the body.
func checkHeaders(r *http.Request, sig *signature, bodyHash [sha256.Size]byte) error {
	for i, name := range sig.headers {
		if name == "" || name != strings.ToLower(name) || i > 0 && name <= sig.headers[i-1] {
			return mismatch("SignedHeaders must be lower-case names in ascending order, each once.")
		}
	}
	if _, ok := slices.BinarySearch(sig.headers, "host"); !ok {
		return mismatch("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.")
	}
	for name := range r.Header {
		if !strings.HasPrefix(name, "X-Amz-") {
			continue
		}
		if _, ok := slices.BinarySearch(sig.headers, strings.ToLower(name)); !ok {
			return mismatch("There were headers present in the request which were not signed: " + strings.ToLower(name))
		}
	}
	if sum := r.Header.Get("X-Amz-Content-Sha256"); sum != "" && sum != hex.EncodeToString(bodyHash[:]) {
		return mismatch("The provided 'x-amz-content-sha256' header does not match what was computed. " +
			"Unsigned and streamed payloads are not accepted.")
	}
	return nil
}

// signingBuffers hold what signatures are made over; the headers bound their size.
var signingBuffers sync.Pool

// appendStringToSign builds the canonical request of r as it arrived and returns what
// its signature is made over, in the memory of b, which is empty.
func appendStringToSign(b []byte, r *http.Request, sig *signature, bodyHash [sha256.Size]byte) []byte {
	b = append(b, r.Method...)
	b = append(b, '\n')
	b = appendCanonicalPath(b, r.URL.EscapedPath())
	b = append(b, '\n')
	b = appendCanonicalQuery(b, sig.query)
	b = append(b, '\n')
	for _, name := range sig.headers {
		b = append(append(b, name...), ':')
		b = appendHeader(b, r, name)
		b = append(b, '\n')
	}
	b = append(append(append(b, '\n'), sig.signed...), '\n')
	b = hex.AppendEncode(b, bodyHash[:])
	canonical := sha256.Sum256(b)

	b = append(append(b[:0], sigAlgorithm+"\n"...), sig.time...)
	b = append(append(b, '\n'), sig.scope.date...)
	b = append(append(b, '/'), sig.scope.region...)
	b = append(append(b, '/'), sig.scope.service...)
	b = append(append(b, '/'), sig.scope.terminator...)
	b = append(b, '\n')
	return hex.AppendEncode(b, canonical[:])
}

func appendHeader(b []byte, r *http.Request, name string) []byte {
	switch name {
	case "host": // net/http moves it out of the map
		return append(b, r.Host...)
	case "content-length":
		if r.Header.Get("Content-Length") == "" && r.ContentLength >= 0 {
			return strconv.AppendInt(b, r.ContentLength, 10)
		}
	}
	for i, value := range r.Header.Values(name) {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendFolded(b, value)
	}
	return b
}

// appendFolded trims value and makes every run of blanks one.
func appendFolded(b []byte, value string) []byte {
	value = strings.Trim(value, " \t")
	for i := range len(value) {
		c := value[i]
		if c == '\t' {
			c = ' '
		}
		if c == ' ' && (value[i-1] == ' ' || value[i-1] == '\t') {
			continue
		}
		b = append(b, c)
	}
	return b
}

// appendCanonicalPath removes empty, "." and ".." segments from the path as sent
// and encodes it once more.
func appendCanonicalPath(b []byte, escaped string) []byte {
	if escaped == "" || escaped == "/" {
		return append(b, '/')
	}
	segments := make([]string, 0, 4)
	for s := range strings.SplitSeq(escaped, "/") {
		switch s {
		case "", ".":
		case "..":
			segments = segments[:max(len(segments)-1, 0)]
		default:
			segments = append(segments, s)
		}
	}
	for _, s := range segments {
		b = appendEscaped(append(b, '/'), s)
	}
	if len(segments) == 0 || strings.HasSuffix(escaped, "/") {
		b = append(b, '/')
	}
	return b
}

// appendCanonicalQuery encodes the parameters anew, sorted, without the signature.
func appendCanonicalQuery(b []byte, query []pair) []byte {
	if len(query) == 0 {
		return b
	}
	encoded := make([]pair, 0, len(query))
	for _, p := range query {
		if p.name != "X-Amz-Signature" {
			encoded = append(encoded, pair{string(appendEscaped(nil, p.name)), string(appendEscaped(nil, p.value))})
		}
	}
	slices.SortFunc(encoded, func(x, y pair) int {
		if c := strings.Compare(x.name, y.name); c != 0 {
			return c
		}
		return strings.Compare(x.value, y.value)
	})
	for i, p := range encoded {
		if i > 0 {
			b = append(b, '&')
		}
		b = append(append(append(b, p.name...), '='), p.value...)
	}
	return b
}

// appendEscaped percent-encodes everything but RFC 3986's unreserved characters.
func appendEscaped(b []byte, s string) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.', c == '~':
			b = append(b, c)
		default:
			b = append(b, '%', digits[c>>4], digits[c&15])
		}
	}
	return b
}

func wellFormedRegion(s string) bool {
	if s == "" || len(s) > 32 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// unknownKey is what a client is told when its access key was not found because
// of err. A failure of the directory stays what it is.
func unknownKey(err error) error {
	if kind := mnq.KindOf(err); kind == mnq.Unauthenticated || kind == mnq.NotFound {
		return invalidToken(err)
	}
	return err
}

func invalidToken(cause error) error {
	return &mnq.Error{
		Kind: mnq.Unauthenticated, Code: "InvalidClientTokenId", Op: "aws.verify",
		Msg: "The security token included in the request is invalid.", Err: cause,
	}
}

func incomplete(msg string) error {
	return &mnq.Error{Kind: mnq.Unauthenticated, Code: "IncompleteSignature", Op: "aws.verify", Msg: msg}
}

func mismatch(msg string) error {
	return &mnq.Error{Kind: mnq.Unauthenticated, Code: "SignatureDoesNotMatch", Op: "aws.verify", Msg: msg}
}
