// Package policy reads and evaluates the access policies of queues and topics.
package policy

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Limits of a policy (SQS developer guide, quotas related to policies).
const (
	maxBytes      = 8192
	MaxStatements = 20
	MaxPrincipals = 50
	maxConditions = 10
)

// policy is an access policy, as much of it as decides anything here.
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

// holds reports whether the caller is among them: an account by its id, as
// arn:aws:iam::<account>:root or as "*", a service by its name or as "*".
func (p principals) holds(a Access) bool {
	if p.everyone || slices.Contains(p.aws, "*") {
		return true
	}
	if a.Service != "" {
		return slices.Contains(p.others["Service"], a.Service)
	}
	return slices.ContainsFunc(p.aws, func(s string) bool {
		if s == a.Account {
			return true
		}
		t := strings.SplitN(s, ":", 6)
		return len(t) == 6 && t[0] == "arn" && t[2] == "iam" && t[4] == a.Account && t[5] == "root"
	})
}

// Check holds a policy against the rules and returns it without needless space, or
// the reason why it is refused. What it does not know is kept as it is.
func Check(text string) (canonical, reason string) {
	if len(text) > maxBytes {
		return "", "Must not be longer than 8192 bytes."
	}
	p, err := parse(text)
	if err != nil {
		return "", "Must be a policy in JSON."
	}
	switch count, conditions := p.size(); {
	case len(p.Statements) == 0 || len(p.Statements) > MaxStatements:
		return "", "Must have from 1 to 20 statements."
	case count > MaxPrincipals:
		return "", "Must not name more than 50 principals."
	case conditions > maxConditions:
		return "", "Must not have more than 10 conditions."
	}
	for _, s := range p.Statements {
		switch {
		case s.Effect != "Allow" && s.Effect != "Deny":
			return "", "The Effect of a statement must be Allow or Deny."
		case s.Principal.IsZero() == s.NotPrincipal.IsZero():
			return "", "A statement must have a Principal."
		case (len(s.Action) == 0) == (len(s.NotAction) == 0):
			return "", "A statement must have an Action."
		}
	}
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(text)); err != nil {
		return "", "Must be a policy in JSON."
	}
	return b.String(), ""
}

// parse also takes a single statement that is not in a list.
func parse(v string) (policy, error) {
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

// Access is a request for something that the policy of a queue or topic decides.
type Access struct {
	Account string // the caller's
	Action  string // such as "SendMessage", without its batch
	Secure  bool   // the request came over TLS

	// Of a service that acts for a resource of Account: who it is and for which.
	Service   string // such as "sns.amazonaws.com"; "" when an account calls itself
	SourceARN string
}

// Verdict is what a policy says to a request.
type Verdict uint8

// The verdicts. A policy that does not mention the caller is silent.
const (
	Silent Verdict = iota
	Allowed
	Refused
)

// Judge evaluates the policy of a resource: "" for none. service is the prefix of its
// actions, in lower case. An explicit Deny wins over every Allow. A condition on
// something that is not known of a request here is not fulfilled.
func Judge(text, service, resource string, a Access) Verdict {
	if text == "" {
		return Silent
	}
	p, err := parse(text)
	if err != nil {
		return Refused
	}
	a.Action = service + ":" + strings.ToLower(a.Action)
	verdict := Silent
	for _, s := range p.Statements {
		if !s.applies(resource, a) {
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
		if s.NotPrincipal.holds(a) {
			return false
		}
	} else if !s.Principal.holds(a) {
		return false
	}
	names := func(list texts) bool {
		return slices.ContainsFunc(list, func(p string) bool { return wildcard(strings.ToLower(p), a.Action) })
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

// fulfils evaluates one condition. Known of a request are whether it came over TLS and
// the caller's account, or the resource that a service acts for; an unknown key only fulfils what is negated, asks for
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
		actual, known = a.Account, a.Service == ""
	case "aws:sourcearn":
		actual, known = a.SourceARN, a.SourceARN != ""
	case "aws:sourceaccount", "aws:sourceowner":
		actual, known = a.Account, a.SourceARN != ""
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
		case "StringEquals":
			return want == actual
		case "ArnEquals", "ArnLike":
			return sameResource(want, actual)
		case "StringEqualsIgnoreCase", "Bool":
			return strings.EqualFold(want, actual)
		case "StringLike":
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

// Grant is a statement that lets accounts do something.
type Grant struct {
	Label    string
	Resource string
	Accounts []string // see [ValidAccount]
	Actions  []string // with their prefix, such as "SQS:SendMessage"
}

// Draft is a policy that is being changed. Statements that are neither added nor
// removed stay as they are.
type Draft struct {
	Version    string
	ID         string            `json:"Id"`
	Statements []json.RawMessage `json:"Statement"`
}

// Edit opens a policy for changes; "" is one without statements and with that id.
func Edit(text, id string) (Draft, error) {
	d := Draft{Version: "2008-10-17", ID: id}
	if text == "" {
		return d, nil
	}
	var raw struct {
		Version   string
		ID        string `json:"Id"`
		Statement json.RawMessage
	}
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		return d, err
	}
	d.Version, d.ID = cmp.Or(raw.Version, d.Version), cmp.Or(raw.ID, d.ID)
	if len(raw.Statement) > 0 && raw.Statement[0] == '{' {
		d.Statements = []json.RawMessage{raw.Statement}
		return d, nil
	}
	return d, json.Unmarshal(raw.Statement, &d.Statements)
}

// Has reports whether there is a statement with that label.
func (d *Draft) Has(label string) bool {
	return slices.ContainsFunc(d.Statements, func(s json.RawMessage) bool { return labelOf(s) == label })
}

// Add adds a statement.
func (d *Draft) Add(g Grant) error {
	s := statement{Sid: g.Label, Effect: "Allow", Resource: texts{g.Resource}, Action: g.Actions}
	for _, a := range g.Accounts {
		s.Principal.aws = append(s.Principal.aws, "arn:aws:iam::"+a+":root")
	}
	raw, err := json.Marshal(s)
	d.Statements = append(d.Statements, raw)
	return err
}

// Remove removes the statements with that label and reports whether there were any.
func (d *Draft) Remove(label string) bool {
	n := len(d.Statements)
	d.Statements = slices.DeleteFunc(d.Statements, func(s json.RawMessage) bool { return labelOf(s) == label })
	return len(d.Statements) < n
}

// Text is the policy as JSON; "" without statements.
func (d *Draft) Text() (string, error) {
	if len(d.Statements) == 0 {
		return "", nil
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(d)
	return strings.TrimSuffix(b.String(), "\n"), err
}

func labelOf(s json.RawMessage) string {
	var v struct{ Sid string }
	_ = json.Unmarshal(s, &v) // what cannot be read has no label
	return v.Sid
}
