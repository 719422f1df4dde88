package topic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/openmnq/mnq"
)

// Names of subscription attributes.
const (
	attrRaw         = "RawMessageDelivery"
	attrFilter      = "FilterPolicy"
	attrFilterScope = "FilterPolicyScope"
	attrRedrive     = "RedrivePolicy"
)

// SupportedSubscriptionAttributes lists the subscription attributes that can be set, in byte
// order.
func SupportedSubscriptionAttributes() []string {
	return []string{attrDelivery, attrFilter, attrFilterScope, attrRaw, attrRedrive}
}

// subject is what an attribute is checked against.
type subject struct {
	topic    *Topic
	ns       mnq.Namespace
	protocol string
}

// newSubscriptionSettings checks the attributes that a subscription is made with.
func newSubscriptionSettings(t *Topic, ns mnq.Namespace, in NewSubscription) (settings, error) {
	out := settings{}
	about := subject{t, ns, in.Protocol}
	for _, name := range slices.Sorted(maps.Keys(in.Attributes)) {
		if name == attrFilter || name == attrFilterScope {
			continue // below, together
		}
		if err := out.setSubscription(about, name, in.Attributes[name]); err != nil {
			return nil, withReason(err)
		}
	}
	if err := out.setFilter(in.Attributes[attrFilter], in.Attributes[attrFilterScope]); err != nil {
		return nil, withReason(err)
	}
	return out, nil
}

// setSubscription changes one attribute of a subscription.
func (s settings) setSubscription(about subject, name, value string) error {
	v := value
	var err error
	switch name {
	case attrFilter:
		return s.setFilter(value, s[attrFilterScope])
	case attrFilterScope:
		return s.setFilter(s[attrFilter], value)
	case attrRaw:
		err = checkRaw(about.protocol, value)
	case attrRedrive:
		v, err = about.redrivePolicy(value)
	case attrDelivery:
		if about.protocol != protoHTTP && about.protocol != protoHTTPS && value != "" {
			return invalid("DeliveryPolicy: can only be set for protocols http and https")
		}
		v, err = subscriptionDeliveryPolicy(value)
	case "ReplayPolicy", "SubscriptionRoleArn":
		return &mnq.Error{
			Kind: mnq.Unsupported, Code: "InvalidParameter", Op: "topic", Field: name,
			Msg: "Invalid parameter: " + name + " is not supported.",
		}
	default:
		return invalid("AttributeName")
	}
	if err != nil {
		return err
	}
	if v == "" {
		delete(s, name)
	} else {
		s[name] = v
	}
	return nil
}

// setFilter checks policy and scope together and stores both.
func (s settings) setFilter(text, scope string) error {
	parsed := ScopeAttributes
	if scope != "" {
		var err error
		if parsed, err = ParseScope(scope); err != nil {
			return filterError(err)
		}
	}
	f, err := CompileFilter(text, parsed)
	if err != nil {
		return filterError(err)
	}
	delete(s, attrFilter)
	delete(s, attrFilterScope)
	if f != nil {
		s[attrFilter] = text
	}
	if scope != "" {
		s[attrFilterScope] = scope
	}
	return nil
}

// filterError gives an error of a filter policy SNS's prefixes.
func filterError(err error) error {
	e, ok := errors.AsType[*mnq.Error](err)
	if !ok {
		return err
	}
	out := *e
	if e.Field == attrFilter {
		out.Msg = attrFilter + ": " + e.Msg
	}
	out.Msg = "Invalid parameter: " + out.Msg
	return &out
}

func checkRaw(protocol, v string) error {
	switch {
	case v != "true" && v != "false":
		return invalid("RawMessageDelivery: Invalid value [" + clip(v) + "]. Must be true or false.")
	case v == "true" && protocol != protoSQS && protocol != protoHTTP && protocol != protoHTTPS && protocol != protoNATS:
		return invalid("Delivery protocol [" + clip(protocol) + "] does not support raw message delivery.")
	}
	return nil
}

// redrivePolicy is where a subscription's undeliverable messages go.
type redrivePolicy struct {
	Target string `json:"deadLetterTargetArn"`
}

// redrivePolicy checks a RedrivePolicy: its queue must be of the topic's namespace. It
// need not exist yet.
func (a subject) redrivePolicy(v string) (string, error) {
	if v == "" || v == "{}" {
		return "", nil
	}
	if fault := checkJSON(v); fault != "" {
		return "", invalid("RedrivePolicy: " + fault)
	}
	var p redrivePolicy
	if err := json.Unmarshal([]byte(v), &p); err != nil {
		return "", invalid("RedrivePolicy: must be an object with the member deadLetterTargetArn")
	}
	q, ok := parseQueueARN(p.Target)
	switch {
	case !ok || q.account != a.ns.Account() || q.region != a.ns.Region:
		return "", invalid("RedrivePolicy: deadLetterTargetArn is an invalid arn")
	case a.topic.FIFO() && !isFIFO(q.name):
		return "", invalid("RedrivePolicy: must use a FIFO queue as DLQ for a FIFO Subscription to a FIFO Topic.")
	case !a.topic.FIFO() && isFIFO(q.name):
		return "", invalid("RedrivePolicy: must use a standard queue as DLQ for a subscription to a standard topic.")
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(p)
	return strings.TrimSuffix(b.String(), "\n"), err
}

// queueARN is the resource name of a queue.
type queueARN struct{ region, account, name string }

func parseQueueARN(s string) (queueARN, bool) {
	t := strings.Split(s, ":")
	if len(t) != 6 || len(s) > 512 || t[0] != "arn" || t[1] == "" || t[2] != "sqs" || t[3] == "" || t[4] == "" || t[5] == "" {
		return queueARN{}, false
	}
	return queueARN{t[3], t[4], t[5]}, true
}

// unsupportedProtocols are SNS's that are not offered here.
var unsupportedProtocols = []string{"email", "email-json", "sms", "application", "firehose"}

// checkEndpoint refuses what a subscription of the topic cannot lead to.
func (t *Topic) checkEndpoint(ctx context.Context, ns mnq.Namespace, in NewSubscription) (target, error) {
	undelivered := in.Protocol == "sms" || in.Protocol == "email" || in.Protocol == "email-json"
	switch {
	case in.Protocol == protoSQS:
		return target{}, t.checkQueue(ns, in.Endpoint)
	case in.Protocol == protoNATS:
		return target{}, t.checkSubject(ns, in.Endpoint)
	case slices.Contains(unsupportedProtocols, in.Protocol) && (!undelivered || !t.svc.cfg.Undelivered):
		return target{}, &mnq.Error{
			Kind: mnq.Unsupported, Code: "InvalidParameter", Op: "topic.Subscribe", Field: "Protocol",
			Msg: "Invalid parameter: Protocol Reason: " + in.Protocol + " is not supported here. Use sqs, http, https, lambda or nats.",
		}
	case in.Protocol != protoHTTP && in.Protocol != protoHTTPS && in.Protocol != protoLambda && !undelivered:
		return target{}, invalid("Amazon SNS does not support this protocol string: " + clip(in.Protocol))
	case t.FIFO():
		return target{}, invalid("Protocol Reason: a FIFO topic delivers to SQS queues only")
	case undelivered:
		return target{}, checkUndelivered(in)
	}
	return t.svc.egress.checkEndpoint(ctx, in.Protocol, in.Endpoint)
}

func (t *Topic) checkQueue(ns mnq.Namespace, endpoint string) error {
	q, ok := parseQueueARN(endpoint)
	switch {
	case !ok:
		return invalid("SQS endpoint ARN")
	case q.account != ns.Account():
		return &mnq.Error{
			Kind: mnq.Denied, Code: "AuthorizationError", Op: "topic.Subscribe", Field: "Endpoint",
			Msg: "The queue must belong to the account of the topic.",
		}
	case q.region != ns.Region: // of --dev, where it would be another queue
		return invalid("SQS endpoint ARN Reason: the queue must be in the region of the topic")
	case isFIFO(q.name) && !t.FIFO():
		return invalid("Invalid parameter: Endpoint Reason: FIFO SQS Queues can not be subscribed to standard SNS topics")
	}
	return nil
}

// checkUndelivered looks at the endpoint of a protocol that is listed only.
func checkUndelivered(in NewSubscription) error {
	digits := strings.NewReplacer("-", "", ".", "", " ", "").Replace(strings.TrimPrefix(in.Endpoint, "+"))
	switch {
	case in.Protocol == "sms" && (len(digits) < 3 || len(in.Endpoint) > 32 || strings.Trim(digits, "0123456789") != "" ||
		strings.Contains(in.Endpoint, "--") || strings.HasSuffix(in.Endpoint, ".") || strings.HasSuffix(in.Endpoint, "-")):
		return &mnq.Error{Kind: mnq.Invalid, Code: "InvalidParameter", Op: "topic.Subscribe", Field: "Endpoint", Msg: "Invalid SMS endpoint: " + clip(in.Endpoint)}
	case in.Protocol != "sms" && (!strings.Contains(in.Endpoint, "@") || len(in.Endpoint) > 320):
		return invalid("Email address")
	}
	return nil
}

func unlimitedSubscriptions(ns mnq.Namespace) mnq.Namespace {
	ns.Quota.Subscriptions = max(ns.Quota.Subscriptions, 0) + 1<<40
	return ns
}
