package aws

import (
	"context"
	"errors"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	sdkaws "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/openmnq/mnq"
)

// snsClient is AWS's own client; what it sends is answered by answer.
func snsClient(answer func(r *http.Request) *http.Response) *sns.Client {
	return sns.New(sns.Options{
		BaseEndpoint: sdkaws.String("http://mq.test"), Region: "fr-par", Retryer: sdkaws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("k", "s", ""),
		HTTPClient:  roundTrip(func(r *http.Request) (*http.Response, error) { return answer(r), nil }),
	})
}

// TestSNSTableMatchesTheSDK holds names and members of every operation to those of
// AWS's own client.
func TestSNSTableMatchesTheSDK(t *testing.T) {
	t.Parallel()
	methods := reflect.TypeFor[*sns.Client]()
	var theirs, ours []string
	for m := range methods.Methods() {
		if m.Name != "Options" {
			theirs = append(theirs, m.Name)
		}
	}
	for _, op := range snsOperations() {
		ours = append(ours, op.name)
		m, ok := methods.MethodByName(op.name)
		if !ok || op.run == nil {
			continue
		}
		matchMembers(t, op.name+".in", op.in, m.Type.In(2).Elem())
		matchMembers(t, op.name+".out", op.out, m.Type.Out(0).Elem())
	}
	slices.Sort(ours)
	if diff := cmp.Diff(theirs, ours); diff != "" {
		t.Errorf("operations differ: %s", diff)
	}
}

// TestSNSRequestsAreRead sends every operation with something in every member by
// AWS's own client and reads it back: no member may get lost between its names and
// ours.
func TestSNSRequestsAreRead(t *testing.T) {
	t.Parallel()
	for _, op := range snsOperations() {
		if op.run == nil {
			continue
		}
		in := reflect.New(op.in)
		c := snsClient(func(r *http.Request) *http.Response {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				t.Error(err)
			}
			req := &request{http: r, body: body, proto: queryProtocol{}}
			if req.service = serviceOf(req, nil); req.service != mnq.ServiceSNS {
				t.Errorf("%s is taken for %s", op.name, req.service)
			}
			if req.name, err = req.proto.action(req); err != nil || req.name != op.name {
				t.Errorf("%s is read as %s, %v", op.name, req.name, err)
			}
			if err := req.proto.decode(req, in.Interface()); err != nil {
				t.Errorf("%s: %v", op.name, err)
			}
			return &http.Response{StatusCode: http.StatusBadRequest, Body: http.NoBody}
		})
		m := reflect.ValueOf(c).MethodByName(op.name)
		m.Call([]reflect.Value{reflect.ValueOf(t.Context()), filled(m.Type().In(1))})
		unfilled(t, op.name, in.Elem())
	}
}

// unfilled reports members that filled has filled and v has not.
func unfilled(t *testing.T, path string, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() && v.Elem().Kind() == reflect.Struct {
			unfilled(t, path, v.Elem())
			return
		}
	case reflect.Struct:
		for i := range v.NumField() {
			unfilled(t, path+"."+v.Type().Field(i).Name, v.Field(i))
		}
		return
	case reflect.Slice:
		if v.Len() > 0 && v.Type().Elem().Kind() == reflect.Struct {
			unfilled(t, path, v.Index(0))
			return
		}
	case reflect.Map:
		for _, key := range v.MapKeys() {
			unfilled(t, path, v.MapIndex(key))
			return
		}
	case reflect.Bool:
		return
	default:
	}
	if v.IsZero() {
		t.Errorf("%s got lost", path)
	}
}

// TestSNSAnswersAreRead gives AWS's own client an answer with something in every
// member and reads back what it makes of it.
func TestSNSAnswersAreRead(t *testing.T) {
	t.Parallel()
	for _, op := range snsOperations() {
		if op.run == nil {
			continue
		}
		out := filled(op.out)
		c := snsClient(func(*http.Request) *http.Response {
			body, contentType, err := queryProtocol{}.encode(&request{id: "id", service: mnq.ServiceSNS, name: op.name}, out.Addr().Interface())
			if err != nil {
				t.Error(err)
			}
			return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(strings.NewReader(string(body)))}
		})
		m := reflect.ValueOf(c).MethodByName(op.name)
		got := m.Call([]reflect.Value{reflect.ValueOf(t.Context()), filled(m.Type().In(1))})
		if err, _ := reflect.TypeAssert[error](got[1]); err != nil {
			t.Errorf("%s: %v", op.name, err)
			continue
		}
		sameMembers(t, op.name, out, got[0].Elem())
	}
}

// sameMembers reports members of ours that the SDK's does not have.
func sameMembers(t *testing.T, path string, ours, theirs reflect.Value) {
	t.Helper()
	for theirs.Kind() == reflect.Pointer {
		theirs = theirs.Elem()
	}
	for ours.Kind() == reflect.Pointer {
		ours = ours.Elem()
	}
	switch {
	case !theirs.IsValid():
		t.Errorf("%s got lost", path)
	case ours.Kind() == reflect.Struct:
		for i := range ours.NumField() {
			name := ours.Type().Field(i).Name
			sameMembers(t, path+"."+name, ours.Field(i), theirs.FieldByName(name))
		}
	case ours.Kind() == reflect.Slice:
		if theirs.Len() != ours.Len() {
			t.Errorf("%s has %d elements", path, theirs.Len())
			return
		}
		sameMembers(t, path, ours.Index(0), theirs.Index(0))
	default:
		if a, b := ours.Interface(), theirs.Interface(); !reflect.DeepEqual(a, b) {
			t.Errorf("%s is %v, want %v", path, b, a)
		}
	}
}

// TestSNSNullsMatchTheSDK compares what the client insists on with what we do. Of
// ARNs we leave it to the operation, which has an error of its own for them.
func TestSNSNullsMatchTheSDK(t *testing.T) {
	t.Parallel()
	c := snsClient(func(*http.Request) *http.Response {
		return &http.Response{StatusCode: http.StatusBadRequest, Body: http.NoBody}
	})
	for _, op := range snsOperations() {
		if op.run == nil {
			continue
		}
		m := reflect.ValueOf(c).MethodByName(op.name)
		result := m.Call([]reflect.Value{reflect.ValueOf(t.Context()), reflect.New(m.Type().In(1).Elem())})
		err, _ := reflect.TypeAssert[error](result[1])
		var want, got []string
		if invalid, ok := errors.AsType[smithy.InvalidParamsError](err); ok {
			for _, e := range invalid.Errs() {
				p, _ := errors.AsType[smithy.InvalidParamError](e)
				if _, name, _ := strings.Cut(p.Field(), "."); !strings.HasSuffix(name, "Arn") {
					want = append(want, name)
				}
			}
		}
		for _, member := range shapeOf(op.in).members {
			if member.notNull {
				got = append(got, member.name)
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", op.name, diff)
		}
	}
}

// notOffered are errors that nothing here can cause: keys are kept as names, there
// are no phones and no mobile applications, and what ValidationException was made for
// AWS itself answers with ValidationError.
func notOffered(shape string) bool {
	return strings.HasPrefix(shape, "KMS") || slices.Contains([]string{
		"EndpointDisabledException", "PlatformApplicationDisabledException", "OptedOutException", "UserErrorException", "VerificationException",
		"ValidationException",
	}, shape)
}

// TestSNSFaultsMatchTheSDK holds every error of the SDK's package of types to the
// table, and that AWS's own client makes that very type of our answer.
func TestSNSFaultsMatchTheSDK(t *testing.T) {
	t.Parallel()
	known := vocabularies[mnq.ServiceSNS].faults
	for shape, code := range snsErrors(t) {
		if notOffered(shape) {
			continue
		}
		f, ok := known[code]
		if code == "InternalError" {
			f, ok = known["InternalFailure"]
		}
		if !ok || f.code != code {
			t.Errorf("%s (%s) is %+v in the table", shape, code, f)
			continue
		}
		if got := thrownBySNS(f); got == nil || reflect.TypeOf(got).Elem().Name() != shape || got.ErrorCode() != code || got.ErrorMessage() != "the text" {
			t.Errorf("%s: the client makes %T %v of it", shape, got, got)
		}
	}
}

// snsErrors reads the error shapes and their codes from the source of the SDK's
// package of types, which has no registry of them.
func snsErrors(t *testing.T) map[string]string {
	t.Helper()
	p, err := build.Import("github.com/aws/aws-sdk-go-v2/service/sns/types", ".", build.FindOnly)
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, "errors.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	codes := map[string]string{}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok || f.Name.Name != "ErrorCode" {
			continue
		}
		star, _ := f.Recv.List[0].Type.(*ast.StarExpr)
		name, _ := star.X.(*ast.Ident)
		ast.Inspect(f.Body, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok {
				codes[name.Name], _ = strconv.Unquote(lit.Value)
			}
			return true
		})
	}
	if len(codes) < 30 {
		t.Fatalf("only %d errors found", len(codes))
	}
	return codes
}

// thrownBySNS is what AWS's client makes of the fault, by an operation that declares
// it.
func thrownBySNS(f fault) (last smithy.APIError) {
	c := snsClient(func(*http.Request) *http.Response {
		body, contentType := queryProtocol{}.encodeFailure(&request{id: "id", service: mnq.ServiceSNS}, failure{fault: f, msg: "the text"}, nil)
		return &http.Response{StatusCode: f.status, Header: http.Header{"Content-Type": {contentType}}, Body: io.NopCloser(strings.NewReader(string(body)))}
	})
	for _, op := range snsOperations() {
		m := reflect.ValueOf(c).MethodByName(op.name)
		result := m.Call([]reflect.Value{reflect.ValueOf(context.Background()), filled(m.Type().In(1))})
		err, _ := reflect.TypeAssert[error](result[1])
		if errors.As(err, &last) && reflect.TypeOf(last) != reflect.TypeFor[*smithy.GenericAPIError]() {
			return last
		}
	}
	return last
}
