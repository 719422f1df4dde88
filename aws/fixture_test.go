package aws

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	sdkaws "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/openmnq/mnq"
)

// testNow is when requests of these tests are made, unless they say otherwise.
var testNow = time.Date(2026, 5, 4, 3, 2, 1, 0, time.UTC)

// bundle is a front door with one namespace and some keys, without queues.
type bundle struct {
	h    *Handler
	ns   mnq.Namespace
	keys map[string]mnq.Principal
}

const testKey = "AKIDTESTAKIDTESTAKID"

func setup(t testing.TB) *bundle {
	t.Helper()
	b := &bundle{ns: newNamespace(t), keys: map[string]mnq.Principal{}}
	b.grant(testKey, b.ns, mnq.Permissions{CanPublish: true, CanReceive: true, CanManage: true})
	h, err := newHandler(Config{Region: "fr-par", Now: func() time.Time { return testNow }, Lookup: b.lookup})
	if err != nil {
		t.Fatal(err)
	}
	b.h = h
	return b
}

func newNamespace(t testing.TB) mnq.Namespace {
	t.Helper()
	const id = "ABNGIS57BZWKV26C2EOQZMQZUIEB7PQYJ3V3Y2LCV5Y7ZU4K5R7P5RBJ"
	return mnq.Namespace{ID: id, Name: "test", Protocol: mnq.ProtocolSQSSNS, Region: "fr-par", Quota: mnq.DefaultQuota(mnq.ProtocolSQSSNS)}
}

func (b *bundle) grant(accessKey string, ns mnq.Namespace, p mnq.Permissions) {
	b.keys[accessKey] = mnq.Principal{
		Credential: mnq.Credential{ID: "id-of-" + accessKey, NamespaceID: ns.ID, AccessKey: accessKey, Permissions: p},
		Namespace:  ns, Secret: mnq.Secret("secret of " + accessKey),
	}
}

func (b *bundle) lookup(_ context.Context, accessKey, _ string) (mnq.Principal, error) {
	p, ok := b.keys[accessKey]
	if !ok {
		return p, &mnq.Error{Kind: mnq.Unauthenticated, Code: "InvalidClientTokenId"}
	}
	return p, nil
}

// wire is a protocol as a client speaks it.
type wire struct {
	name    string
	scope   string // service in the signature
	request func(t testing.TB, action string, in any) *http.Request
}

var wires = []wire{{"JSON", "sqs", jsonRequest}, {"Query", "sqs", queryRequest}}

// snsWire is how SNS is spoken to.
var snsWire = wire{"Query", "sns", snsRequest}

func jsonRequest(t testing.TB, action string, in any) *http.Request {
	t.Helper()
	body, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://mq.test/", bytes.NewReader(body))
	r.Header.Set("Content-Type", jsonContentType)
	r.Header.Set(targetHeader, targetSQS+action)
	return r
}

func queryRequest(t testing.TB, action string, in any) *http.Request {
	t.Helper()
	return formRequest(t, versionSQS, action, in)
}

func snsRequest(t testing.TB, action string, in any) *http.Request {
	t.Helper()
	return formRequest(t, versionSNS, action, in)
}

func formRequest(t testing.TB, version, action string, in any) *http.Request {
	t.Helper()
	form := url.Values{"Action": {action}, "Version": {version}}
	if in != nil {
		encodeForm(form, "", reflect.Indirect(reflect.ValueOf(in)))
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://mq.test/", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r
}

// encodeForm is the other direction of decodeStruct.
func encodeForm(form url.Values, prefix string, v reflect.Value) {
	if v.Kind() != reflect.Struct {
		return
	}
	for _, m := range shapeOf(v.Type()).members {
		f, name := v.Field(m.index), prefix+strings.Join(m.path, ".")
		if f.IsZero() {
			continue
		}
		switch f.Kind() {
		case reflect.Map:
			i := 0
			for _, key := range f.MapKeys() {
				i++
				entry := name + "." + strconv.Itoa(i) + "."
				form.Set(entry+m.key, key.String())
				encodeFormValue(form, entry+m.value, f.MapIndex(key))
			}
		case reflect.Slice:
			if f.Type().Elem().Kind() == reflect.Uint8 {
				encodeFormValue(form, name, f)
				continue
			}
			for i := range f.Len() {
				encodeFormValue(form, name+"."+strconv.Itoa(i+1), f.Index(i))
			}
		default:
			encodeFormValue(form, name, f)
		}
	}
}

func encodeFormValue(form url.Values, name string, v reflect.Value) {
	if v.Kind() == reflect.Struct {
		encodeForm(form, name+".", v)
		return
	}
	if v.Kind() == reflect.String {
		form.Set(name, v.String())
		return
	}
	w := &xmlWriter{}
	w.value("v", v)
	var s struct {
		V string `xml:",chardata"`
	}
	_ = xml.Unmarshal(w.Bytes(), &s)
	form.Set(name, s.V)
}

// sign signs r as the SDKs do.
func sign(t testing.TB, r *http.Request, accessKey string, at time.Time) *http.Request {
	t.Helper()
	return signAs(t, r, sdkaws.Credentials{AccessKeyID: accessKey, SecretAccessKey: "secret of " + accessKey}, "sqs", at)
}

func signAs(t testing.TB, r *http.Request, creds sdkaws.Credentials, service string, at time.Time) *http.Request {
	t.Helper()
	if err := v4.NewSigner().SignHTTP(context.Background(), creds, r, bodyHash(t, r), service, "fr-par", at); err != nil {
		t.Fatal(err)
	}
	return r
}

// bodyHash reads the body and puts it back.
func bodyHash(t testing.TB, r *http.Request) string {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// answer is what both protocols answer, in one form.
type answer struct {
	status int
	code   string // the Query code
	shape  string // JSON only: __type
	msg    string
	body   []byte
	json   bool
}

func (b *bundle) serve(r *http.Request) answer {
	w := httptest.NewRecorder()
	b.h.ServeHTTP(w, r)
	return readAnswer(w)
}

func readAnswer(w *httptest.ResponseRecorder) answer {
	a := answer{status: w.Code, body: w.Body.Bytes(), json: w.Header().Get("Content-Type") == jsonContentType}
	if a.status == http.StatusOK {
		return a
	}
	if a.json {
		var e struct {
			Type    string `json:"__type"`
			Message string `json:"message"`
		}
		_ = json.Unmarshal(a.body, &e)
		a.shape, a.msg = e.Type, e.Message
		a.code, _, _ = strings.Cut(w.Header().Get("X-Amzn-Query-Error"), ";")
		return a
	}
	var e struct {
		Error struct{ Type, Code, Message string }
	}
	_ = xml.Unmarshal(a.body, &e)
	a.code, a.msg = e.Error.Code, e.Error.Message
	return a
}

// into decodes a successful answer of either protocol.
func (a answer) into(t testing.TB, action string, out any) {
	t.Helper()
	if a.status != http.StatusOK {
		t.Fatalf("%s: status %d, %s", action, a.status, a.body)
	}
	if _, ok := out.(*none); ok {
		return
	}
	if a.json {
		if err := json.Unmarshal(a.body, out); err != nil {
			t.Fatalf("%s: %v in %s", action, err, a.body)
		}
		return
	}
	root := readXML(t, a.body)
	if err := decodeStruct(root.at(action+"Result", "1"), reflect.ValueOf(out).Elem()); err != nil {
		t.Fatalf("%s: %v in %s", action, err, a.body)
	}
}

// readXML turns an XML answer into the tree of a form, where the n-th element of a
// name is its child n.
func readXML(t testing.TB, body []byte) *tree {
	t.Helper()
	dec := xml.NewDecoder(bytes.NewReader(body))
	stack := []*tree{{}}
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		top := stack[len(stack)-1]
		switch x := token.(type) {
		case xml.StartElement:
			if top.children == nil {
				top.children = map[string]*tree{}
			}
			list := top.children[x.Name.Local]
			if list == nil {
				list = &tree{children: map[string]*tree{}}
				top.children[x.Name.Local] = list
			}
			n := &tree{}
			list.children[strconv.Itoa(len(list.children)+1)] = n
			stack = append(stack, n)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			top.value += string(x)
		}
	}
	root := flatten(stack[0])
	for _, child := range root.children {
		return child.at("1")
	}
	return root
}

// flatten makes an element that comes once and holds no list readable by its name
// alone as well.
func flatten(n *tree) *tree {
	for _, list := range n.children {
		for _, child := range list.children {
			flatten(child)
		}
		if only := list.children["1"]; only != nil {
			list.value = only.value
			for name, child := range only.children {
				if list.children[name] == nil {
					list.children[name] = child
				}
			}
		}
	}
	return n
}

func bodyMD5(body string) string {
	sum := md5.Sum([]byte(body))
	return hex.EncodeToString(sum[:])
}
