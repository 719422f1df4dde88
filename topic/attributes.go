package topic

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/policy"
)

// Names of topic attributes.
const (
	attrDisplayName = "DisplayName"
	attrPolicy      = "Policy"
	attrDelivery    = "DeliveryPolicy"
	attrEffective   = "EffectiveDeliveryPolicy"
	attrKMSKey      = "KmsMasterKeyId"
	attrSignature   = "SignatureVersion"
	attrTracing     = "TracingConfig"
	attrFifo        = "FifoTopic"
	attrContent     = "ContentBasedDeduplication"
	attrScope       = "FifoThroughputScope"
	attrArchive     = "ArchivePolicy"

	scopeGroup = "MessageGroup"
)

// settings are the attributes of a topic or subscription that have a value.
type settings map[string]string

// topicSetting checks one attribute of a topic and returns its canonical value; ""
// means that it has none.
type topicSetting func(value string, fifo bool) (string, error)

// topicSettings are the attributes that can be set (SNS API reference,
// SetTopicAttributes). FifoTopic is set by Create only.
var topicSettings = map[string]topicSetting{
	attrDisplayName: func(v string, _ bool) (string, error) {
		if utf8.RuneCountInString(v) > 100 || !utf8.ValidString(v) || strings.ContainsFunc(v, isControl) {
			return "", invalid("DisplayName Reason: must be at most 100 characters long, without control characters")
		}
		return v, nil
	},
	attrPolicy:   checkPolicy,
	attrDelivery: func(v string, _ bool) (string, error) { return topicDeliveryPolicy(v) },
	attrKMSKey: func(v string, _ bool) (string, error) {
		if len(v) > 2048 {
			return "", invalid("KmsMasterKeyId Reason: must be at most 2048 characters long")
		}
		return v, nil
	},
	attrSignature: oneOf(attrSignature, "1", "2"),
	attrTracing:   oneOf(attrTracing, "PassThrough", "Active"),
	attrContent:   fifoOnly(attrContent, "true", "false"),
	attrScope:     fifoOnly(attrScope, "Topic", scopeGroup),
	attrArchive: func(string, bool) (string, error) {
		return "", &mnq.Error{
			Kind: mnq.Unsupported, Code: "InvalidParameter", Op: "topic", Field: attrArchive,
			Msg: "Invalid parameter: ArchivePolicy is not supported: messages are not archived.",
		}
	},
}

func init() { //nolint:gochecknoinits // the names are a product of two lists
	for _, protocol := range []string{"HTTP", "Firehose", "Lambda", "Application", "SQS"} {
		for _, role := range []string{"SuccessFeedbackRoleArn", "FailureFeedbackRoleArn"} {
			topicSettings[protocol+role] = func(v string, _ bool) (string, error) {
				if len(v) > 2048 || v != "" && !strings.HasPrefix(v, "arn:") {
					return "", invalid(protocol + role + " Reason: must be the ARN of a role")
				}
				return v, nil
			}
		}
		rate := protocol + "SuccessFeedbackSampleRate"
		topicSettings[rate] = func(v string, _ bool) (string, error) {
			if n, err := strconv.Atoi(v); v != "" && (err != nil || n < 0 || n > 100) {
				return "", invalid(rate + " Reason: must be an integer from 0 to 100")
			}
			return v, nil
		}
	}
}

func oneOf(name string, values ...string) topicSetting {
	return func(v string, _ bool) (string, error) {
		if v != "" && !slices.Contains(values, v) {
			return "", invalid(name + ": Invalid value [" + clip(v) + "]. Must be " + strings.Join(values, " or ") + ".")
		}
		return v, nil
	}
}

func fifoOnly(name string, values ...string) topicSetting {
	check := oneOf(name, values...)
	return func(v string, fifo bool) (string, error) {
		if !fifo {
			return "", invalid(name + " Reason: it is not valid for this topic type")
		}
		return check(v, fifo)
	}
}

// SupportedAttributes lists the topic attributes that can be set, in byte order.
func SupportedAttributes() []string {
	names := slices.Collect(maps.Keys(topicSettings))
	names = slices.DeleteFunc(append(names, attrFifo), func(n string) bool { return n == attrArchive })
	slices.Sort(names)
	return names
}

// newSettings checks the attributes that a topic is made with.
func newSettings(attrs map[string]string) (settings, error) {
	out := settings{}
	switch attrs[attrFifo] {
	case "", "false":
	case "true":
		out[attrFifo], out[attrContent] = "true", "false"
	default:
		return nil, invalid("Attributes Reason: FifoTopic: Invalid value [" + clip(attrs[attrFifo]) + "]. Must be true or false.")
	}
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		if name == attrFifo {
			continue
		}
		if err := out.set(name, attrs[name]); err != nil {
			return nil, withReason(err)
		}
	}
	return out, nil
}

// withReason gives the error of an attribute the form that it has among several.
func withReason(err error) error {
	e, ok := err.(*mnq.Error) //nolint:errorlint // it is one of ours, not wrapped
	if !ok {
		return err
	}
	out := *e
	out.Msg = "Invalid parameter: Attributes Reason: " + strings.TrimPrefix(e.Msg, "Invalid parameter: ")
	return &out
}

// set changes one attribute.
func (s settings) set(name, value string) error {
	check := topicSettings[name]
	if check == nil {
		return invalid("AttributeName")
	}
	v, err := check(value, s[attrFifo] == "true")
	switch {
	case err != nil:
		return err
	case v == "" && name == attrContent:
		s[name] = "false"
	case v == "":
		delete(s, name)
	default:
		s[name] = v
	}
	return nil
}

// checkPolicy returns a policy without needless space.
func checkPolicy(v string, _ bool) (string, error) {
	if v == "" {
		return "", nil
	}
	text, reason := policy.Check(v)
	if reason != "" {
		return "", invalid("Policy Reason: " + reason)
	}
	return text, nil
}

// SetAttribute changes one attribute; an empty value takes it away. Errors: Invalid
// (InvalidParameter), NotFound.
func (t *Topic) SetAttribute(ctx context.Context, _ mnq.Namespace, name, value string) error {
	return t.change(ctx, "topic.SetAttribute", func(r *record) error {
		if r.Settings == nil {
			r.Settings = settings{}
		}
		return r.Settings.set(name, value)
	})
}

// Attributes returns every attribute that has a value. ns is the namespace that the
// topic is in.
func (t *Topic) Attributes(_ context.Context, ns mnq.Namespace) (map[string]string, error) {
	st := t.state.Load()
	if t.deleted() {
		return nil, missing(t.name)
	}
	out := map[string]string{
		"TopicArn": t.ARN(ns), "Owner": ns.Account(), attrDisplayName: "",
		attrPolicy:    t.defaultPolicy(ns),
		attrEffective: effectiveTopicPolicy(st.Settings[attrDelivery]),
	}
	maps.Copy(out, st.Settings)
	var pending, confirmed, removed int64
	for _, sub := range t.svc.subscribers(t.id) {
		switch sub.State {
		case statePending:
			pending++
		case stateConfirmed:
			confirmed++
		case stateRemoved:
			removed++
		}
	}
	out["SubscriptionsPending"] = strconv.FormatInt(pending, 10)
	out["SubscriptionsConfirmed"] = strconv.FormatInt(confirmed, 10)
	out["SubscriptionsDeleted"] = strconv.FormatInt(removed, 10)
	return out, nil
}

// DataProtection returns the topic's data protection policy, "" without one.
func (t *Topic) DataProtection() string { return t.state.Load().DataProtection }

// SetDataProtection stores a data protection policy; "" removes it. It is kept and
// returned, and not enforced.
func (t *Topic) SetDataProtection(ctx context.Context, text string) error {
	if t.FIFO() {
		return invalid("DataProtectionPolicy Reason: it is not valid for this topic type")
	}
	if err := CheckDataProtectionPolicy(text); err != nil {
		return err
	}
	return t.change(ctx, "topic.SetDataProtection", func(r *record) error {
		r.DataProtection = text
		return nil
	})
}

func isControl(r rune) bool { return r < ' ' || r == 0x7F }

// clip keeps what a client sent from filling an error text. What is UTF-8 stays so.
func clip(s string) string {
	end := 256
	if len(s) <= end {
		return s
	}
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}
