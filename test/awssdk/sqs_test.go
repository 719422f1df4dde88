// Package awssdk calls every SQS operation with AWS's own Go client, and the
// Query protocol with presigned requests.
package awssdk

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/openmnq/mnq"
	front "github.com/openmnq/mnq/aws"
	"github.com/openmnq/mnq/internal/mnqtest"
)

type fixture struct {
	p    *mnqtest.Process
	keys mnqtest.Keys
	ns   string
	c    *sqs.Client
	seen map[string]bool // actions that were called
}

func setup(t *testing.T) *fixture {
	t.Helper()
	p := mnqtest.Start(t, mnqtest.Options{Args: []string{"--fsync", "interval"}})
	ns := p.Namespace("sdk", "sqs_sns")
	keys := p.Keys(ns, "prm")
	f := &fixture{p, keys, ns, mnqtest.SQS(p.URL, keys), map[string]bool{}}
	inner := f.c.Options().HTTPClient
	f.c = sqs.New(f.c.Options(), func(o *sqs.Options) {
		o.HTTPClient = doer(func(r *http.Request) (*http.Response, error) {
			_, action, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
			f.seen[action] = true
			return inner.Do(r)
		})
	})
	return f
}

// doer is a client whose requests are looked at; the tests make one at a time.
type doer func(*http.Request) (*http.Response, error)

// Do makes the request.
func (d doer) Do(r *http.Request) (*http.Response, error) { return d(r) }

// sawAll fails the test unless every action of the table was called.
func (f *fixture) sawAll(t *testing.T) {
	t.Helper()
	for _, op := range front.Operations() {
		if op.Service == mnq.ServiceSQS && !f.seen[op.Name] {
			t.Errorf("%s was not called", op.Name)
		}
	}
}

// The client checks the MD5 of every body itself.
func TestEveryOperation(t *testing.T) {
	t.Parallel()
	f := setup(t)
	ctx, c := t.Context(), f.c
	ok := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	created, err := c.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("q"), Attributes: map[string]string{"VisibilityTimeout": "60"}})
	ok("CreateQueue", err)
	q := created.QueueUrl
	if want := f.p.URL + "/" + f.ns + "/q"; *q != want {
		t.Errorf("queue URL %s, want %s", *q, want)
	}
	found, err := c.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String("q")})
	ok("GetQueueUrl", err)
	if *found.QueueUrl != *q {
		t.Errorf("GetQueueUrl answers %s", *found.QueueUrl)
	}
	listed, err := c.ListQueues(ctx, &sqs.ListQueuesInput{QueueNamePrefix: aws.String("q")})
	ok("ListQueues", err)
	if len(listed.QueueUrls) != 1 {
		t.Errorf("ListQueues answers %v", listed.QueueUrls)
	}
	_, err = c.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: q, Attributes: map[string]string{"ReceiveMessageWaitTimeSeconds": "5"}})
	ok("SetQueueAttributes", err)

	sent, err := c.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: q, MessageBody: aws.String("one"), MessageAttributes: map[string]types.MessageAttributeValue{
		"n": {DataType: aws.String("Number"), StringValue: aws.String("1")}, "b": {DataType: aws.String("Binary"), BinaryValue: []byte{0, 1}},
	}})
	ok("SendMessage", err)
	batch, err := c.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: q, Entries: []types.SendMessageBatchRequestEntry{
		{Id: aws.String("a"), MessageBody: aws.String("two")}, {Id: aws.String("b"), MessageBody: aws.String("three")}, {Id: aws.String("bad"), MessageBody: aws.String("\x01")},
	}})
	ok("SendMessageBatch", err)
	if len(batch.Successful) != 2 || len(batch.Failed) != 1 || *batch.Failed[0].Code != "InvalidMessageContents" {
		t.Errorf("SendMessageBatch answers %+v", batch)
	}
	var got []types.Message
	for len(got) < 3 {
		out, err := c.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: q, MaxNumberOfMessages: 10, MessageAttributeNames: []string{"All"}, MessageSystemAttributeNames: []types.MessageSystemAttributeName{"All"},
		})
		ok("ReceiveMessage", err)
		if len(out.Messages) == 0 {
			t.Fatalf("only %d of 3 messages came", len(got))
		}
		got = append(got, out.Messages...)
	}
	if *got[0].MessageId != *sent.MessageId || string(got[0].MessageAttributes["b"].BinaryValue) != "\x00\x01" ||
		got[0].Attributes["ApproximateReceiveCount"] != "1" || got[0].Attributes["SenderId"] != f.keys.ID || *got[0].MD5OfMessageAttributes != *sent.MD5OfMessageAttributes {
		t.Errorf("received %+v", got[0])
	}
	attrs, err := c.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: q, AttributeNames: []types.QueueAttributeName{"All"}})
	ok("GetQueueAttributes", err)
	if a := attrs.Attributes; a["ApproximateNumberOfMessagesNotVisible"] != "3" || a["VisibilityTimeout"] != "60" || a["QueueArn"] != "arn:scw:sqs:fr-par:"+f.ns+":q" {
		t.Errorf("attributes %v", a)
	}
	_, err = c.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: q, ReceiptHandle: got[0].ReceiptHandle, VisibilityTimeout: 0})
	ok("ChangeMessageVisibility", err)
	again, err := c.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: q, MaxNumberOfMessages: 10})
	ok("ReceiveMessage again", err)
	if len(again.Messages) != 1 || *again.Messages[0].MessageId != *sent.MessageId {
		t.Errorf("after visibility 0: %+v", again.Messages)
	}
	changed, err := c.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: q, Entries: []types.ChangeMessageVisibilityBatchRequestEntry{
		{Id: aws.String("a"), ReceiptHandle: got[1].ReceiptHandle, VisibilityTimeout: 100}, {Id: aws.String("b"), ReceiptHandle: aws.String("garbage"), VisibilityTimeout: 100},
	}})
	ok("ChangeMessageVisibilityBatch", err)
	if len(changed.Successful) != 1 || len(changed.Failed) != 1 || *changed.Failed[0].Code != "ReceiptHandleIsInvalid" {
		t.Errorf("ChangeMessageVisibilityBatch answers %+v", changed)
	}
	_, err = c.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: q, ReceiptHandle: got[0].ReceiptHandle})
	ok("DeleteMessage", err)
	deleted, err := c.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: q, Entries: []types.DeleteMessageBatchRequestEntry{
		{Id: aws.String("a"), ReceiptHandle: got[1].ReceiptHandle}, {Id: aws.String("b"), ReceiptHandle: aws.String("garbage")},
	}})
	ok("DeleteMessageBatch", err)
	if len(deleted.Successful) != 1 || len(deleted.Failed) != 1 {
		t.Errorf("DeleteMessageBatch answers %+v", deleted)
	}
	f.redrive(t, q)
	f.tagsAndPermissions(t, q)

	_, err = c.PurgeQueue(ctx, &sqs.PurgeQueueInput{QueueUrl: q})
	ok("PurgeQueue", err)
	_, err = c.PurgeQueue(ctx, &sqs.PurgeQueueInput{QueueUrl: q})
	if e := mnqtest.WantCode(err, "AWS.SimpleQueueService.PurgeQueueInProgress"); e != nil {
		t.Error(e)
	}
	_, err = c.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: q})
	ok("DeleteQueue", err)
	_, err = c.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String("q")})
	if e := mnqtest.WantCode(err, "AWS.SimpleQueueService.NonExistentQueue"); e != nil {
		t.Error(e)
	}
	f.sawAll(t)
}

// redrive makes q the dead-letter queue of another one and moves its messages there.
func (f *fixture) redrive(t *testing.T, q *string) {
	t.Helper()
	ctx, c, arn := t.Context(), f.c, "arn:scw:sqs:fr-par:"+f.ns+":q"
	source, err := c.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("source"), Attributes: map[string]string{
		"RedrivePolicy": `{"deadLetterTargetArn":"` + arn + `","maxReceiveCount":5}`,
	}})
	if err != nil {
		t.Fatal(err)
	}
	sources, err := c.ListDeadLetterSourceQueues(ctx, &sqs.ListDeadLetterSourceQueuesInput{QueueUrl: q})
	if err != nil || len(sources.QueueUrls) != 1 || sources.QueueUrls[0] != *source.QueueUrl {
		t.Errorf("ListDeadLetterSourceQueues: %+v %v", sources, err)
	}
	for range 20 {
		if _, err := c.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: q, MessageBody: aws.String("dead")}); err != nil {
			t.Fatal(err)
		}
	}
	task, err := c.StartMessageMoveTask(ctx, &sqs.StartMessageMoveTaskInput{
		SourceArn: &arn, DestinationArn: aws.String(strings.TrimSuffix(arn, "q") + "source"), MaxNumberOfMessagesPerSecond: aws.Int32(1),
	})
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := c.ListMessageMoveTasks(ctx, &sqs.ListMessageMoveTasksInput{SourceArn: &arn})
	if err != nil || len(tasks.Results) != 1 || aws.ToString(tasks.Results[0].TaskHandle) != *task.TaskHandle || *tasks.Results[0].Status != "RUNNING" {
		t.Fatalf("ListMessageMoveTasks: %+v %v", tasks, err)
	}
	if _, err := c.CancelMessageMoveTask(ctx, &sqs.CancelMessageMoveTaskInput{TaskHandle: task.TaskHandle}); err != nil {
		t.Error(err)
	}
}

func (f *fixture) tagsAndPermissions(t *testing.T, q *string) {
	t.Helper()
	ctx, c := t.Context(), f.c
	if _, err := c.TagQueue(ctx, &sqs.TagQueueInput{QueueUrl: q, Tags: map[string]string{"a": "1", "b": "2"}}); err != nil {
		t.Error(err)
	}
	if _, err := c.UntagQueue(ctx, &sqs.UntagQueueInput{QueueUrl: q, TagKeys: []string{"a"}}); err != nil {
		t.Error(err)
	}
	if tags, err := c.ListQueueTags(ctx, &sqs.ListQueueTagsInput{QueueUrl: q}); err != nil || len(tags.Tags) != 1 || tags.Tags["b"] != "2" {
		t.Errorf("ListQueueTags: %+v %v", tags, err)
	}
	policy := func() string {
		out, err := c.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: q, AttributeNames: []types.QueueAttributeName{"Policy"}})
		if err != nil {
			t.Error(err)
		}
		return out.Attributes["Policy"]
	}
	if _, err := c.AddPermission(ctx, &sqs.AddPermissionInput{QueueUrl: q, Label: aws.String("l"), AWSAccountIds: []string{"123456789012"}, Actions: []string{"SendMessage"}}); err != nil {
		t.Error(err)
	}
	if p := policy(); !strings.Contains(p, "123456789012") {
		t.Errorf("AddPermission leaves the policy %q", p)
	}
	if _, err := c.RemovePermission(ctx, &sqs.RemovePermissionInput{QueueUrl: q, Label: aws.String("l")}); err != nil {
		t.Error(err)
	}
	if p := policy(); strings.Contains(p, "123456789012") {
		t.Errorf("RemovePermission leaves the policy %q", p)
	}
}

// presigned makes a Query request whose signature is in the URL, as a link that
// is handed to somebody without keys.
func (f *fixture) presigned(t *testing.T, params url.Values) (status int, body string) {
	t.Helper()
	f.seen[params.Get("Action")] = true
	params.Set("Version", "2012-11-05")
	params.Set("X-Amz-Expires", "60")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.p.URL+"/?"+params.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	empty := sha256.Sum256(nil)
	signed, header, err := v4.NewSigner().PresignHTTP(context.WithoutCancel(t.Context()), aws.Credentials{AccessKeyID: f.keys.Access, SecretAccessKey: f.keys.Secret},
		req, hex.EncodeToString(empty[:]), "sqs", "fr-par", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if req, err = http.NewRequestWithContext(t.Context(), http.MethodGet, signed, nil); err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		if k != "Host" {
			req.Header[k] = v
		}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}

func TestPresigned(t *testing.T) {
	t.Parallel()
	f := setup(t)
	element := func(body, name string) string {
		_, after, _ := strings.Cut(body, "<"+name+">")
		text, _, _ := strings.Cut(after, "</"+name+">")
		return text
	}
	call := func(want string, pairs ...string) string {
		t.Helper()
		v := url.Values{}
		for i := 0; i < len(pairs); i += 2 {
			v.Set(pairs[i], pairs[i+1])
		}
		status, body := f.presigned(t, v)
		if status != http.StatusOK || !strings.Contains(body, want) {
			t.Fatalf("%s: %d %s", v.Get("Action"), status, body)
		}
		return body
	}
	q := element(call("<QueueUrl>", "Action", "CreateQueue", "QueueName", "q", "Attribute.1.Name", "VisibilityTimeout", "Attribute.1.Value", "60"), "QueueUrl")
	call(q, "Action", "GetQueueUrl", "QueueName", "q")
	call(q, "Action", "ListQueues")
	call("<RequestId>", "Action", "SetQueueAttributes", "QueueUrl", q, "Attribute.Name", "DelaySeconds", "Attribute.Value", "0")
	call("<MessageId>", "Action", "SendMessage", "QueueUrl", q, "MessageBody", "a b+c&d=é~")
	call("<MessageId>", "Action", "SendMessageBatch", "QueueUrl", q, "SendMessageBatchRequestEntry.3.Id", "x", "SendMessageBatchRequestEntry.3.MessageBody", "two")
	got := call("<Body>a b+c&amp;d=é~</Body>", "Action", "ReceiveMessage", "QueueUrl", q, "MaxNumberOfMessages", "10", "AttributeName.1", "All")
	handle := element(got, "ReceiptHandle")
	call("ApproximateNumberOfMessagesNotVisible", "Action", "GetQueueAttributes", "QueueUrl", q, "AttributeName.1", "All")
	call("<RequestId>", "Action", "ChangeMessageVisibility", "QueueUrl", q, "ReceiptHandle", handle, "VisibilityTimeout", "30")
	call("<Id>x</Id>", "Action", "ChangeMessageVisibilityBatch", "QueueUrl", q, "ChangeMessageVisibilityBatchRequestEntry.1.Id", "x",
		"ChangeMessageVisibilityBatchRequestEntry.1.ReceiptHandle", handle, "ChangeMessageVisibilityBatchRequestEntry.1.VisibilityTimeout", "30")
	call("<RequestId>", "Action", "DeleteMessage", "QueueUrl", q, "ReceiptHandle", handle)
	call("<Id>x</Id>", "Action", "DeleteMessageBatch", "QueueUrl", q, "DeleteMessageBatchRequestEntry.1.Id", "x", "DeleteMessageBatchRequestEntry.1.ReceiptHandle", handle)
	call("<RequestId>", "Action", "TagQueue", "QueueUrl", q, "Tag.1.Key", "a", "Tag.1.Value", "b")
	call("<Key>a</Key>", "Action", "ListQueueTags", "QueueUrl", q)
	call("<RequestId>", "Action", "UntagQueue", "QueueUrl", q, "TagKey.1", "a")
	call("<RequestId>", "Action", "AddPermission", "QueueUrl", q, "Label", "l", "AWSAccountId.1", "123456789012", "ActionName.1", "*")
	call("<RequestId>", "Action", "RemovePermission", "QueueUrl", q, "Label", "l")
	arn := "arn:scw:sqs:fr-par:" + f.ns + ":q"
	call("<QueueUrl>", "Action", "CreateQueue", "QueueName", "source", "Attribute.1.Name", "RedrivePolicy",
		"Attribute.1.Value", `{"deadLetterTargetArn":"`+arn+`","maxReceiveCount":5}`)
	call("/source</QueueUrl>", "Action", "ListDeadLetterSourceQueues", "QueueUrl", q)
	call("<MessageId>", "Action", "SendMessage", "QueueUrl", q, "MessageBody", "one")
	call("<MessageId>", "Action", "SendMessage", "QueueUrl", q, "MessageBody", "two")
	task := element(call("<TaskHandle>", "Action", "StartMessageMoveTask", "SourceArn", arn,
		"DestinationArn", strings.TrimSuffix(arn, "q")+"source", "MaxNumberOfMessagesPerSecond", "1"), "TaskHandle")
	call(task, "Action", "ListMessageMoveTasks", "SourceArn", arn)
	call("<ApproximateNumberOfMessagesMoved>", "Action", "CancelMessageMoveTask", "TaskHandle", task)
	call("<RequestId>", "Action", "PurgeQueue", "QueueUrl", q)
	call("<RequestId>", "Action", "DeleteQueue", "QueueUrl", q)
	f.sawAll(t)

	f.keys.Secret = strings.Repeat("x", 64)
	if status, body := f.presigned(t, url.Values{"Action": {"ListQueues"}}); status != http.StatusForbidden || !strings.Contains(body, "SignatureDoesNotMatch") {
		t.Errorf("a wrong signature: %d %s", status, body)
	}
}

// At its 100 MB a namespace refuses sends in words and keeps what is there; receives
// and deletes go on, and what they free can be used at once.
func TestStorageQuota(t *testing.T) {
	t.Parallel()
	f := setup(t)
	ctx := t.Context()
	q, err := f.c.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("q")})
	if err != nil {
		t.Fatal(err)
	}
	body := strings.Repeat("x", 256<<10)
	send := func() error {
		_, err := f.c.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: q.QueueUrl, MessageBody: &body})
		return err
	}
	receive := func() []types.Message {
		t.Helper()
		out, err := f.c.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: q.QueueUrl, MaxNumberOfMessages: 10, WaitTimeSeconds: 1, VisibilityTimeout: 600})
		if err != nil {
			t.Fatal(err)
		}
		return out.Messages
	}
	remove := func(m types.Message) {
		t.Helper()
		if _, err := f.c.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: q.QueueUrl, ReceiptHandle: m.ReceiptHandle}); err != nil {
			t.Fatal(err)
		}
	}
	full := func() {
		t.Helper()
		err := send()
		if mnqtest.ErrorCode(err) != "OverLimit" || !strings.Contains(err.Error(), "storage quota of the namespace is used up. Delete or purge messages") {
			t.Fatalf("over the quota: %v", err)
		}
	}
	sent := 0
	for ; sent < 500 && err == nil; sent++ {
		err = send()
	}
	sent--
	if stored := sent * len(body); stored < 98<<20 || stored > 100<<20 {
		t.Fatalf("%d bytes were taken, then: %v", stored, err)
	}
	full()
	batch, err := f.c.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: q.QueueUrl, Entries: []types.SendMessageBatchRequestEntry{{Id: aws.String("a"), MessageBody: &body}}})
	if err != nil || len(batch.Failed) != 1 || *batch.Failed[0].Code != "OverLimit" {
		t.Errorf("a batch over the quota: %+v %v", batch, err)
	}
	got := receive()
	for _, m := range got {
		remove(m)
		if err := send(); err != nil {
			t.Fatalf("into the space of a message that was deleted: %v", err)
		}
		full()
	}
	received := len(got)
	for list := receive(); len(list) > 0; list = receive() {
		received += len(list)
		for _, m := range list {
			remove(m)
		}
	}
	if want := sent + len(got); received != want {
		t.Errorf("%d received of %d", received, want)
	}
	if err := send(); err != nil {
		t.Errorf("after everything was deleted: %v", err)
	}
	too := body + "x"
	_, err = f.c.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: q.QueueUrl, MessageBody: &too})
	if e := mnqtest.WantCode(err, "InvalidParameterValue"); e != nil {
		t.Error(e)
	}
}
