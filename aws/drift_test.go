package aws

import (
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"

	sdkaws "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/traits"
	"github.com/google/go-cmp/cmp"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/queue"
)

// sdkClient is AWS's own client; what it sends is answered by answer.
func sdkClient(answer func(action string) *http.Response) *sdk.Client {
	return sdk.New(sdk.Options{
		BaseEndpoint: sdkaws.String("http://mq.test"), Region: "fr-par", Retryer: sdkaws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider("k", "s", ""),
		HTTPClient: roundTrip(func(r *http.Request) (*http.Response, error) {
			return answer(strings.TrimPrefix(r.Header.Get(targetHeader), targetSQS)), nil
		}),
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) Do(r *http.Request) (*http.Response, error) { return f(r) }

// callSDK calls an operation of the client by name.
func callSDK(c *sdk.Client, name string, in reflect.Value) error {
	out := reflect.ValueOf(c).MethodByName(name).Call([]reflect.Value{reflect.ValueOf(context.Background()), in})
	err, _ := reflect.TypeAssert[error](out[1])
	return err
}

// filled returns a pointer to a struct with something in every member.
func filled(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	switch t.Kind() {
	case reflect.Pointer:
		return filled(t.Elem()).Addr()
	case reflect.String:
		v.SetString("x")
	case reflect.Slice:
		v.Set(reflect.Append(v, filled(t.Elem())))
	case reflect.Map:
		v.Set(reflect.MakeMap(t))
		v.SetMapIndex(filled(t.Key()), filled(t.Elem()))
	case reflect.Struct:
		for i := range t.NumField() {
			if t.Field(i).IsExported() && t.Field(i).Name != "ResultMetadata" {
				v.Field(i).Set(filled(t.Field(i).Type))
			}
		}
	default: // numbers and bytes
	}
	return v
}

// TestFaultsMatchTheSDK holds every error shape of the model to the table: its code
// in Query and its HTTP status, and that AWS's own client takes our answer for that
// shape.
func TestFaultsMatchTheSDK(t *testing.T) {
	t.Parallel()
	var modelled []string
	for id, entry := range sdk.TypeRegistry.Entries {
		shape, isError := entry.New().(interface {
			error
			smithy.APIError
		})
		if !isError {
			continue
		}
		_, name, _ := strings.Cut(id, "#")
		if strings.HasPrefix(name, "Kms") {
			continue // keys are kept as names and never used, so nothing about them can fail
		}
		modelled = append(modelled, id)
		f, known := vocabularies[mnq.ServiceSQS].faults[name]
		if !known {
			t.Errorf("%s is not in the table", name)
			continue
		}
		want := fault{id, name, http.StatusBadRequest} // what holds where the model says nothing
		if status, ok := smithy.SchemaTrait[*traits.HTTPError](entry.Schema); ok {
			want.status = status.Code
		}
		if query, ok := smithy.SchemaTrait[*traits.AWSQueryError](entry.Schema); ok {
			want.code = query.ErrorCode
		}
		if diff := cmp.Diff(want, f, cmp.AllowUnexported(fault{})); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		text := "the text"
		if len(entry.Schema.Members()) == 0 {
			text = "" // the shape has no place for it
		}
		if got := thrown(f, "the text"); reflect.TypeOf(got) != reflect.TypeOf(shape) || got.ErrorCode() != f.code || got.ErrorMessage() != text {
			t.Errorf("%s: the client makes %T %v of it", name, got, got)
		}
	}
	var ours []string
	for _, f := range vocabularies[mnq.ServiceSQS].faults {
		if strings.HasPrefix(f.shape, sqsShape) {
			ours = append(ours, f.shape)
		}
	}
	slices.Sort(modelled)
	slices.Sort(ours)
	if diff := cmp.Diff(modelled, ours); diff != "" {
		t.Errorf("the model's shapes and ours: %s", diff)
	}
}

// thrown is what AWS's client makes of the fault, by an operation that declares it.
func thrown(f fault, text string) smithy.APIError {
	c := sdkClient(func(string) *http.Response {
		res := &http.Response{StatusCode: f.status, Header: http.Header{"Content-Type": {jsonContentType}}}
		body, _ := jsonProtocol{}.encodeFailure(nil, failure{fault: f, msg: text}, res.Header)
		res.Body = io.NopCloser(strings.NewReader(string(body)))
		return res
	})
	var last smithy.APIError
	for _, op := range sqsOperations() {
		m, _ := reflect.TypeFor[*sdk.Client]().MethodByName(op.name)
		if errors.As(callSDK(c, op.name, filled(m.Type.In(2))), &last) && reflect.TypeOf(last) != reflect.TypeFor[*smithy.GenericAPIError]() {
			return last
		}
	}
	return last
}

// TestRequiredMembersMatchTheSDK compares what the client insists on with what we
// do. What we leave to the operation has an error of its own there.
func TestRequiredMembersMatchTheSDK(t *testing.T) {
	t.Parallel()
	elsewhere := map[string]string{
		"SendMessageBatch.Entries": "EmptyBatchRequest", "DeleteMessageBatch.Entries": "EmptyBatchRequest",
		"ChangeMessageVisibilityBatch.Entries": "EmptyBatchRequest", "AddPermission.AWSAccountIds": "InvalidParameterValue",
	}
	c := sdkClient(func(action string) *http.Response {
		t.Errorf("%s was sent without anything in it", action)
		return &http.Response{StatusCode: http.StatusBadRequest, Body: http.NoBody}
	})
	for _, op := range sqsOperations() {
		m, _ := reflect.TypeFor[*sdk.Client]().MethodByName(op.name)
		var want, got []string
		if invalid, ok := errors.AsType[smithy.InvalidParamsError](requiredError(c, op.name, m.Type.In(2))); ok {
			for _, e := range invalid.Errs() {
				p, _ := errors.AsType[smithy.InvalidParamError](e)
				_, name, _ := strings.Cut(p.Field(), ".")
				if elsewhere[op.name+"."+name] == "" {
					want = append(want, name)
				}
			}
		}
		for _, member := range shapeOf(op.in).members {
			if member.required {
				got = append(got, member.name)
			}
		}
		if op.name == "ChangeMessageVisibility" { // the SDK's is a number, which is never missing
			want = append(want, "VisibilityTimeout")
		}
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", op.name, diff)
		}
	}
}

// requiredError calls an operation without any member, unless it has none that it
// insists on.
func requiredError(c *sdk.Client, name string, in reflect.Type) error {
	if name == "ListQueues" {
		return nil
	}
	return callSDK(c, name, reflect.New(in.Elem()))
}

// TestAttributeNamesMatchTheSDK holds the names of queue and message attributes to
// the enumerations of the client.
func TestAttributeNamesMatchTheSDK(t *testing.T) {
	t.Parallel()
	ours := append(append(queue.SupportedAttributes(), queue.ComputedAttributes()...), "All")
	var theirs []string
	for _, name := range types.QueueAttributeName("").Values() {
		theirs = append(theirs, string(name))
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	if diff := cmp.Diff(theirs, ours); diff != "" {
		t.Errorf("queue attributes: %s", diff)
	}
	// In ReceiveMessage the old member takes both kinds of names.
	taken := append(slices.Collect(maps.Keys(queueAttributeNames)), "All")
	slices.Sort(taken)
	if diff := cmp.Diff(theirs, taken); diff != "" {
		t.Errorf("queue attributes in ReceiveMessage: %s", diff)
	}
	received, theirs := []string{"All"}, nil
	for _, a := range systemAttributes {
		received = append(received, a.name)
	}
	for _, name := range types.MessageSystemAttributeName("").Values() {
		theirs = append(theirs, string(name))
	}
	slices.Sort(received)
	slices.Sort(theirs)
	if diff := cmp.Diff(theirs, received); diff != "" {
		t.Errorf("system attributes: %s", diff)
	}
	if sent := types.MessageSystemAttributeNameForSends("").Values(); len(sent) != 1 || string(sent[0]) != traceAttribute {
		t.Errorf("system attributes for sends: %v", sent)
	}
}
