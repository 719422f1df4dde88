package aws

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openmnq/mnq"
)

// topicScenarios are those of SNS. Each has a namespace of its own.
var topicScenarios = []struct {
	name string
	run  func(t *testing.T, i *installation, c *client)
}{
	{"MissingTopicsAndWrongARNs", topicARNs},
	{"AnswersHaveTheirForm", answerForms},
	{"TopicsAreListedInPages", topicPages},
	{"SubscriptionsAreListedInPages", subscriptionPages},
	{"PoliciesOpenTopics", topicPolicies},
	{"SubscriptionsAreAddressed", subscriptionARNs},
	{"QueuesAreChecked", queueEndpoints},
	{"PublishesAreChecked", publishes},
	{"BatchesAreCheckedAsAWhole", publishBatches},
	{"LinksNeedWhatTheyName", links},
	{"CertificatesAreServed", certificates},
	{"PermissionsAreNeeded", topicPermissions},
	{"TagsAreKept", topicTags},
}

func TestTopicConformance(t *testing.T) {
	t.Parallel()
	i := install(t, nil)
	for _, s := range topicScenarios {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.run(t, i, i.tenant(t, snsWire))
		})
	}
}

func (c *client) topicARN(name string) string { return "arn:scw:sns:fr-par:" + c.ns.ID + ":" + name }

func (c *client) createTopic(t *testing.T, name string) string {
	t.Helper()
	in := &createTopicInput{Name: name}
	if strings.HasSuffix(name, ".fifo") {
		in.Attributes = map[string]string{"FifoTopic": "true"}
	}
	return do[createTopicOutput](t, c, "CreateTopic", in).TopicArn
}

// queues speaks SQS with the same credential.
func (c *client) queues() *client {
	other := *c
	other.w = wires[1]
	return &other
}

func topicARNs(t *testing.T, _ *installation, c *client) {
	if got := c.createTopic(t, "t"); got != c.topicARN("t") {
		t.Errorf("%s, want %s", got, c.topicARN("t"))
	}
	const is = "InvalidParameter"
	for arn, want := range map[string][2]string{
		"":                              {is, "Invalid parameter: TopicArn Reason: no value for required parameter"},
		"x":                             {is, "Invalid parameter: TopicArn Reason: An ARN must have at least 6 elements, not 1"},
		"a:b":                           {is, "Invalid parameter: TopicArn Reason: An ARN must have at least 6 elements, not 2"},
		"arn:aws:sns:fr-par:" + c.ns.ID: {is, "Invalid parameter: TopicArn Reason: An ARN must have at least 6 elements, not 5"},
		strings.Replace(c.topicARN("t"), "fr-par", "nl-ams", 1): {is, "Invalid parameter: TopicArn"},
		strings.Replace(c.topicARN("t"), ":sns:", ":sqs:", 1):   {is, "Invalid parameter: TopicArn"},
		c.topicARN("t") + ":x":                                  {is, "Invalid parameter: TopicArn"},
		c.topicARN(strings.Repeat("x", 2000)):                   {is, "Invalid parameter: TopicArn"},
		c.topicARN("missing"):                                   {"NotFound", "Topic does not exist"},
	} {
		for action, in := range map[string]any{
			"GetTopicAttributes": &topicInput{TopicArn: arn}, "ListSubscriptionsByTopic": &listSubscriptionsByTopicInput{TopicArn: arn},
			"SetTopicAttributes": &setTopicAttributesInput{TopicArn: arn, AttributeName: "DisplayName", AttributeValue: "x"},
			"Subscribe":          &subscribeInput{TopicArn: arn, Protocol: "sqs", Endpoint: "arn:aws:sqs:fr-par:" + c.ns.ID + ":q"},
			"PublishBatch":       &publishBatchInput{TopicArn: arn, PublishBatchRequestEntries: []publishEntry{{Id: "1", Message: "x"}}},
		} {
			if a := c.call(t, action, in); a.code != want[0] || a.msg != want[1] {
				t.Errorf("%s of %q: %d %s %q, want %q", action, arn, a.status, a.code, a.msg, want)
			}
		}
	}
	for _, partition := range []string{"aws", "scw", "aws-cn"} {
		do[attributesOutput](t, c, "GetTopicAttributes", &topicInput{TopicArn: strings.Replace(c.topicARN("t"), "scw", partition, 1)})
	}
	for range 2 {
		do[none](t, c, "DeleteTopic", &topicInput{TopicArn: c.topicARN("t")})
	}
	if a := c.call(t, "GetTopicAttributes", &topicInput{TopicArn: c.topicARN("t")}); a.code != "NotFound" || a.status != http.StatusNotFound {
		t.Errorf("%d %s", a.status, a.code)
	}
}

func answerForms(t *testing.T, _ *installation, c *client) {
	topic := c.createTopic(t, "t")
	has := func(action string, in any, want string) {
		t.Helper()
		a := c.call(t, action, in)
		head, tail := `<?xml version="1.0"?><`+action+`Response xmlns="http://sns.amazonaws.com/doc/2010-03-31/">`, `<ResponseMetadata><RequestId>`
		if got := string(a.body); a.status != http.StatusOK || !strings.HasPrefix(got, head+want+tail) {
			t.Errorf("%s: %d %s, want %s", action, a.status, got, want)
		}
	}
	has("ListSubscriptions", &pageInput{}, `<ListSubscriptionsResult><Subscriptions></Subscriptions></ListSubscriptionsResult>`)
	has("ListTagsForResource", &resourceInput{ResourceArn: topic}, `<ListTagsForResourceResult><Tags></Tags></ListTagsForResourceResult>`)
	has("ListTopics", &pageInput{}, `<ListTopicsResult><Topics><member><TopicArn>`+topic+`</TopicArn></member></Topics></ListTopicsResult>`)
	has("TagResource", &tagResourceInput{ResourceArn: topic, Tags: []tag{{"k", "v"}}}, `<TagResourceResult></TagResourceResult>`)
	has("ListTagsForResource", &resourceInput{ResourceArn: topic}, `<ListTagsForResourceResult><Tags><member><Key>k</Key><Value>v</Value></member></Tags></ListTagsForResourceResult>`)
	has("UntagResource", &untagResourceInput{ResourceArn: topic, TagKeys: []string{"k"}}, `<UntagResourceResult></UntagResourceResult>`)
	has("GetDataProtectionPolicy", &resourceInput{ResourceArn: topic},
		`<GetDataProtectionPolicyResult><DataProtectionPolicy></DataProtectionPolicy></GetDataProtectionPolicyResult>`)
	has("SetTopicAttributes", &setTopicAttributesInput{TopicArn: topic, AttributeName: "DisplayName", AttributeValue: "d"}, ``)
	has("AddPermission", &topicPermissionInput{TopicArn: topic, Label: "l", AWSAccountId: []string{"123456789012"}, ActionName: []string{"Publish"}}, ``)
	has("RemovePermission", &removeTopicPermissionInput{TopicArn: topic, Label: "l"}, ``)
	has("Unsubscribe", &subscriptionInput{SubscriptionArn: topic + ":0198b0a2-0000-7000-8000-000000000000"}, ``)
	a := c.call(t, "PublishBatch", &publishBatchInput{TopicArn: topic, PublishBatchRequestEntries: []publishEntry{{Id: "1", Message: "x"}}})
	if !strings.Contains(string(a.body), `<PublishBatchResult><Failed></Failed><Successful><member><Id>1</Id><MessageId>`) {
		t.Errorf("%s", a.body)
	}
	has("DeleteTopic", &topicInput{TopicArn: topic}, ``)
	a = c.call(t, "GetTopicAttributes", &topicInput{TopicArn: topic})
	if want := `<?xml version="1.0"?><ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Sender</Type><Code>NotFound</Code>` +
		`<Message>Topic does not exist</Message></Error><RequestId>`; !strings.HasPrefix(string(a.body), want) {
		t.Errorf("%s", a.body)
	}
}

func topicPages(t *testing.T, i *installation, c *client) {
	i.unlimited(t, c)
	for n := range 101 {
		c.createTopic(t, fmt.Sprintf("t%03d", n))
	}
	first := do[listTopicsOutput](t, c, "ListTopics", &pageInput{})
	rest := do[listTopicsOutput](t, c, "ListTopics", &pageInput{NextToken: first.NextToken})
	if len(first.Topics) != 100 || len(rest.Topics) != 1 || rest.Topics[0].TopicArn != c.topicARN("t100") || rest.NextToken != "" {
		t.Errorf("%d topics, then %+v", len(first.Topics), rest)
	}
	c.refused(t, "ListTopics", &pageInput{NextToken: "nonsense"}, "InvalidParameter", "NextToken")
	c.refused(t, "ListSubscriptions", &pageInput{NextToken: first.NextToken}, "InvalidParameter", "NextToken")
	other := i.tenant(t, snsWire)
	other.refused(t, "ListTopics", &pageInput{NextToken: first.NextToken}, "InvalidParameter", "NextToken")
}

func subscriptionPages(t *testing.T, i *installation, c *client) {
	i.unlimited(t, c)
	topics := []string{c.createTopic(t, "a"), c.createTopic(t, "b")}
	for n := range 102 {
		do[subscriptionOutput](t, c, "Subscribe", &subscribeInput{
			TopicArn: topics[n%2], Protocol: "sqs", Endpoint: fmt.Sprintf("arn:aws:sqs:fr-par:%s:q%d", c.ns.ID, n),
		})
	}
	first := do[listSubscriptionsOutput](t, c, "ListSubscriptions", &pageInput{})
	rest := do[listSubscriptionsOutput](t, c, "ListSubscriptions", &pageInput{NextToken: first.NextToken})
	seen := map[string]bool{}
	for _, s := range append(first.Subscriptions, rest.Subscriptions...) {
		seen[s.SubscriptionArn] = true
	}
	if len(first.Subscriptions) != 100 || len(seen) != 102 || rest.NextToken != "" {
		t.Errorf("%d subscriptions, %d in all, token %q", len(first.Subscriptions), len(seen), rest.NextToken)
	}
	one := do[listSubscriptionsOutput](t, c, "ListSubscriptionsByTopic", &listSubscriptionsByTopicInput{TopicArn: topics[1]})
	if len(one.Subscriptions) != 51 || one.Subscriptions[0].TopicArn != topics[1] || one.NextToken != "" {
		t.Errorf("%d subscriptions of one topic", len(one.Subscriptions))
	}
}

// unlimited takes the quotas off c's namespace.
func (i *installation) unlimited(t *testing.T, c *client) {
	t.Helper()
	if _, err := i.dir.SetQuota(t.Context(), c.ns.ID, mnq.Quota{Topics: -1, Subscriptions: -1}); err != nil {
		t.Fatal(err)
	}
}

func topicPolicies(t *testing.T, i *installation, c *client) {
	guest, stranger := i.tenant(t, snsWire), i.tenant(t, snsWire)
	topic := c.createTopic(t, "t")
	publish, attributes := &publishInput{TopicArn: topic, Message: "x"}, &topicInput{TopicArn: topic}
	refused := func(who *client, action string, in any) {
		t.Helper()
		who.refused(t, action, in, "AuthorizationError", "is not authorized to perform: SNS:"+strings.TrimSuffix(action, "Batch")+" on resource: "+topic)
	}
	refused(guest, "Publish", publish)
	missing := c.topicARN("missing")
	guest.refused(t, "Publish", &publishInput{TopicArn: missing, Message: "x"}, "AuthorizationError", "is not authorized to perform: SNS:Publish on resource: "+missing)
	do[none](t, c, "AddPermission", &topicPermissionInput{TopicArn: topic, Label: "l", AWSAccountId: []string{guest.ns.ID}, ActionName: []string{"Publish"}})
	do[publishOutput](t, guest, "Publish", publish)
	batch := &publishBatchInput{TopicArn: topic, PublishBatchRequestEntries: []publishEntry{{Id: "1", Message: "x"}}}
	do[publishBatchOutput](t, guest, "PublishBatch", batch)
	refused(stranger, "Publish", publish)
	refused(guest, "GetTopicAttributes", attributes)
	do[none](t, c, "AddPermission", &topicPermissionInput{TopicArn: topic, Label: "m", AWSAccountId: []string{guest.ns.ID}, ActionName: []string{"GetTopicAttributes"}})
	if got := do[attributesOutput](t, guest, "GetTopicAttributes", attributes).Attributes["Owner"]; got != c.ns.ID {
		t.Errorf("owner %s", got)
	}
	set := func(policy string) {
		t.Helper()
		do[none](t, c, "SetTopicAttributes", &setTopicAttributesInput{TopicArn: topic, AttributeName: "Policy", AttributeValue: policy})
	}
	// What stays with the owner no policy opens.
	set(`{"Version":"2008-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":"SNS:*","Resource":"` + topic + `"}]}`)
	do[publishOutput](t, stranger, "Publish", publish)
	refused(guest, "DeleteTopic", attributes)
	refused(guest, "Subscribe", &subscribeInput{TopicArn: topic, Protocol: "sqs", Endpoint: "arn:aws:sqs:fr-par:" + guest.ns.ID + ":q"})
	refused(guest, "TagResource", &tagResourceInput{ResourceArn: topic, Tags: []tag{{"k", "v"}}})
	refused(guest, "ListTagsForResource", &resourceInput{ResourceArn: topic})
	refused(guest, "SetTopicAttributes", &setTopicAttributesInput{TopicArn: topic, AttributeName: "Policy"})
	refused(guest, "RemovePermission", &removeTopicPermissionInput{TopicArn: topic, Label: "l"})
	set(`{"Version":"2008-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"SNS:Publish","Resource":"` + topic + `"}]}`)
	refused(c, "Publish", publish)
	do[attributesOutput](t, c, "GetTopicAttributes", attributes)
	set("")
	do[publishOutput](t, c, "Publish", publish)
}

func subscriptionARNs(t *testing.T, i *installation, c *client) {
	topic := c.createTopic(t, "t")
	const is, missing = "InvalidParameter", "0198b0a2-0000-7000-8000-000000000000"
	for arn, text := range map[string]string{
		"x":     "Invalid parameter: SubscriptionArn Reason: An ARN must have at least 6 elements, not 1",
		"a:b:c": "Invalid parameter: SubscriptionArn Reason: An ARN must have at least 6 elements, not 3",
		topic:   "Invalid parameter: SubscriptionId",
		strings.Replace(topic, "fr-par", "nl-ams", 1) + ":" + missing: "Invalid parameter: SubscriptionArn",
		"PendingConfirmation":  "Invalid parameter: SubscriptionArn Reason: An ARN must have at least 6 elements, not 1",
		"pending confirmation": "Invalid parameter: SubscriptionArn Reason: An ARN must have at least 6 elements, not 1",
	} {
		c.refused(t, "Unsubscribe", &subscriptionInput{SubscriptionArn: arn}, is, text)
		c.refused(t, "GetSubscriptionAttributes", &subscriptionInput{SubscriptionArn: arn}, is, text)
		c.refused(t, "SetSubscriptionAttributes", &setSubscriptionAttributesInput{SubscriptionArn: arn, AttributeName: "RawMessageDelivery", AttributeValue: "true"}, is, text)
	}
	c.refused(t, "Unsubscribe", &subscriptionInput{}, is, "Invalid parameter: SubscriptionArn Reason: no value for required parameter")
	c.refused(t, "Unsubscribe", &subscriptionInput{SubscriptionArn: topic + ":random"}, is, "Invalid parameter: SubscriptionId")
	do[none](t, c, "Unsubscribe", &subscriptionInput{SubscriptionArn: topic + ":" + missing})
	c.refused(t, "GetSubscriptionAttributes", &subscriptionInput{SubscriptionArn: topic + ":" + missing}, "NotFound", "Subscription does not exist")
	subscribed := do[subscriptionOutput](t, c, "Subscribe", &subscribeInput{TopicArn: topic, Protocol: "sqs", Endpoint: "arn:aws:sqs:fr-par:" + c.ns.ID + ":q"}).SubscriptionArn
	other := i.tenant(t, snsWire)
	for _, arn := range []string{subscribed, topic + ":" + missing} {
		other.refused(t, "GetSubscriptionAttributes", &subscriptionInput{SubscriptionArn: arn}, "AuthorizationError", arn)
		other.refused(t, "Unsubscribe", &subscriptionInput{SubscriptionArn: arn}, "AuthorizationError", arn)
	}
	principal := do[attributesOutput](t, c, "GetSubscriptionAttributes", &subscriptionInput{SubscriptionArn: subscribed}).Attributes["SubscriptionPrincipal"]
	if !strings.HasPrefix(principal, "arn:aws:iam::"+c.ns.ID+":user/") {
		t.Errorf("principal %s", principal)
	}
	do[none](t, c, "Unsubscribe", &subscriptionInput{SubscriptionArn: subscribed})
	c.refused(t, "GetSubscriptionAttributes", &subscriptionInput{SubscriptionArn: subscribed}, "NotFound", "Subscription does not exist")
}

func queueEndpoints(t *testing.T, i *installation, c *client) {
	topic, fifo := c.createTopic(t, "t"), c.createTopic(t, "t.fifo")
	other := i.tenant(t, snsWire)
	subscribe := func(to, endpoint string) *subscribeInput {
		return &subscribeInput{TopicArn: to, Protocol: "sqs", Endpoint: endpoint}
	}
	q := c.queues()
	c.refused(t, "Subscribe", subscribe(topic, "http://mq.test/"+c.ns.ID+"/q"), "InvalidParameter", "Invalid parameter: SQS endpoint ARN")
	c.refused(t, "Subscribe", subscribe(topic, strings.Replace(q.arn("q"), "fr-par", "nl-ams", 1)), "InvalidParameter", "Invalid parameter: SQS endpoint ARN")
	c.refused(t, "Subscribe", subscribe(topic, other.queues().arn("q")), "AuthorizationError", "The queue must belong to the account of the topic.")
	c.refused(t, "Subscribe", subscribe(topic, q.arn("q.fifo")), "InvalidParameter",
		"Invalid parameter: Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics")
	do[subscriptionOutput](t, c, "Subscribe", subscribe(topic, strings.Replace(q.arn("missing"), "scw", "aws", 1)))
	do[subscriptionOutput](t, c, "Subscribe", subscribe(fifo, q.arn("q.fifo")))
	do[subscriptionOutput](t, c, "Subscribe", subscribe(fifo, q.arn("q")))
}

func publishes(t *testing.T, _ *installation, c *client) {
	topic, q := c.createTopic(t, "t"), c.queues()
	url := q.create(t, "q", nil)
	do[subscriptionOutput](t, c, "Subscribe", &subscribeInput{
		TopicArn: topic, Protocol: "sqs", Endpoint: q.arn("q"), Attributes: map[string]string{"RawMessageDelivery": "true"},
	})
	attributes := map[string]publishedAttribute{
		"text": {DataType: "String.x", StringValue: new("v")}, "list": {DataType: "String.Array", StringValue: new(`["a"]`)},
		"blob": {DataType: "Binary", BinaryValue: new([]byte{0, 255})}, "n": {DataType: "Number", StringValue: new("1.5")},
	}
	sent := do[publishOutput](t, c, "Publish", &publishInput{TargetArn: topic, Message: "a\r\n<b>", MessageAttributes: attributes, MessageGroupId: "g"})
	m := q.receive(t, url, 30)
	want := map[string]attributeValue{
		"text": {DataType: "String.x", StringValue: "v"}, "list": {DataType: "String.Array", StringValue: `["a"]`},
		"blob": {DataType: "Binary", BinaryValue: []byte{0, 255}}, "n": {DataType: "Number", StringValue: "1.5"},
	}
	if diff := cmp.Diff(want, m.MessageAttributes); diff != "" || m.Body != "a\r\n<b>" || sent.MessageId == "" || sent.SequenceNumber != "" || m.Attributes["MessageGroupId"] != "g" {
		t.Errorf("sent %+v, received %+v: %s", sent, m, diff)
	}
	const is = "InvalidParameter"
	for _, tc := range []struct {
		in         publishInput
		code, text string
	}{
		{publishInput{Message: "x"}, is, "Invalid parameter: TopicArn or TargetArn Reason: no value for required parameter"},
		{publishInput{TopicArn: topic, TargetArn: topic, Message: "x"}, is, "only one of TopicArn, TargetArn and PhoneNumber can be given"},
		{publishInput{TopicArn: topic}, "ValidationError", "1 validation error detected: Value null at 'message' failed to satisfy constraint: Member must not be null"},
		{publishInput{PhoneNumber: "+1a234", Message: "x"}, is, "Invalid parameter: PhoneNumber Reason: +1a234 is not valid to publish to"},
		{publishInput{PhoneNumber: "+15551234567", Message: "x"}, is, "Invalid parameter: PhoneNumber Reason: SMS is not supported"},
		{publishInput{TargetArn: "arn:aws:sns:fr-par:" + c.ns.ID + ":endpoint/APNS/a/b", Message: "x"}, is, "Invalid parameter: TargetArn Reason: No endpoint found for the target arn specified"},
		{publishInput{TopicArn: topic, Message: strings.Repeat("x", 262_145)}, is, "Invalid parameter: Message too long"},
		{publishInput{TopicArn: topic, Message: "x", Subject: new("")}, is, "Invalid parameter: Subject"},
		{publishInput{TopicArn: topic, Message: "x", Subject: new("a\nb")}, is, "Invalid parameter: Subject"},
		{publishInput{TopicArn: topic, Message: "{", MessageStructure: "json"}, is, "Invalid parameter: Message Structure - JSON message body failed to parse"},
		{publishInput{TopicArn: topic, Message: "x", MessageDeduplicationId: "d"}, is, "MessageDeduplicationId Reason: The request includes MessageDeduplicationId parameter that is not valid for this topic type"},
	} {
		c.refused(t, "Publish", &tc.in, tc.code, tc.text)
	}
	for _, tc := range []struct {
		v    publishedAttribute
		text string
	}{
		{publishedAttribute{DataType: "String"}, "must contain non-empty message attribute value for message attribute type 'String'."},
		{publishedAttribute{DataType: "String", StringValue: new("")}, "must contain non-empty message attribute value for message attribute type 'String'."},
		{publishedAttribute{DataType: "Text", BinaryValue: new([]byte("x"))}, "has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String."},
		{publishedAttribute{DataType: "Binary", StringValue: new("x")}, "with type 'Binary' must use field 'Binary'."},
		{publishedAttribute{DataType: "Number", BinaryValue: new([]byte("x"))}, "with type 'Number' must use field 'String'."},
	} {
		c.refused(t, "Publish", &publishInput{TopicArn: topic, Message: "x", MessageAttributes: map[string]publishedAttribute{"a": tc.v}}, "ParameterValueInvalid", "The message attribute 'a' "+tc.text)
	}
}

func publishBatches(t *testing.T, _ *installation, c *client) {
	topic, fifo := c.createTopic(t, "t"), c.createTopic(t, "t.fifo")
	batch := func(arn string, entries ...publishEntry) *publishBatchInput {
		return &publishBatchInput{TopicArn: arn, PublishBatchRequestEntries: entries}
	}
	entry := func(id string) publishEntry { return publishEntry{Id: id, Message: "x"} }
	c.refused(t, "PublishBatch", batch(topic), "ValidationError", "Value null at 'publishBatchRequestEntries' failed to satisfy constraint: Member must not be null")
	c.refused(t, "PublishBatch", batch(topic, entry("a"), publishEntry{Id: "b", Message: "x", MessageAttributes: map[string]publishedAttribute{"attr1": {StringValue: new("x")}}}),
		"ValidationError", "1 validation error detected: Value null at 'publishBatchRequestEntries.2.member.messageAttributes.attr1.member.dataType' failed to satisfy constraint: Member must not be null")
	eleven := make([]publishEntry, 11)
	for i := range eleven {
		eleven[i] = entry(strconv.Itoa(i))
	}
	c.refused(t, "PublishBatch", batch(topic, eleven...), "TooManyEntriesInBatchRequest", "The batch request contains more entries than permissible.")
	c.refused(t, "PublishBatch", batch(topic, entry("a"), entry("a")), "BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id.")
	c.refused(t, "PublishBatch", batch(topic, entry("msg@123#test")), "InvalidBatchEntryId", "contains an impermissible character: msg@123#test")
	c.refused(t, "PublishBatch", batch(topic, entry(strings.Repeat("a", 81))), "InvalidBatchEntryId", "is too long: aaa")
	half := strings.Repeat("x", 131_072)
	c.refused(t, "PublishBatch", batch(topic, publishEntry{Id: "a", Message: half}, publishEntry{Id: "b", Message: half + "x"}),
		"BatchRequestTooLong", "The length of all the messages put together is more than the limit.")
	c.refused(t, "PublishBatch", batch(fifo, publishEntry{Id: "a", Message: "x", MessageGroupId: "g", MessageDeduplicationId: "d"}, publishEntry{Id: "b", Message: "x", MessageDeduplicationId: "e"}),
		"InvalidParameter", "Invalid parameter: The MessageGroupId parameter is required for FIFO topics")
	c.refused(t, "PublishBatch", batch(fifo, publishEntry{Id: "a", Message: "x", MessageGroupId: "g"}),
		"InvalidParameter", "Invalid parameter: The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly")
	c.refused(t, "PublishBatch", batch(c.topicARN("missing"), entry("a")), "NotFound", "Topic does not exist")
	out := do[publishBatchOutput](t, c, "PublishBatch", batch(topic, entry("good"), publishEntry{Id: "bad", Message: "x", Subject: new("a\nb")}, publishEntry{
		Id: "typed", Message: "x", MessageAttributes: map[string]publishedAttribute{"a": {DataType: "Text", StringValue: new("x")}},
	}))
	if len(out.Successful) != 1 || out.Successful[0].Id != "good" || out.Successful[0].MessageId == "" {
		t.Errorf("successful %+v", out.Successful)
	}
	want := []batchResultError{
		{Id: "bad", SenderFault: true, Code: "InvalidParameter", Message: "Invalid parameter: Subject"},
		{Id: "typed", SenderFault: true, Code: "ParameterValueInvalid", Message: "The message attribute 'a' has an invalid message attribute type, the set of supported type prefixes is Binary, Number, and String."},
	}
	if diff := cmp.Diff(want, out.Failed); diff != "" {
		t.Error(diff)
	}
}

func links(t *testing.T, i *installation, c *client) {
	topic := c.createTopic(t, "t")
	subscribed := do[subscriptionOutput](t, c, "Subscribe", &subscribeInput{TopicArn: topic, Protocol: "sqs", Endpoint: "arn:aws:sqs:fr-par:" + c.ns.ID + ":q"}).SubscriptionArn
	get := func(query string) answer {
		w := httptest.NewRecorder()
		i.h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "http://mq.test/?"+query, nil))
		return readAnswer(w)
	}
	for query, want := range map[string]string{
		"Action=ConfirmSubscription&TopicArn=" + topic + "&Token=abc": "Invalid parameter: Token",
		"Action=ConfirmSubscription&TopicArn=abc&Token=abc":           "Invalid parameter: Topic",
		"Action=ConfirmSubscription&TopicArn=" + topic:                "Value null at 'token' failed to satisfy constraint: Member must not be null",
		"Action=Unsubscribe&SubscriptionArn=x":                        "Invalid parameter: SubscriptionArn",
	} {
		if a := get(query); a.status != http.StatusBadRequest || !strings.Contains(a.msg, want) {
			t.Errorf("%s: %d %s", query, a.status, a.body)
		}
	}
	c.refused(t, "ConfirmSubscription", &confirmSubscriptionInput{TopicArn: topic, Token: "abc"}, "InvalidParameter", "Invalid token")
	c.refused(t, "ConfirmSubscription", &confirmSubscriptionInput{TopicArn: topic, Token: "51b2ff3e" + strings.Repeat("0", 280)}, "InvalidParameter", "Invalid parameter: Token")
	for range 2 {
		a := get("Action=Unsubscribe&SubscriptionArn=" + subscribed)
		if want := `<?xml version="1.0"?><UnsubscribeResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><ResponseMetadata>`; a.status != 200 || !strings.HasPrefix(string(a.body), want) {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	c.refused(t, "GetSubscriptionAttributes", &subscriptionInput{SubscriptionArn: subscribed}, "NotFound", "Subscription does not exist")
}

func certificates(t *testing.T, i *installation, c *client) {
	topic, q := c.createTopic(t, "t"), c.queues()
	url := q.create(t, "q", nil)
	do[subscriptionOutput](t, c, "Subscribe", &subscribeInput{TopicArn: topic, Protocol: "sqs", Endpoint: q.arn("q")})
	do[publishOutput](t, c, "Publish", &publishInput{TopicArn: topic, Message: "x"})
	var notice struct{ SigningCertURL string }
	if err := json.Unmarshal([]byte(q.receive(t, url, 30).Body), &notice); err != nil {
		t.Fatal(err)
	}
	get := func(url string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		i.h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, url, nil))
		return w
	}
	w := get(notice.SigningCertURL)
	block, _ := pem.Decode(w.Body.Bytes())
	if w.Code != http.StatusOK || block == nil || w.Header().Get("Content-Type") != "application/x-pem-file" {
		t.Fatalf("%s: %d %v %s", notice.SigningCertURL, w.Code, w.Header(), w.Body)
	}
	if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"SimpleNotificationService-" + strings.Repeat("0", 32) + ".pem", "SimpleNotificationService-x.pem", "SimpleNotificationService-"} {
		if w := get("http://mq.test/" + name); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

func topicPermissions(t *testing.T, i *installation, c *client) {
	topic := c.createTopic(t, "t")
	nothing := i.credential(t, c, mnq.Permissions{})
	for _, op := range snsOperations() {
		if op.run == nil || op.need == 0 {
			continue
		}
		nothing.refused(t, op.name, &topicInput{TopicArn: topic}, "AuthorizationError", "Access to sns:"+op.name+" is denied: the credential needs "+permissionText(op.need)+".")
	}
	nothing.refused(t, "ConfirmSubscription", &confirmSubscriptionInput{TopicArn: topic, Token: "abc"}, "InvalidParameter", "Invalid token")
}

func topicTags(t *testing.T, _ *installation, c *client) {
	topic := c.createTopic(t, "t")
	do[empty](t, c, "TagResource", &tagResourceInput{ResourceArn: topic, Tags: []tag{{"b", "2"}, {"a", "1"}}})
	if diff := cmp.Diff([]tag{{"a", "1"}, {"b", "2"}}, do[listTagsOutput](t, c, "ListTagsForResource", &resourceInput{ResourceArn: topic}).Tags); diff != "" {
		t.Error(diff)
	}
	c.refused(t, "TagResource", &tagResourceInput{ResourceArn: topic, Tags: []tag{{"a", "1"}, {"a", "2"}}}, "InvalidParameter", "Invalid parameter: Duplicated keys are not allowed.")
	c.refused(t, "CreateTopic", &createTopicInput{Name: "u", Tags: []tag{{"a", "1"}, {"a", "2"}}}, "InvalidParameter", "Invalid parameter: Duplicated keys are not allowed.")
	c.refused(t, "TagResource", &tagResourceInput{ResourceArn: topic}, "ValidationError", "Value null at 'tags' failed")
	for _, action := range []string{"TagResource", "ListTagsForResource", "UntagResource"} {
		in := map[string]any{
			"TagResource":         &tagResourceInput{ResourceArn: c.topicARN("missing"), Tags: []tag{{"a", "1"}}},
			"ListTagsForResource": &resourceInput{ResourceArn: c.topicARN("missing")}, "UntagResource": &untagResourceInput{ResourceArn: c.topicARN("missing"), TagKeys: []string{"a"}},
		}[action]
		a := c.call(t, action, in)
		if a.code != "ResourceNotFound" || a.status != http.StatusNotFound || a.msg != "Resource does not exist" {
			t.Errorf("%s: %d %s %q", action, a.status, a.code, a.msg)
		}
	}
}
