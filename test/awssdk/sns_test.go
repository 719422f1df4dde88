package awssdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/openmnq/mnq/internal/mnqtest"
)

// receive takes one message and deletes it.
func receive(t *testing.T, c *sqs.Client, url string) sqstypes.Message {
	t.Helper()
	out, err := c.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{
		QueueUrl: &url, WaitTimeSeconds: 20, MessageAttributeNames: []string{"All"}, MessageSystemAttributeNames: []sqstypes.MessageSystemAttributeName{"All"},
	})
	if err != nil || len(out.Messages) != 1 {
		t.Fatalf("%+v %v", out, err)
	}
	if _, err := c.DeleteMessage(t.Context(), &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: out.Messages[0].ReceiptHandle}); err != nil {
		t.Fatal(err)
	}
	return out.Messages[0]
}

// newQueue makes a queue and returns its URL and ARN.
func newQueue(t *testing.T, c *sqs.Client, name string, attributes map[string]string) (url, arn string) {
	t.Helper()
	out, err := c.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: out.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{"QueueArn"}})
	if err != nil {
		t.Fatal(err)
	}
	return *out.QueueUrl, got.Attributes["QueueArn"]
}

func TestEverySNSOperation(t *testing.T) {
	t.Parallel()
	f := setup(t)
	ctx, c := t.Context(), mnqtest.SNS(f.p.URL, f.keys)
	ok := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
	created, err := c.CreateTopic(ctx, &sns.CreateTopicInput{
		Name: aws.String("t"), Attributes: map[string]string{"DisplayName": "one"}, Tags: []types.Tag{{Key: aws.String("team"), Value: aws.String("a")}},
	})
	ok("CreateTopic", err)
	topic := created.TopicArn
	if want := "arn:scw:sns:fr-par:" + f.ns + ":t"; *topic != want {
		t.Errorf("topic ARN %s, want %s", *topic, want)
	}
	topics, err := c.ListTopics(ctx, &sns.ListTopicsInput{})
	ok("ListTopics", err)
	if len(topics.Topics) != 1 || *topics.Topics[0].TopicArn != *topic || topics.NextToken != nil {
		t.Errorf("ListTopics answers %+v", topics)
	}
	_, err = c.SetTopicAttributes(ctx, &sns.SetTopicAttributesInput{TopicArn: topic, AttributeName: aws.String("DisplayName"), AttributeValue: aws.String("two")})
	ok("SetTopicAttributes", err)
	_, err = c.AddPermission(ctx, &sns.AddPermissionInput{
		TopicArn: topic, Label: aws.String("l"), AWSAccountId: []string{"123456789012"}, ActionName: []string{"Publish"},
	})
	ok("AddPermission", err)
	attributes := func() map[string]string {
		t.Helper()
		out, err := c.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: topic})
		ok("GetTopicAttributes", err)
		return out.Attributes
	}
	if a := attributes(); a["TopicArn"] != *topic || a["Owner"] != f.ns || a["DisplayName"] != "two" || a["SubscriptionsConfirmed"] != "0" || !strings.Contains(a["Policy"], `"Sid":"l"`) {
		t.Errorf("attributes %v", a)
	}
	_, err = c.RemovePermission(ctx, &sns.RemovePermissionInput{TopicArn: topic, Label: aws.String("l")})
	ok("RemovePermission", err)
	if a := attributes(); strings.Contains(a["Policy"], `"Sid":"l"`) {
		t.Errorf("policy %s", a["Policy"])
	}

	_, err = c.TagResource(ctx, &sns.TagResourceInput{ResourceArn: topic, Tags: []types.Tag{{Key: aws.String("k"), Value: aws.String("")}}})
	ok("TagResource", err)
	_, err = c.UntagResource(ctx, &sns.UntagResourceInput{ResourceArn: topic, TagKeys: []string{"team"}})
	ok("UntagResource", err)
	tags, err := c.ListTagsForResource(ctx, &sns.ListTagsForResourceInput{ResourceArn: topic})
	ok("ListTagsForResource", err)
	if len(tags.Tags) != 1 || *tags.Tags[0].Key != "k" || *tags.Tags[0].Value != "" {
		t.Errorf("tags %+v", tags.Tags)
	}
	const protection = `{"Name":"p","Version":"2021-06-01","Statement":[{"Sid":"s","DataDirection":"Inbound","Principal":["*"],` +
		`"DataIdentifier":["arn:aws:dataprotection::aws:data-identifier/EmailAddress"],"Operation":{"Deny":{}}}]}`
	none, err := c.GetDataProtectionPolicy(ctx, &sns.GetDataProtectionPolicyInput{ResourceArn: topic})
	ok("GetDataProtectionPolicy", err)
	if none.DataProtectionPolicy == nil || *none.DataProtectionPolicy != "" {
		t.Errorf("policy of a new topic %v", none.DataProtectionPolicy)
	}
	_, err = c.PutDataProtectionPolicy(ctx, &sns.PutDataProtectionPolicyInput{ResourceArn: topic, DataProtectionPolicy: aws.String(protection)})
	ok("PutDataProtectionPolicy", err)
	stored, err := c.GetDataProtectionPolicy(ctx, &sns.GetDataProtectionPolicyInput{ResourceArn: topic})
	ok("GetDataProtectionPolicy", err)
	if !sameJSON(t, aws.ToString(stored.DataProtectionPolicy), protection) {
		t.Errorf("policy %s", aws.ToString(stored.DataProtectionPolicy))
	}

	url, queue := newQueue(t, f.c, "q", nil)
	subscribed, err := c.Subscribe(ctx, &sns.SubscribeInput{TopicArn: topic, Protocol: aws.String("sqs"), Endpoint: &queue})
	ok("Subscribe", err)
	subscription := subscribed.SubscriptionArn
	if !strings.HasPrefix(*subscription, *topic+":") || len(*subscription) != len(*topic)+37 {
		t.Errorf("subscription ARN %s", *subscription)
	}
	want := []types.Subscription{{SubscriptionArn: subscription, Owner: &f.ns, Protocol: aws.String("sqs"), Endpoint: &queue, TopicArn: topic}}
	all, err := c.ListSubscriptions(ctx, &sns.ListSubscriptionsInput{})
	ok("ListSubscriptions", err)
	some, err := c.ListSubscriptionsByTopic(ctx, &sns.ListSubscriptionsByTopicInput{TopicArn: topic})
	ok("ListSubscriptionsByTopic", err)
	if !reflect.DeepEqual(all.Subscriptions, want) || !reflect.DeepEqual(some.Subscriptions, want) {
		t.Errorf("listed %+v and %+v", all.Subscriptions, some.Subscriptions)
	}
	details, err := c.GetSubscriptionAttributes(ctx, &sns.GetSubscriptionAttributesInput{SubscriptionArn: subscription})
	ok("GetSubscriptionAttributes", err)
	for name, value := range map[string]string{
		"SubscriptionArn": *subscription, "TopicArn": *topic, "Owner": f.ns, "Protocol": "sqs", "Endpoint": queue, "RawMessageDelivery": "false",
		"PendingConfirmation": "false", "ConfirmationWasAuthenticated": "true",
	} {
		if details.Attributes[name] != value {
			t.Errorf("%s is %q, want %q", name, details.Attributes[name], value)
		}
	}

	published, err := c.Publish(ctx, &sns.PublishInput{
		TopicArn: topic, Message: aws.String("one"), Subject: aws.String("s"),
		MessageAttributes: map[string]types.MessageAttributeValue{"n": {DataType: aws.String("Number"), StringValue: aws.String("1")}},
	})
	ok("Publish", err)
	var envelope struct {
		ID                               string `json:"MessageId"`
		Type, TopicArn, Subject, Message string
		MessageAttributes                map[string]struct{ Type, Value string }
	}
	if err := json.Unmarshal([]byte(*receive(t, f.c, url).Body), &envelope); err != nil {
		t.Fatal(err)
	}
	if envelope.Type != "Notification" || envelope.ID != *published.MessageId || envelope.TopicArn != *topic || envelope.Subject != "s" ||
		envelope.Message != "one" || envelope.MessageAttributes["n"].Value != "1" {
		t.Errorf("envelope %+v", envelope)
	}
	_, err = c.SetSubscriptionAttributes(ctx, &sns.SetSubscriptionAttributesInput{
		SubscriptionArn: subscription, AttributeName: aws.String("RawMessageDelivery"), AttributeValue: aws.String("true"),
	})
	ok("SetSubscriptionAttributes", err)
	batch, err := c.PublishBatch(ctx, &sns.PublishBatchInput{TopicArn: topic, PublishBatchRequestEntries: []types.PublishBatchRequestEntry{
		{Id: aws.String("good"), Message: aws.String("two"), MessageAttributes: map[string]types.MessageAttributeValue{
			"b": {DataType: aws.String("Binary"), BinaryValue: []byte{0, 255}},
		}},
		{Id: aws.String("bad"), Message: aws.String("")},
	}})
	ok("PublishBatch", err)
	if len(batch.Successful) != 1 || *batch.Successful[0].Id != "good" || len(batch.Failed) != 1 || *batch.Failed[0].Code != "InvalidParameter" || !batch.Failed[0].SenderFault {
		t.Errorf("PublishBatch answers %+v", batch)
	}
	if m := receive(t, f.c, url); *m.Body != "two" || string(m.MessageAttributes["b"].BinaryValue) != "\x00\xff" {
		t.Errorf("received %+v", m)
	}

	_, err = c.ConfirmSubscription(ctx, &sns.ConfirmSubscriptionInput{TopicArn: topic, Token: aws.String("abc")})
	if e := mnqtest.WantCode(err, "InvalidParameter"); e != nil {
		t.Error(e)
	}
	for range 2 { // it need not exist
		_, err = c.Unsubscribe(ctx, &sns.UnsubscribeInput{SubscriptionArn: subscription})
		ok("Unsubscribe", err)
		_, err = c.DeleteTopic(ctx, &sns.DeleteTopicInput{TopicArn: topic})
		ok("DeleteTopic", err)
	}
	_, err = c.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: topic})
	if _, is := errors.AsType[*types.NotFoundException](err); !is {
		t.Errorf("after DeleteTopic: %v", err)
	}
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	if err := json.Unmarshal([]byte(a), &x); err != nil {
		t.Error(err)
	}
	if err := json.Unmarshal([]byte(b), &y); err != nil {
		t.Error(err)
	}
	return reflect.DeepEqual(x, y)
}

// TestActionsOfPhonesAreRefused calls what is not offered with the SDK's own
// methods: every answer names the action, and none is one that SDKs try again.
func TestActionsOfPhonesAreRefused(t *testing.T) {
	t.Parallel()
	f := setup(t)
	c, ctx := mnqtest.SNS(f.p.URL, f.keys), t.Context()
	one, m := aws.String("x"), map[string]string{"a": "b"}
	calls := map[string]func() error{
		"CheckIfPhoneNumberIsOptedOut": func() error {
			_, err := c.CheckIfPhoneNumberIsOptedOut(ctx, &sns.CheckIfPhoneNumberIsOptedOutInput{PhoneNumber: one})
			return err
		},
		"SetSMSAttributes": func() error {
			_, err := c.SetSMSAttributes(ctx, &sns.SetSMSAttributesInput{Attributes: m})
			return err
		},
		"GetSMSSandboxAccountStatus": func() error {
			_, err := c.GetSMSSandboxAccountStatus(ctx, &sns.GetSMSSandboxAccountStatusInput{})
			return err
		},
		"CreatePlatformApplication": func() error {
			_, err := c.CreatePlatformApplication(ctx, &sns.CreatePlatformApplicationInput{Name: one, Platform: one, Attributes: m})
			return err
		},
		"ListPlatformApplications": func() error {
			_, err := c.ListPlatformApplications(ctx, &sns.ListPlatformApplicationsInput{})
			return err
		},
	}
	for name, call := range calls {
		err := call()
		if e := mnqtest.WantCode(err, "InvalidAction"); e != nil || !strings.Contains(err.Error(), "The action "+name+" is not supported.") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestACredentialOpensItsServiceOnly takes a project with SQS and SNS switched on:
// its SNS credential opens topics only, its SQS credential queues only, and a topic
// delivers to a queue all the same.
func TestACredentialOpensItsServiceOnly(t *testing.T) {
	t.Parallel()
	p := mnqtest.Start(t, mnqtest.Options{Args: []string{"--fsync", "interval"}})
	const b1 = "/mnq/v1beta1/regions/fr-par"
	project := p.Env["SCW_DEFAULT_PROJECT_ID"]
	keys := map[string]mnqtest.Keys{}
	endpoints := map[string]string{}
	for _, s := range []string{"sqs", "sns"} {
		info := p.Must("POST", b1+"/activate-"+s, map[string]any{"project_id": project})
		endpoints[s] = fmt.Sprint(info[s+"_endpoint_url"])
		made := p.Must("POST", b1+"/"+s+"-credentials", map[string]any{
			"project_id": project, "name": s, "permissions": map[string]bool{"can_publish": true, "can_receive": true, "can_manage": true},
		})
		keys[s] = mnqtest.Keys{ID: fmt.Sprint(made["id"]), Access: fmt.Sprint(made["access_key"]), Secret: fmt.Sprint(made["secret_key"])}
	}
	ctx, topics, queues := t.Context(), mnqtest.SNS(endpoints["sns"], keys["sns"]), mnqtest.SQS(endpoints["sqs"], keys["sqs"])
	url, queue := newQueue(t, queues, "q", nil)
	topic, err := topics.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("t")})
	if err != nil {
		t.Fatal(err)
	}
	if want := "arn:scw:sns:fr-par:project-" + project + ":t"; *topic.TopicArn != want {
		t.Errorf("topic ARN %s, want %s", *topic.TopicArn, want)
	}
	if _, err := topics.Subscribe(ctx, &sns.SubscribeInput{TopicArn: topic.TopicArn, Protocol: aws.String("sqs"), Endpoint: &queue}); err != nil {
		t.Fatal(err)
	}
	if _, err := topics.Publish(ctx, &sns.PublishInput{TopicArn: topic.TopicArn, Message: aws.String("across")}); err != nil {
		t.Fatal(err)
	}
	if m := receive(t, queues, url); !strings.Contains(*m.Body, `"Message":"across"`) && !strings.Contains(*m.Body, `"Message" : "across"`) {
		t.Errorf("received %s", *m.Body)
	}
	for name, err := range map[string]error{
		"SNS key on SQS": second(mnqtest.SQS(p.URL, keys["sns"]).ListQueues(ctx, &sqs.ListQueuesInput{})),
		"SQS key on SNS": second(mnqtest.SNS(p.URL, keys["sqs"]).ListTopics(ctx, &sns.ListTopicsInput{})),
	} {
		code := mnqtest.ErrorCode(err)
		if code != "AccessDenied" && code != "AccessDeniedException" && code != "AuthorizationError" {
			t.Errorf("%s: %v", name, err)
		}
	}

	// Switching SNS off takes the topics with it and leaves the queues.
	p.Must("POST", b1+"/deactivate-sns", map[string]any{"project_id": project})
	_, err = topics.ListTopics(ctx, &sns.ListTopicsInput{})
	if e := mnqtest.WantCode(err, "InvalidClientTokenId"); e != nil {
		t.Error(e)
	}
	p.Must("POST", b1+"/activate-sns", map[string]any{"project_id": project})
	again := p.Must("POST", b1+"/sns-credentials", map[string]any{
		"project_id": project, "name": "again", "permissions": map[string]bool{"can_publish": true, "can_receive": true, "can_manage": true},
	})
	topics = mnqtest.SNS(p.URL, mnqtest.Keys{Access: fmt.Sprint(again["access_key"]), Secret: fmt.Sprint(again["secret_key"])})
	listed, err := topics.ListTopics(ctx, &sns.ListTopicsInput{})
	if err != nil || len(listed.Topics) != 0 {
		t.Errorf("topics after SNS was switched off and on: %+v %v", listed, err)
	}
	if _, err := queues.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String("still here")}); err != nil {
		t.Error(err)
	}
	if m := receive(t, queues, url); *m.Body != "still here" {
		t.Errorf("received %s", *m.Body)
	}
}

func second[T any](_ T, err error) error { return err }

// TestPermissionsOfSNS gives credentials one permission each and calls what needs
// another.
func TestPermissionsOfSNS(t *testing.T) {
	t.Parallel()
	f := setup(t)
	ctx := t.Context()
	topic, err := mnqtest.SNS(f.p.URL, f.keys).CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("t")})
	if err != nil {
		t.Fatal(err)
	}
	arn := topic.TopicArn
	_, queue := newQueue(t, f.c, "q", nil)
	calls := []struct {
		name string
		need string
		call func(c *sns.Client) error
	}{
		{"CreateTopic", "m", func(c *sns.Client) error {
			return second(c.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("t")}))
		}},
		{"Publish", "p", func(c *sns.Client) error {
			return second(c.Publish(ctx, &sns.PublishInput{TopicArn: arn, Message: aws.String("x")}))
		}},
		{"Subscribe", "r", func(c *sns.Client) error {
			return second(c.Subscribe(ctx, &sns.SubscribeInput{TopicArn: arn, Protocol: aws.String("sqs"), Endpoint: &queue}))
		}},
		{"ListTopics", "prm", func(c *sns.Client) error { return second(c.ListTopics(ctx, &sns.ListTopicsInput{})) }},
		{"ListSubscriptions", "rm", func(c *sns.Client) error {
			return second(c.ListSubscriptions(ctx, &sns.ListSubscriptionsInput{}))
		}},
		{"GetTopicAttributes", "rm", func(c *sns.Client) error {
			return second(c.GetTopicAttributes(ctx, &sns.GetTopicAttributesInput{TopicArn: arn}))
		}},
		{"SetTopicAttributes", "m", func(c *sns.Client) error {
			return second(c.SetTopicAttributes(ctx, &sns.SetTopicAttributesInput{TopicArn: arn, AttributeName: aws.String("DisplayName"), AttributeValue: aws.String("d")}))
		}},
	}
	for _, perm := range []string{"p", "r", "m"} {
		c := mnqtest.SNS(f.p.URL, f.p.Keys(f.ns, perm))
		for _, call := range calls {
			err := call.call(c)
			switch {
			case strings.Contains(call.need, perm):
				if err != nil {
					t.Errorf("%s with %s: %v", call.name, perm, err)
				}
			default:
				if _, is := errors.AsType[*types.AuthorizationErrorException](err); !is {
					t.Errorf("%s with %s: %v", call.name, perm, err)
				}
			}
		}
	}
}

// TestEndpointsThatAreRefused subscribes what is not offered, and what leads into the
// operator's network.
func TestEndpointsThatAreRefused(t *testing.T) {
	t.Parallel()
	f := setup(t)
	c, ctx := mnqtest.SNS(f.p.URL, f.keys), t.Context()
	topic, err := c.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("t")})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range []struct{ protocol, endpoint, code string }{
		{"sms", "+15551234567", "InvalidParameter"},
		{"email", "a@example.com", "InvalidParameter"},
		{"firehose", "arn:aws:firehose:x:y:deliverystream/z", "InvalidParameter"},
		{"application", "arn:aws:sns:fr-par:x:endpoint/APNS/a/b", "InvalidParameter"},
		{"carrier-pigeon", "x", "InvalidParameter"},
		{"http", "https://example.com/", "InvalidParameter"},
		{"https", "no URL", "InvalidParameter"},
		{"http", "http://127.0.0.1:8080/", "AuthorizationError"},
		{"lambda", "http://169.254.169.254/latest/meta-data", "AuthorizationError"},
		{"http", f.p.URL, "AuthorizationError"},
	} {
		_, err := c.Subscribe(ctx, &sns.SubscribeInput{TopicArn: topic.TopicArn, Protocol: &e.protocol, Endpoint: &e.endpoint})
		if bad := mnqtest.WantCode(err, e.code); bad != nil {
			t.Errorf("%s %s: %v", e.protocol, e.endpoint, bad)
		}
	}
	listed, err := c.ListSubscriptions(ctx, &sns.ListSubscriptionsInput{})
	if err != nil || len(listed.Subscriptions) != 0 {
		t.Errorf("%+v %v", listed, err)
	}
}

// TestFIFOTopic publishes to a FIFO queue through a FIFO topic.
func TestFIFOTopic(t *testing.T) {
	t.Parallel()
	f := setup(t)
	ctx, c := context.WithoutCancel(t.Context()), mnqtest.SNS(f.p.URL, f.keys)
	topic, err := c.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("t.fifo"), Attributes: map[string]string{"FifoTopic": "true"}})
	if err != nil {
		t.Fatal(err)
	}
	url, queue := newQueue(t, f.c, "q.fifo", map[string]string{"FifoQueue": "true"})
	if _, err := c.Subscribe(ctx, &sns.SubscribeInput{
		TopicArn: topic.TopicArn, Protocol: aws.String("sqs"), Endpoint: &queue, Attributes: map[string]string{"RawMessageDelivery": "true"},
	}); err != nil {
		t.Fatal(err)
	}
	_, err = c.Publish(ctx, &sns.PublishInput{TopicArn: topic.TopicArn, Message: aws.String("x")})
	if e := mnqtest.WantCode(err, "InvalidParameter"); e != nil || !strings.Contains(err.Error(), "Invalid parameter: The MessageGroupId parameter is required for FIFO topics") {
		t.Error(err)
	}
	_, err = c.Publish(ctx, &sns.PublishInput{TopicArn: topic.TopicArn, Message: aws.String("x"), MessageGroupId: aws.String("g")})
	if err == nil || !strings.Contains(err.Error(), "The topic should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly") {
		t.Error(err)
	}
	var sequence string
	for i := range 6 { // each twice
		text := strconv.Itoa(i / 2)
		out, err := c.Publish(ctx, &sns.PublishInput{TopicArn: topic.TopicArn, Message: &text, MessageGroupId: aws.String("g"), MessageDeduplicationId: aws.String("d" + text)})
		if err != nil {
			t.Fatal(err)
		}
		if len(aws.ToString(out.SequenceNumber)) != 20 || i%2 == 1 && *out.SequenceNumber != sequence || *out.SequenceNumber < sequence {
			t.Errorf("sequence number %s after %s", aws.ToString(out.SequenceNumber), sequence)
		}
		sequence = *out.SequenceNumber
	}
	for i := range 3 {
		m := receive(t, f.c, url)
		if *m.Body != strconv.Itoa(i) || m.Attributes["MessageGroupId"] != "g" || m.Attributes["MessageDeduplicationId"] != "d"+strconv.Itoa(i) {
			t.Errorf("received %+v, want %d", m, i)
		}
	}
}
