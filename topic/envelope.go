package topic

import (
	"encoding/base64"
	"net/http"
	"strings"
	"time"

	"github.com/openmnq/mnq/internal/jsonstring"
	"github.com/openmnq/mnq/queue"
)

// notice is what a topic says to the subscriptions of one protocol.
type notice struct {
	id         string // of the message
	topicARN   string
	subject    string // "" when there is none
	text       string
	at         time.Time
	sequence   string            // FIFO topics only
	attributes []queue.Attribute // sorted by name
}

// timestampFormat is SNS's: UTC with milliseconds.
const timestampFormat = "2006-01-02T15:04:05.000Z"

func (n *notice) timestamp() string { return n.at.UTC().Format(timestampFormat) }

// stringToSign is what the signature of a notification covers.
func (n *notice) stringToSign() string {
	pairs := []string{"Message", n.text, "MessageId", n.id}
	if n.subject != "" {
		pairs = append(pairs, "Subject", n.subject)
	}
	return signable(append(pairs, "Timestamp", n.timestamp(), "TopicArn", n.topicARN, "Type", "Notification")...)
}

func signable(pairs ...string) string {
	n := len(pairs)
	for _, p := range pairs {
		n += len(p)
	}
	var b strings.Builder
	b.Grow(n)
	for _, p := range pairs {
		b.WriteString(p)
		b.WriteByte('\n')
	}
	return b.String()
}

// envelope is a notification's JSON without what differs between subscriptions:
// their ARN. It is made once and copied for each of them.
type envelope struct {
	parts []string // around the ARN
}

// body is the JSON for one subscription.
func (e envelope) body(subscriptionARN string) []byte {
	arn := jsonstring.Append(nil, subscriptionARN)
	arn = arn[1 : len(arn)-1]
	n := 0
	for _, p := range e.parts {
		n += len(p) + len(arn)
	}
	b := append(make([]byte, 0, n), e.parts[0]...)
	for _, p := range e.parts[1:] {
		b = append(append(b, arn...), p...)
	}
	return b
}

// envelope renders the notification for SQS and HTTP. sig is left out when it is
// zero, as on FIFO topics. base is the public URL.
func (n *notice) envelope(sig signed, base string) envelope {
	b := make([]byte, 0, len(n.text)+len(n.text)/8+1024)
	b = append(b, `{"Type":"Notification"`...)
	b = appendField(b, "MessageId", n.id)
	if n.sequence != "" {
		b = appendField(b, "SequenceNumber", n.sequence)
	}
	b = appendField(b, "TopicArn", n.topicARN)
	if n.subject != "" {
		b = appendField(b, "Subject", n.subject)
	}
	b = appendField(b, "Message", n.text)
	b = appendField(b, "Timestamp", n.timestamp())
	if sig != (signed{}) {
		b = appendField(b, "SignatureVersion", sig.version)
		b = appendField(b, "Signature", sig.signature)
		b = appendField(b, "SigningCertURL", sig.certURL)
	}
	b = appendOpenField(b, "UnsubscribeURL", base+unsubscribePath)
	head := string(b)
	b = append(b[:0], '"')
	if len(n.attributes) > 0 {
		b = append(b, `,"MessageAttributes":`...)
		b = appendAttributes(b, n.attributes)
	}
	return envelope{parts: []string{head, string(append(b, '}'))}}
}

// lambda renders the notification as the event that a function gets.
func (n *notice) lambda(sig signed, base string) envelope {
	first := `{"Records":[{"EventSource":"aws:sns","EventVersion":"1.0","EventSubscriptionArn":"`
	b := make([]byte, 0, len(n.text)+len(n.text)/8+1024)
	b = append(b, `","Sns":{"Type":"Notification"`...)
	b = appendField(b, "MessageId", n.id)
	b = appendField(b, "TopicArn", n.topicARN)
	if n.subject == "" {
		b = append(b, `,"Subject":null`...)
	} else {
		b = appendField(b, "Subject", n.subject)
	}
	b = appendField(b, "Message", n.text)
	b = appendField(b, "Timestamp", n.timestamp())
	b = appendField(b, "SignatureVersion", sig.version)
	b = appendField(b, "Signature", sig.signature)
	b = appendField(b, "SigningCertUrl", sig.certURL)
	b = appendOpenField(b, "UnsubscribeUrl", base+unsubscribePath)
	middle := string(b)
	b = append(b[:0], `","MessageAttributes":`...)
	b = appendAttributes(b, n.attributes)
	return envelope{parts: []string{first, middle, string(append(b, `}}]}`...))}}
}

// unsubscribePath is followed by the subscription's ARN, whose characters need no
// escaping.
const unsubscribePath = "/?Action=Unsubscribe&SubscriptionArn="

// confirmRequest is a SubscriptionConfirmation or an UnsubscribeConfirmation.
type confirmRequest struct {
	kind         string // one of the two, as in the Type field
	id           string
	topicARN     string
	subscription string // ARN
	token        string
	at           time.Time
}

const (
	typeNotification  = "Notification"
	typeSubscribed    = "SubscriptionConfirmation"
	typeUnsubscribed  = "UnsubscribeConfirmation"
	confirmPath       = "/?Action=ConfirmSubscription&TopicArn="
	visitSubscribeURL = "visit the SubscribeURL included in this message."
)

func (h *confirmRequest) message() string {
	if h.kind == typeUnsubscribed {
		return "You have chosen to deactivate subscription " + h.subscription + ".\nTo cancel this operation and restore the subscription, " + visitSubscribeURL
	}
	return "You have chosen to subscribe to the topic " + h.topicARN + ".\nTo confirm the subscription, " + visitSubscribeURL
}

func (h *confirmRequest) subscribeURL(base string) string {
	return base + confirmPath + h.topicARN + "&Token=" + h.token
}

func (h *confirmRequest) stringToSign(base string) string {
	return signable("Message", h.message(), "MessageId", h.id, "SubscribeURL", h.subscribeURL(base),
		"Timestamp", h.at.UTC().Format(timestampFormat), "Token", h.token, "TopicArn", h.topicARN, "Type", h.kind)
}

// body renders it.
func (h *confirmRequest) body(sig signed, base string) []byte {
	b := append(make([]byte, 0, 2048), '{')
	b = appendField(b, "Type", h.kind)
	b = appendField(b, "MessageId", h.id)
	b = appendField(b, "Token", h.token)
	b = appendField(b, "TopicArn", h.topicARN)
	b = appendField(b, "Message", h.message())
	b = appendField(b, "SubscribeURL", h.subscribeURL(base))
	b = appendField(b, "Timestamp", h.at.UTC().Format(timestampFormat))
	b = appendField(b, "SignatureVersion", sig.version)
	b = appendField(b, "Signature", sig.signature)
	b = appendField(b, "SigningCertURL", sig.certURL)
	return append(b, '}')
}

// httpHeader are the headers of one request. contentType "" is the default.
type httpHeader struct {
	kind         string
	id           string
	topicARN     string
	subscription string // ARN; "" on a SubscriptionConfirmation
	raw          bool
	contentType  string
}

const defaultContentType = "text/plain; charset=UTF-8"

// header spells the names in lower case, as SNS does, for receivers that care.
func (h httpHeader) header() http.Header {
	if h.contentType == "" {
		h.contentType = defaultContentType
	}
	out := http.Header{
		"x-amz-sns-message-type": {h.kind},
		"x-amz-sns-message-id":   {h.id},
		"x-amz-sns-topic-arn":    {h.topicARN},
		"Content-Type":           {h.contentType},
		"User-Agent":             {"Amazon Simple Notification Service Agent"},
		"Accept-Encoding":        {"gzip,deflate"},
		"Connection":             {"Keep-Alive"},
	}
	if h.subscription != "" {
		out["x-amz-sns-subscription-arn"] = []string{h.subscription}
	}
	if h.raw {
		out["x-amz-sns-rawdelivery"] = []string{"true"}
	}
	return out
}

func appendAttributes(b []byte, attrs []queue.Attribute) []byte {
	b = append(b, '{')
	for i, a := range attrs {
		if i > 0 {
			b = append(b, ',')
		}
		b = jsonstring.Append(b, a.Name)
		b = append(b, `:{"Type":`...)
		b = jsonstring.Append(b, a.DataType)
		b = append(b, `,"Value":`...)
		if a.Binary() {
			b = append(b, '"')
			b = base64.StdEncoding.AppendEncode(b, a.Value)
			b = append(b, '"')
		} else {
			b = jsonstring.Append(b, string(a.Value))
		}
		b = append(b, '}')
	}
	return append(b, '}')
}

// appendField adds a member to an object, with the comma that its place asks for.
func appendField(b []byte, name, value string) []byte {
	return append(appendOpenField(b, name, value), '"')
}

// appendOpenField is appendField without the closing quote.
func appendOpenField(b []byte, name, value string) []byte {
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	b = append(b, '"')
	b = append(b, name...)
	b = append(b, '"', ':')
	b = jsonstring.Append(b, value)
	return b[:len(b)-1]
}
