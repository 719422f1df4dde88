package queue

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/openmnq/mnq"
)

// Limits of a queue's policy (SQS developer guide, quotas related to policies).
const (
	maxPolicy           = 8192 // bytes
	maxPolicyStatements = 20
	maxPolicyPrincipals = 50
	maxPolicyConditions = 10
)

// policy is a queue's access policy, as much of it as decides anything here.
type policy struct {
	Version    string      `json:"Version,omitempty"`
	ID         string      `json:"Id,omitempty"`
	Statements []statement `json:"Statement"`
}

type statement struct {
	Sid          string               `json:"Sid,omitempty"`
	Effect       string               `json:"Effect"`
	Principal    principals           `json:"Principal,omitzero"`
	NotPrincipal principals           `json:"NotPrincipal,omitzero"`
	Action       texts                `json:"Action,omitempty"`
	NotAction    texts                `json:"NotAction,omitempty"`
	Resource     texts                `json:"Resource,omitempty"`
	NotResource  texts                `json:"NotResource,omitempty"`
	Condition    map[string]condition `json:"Condition,omitempty"` // by operator
}

// condition is the values of each key that one operator compares with.
type condition map[string]texts

// texts is a string or a list of strings; booleans and numbers count as their text.
type texts []string

// UnmarshalJSON accepts one value or a list.
func (t *texts) UnmarshalJSON(b []byte) error {
	var list []json.RawMessage
	if len(b) == 0 || b[0] != '[' {
		list = []json.RawMessage{b}
	} else if err := json.Unmarshal(b, &list); err != nil {
		return err
	}
	for _, raw := range list {
		var v any
		if err := json.Unmarshal(raw, &v); err != nil {
			return err
		}
		switch v := v.(type) {
		case string:
			*t = append(*t, v)
		case bool, float64:
			*t = append(*t, string(raw))
		default:
			return &json.UnmarshalTypeError{Value: "value", Type: nil}
		}
	}
	return nil
}

// MarshalJSON writes a list of one as its element.
func (t texts) MarshalJSON() ([]byte, error) {
	if len(t) == 1 {
		return json.Marshal(t[0])
	}
	return json.Marshal([]string(t))
}

// principals are those that a statement is about. Kinds other than AWS, such as
// Service, are nobody that can sign a request here.
type principals struct {
	everyone bool
	aws      texts
	others   map[string]texts
}

// UnmarshalJSON accepts "*" and an object of lists by kind.
func (p *principals) UnmarshalJSON(b []byte) error {
	if string(b) == `"*"` {
		p.everyone = true
		return nil
	}
	kinds := map[string]texts{}
	if err := json.Unmarshal(b, &kinds); err != nil {
		return err
	}
	p.aws = kinds["AWS"]
	delete(kinds, "AWS")
	p.others = kinds
	return nil
}

// MarshalJSON writes what UnmarshalJSON reads.
func (p principals) MarshalJSON() ([]byte, error) {
	if p.everyone {
		return []byte(`"*"`), nil
	}
	kinds := make(map[string]texts, len(p.others)+1)
	maps.Copy(kinds, p.others)
	if len(p.aws) > 0 {
		kinds["AWS"] = p.aws
	}
	return json.Marshal(kinds)
}

// IsZero reports whether nobody is named.
func (p principals) IsZero() bool { return !p.everyone && len(p.aws) == 0 && len(p.others) == 0 }

func (p principals) count() int {
	n := len(p.aws)
	for _, list := range p.others {
		n += len(list)
	}
	return n
}

// holds reports whether the account is among them: by its id, as
// arn:aws:iam::<account>:root or an ARN of one of its users, or as "*".
func (p principals) holds(account string) bool {
	return p.everyone || slices.ContainsFunc(p.aws, func(s string) bool {
		if s == "*" || s == account {
			return true
		}
		t := strings.SplitN(s, ":", 6)
		return len(t) == 6 && t[0] == "arn" && t[2] == "iam" && t[4] == account && t[5] == "root"
	})
}

// canonicalPolicy checks a policy and returns it without needless space. What it
// does not know is kept as it is.
func canonicalPolicy(v string) (string, error) {
	if len(v) > maxPolicy {
		return "", invalidAttribute(attrPolicy, "Must not be longer than 8192 bytes.")
	}
	p, err := parsePolicy(v)
	if err != nil {
		return "", invalidAttribute(attrPolicy, "Must be a policy in JSON.")
	}
	switch count, conditions := p.size(); {
	case len(p.Statements) == 0 || len(p.Statements) > maxPolicyStatements:
		return "", invalidAttribute(attrPolicy, "Must have from 1 to 20 statements.")
	case count > maxPolicyPrincipals:
		return "", invalidAttribute(attrPolicy, "Must not name more than 50 principals.")
	case conditions > maxPolicyConditions:
		return "", invalidAttribute(attrPolicy, "Must not have more than 10 conditions.")
	}
	for _, s := range p.Statements {
		switch {
		case s.Effect != "Allow" && s.Effect != "Deny":
			return "", invalidAttribute(attrPolicy, "The Effect of a statement must be Allow or Deny.")
		case s.Principal.IsZero() == s.NotPrincipal.IsZero():
			return "", invalidAttribute(attrPolicy, "A statement must have a Principal.")
		case (len(s.Action) == 0) == (len(s.NotAction) == 0):
			return "", invalidAttribute(attrPolicy, "A statement must have an Action.")
		}
	}
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(v)); err != nil {
		return "", invalidAttribute(attrPolicy, "Must be a policy in JSON.")
	}
	return b.String(), nil
}

// parsePolicy also takes a single statement that is not in a list.
func parsePolicy(v string) (policy, error) {
	var raw struct {
		Version   string
		ID        string `json:"Id"`
		Statement json.RawMessage
	}
	p := policy{}
	if err := json.Unmarshal([]byte(v), &raw); err != nil {
		return p, err
	}
	p.Version, p.ID = raw.Version, raw.ID
	if len(raw.Statement) == 0 {
		return p, nil
	}
	if raw.Statement[0] == '{' {
		p.Statements = make([]statement, 1)
		return p, json.Unmarshal(raw.Statement, &p.Statements[0])
	}
	return p, json.Unmarshal(raw.Statement, &p.Statements)
}

func (p policy) size() (principals, conditions int) {
	for _, s := range p.Statements {
		principals += s.Principal.count() + s.NotPrincipal.count()
		for _, c := range s.Condition {
			conditions += len(c)
		}
	}
	return principals, conditions
}

// Access is a request for something that a queue's policy decides.
type Access struct {
	Account string // the caller's
	Action  string // such as "SendMessage", without its batch
	Secure  bool   // the request came over TLS
}

// Verdict is what a policy says to a request.
type Verdict uint8

// The verdicts. A policy that does not mention the caller is silent.
const (
	Silent Verdict = iota
	Allowed
	Refused
)

// Judge evaluates the queue's policy. ns is the namespace that the queue is in. An explicit Deny wins over every Allow. A condition on something that is not
// known of a request here is not fulfilled.
func (q *Queue) Judge(ns mnq.Namespace, a Access) Verdict {
	v := q.record.Load().Settings[attrPolicy]
	if v == "" {
		return Silent
	}
	p, err := parsePolicy(v)
	if err != nil {
		return Refused
	}
	verdict := Silent
	for _, s := range p.Statements {
		if !s.applies(q.ARN(ns), a) {
			continue
		}
		if s.Effect == "Deny" {
			return Refused
		}
		verdict = Allowed
	}
	return verdict
}

func (s statement) applies(resource string, a Access) bool {
	if s.Principal.IsZero() {
		if s.NotPrincipal.holds(a.Account) {
			return false
		}
	} else if !s.Principal.holds(a.Account) {
		return false
	}
	action := "sqs:" + strings.ToLower(a.Action)
	names := func(list texts) bool {
		return slices.ContainsFunc(list, func(p string) bool { return wildcard(strings.ToLower(p), action) })
	}
	if len(s.NotAction) > 0 && names(s.NotAction) || len(s.NotAction) == 0 && !names(s.Action) {
		return false
	}
	about := func(list texts) bool {
		return slices.ContainsFunc(list, func(p string) bool { return sameResource(p, resource) })
	}
	if len(s.NotResource) > 0 && about(s.NotResource) || len(s.Resource) > 0 && !about(s.Resource) {
		return false
	}
	for operator, c := range s.Condition {
		for key, values := range c {
			if !a.fulfils(operator, key, values) {
				return false
			}
		}
	}
	return true
}

// sameResource compares all of an ARN but the partition, which clients that know
// AWS only write as "aws".
func sameResource(pattern, resource string) bool {
	rest := func(s string) string {
		t := strings.SplitN(s, ":", 3)
		if len(t) < 3 {
			return s
		}
		return t[2]
	}
	return pattern == "*" || wildcard(rest(pattern), rest(resource))
}

// fulfils evaluates one condition. Known of a request are whether it came over TLS
// and the caller's account; an unknown key only fulfils what is negated, asks for
// its absence, or ends in IfExists.
func (a Access) fulfils(operator, key string, values texts) bool {
	operator, ifExists := strings.CutSuffix(operator, "IfExists")
	actual, known := "", true
	switch strings.ToLower(key) {
	case "aws:securetransport":
		actual = "false"
		if a.Secure {
			actual = "true"
		}
	case "aws:principalaccount":
		actual = a.Account
	default:
		known = false
	}
	anyOf := func(same func(want string) bool) bool { return slices.ContainsFunc(values, same) }
	if operator == "Null" {
		return anyOf(func(want string) bool { return (want == "true") == !known })
	}
	base, negated := operator, false
	for _, not := range []string{"StringNot", "ArnNot", "NumericNot", "DateNot", "NotIp"} {
		if rest, ok := strings.CutPrefix(operator, not); ok {
			base, negated = strings.TrimSuffix(not, "Not")+rest, true
		}
	}
	if !known {
		return negated || ifExists
	}
	match := anyOf(func(want string) bool {
		switch base {
		case "StringEquals", "ArnEquals":
			return want == actual
		case "StringEqualsIgnoreCase", "Bool":
			return strings.EqualFold(want, actual)
		case "StringLike", "ArnLike":
			return wildcard(want, actual)
		}
		return false
	})
	return match != negated
}

// wildcard matches s with a pattern of * and ?, in time linear in both lengths'
// product at worst.
func wildcard(pattern, s string) bool {
	p, i, star, mark := 0, 0, -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, i
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == s[i]):
			p, i = p+1, i+1
		case star >= 0:
			mark++
			p, i = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}

var accountRule = regexp.MustCompile(`^([0-9]{12}|A[A-Z2-7]{55}|project-[0-9a-f-]{36})$`)

// ValidAccount reports whether s has the form of an account: of a namespace here,
// or of AWS.
func ValidAccount(s string) bool { return accountRule.MatchString(s) }

// grant is a statement as AddPermission makes it.
func grant(label, resource string, accounts, actions []string) statement {
	s := statement{Sid: label, Effect: "Allow", Resource: texts{resource}}
	for _, a := range accounts {
		s.Principal.aws = append(s.Principal.aws, "arn:aws:iam::"+a+":root")
	}
	for _, a := range actions {
		s.Action = append(s.Action, "SQS:"+a)
	}
	return s
}

// readForChange reads a policy so that statements can be added or removed without
// touching what else it holds.
func readForChange(v, resource string) (version, id string, statements []json.RawMessage, err error) {
	version, id = "2008-10-17", resource+"/SQSDefaultPolicy"
	if v == "" {
		return version, id, nil, nil
	}
	var raw struct {
		Version   string
		ID        string `json:"Id"`
		Statement json.RawMessage
	}
	if err := json.Unmarshal([]byte(v), &raw); err != nil {
		return "", "", nil, err
	}
	version, id = cmp.Or(raw.Version, version), cmp.Or(raw.ID, id)
	if len(raw.Statement) > 0 && raw.Statement[0] == '{' {
		return version, id, []json.RawMessage{raw.Statement}, nil
	}
	return version, id, statements, json.Unmarshal(raw.Statement, &statements)
}
