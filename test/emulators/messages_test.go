package emulators

import (
	"context"
	"crypto/md5" // what the protocol asks for
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openmnq/mnq/internal/mnqtest"
)

// What goes wrong with messages, in the order of the list.
var aboutMessages = []item{
	{"07ChecksumsOfAttributesAreRight", checksums},
	{"08SizesCountAttributesAndBatches", sizes},
	{"09SystemAttributesAreKeptAndFiltered", systemAttributes},
	{"11ReceiptHandlesAreToldApart", receiptHandles},
	{"12LongPollsWakeUp", longPolls},
	{"12LongPollsOfTheDeadTakeNothing", deadConnection},
	{"15GroupsAreLockedBehindWhatIsHidden", groups},
	{"16DuplicatesAreAnsweredAsTheFirst", duplicates},
	{"17FIFOQueuesRefuseWhatIsNotForThem", fifoRefusals},
	{"18DeadLettersKeepWhoTheyAre", deadLetters},
}

func hash(b []byte) string {
	sum := md5.Sum(b)
	return hex.EncodeToString(sum[:])
}

// attributesMD5 follows the developer guide, apart from the server's own code.
func attributesMD5(t *testing.T, in members) string {
	t.Helper()
	var b []byte
	field := func(data []byte) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
		b = append(b, data...)
	}
	for _, name := range slices.Sorted(maps.Keys(in)) {
		v, _ := in[name].(members)
		dataType, _ := v["DataType"].(string)
		field([]byte(name))
		field([]byte(dataType))
		if text, ok := v["StringValue"].(string); ok {
			b = append(b, 1)
			field([]byte(text))
			continue
		}
		encoded, _ := v["BinaryValue"].(string)
		raw, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, 2)
		field(raw)
	}
	return hash(b)
}

func checksums(t *testing.T, c *client) {
	url := c.create(t, "q", members{"VisibilityTimeout": "0"})
	all := members{
		"b": members{"DataType": "Binary.png", "BinaryValue": "AP8BAg=="}, "json": members{"DataType": "String.json", "StringValue": `{"é":1}`},
		"n": members{"DataType": "Number", "StringValue": "1.50"}, "a.b": members{"DataType": "String", "StringValue": "x"},
	}
	sent := c.must(t, "SendMessage", members{"QueueUrl": url, "MessageBody": "bödy", "MessageAttributes": all})
	if sent.MD5OfMessageBody != hash([]byte("bödy")) || sent.MD5OfMessageAttributes != attributesMD5(t, all) || sent.MD5OfMessageSystemAttributes != "" {
		t.Errorf("sent %+v", sent)
	}
	for _, tc := range []struct{ asked, want []string }{
		{[]string{"All"}, []string{"a.b", "b", "json", "n"}},
		{[]string{".*"}, []string{"a.b", "b", "json", "n"}},
		{[]string{"a.*", "n"}, []string{"a.b", "n"}},
		{[]string{"json"}, []string{"json"}},
		{[]string{"A.*", "none"}, nil},
	} {
		want := members{}
		for _, name := range tc.want {
			want[name] = all[name]
		}
		m := c.receive(t, url, members{"MessageAttributeNames": tc.asked})
		sum := ""
		if len(tc.want) > 0 {
			sum = attributesMD5(t, want)
		}
		if got := slices.Sorted(maps.Keys(m.MessageAttributes)); !slices.Equal(got, tc.want) || m.MD5OfMessageAttributes != sum || m.MD5OfBody != hash([]byte("bödy")) {
			t.Errorf("%v: %v with %s, want %v with %s", tc.asked, got, m.MD5OfMessageAttributes, tc.want, sum)
		}
	}
	trace := members{"AWSTraceHeader": members{"DataType": "String", "StringValue": "Root=1"}}
	batch := c.must(t, "SendMessageBatch", members{"QueueUrl": url, "Entries": []members{
		{"Id": "a", "MessageBody": "x", "MessageAttributes": all, "MessageSystemAttributes": trace}, {"Id": "b", "MessageBody": "y"},
	}}).Successful
	if len(batch) != 2 || batch[0].MD5OfMessageAttributes != attributesMD5(t, all) || batch[0].MD5OfMessageSystemAttributes != attributesMD5(t, trace) ||
		batch[1].MD5OfMessageBody != hash([]byte("y")) || batch[1].MD5OfMessageAttributes != "" {
		t.Errorf("%+v", batch)
	}
}

func sizes(t *testing.T, c *client) {
	const most = 1 << 20
	url, small := c.create(t, "q", nil), c.create(t, "small", members{"MaximumMessageSize": "1024"})
	body := func(n int) string { return strings.Repeat("x", n) }
	attribute := members{"name": members{"DataType": "String.t", "StringValue": "value"}} // 4 + 8 + 5
	for n, in := range map[int]members{
		most:      {"QueueUrl": url, "MessageBody": body(most)},
		most - 17: {"QueueUrl": url, "MessageBody": body(most - 17), "MessageAttributes": attribute},
		1024:      {"QueueUrl": small, "MessageBody": body(1024)},
		1007:      {"QueueUrl": small, "MessageBody": strings.Repeat("é", 503) + "x", "MessageAttributes": attribute},
	} {
		limit := "1048576"
		if in["QueueUrl"] == small {
			limit = "1024"
		}
		// What the queue adds itself does not count.
		in["MessageSystemAttributes"] = members{"AWSTraceHeader": members{"DataType": "String", "StringValue": "Root=1"}}
		c.must(t, "SendMessage", in)
		in["MessageBody"] = in["MessageBody"].(string) + "x"
		c.refused(t, "SendMessage", in, "InvalidParameterValue", "One or more parameters are invalid. Reason: Message must be shorter than "+limit+" bytes.")
		if t.Failed() {
			t.Fatalf("at %d bytes", n)
		}
	}
	half := body(most / 2)
	entries := []members{{"Id": "a", "MessageBody": half, "MessageAttributes": attribute}, {"Id": "b", "MessageBody": half[17:]}}
	if got := c.must(t, "SendMessageBatch", members{"QueueUrl": url, "Entries": entries}); len(got.Successful) != 2 {
		t.Errorf("%+v", got.Failed)
	}
	entries[1]["MessageBody"] = half[16:]
	c.refused(t, "SendMessageBatch", members{"QueueUrl": url, "Entries": entries}, "AWS.SimpleQueueService.BatchRequestTooLong",
		"Batch requests cannot be longer than 1048576 bytes. You have sent 1048577 bytes.")
}

func systemAttributes(t *testing.T, c *client) {
	url := c.create(t, "q", members{"VisibilityTimeout": "0"})
	body, header := c.encode(t, "SendMessage", members{"QueueUrl": url, "MessageBody": "x"})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.p.URL+"/", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	r.Header.Set("X-Amzn-Trace-Id", "Root=1-5759e988-bd862e3fe1be46a994272793")
	if a := c.send(t, r, body); a.out.MD5OfMessageSystemAttributes != "" {
		t.Errorf("a checksum of what the client did not send: %s", a.body)
	}
	first := c.receive(t, url, members{"AttributeNames": []string{"All"}})
	for name, want := range map[string]string{
		"ApproximateReceiveCount": "1", "AWSTraceHeader": "Root=1-5759e988-bd862e3fe1be46a994272793", "SenderId": "AIDA" + c.keys.Access,
	} {
		if first.Attributes[name] != want {
			t.Errorf("%s is %q, want %q", name, first.Attributes[name], want)
		}
	}
	for _, name := range []string{"SentTimestamp", "ApproximateFirstReceiveTimestamp"} {
		if len(first.Attributes[name]) != 13 {
			t.Errorf("%s is %q, want milliseconds", name, first.Attributes[name])
		}
	}
	again := c.receive(t, url, members{"AttributeNames": []string{"ApproximateReceiveCount"}, "MessageSystemAttributeNames": []string{"ApproximateFirstReceiveTimestamp"}})
	want := pairs{"ApproximateReceiveCount": "2", "ApproximateFirstReceiveTimestamp": first.Attributes["ApproximateFirstReceiveTimestamp"]}
	if diff := cmp.Diff(want, again.Attributes); diff != "" {
		t.Errorf("both members together: %s", diff)
	}
	if m := c.receive(t, url, members{"AttributeNames": []string{}, "MessageSystemAttributeNames": []string{"All"}}); m.Attributes["SenderId"] == "" {
		t.Errorf("the new member alone: %v", m.Attributes)
	}
	if m := c.receive(t, url, members{"AttributeNames": []string{}, "MessageAttributeNames": []string{}}); len(m.Attributes) != 0 {
		t.Errorf("nothing was asked for: %v", m.Attributes)
	}
	c.refused(t, "SendMessage", members{"QueueUrl": url, "MessageBody": "x", "MessageSystemAttributes": members{"SenderId": members{"DataType": "String", "StringValue": "x"}}},
		"InvalidParameterValue", "AWSTraceHeader")
}

func receiptHandles(t *testing.T, c *client) {
	url, other := c.create(t, "q", nil), c.create(t, "other", nil)
	change := func(handle string, timeout int) members {
		return members{"QueueUrl": url, "ReceiptHandle": handle, "VisibilityTimeout": timeout}
	}
	c.must(t, "SendMessage", members{"QueueUrl": url, "MessageBody": "x"})
	first := c.receive(t, url, members{"VisibilityTimeout": 0})
	second := c.receive(t, url, members{"VisibilityTimeout": 0})
	if first.ReceiptHandle == second.ReceiptHandle || len(first.ReceiptHandle) > 1024 {
		t.Errorf("%s, then %s", first.ReceiptHandle, second.ReceiptHandle)
	}
	// A message that is visible again is hidden again, with an older handle too.
	c.must(t, "ChangeMessageVisibility", change(first.ReceiptHandle, 600))
	if got := c.must(t, "ReceiveMessage", members{"QueueUrl": url}); len(got.Messages) != 0 {
		t.Errorf("%+v", got.Messages)
	}
	c.must(t, "ChangeMessageVisibility", change(second.ReceiptHandle, 0))
	c.receive(t, url, nil)
	c.refused(t, "ChangeMessageVisibility", change(second.ReceiptHandle, 43201), "InvalidParameterValue",
		"Value 43201 for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for the message is beyond the limit [43200 seconds]")
	for _, handle := range []string{"garbage", second.ReceiptHandle[1:], second.ReceiptHandle + "A", strings.Repeat("A", len(second.ReceiptHandle))} {
		c.refused(t, "DeleteMessage", members{"QueueUrl": url, "ReceiptHandle": handle}, "ReceiptHandleIsInvalid", "is not a valid receipt handle.")
		c.refused(t, "ChangeMessageVisibility", change(handle, 5), "ReceiptHandleIsInvalid", "is not a valid receipt handle.")
	}
	c.refused(t, "DeleteMessage", members{"QueueUrl": other, "ReceiptHandle": first.ReceiptHandle}, "ReceiptHandleIsInvalid", "is not a valid receipt handle.")
	for range 2 { // the oldest one deletes, and again
		c.must(t, "DeleteMessage", members{"QueueUrl": url, "ReceiptHandle": first.ReceiptHandle})
	}
	c.refused(t, "ChangeMessageVisibility", change(second.ReceiptHandle, 5), "InvalidParameterValue", "Message does not exist or is not available for visibility timeout change.")
}

// longPolls wait twenty seconds; one that is not woken up answers without a message.
func longPolls(t *testing.T, c *client) {
	url := c.create(t, "q", nil)
	poll := func() chan message {
		got := make(chan message, 1)
		go func() {
			defer close(got)
			for _, m := range c.call(t, "ReceiveMessage", members{"QueueUrl": url, "WaitTimeSeconds": 20, "VisibilityTimeout": 600}).out.Messages {
				got <- m
			}
		}()
		return got
	}
	woken := func(by string, got chan message) message {
		t.Helper()
		m, ok := <-got
		if !ok {
			t.Fatalf("not woken by %s", by)
		}
		return m
	}
	waiting := poll()
	c.must(t, "SendMessage", members{"QueueUrl": url, "MessageBody": "sent"})
	m := woken("a send", waiting)

	waiting = poll()
	c.must(t, "ChangeMessageVisibility", members{"QueueUrl": url, "ReceiptHandle": m.ReceiptHandle, "VisibilityTimeout": 0})
	m = woken("ChangeMessageVisibility to 0", waiting)

	c.must(t, "ChangeMessageVisibility", members{"QueueUrl": url, "ReceiptHandle": m.ReceiptHandle, "VisibilityTimeout": 1})
	m = woken("the end of a visibility timeout", poll())
	c.must(t, "DeleteMessage", members{"QueueUrl": url, "ReceiptHandle": m.ReceiptHandle})

	c.must(t, "SendMessage", members{"QueueUrl": url, "MessageBody": "delayed", "DelaySeconds": 1})
	if m = woken("the end of a delay", poll()); m.Body != "delayed" {
		t.Errorf("%+v", m)
	}
	begun := time.Now()
	if got := c.must(t, "ReceiveMessage", members{"QueueUrl": url, "WaitTimeSeconds": 1}); len(got.Messages) != 0 || time.Since(begun) < time.Second {
		t.Errorf("%d messages after %s", len(got.Messages), time.Since(begun))
	}
	waiting = poll()
	c.must(t, "DeleteQueue", members{"QueueUrl": url})
	if m, ok := <-waiting; ok {
		t.Errorf("%+v of a deleted queue", m)
	}
}

// deadConnection hangs up on long polls; what is sent when the server has noticed goes to
// who is there. The server is its own, because it is asked how many receives are over.
func deadConnection(t *testing.T, c *client) {
	c.p = mnqtest.Start(t, mnqtest.Options{Args: []string{"--dev", "--fsync", "interval"}})
	url := c.create(t, "q", nil)
	ctx, hangUp := context.WithCancel(t.Context())
	over := make(chan error, 3)
	begun := make(chan struct{}, cap(over))
	trace := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { begun <- struct{}{} }})
	for range cap(over) {
		body, header := c.encode(t, "ReceiveMessage", members{"QueueUrl": url, "WaitTimeSeconds": 20, "VisibilityTimeout": 43200})
		r, err := http.NewRequestWithContext(trace, http.MethodPost, c.p.URL+"/", strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = header
		c.sign(t, r, body)
		go func() {
			res, err := http.DefaultClient.Do(r)
			if err == nil {
				_ = res.Body.Close()
			}
			over <- err
		}()
	}
	for range cap(over) {
		<-begun
	}
	// By the time that this one is over the others are on their way too.
	c.must(t, "ReceiveMessage", members{"QueueUrl": url, "WaitTimeSeconds": 1})
	hangUp()
	for range cap(over) {
		if err := <-over; err == nil {
			t.Fatal("a poll that was hung up on was answered")
		}
	}
	mnqtest.Within(t, time.Minute, func() error {
		if n := c.receives(t); n <= cap(over) {
			return fmt.Errorf("only %d receives are over", n)
		}
		return nil
	})
	for range 5 {
		c.must(t, "SendMessage", members{"QueueUrl": url, "MessageBody": "x"})
		c.must(t, "DeleteMessage", members{"QueueUrl": url, "ReceiptHandle": c.receive(t, url, nil).ReceiptHandle})
	}
}

// receives is how many calls of ReceiveMessage the server has finished.
func (c *client) receives(t *testing.T) (n int) {
	t.Helper()
	res, err := http.Get(c.p.URL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(body)) {
		if labels, value, ok := strings.Cut(line, "} "); ok && strings.HasPrefix(labels, "mnq_http_requests_total{") && strings.Contains(labels, `operation="ReceiveMessage"`) {
			k, err := strconv.Atoi(strings.TrimSpace(value))
			if err != nil {
				t.Fatal(err)
			}
			n += k
		}
	}
	return n
}

func (c *client) fifo(t *testing.T, name string, more members) string {
	t.Helper()
	attributes := members{"FifoQueue": "true", "ContentBasedDeduplication": "true"}
	maps.Copy(attributes, more)
	return c.create(t, name, attributes)
}

func bodiesOf(list []message) []string {
	out := []string{}
	for _, m := range list {
		out = append(out, m.Body)
	}
	return out
}

func groups(t *testing.T, c *client) {
	url := c.fifo(t, "q.fifo", nil)
	send := func(group string, bodies ...string) {
		for _, body := range bodies {
			c.must(t, "SendMessage", members{"QueueUrl": url, "MessageBody": body, "MessageGroupId": group})
		}
	}
	receive := func(n, visibility int, want ...string) []message {
		t.Helper()
		got := c.must(t, "ReceiveMessage", members{"QueueUrl": url, "MaxNumberOfMessages": n, "VisibilityTimeout": visibility, "WaitTimeSeconds": 2}).Messages
		if !slices.Equal(bodiesOf(got), want) {
			t.Fatalf("received %q, want %q", bodiesOf(got), want)
		}
		return got
	}
	send("a", "a1", "a2", "a3", "a4")
	send("b", "b1")
	got := receive(3, 600, "a1", "a2", "a3") // several of one group at once
	receive(10, 600, "b1")                   // another group is not held up, and a4 is behind what is hidden
	// What is visible again in front of what is hidden comes again, but nothing behind it.
	c.must(t, "ChangeMessageVisibility", members{"QueueUrl": url, "ReceiptHandle": got[0].ReceiptHandle, "VisibilityTimeout": 0})
	again := receive(10, 600, "a1")
	for _, m := range []message{again[0], got[1]} {
		c.must(t, "DeleteMessage", members{"QueueUrl": url, "ReceiptHandle": m.ReceiptHandle})
		if m.Body == "a1" {
			receive(10, 600)
		}
	}
	receive(10, 600) // a3 is hidden still
	c.must(t, "DeleteMessage", members{"QueueUrl": url, "ReceiptHandle": got[2].ReceiptHandle})
	receive(10, 600, "a4")
}

func duplicates(t *testing.T, c *client) {
	url := c.fifo(t, "q.fifo", nil)
	attribute := members{"a": members{"DataType": "String", "StringValue": "v"}}
	send := func(more members) output {
		in := members{"QueueUrl": url, "MessageBody": "x", "MessageGroupId": "g"}
		maps.Copy(in, more)
		return c.must(t, "SendMessage", in)
	}
	first := send(members{"MessageDeduplicationId": "d"})
	m := c.receive(t, url, nil)
	c.must(t, "DeleteMessage", members{"QueueUrl": url, "ReceiptHandle": m.ReceiptHandle})
	// Received and deleted, and still a duplicate; the checksums are those of the request.
	again := send(members{"MessageBody": "another", "MessageGroupId": "h", "MessageDeduplicationId": "d", "MessageAttributes": attribute})
	if again.MessageID != first.MessageID || again.SequenceNumber != first.SequenceNumber || len(first.SequenceNumber) != 20 ||
		again.MD5OfMessageBody != hash([]byte("another")) || again.MD5OfMessageAttributes != attributesMD5(t, attribute) {
		t.Errorf("%+v, first %+v", again.sent, first.sent)
	}
	byContent := send(nil)
	if same := send(members{"MessageAttributes": attribute}); same.MessageID != byContent.MessageID || byContent.MessageID == first.MessageID {
		t.Errorf("by content: %+v, first %+v", same.sent, byContent.sent)
	}
	batch := c.must(t, "SendMessageBatch", members{"QueueUrl": url, "Entries": []members{{"Id": "a", "MessageBody": "x", "MessageGroupId": "g"}}})
	if len(batch.Successful) != 1 || batch.Successful[0].SequenceNumber != byContent.SequenceNumber {
		t.Errorf("in a batch: %+v", batch)
	}
	url = c.fifo(t, "groups.fifo", members{"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"})
	if one, other := send(nil), send(members{"MessageGroupId": "h"}); one.MessageID == other.MessageID {
		t.Error("another group is no duplicate")
	}
}

func fifoRefusals(t *testing.T, c *client) {
	url := c.fifo(t, "q.fifo", nil)
	strict := c.create(t, "strict.fifo", members{"FifoQueue": "true"})
	for _, tc := range []struct {
		in         members
		code, text string
	}{
		{members{}, "MissingParameter", "The request must contain the parameter MessageGroupId."},
		{members{"MessageGroupId": ""}, "InvalidParameterValue", "Value  for parameter MessageGroupId is invalid. Reason: MessageGroupId can only include alphanumeric and punctuation characters. 1 to 128 in length."},
		{members{"MessageGroupId": "group 123"}, "InvalidParameterValue", "Value group 123 for parameter MessageGroupId is invalid."},
		{members{"MessageGroupId": "g", "MessageDeduplicationId": strings.Repeat("a", 129)}, "InvalidParameterValue", "for parameter MessageDeduplicationId is invalid."},
		{members{"MessageGroupId": "g", "DelaySeconds": 2}, "InvalidParameterValue", "Value 2 for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for this queue type."},
		{members{"QueueUrl": strict, "MessageGroupId": "g"}, "InvalidParameterValue", "The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly"},
	} {
		in := members{"QueueUrl": url, "MessageBody": "x"}
		maps.Copy(in, tc.in)
		c.refused(t, "SendMessage", in, tc.code, tc.text)
	}
	c.must(t, "SendMessage", members{"QueueUrl": url, "MessageBody": "x", "MessageGroupId": "g", "DelaySeconds": 0})
	late := c.receive(t, url, members{"VisibilityTimeout": 1})
	current := c.receive(t, url, nil) // which waits for the end of the first one's visibility
	for _, action := range []string{"DeleteMessage", "ChangeMessageVisibility"} {
		in := members{"QueueUrl": url, "ReceiptHandle": late.ReceiptHandle}
		if action != "DeleteMessage" {
			in["VisibilityTimeout"] = 5
		}
		c.refused(t, action, in, "InvalidParameterValue", "Reason: The receipt handle has expired.")
	}
	c.must(t, "DeleteMessage", members{"QueueUrl": url, "ReceiptHandle": current.ReceiptHandle})
}

func deadLetters(t *testing.T, c *client) {
	dlq := c.create(t, "dlq", nil)
	redrive := func(target, n string) members {
		return members{"RedrivePolicy": `{"deadLetterTargetArn":"` + target + `","maxReceiveCount":` + n + `,"more":1}`}
	}
	source := c.create(t, "source", redrive(c.arn("dlq"), `"2"`))
	policy := c.must(t, "GetQueueAttributes", members{"QueueUrl": source, "AttributeNames": []string{"RedrivePolicy"}}).Attributes["RedrivePolicy"]
	if want := `{"deadLetterTargetArn":"` + c.arn("dlq") + `","maxReceiveCount":2}`; policy != want {
		t.Errorf("%s, want %s", policy, want)
	}
	for n, text := range map[string]string{"0": "Invalid value for maxReceiveCount: 0, valid values are from 1 to 1000 both inclusive.", `"1001"`: "Invalid value for maxReceiveCount: 1001"} {
		c.refused(t, "SetQueueAttributes", members{"QueueUrl": source, "Attributes": redrive(c.arn("dlq"), n)}, "InvalidParameterValue", text)
	}
	c.refused(t, "SetQueueAttributes", members{"QueueUrl": source, "Attributes": redrive(c.arn("none"), "1")}, "InvalidParameterValue", "does not exist")
	c.must(t, "SetQueueAttributes", members{"QueueUrl": dlq, "Attributes": members{"RedriveAllowPolicy": `{"redrivePermission":"byQueue","sourceQueueArns":["` + c.arn("source") + `"]}`}})
	c.refused(t, "CreateQueue", members{"QueueName": "other", "Attributes": redrive(c.arn("dlq"), "1")}, "InvalidParameterValue", "not allowed")

	attribute := members{"a": members{"DataType": "String.t", "StringValue": "v"}}
	sent := c.must(t, "SendMessage", members{"QueueUrl": source, "MessageBody": "x", "MessageAttributes": attribute})
	first := c.receive(t, source, members{"VisibilityTimeout": 0})
	c.receive(t, source, members{"VisibilityTimeout": 0})
	if got := c.must(t, "ReceiveMessage", members{"QueueUrl": source}); len(got.Messages) != 0 {
		t.Errorf("a third time: %+v", got.Messages)
	}
	dead := c.receive(t, dlq, members{"VisibilityTimeout": 0})
	if dead.MessageID != sent.MessageID || dead.MD5OfMessageAttributes != attributesMD5(t, attribute) || dead.Attributes["ApproximateReceiveCount"] != "3" ||
		dead.Attributes["DeadLetterQueueSourceArn"] != c.arn("source") || dead.Attributes["SentTimestamp"] != first.Attributes["SentTimestamp"] ||
		dead.Attributes["ApproximateFirstReceiveTimestamp"] != first.Attributes["ApproximateFirstReceiveTimestamp"] {
		t.Errorf("%+v, first %+v", dead, first)
	}
	c.refused(t, "StartMessageMoveTask", members{"SourceArn": c.arn("source")}, "InvalidParameterValue", "Source queue must be configured as a Dead Letter Queue.")
	handle := c.must(t, "StartMessageMoveTask", members{"SourceArn": c.arn("dlq")}).TaskHandle
	if raw, err := base64.StdEncoding.DecodeString(handle); err != nil || !strings.Contains(string(raw), `"sourceArn":"`+c.arn("dlq")+`"`) {
		t.Errorf("task handle %s", raw)
	}
	if back := c.receive(t, source, nil); back.MessageID == sent.MessageID || back.Attributes["ApproximateReceiveCount"] != "1" || back.Attributes["DeadLetterQueueSourceArn"] != "" {
		t.Errorf("moved back: %+v", back)
	}
	c.refused(t, "CancelMessageMoveTask", members{"TaskHandle": "garbage"}, "InvalidParameterValue", "Value for parameter TaskHandle is invalid.")
	for name, text := range map[string]string{"dlq": "Task does not exist.", "none": "The resource that you specified for the SourceArn parameter doesn't exist."} {
		unknown := base64.StdEncoding.EncodeToString([]byte(`{"taskId":"x","sourceArn":"` + c.arn(name) + `"}`))
		c.refused(t, "CancelMessageMoveTask", members{"TaskHandle": unknown}, "ResourceNotFoundException", text)
	}
}
