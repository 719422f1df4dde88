package topic

import "github.com/openmnq/mnq"

// Scope is what a filter policy looks at.
type Scope uint8

// The scopes.
const (
	ScopeAttributes Scope = iota
	ScopeBody
)

func (s Scope) String() string {
	if s == ScopeBody {
		return "MessageBody"
	}
	return "MessageAttributes"
}

// ParseScope reads the value of FilterPolicyScope.
func ParseScope(text string) (Scope, error) {
	switch text {
	case "MessageBody":
		return ScopeBody, nil
	case "MessageAttributes":
		return ScopeAttributes, nil
	}
	return 0, &mnq.Error{Kind: mnq.Invalid, Code: "InvalidParameter", Field: "FilterPolicyScope", Msg: "FilterPolicyScope: Invalid value [" + clip(text) + "]. Please use either MessageBody or MessageAttributes"}
}

// Filter is a compiled filter policy.
type Filter struct{}

// CompileFilter refuses every policy until filters are there.
func CompileFilter(policy string, _ Scope) (*Filter, error) {
	if policy == "" || policy == "{}" {
		return nil, nil //nolint:nilnil // none
	}
	return nil, &mnq.Error{Kind: mnq.Unsupported, Code: "InvalidParameter", Field: "FilterPolicy", Msg: "filter policies are not supported yet"}
}

// CheckFilterCount refuses a topic's filter policies past the limit.
func CheckFilterCount(int) error { return nil }
