package aws

import (
	"context"
	"io"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	sdkaws "github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/node"
	"github.com/openmnq/mnq/queue"
	"github.com/openmnq/mnq/tenant"
	"github.com/openmnq/mnq/topic"
)

// installation is the front door over everything real: embedded NATS, directory,
// queues.
type installation struct {
	h   *Handler
	dir *tenant.Directory
}

func install(t *testing.T, change func(*Config)) *installation {
	t.Helper()
	ctx, data := context.Background(), t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	stop := func(f func(context.Context) error) {
		t.Cleanup(func() {
			if err := f(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	n, err := node.New(node.Config{DataDir: data, Fsync: node.FsyncInterval})
	must(err)
	must(n.Start(ctx))
	stop(n.Stop)
	dir, err := tenant.New(tenant.Config{Node: n, DataDir: data})
	must(err)
	must(dir.Start(ctx))
	stop(dir.Stop)
	queues, err := queue.New(queue.Config{
		Connect: dir.Connect, Control: n.Control(), HandleKey: []byte(strings.Repeat("k", 32)),
	})
	must(err)
	must(queues.Start(ctx))
	stop(queues.Stop)
	topics, err := topic.New(topic.Config{
		Connect: dir.Connect, Control: n.Control(), Queues: queues, Namespace: dir.Namespace,
		Key: [32]byte{1}, PublicURL: func() string { return "http://mq.test" }, Undelivered: true,
	})
	must(err)
	must(topics.Start(ctx))
	stop(topics.Stop)
	cfg := Config{Directory: dir, Queues: queues, Topics: topics, Region: "fr-par"}
	if change != nil {
		change(&cfg)
	}
	h, err := New(cfg)
	must(err)
	return &installation{h: h, dir: dir}
}

// client is one credential's holder, speaking one protocol.
type client struct {
	w     wire
	h     *Handler
	ns    mnq.Namespace
	creds sdkaws.Credentials
}

var allPermissions = mnq.Permissions{CanPublish: true, CanReceive: true, CanManage: true}

// tenant makes a namespace with a credential that may do everything.
func (i *installation) tenant(t *testing.T, w wire) *client {
	t.Helper()
	ns, err := i.dir.CreateNamespace(t.Context(), tenant.NewNamespace{
		Name: "n", Protocol: mnq.ProtocolSQSSNS, ProjectID: i.dir.DefaultProjectID(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return i.credential(t, &client{w: w, h: i.h, ns: ns}, allPermissions)
}

// credential makes another credential for c's namespace.
func (i *installation) credential(t *testing.T, c *client, p mnq.Permissions) *client {
	t.Helper()
	cred, secret, err := i.dir.CreateCredential(t.Context(), tenant.NewCredential{
		Name: "c", NamespaceID: c.ns.ID, ProjectID: c.ns.ProjectID, Permissions: p,
	})
	if err != nil {
		t.Fatal(err)
	}
	other := *c
	other.creds = sdkaws.Credentials{AccessKeyID: cred.AccessKey, SecretAccessKey: secret.SecretKey.Reveal()}
	return &other
}

func (c *client) call(t *testing.T, action string, in any) answer {
	t.Helper()
	r := signAs(t, c.w.request(t, action, in), c.creds, c.w.scope, time.Now())
	w := httptest.NewRecorder()
	c.h.ServeHTTP(w, r)
	return readAnswer(w)
}

func do[Out any](t *testing.T, c *client, action string, in any) *Out {
	t.Helper()
	out := new(Out)
	c.call(t, action, in).into(t, action, out)
	return out
}

// refused holds an answer to a Query code, which both protocols tell.
func (c *client) refused(t *testing.T, action string, in any, code, text string) {
	t.Helper()
	a := c.call(t, action, in)
	if a.code != code || !strings.Contains(a.msg, text) {
		t.Errorf("%s: got %d %s %q, want %s with %q", action, a.status, a.code, a.msg, code, text)
	}
}

func (c *client) create(t *testing.T, name string, attributes map[string]string) string {
	t.Helper()
	return do[queueURLOutput](t, c, "CreateQueue", &createQueueInput{QueueName: name, Attributes: attributes}).QueueUrl
}

// scenarios hold for both protocols alike. Each has a namespace of its own.
var scenarios = []struct {
	name string
	run  func(t *testing.T, i *installation, c *client)
}{
	{"MessageGoesThrough", messageGoesThrough},
	{"QueuesAreListedInPages", queuesAreListed},
	{"QueueAttributesAreKept", queueAttributes},
	{"BatchesTellEachEntry", batches},
	{"BatchesAreRefusedAsAWhole", wholeBatches},
	{"MessagesAreChecked", messagesAreChecked},
	{"ReceivesAreChecked", receivesAreChecked},
	{"AttributeFiltersChooseWhatIsReturned", attributeFilters},
	{"VisibilityIsChanged", visibility},
	{"QueuesAreAddressedByURLPathAndName", addresses},
	{"MissingQueuesLookAlike", missingQueues},
	{"PermissionsAreNeeded", permissions},
	{"AllActionsAreThereAndNoOthers", unsupported},
	{"FIFOQueuesKeepOrderAndDeduplicate", fifoQueues},
	{"FIFOSendsAreChecked", fifoChecks},
	{"FIFOAttributesAreChecked", fifoAttributes},
	{"PurgedAndDeleted", purgedAndDeleted},
	{"DeadLettersMoveAndComeBack", deadLetters},
	{"MoveTasksAreChecked", moveTasks},
	{"TagsAreKept", tags},
	{"PoliciesAreBuiltAndEnforced", policies},
	{"PoliciesAreChecked", policiesAreChecked},
	{"EncryptionIsReported", encryption},
}

func TestConformance(t *testing.T) {
	t.Parallel()
	i := install(t, nil)
	for _, w := range wires {
		for _, s := range scenarios {
			t.Run(w.name+"/"+s.name, func(t *testing.T) {
				t.Parallel()
				s.run(t, i, i.tenant(t, w))
			})
		}
	}
}

func messageGoesThrough(t *testing.T, _ *installation, c *client) {
	url := c.create(t, "q", nil)
	if want := "http://mq.test/" + c.ns.ID + "/q"; url != want {
		t.Errorf("queue URL %s, want %s", url, want)
	}
	const body = "tab\tline\r\n<é & \U0001F600>"
	attributes := map[string]attributeValue{
		"text": {DataType: "String.json", StringValue: "{}"},
		"n":    {DataType: "Number", StringValue: "1.5e3"},
		"b":    {DataType: "Binary", BinaryValue: []byte{0, 255, 1}},
	}
	sent := do[sendMessageOutput](t, c, "SendMessage", &sendMessageInput{
		QueueUrl: url, MessageBody: body, MessageAttributes: attributes, MessageGroupId: new("g"),
		MessageSystemAttributes: map[string]attributeValue{"AWSTraceHeader": {DataType: "String", StringValue: "Root=1"}},
	})
	if sent.MD5OfMessageBody != bodyMD5(body) || sent.MD5OfMessageAttributes == "" || sent.MD5OfMessageSystemAttributes == "" || sent.MessageId == "" {
		t.Errorf("sent %+v", sent)
	}
	got := do[receiveMessageOutput](t, c, "ReceiveMessage", &receiveMessageInput{
		QueueUrl: url, AttributeNames: []string{"SenderId", "Policy"}, MessageSystemAttributeNames: []string{"All"},
		MessageAttributeNames: []string{"All"}, WaitTimeSeconds: new(integer(5)),
	})
	if len(got.Messages) != 1 {
		t.Fatalf("%d messages", len(got.Messages))
	}
	m := got.Messages[0]
	if m.Body != body || m.MD5OfBody != sent.MD5OfMessageBody || m.MessageId != sent.MessageId || m.MD5OfMessageAttributes != sent.MD5OfMessageAttributes {
		t.Errorf("received %+v, sent %+v", m, sent)
	}
	if diff := cmp.Diff(attributes, m.MessageAttributes); diff != "" {
		t.Error(diff)
	}
	for name, want := range map[string]string{"ApproximateReceiveCount": "1", "AWSTraceHeader": "Root=1", "MessageGroupId": "g"} {
		if m.Attributes[name] != want {
			t.Errorf("%s is %q, want %q", name, m.Attributes[name], want)
		}
	}
	for _, name := range []string{"SenderId", "SentTimestamp", "ApproximateFirstReceiveTimestamp"} {
		if m.Attributes[name] == "" {
			t.Errorf("no %s", name)
		}
	}
	for range 2 { // deleting twice succeeds
		do[none](t, c, "DeleteMessage", &deleteMessageInput{QueueUrl: url, ReceiptHandle: m.ReceiptHandle})
	}
	empty := c.call(t, "ReceiveMessage", &receiveMessageInput{QueueUrl: url})
	if strings.Contains(string(empty.body), "Messages") || strings.Contains(string(empty.body), "<Message>") {
		t.Errorf("empty answer has messages: %s", empty.body)
	}
	c.refused(t, "DeleteMessage", &deleteMessageInput{QueueUrl: url, ReceiptHandle: "garbage"},
		"ReceiptHandleIsInvalid", `The input receipt handle "garbage" is not a valid receipt handle.`)
}

func queuesAreListed(t *testing.T, _ *installation, c *client) {
	if a := c.call(t, "ListQueues", &listQueuesInput{}); strings.Contains(string(a.body), "QueueUrl") {
		t.Errorf("empty list: %s", a.body)
	}
	for _, name := range []string{"b1", "a1", "a2", "a3"} {
		c.create(t, name, nil)
	}
	all := do[listQueuesOutput](t, c, "ListQueues", &listQueuesInput{QueueNamePrefix: "a"})
	if len(all.QueueUrls) != 3 || all.NextToken != "" {
		t.Errorf("%+v", all)
	}
	first := do[listQueuesOutput](t, c, "ListQueues", &listQueuesInput{QueueNamePrefix: "a", MaxResults: new(integer(2))})
	rest := do[listQueuesOutput](t, c, "ListQueues", &listQueuesInput{QueueNamePrefix: "a", MaxResults: new(integer(2)), NextToken: first.NextToken})
	if diff := cmp.Diff(all.QueueUrls, slices.Concat(first.QueueUrls, rest.QueueUrls)); diff != "" || rest.NextToken != "" {
		t.Errorf("pages differ from the whole (%q): %s", rest.NextToken, diff)
	}
	c.refused(t, "ListQueues", &listQueuesInput{NextToken: first.NextToken}, "InvalidParameterValue", "NextToken")
	c.refused(t, "ListQueues", &listQueuesInput{MaxResults: new(integer(1001))}, "InvalidParameterValue", "Value 1001 for parameter MaxResults")
	got := do[queueURLOutput](t, c, "GetQueueUrl", &getQueueURLInput{QueueName: "b1", QueueOwnerAWSAccountId: c.ns.ID})
	if !strings.HasSuffix(got.QueueUrl, "/b1") {
		t.Error(got.QueueUrl)
	}
}

func queueAttributes(t *testing.T, _ *installation, c *client) {
	url := c.create(t, "q", map[string]string{"VisibilityTimeout": "7"})
	if again := c.create(t, "q", map[string]string{"VisibilityTimeout": "7"}); again != url {
		t.Errorf("%s, then %s", url, again)
	}
	c.refused(t, "CreateQueue", &createQueueInput{QueueName: "q", Attributes: map[string]string{"VisibilityTimeout": "8"}},
		"QueueAlreadyExists", "A queue already exists with the same name and a different value for attribute VisibilityTimeout")
	c.refused(t, "CreateQueue", &createQueueInput{QueueName: "q!"}, "InvalidParameterValue", "Can only include alphanumeric characters, hyphens, or underscores.")
	c.refused(t, "CreateQueue", &createQueueInput{}, "MissingParameter", "The request must contain the parameter QueueName.")
	c.refused(t, "CreateQueue", &createQueueInput{QueueName: "x", Attributes: map[string]string{"Foobar": "1"}}, "InvalidAttributeName", "Unknown Attribute Foobar.")
	c.refused(t, "CreateQueue", &createQueueInput{QueueName: "x", Attributes: map[string]string{"DelaySeconds": "901"}}, "InvalidAttributeValue", "Invalid value for the parameter DelaySeconds.")

	do[none](t, c, "SetQueueAttributes", &setQueueAttributesInput{QueueUrl: url, Attributes: map[string]string{"DelaySeconds": "3", "VisibilityTimeout": "9"}})
	c.refused(t, "SetQueueAttributes", &setQueueAttributesInput{QueueUrl: url}, "MissingParameter", "Attributes")
	got := do[getQueueAttributesOutput](t, c, "GetQueueAttributes", &getQueueAttributesInput{QueueUrl: url, AttributeNames: []string{"All"}})
	for name, want := range map[string]string{
		"DelaySeconds": "3", "VisibilityTimeout": "9", "QueueArn": "arn:scw:sqs:fr-par:" + c.ns.ID + ":q", "ApproximateNumberOfMessages": "0",
	} {
		if got.Attributes[name] != want {
			t.Errorf("%s is %q, want %q", name, got.Attributes[name], want)
		}
	}
	if a := c.call(t, "GetQueueAttributes", &getQueueAttributesInput{QueueUrl: url}); strings.Contains(string(a.body), "<Attribute>") || strings.Contains(string(a.body), `"Attributes"`) {
		t.Errorf("nothing was asked for: %s", a.body)
	}
	c.refused(t, "GetQueueAttributes", &getQueueAttributesInput{QueueUrl: url, AttributeNames: []string{"Foobar"}}, "InvalidAttributeName", "Unknown Attribute Foobar.")
}

func batches(t *testing.T, _ *installation, c *client) {
	url := c.create(t, "q", map[string]string{"MaximumMessageSize": "1024"})
	sent := do[sendMessageBatchOutput](t, c, "SendMessageBatch", &sendMessageBatchInput{QueueUrl: url, Entries: []sendEntry{
		{Id: "good", MessageBody: "1", MessageAttributes: map[string]attributeValue{"a": {DataType: "String", StringValue: "v"}}},
		{Id: "long", MessageBody: strings.Repeat("x", 1025)},
		{Id: "late", MessageBody: "2", DelaySeconds: new(integer(901))},
		{Id: "empty"},
		{Id: "also-good", MessageBody: "3"},
	}})
	if len(sent.Successful) != 2 || sent.Successful[0].Id != "good" || sent.Successful[0].MD5OfMessageAttributes == "" || sent.Successful[1].Id != "also-good" {
		t.Errorf("successful: %+v", sent.Successful)
	}
	want := []batchResultError{
		{Id: "long", SenderFault: true, Code: "InvalidParameterValue", Message: "One or more parameters cannot be validated. Reason: Message must be shorter than 1024 bytes."},
		{Id: "late", SenderFault: true, Code: "InvalidParameterValue", Message: "Value 901 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900."},
		{Id: "empty", SenderFault: true, Code: "MissingParameter", Message: "The request must contain the parameter MessageBody."},
	}
	if diff := cmp.Diff(want, sent.Failed); diff != "" {
		t.Error(diff)
	}
	var handles []string
	for range 3 {
		got := do[receiveMessageOutput](t, c, "ReceiveMessage", &receiveMessageInput{QueueUrl: url, MaxNumberOfMessages: new(integer(10)), WaitTimeSeconds: new(integer(2))})
		for _, m := range got.Messages {
			handles = append(handles, m.ReceiptHandle)
		}
		if len(handles) == 2 {
			break
		}
	}
	if len(handles) != 2 {
		t.Fatalf("%d messages", len(handles))
	}
	changed := do[changeVisibilityBatchOutput](t, c, "ChangeMessageVisibilityBatch", &changeVisibilityBatchInput{QueueUrl: url, Entries: []visibilityEntry{
		{Id: "1", ReceiptHandle: handles[0], VisibilityTimeout: new(integer(60))},
		{Id: "2", ReceiptHandle: handles[1], VisibilityTimeout: new(integer(43201))},
		{Id: "3", ReceiptHandle: "garbage", VisibilityTimeout: new(integer(1))},
		{Id: "4", ReceiptHandle: handles[1]},
	}})
	if len(changed.Successful) != 1 || changed.Successful[0].Id != "1" {
		t.Errorf("changed: %+v", changed.Successful)
	}
	codes := map[string]string{}
	for _, f := range changed.Failed {
		codes[f.Id] = f.Code
	}
	if diff := cmp.Diff(map[string]string{"2": "InvalidParameterValue", "3": "ReceiptHandleIsInvalid", "4": "MissingParameter"}, codes); diff != "" {
		t.Error(diff)
	}
	deleted := do[deleteMessageBatchOutput](t, c, "DeleteMessageBatch", &deleteMessageBatchInput{QueueUrl: url, Entries: []deleteEntry{
		{Id: "1", ReceiptHandle: handles[0]}, {Id: "2", ReceiptHandle: handles[1]}, {Id: "3", ReceiptHandle: "garbage"},
	}})
	if len(deleted.Successful) != 2 || len(deleted.Failed) != 1 || deleted.Failed[0].Code != "ReceiptHandleIsInvalid" || !deleted.Failed[0].SenderFault {
		t.Errorf("deleted: %+v", deleted)
	}
}

func wholeBatches(t *testing.T, _ *installation, c *client) {
	url := c.create(t, "q", nil)
	send := func(code, text string, ids ...string) {
		t.Helper()
		in := &sendMessageBatchInput{QueueUrl: url}
		for _, id := range ids {
			in.Entries = append(in.Entries, sendEntry{Id: id, MessageBody: "x"})
		}
		c.refused(t, "SendMessageBatch", in, "AWS.SimpleQueueService."+code, text)
	}
	send("EmptyBatchRequest", "There should be at least one SendMessageBatchRequestEntry in the request.")
	send("TooManyEntriesInBatchRequest", "Maximum number of entries per request are 10. You have sent 11.", strings.Split("abcdefghijk", "")...)
	send("InvalidBatchEntryId", "A batch entry id can only contain alphanumeric characters, hyphens and underscores.", "a", "b c")
	send("InvalidBatchEntryId", "at most 80", strings.Repeat("x", 81))
	send("BatchEntryIdsNotDistinct", "Id b repeated.", "a", "b", "b")
	half := strings.Repeat("x", 1<<19)
	c.refused(t, "SendMessageBatch", &sendMessageBatchInput{QueueUrl: url, Entries: []sendEntry{{Id: "1", MessageBody: half}, {Id: "2", MessageBody: half + "x"}}},
		"AWS.SimpleQueueService.BatchRequestTooLong", "Batch requests cannot be longer than 1048576 bytes. You have sent 1048577 bytes.")
	c.refused(t, "DeleteMessageBatch", &deleteMessageBatchInput{QueueUrl: url}, "AWS.SimpleQueueService.EmptyBatchRequest", "DeleteMessageBatchRequestEntry")
	c.refused(t, "ChangeMessageVisibilityBatch", &changeVisibilityBatchInput{QueueUrl: url}, "AWS.SimpleQueueService.EmptyBatchRequest", "ChangeMessageVisibilityBatchRequestEntry")
}

func messagesAreChecked(t *testing.T, _ *installation, c *client) {
	url := c.create(t, "q", map[string]string{"MaximumMessageSize": "1024"})
	attribute := func(name, dataType, value string) *sendMessageInput {
		return &sendMessageInput{QueueUrl: url, MessageBody: "x", MessageAttributes: map[string]attributeValue{name: {DataType: dataType, StringValue: value}}}
	}
	eleven := &sendMessageInput{QueueUrl: url, MessageBody: "x", MessageAttributes: map[string]attributeValue{}}
	for name := range strings.SplitSeq("abcdefghijk", "") {
		eleven.MessageAttributes[name] = attributeValue{DataType: "String", StringValue: "x"}
	}
	listed := attribute("a", "String", "x")
	listed.MessageAttributes["a"] = attributeValue{DataType: "String", StringListValues: []string{"x"}}
	const value, contents = "InvalidParameterValue", "InvalidMessageContents"
	cases := []struct {
		in         *sendMessageInput
		code, text string
	}{
		{&sendMessageInput{QueueUrl: url}, "MissingParameter", "The request must contain the parameter MessageBody."},
		{&sendMessageInput{MessageBody: "x"}, "MissingParameter", "The request must contain the parameter QueueUrl."},
		{&sendMessageInput{QueueUrl: url, MessageBody: "\x01"}, contents, "Invalid characters found."},
		{&sendMessageInput{QueueUrl: url, MessageBody: "\uFFFE"}, contents, "Invalid characters found."},
		{&sendMessageInput{QueueUrl: url, MessageBody: strings.Repeat("x", 1025)}, value, "One or more parameters are invalid. Reason: Message must be shorter than 1024 bytes."},
		{&sendMessageInput{QueueUrl: url, MessageBody: "x", DelaySeconds: new(integer(-1))}, value, "Value -1 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900."},
		{&sendMessageInput{QueueUrl: url, MessageBody: "x", MessageGroupId: new("")}, value, "Value  for parameter MessageGroupId is invalid. Reason: MessageGroupId can only include alphanumeric and punctuation characters. 1 to 128 in length."},
		{&sendMessageInput{QueueUrl: url, MessageBody: "x", MessageDeduplicationId: new("")}, value, "Value  for parameter MessageDeduplicationId is invalid. Reason: MessageDeduplicationId can only include"},
		{&sendMessageInput{QueueUrl: url, MessageBody: "x", MessageGroupId: new("a b")}, value, "Value a b for parameter MessageGroupId is invalid. Reason: MessageGroupId can only include"},
		{&sendMessageInput{QueueUrl: url, MessageBody: "x", MessageDeduplicationId: new("d")}, value, "Value d for parameter MessageDeduplicationId is invalid. Reason: The request includes a parameter that is not valid for this queue type."},
		{&sendMessageInput{QueueUrl: url, MessageBody: "x", MessageDeduplicationId: new(strings.Repeat("d", 129))}, value, "1 to 128 in length."},
		{&sendMessageInput{QueueUrl: url, MessageBody: "x", MessageSystemAttributes: map[string]attributeValue{"Foo": {DataType: "String", StringValue: "x"}}}, value, "AWSTraceHeader"},
		{attribute("a", "String", ""), value, "Message (user) attribute 'a' must contain a non-empty value of type 'String'."},
		{attribute("a", "Binary", "x"), value, "must contain a non-empty value of type 'Binary'."},
		{attribute("a", "Stringy", "x"), value, "The message attribute 'a' has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String."},
		{attribute("a", "Number", "one"), value, "number"},
		{attribute("a", "Number", "1e127"), value, "number"},
		{attribute("a!", "String", "x"), value, "can only contain upper and lower score characters"},
		{attribute("AWS.a", "String", "x"), value, "You can't use message attribute names beginning with 'AWS.' or 'Amazon.'."},
		{attribute("a..b", "String", "x"), value, "You can't use message attribute names"},
		{attribute(strings.Repeat("a", 257), "String", "x"), value, "must be shorter than 256 Bytes"},
		{eleven, value, "Number of message attributes [11] exceeds the allowed maximum [10]."},
		{listed, "AWS.SimpleQueueService.UnsupportedOperation", "not supported"},
	}
	for _, tc := range cases {
		c.refused(t, "SendMessage", tc.in, tc.code, tc.text)
	}
}

func receivesAreChecked(t *testing.T, _ *installation, c *client) {
	url := c.create(t, "q", nil)
	for text, in := range map[string]*receiveMessageInput{
		"Value 11 for parameter MaxNumberOfMessages is invalid. Reason: Must be between 1 and 10, if provided.": {QueueUrl: url, MaxNumberOfMessages: new(integer(11))},
		"Value 0 for parameter MaxNumberOfMessages":                                                             {QueueUrl: url, MaxNumberOfMessages: new(integer(0))},
		"Value -1 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided.":       {QueueUrl: url, WaitTimeSeconds: new(integer(-1))},
		"Value 21 for parameter WaitTimeSeconds is invalid. Reason: Must be >= 0 and <= 20, if provided.":       {QueueUrl: url, WaitTimeSeconds: new(integer(21))},
		"Value 43201 for parameter VisibilityTimeout":                                                           {QueueUrl: url, VisibilityTimeout: new(integer(43201))},
	} {
		c.refused(t, "ReceiveMessage", in, "InvalidParameterValue", text)
	}
	c.refused(t, "ReceiveMessage", &receiveMessageInput{QueueUrl: url, AttributeNames: []string{"Foobar"}}, "InvalidAttributeName", "Unknown Attribute Foobar.")
}

func attributeFilters(t *testing.T, _ *installation, c *client) {
	url := c.create(t, "q", nil)
	text := attributeValue{DataType: "String", StringValue: "x"}
	do[sendMessageOutput](t, c, "SendMessage", &sendMessageInput{QueueUrl: url, MessageBody: "x", MessageAttributes: map[string]attributeValue{
		"one.a": text, "one.b": text, "two": text,
	}})
	for _, tc := range []struct{ asked, want []string }{
		{nil, nil},
		{[]string{"none"}, nil},
		{[]string{"two"}, []string{"two"}},
		{[]string{"one.*"}, []string{"one.a", "one.b"}},
		{[]string{".*"}, []string{"one.a", "one.b", "two"}},
		{[]string{"ONE.*", "one.a"}, []string{"one.a"}},
	} {
		got := do[receiveMessageOutput](t, c, "ReceiveMessage", &receiveMessageInput{
			QueueUrl: url, MessageAttributeNames: tc.asked, WaitTimeSeconds: new(integer(5)), VisibilityTimeout: new(integer(0)),
		})
		if len(got.Messages) != 1 {
			t.Fatalf("%v: %d messages", tc.asked, len(got.Messages))
		}
		var names []string
		var attributes []queue.Attribute
		for _, name := range tc.want {
			attributes = append(attributes, queue.Attribute{Name: name, DataType: "String", Value: []byte("x")})
		}
		for name := range got.Messages[0].MessageAttributes {
			names = append(names, name)
		}
		slices.Sort(names)
		if diff := cmp.Diff(tc.want, names); diff != "" || got.Messages[0].MD5OfMessageAttributes != attributesMD5(attributes) {
			t.Errorf("%v: %s, MD5 %s", tc.asked, diff, got.Messages[0].MD5OfMessageAttributes)
		}
	}
}

func visibility(t *testing.T, _ *installation, c *client) {
	url := c.create(t, "q", nil)
	do[sendMessageOutput](t, c, "SendMessage", &sendMessageInput{QueueUrl: url, MessageBody: "x"})
	receive := &receiveMessageInput{QueueUrl: url, WaitTimeSeconds: new(integer(5)), AttributeNames: []string{"ApproximateReceiveCount"}}
	first := do[receiveMessageOutput](t, c, "ReceiveMessage", receive).Messages
	if len(first) != 1 {
		t.Fatal("no message")
	}
	change := &changeVisibilityInput{QueueUrl: url, ReceiptHandle: first[0].ReceiptHandle}
	c.refused(t, "ChangeMessageVisibility", change, "MissingParameter", "VisibilityTimeout")
	change.VisibilityTimeout = new(integer(43201))
	c.refused(t, "ChangeMessageVisibility", change, "InvalidParameterValue", "Value 43201 for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the message is beyond the limit [43200 seconds]")
	change.VisibilityTimeout = new(integer(0))
	do[none](t, c, "ChangeMessageVisibility", change)
	again := do[receiveMessageOutput](t, c, "ReceiveMessage", receive).Messages
	if len(again) != 1 || again[0].Attributes["ApproximateReceiveCount"] != "2" || again[0].ReceiptHandle == first[0].ReceiptHandle {
		t.Errorf("%+v", again)
	}
}

func addresses(t *testing.T, _ *installation, c *client) {
	c.create(t, "q", nil)
	for _, url := range []string{"q", "/" + c.ns.ID + "/q", c.ns.ID + "/q", "https://other.host:99/" + c.ns.ID + "/q", "http://h/" + c.ns.ID + "/q/"} {
		do[sendMessageOutput](t, c, "SendMessage", &sendMessageInput{QueueUrl: url, MessageBody: "x"})
	}
}

func missingQueues(t *testing.T, i *installation, c *client) {
	other := i.tenant(t, c.w)
	foreign := other.create(t, "theirs", nil)
	want := c.call(t, "DeleteQueue", &addressedInput{QueueUrl: "http://mq.test/" + c.ns.ID + "/missing"})
	if want.code != "AWS.SimpleQueueService.NonExistentQueue" || want.status != 400 {
		t.Errorf("%d %s", want.status, want.code)
	}
	wantText := "The specified queue does not exist."
	if c.w.name == "Query" {
		wantText = "The specified queue does not exist for this wsdl version."
	}
	if want.msg != wantText {
		t.Errorf("text %q", want.msg)
	}
	// Every operation against every way of naming what is not the caller's.
	for _, url := range []string{foreign, "theirs", "/x/y/z/theirs", "http://mq.test/", "http://mq.test/" + c.ns.ID, "http://[bad/", other.ns.ID + "/missing"} {
		for action, in := range map[string]any{
			"DeleteQueue": &addressedInput{url}, "PurgeQueue": &addressedInput{url},
			"GetQueueAttributes":           &getQueueAttributesInput{QueueUrl: url},
			"SetQueueAttributes":           &setQueueAttributesInput{QueueUrl: url, Attributes: map[string]string{"DelaySeconds": "1"}},
			"SendMessage":                  &sendMessageInput{QueueUrl: url, MessageBody: "x"},
			"SendMessageBatch":             &sendMessageBatchInput{QueueUrl: url, Entries: []sendEntry{{Id: "1", MessageBody: "x"}}},
			"ReceiveMessage":               &receiveMessageInput{QueueUrl: url},
			"AddPermission":                &addPermissionInput{QueueUrl: url, Label: "l", AWSAccountIds: []string{c.ns.ID}, Actions: []string{"*"}},
			"RemovePermission":             &removePermissionInput{QueueUrl: url, Label: "l"},
			"TagQueue":                     &tagQueueInput{QueueUrl: url, Tags: map[string]string{"a": "b"}},
			"UntagQueue":                   &untagQueueInput{QueueUrl: url, TagKeys: []string{"a"}},
			"ListQueueTags":                &addressedInput{url},
			"ListDeadLetterSourceQueues":   &listDeadLetterSourceQueuesInput{QueueUrl: url},
			"DeleteMessage":                &deleteMessageInput{QueueUrl: url, ReceiptHandle: "x"},
			"DeleteMessageBatch":           &deleteMessageBatchInput{QueueUrl: url, Entries: []deleteEntry{{"1", "x"}}},
			"ChangeMessageVisibility":      &changeVisibilityInput{QueueUrl: url, ReceiptHandle: "x", VisibilityTimeout: new(integer(1))},
			"ChangeMessageVisibilityBatch": &changeVisibilityBatchInput{QueueUrl: url, Entries: []visibilityEntry{{"1", "x", new(integer(1))}}},
		} {
			a := c.call(t, action, in)
			if a.status != want.status || a.code != want.code || a.msg != want.msg || a.shape != want.shape {
				t.Errorf("%s %s: %d %s %q", action, url, a.status, a.code, a.msg)
			}
		}
	}
	for _, name := range []string{other.arn("theirs"), c.arn("theirs"), c.arn("missing")} {
		c.refused(t, "StartMessageMoveTask", &startMessageMoveTaskInput{SourceArn: name}, "ResourceNotFoundException", "SourceArn")
		c.refused(t, "ListMessageMoveTasks", &listMessageMoveTasksInput{SourceArn: name}, "ResourceNotFoundException", "SourceArn")
	}
	c.refused(t, "GetQueueUrl", &getQueueURLInput{QueueName: "theirs"}, want.code, want.msg)
	c.refused(t, "GetQueueUrl", &getQueueURLInput{QueueName: "theirs", QueueOwnerAWSAccountId: other.ns.ID}, want.code, want.msg)
	if got := do[listQueuesOutput](t, c, "ListQueues", &listQueuesInput{}); len(got.QueueUrls) != 0 {
		t.Errorf("%v", got.QueueUrls)
	}
	// A receipt handle of another namespace's queue of the same name opens nothing.
	mine := c.create(t, "theirs", nil)
	do[sendMessageOutput](t, other, "SendMessage", &sendMessageInput{QueueUrl: foreign, MessageBody: "x"})
	got := do[receiveMessageOutput](t, other, "ReceiveMessage", &receiveMessageInput{QueueUrl: foreign, WaitTimeSeconds: new(integer(5))}).Messages
	if len(got) != 1 {
		t.Fatal("no message")
	}
	c.refused(t, "DeleteMessage", &deleteMessageInput{QueueUrl: mine, ReceiptHandle: got[0].ReceiptHandle}, "ReceiptHandleIsInvalid", "")
}

func permissions(t *testing.T, i *installation, c *client) {
	c.create(t, "q", nil)
	for _, tc := range []struct {
		p       mnq.Permissions
		allowed []string
	}{
		{mnq.Permissions{}, nil},
		{mnq.Permissions{CanPublish: true}, []string{"SendMessage", "SendMessageBatch", "GetQueueUrl", "GetQueueAttributes", "ListQueueTags", "ListDeadLetterSourceQueues"}},
		{mnq.Permissions{CanReceive: true}, []string{
			"ReceiveMessage", "DeleteMessage", "DeleteMessageBatch", "ChangeMessageVisibility", "ChangeMessageVisibilityBatch", "GetQueueUrl", "GetQueueAttributes",
			"ListQueueTags", "ListDeadLetterSourceQueues",
		}},
		{mnq.Permissions{CanManage: true}, []string{
			"CreateQueue", "DeleteQueue", "ListQueues", "SetQueueAttributes", "PurgeQueue", "ChangeMessageVisibility", "ChangeMessageVisibilityBatch", "GetQueueUrl", "GetQueueAttributes",
			"AddPermission", "RemovePermission", "TagQueue", "UntagQueue", "ListQueueTags", "ListDeadLetterSourceQueues",
			"StartMessageMoveTask", "CancelMessageMoveTask", "ListMessageMoveTasks",
		}},
	} {
		limited := i.credential(t, c, tc.p)
		for _, op := range Operations() {
			if op.Service != mnq.ServiceSQS {
				continue
			}
			a := limited.call(t, op.Name, &getQueueAttributesInput{QueueUrl: "missing"})
			denied := a.code == "AccessDenied"
			if denied == slices.Contains(tc.allowed, op.Name) {
				t.Errorf("%+v %s: %d %s %q", tc.p, op.Name, a.status, a.code, a.msg)
			}
			if denied && (a.status != 403 || !strings.Contains(a.msg, "sqs:"+op.Name) || !strings.Contains(a.msg, op.Permission)) {
				t.Errorf("%s: %d %q", op.Name, a.status, a.msg)
			}
		}
	}
}

func unsupported(t *testing.T, _ *installation, c *client) {
	n := 0
	for _, op := range Operations() {
		if op.Service == mnq.ServiceSQS && op.Supported {
			n++
		}
	}
	if n != 23 {
		t.Errorf("%d actions of 23", n)
	}
	c.refused(t, "NoSuchThing", &addressedInput{}, "InvalidAction", "The action NoSuchThing is not valid for this endpoint.")
}

func purgedAndDeleted(t *testing.T, _ *installation, c *client) {
	url := c.create(t, "q", nil)
	do[sendMessageOutput](t, c, "SendMessage", &sendMessageInput{QueueUrl: url, MessageBody: "x"})
	do[none](t, c, "PurgeQueue", &addressedInput{QueueUrl: url})
	if got := do[receiveMessageOutput](t, c, "ReceiveMessage", &receiveMessageInput{QueueUrl: url}); len(got.Messages) != 0 {
		t.Errorf("%+v", got)
	}
	c.refused(t, "PurgeQueue", &addressedInput{QueueUrl: url}, "AWS.SimpleQueueService.PurgeQueueInProgress", "Only one PurgeQueue operation on q is allowed every 60 seconds.")
	do[none](t, c, "DeleteQueue", &addressedInput{QueueUrl: url})
	c.refused(t, "SendMessage", &sendMessageInput{QueueUrl: url, MessageBody: "x"}, "AWS.SimpleQueueService.NonExistentQueue", "")
	c.refused(t, "CreateQueue", &createQueueInput{QueueName: "q"}, "AWS.SimpleQueueService.QueueDeletedRecently", "You must wait 60 seconds after deleting a queue")
}

func TestThrottlesLongPollsBeyondTheCap(t *testing.T) {
	t.Parallel()
	i := install(t, func(c *Config) { c.MaxLongPolls = 1 })
	c := i.tenant(t, wires[0])
	url := c.create(t, "q", nil)
	i.h.polls.Add(1) // another one waits
	c.refused(t, "ReceiveMessage", &receiveMessageInput{QueueUrl: url, WaitTimeSeconds: new(integer(1))}, "RequestThrottled", "waiting")
	do[receiveMessageOutput](t, c, "ReceiveMessage", &receiveMessageInput{QueueUrl: url, WaitTimeSeconds: new(integer(0))})
	if n := i.h.polls.Load(); n != 1 {
		t.Errorf("%d polls counted", n)
	}
}

// TestGivesBackWhatNobodyTook cuts the client off between the receive and the
// answer.
func TestGivesBackWhatNobodyTook(t *testing.T) {
	t.Parallel()
	i := install(t, nil)
	c := i.tenant(t, wires[0])
	url := c.create(t, "q", nil)
	do[sendMessageOutput](t, c, "SendMessage", &sendMessageInput{QueueUrl: url, MessageBody: "x"})
	receive := &receiveMessageInput{QueueUrl: url, WaitTimeSeconds: new(integer(5))}
	r := signAs(t, c.w.request(t, "ReceiveMessage", receive), c.creds, "sqs", time.Now())
	c.h.ServeHTTP(&brokenWriter{httptest.NewRecorder()}, r)
	if got := do[receiveMessageOutput](t, c, "ReceiveMessage", receive); len(got.Messages) != 1 {
		t.Error("the message stayed hidden")
	}
}

// TestAClientThatHangsUpHasItsAnswer closes the connection as soon as it has read the
// answer, as clients do that keep no idle connections.
func TestAClientThatHangsUpHasItsAnswer(t *testing.T) {
	t.Parallel()
	i := install(t, nil)
	c := i.tenant(t, wires[0])
	url := c.create(t, "q", nil)
	do[sendMessageOutput](t, c, "SendMessage", &sendMessageInput{QueueUrl: url, MessageBody: "x"})
	receive := &receiveMessageInput{QueueUrl: url, WaitTimeSeconds: new(integer(5))}
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	r := signAs(t, c.w.request(t, "ReceiveMessage", receive), c.creds, "sqs", time.Now()).WithContext(ctx)
	w := &hastyClient{httptest.NewRecorder(), hangUp}
	c.h.ServeHTTP(w, r)
	if !strings.Contains(w.Body.String(), `"Body":"x"`) {
		t.Fatalf("answered %s", w.Body)
	}
	receive.WaitTimeSeconds = new(integer(0))
	if got := do[receiveMessageOutput](t, c, "ReceiveMessage", receive); len(got.Messages) != 0 {
		t.Error("the message was handed out a second time")
	}
}

// hastyClient hangs up when it has the answer.
type hastyClient struct {
	*httptest.ResponseRecorder

	hangUp func()
}

func (h *hastyClient) Write(b []byte) (int, error) {
	defer h.hangUp()
	return h.ResponseRecorder.Write(b)
}

type brokenWriter struct{ *httptest.ResponseRecorder }

func (*brokenWriter) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
