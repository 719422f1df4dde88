package aws

import (
	"encoding/base64"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func (c *client) arn(name string) string { return "arn:scw:sqs:fr-par:" + c.ns.ID + ":" + name }

func (c *client) attributes(t *testing.T, url string) map[string]string {
	t.Helper()
	return do[getQueueAttributesOutput](t, c, "GetQueueAttributes", &getQueueAttributesInput{QueueUrl: url, AttributeNames: []string{"All"}}).Attributes
}

func (c *client) set(t *testing.T, url, name, value string) {
	t.Helper()
	do[none](t, c, "SetQueueAttributes", &setQueueAttributesInput{QueueUrl: url, Attributes: map[string]string{name: value}})
}

// receive takes one message, waiting for it.
func (c *client) receive(t *testing.T, url string, visibility integer) message {
	t.Helper()
	got := do[receiveMessageOutput](t, c, "ReceiveMessage", &receiveMessageInput{
		QueueUrl: url, AttributeNames: []string{"All"}, MessageAttributeNames: []string{"All"}, WaitTimeSeconds: new(integer(10)), VisibilityTimeout: &visibility,
	})
	if len(got.Messages) != 1 {
		t.Fatalf("%d messages", len(got.Messages))
	}
	return got.Messages[0]
}

func deadLetters(t *testing.T, _ *installation, c *client) {
	dlq := c.create(t, "dlq", nil)
	source := c.create(t, "source", map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"` + c.arn("dlq") + `","maxReceiveCount":"1"}`})
	if got, want := c.attributes(t, source)["RedrivePolicy"], `{"deadLetterTargetArn":"`+c.arn("dlq")+`","maxReceiveCount":1}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	sent := do[sendMessageOutput](t, c, "SendMessage", &sendMessageInput{
		QueueUrl: source, MessageBody: "x", MessageAttributes: map[string]attributeValue{"a": {DataType: "Number", StringValue: "1"}},
	})
	first := c.receive(t, source, 0)
	if got := do[receiveMessageOutput](t, c, "ReceiveMessage", &receiveMessageInput{QueueUrl: source}); len(got.Messages) != 0 {
		t.Errorf("%+v", got)
	}
	m := c.receive(t, dlq, 0)
	if m.MessageId != sent.MessageId || m.MD5OfMessageAttributes != sent.MD5OfMessageAttributes ||
		m.Attributes["DeadLetterQueueSourceArn"] != c.arn("source") || m.Attributes["ApproximateReceiveCount"] != "2" ||
		m.Attributes["SentTimestamp"] != first.Attributes["SentTimestamp"] {
		t.Errorf("%+v", m)
	}
	task := do[startMessageMoveTaskOutput](t, c, "StartMessageMoveTask", &startMessageMoveTaskInput{SourceArn: c.arn("dlq")})
	if b, err := base64.StdEncoding.DecodeString(task.TaskHandle); err != nil || !strings.Contains(string(b), `"sourceArn":"`+c.arn("dlq")+`"`) {
		t.Errorf("%s, %v", b, err)
	}
	back := c.receive(t, source, 30)
	if back.Body != "x" || back.MessageId == sent.MessageId || back.Attributes["ApproximateReceiveCount"] != "1" || back.Attributes["DeadLetterQueueSourceArn"] != "" {
		t.Errorf("%+v", back)
	}
	list := do[listMessageMoveTasksOutput](t, c, "ListMessageMoveTasks", &listMessageMoveTasksInput{SourceArn: c.arn("dlq"), MaxResults: new(integer(10))})
	if len(list.Results) != 1 || list.Results[0].SourceArn != c.arn("dlq") || list.Results[0].StartedTimestamp == 0 || list.Results[0].DestinationArn != "" {
		t.Errorf("%+v", list)
	}
}

func moveTasks(t *testing.T, _ *installation, c *client) {
	dlq := c.create(t, "dlq", nil)
	start := &startMessageMoveTaskInput{SourceArn: c.arn("dlq")}
	c.refused(t, "StartMessageMoveTask", start, "InvalidParameterValue", "Source queue must be configured as a Dead Letter Queue.")
	if a := c.call(t, "ListDeadLetterSourceQueues", &listDeadLetterSourceQueuesInput{QueueUrl: dlq}); a.json && strings.TrimSpace(string(a.body)) != `{"queueUrls":[]}` {
		t.Errorf("%s", a.body)
	}
	var urls []string
	for i := range 3 {
		urls = append(urls, c.create(t, fmt.Sprint("s", i), map[string]string{"RedrivePolicy": `{"deadLetterTargetArn":"` + c.arn("dlq") + `","maxReceiveCount":5}`}))
	}
	sources := do[listDeadLetterSourceQueuesOutput](t, c, "ListDeadLetterSourceQueues", &listDeadLetterSourceQueuesInput{QueueUrl: dlq})
	if diff := cmp.Diff(urls, sources.QueueUrls); diff != "" || sources.NextToken != "" {
		t.Error(diff, sources.NextToken)
	}
	page := do[listDeadLetterSourceQueuesOutput](t, c, "ListDeadLetterSourceQueues", &listDeadLetterSourceQueuesInput{QueueUrl: dlq, MaxResults: new(integer(2))})
	rest := do[listDeadLetterSourceQueuesOutput](t, c, "ListDeadLetterSourceQueues", &listDeadLetterSourceQueuesInput{QueueUrl: dlq, MaxResults: new(integer(2)), NextToken: page.NextToken})
	if len(page.QueueUrls) != 2 || len(rest.QueueUrls) != 1 || rest.NextToken != "" {
		t.Errorf("%+v, %+v", page, rest)
	}

	c.refused(t, "StartMessageMoveTask", &startMessageMoveTaskInput{SourceArn: "dlq"}, "InvalidParameterValue",
		"You must use this format to specify the SourceArn: arn:<partition>:<service>:<region>:<account-id>:<resource-id>")
	c.refused(t, "StartMessageMoveTask", &startMessageMoveTaskInput{SourceArn: c.arn("none")}, "ResourceNotFoundException",
		"The resource that you specified for the SourceArn parameter doesn't exist.")
	elsewhere := strings.Replace(c.arn("dlq"), "fr-par", "nl-ams", 1) // a queue of the same name in another region is not this one
	for action, in := range map[string]any{
		"StartMessageMoveTask": &startMessageMoveTaskInput{SourceArn: elsewhere}, "ListMessageMoveTasks": &listMessageMoveTasksInput{SourceArn: elsewhere},
	} {
		c.refused(t, action, in, "ResourceNotFoundException", "The resource that you specified for the SourceArn parameter doesn't exist.")
	}
	c.refused(t, "StartMessageMoveTask", &startMessageMoveTaskInput{SourceArn: c.arn("dlq"), DestinationArn: strings.Replace(c.arn("s0"), "fr-par", "nl-ams", 1)},
		"ResourceNotFoundException", "DestinationArn")
	c.refused(t, "StartMessageMoveTask", &startMessageMoveTaskInput{SourceArn: c.arn("dlq"), DestinationArn: c.arn("none")}, "ResourceNotFoundException",
		"The resource that you specified for the DestinationArn parameter doesn't exist.")
	c.refused(t, "ListMessageMoveTasks", &listMessageMoveTasksInput{SourceArn: c.arn("none")}, "ResourceNotFoundException", "SourceArn")
	c.refused(t, "ListMessageMoveTasks", &listMessageMoveTasksInput{SourceArn: c.arn("dlq"), MaxResults: new(integer(11))}, "InvalidParameterValue", "MaxResults")
	if a := c.call(t, "ListMessageMoveTasks", &listMessageMoveTasksInput{SourceArn: c.arn("dlq")}); strings.Contains(string(a.body), "Results") || a.status != 200 {
		t.Errorf("%d %s", a.status, a.body)
	}
	for range 5 {
		do[sendMessageOutput](t, c, "SendMessage", &sendMessageInput{QueueUrl: dlq, MessageBody: "x"})
	}
	slow := &startMessageMoveTaskInput{SourceArn: c.arn("dlq"), DestinationArn: c.arn("s0"), MaxNumberOfMessagesPerSecond: new(integer(1))}
	handle := do[startMessageMoveTaskOutput](t, c, "StartMessageMoveTask", slow).TaskHandle
	c.refused(t, "StartMessageMoveTask", start, "InvalidParameterValue",
		"There is already a task running. Only one active task is allowed for a source queue arn at a given time.")
	running := do[listMessageMoveTasksOutput](t, c, "ListMessageMoveTasks", &listMessageMoveTasksInput{SourceArn: c.arn("dlq")})
	if len(running.Results) != 1 || running.Results[0].TaskHandle != handle || running.Results[0].Status != "RUNNING" ||
		running.Results[0].DestinationArn != c.arn("s0") || *running.Results[0].MaxNumberOfMessagesPerSecond != 1 {
		t.Errorf("%+v", running.Results)
	}
	c.refused(t, "CancelMessageMoveTask", &cancelMessageMoveTaskInput{TaskHandle: "x"}, "InvalidParameterValue", "Value for parameter TaskHandle is invalid.")
	bad := base64.StdEncoding.EncodeToString([]byte(`{"taskId":"x","sourceArn":"` + c.arn("dlq") + `"}`))
	c.refused(t, "CancelMessageMoveTask", &cancelMessageMoveTaskInput{TaskHandle: bad}, "ResourceNotFoundException", "Task does not exist.")
	moved := do[cancelMessageMoveTaskOutput](t, c, "CancelMessageMoveTask", &cancelMessageMoveTaskInput{TaskHandle: handle})
	if moved.ApproximateNumberOfMessagesMoved == nil || *moved.ApproximateNumberOfMessagesMoved > 5 {
		t.Errorf("%+v", moved)
	}
	ended := do[listMessageMoveTasksOutput](t, c, "ListMessageMoveTasks", &listMessageMoveTasksInput{SourceArn: c.arn("dlq")})
	if s := ended.Results[0]; s.TaskHandle != "" || s.Status != "CANCELLING" && s.Status != "CANCELLED" {
		t.Errorf("%+v", s)
	}
}

func tags(t *testing.T, _ *installation, c *client) {
	url := do[queueURLOutput](t, c, "CreateQueue", &createQueueInput{QueueName: "q", Tags: map[string]string{"a": "1"}}).QueueUrl
	do[none](t, c, "TagQueue", &tagQueueInput{QueueUrl: url, Tags: map[string]string{"a": "2", "b": ""}})
	got := do[listQueueTagsOutput](t, c, "ListQueueTags", &addressedInput{QueueUrl: url})
	if diff := cmp.Diff(map[string]string{"a": "2", "b": ""}, got.Tags); diff != "" {
		t.Error(diff)
	}
	for key, value := range map[string]string{"": "1", strings.Repeat("k", 129): "1", "k": strings.Repeat("v", 257), "AWS:x": "1"} {
		c.refused(t, "TagQueue", &tagQueueInput{QueueUrl: url, Tags: map[string]string{key: value}}, "InvalidParameterValue", "Tag")
	}
	many := map[string]string{}
	for i := range 49 {
		many[fmt.Sprint("k", i)] = "v"
	}
	c.refused(t, "TagQueue", &tagQueueInput{QueueUrl: url, Tags: many}, "InvalidParameterValue", "Too many tags added for queue q.")
	many["x"], many["y"] = "", ""
	c.refused(t, "CreateQueue", &createQueueInput{QueueName: "other", Tags: many}, "InvalidParameterValue", "Too many tags added for queue other.")
	c.refused(t, "TagQueue", &tagQueueInput{QueueUrl: url}, "MissingParameter", "The request must contain the parameter Tags.")
	c.refused(t, "UntagQueue", &untagQueueInput{QueueUrl: url}, "MissingParameter", "The request must contain the parameter TagKeys.")
	do[none](t, c, "UntagQueue", &untagQueueInput{QueueUrl: url, TagKeys: []string{"a", "b", "none"}})
	if a := c.call(t, "ListQueueTags", &addressedInput{QueueUrl: url}); strings.Contains(string(a.body), "Tag>") || strings.Contains(string(a.body), `"Tags"`) {
		t.Errorf("%s", a.body)
	}
}

func policies(t *testing.T, i *installation, c *client) {
	guest, stranger := i.tenant(t, c.w), i.tenant(t, c.w)
	url := c.create(t, "q", nil)
	refusedAs := func(who *client, action string, in any) {
		t.Helper()
		want := who.call(t, action, in)
		if want.code != "AWS.SimpleQueueService.NonExistentQueue" {
			t.Errorf("%s: %d %s %s", action, want.status, want.code, want.msg)
		}
	}
	send := &sendMessageInput{QueueUrl: url, MessageBody: "from a guest"}
	refusedAs(guest, "SendMessage", send)
	do[none](t, c, "AddPermission", &addPermissionInput{QueueUrl: url, Label: "one", AWSAccountIds: []string{guest.ns.ID}, Actions: []string{"SendMessage"}})
	want := `{"Version":"2008-10-17","Id":"` + c.arn("q") + `/SQSDefaultPolicy","Statement":[{"Sid":"one","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` +
		guest.ns.ID + `:root"},"Action":"SQS:SendMessage","Resource":"` + c.arn("q") + `"}]}`
	if got := c.attributes(t, url)["Policy"]; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	do[sendMessageOutput](t, guest, "SendMessage", send)
	batch := &sendMessageBatchInput{QueueUrl: url, Entries: []sendEntry{{Id: "1", MessageBody: "another"}}}
	if got := do[sendMessageBatchOutput](t, guest, "SendMessageBatch", batch); len(got.Successful) != 1 {
		t.Errorf("%+v", got)
	}
	refusedAs(stranger, "SendMessage", send)
	refusedAs(guest, "ReceiveMessage", &receiveMessageInput{QueueUrl: url})
	refusedAs(guest, "GetQueueUrl", &getQueueURLInput{QueueName: "q", QueueOwnerAWSAccountId: c.ns.ID})
	for _, action := range []string{"DeleteQueue", "ListQueueTags"} {
		refusedAs(guest, action, &addressedInput{QueueUrl: url})
	}
	c.refused(t, "AddPermission", &addPermissionInput{QueueUrl: url, Label: "one", AWSAccountIds: []string{guest.ns.ID}, Actions: []string{"*"}},
		"InvalidParameterValue", "Value one for parameter Label is invalid. Reason: Already exists.")
	do[none](t, c, "AddPermission", &addPermissionInput{QueueUrl: url, Label: "all", AWSAccountIds: []string{guest.ns.ID, stranger.ns.ID}, Actions: []string{"*"}})
	if got := do[queueURLOutput](t, guest, "GetQueueUrl", &getQueueURLInput{QueueName: "q", QueueOwnerAWSAccountId: c.ns.ID}).QueueUrl; got != url {
		t.Errorf("%s, want %s", got, url)
	}
	m := guest.receive(t, url, 30)
	do[none](t, stranger, "DeleteMessage", &deleteMessageInput{QueueUrl: url, ReceiptHandle: m.ReceiptHandle})
	if got := guest.attributes(t, url)["QueueArn"]; got != c.arn("q") {
		t.Error(got)
	}
	refusedAs(guest, "SetQueueAttributes", &setQueueAttributesInput{QueueUrl: url, Attributes: map[string]string{"Policy": ""}})

	c.set(t, url, "Policy", `{"Version":"2012-10-17","Statement":[
		{"Effect":"Allow","Principal":"*","Action":"sqs:*","Resource":"arn:aws:sqs:*:*:q"},
		{"Effect":"Deny","Principal":{"AWS":["`+stranger.ns.ID+`"]},"Action":["SQS:Send*"],"Resource":"*"},
		{"Effect":"Deny","Principal":"*","Action":"SQS:PurgeQueue","Resource":"*","Condition":{"Bool":{"aws:SecureTransport":false}}}]}`)
	do[sendMessageOutput](t, guest, "SendMessage", send)
	refusedAs(stranger, "SendMessage", send)
	do[sendMessageOutput](t, c, "SendMessage", send)
	c.refused(t, "PurgeQueue", &addressedInput{QueueUrl: url}, "AccessDenied", "Access to the resource")
	c.set(t, url, "Policy", "")
	if got, ok := c.attributes(t, url)["Policy"]; ok {
		t.Error(got)
	}
	refusedAs(guest, "SendMessage", send)
}

func policiesAreChecked(t *testing.T, _ *installation, c *client) {
	url := c.create(t, "q", nil)
	add := func(label string, accounts, actions []string) *addPermissionInput {
		return &addPermissionInput{QueueUrl: url, Label: label, AWSAccountIds: accounts, Actions: actions}
	}
	some := []string{"123456789012"}
	c.refused(t, "AddPermission", add("l", some, nil), "MissingParameter", "The request must contain the parameter Actions.")
	c.refused(t, "AddPermission", add("l", nil, []string{"*"}), "InvalidParameterValue", "Value [] for parameter PrincipalId is invalid. Reason: Unable to verify.")
	c.refused(t, "AddPermission", add("l", []string{"bob"}, []string{"*"}), "InvalidParameterValue", "Unable to verify.")
	c.refused(t, "AddPermission", add("a b", some, []string{"*"}), "InvalidParameterValue", "Value a b for parameter Label is invalid.")
	c.refused(t, "AddPermission", add("l", some, []string{"RemovePermission"}), "InvalidParameterValue",
		"Value SQS:RemovePermission for parameter ActionName is invalid. Reason: Only the queue owner is allowed to invoke this action.")
	c.refused(t, "AddPermission", add("l", some, []string{"Foo"}), "InvalidParameterValue", "Value SQS:Foo for parameter ActionName is invalid.")
	c.refused(t, "AddPermission", add("l", some, strings.Split(strings.Repeat("SendMessage ", 7)+"SendMessage", " ")), "OverLimit", "8 Actions were found, maximum allowed is 7.")
	c.refused(t, "RemovePermission", &removePermissionInput{QueueUrl: url, Label: "none"}, "InvalidParameterValue",
		"Value none for parameter Label is invalid. Reason: can't find label.")
	do[none](t, c, "AddPermission", add("l", some, []string{"SendMessage", "ReceiveMessage"}))
	do[none](t, c, "RemovePermission", &removePermissionInput{QueueUrl: url, Label: "l"})
	if got, ok := c.attributes(t, url)["Policy"]; ok {
		t.Error(got)
	}
	for _, policy := range []string{
		"x", "{}", `{"Statement":[]}`, `{"Statement":[{"Effect":"Perhaps","Principal":"*","Action":"*"}]}`, `{"Statement":[{"Effect":"Allow","Action":"*"}]}`,
		`{"Statement":[{"Effect":"Allow","Principal":"*"}]}`, `{"Statement":[` + strings.Repeat(`{"Effect":"Allow","Principal":"*","Action":"*"},`, 20) + `{"Effect":"Allow","Principal":"*","Action":"*"}]}`,
		`{"Id":"` + strings.Repeat("x", 8192) + `"}`,
	} {
		c.refused(t, "SetQueueAttributes", &setQueueAttributesInput{QueueUrl: url, Attributes: map[string]string{"Policy": policy}},
			"InvalidAttributeValue", "Invalid value for the parameter Policy.")
	}
}

func encryption(t *testing.T, _ *installation, c *client) {
	url := c.create(t, "q", nil)
	part := func() map[string]string {
		got := maps.Clone(c.attributes(t, url))
		maps.DeleteFunc(got, func(name, _ string) bool { return !strings.HasPrefix(name, "Kms") && name != "SqsManagedSseEnabled" })
		return got
	}
	check := func(want map[string]string) {
		t.Helper()
		if diff := cmp.Diff(want, part()); diff != "" {
			t.Error(diff)
		}
	}
	check(map[string]string{"SqsManagedSseEnabled": "true"})
	c.set(t, url, "KmsMasterKeyId", "alias/aws/sqs")
	c.set(t, url, "KmsDataKeyReusePeriodSeconds", "60")
	check(map[string]string{"SqsManagedSseEnabled": "false", "KmsMasterKeyId": "alias/aws/sqs", "KmsDataKeyReusePeriodSeconds": "60"})
	c.set(t, url, "KmsMasterKeyId", "")
	check(map[string]string{"SqsManagedSseEnabled": "false", "KmsDataKeyReusePeriodSeconds": "60"})
	both := map[string]string{"KmsMasterKeyId": "x", "SqsManagedSseEnabled": "true"}
	c.refused(t, "SetQueueAttributes", &setQueueAttributesInput{QueueUrl: url, Attributes: both}, "InvalidAttributeName", "You can use one type of server-side encryption (SSE) at one time.")
	for name, value := range map[string]string{"KmsDataKeyReusePeriodSeconds": "59", "SqsManagedSseEnabled": "maybe", "KmsMasterKeyId": "a b"} {
		c.refused(t, "SetQueueAttributes", &setQueueAttributesInput{QueueUrl: url, Attributes: map[string]string{name: value}},
			"InvalidAttributeValue", "Invalid value for the parameter "+name+".")
	}
}
