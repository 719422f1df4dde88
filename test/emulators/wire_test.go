package emulators

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/google/go-cmp/cmp"

	"github.com/openmnq/mnq/internal/mnqtest"
)

// What goes wrong on the wire, in the order of the list.
var onTheWire = []item{
	{"01ErrorsHaveTheNamesOfBothProtocols", errorNames},
	{"02ErrorsHaveTheirHTTPStatus", statuses},
	{"03NothingEmptyIsWritten", nothingEmpty},
	{"04QueuesAreFoundByEveryAddress", addresses},
	{"05QueryAnswersAreWhole", queryAnswers},
	{"06NumbersAndBlobsHaveTheirType", typesOnTheWire},
	{"10AttributesAreChecked", attributeChecks},
	{"13ListsGoInPages", pages},
	{"14BatchesFailAsAWholeOrByEntry", batches},
	{"19AccessIsChecked", access},
}

func errorNames(t *testing.T, c *client) {
	url := c.create(t, "q", nil)
	for _, tc := range []struct {
		action      string
		in          members
		shape, code string
	}{
		{"GetQueueUrl", members{"QueueName": "none"}, "com.amazonaws.sqs#QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue"},
		{"CreateQueue", members{"QueueName": "q", "Attributes": members{"DelaySeconds": "5"}}, "com.amazonaws.sqs#QueueNameExists", "QueueAlreadyExists"},
		{"SendMessageBatch", members{"QueueUrl": url, "Entries": []members{}}, "com.amazonaws.sqs#EmptyBatchRequest", "AWS.SimpleQueueService.EmptyBatchRequest"},
		{"GetQueueAttributes", members{"QueueUrl": url, "AttributeNames": []string{"Foo"}}, "com.amazonaws.sqs#InvalidAttributeName", "InvalidAttributeName"},
		{"ReceiveMessage", members{"QueueUrl": url, "MaxNumberOfMessages": 11}, "com.amazon.coral.service#InvalidParameterValueException", "InvalidParameterValue"},
		{"SendMessage", members{"QueueUrl": url}, "com.amazon.coral.service#MissingRequiredParameterException", "MissingParameter"},
		{"NoSuchAction", members{}, "com.amazon.coral.service#UnknownOperationException", "InvalidAction"},
	} {
		a := c.call(t, tc.action, tc.in)
		if a.code != tc.code || c.name == "JSON" && (a.shape != tc.shape || a.header.Get("X-Amzn-Query-Error") != tc.code+";Sender") {
			t.Errorf("%s: %s, %s, header %q", tc.action, a.shape, a.code, a.header.Get("X-Amzn-Query-Error"))
		}
		if a.header.Get("X-Amzn-Errortype") != "" || len(a.header.Get("X-Amzn-Requestid")) != 36 {
			t.Errorf("%s: headers %v", tc.action, a.header)
		}
	}
	if c.name == "JSON" {
		_, err := c.sdk().GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String("none")})
		var typed *types.QueueDoesNotExist
		if !errors.As(err, &typed) || typed.ErrorCode() != "AWS.SimpleQueueService.NonExistentQueue" {
			t.Errorf("AWS's client makes %v of it", err)
		}
	}
}

func statuses(t *testing.T, c *client) {
	url := c.create(t, "q", nil)
	c.refused(t, "DeleteMessage", members{"QueueUrl": url, "ReceiptHandle": "garbage"}, "ReceiptHandleIsInvalid", `The input receipt handle "garbage" is not a valid receipt handle.`)
	c.refused(t, "ListMessageMoveTasks", members{"SourceArn": c.arn("none")}, "ResourceNotFoundException", "SourceArn")
	eight := strings.Split(strings.Repeat("SendMessage ", 7)+"SendMessage", " ")
	c.refused(t, "AddPermission", members{"QueueUrl": url, "Label": "l", "AWSAccountIds": []string{"123456789012"}, "Actions": eight}, "OverLimit", "8 Actions were found, maximum allowed is 7.")
	c.must(t, "PurgeQueue", members{"QueueUrl": url})
	c.refused(t, "PurgeQueue", members{"QueueUrl": url}, "AWS.SimpleQueueService.PurgeQueueInProgress", "Only one PurgeQueue operation on q is allowed every 60 seconds.")
	c.must(t, "DeleteQueue", members{"QueueUrl": url})
	c.refused(t, "CreateQueue", members{"QueueName": "q"}, "AWS.SimpleQueueService.QueueDeletedRecently", "You must wait 60 seconds after deleting a queue")
	gone := "The specified queue does not exist."
	if c.name == "Query" {
		gone = "The specified queue does not exist for this wsdl version."
	}
	c.refused(t, "DeleteQueue", members{"QueueUrl": url}, "AWS.SimpleQueueService.NonExistentQueue", gone)
}

func nothingEmpty(t *testing.T, c *client) {
	url := c.create(t, "q", nil)
	requestID := regexp.MustCompile(`<RequestId>.*?</RequestId>`)
	for _, tc := range []struct {
		action      string
		in          members
		json, query string // of the result
	}{
		{"ReceiveMessage", members{"QueueUrl": url}, `{}`, `<ReceiveMessageResult></ReceiveMessageResult>`},
		{"ListQueues", members{"QueueNamePrefix": "x"}, `{}`, `<ListQueuesResult></ListQueuesResult>`},
		{"ListQueueTags", members{"QueueUrl": url}, `{}`, `<ListQueueTagsResult></ListQueueTagsResult>`},
		{"GetQueueAttributes", members{"QueueUrl": url}, `{}`, `<GetQueueAttributesResult></GetQueueAttributesResult>`},
		{"GetQueueAttributes", members{"QueueUrl": url, "AttributeNames": []string{"Policy"}}, `{}`, `<GetQueueAttributesResult></GetQueueAttributesResult>`},
		{"ListMessageMoveTasks", members{"SourceArn": c.arn("q")}, `{}`, `<ListMessageMoveTasksResult></ListMessageMoveTasksResult>`},
		{"ListDeadLetterSourceQueues", members{"QueueUrl": url}, `{"queueUrls":[]}`, `<ListDeadLetterSourceQueuesResult></ListDeadLetterSourceQueuesResult>`},
		{"TagQueue", members{"QueueUrl": url, "Tags": members{"k": "v"}}, ``, ``},
		{"SetQueueAttributes", members{"QueueUrl": url, "Attributes": members{"DelaySeconds": "0"}}, ``, ``},
	} {
		a := c.call(t, tc.action, tc.in)
		want := tc.json
		if c.name == "Query" {
			want = `<?xml version="1.0"?><` + tc.action + `Response xmlns="http://queue.amazonaws.com/doc/2012-11-05/">` + tc.query + `<ResponseMetadata></ResponseMetadata></` + tc.action + `Response>`
		}
		if got := requestID.ReplaceAllString(string(a.body), ""); got != want {
			t.Errorf("%s:\n got %s\nwant %s", tc.action, got, want)
		}
	}
	sent := c.call(t, "SendMessage", members{"QueueUrl": url, "MessageBody": "x"})
	got := c.call(t, "ReceiveMessage", members{"QueueUrl": url, "WaitTimeSeconds": 20})
	for what, body := range map[string][]byte{"sent": sent.body, "received": got.body} {
		for _, name := range []string{"Attribute", "SequenceNumber", "Failed"} {
			if strings.Contains(string(body), name) {
				t.Errorf("%s: %s", what, body)
			}
		}
	}
	batch := c.call(t, "SendMessageBatch", members{"QueueUrl": url, "Entries": []members{{"Id": "a", "MessageBody": "x"}}})
	if strings.Contains(string(batch.body), "Failed") || strings.Contains(string(batch.body), "BatchResultErrorEntry") {
		t.Errorf("%s", batch.body)
	}
}

func addresses(t *testing.T, c *client) {
	account := c.keys.Access
	queueURL := c.create(t, "q", nil)
	if want := c.p.URL + "/" + account + "/q"; queueURL != want {
		t.Errorf("queue URL %s, want %s", queueURL, want)
	}
	for _, address := range []string{
		queueURL, "q", "/" + account + "/q", "http://sqs." + region + ".amazonaws.com/" + account + "/q", "https://other.host:99/" + account + "/q",
		"http://localhost:4566/queue/" + region + "/" + account + "/q",
	} {
		if got := c.must(t, "GetQueueAttributes", members{"QueueUrl": address, "AttributeNames": []string{"QueueArn"}}).Attributes["QueueArn"]; got != c.arn("q") {
			t.Errorf("%s: %s", address, got)
		}
	}
	// Posted to the queue's own URL, which is where several SDKs send everything.
	if a := c.at(t, "/"+account+"/q", "SendMessage", members{"QueueUrl": queueURL, "MessageBody": "x"}); a.status != 200 {
		t.Errorf("posted to the queue URL: %d %s", a.status, a.body)
	}
	if c.name == "JSON" {
		return
	}
	for path, want := range map[string]string{"/" + account + "/q": c.arn("q"), "/queue/" + region + "/" + account + "/q": c.arn("q")} {
		if a := c.at(t, path, "GetQueueAttributes", members{"AttributeNames": []string{"QueueArn"}}); a.out.Attributes["QueueArn"] != want {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	// The parameter wins over the path.
	if a := c.at(t, "/"+account+"/none", "GetQueueAttributes", members{"QueueUrl": queueURL, "AttributeNames": []string{"QueueArn"}}); a.status != 200 {
		t.Errorf("QueueUrl and path: %d %s", a.status, a.body)
	}
	for _, action := range []string{"CreateQueue", "ListQueues"} {
		if a := c.at(t, "/"+account+"/q", action, members{"QueueName": "q2"}); a.code != "InvalidAction" || a.message != "The action "+action+" is not valid for this endpoint." {
			t.Errorf("%s on a queue's path: %d %s %s", action, a.status, a.code, a.message)
		}
	}
	get := func(target string) answer {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.p.URL+target, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.send(t, r, nil)
	}
	if a := get("/" + account + "/q?Action=SendMessage&MessageBody=" + url.QueryEscape("by GET")); a.status != 200 || a.out.MessageID == "" {
		t.Errorf("GET on a queue: %d %s", a.status, a.body)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, queueURL, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != http.StatusNotFound || !strings.Contains(string(body), "<UnknownOperationException/>") {
		t.Errorf("GET without an action: %s %s %v", res.Status, body, err)
	}
}

func queryAnswers(t *testing.T, c *client) {
	url := c.create(t, "q", nil)
	a := c.call(t, "SendMessage", members{"QueueUrl": url, "MessageBody": "line\r\n<&>\t"})
	if a.header.Get("Date") == "" {
		t.Error("no Date header, by which SDKs correct their clocks")
	}
	if got := c.receive(t, url, nil).Body; got != "line\r\n<&>\t" {
		t.Errorf("body %q", got)
	}
	if want := map[string]string{"JSON": "application/x-amz-json-1.0", "Query": "text/xml"}[c.name]; a.header.Get("Content-Type") != want {
		t.Errorf("content type %s", a.header.Get("Content-Type"))
	}
	if c.name == "JSON" {
		return
	}
	e := c.call(t, "GetQueueUrl", members{"QueueName": "none"})
	if strings.Count(strings.ToLower(string(e.body)), "<message>") != 1 {
		t.Errorf("%s", e.body)
	}
	var root struct{ XMLName xml.Name }
	if err := xml.Unmarshal(e.body, &root); err != nil || root.XMLName != (xml.Name{Space: "http://queue.amazonaws.com/doc/2012-11-05/", Local: "ErrorResponse"}) {
		t.Errorf("%v %v", root, err)
	}
	// Lists with gaps, in disorder, without a version, half in the URL.
	form := strings.NewReader("SendMessageBatchRequestEntry.20.Id=b&SendMessageBatchRequestEntry.20.MessageBody=2&SendMessageBatchRequestEntry.3.MessageBody=1&SendMessageBatchRequestEntry.3.Id=a")
	body, err := io.ReadAll(form)
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.p.URL+"/"+c.keys.Access+"/q?Action=SendMessageBatch", strings.NewReader(string(body)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if b := c.send(t, r, body); len(b.out.Successful) != 2 || b.out.Successful[0].ID != "a" {
		t.Errorf("%d %s", b.status, b.body)
	}
	for form, want := range map[string]pairs{"Tag.1.Key=a&Tag.1.Value=1": {"a": "1"}, "Tags.1.Key=b&Tags.1.Value=": {"a": "1", "b": ""}} { // the documented and the old names
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.p.URL+"/"+c.keys.Access+"/q", strings.NewReader("Action=TagQueue&"+form))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		if b := c.send(t, r, []byte("Action=TagQueue&"+form)); b.status != 200 {
			t.Errorf("%s: %d %s", form, b.status, b.body)
		}
		got := c.must(t, "ListQueueTags", members{"QueueUrl": url}).Tags
		for key, value := range want {
			if v, ok := got[key]; len(want) == 1 && (!ok || v != value) {
				t.Errorf("%s: %v", form, got)
			}
		}
	}
	if diff := cmp.Diff(pairs{"a": "1", "b": ""}, c.must(t, "ListQueueTags", members{"QueueUrl": url}).Tags); diff != "" {
		t.Error(diff)
	}
}

func typesOnTheWire(t *testing.T, c *client) {
	url := c.create(t, "q", members{"VisibilityTimeout": "0"})
	c.must(t, "SendMessage", members{"QueueUrl": url, "MessageBody": "x", "MessageAttributes": members{
		"b": members{"DataType": "Binary", "BinaryValue": "AP8B"},
	}})
	got := c.call(t, "ReceiveMessage", members{"QueueUrl": url, "WaitTimeSeconds": 20, "AttributeNames": []string{"All"}, "MessageAttributeNames": []string{"All"}})
	if m := got.out.Messages; len(m) != 1 || m[0].MessageAttributes["b"].BinaryValue != "AP8B" {
		t.Errorf("%s", got.body)
	}
	attrs := c.call(t, "GetQueueAttributes", members{"QueueUrl": url, "AttributeNames": []string{"All"}})
	batch := c.call(t, "DeleteMessageBatch", members{"QueueUrl": url, "Entries": []members{{"Id": "a", "ReceiptHandle": "x"}}})
	dlq := c.create(t, "dlq", nil)
	c.create(t, "source", members{"RedrivePolicy": `{"deadLetterTargetArn":"` + c.arn("dlq") + `","maxReceiveCount":"3"}`})
	c.must(t, "SendMessage", members{"QueueUrl": dlq, "MessageBody": "x"})
	c.must(t, "StartMessageMoveTask", members{"SourceArn": c.arn("dlq"), "DestinationArn": c.arn("source"), "MaxNumberOfMessagesPerSecond": 1})
	tasks := c.call(t, "ListMessageMoveTasks", members{"SourceArn": c.arn("dlq")})
	want := map[string][]string{
		"JSON": {
			`"ApproximateReceiveCount":"1"`, `"VisibilityTimeout":"0"`, `"SenderFault":true`, `"MaxNumberOfMessagesPerSecond":1,`, `"ApproximateNumberOfMessagesToMove":1`,
		},
		"Query": {
			`<Name>ApproximateReceiveCount</Name><Value>1</Value>`, `<Name>VisibilityTimeout</Name><Value>0</Value>`, `<SenderFault>true</SenderFault>`,
			`<MaxNumberOfMessagesPerSecond>1</MaxNumberOfMessagesPerSecond>`, `<ApproximateNumberOfMessagesToMove>1</ApproximateNumberOfMessagesToMove>`,
		},
	}[c.name]
	all := string(got.body) + string(attrs.body) + string(batch.body) + string(tasks.body)
	for _, text := range want {
		if !strings.Contains(all, text) {
			t.Errorf("no %s in %s", text, all)
		}
	}
	if c.name == "JSON" && !regexp.MustCompile(`"StartedTimestamp":\d{13}[,}]`).Match(tasks.body) {
		t.Errorf("%s", tasks.body)
	}
	bad := c.call(t, "SendMessage", members{"QueueUrl": url, "MessageBody": "x", "DelaySeconds": "soon"})
	if bad.status != 400 || bad.code != "MalformedInput" || c.name == "JSON" && bad.shape != "com.amazon.coral.service#SerializationException" {
		t.Errorf("%d %s %s", bad.status, bad.code, bad.shape)
	}
}

func attributeChecks(t *testing.T, c *client) {
	url := c.create(t, "q", nil)
	for name, values := range map[string][2]string{
		"DelaySeconds": {"-1", "901"}, "MaximumMessageSize": {"1023", "1048577"}, "MessageRetentionPeriod": {"59", "1209601"},
		"ReceiveMessageWaitTimeSeconds": {"-1", "21"}, "VisibilityTimeout": {"-1", "43201"}, "KmsDataKeyReusePeriodSeconds": {"59", "86401"},
		"SqsManagedSseEnabled": {"maybe", ""}, "Policy": {"{}", "no JSON"},
	} {
		for _, v := range values {
			c.refused(t, "SetQueueAttributes", members{"QueueUrl": url, "Attributes": members{name: v}}, "InvalidAttributeValue", "Invalid value for the parameter "+name+".")
			c.refused(t, "CreateQueue", members{"QueueName": "new", "Attributes": members{name: v}}, "InvalidAttributeValue", "Invalid value for the parameter "+name+".")
		}
	}
	for _, name := range []string{"Foobar", "QueueArn", "CreatedTimestamp", "ApproximateNumberOfMessages", "All"} {
		c.refused(t, "SetQueueAttributes", members{"QueueUrl": url, "Attributes": members{name: "1"}}, "InvalidAttributeName", "Unknown Attribute "+name+".")
	}
	for text, name := range map[string]string{
		"Unknown Attribute FifoQueue.": "FifoQueue", "Unknown Attribute ContentBasedDeduplication.": "ContentBasedDeduplication",
		"You can specify the DeduplicationScope only when FifoQueue is set to true.":  "DeduplicationScope",
		"You can specify the FifoThroughputLimit only when FifoQueue is set to true.": "FifoThroughputLimit",
	} {
		c.refused(t, "SetQueueAttributes", members{"QueueUrl": url, "Attributes": members{name: "true"}}, "InvalidAttributeName", text)
	}
	got := c.must(t, "GetQueueAttributes", members{"QueueUrl": url, "AttributeNames": []string{"All"}}).Attributes
	for _, changing := range []string{"CreatedTimestamp", "LastModifiedTimestamp"} {
		if len(got[changing]) != 10 {
			t.Errorf("%s is %q", changing, got[changing])
		}
		delete(got, changing)
	}
	want := pairs{
		"QueueArn": c.arn("q"), "ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesNotVisible": "0", "ApproximateNumberOfMessagesDelayed": "0",
		"DelaySeconds": "0", "MaximumMessageSize": "1048576", "MessageRetentionPeriod": "345600", "ReceiveMessageWaitTimeSeconds": "0", "VisibilityTimeout": "30",
		"SqsManagedSseEnabled": "true",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("All: %s", diff)
	}
	c.refused(t, "SetQueueAttributes", members{"QueueUrl": url, "Attributes": members{"KmsMasterKeyId": "k", "SqsManagedSseEnabled": "true"}}, "InvalidAttributeName", "one type of server-side encryption")
	c.must(t, "SetQueueAttributes", members{"QueueUrl": url, "Attributes": members{"KmsMasterKeyId": "alias/k"}})
	if got := c.must(t, "GetQueueAttributes", members{"QueueUrl": url, "AttributeNames": []string{"SqsManagedSseEnabled", "KmsMasterKeyId"}}).Attributes; got["SqsManagedSseEnabled"] != "false" || got["KmsMasterKeyId"] != "alias/k" {
		t.Errorf("%v", got)
	}
}

func pages(t *testing.T, c *client) {
	var want []string
	for i := range 5 {
		want = append(want, c.create(t, fmt.Sprint("p", i), nil))
	}
	c.create(t, "P0", nil) // names are case-sensitive
	if all := c.must(t, "ListQueues", members{"QueueNamePrefix": "p"}); all.NextToken != "" || !cmp.Equal(all.QueueURLs, want) {
		t.Errorf("%v, token %q without MaxResults", all.QueueURLs, all.NextToken)
	}
	var got []string
	token := ""
	for n := 0; n == 0 || token != ""; n++ {
		in := members{"QueueNamePrefix": "p", "MaxResults": 2}
		if token != "" {
			in["NextToken"] = token
		}
		page := c.must(t, "ListQueues", in)
		got, token = append(got, page.QueueURLs...), page.NextToken
		if n == 0 && len(page.QueueURLs) != 2 || n > 3 {
			t.Fatalf("page %d: %v", n, page)
		}
	}
	if !cmp.Equal(got, want) {
		t.Errorf("in pages: %v", got)
	}
	c.refused(t, "ListQueues", members{"NextToken": "mine", "MaxResults": 2}, "InvalidParameterValue", "NextToken")
	for _, n := range []int{0, 1001} {
		c.refused(t, "ListQueues", members{"MaxResults": n}, "InvalidParameterValue", fmt.Sprintf("Value %d for parameter MaxResults is invalid.", n))
	}
}

func batches(t *testing.T, c *client) {
	url := c.create(t, "q", members{"MaximumMessageSize": "1024"})
	entry := func(id, body string) members { return members{"Id": id, "MessageBody": body} }
	const prefix = "AWS.SimpleQueueService."
	eleven, big := []members{}, []members{}
	for i := range 11 {
		eleven = append(eleven, entry("same", "x"))
		if i < 10 {
			big = append(big, entry(strconv.Itoa(i), strings.Repeat("x", 104858)))
		}
	}
	for _, tc := range []struct {
		entries    []members
		code, text string
	}{
		{[]members{}, "EmptyBatchRequest", "There should be at least one SendMessageBatchRequestEntry in the request."},
		{eleven, "TooManyEntriesInBatchRequest", "Maximum number of entries per request are 10. You have sent 11."},
		{[]members{entry("a b", "x"), entry("a b", "x")}, "InvalidBatchEntryId", "A batch entry id can only contain alphanumeric characters, hyphens and underscores. It can be at most 80 letters long."},
		{[]members{entry(strings.Repeat("a", 81), "x")}, "InvalidBatchEntryId", "at most 80"},
		{[]members{entry("id_2", "x"), entry("id_2", "x")}, "BatchEntryIdsNotDistinct", "Id id_2 repeated."},
		{big, "BatchRequestTooLong", "Batch requests cannot be longer than 1048576 bytes. You have sent 1048580 bytes."},
	} {
		c.refused(t, "SendMessageBatch", members{"QueueUrl": url, "Entries": tc.entries}, prefix+tc.code, tc.text)
	}
	for _, action := range []string{"DeleteMessageBatch", "ChangeMessageVisibilityBatch"} {
		c.refused(t, action, members{"QueueUrl": url, "Entries": []members{}}, prefix+"EmptyBatchRequest", "There should be at least one "+action+"RequestEntry in the request.")
	}
	if got := c.must(t, "ReceiveMessage", members{"QueueUrl": url}); len(got.Messages) != 0 {
		t.Errorf("refused batches left %v", got.Messages)
	}
	late := entry("late", "x")
	late["DelaySeconds"] = 901
	got := c.must(t, "SendMessageBatch", members{"QueueUrl": url, "Entries": []members{
		entry("good", "1"), entry("long", strings.Repeat("x", 1025)), entry("characters", "\x01"), entry("empty", ""), late,
	}})
	want := []failure{
		{"long", true, "InvalidParameterValue", "One or more parameters cannot be validated. Reason: Message must be shorter than 1024 bytes."},
		{"characters", true, "InvalidMessageContents", "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"},
		{"empty", true, "MissingParameter", "The request must contain the parameter MessageBody."},
		{"late", true, "InvalidParameterValue", "Value 901 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900."},
	}
	if diff := cmp.Diff(want, got.Failed); diff != "" || len(got.Successful) != 1 || got.Successful[0].ID != "good" {
		t.Errorf("%+v %s", got.Successful, diff)
	}
	m := c.receive(t, url, nil)
	changed := c.must(t, "ChangeMessageVisibilityBatch", members{"QueueUrl": url, "Entries": []members{
		{"Id": "a", "ReceiptHandle": m.ReceiptHandle, "VisibilityTimeout": 60},
		{"Id": "b", "ReceiptHandle": "x", "VisibilityTimeout": 60},
		{"Id": "c", "ReceiptHandle": m.ReceiptHandle, "VisibilityTimeout": 43201},
	}})
	deleted := c.must(t, "DeleteMessageBatch", members{"QueueUrl": url, "Entries": []members{{"Id": "a", "ReceiptHandle": m.ReceiptHandle}, {"Id": "b", "ReceiptHandle": "x"}}})
	for what, out := range map[string]output{"changed": changed, "deleted": deleted} {
		if len(out.Successful) != 1 || out.Successful[0].ID != "a" || len(out.Failed) < 1 || out.Failed[0].ID != "b" || out.Failed[0].Code != "ReceiptHandleIsInvalid" || !out.Failed[0].SenderFault {
			t.Errorf("%s: %+v %+v", what, out.Successful, out.Failed)
		}
	}
	if len(changed.Failed) != 2 || changed.Failed[1].Code != "InvalidParameterValue" {
		t.Errorf("%+v", changed.Failed)
	}
}

func access(t *testing.T, c *client) {
	url := c.create(t, "q", nil)
	grant := members{"QueueUrl": url, "Label": "one", "AWSAccountIds": []string{"123456789012"}, "Actions": []string{"SendMessage"}}
	c.must(t, "AddPermission", grant)
	statement := func(label, account string) string {
		return `{"Sid":"` + label + `","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + account + `:root"},"Action":"SQS:SendMessage","Resource":"` + c.arn("q") + `"}`
	}
	policy := func() string {
		return c.must(t, "GetQueueAttributes", members{"QueueUrl": url, "AttributeNames": []string{"Policy"}}).Attributes["Policy"]
	}
	head := `{"Version":"2008-10-17","Id":"` + c.arn("q") + `/SQSDefaultPolicy","Statement":[`
	if got, want := policy(), head+statement("one", "123456789012")+`]}`; got != want {
		t.Errorf(" got %s\nwant %s", got, want)
	}
	c.refused(t, "AddPermission", grant, "InvalidParameterValue", "Value one for parameter Label is invalid. Reason: Already exists.")
	c.refused(t, "RemovePermission", members{"QueueUrl": url, "Label": "two"}, "InvalidParameterValue", "Value two for parameter Label is invalid. Reason: can't find label.")
	c.must(t, "RemovePermission", members{"QueueUrl": url, "Label": "one"})
	if got := policy(); got != "" {
		t.Errorf("the last statement is gone, the policy is %s", got)
	}

	// Credentials: every refusal has its own code, and the two protocols differ.
	type want struct {
		status      int
		code, shape string
	}
	unsigned := map[string]want{"JSON": {403, "AccessDenied", "AccessDeniedException"}, "Query": {403, "MissingAuthenticationToken", ""}}[c.name]
	try := func(change func(c *client, r *http.Request, body []byte)) answer {
		t.Helper()
		other := *c
		body, header := c.encode(t, "ListQueues", members{})
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, c.p.URL+"/", strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		r.Header = header
		change(&other, r, body)
		return c.unsigned(t, r)
	}
	for name, tc := range map[string]struct {
		change func(c *client, r *http.Request, body []byte)
		want   want
	}{
		"without a signature": {func(*client, *http.Request, []byte) {}, unsigned},
		"an unknown key": {func(c *client, r *http.Request, body []byte) {
			c.keys = mnqtest.Keys{Access: "AKIDUNKNOWN", Secret: "x"}
			c.sign(t, r, body)
		}, want{403, "InvalidClientTokenId", "UnrecognizedClientException"}},
		"a wrong secret": {func(c *client, r *http.Request, body []byte) {
			c.keys.Secret = "wrong"
			c.sign(t, r, body)
		}, want{403, "SignatureDoesNotMatch", "InvalidSignatureException"}},
		"a changed header": {func(c *client, r *http.Request, body []byte) {
			c.sign(t, r, body)
			r.Header.Set("X-Amz-Date", time.Now().Add(time.Minute).UTC().Format("20060102T150405Z"))
		}, want{403, "SignatureDoesNotMatch", "InvalidSignatureException"}},
		"an old signature": {func(c *client, r *http.Request, body []byte) {
			r.Header.Set("X-Amz-Date", "20200101T000000Z")
			r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential="+c.keys.Access+"/20200101/"+region+"/sqs/aws4_request, SignedHeaders=host;x-amz-date, Signature="+strings.Repeat("0", 64))
		}, want{403, "SignatureDoesNotMatch", "InvalidSignatureException"}},
		"half a header": {func(_ *client, r *http.Request, _ []byte) {
			r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=x")
		}, want{400, "IncompleteSignature", "IncompleteSignatureException"}},
		"a session token that nobody gave out": {func(c *client, r *http.Request, body []byte) {
			r.Header.Set("X-Amz-Security-Token", "token")
			c.sign(t, r, body)
		}, want{403, "InvalidClientTokenId", "UnrecognizedClientException"}},
	} {
		a := try(tc.change)
		if a.status != tc.want.status || a.code != tc.want.code || c.name == "JSON" && a.shape != "com.amazon.coral.service#"+tc.want.shape {
			t.Errorf("%s: %d %s %s, want %+v", name, a.status, a.code, a.shape, tc.want)
		}
	}
}
