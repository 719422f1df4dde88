package aws

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	jsonContentType = "application/x-amz-json-1.0"
	targetHeader    = "X-Amz-Target"
	targetSQS       = "AmazonSQS."
)

// jsonProtocol is AWS JSON 1.0 as SQS speaks it, with the header that tells
// clients of the older Query protocol the codes they knew.
type jsonProtocol struct{}

func (jsonProtocol) action(r *request) (string, error) {
	target := r.http.Header.Get(targetHeader)
	if name, ok := strings.CutPrefix(target, targetSQS); ok && r.http.Method == http.MethodPost {
		return name, nil
	}
	return "", unknownAction(target)
}

func (jsonProtocol) decode(r *request, in any) error {
	if len(bytes.TrimSpace(r.body)) == 0 {
		return nil
	}
	if hot, ok := in.(scannable); ok {
		s := scanner{text: string(r.body)}
		if hot.scan(&s) && s.end() {
			return nil
		}
		reflect.ValueOf(in).Elem().SetZero()
	}
	if !utf8.Valid(r.body) {
		return malformed("The request body is not UTF-8.", nil)
	}
	if !pairedSurrogates(r.body) {
		return malformed("The request body has half of a UTF-16 surrogate pair.", nil)
	}
	err := json.Unmarshal(r.body, in)
	if t, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		what := "The request body"
		if t.Field != "" {
			what = "The member " + t.Field
		}
		return malformed(what+" has the wrong type.", err)
	}
	if err != nil {
		return malformed("The request body is not the JSON that was expected.", err)
	}
	return nil
}

func (jsonProtocol) encode(_ *request, out any) ([]byte, string, error) {
	if _, ok := out.(*none); ok {
		return nil, jsonContentType, nil
	}
	if hot, ok := out.(appendable); ok {
		return hot.appendJSON(make([]byte, 0, 512)), jsonContentType, nil
	}
	body, err := encodeJSON(out)
	return body, jsonContentType, err
}

// encodeJSON leaves <, > and & as they are.
func encodeJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

func (jsonProtocol) encodeFailure(_ *request, f failure, h http.Header) ([]byte, string) {
	code := f.code
	if f.name == codeMissingAuthentication {
		code = "AccessDenied"
	}
	h.Set("X-Amzn-Query-Error", code+";"+f.kind())
	body, err := encodeJSON(struct {
		Type    string `json:"__type"`
		Message string `json:"message"`
	}{f.shape, f.msg})
	if err != nil { // two strings always encode
		return nil, jsonContentType
	}
	return body, jsonContentType
}

// pairedSurrogates reports whether every \uD800 to \uDFFF escape in the JSON text
// b is half of a pair. encoding/json would silently put U+FFFD in its place and
// so store another message than was sent.
func pairedSurrogates(b []byte) bool {
	for {
		i := bytes.IndexByte(b, '\\')
		if i < 0 || i+1 >= len(b) {
			return true
		}
		b = b[i:]
		high, n := surrogate(b)
		switch {
		case n == 0: // another escape
			b = b[2:]
		case !high:
			return false
		default:
			if high, n = surrogate(b[6:]); n == 0 || high {
				return false
			}
			b = b[12:]
		}
	}
}

// surrogate reads one \uXXXX at the start of b: n is 6 when it is a surrogate.
func surrogate(b []byte) (high bool, n int) {
	if len(b) < 6 || b[0] != '\\' || b[1] != 'u' {
		return false, 0
	}
	v, err := strconv.ParseUint(string(b[2:6]), 16, 16)
	if err != nil || v < 0xD800 || v > 0xDFFF {
		return false, 0
	}
	return v < 0xDC00, 6
}
