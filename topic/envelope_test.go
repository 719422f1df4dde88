package topic

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/openmnq/mnq/queue"
)

const (
	aTopic = "arn:scw:sns:fr-par:project-x:orders"
	aSub   = aTopic + ":0f1f4a52-6a5a-4a6c-8d3b-2a3f7d9f0c11"
)

func aNotice() *notice {
	return &notice{
		id: "9c2a3a58-5d8f-4f43-9a39-1c33a3d5ab6e", topicARN: aTopic, subject: "Hi", text: "say \"hé\"\n\x01",
		at: time.Date(2026, 10, 10, 8, 39, 33, 308_900_000, time.FixedZone("", 7200)),
		attributes: []queue.Attribute{
			{Name: "bin", DataType: "Binary", Value: []byte{0, 0xff}},
			{Name: "list", DataType: "String.Array", Value: []byte(`["a",1]`)},
			{Name: "n", DataType: "Number", Value: []byte("1.50")},
		},
	}
}

var aSignature = signed{version: "1", signature: "c2ln", certURL: "https://mnq.example/SimpleNotificationService-0.pem"}

func TestNotificationBody(t *testing.T) {
	t.Parallel()
	got := string(aNotice().envelope(aSignature, "https://mnq.example").body(aSub))
	want := `{"Type":"Notification","MessageId":"9c2a3a58-5d8f-4f43-9a39-1c33a3d5ab6e","TopicArn":"arn:scw:sns:fr-par:project-x:orders","Subject":"Hi",` +
		`"Message":"say \"hé\"\n\u0001","Timestamp":"2026-10-10T06:39:33.308Z","SignatureVersion":"1","Signature":"c2ln",` +
		`"SigningCertURL":"https://mnq.example/SimpleNotificationService-0.pem",` +
		`"UnsubscribeURL":"https://mnq.example/?Action=Unsubscribe&SubscriptionArn=arn:scw:sns:fr-par:project-x:orders:0f1f4a52-6a5a-4a6c-8d3b-2a3f7d9f0c11",` +
		`"MessageAttributes":{"bin":{"Type":"Binary","Value":"AP8="},"list":{"Type":"String.Array","Value":"[\"a\",1]"},"n":{"Type":"Number","Value":"1.50"}}}`
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	fifo := &notice{id: "i", topicARN: "t.fifo", text: "m", at: time.Unix(0, 0), sequence: "10000000000000000000"}
	got = string(fifo.envelope(signed{}, "http://127.0.0.1:9324").body("t.fifo:s"))
	want = `{"Type":"Notification","MessageId":"i","SequenceNumber":"10000000000000000000","TopicArn":"t.fifo","Message":"m",` +
		`"Timestamp":"1970-01-01T00:00:00.000Z","UnsubscribeURL":"http://127.0.0.1:9324/?Action=Unsubscribe&SubscriptionArn=t.fifo:s"}`
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestLambdaEvent(t *testing.T) {
	t.Parallel()
	n := aNotice()
	got := string(n.lambda(aSignature, "https://mnq.example").body(aSub))
	want := `{"Records":[{"EventSource":"aws:sns","EventVersion":"1.0","EventSubscriptionArn":"` + aSub + `","Sns":{"Type":"Notification",` +
		`"MessageId":"9c2a3a58-5d8f-4f43-9a39-1c33a3d5ab6e","TopicArn":"` + aTopic + `","Subject":"Hi","Message":"say \"hé\"\n\u0001",` +
		`"Timestamp":"2026-10-10T06:39:33.308Z","SignatureVersion":"1","Signature":"c2ln","SigningCertUrl":"https://mnq.example/SimpleNotificationService-0.pem",` +
		`"UnsubscribeUrl":"https://mnq.example/?Action=Unsubscribe&SubscriptionArn=` + aSub + `",` +
		`"MessageAttributes":{"bin":{"Type":"Binary","Value":"AP8="},"list":{"Type":"String.Array","Value":"[\"a\",1]"},"n":{"Type":"Number","Value":"1.50"}}}}]}`
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	n.subject, n.attributes = "", nil
	got = string(n.lambda(aSignature, "").body(aSub))
	for _, part := range []string{`"Subject":null`, `"MessageAttributes":{}}}]}`} {
		if !strings.Contains(got, part) {
			t.Errorf("%s is not in %s", part, got)
		}
	}
}

func TestConfirmRequestBodies(t *testing.T) {
	t.Parallel()
	h := &confirmRequest{kind: typeSubscribed, id: "i", topicARN: aTopic, subscription: aSub, token: "51b2ff3e", at: time.Unix(1, 0)}
	got := string(h.body(aSignature, "https://mnq.example"))
	want := `{"Type":"SubscriptionConfirmation","MessageId":"i","Token":"51b2ff3e","TopicArn":"` + aTopic + `",` +
		`"Message":"You have chosen to subscribe to the topic ` + aTopic + `.\nTo confirm the subscription, visit the SubscribeURL included in this message.",` +
		`"SubscribeURL":"https://mnq.example/?Action=ConfirmSubscription&TopicArn=` + aTopic + `&Token=51b2ff3e","Timestamp":"1970-01-01T00:00:01.000Z",` +
		`"SignatureVersion":"1","Signature":"c2ln","SigningCertURL":"https://mnq.example/SimpleNotificationService-0.pem"}`
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	h.kind = typeUnsubscribed
	var v struct{ Type, Message string }
	if err := json.Unmarshal(h.body(aSignature, ""), &v); err != nil {
		t.Fatal(err)
	}
	if want := "You have chosen to deactivate subscription " + aSub + ".\nTo cancel this operation and restore the subscription, visit the SubscribeURL included in this message."; v.Type != "UnsubscribeConfirmation" || v.Message != want {
		t.Errorf("%+v", v)
	}
}

func TestStringsToSign(t *testing.T) {
	t.Parallel()
	n := aNotice()
	n.text = "m"
	want := "Message\nm\nMessageId\n" + n.id + "\nSubject\nHi\nTimestamp\n2026-10-10T06:39:33.308Z\nTopicArn\n" + aTopic + "\nType\nNotification\n"
	if d := cmp.Diff(want, n.stringToSign()); d != "" {
		t.Error(d)
	}
	n.subject = ""
	if got := n.stringToSign(); got != strings.Replace(want, "Subject\nHi\n", "", 1) {
		t.Errorf("%q", got)
	}
	h := &confirmRequest{kind: typeUnsubscribed, id: "i", topicARN: "t", subscription: "s", token: "k", at: time.Unix(1, 0)}
	want = "Message\n" + h.message() + "\nMessageId\ni\nSubscribeURL\nb/?Action=ConfirmSubscription&TopicArn=t&Token=k\nTimestamp\n1970-01-01T00:00:01.000Z\nToken\nk\nTopicArn\nt\nType\nUnsubscribeConfirmation\n"
	if d := cmp.Diff(want, h.stringToSign("b")); d != "" {
		t.Error(d)
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	got := httpHeader{kind: typeNotification, id: "i", topicARN: "t", subscription: "s", raw: true, contentType: "application/json"}.header()
	want := map[string][]string{
		"x-amz-sns-message-type": {"Notification"}, "x-amz-sns-message-id": {"i"}, "x-amz-sns-topic-arn": {"t"},
		"x-amz-sns-subscription-arn": {"s"}, "x-amz-sns-rawdelivery": {"true"}, "Content-Type": {"application/json"},
		"User-Agent": {"Amazon Simple Notification Service Agent"}, "Accept-Encoding": {"gzip,deflate"}, "Connection": {"Keep-Alive"},
	}
	if d := cmp.Diff(want, map[string][]string(got)); d != "" {
		t.Error(d)
	}
	got = httpHeader{kind: typeSubscribed, id: "i", topicARN: "t"}.header()
	want = map[string][]string{
		"x-amz-sns-message-type": {"SubscriptionConfirmation"}, "x-amz-sns-message-id": {"i"}, "x-amz-sns-topic-arn": {"t"},
		"Content-Type": {"text/plain; charset=UTF-8"},
		"User-Agent":   {"Amazon Simple Notification Service Agent"}, "Accept-Encoding": {"gzip,deflate"}, "Connection": {"Keep-Alive"},
	}
	if d := cmp.Diff(want, map[string][]string(got)); d != "" {
		t.Error(d)
	}
}

// BenchmarkEnvelope is what a message of 1 KiB costs for each of many subscriptions.
func BenchmarkEnvelope(b *testing.B) {
	n := aNotice()
	n.text = strings.Repeat(`{"key":"value"},`, 64)
	b.Run("Render", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			n.envelope(aSignature, "https://mnq.example")
		}
	})
	b.Run("Copy", func(b *testing.B) {
		e := n.envelope(aSignature, "https://mnq.example")
		b.ReportAllocs()
		for b.Loop() {
			e.body(aSub)
		}
	})
}
