package aws

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func (c *client) createFIFO(t *testing.T, name string, content bool) string {
	t.Helper()
	attributes := map[string]string{"FifoQueue": "true"}
	if content {
		attributes["ContentBasedDeduplication"] = "true"
	}
	return c.create(t, name, attributes)
}

func fifoQueues(t *testing.T, _ *installation, c *client) {
	url := c.createFIFO(t, "q.fifo", true)
	group, dedup := "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~", "~}|{`_^]\\[@?>=<;:/.-,+*)('&%$#\"!"
	first := do[sendMessageOutput](t, c, "SendMessage", &sendMessageInput{
		QueueUrl: url, MessageBody: "1", MessageGroupId: new(group), MessageDeduplicationId: new(dedup), DelaySeconds: new(integer(0)),
	})
	if len(first.SequenceNumber) != 20 || strings.Trim(first.SequenceNumber, "0123456789") != "" {
		t.Errorf("sequence number %q", first.SequenceNumber)
	}
	again := do[sendMessageOutput](t, c, "SendMessage", &sendMessageInput{
		QueueUrl: url, MessageBody: "another", MessageGroupId: new(group), MessageDeduplicationId: new(dedup),
		MessageAttributes: map[string]attributeValue{"a": {DataType: "String", StringValue: "x"}},
	})
	if again.MessageId != first.MessageId || again.SequenceNumber != first.SequenceNumber || again.MD5OfMessageBody != bodyMD5("another") || again.MD5OfMessageAttributes == "" {
		t.Errorf("the duplicate's answer: %+v", again)
	}
	batch := do[sendMessageBatchOutput](t, c, "SendMessageBatch", &sendMessageBatchInput{QueueUrl: url, Entries: []sendEntry{
		{Id: "a", MessageBody: "2", MessageGroupId: new(group)},
		{Id: "b", MessageBody: "3", MessageGroupId: new("other")},
		{Id: "c", MessageBody: "2", MessageGroupId: new(group)},
		{Id: "d", MessageBody: "x", MessageGroupId: new(group), DelaySeconds: new(integer(2))},
	}})
	if len(batch.Successful) != 3 || batch.Successful[0].MessageId != batch.Successful[2].MessageId || batch.Successful[0].SequenceNumber <= first.SequenceNumber {
		t.Errorf("%+v", batch)
	}
	want := []batchResultError{{
		Id: "d", SenderFault: true, Code: "InvalidParameterValue",
		Message: "Value 2 for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for this queue type.",
	}}
	if diff := cmp.Diff(want, batch.Failed); diff != "" {
		t.Error(diff)
	}
	receive := &receiveMessageInput{
		QueueUrl: url, MaxNumberOfMessages: new(integer(10)), AttributeNames: []string{"All"}, ReceiveRequestAttemptId: new("attempt"),
	}
	got := do[receiveMessageOutput](t, c, "ReceiveMessage", receive).Messages
	if len(got) != 3 || got[0].Body != "1" || got[1].Body != "2" || got[2].Body != "3" {
		t.Fatalf("%+v", got)
	}
	for name, want := range map[string]string{"MessageGroupId": group, "MessageDeduplicationId": dedup, "SequenceNumber": first.SequenceNumber} {
		if got[0].Attributes[name] != want {
			t.Errorf("%s is %q, want %q", name, got[0].Attributes[name], want)
		}
	}
	const sha256of2 = "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35"
	if d := got[1].Attributes["MessageDeduplicationId"]; d != sha256of2 {
		t.Errorf("deduplication id by content: %q", d)
	}
	if same := do[receiveMessageOutput](t, c, "ReceiveMessage", receive).Messages; len(same) != 3 || same[2].ReceiptHandle != got[2].ReceiptHandle {
		t.Errorf("the same attempt: %+v", same)
	}
	do[none](t, c, "DeleteMessage", &deleteMessageInput{QueueUrl: url, ReceiptHandle: got[0].ReceiptHandle})
	do[none](t, c, "ChangeMessageVisibility", &changeVisibilityInput{QueueUrl: url, ReceiptHandle: got[1].ReceiptHandle, VisibilityTimeout: new(integer(0))})
	expired := "Value " + got[1].ReceiptHandle + " for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired."
	c.refused(t, "DeleteMessage", &deleteMessageInput{QueueUrl: url, ReceiptHandle: got[1].ReceiptHandle}, "InvalidParameterValue", expired)
	c.refused(t, "ChangeMessageVisibility", &changeVisibilityInput{QueueUrl: url, ReceiptHandle: got[1].ReceiptHandle, VisibilityTimeout: new(integer(1))}, "InvalidParameterValue", expired)
	counts := do[getQueueAttributesOutput](t, c, "GetQueueAttributes", &getQueueAttributesInput{QueueUrl: url, AttributeNames: []string{
		"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "FifoQueue",
	}})
	if diff := cmp.Diff(map[string]string{"ApproximateNumberOfMessages": "1", "ApproximateNumberOfMessagesNotVisible": "1", "FifoQueue": "true"}, counts.Attributes); diff != "" {
		t.Error(diff)
	}
}

func fifoChecks(t *testing.T, i *installation, c *client) {
	const value = "InvalidParameterValue"
	url, strict, standard := c.createFIFO(t, "q.fifo", true), c.createFIFO(t, "strict.fifo", false), c.create(t, "q", nil)
	form := func(v, p string) string {
		return "Value " + v + " for parameter " + p + " is invalid. Reason: " + p + " can only include alphanumeric and punctuation characters. 1 to 128 in length."
	}
	const neither = "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"
	for _, tc := range []struct {
		in         *sendMessageInput
		code, text string
	}{
		{&sendMessageInput{QueueUrl: url, MessageBody: "x"}, "MissingParameter", "The request must contain the parameter MessageGroupId."},
		{&sendMessageInput{QueueUrl: strict, MessageBody: "x", MessageGroupId: new("g")}, value, neither},
		{&sendMessageInput{QueueUrl: url, MessageBody: "x", MessageGroupId: new("")}, value, form("", "MessageGroupId")},
		{&sendMessageInput{QueueUrl: url, MessageBody: "x", MessageGroupId: new("g"), MessageDeduplicationId: new("")}, value, form("", "MessageDeduplicationId")},
		{&sendMessageInput{QueueUrl: url, MessageBody: "x", MessageGroupId: new("group 123")}, value, form("group 123", "MessageGroupId")},
		{&sendMessageInput{QueueUrl: url, MessageBody: "x", MessageGroupId: new("g"), MessageDeduplicationId: new("group 123")}, value, form("group 123", "MessageDeduplicationId")},
		{&sendMessageInput{QueueUrl: url, MessageBody: "x", MessageGroupId: new(strings.Repeat("a", 129))}, value, "1 to 128 in length."},
		{
			&sendMessageInput{QueueUrl: url, MessageBody: "x", MessageGroupId: new("g"), DelaySeconds: new(integer(2))}, value,
			"Value 2 for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for this queue type.",
		},
		{
			&sendMessageInput{QueueUrl: standard, MessageBody: "x", MessageDeduplicationId: new("d")}, value,
			"Value d for parameter MessageDeduplicationId is invalid. Reason: The request includes a parameter that is not valid for this queue type.",
		},
	} {
		c.refused(t, "SendMessage", tc.in, tc.code, tc.text)
	}
	c.refused(t, "SendMessageBatch", &sendMessageBatchInput{QueueUrl: url, Entries: []sendEntry{
		{Id: "1", MessageBody: "x", MessageGroupId: new("g")}, {Id: "2", MessageBody: "y"},
	}}, value, "The request must contain the parameter MessageGroupId.")
	c.refused(t, "SendMessageBatch", &sendMessageBatchInput{QueueUrl: strict, Entries: []sendEntry{
		{Id: "1", MessageBody: "x", MessageGroupId: new("g"), MessageDeduplicationId: new("d")}, {Id: "2", MessageBody: "y", MessageGroupId: new("g")},
	}}, value, neither)
	if got := do[receiveMessageOutput](t, c, "ReceiveMessage", &receiveMessageInput{QueueUrl: url}); len(got.Messages) != 0 {
		t.Errorf("a batch that was refused as a whole left %+v", got)
	}
	c.refused(t, "ReceiveMessage", &receiveMessageInput{QueueUrl: url, ReceiveRequestAttemptId: new("a b")}, value, "ReceiveRequestAttemptId")

	if _, err := i.dir.SetFIFOWithoutGroup(t.Context(), c.ns.ID, true); err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{"x", "y"} {
		do[sendMessageOutput](t, c, "SendMessage", &sendMessageInput{QueueUrl: url, MessageBody: body})
	}
	one := &receiveMessageInput{QueueUrl: url}
	if got := do[receiveMessageOutput](t, c, "ReceiveMessage", one); len(got.Messages) != 1 || got.Messages[0].Body != "x" {
		t.Errorf("without a group: %+v", got)
	}
	if got := do[receiveMessageOutput](t, c, "ReceiveMessage", one); len(got.Messages) != 0 {
		t.Errorf("messages without a group are one group: %+v", got)
	}
}

func fifoAttributes(t *testing.T, _ *installation, c *client) {
	const badName = "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length."
	url, standard := c.createFIFO(t, "q.fifo", false), c.create(t, "q", nil)
	yes := map[string]string{"FifoQueue": "true"}
	for _, tc := range []struct {
		name       string
		attributes map[string]string
		code, text string
	}{
		{"x", yes, "InvalidParameterValue", badName},
		{"x!.fifo", yes, "InvalidParameterValue", badName},
		{strings.Repeat("x", 76) + ".fifo", yes, "InvalidParameterValue", badName},
		{"x.fifo", nil, "InvalidParameterValue", "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length"},
		{"x.fifo", map[string]string{"FifoQueue": "false"}, "InvalidParameterValue", ""},
		{"x", map[string]string{"FifoQueue": "false"}, "InvalidAttributeName", "Unknown Attribute FifoQueue."},
		{"x", map[string]string{"ContentBasedDeduplication": "true"}, "InvalidAttributeName", "Unknown Attribute ContentBasedDeduplication."},
		{"x", map[string]string{"DeduplicationScope": "queue"}, "InvalidAttributeName", "You can specify the DeduplicationScope only when FifoQueue is set to true."},
		{"x", map[string]string{"FifoThroughputLimit": "perQueue"}, "InvalidAttributeName", "You can specify the FifoThroughputLimit only when FifoQueue is set to true."},
		{"q.fifo", map[string]string{"FifoQueue": "true", "ContentBasedDeduplication": "true"}, "QueueAlreadyExists", "different value for attribute ContentBasedDeduplication"},
	} {
		c.refused(t, "CreateQueue", &createQueueInput{QueueName: tc.name, Attributes: tc.attributes}, tc.code, tc.text)
	}
	set := func(url, name, value string) *setQueueAttributesInput {
		return &setQueueAttributesInput{QueueUrl: url, Attributes: map[string]string{name: value}}
	}
	c.refused(t, "SetQueueAttributes", set(url, "FifoQueue", "false"), "InvalidAttributeValue", "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.")
	c.refused(t, "SetQueueAttributes", set(standard, "FifoQueue", "true"), "InvalidAttributeName", "Unknown Attribute FifoQueue.")
	c.refused(t, "SetQueueAttributes", set(url, "FifoThroughputLimit", "perMessageGroupId"), "InvalidAttributeValue", "FifoThroughputLimit")
	do[none](t, c, "SetQueueAttributes", set(url, "DeduplicationScope", "messageGroup"))
	do[none](t, c, "SetQueueAttributes", set(url, "FifoThroughputLimit", "perMessageGroupId"))
	do[none](t, c, "SetQueueAttributes", set(url, "FifoQueue", "true"))
	got := do[getQueueAttributesOutput](t, c, "GetQueueAttributes", &getQueueAttributesInput{QueueUrl: url, AttributeNames: []string{"All"}}).Attributes
	for name, want := range map[string]string{
		"FifoQueue": "true", "ContentBasedDeduplication": "false", "DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId",
	} {
		if got[name] != want {
			t.Errorf("%s is %q, want %q", name, got[name], want)
		}
	}
	got = do[getQueueAttributesOutput](t, c, "GetQueueAttributes", &getQueueAttributesInput{QueueUrl: standard, AttributeNames: []string{"All", "FifoQueue"}}).Attributes
	for _, name := range []string{"FifoQueue", "ContentBasedDeduplication", "DeduplicationScope", "FifoThroughputLimit"} {
		if v, shown := got[name]; shown {
			t.Errorf("a standard queue shows %s=%q", name, v)
		}
	}
}
