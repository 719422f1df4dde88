package isolation

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
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

// startMove gives the tenant a dead-letter queue whose messages are being moved,
// one in a second, for as long as the test runs.
func (x *tenant) startMove(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	dead, err := x.client.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("dead")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.client.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("source"), Attributes: map[string]string{
		"RedrivePolicy": fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":3}`, x.arn("dead")),
	}}); err != nil {
		t.Fatal(err)
	}
	entries := make([]types.SendMessageBatchRequestEntry, 10)
	for i := range entries {
		entries[i] = types.SendMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), MessageBody: aws.String("dead letter")}
	}
	for range 30 {
		if out, err := x.client.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: dead.QueueUrl, Entries: entries}); err != nil || len(out.Failed) > 0 {
			t.Fatalf("%v %v", out, err)
		}
	}
	task, err := x.client.StartMessageMoveTask(ctx, &sqs.StartMessageMoveTaskInput{
		SourceArn: aws.String(x.arn("dead")), DestinationArn: aws.String(x.arn("source")), MaxNumberOfMessagesPerSecond: aws.Int32(1),
	})
	if err != nil {
		t.Fatal(err)
	}
	x.task = *task.TaskHandle
}

func (x *tenant) arn(queue string) string { return "arn:scw:sqs:fr-par:" + x.sqs + ":" + queue }

// describeQueues writes down what the tenant's queues are and hold.
func (x *tenant) describeQueues(t *testing.T, w io.Writer) {
	t.Helper()
	ctx := t.Context()
	all, err := x.client.ListQueues(ctx, &sqs.ListQueuesInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range all.QueueUrls {
		attributes, err := x.client.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &u, AttributeNames: []types.QueueAttributeName{"All"}})
		if err != nil {
			t.Fatal(err)
		}
		if name := u[strings.LastIndex(u, "/")+1:]; name == "dead" || name == "source" { // messages are on their way from one to the other
			maps.DeleteFunc(attributes.Attributes, func(k, _ string) bool { return strings.HasPrefix(k, "Approximate") })
		}
		tags, err := x.client.ListQueueTags(ctx, &sqs.ListQueueTagsInput{QueueUrl: &u})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = fmt.Fprintln(w, u, attributes.Attributes, tags.Tags) // maps print in order
	}
	tasks, err := x.client.ListMessageMoveTasks(ctx, &sqs.ListMessageMoveTasksInput{SourceArn: aws.String(x.arn("dead")), MaxResults: aws.Int32(10)})
	if err != nil {
		t.Fatal(err)
	}
	if len(tasks.Results) != 1 || *tasks.Results[0].Status != "RUNNING" {
		t.Fatalf("the move does not run: %+v", tasks.Results)
	}
	for _, task := range tasks.Results {
		_, _ = fmt.Fprintln(w, aws.ToString(task.Status), aws.ToString(task.TaskHandle))
	}
}

// target is what a request names, in any of the ways to name a queue.
type target struct{ url, arn, handle, task string }

// actions are all that name a queue, as made with the SDK.
func actions(ctx context.Context, c *sqs.Client) map[string]func(target) error {
	all := map[string]func(target) error{}
	add := func(name string, f func(x target) (any, error)) {
		all[name] = func(x target) error { _, err := f(x); return err }
	}
	add("SendMessage", func(x target) (any, error) {
		return c.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &x.url, MessageBody: aws.String("x")})
	})
	add("SendMessageBatch", func(x target) (any, error) {
		return c.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: &x.url, Entries: []types.SendMessageBatchRequestEntry{{Id: aws.String("1"), MessageBody: aws.String("x")}}})
	})
	add("ReceiveMessage", func(x target) (any, error) {
		return c.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &x.url})
	})
	add("DeleteMessage", func(x target) (any, error) {
		return c.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: &x.url, ReceiptHandle: &x.handle})
	})
	add("DeleteMessageBatch", func(x target) (any, error) {
		return c.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: &x.url, Entries: []types.DeleteMessageBatchRequestEntry{{Id: aws.String("1"), ReceiptHandle: &x.handle}}})
	})
	add("ChangeMessageVisibility", func(x target) (any, error) {
		return c.ChangeMessageVisibility(ctx, &sqs.ChangeMessageVisibilityInput{QueueUrl: &x.url, ReceiptHandle: &x.handle})
	})
	add("ChangeMessageVisibilityBatch", func(x target) (any, error) {
		return c.ChangeMessageVisibilityBatch(ctx, &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &x.url, Entries: []types.ChangeMessageVisibilityBatchRequestEntry{{Id: aws.String("1"), ReceiptHandle: &x.handle}}})
	})
	add("GetQueueAttributes", func(x target) (any, error) {
		return c.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &x.url, AttributeNames: []types.QueueAttributeName{"All"}})
	})
	add("SetQueueAttributes", func(x target) (any, error) {
		return c.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: &x.url, Attributes: map[string]string{"DelaySeconds": "1"}})
	})
	add("PurgeQueue", func(x target) (any, error) { return c.PurgeQueue(ctx, &sqs.PurgeQueueInput{QueueUrl: &x.url}) })
	add("DeleteQueue", func(x target) (any, error) { return c.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: &x.url}) })
	add("TagQueue", func(x target) (any, error) {
		return c.TagQueue(ctx, &sqs.TagQueueInput{QueueUrl: &x.url, Tags: map[string]string{"a": "b"}})
	})
	add("UntagQueue", func(x target) (any, error) {
		return c.UntagQueue(ctx, &sqs.UntagQueueInput{QueueUrl: &x.url, TagKeys: []string{"a"}})
	})
	add("ListQueueTags", func(x target) (any, error) { return c.ListQueueTags(ctx, &sqs.ListQueueTagsInput{QueueUrl: &x.url}) })
	add("AddPermission", func(x target) (any, error) {
		return c.AddPermission(ctx, &sqs.AddPermissionInput{QueueUrl: &x.url, Label: aws.String("l"), AWSAccountIds: []string{"123456789012"}, Actions: []string{"*"}})
	})
	add("RemovePermission", func(x target) (any, error) {
		return c.RemovePermission(ctx, &sqs.RemovePermissionInput{QueueUrl: &x.url, Label: aws.String("l")})
	})
	add("ListDeadLetterSourceQueues", func(x target) (any, error) {
		return c.ListDeadLetterSourceQueues(ctx, &sqs.ListDeadLetterSourceQueuesInput{QueueUrl: &x.url})
	})
	add("StartMessageMoveTask", func(x target) (any, error) {
		return c.StartMessageMoveTask(ctx, &sqs.StartMessageMoveTaskInput{SourceArn: &x.arn})
	})
	add("ListMessageMoveTasks", func(x target) (any, error) {
		return c.ListMessageMoveTasks(ctx, &sqs.ListMessageMoveTasksInput{SourceArn: &x.arn})
	})
	add("CancelMessageMoveTask", func(x target) (any, error) {
		return c.CancelMessageMoveTask(ctx, &sqs.CancelMessageMoveTaskInput{TaskHandle: &x.task})
	})
	return all
}

// absent has the form of a namespace id.
var absent = "A" + strings.Repeat("B", 55)

// apart are the actions that name no existing queue by URL or ARN.
var apart = []string{"CreateQueue", "GetQueueUrl", "ListQueues"}

// queues calls every action with each way to name alice's queues.
func queues(t *testing.T, alice, bob *tenant) {
	ctx, c := t.Context(), bob.client
	text := regexp.MustCompile(`(RequestID: )[^,]*`)
	plain := func(err error) string {
		if err == nil {
			return "success"
		}
		return text.ReplaceAllString(err.Error(), "$1")
	}
	all := actions(ctx, c)
	for _, op := range front.Operations() {
		if op.Service == mnq.ServiceSQS && all[op.Name] == nil && !slices.Contains(apart, op.Name) {
			t.Errorf("%s is not tried", op.Name)
		}
	}
	hers := strings.ReplaceAll(alice.queue, "shared", "only-alice")
	missing := target{
		strings.ReplaceAll(bob.queue, "shared", "only-nobody"), bob.arn("nobody"), alice.handle,
		base64.StdEncoding.EncodeToString(fmt.Appendf(nil, `{"taskId":"0","sourceArn":%q}`, bob.arn("nobody"))),
	}
	for name, call := range all {
		want := call(missing)
		if code := mnqtest.ErrorCode(want); !strings.Contains(code, "NonExistentQueue") && code != "QueueDoesNotExist" && code != "ResourceNotFoundException" {
			t.Errorf("%s of a missing queue: %v", name, want)
			continue
		}
		for _, named := range []string{
			hers, strings.Replace(hers, "only-alice", "shared", 1), "only-alice",
			"http://sqs.example/" + alice.sqs + "/only-alice", "/" + alice.sqs + "/only-alice", "/project-" + alice.project + "/only-alice",
		} {
			if got := call(target{named, alice.arn("dead"), alice.handle, alice.task}); plain(got) != plain(want) {
				t.Errorf("%s of %s: %v, want %v", name, named, got, want)
			}
		}
	}
	for _, owner := range []*string{nil, &alice.sqs, aws.String("project-" + alice.project)} {
		_, err := c.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String("only-alice"), QueueOwnerAWSAccountId: owner})
		if code := mnqtest.ErrorCode(err); !strings.Contains(code, "NonExistentQueue") && code != "QueueDoesNotExist" {
			t.Errorf("GetQueueUrl with owner %s: %v", aws.ToString(owner), err)
		}
	}
	for what, use := range map[string]func(arn string) error{
		"a dead-letter queue": func(arn string) error {
			_, err := c.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("thief"), Attributes: map[string]string{
				"RedrivePolicy": fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":1}`, arn),
			}})
			return err
		},
		"the dead-letter queue of an existing queue": func(arn string) error {
			_, err := c.SetQueueAttributes(ctx, &sqs.SetQueueAttributesInput{QueueUrl: &bob.queue, Attributes: map[string]string{
				"RedrivePolicy": fmt.Sprintf(`{"deadLetterTargetArn":%q,"maxReceiveCount":1}`, arn),
			}})
			return err
		},
		"the destination of a move": func(arn string) error {
			_, err := c.StartMessageMoveTask(ctx, &sqs.StartMessageMoveTaskInput{SourceArn: aws.String(bob.arn("dead")), DestinationArn: &arn})
			return err
		},
	} {
		ask := func(arn string) string { return strings.ReplaceAll(plain(use(arn)), arn, "ARN") }
		theirs := ask(alice.arn("only-alice"))
		for _, nobodys := range []string{alice.arn("nobody"), strings.Replace(alice.arn("only-alice"), alice.sqs, absent, 1)} {
			if want := ask(nobodys); theirs == "success" || theirs != want {
				t.Errorf("alice's queue as %s: %s, want %s", what, theirs, want)
			}
		}
	}
}

// queuePaths posts every action to the path of one of alice's queues, in the Query
// protocol, which reads the queue from there.
func queuePaths(t *testing.T, p *mnqtest.Process, alice, bob *tenant) {
	params := map[string]string{
		"SendMessage": "MessageBody=x", "SendMessageBatch": "SendMessageBatchRequestEntry.1.Id=1&SendMessageBatchRequestEntry.1.MessageBody=x",
		"DeleteMessage":                "ReceiptHandle=" + url.QueryEscape(alice.handle),
		"DeleteMessageBatch":           "DeleteMessageBatchRequestEntry.1.Id=1&DeleteMessageBatchRequestEntry.1.ReceiptHandle=" + url.QueryEscape(alice.handle),
		"ChangeMessageVisibility":      "VisibilityTimeout=0&ReceiptHandle=" + url.QueryEscape(alice.handle),
		"ChangeMessageVisibilityBatch": "ChangeMessageVisibilityBatchRequestEntry.1.Id=1&ChangeMessageVisibilityBatchRequestEntry.1.ReceiptHandle=" + url.QueryEscape(alice.handle),
		"SetQueueAttributes":           "Attribute.1.Name=DelaySeconds&Attribute.1.Value=1", "TagQueue": "Tag.1.Key=a&Tag.1.Value=b", "UntagQueue": "TagKey.1=a",
		"AddPermission": "Label=l&AWSAccountId.1=123456789012&ActionName.1=*", "RemovePermission": "Label=l",
	}
	byARN := []string{"StartMessageMoveTask", "ListMessageMoveTasks", "CancelMessageMoveTask"}
	for name := range actions(t.Context(), bob.client) {
		if slices.Contains(byARN, name) { // the path says nothing to them
			continue
		}
		body := "Version=2012-11-05&Action=" + name + "&" + params[name]
		theirs := post(t, p.URL+"/"+alice.sqs+"/only-alice", body, bob.keys)
		missing := post(t, p.URL+"/"+bob.sqs+"/only-nobody", body, bob.keys)
		if theirs != missing || !strings.Contains(theirs, "NonExistentQueue") {
			t.Errorf("%s tells them apart:\n  theirs:  %s\n  missing: %s", name, theirs, missing)
		}
	}
}

var requestID = regexp.MustCompile(`<RequestId>[^<]*`)

// post signs and sends a form, and returns status and body without what is in
// every answer different.
func post(t *testing.T, to, form string, k mnqtest.Keys) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, to, strings.NewReader(form))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	sum := sha256.Sum256([]byte(form))
	who := aws.Credentials{AccessKeyID: k.Access, SecretAccessKey: k.Secret}
	if err := v4.NewSigner().SignHTTP(t.Context(), who, req, hex.EncodeToString(sum[:]), "sqs", "fr-par", time.Now()); err != nil {
		t.Fatal(err)
	}
	req.Body = io.NopCloser(bytes.NewReader([]byte(form)))
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.Status + " " + requestID.ReplaceAllString(string(answer), "")
}

// handles uses alice's receipt handles on a queue of bob's that has the same name.
func handles(t *testing.T, alice, bob *tenant) {
	for name, call := range actions(t.Context(), bob.client) {
		if !strings.HasPrefix(name, "DeleteMessage") && !strings.HasPrefix(name, "ChangeMessageVisibility") || strings.HasSuffix(name, "Batch") {
			continue
		}
		if e := mnqtest.WantCode(call(target{url: bob.queue, handle: alice.handle}), "ReceiptHandleIsInvalid"); e != nil {
			t.Errorf("%s: %v", name, e)
		}
	}
	out, err := bob.client.DeleteMessageBatch(t.Context(), &sqs.DeleteMessageBatchInput{QueueUrl: &bob.queue, Entries: []types.DeleteMessageBatchRequestEntry{
		{Id: aws.String("1"), ReceiptHandle: &alice.handle},
	}})
	if err != nil || len(out.Failed) != 1 || *out.Failed[0].Code != "ReceiptHandleIsInvalid" {
		t.Errorf("DeleteMessageBatch: %+v %v", out, err)
	}
	hidden, err := bob.client.ChangeMessageVisibilityBatch(t.Context(), &sqs.ChangeMessageVisibilityBatchInput{QueueUrl: &bob.queue, Entries: []types.ChangeMessageVisibilityBatchRequestEntry{
		{Id: aws.String("1"), ReceiptHandle: &alice.handle},
	}})
	if err != nil || len(hidden.Failed) != 1 || *hidden.Failed[0].Code != "ReceiptHandleIsInvalid" {
		t.Errorf("ChangeMessageVisibilityBatch: %+v %v", hidden, err)
	}
}
