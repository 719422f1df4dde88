package aws

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	sdk "github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/openmnq/mnq"
)

func TestEveryAnswerHasARequestID(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, w := range wires {
		rec := httptest.NewRecorder()
		b.h.ServeHTTP(rec, w.request(t, "ListQueues", nil))
		id := rec.Header().Get("x-amzn-RequestId")
		if len(id) != 36 {
			t.Errorf("%s: id %q", w.name, id)
		}
		if w.name == "Query" && !strings.Contains(rec.Body.String(), "<RequestId>"+id+"</RequestId>") {
			t.Errorf("%s does not have %s", rec.Body, id)
		}
	}
}

func TestErrorForms(t *testing.T) {
	t.Parallel()
	b := setup(t)
	r := sign(t, jsonRequest(t, "GetQueueUrl", &getQueueURLInput{QueueName: "q", QueueOwnerAWSAccountId: "123456789012"}), testKey, testNow)
	rec := httptest.NewRecorder()
	b.h.ServeHTTP(rec, r)
	if got, want := rec.Body.String(), `{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"The specified queue does not exist."}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := rec.Header().Get("x-amzn-query-error"); got != "AWS.SimpleQueueService.NonExistentQueue;Sender" {
		t.Error(got)
	}
	r = sign(t, queryRequest(t, "GetQueueUrl", &getQueueURLInput{QueueName: "q", QueueOwnerAWSAccountId: "123456789012"}), testKey, testNow)
	rec = httptest.NewRecorder()
	b.h.ServeHTTP(rec, r)
	want := `<?xml version="1.0"?><ErrorResponse xmlns="http://queue.amazonaws.com/doc/2012-11-05/"><Error><Type>Sender</Type>` +
		`<Code>AWS.SimpleQueueService.NonExistentQueue</Code><Message>The specified queue does not exist for this wsdl version.</Message>` +
		`<Detail/></Error><RequestId>` + rec.Header().Get("x-amzn-RequestId") + `</RequestId></ErrorResponse>`
	if got := rec.Body.String(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestKindsBecomeFaults(t *testing.T) {
	t.Parallel()
	secret := errors.New("secret cause")
	for kind, want := range map[mnq.Kind]struct {
		code   string
		status int
	}{
		mnq.Internal: {"InternalError", 500}, mnq.Invalid: {"InvalidParameterValue", 400}, mnq.Unauthenticated: {"InvalidClientTokenId", 403},
		mnq.Denied: {"AccessDenied", 403}, mnq.NotFound: {"ResourceNotFoundException", 404}, mnq.Exists: {"QueueAlreadyExists", 400},
		mnq.Conflict: {"ServiceUnavailable", 503}, mnq.QuotaExceeded: {"OverLimit", 403}, mnq.Throttled: {"RequestThrottled", 403},
		mnq.Unavailable: {"ServiceUnavailable", 503}, mnq.Unsupported: {"AWS.SimpleQueueService.UnsupportedOperation", 400},
	} {
		f := failureOf(mnq.ServiceSQS, &mnq.Error{Kind: kind, Err: secret})
		if f.code != want.code || f.status != want.status || f.msg == "" || strings.Contains(f.msg, "secret") {
			t.Errorf("%v: %+v", kind, f)
		}
	}
	for _, err := range []error{secret, &mnq.Error{Kind: mnq.Internal, Code: "OverLimit", Msg: "secret"}} {
		if f := failureOf(mnq.ServiceSQS, err); f.code != "InternalError" || f.kind() != "Receiver" || strings.Contains(f.msg, "secret") {
			t.Errorf("%+v", f)
		}
	}
	if f := failureOf(mnq.ServiceSQS, &mnq.Error{Kind: mnq.QuotaExceeded, Msg: "The storage is full."}); f.msg != "The storage is full." {
		t.Error(f.msg)
	}
}

func TestSNSHasItsOwnCodes(t *testing.T) {
	t.Parallel()
	for code, want := range map[string]struct {
		code   string
		status int
	}{
		"NotFound": {"NotFound", 404}, "ResourceNotFound": {"ResourceNotFound", 404}, "ParameterValueInvalid": {"ParameterValueInvalid", 400},
		"FilterPolicyLimitExceeded": {"FilterPolicyLimitExceeded", 403}, "Throttled": {"Throttled", 429}, "AccessDenied": {"AuthorizationError", 403},
		"UnsupportedOperation": {"InvalidAction", 400}, "SerializationException": {"MalformedInput", 400}, "no such code": {"InvalidParameter", 400},
		"QueueDoesNotExist": {"InvalidParameter", 400}, "SignatureDoesNotMatch": {"SignatureDoesNotMatch", 403},
	} {
		if f := failureOf(mnq.ServiceSNS, &mnq.Error{Kind: mnq.Invalid, Code: code, Msg: "m"}); f.code != want.code || f.status != want.status || f.msg != "m" {
			t.Errorf("%s: %+v", code, f)
		}
	}
	for kind, want := range map[mnq.Kind]string{
		mnq.Internal: "InternalError", mnq.Invalid: "InvalidParameter", mnq.Unauthenticated: "InvalidClientTokenId", mnq.Denied: "AuthorizationError",
		mnq.NotFound: "NotFound", mnq.Exists: "InvalidParameter", mnq.Conflict: "ServiceUnavailable", mnq.QuotaExceeded: "OverLimit",
		mnq.Throttled: "Throttled", mnq.Unavailable: "ServiceUnavailable", mnq.Unsupported: "InvalidAction",
	} {
		if f := failureOf(mnq.ServiceSNS, &mnq.Error{Kind: kind}); f.code != want || f.msg == "" {
			t.Errorf("%v: %+v", kind, f)
		}
	}
}

func TestPanicIsAnsweredAndLogged(t *testing.T) {
	t.Parallel()
	for _, w := range wires {
		b := setup(t)
		var logged bytes.Buffer
		b.h.cfg.Log = slog.New(slog.NewTextHandler(&logged, nil))
		b.h.verifier.lookup = func(context.Context, string, string) (mnq.Principal, error) { panic("secret cause") }
		a := b.serve(sign(t, w.request(t, "ListQueues", nil), testKey, testNow))
		if a.status != http.StatusInternalServerError || a.code != "InternalError" || strings.Contains(string(a.body), "secret") {
			t.Errorf("%s: %d %s", w.name, a.status, a.body)
		}
		if s := logged.String(); !strings.Contains(s, "level=ERROR") || !strings.Contains(s, "secret cause") || !strings.Contains(s, "handler_test.go") {
			t.Errorf("%s: logged %s", w.name, s)
		}
	}
}

func TestGetWithoutActionIsUnknown(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/", "/account/queue"} {
		a := setup(t).serve(httptest.NewRequest(http.MethodGet, "http://mq.test"+path, nil))
		if a.status != http.StatusNotFound || !strings.Contains(string(a.body), "<UnknownOperationException/>") {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}

func TestCredentialOfTheOtherServiceIsDenied(t *testing.T) {
	t.Parallel()
	b := setup(t)
	p := b.keys[testKey]
	p.Credential.Service = mnq.ServiceSNS
	b.keys[testKey] = p
	for _, w := range wires {
		a := b.serve(sign(t, w.request(t, "ListQueues", nil), testKey, testNow))
		if a.code != "AccessDenied" || a.status != http.StatusForbidden {
			t.Errorf("%s: %d %s", w.name, a.status, a.code)
		}
	}
}

func TestSNSIsToldByVersionScopeOrAction(t *testing.T) {
	t.Parallel()
	b := setup(t)
	creds := aws.Credentials{AccessKeyID: testKey, SecretAccessKey: "secret of " + testKey}
	post := func(form, scope string) answer {
		return b.serve(signAs(t, httptest.NewRequest(http.MethodPost, "http://mq.test/", strings.NewReader(form)), creds, scope, testNow))
	}
	for _, form := range []string{
		"Action=OptInPhoneNumber&Version=2010-03-31", "Version=2010-03-31&Action=OptInPhoneNumber&Message=Version%3D2012-11-05", "Action=OptInPhoneNumber",
	} {
		a := post(form, "sns")
		if a.code != "InvalidAction" || a.status != 400 || a.msg != "The action OptInPhoneNumber is not supported." || !strings.Contains(string(a.body), "sns.amazonaws.com/doc/2010-03-31") {
			t.Errorf("%s: %d %s", form, a.status, a.body)
		}
	}
	for form, scope := range map[string]string{"Action=Publish&Version=2010-03-31": "sqs", "Action=Publish": "s3", "Action=ListQueues&Version=2012-11-05": "sns"} {
		if a := post(form, scope); a.code != "SignatureDoesNotMatch" || !strings.Contains(a.msg, "correct service: 's") {
			t.Errorf("%s for %s: %s %s", form, scope, a.code, a.msg)
		}
	}
	if a := post("Action=Publish", "sqs"); a.code != "InvalidAction" || !strings.Contains(string(a.body), "queue.amazonaws.com") {
		t.Errorf("%s", a.body)
	}
}

func TestOnlyLinksNeedNoSignature(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, call := range []struct{ method, query, code string }{
		{http.MethodGet, "Action=ConfirmSubscription", "ValidationError"}, // it got as far as its parameters
		{http.MethodPost, "Action=ConfirmSubscription", codeMissingAuthentication},
		{http.MethodGet, "Action=ConfirmSubscription&Token=x&Action=Publish", "AuthorizationError"},
		{http.MethodGet, "Action=Publish&Action=Unsubscribe", codeMissingAuthentication},
		{http.MethodGet, "Action=ConfirmSubscription&Version=2012-11-05", "InvalidAction"},
		{http.MethodGet, "Action=Unsubscribe&X-Amz-Signature=x", "IncompleteSignature"},
		{http.MethodGet, "Action=DeleteTopic", codeMissingAuthentication},
	} {
		a := b.serve(httptest.NewRequest(call.method, "http://mq.test/?"+call.query, nil))
		if a.code != call.code {
			t.Errorf("%s %s: %d %s", call.method, call.query, a.status, a.body)
		}
	}
}

func TestQueuePathNamesTheQueueInQuery(t *testing.T) {
	t.Parallel()
	b := setup(t)
	post := func(path, form string) answer {
		return b.serve(sign(t, httptest.NewRequest(http.MethodPost, "http://mq.test"+path, strings.NewReader(form)), testKey, testNow))
	}
	if a := post("/other/queue", "Action=DeleteQueue"); a.code != "AWS.SimpleQueueService.NonExistentQueue" {
		t.Errorf("%s %s", a.code, a.msg)
	}
	if a := post("/", "Action=DeleteQueue"); a.code != "MissingParameter" {
		t.Errorf("%s %s", a.code, a.msg)
	}
	if a := post("/a/queue", "Action=ListQueues"); a.code != "InvalidAction" || a.msg != "The action ListQueues is not valid for this endpoint." {
		t.Errorf("%s %s", a.code, a.msg)
	}
	// Below the public URL's path the root is "/" all the same.
	b.h.basePath = "/mq"
	for path, want := range map[string]string{
		"/mq": "MissingParameter", "/mq/": "MissingParameter", "/": "MissingParameter", "/mq/other/queue": "AWS.SimpleQueueService.NonExistentQueue",
		"/mqx/queue": "AWS.SimpleQueueService.NonExistentQueue",
	} {
		if a := post(path, "Action=DeleteQueue"); a.code != want {
			t.Errorf("%s: %s %s", path, a.code, a.msg)
		}
	}
}

func TestQueueURLs(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ url, base, account, name string }{
		{"q", "", "", "q"},
		{"/q", "", "", "q"},
		{"a/q", "", "a", "q"},
		{"https://h/a/q", "", "a", "q"},
		{"https://h/p/a/q", "/p", "a", "q"},
		{"https://h/a/q", "/p", "a", "q"},
		{"https://h/a/b/q", "", "", ""},
		{"http://h:4566/queue/us-east-1/a/q", "", "a", "q"},
		{"/p/queue/us-east-1/a/q", "/p", "a", "q"},
		{"/queues/us-east-1/a/q", "", "", ""},
		{"/px/q", "/p", "px", "q"},
		{"", "", "", ""},
		{"https://h", "", "", ""},
		{"://", "", "", ""},
	} {
		account, name, ok := splitQueueURL(tc.url, tc.base)
		if account != tc.account || name != tc.name || ok != (tc.name != "") {
			t.Errorf("%q: %q %q %v", tc.url, account, name, ok)
		}
	}
	for public, want := range map[string]string{"": "http://mq.test/n/q", "https://x.test/p/": "https://x.test/p/n/q"} {
		h, err := newHandler(Config{PublicURL: public})
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodPost, "http://mq.test/", nil)
		r.Header.Set("X-Forwarded-Host", "evil.test")
		c := &call{principal: mnq.Principal{Namespace: mnq.Namespace{ID: "n"}}, baseURL: h.baseURL(r)}
		if got := c.queueURL("q"); got != want {
			t.Errorf("%q: %s, want %s", public, got, want)
		}
	}
	if _, err := newHandler(Config{PublicURL: "x.test"}); err == nil {
		t.Error("a public URL without a scheme was taken")
	}
	if _, err := newHandler(Config{StrictRegion: true}); err == nil {
		t.Error("a strict region without a region was taken")
	}
	if _, err := New(Config{}); err == nil {
		t.Error("nothing to serve was taken")
	}
}

// TestSDK passes messages with AWS's own client over HTTP, and one through a
// presigned URL.
func TestSDK(t *testing.T) {
	t.Parallel()
	i := install(t, nil)
	c := i.tenant(t, wires[0])
	srv := httptest.NewServer(i.h)
	defer srv.Close()
	client := sdk.New(sdk.Options{
		BaseEndpoint: &srv.URL, Region: "fr-par", HTTPClient: srv.Client(),
		Credentials: credentials.NewStaticCredentialsProvider(c.creds.AccessKeyID, c.creds.SecretAccessKey, ""),
	})
	ctx := t.Context()
	_, err := client.GetQueueUrl(ctx, &sdk.GetQueueUrlInput{QueueName: aws.String("q")})
	if _, ok := errors.AsType[*types.QueueDoesNotExist](err); !ok {
		t.Errorf("%v", err)
	}
	q, err := client.CreateQueue(ctx, &sdk.CreateQueueInput{QueueName: aws.String("q"), Attributes: map[string]string{"VisibilityTimeout": "60"}, Tags: map[string]string{"a": "b"}})
	if err != nil {
		t.Fatal(err)
	}
	attribute := map[string]types.MessageAttributeValue{"a": {DataType: aws.String("String"), StringValue: aws.String("x")}}
	if _, err := client.SendMessage(ctx, &sdk.SendMessageInput{QueueUrl: q.QueueUrl, MessageBody: aws.String("one"), MessageAttributes: attribute}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.SendMessageBatch(ctx, &sdk.SendMessageBatchInput{QueueUrl: q.QueueUrl, Entries: []types.SendMessageBatchRequestEntry{
		{Id: aws.String("1"), MessageBody: aws.String("two")}, {Id: aws.String("2"), MessageBody: aws.String("three")},
	}}); err != nil {
		t.Fatal(err)
	}
	var handles []types.DeleteMessageBatchRequestEntry
	for len(handles) < 3 {
		got, err := client.ReceiveMessage(ctx, &sdk.ReceiveMessageInput{QueueUrl: q.QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 5, MessageAttributeNames: []string{"All"}})
		if err != nil || len(got.Messages) == 0 {
			t.Fatalf("%v %+v", err, got)
		}
		for _, m := range got.Messages {
			handles = append(handles, types.DeleteMessageBatchRequestEntry{Id: m.MessageId, ReceiptHandle: m.ReceiptHandle})
		}
	}
	if _, err := client.ChangeMessageVisibility(ctx, &sdk.ChangeMessageVisibilityInput{QueueUrl: q.QueueUrl, ReceiptHandle: handles[0].ReceiptHandle, VisibilityTimeout: 5}); err != nil {
		t.Error(err)
	}
	if out, err := client.DeleteMessageBatch(ctx, &sdk.DeleteMessageBatchInput{QueueUrl: q.QueueUrl, Entries: handles}); err != nil || len(out.Successful) != 3 {
		t.Errorf("%v %+v", err, out)
	}
	if _, err := client.SetQueueAttributes(ctx, &sdk.SetQueueAttributesInput{QueueUrl: q.QueueUrl, Attributes: map[string]string{"DelaySeconds": "1"}}); err != nil {
		t.Error(err)
	}
	if out, err := client.GetQueueAttributes(ctx, &sdk.GetQueueAttributesInput{QueueUrl: q.QueueUrl, AttributeNames: []types.QueueAttributeName{"All"}}); err != nil || out.Attributes["DelaySeconds"] != "1" {
		t.Errorf("%v %+v", err, out)
	}
	if out, err := client.ListQueues(ctx, &sdk.ListQueuesInput{}); err != nil || len(out.QueueUrls) != 1 {
		t.Errorf("%v %+v", err, out)
	}
	_, err = client.SendMessageBatch(ctx, &sdk.SendMessageBatchInput{QueueUrl: q.QueueUrl, Entries: []types.SendMessageBatchRequestEntry{
		{Id: aws.String("!"), MessageBody: aws.String("x")},
	}})
	if _, ok := errors.AsType[*types.InvalidBatchEntryId](err); !ok {
		t.Errorf("%v", err)
	}
	if _, err := client.PurgeQueue(ctx, &sdk.PurgeQueueInput{QueueUrl: q.QueueUrl}); err != nil {
		t.Error(err)
	}
	presigned := presignAs(t, srv.URL+"/"+c.ns.ID+"/q?Action=SendMessage&MessageBody=a+b", c.creds, time.Hour, time.Now())
	resp, err := srv.Client().Get(presigned)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/xml" {
		t.Errorf("presigned: %s", resp.Status)
	}
	if _, err := client.DeleteQueue(ctx, &sdk.DeleteQueueInput{QueueUrl: q.QueueUrl}); err != nil {
		t.Error(err)
	}
}
