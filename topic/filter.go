package topic

import (
	"fmt"
	"slices"

	"github.com/openmnq/mnq"
)

// Limits of filter policies (SNS developer guide, filter policy constraints).
const (
	maxFilterBytes        = 256 << 10
	maxFilterKeys         = 5   // of one alternative; in nested policies those that hold conditions
	maxFilterCombinations = 150 // see combinations

	// MaxFilters is how many subscriptions of a topic may have a filter policy.
	MaxFilters = 200
)

// Scope is what a filter policy looks at.
type Scope uint8

// The scopes. A subscription without FilterPolicyScope has ScopeAttributes.
const (
	ScopeAttributes Scope = iota // the attributes of the message
	ScopeBody                    // the message itself, a JSON object
)

// String is the value of FilterPolicyScope.
func (s Scope) String() string {
	if s == ScopeBody {
		return "MessageBody"
	}
	return "MessageAttributes"
}

// ParseScope reads the value of FilterPolicyScope. Like the errors of
// [CompileFilter] its error has the bare text; Field is "FilterPolicyScope".
func ParseScope(text string) (Scope, error) {
	switch text {
	case ScopeAttributes.String():
		return ScopeAttributes, nil
	case ScopeBody.String():
		return ScopeBody, nil
	}
	return 0, invalidFilter("FilterPolicyScope",
		"FilterPolicyScope: Invalid value ["+clip(text)+"]. Please use either MessageBody or MessageAttributes")
}

// CheckFilterCount refuses a topic's filter policies when n, with the one that is to be
// set, are more than [MaxFilters].
func CheckFilterCount(n int) error {
	if n <= MaxFilters {
		return nil
	}
	return &mnq.Error{
		Kind: mnq.QuotaExceeded, Code: "FilterPolicyLimitExceeded", Op: "topic.filter", Field: "FilterPolicy",
		Msg: fmt.Sprintf("Too many subscriptions of the topic have a filter policy: the limit is %d.", MaxFilters),
	}
}

// Filter is a compiled filter policy. It does not change, so any number of
// goroutines may use it at once. A nil Filter matches everything.
//
// A policy matches when one of its alternatives does: without "$or" there is one,
// and each "$or" multiplies them. In an alternative every key has to match, and a key
// matches when one of its conditions holds for one of the values that the message has
// there. So the elements of an array are values like any other, and anything-but
// holds as soon as one element is none of those named.
//
// In a body, keys and names are joined by dots, and it makes no difference whether a dot
// was written or came from nesting. When the values for several keys lie in one array,
// they have to be in the same element of it.
//
// Numbers are compared exactly, with all their digits. A message without any
// attributes, or a body without any value, matches no policy, not even {"exists": false}.
type Filter struct {
	scope        Scope
	alternatives []alternative
}

// alternative is what has to match together, at most maxFilterKeys of them.
type alternative []leaf

// leaf is one key with its conditions, of which one has to hold.
type leaf struct {
	path       string
	conditions []condition
	absent     bool // {"exists": false} is one of them
	depth      int  // 1 at the top
}

// CompileFilter compiles a filter policy. The policies "" and "{}" are none: then
// the Filter is nil.
//
// Its errors are *mnq.Error of kind Invalid with the code InvalidParameter and SNS's
// bare text. Where Field is FilterPolicy, the caller puts "FilterPolicy: " in front of
// it; where it is FilterPolicyScope, the text stands for itself. "Invalid parameter: " or
// "Invalid parameter: Attributes Reason: " come before either.
func CompileFilter(policy string, scope Scope) (*Filter, error) {
	if policy == "" {
		return nil, nil
	}
	if len(policy) > maxFilterBytes {
		return nil, invalidFilter("FilterPolicy", fmt.Sprintf("Filter policy can not be longer than %d bytes", maxFilterBytes))
	}
	p := policyParser{s: jsonScanner{text: policy}}
	parsed, err := p.policy()
	switch {
	case err != nil:
		return nil, err
	case parsed == nil:
		return nil, nil
	case scope == ScopeAttributes && p.nested:
		return nil, invalidFilter("FilterPolicyScope", "Filter policy scope MessageAttributes does not support nested filter policy")
	case parsed.keys() > maxFilterKeys:
		return nil, invalidFilter("FilterPolicy", "Filter policy can not have more than 5 keys")
	case parsed.combinations() > maxFilterCombinations:
		return nil, invalidFilter("FilterPolicy", "Filter policy is too complex")
	}
	f := &Filter{scope: scope, alternatives: parsed.alternatives()}
	for _, a := range f.alternatives {
		if path, doubled := a.doubled(); doubled {
			return nil, invalidFilter("FilterPolicy", "Path `"+clip(path)+"` cannot be allowed multiple times")
		}
	}
	return f, nil
}

// Scope says which of MatchAttributes and MatchBody is meant for f.
func (f *Filter) Scope() Scope {
	if f == nil {
		return ScopeAttributes
	}
	return f.scope
}

func invalidFilter(field, msg string) error {
	return &mnq.Error{Kind: mnq.Invalid, Code: "InvalidParameter", Op: "topic.filter", Field: field, Msg: msg}
}

// policyObject is an object of a policy with the objects nested in it: all leaves have
// to match, and of each group one.
type policyObject struct {
	leaves []leaf
	groups [][]*policyObject // one for each $or
}

// keys is how many leaves the longest alternative has.
func (o *policyObject) keys() int {
	n := len(o.leaves)
	for _, group := range o.groups {
		most := 0
		for _, branch := range group {
			most = max(most, branch.keys())
		}
		n += most
	}
	return n
}

// combinations is what SNS calls the complexity: for each alternative the product
// of the numbers of conditions, each times the depth of its key, and of that the sum.
func (o *policyObject) combinations() int {
	const enough = maxFilterCombinations + 1 // so that nothing overflows
	n := 1
	for _, l := range o.leaves {
		n = min(n*min(len(l.conditions)*l.depth, enough), enough)
	}
	for _, group := range o.groups {
		sum := 0
		for _, branch := range group {
			sum = min(sum+branch.combinations(), enough)
		}
		n = min(n*sum, enough)
	}
	return n
}

// alternatives multiplies the groups out. There are never more than combinations.
func (o *policyObject) alternatives() []alternative {
	all := []alternative{o.leaves}
	for _, group := range o.groups {
		var next []alternative
		for _, branch := range group {
			for _, b := range branch.alternatives() {
				for _, a := range all {
					next = append(next, append(slices.Clip(a), b...))
				}
			}
		}
		all = next
	}
	return all
}

// doubled finds a path that is there twice.
func (a alternative) doubled() (path string, ok bool) {
	for i, l := range a {
		for _, other := range a[:i] {
			if l.path == other.path {
				return l.path, true
			}
		}
	}
	return "", false
}
