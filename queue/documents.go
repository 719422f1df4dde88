package queue

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/openmnq/mnq"
)

// Attributes whose value is a document or a name. They have no value until one
// is set, and setting "" takes it away.
const (
	attrPolicy       = "Policy"
	attrRedrive      = "RedrivePolicy"
	attrRedriveAllow = "RedriveAllowPolicy"
	attrKMSKey       = "KmsMasterKeyId"
	attrKMSReuse     = "KmsDataKeyReusePeriodSeconds"
	attrManagedSSE   = "SqsManagedSseEnabled"
)

// documents maps each such attribute to the function that checks a value, never
// "", and returns it as it is kept.
var documents = map[string]func(v string) (string, error){
	attrPolicy:       canonicalPolicy,
	attrRedrive:      canonicalRedrive,
	attrRedriveAllow: canonicalRedriveAllow,
	attrKMSKey:       canonicalKMSKey,
	attrKMSReuse:     canonicalKMSReuse,
	attrManagedSSE:   canonicalManagedSSE,
}

// setDocument puts the value of one of the documents into s.
func (s settings) setDocument(name, v string) error {
	if v == "" && name != attrManagedSSE {
		delete(s, name)
		return nil
	}
	kept, err := documents[name](v)
	if err != nil {
		return err
	}
	s[name] = kept
	return nil
}

// checkEncryption holds the two ways of encryption apart: a key switches the
// managed one off, and asking for both is an error. changed names what was set.
func (s settings) checkEncryption(changed map[string]string) error {
	if changed[attrKMSKey] == "" {
		if changed[attrManagedSSE] == "true" {
			delete(s, attrKMSKey)
		}
		return nil
	}
	if changed[attrManagedSSE] == "true" {
		return invalid("InvalidAttributeName", attrManagedSSE, "You can use one type of server-side encryption (SSE) at one time. "+
			"You can either enable KMS SSE or SQS SSE.")
	}
	s[attrManagedSSE] = "false"
	return nil
}

const maxKMSKey = 2048 // characters of an id, alias or ARN

func canonicalKMSKey(v string) (string, error) {
	if len(v) > maxKMSKey || strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r == 0x7F }) {
		return "", invalidAttribute(attrKMSKey, "Must be the id, alias or ARN of a key.")
	}
	return v, nil
}

func canonicalKMSReuse(v string) (string, error) {
	n, err := strconv.ParseInt(v, 10, 64)
	if err != nil || n < 60 || n > 86400 {
		return "", invalidAttribute(attrKMSReuse, "Must be an integer from 60 to 86400.")
	}
	return strconv.FormatInt(n, 10), nil
}

func canonicalManagedSSE(v string) (string, error) {
	switch strings.ToLower(v) {
	case "true":
		return "true", nil
	case "false":
		return "false", nil
	}
	return "", invalidAttribute(attrManagedSSE, "Must be true or false.")
}

// maxReceives is the highest maxReceiveCount.
const maxReceives = 1000

// redrivePolicy says where messages go that were received too often.
type redrivePolicy struct {
	Target   string `json:"deadLetterTargetArn"`
	Receives int    `json:"maxReceiveCount"`
}

// canonicalRedrive reads a policy whose maxReceiveCount is a number or digits,
// and keeps it with a number.
func canonicalRedrive(v string) (string, error) {
	var in struct {
		Target   *string         `json:"deadLetterTargetArn"`
		Receives json.RawMessage `json:"maxReceiveCount"`
	}
	if err := json.Unmarshal([]byte(v), &in); err != nil {
		return "", invalidDocument(attrRedrive, v, "Redrive policy is not a valid JSON map.")
	}
	switch {
	case in.Target == nil:
		return "", invalidDocument(attrRedrive, v, "Redrive policy does not contain mandatory attribute: deadLetterTargetArn.")
	case in.Receives == nil:
		return "", invalidDocument(attrRedrive, v, "Redrive policy does not contain mandatory attribute: maxReceiveCount.")
	}
	digits := strings.Trim(string(in.Receives), `"`)
	n, err := strconv.Atoi(digits)
	if err != nil || n < 1 || n > maxReceives {
		return "", invalidDocument(attrRedrive, v,
			fmt.Sprintf("Invalid value for maxReceiveCount: %s, valid values are from 1 to 1000 both inclusive.", clip(digits)))
	}
	if _, err := parseARN(*in.Target); err != nil {
		return "", invalidDocument(attrRedrive, v, "Invalid value for deadLetterTargetArn.")
	}
	return compact(redrivePolicy{*in.Target, n}), nil
}

// redrive returns the policy in force.
func (s settings) redrive() (p redrivePolicy, ok bool) {
	v := s[attrRedrive]
	if v == "" {
		return p, false
	}
	return p, json.Unmarshal([]byte(v), &p) == nil
}

// redriveAllowPolicy says for which queues this one may be the dead-letter queue.
type redriveAllowPolicy struct {
	Permission string   `json:"redrivePermission"`
	Sources    []string `json:"sourceQueueArns,omitempty"`
}

const maxRedriveSources = 10

func canonicalRedriveAllow(v string) (string, error) {
	var p redriveAllowPolicy
	if err := json.Unmarshal([]byte(v), &p); err != nil {
		return "", invalidDocument(attrRedriveAllow, v, "Amazon SQS can't create the redrive allow policy, as it's in an unsupported format.")
	}
	switch p.Permission {
	case "allowAll", "denyAll":
		if len(p.Sources) > 0 {
			return "", invalidDocument(attrRedriveAllow, v, "Amazon SQS can't create the redrive allow policy. "+
				"sourceQueueArns can only be specified with the byQueue redrivePermission.")
		}
	case "byQueue":
		if len(p.Sources) == 0 || len(p.Sources) > maxRedriveSources {
			return "", invalidDocument(attrRedriveAllow, v, "Amazon SQS can't create the redrive allow policy. "+
				"The byQueue redrivePermission needs from 1 to 10 sourceQueueArns.")
		}
	default:
		return "", invalidDocument(attrRedriveAllow, v, "Amazon SQS can't create the redrive allow policy, "+
			"as redrivePermission must be allowAll, denyAll or byQueue.")
	}
	for _, source := range p.Sources {
		if _, err := parseARN(source); err != nil {
			return "", invalidDocument(attrRedriveAllow, v, "sourceQueueArns holds what is not the ARN of a queue.")
		}
	}
	return compact(p), nil
}

// allowsRedriveFrom reports whether a queue with that ARN may use this one for
// its dead letters.
func (s settings) allowsRedriveFrom(source arn) bool {
	v := s[attrRedriveAllow]
	if v == "" {
		return true
	}
	var p redriveAllowPolicy
	if err := json.Unmarshal([]byte(v), &p); err != nil {
		return false
	}
	return p.Permission == "allowAll" || p.Permission == "byQueue" && slices.ContainsFunc(p.Sources, func(s string) bool {
		a, err := parseARN(s)
		return err == nil && a.account == source.account && a.name == source.name
	})
}

// arn is the resource name of a queue.
type arn struct{ partition, region, account, name string }

func parseARN(s string) (arn, error) {
	t := strings.Split(s, ":")
	if len(t) != 6 || t[0] != "arn" || t[1] == "" || t[2] != "sqs" || t[3] == "" || t[4] == "" || t[5] == "" || len(s) > 512 {
		return arn{}, invalid("InvalidParameterValue", "arn",
			"You must use this format to specify the SourceArn: arn:<partition>:<service>:<region>:<account-id>:<resource-id>")
	}
	return arn{t[1], t[3], t[4], t[5]}, nil
}

func (a arn) String() string {
	return "arn:" + a.partition + ":sqs:" + a.region + ":" + a.account + ":" + a.name
}

// in reports whether the queue would be one of the namespace: of its account and region.
func (a arn) in(ns mnq.Namespace) bool {
	return a.account == ns.Account() && (ns.Region == "" || a.region == ns.Region)
}

// named is the ARN of another queue of the same account and region.
func (a arn) named(name string) arn {
	a.name = name
	return a
}

// checkRedrive holds a queue's RedrivePolicy against the queue that it names: it
// must exist, be of the same account, region and type, and allow it. A queue may be
// its own dead-letter queue.
func (s *Service) checkRedrive(ns mnq.Namespace, name string, set settings) error {
	p, ok := set.redrive()
	if !ok {
		return nil
	}
	refuse := func(reason string) error { return invalidDocument(attrRedrive, set[attrRedrive], reason) }
	target, err := parseARN(p.Target)
	if err != nil {
		return err
	}
	if !target.in(ns) {
		return refuse("Dead-letter target owner should be same as the source.")
	}
	if isFIFO(target.name) != isFIFO(name) {
		return refuse("Dead-letter queue must be same type of queue as the source.")
	}
	if target.name == name {
		return nil
	}
	q, err := s.Queue(ns, target.name)
	if err != nil {
		return refuse("Dead letter target does not exist.")
	}
	if !q.record.Load().Settings.allowsRedriveFrom(target.named(name)) {
		return refuse("Queue " + name + " is not allowed to use " + target.name + " as its dead-letter queue.")
	}
	return nil
}

// isFIFO reports the type of a queue, which its name tells.
func isFIFO(name string) bool { return strings.HasSuffix(name, ".fifo") }

// compact is the JSON text of a document.
func compact(v any) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "" // structs of strings and numbers always encode
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func invalidAttribute(name, reason string) error {
	return invalid("InvalidAttributeValue", name, "Invalid value for the parameter "+name+". Reason: "+reason)
}

func invalidDocument(name, v, reason string) error {
	if len(v) > 1024 {
		v = v[:1024] + "…"
	}
	return invalid("InvalidParameterValue", name, "Value "+v+" for parameter "+name+" is invalid. Reason: "+reason)
}
