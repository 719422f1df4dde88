package topic

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// maxDataProtection is the longest data protection policy, in characters (SNS API
// reference, PutDataProtectionPolicy).
const maxDataProtection = 30720

type dataProtectionPolicy struct {
	Name          string                    `json:"Name"`
	Description   string                    `json:"Description"`
	Version       string                    `json:"Version"`
	Statement     []dataProtectionStatement `json:"Statement"`
	Configuration map[string]any            `json:"Configuration"` // custom data identifiers
}

type dataProtectionStatement struct {
	Sid            string                     `json:"Sid"`
	DataDirection  string                     `json:"DataDirection"`
	Principal      []string                   `json:"Principal"`
	DataIdentifier []string                   `json:"DataIdentifier"`
	Operation      map[string]json.RawMessage `json:"Operation"`
}

// CheckDataProtectionPolicy refuses what is not a data protection policy in its form:
// one that passes can be stored. Nothing enforces it. Errors: Invalid
// (InvalidParameter). The empty text, which removes a policy, is fine.
func CheckDataProtectionPolicy(text string) error {
	if text == "" {
		return nil
	}
	if reason := dataProtectionFault(text); reason != "" {
		return invalid("DataProtectionPolicy Reason: " + reason)
	}
	return nil
}

func dataProtectionFault(text string) string {
	if utf8.RuneCountInString(text) > maxDataProtection {
		return fmt.Sprintf("must be at most %d characters long", maxDataProtection)
	}
	if fault := checkJSON(text); fault != "" {
		return fault
	}
	var p dataProtectionPolicy
	dec := json.NewDecoder(strings.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return clip(cmp.Or(wrong.Field, "the policy")) + " must not be of type " + wrong.Value
		}
		return clip(strings.TrimPrefix(err.Error(), "json: ")) // an unknown field
	}
	switch {
	case p.Name == "":
		return "Name must not be empty"
	case p.Version != "2021-06-01":
		return "Version must be 2021-06-01"
	case len(p.Statement) == 0:
		return "Statement must hold at least one statement"
	}
	for i, s := range p.Statement {
		if fault := s.fault(); fault != "" {
			return fmt.Sprintf("Statement %d: %s", i+1, fault)
		}
	}
	return ""
}

func (s *dataProtectionStatement) fault() string {
	empty := func(texts []string) bool { return len(texts) == 0 || slices.Contains(texts, "") }
	switch {
	case s.DataDirection != "Inbound" && s.DataDirection != "Outbound":
		return "DataDirection must be Inbound or Outbound"
	case empty(s.Principal):
		return `Principal must be a list of ARNs, or ["*"]`
	case empty(s.DataIdentifier):
		return "DataIdentifier must be a list of data identifiers"
	case len(s.Operation) != 1:
		return "Operation must be one of Audit, Deidentify and Deny"
	}
	for name, settings := range s.Operation {
		switch name {
		case "Audit", "Deidentify", "Deny":
		default:
			return "Operation must be one of Audit, Deidentify and Deny"
		}
		if !strings.HasPrefix(string(settings), "{") {
			return "Operation " + name + " must be an object"
		}
	}
	return ""
}
