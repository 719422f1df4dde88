package topic

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/queue"
)

const (
	maxSubject       = 100 // characters
	maxAttributeName = 256 // bytes, also of a type
)

// CheckSubject refuses a subject that SNS does not take: at most 100 printable ASCII
// characters that begin with a letter, a number or a punctuation mark. "" stands for no
// subject. Errors: Invalid (InvalidParameter).
func CheckSubject(subject string) error {
	if len(subject) > maxSubject || strings.HasPrefix(subject, " ") ||
		strings.ContainsFunc(subject, func(r rune) bool { return r < ' ' || r > '~' }) {
		return invalid("Subject")
	}
	return nil
}

// MessageFor is the text that a message has for a protocol. With the structure "json"
// the message is an object of texts by protocol, and "default" is that of all others;
// members that are not texts count as absent. Errors: Invalid (InvalidParameter).
func MessageFor(protocol, message, structure string) (string, error) {
	switch structure {
	case "":
		return message, nil
	case "json":
	default:
		return "", invalid("MessageStructure Reason: " + clip(structure) + " is not supported, must be json")
	}
	var texts map[string]any
	if err := json.Unmarshal([]byte(message), &texts); err != nil || texts == nil {
		return "", invalid("Message Structure - JSON message body failed to parse")
	}
	otherwise, ok := texts["default"].(string)
	if !ok {
		return "", invalid("Message Structure - No default entry in JSON message body")
	}
	if text, ok := texts[protocol].(string); ok {
		return text, nil
	}
	return otherwise, nil
}

// CheckAttributes refuses attributes with a name, type or value that SNS does not take.
// Errors: Invalid (ParameterValueInvalid), with SNS's texts.
func CheckAttributes(attrs []queue.Attribute) error {
	for i := range attrs {
		fault := attributeNameFault(attrs[i].Name)
		if fault == "" {
			fault = attributeFault(&attrs[i])
		}
		if fault != "" {
			return &mnq.Error{Kind: mnq.Invalid, Code: "ParameterValueInvalid", Op: "topic.Publish", Field: "MessageAttributes", Msg: fault}
		}
	}
	return nil
}

func attributeNameFault(name string) string {
	switch {
	case name == "":
		return "Message attribute names must not be empty."
	case len(name) > maxAttributeName:
		return "Length of message attribute name must be less than 256 bytes."
	case name[0] == '.':
		return "Invalid message attribute name starting with character '.' was found."
	case name[len(name)-1] == '.':
		return "Invalid message attribute name ending with character '.' was found."
	case strings.Contains(name, ".."):
		return "Message attribute name can not have successive '.' character."
	}
	for _, r := range name {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9', r == '-', r == '_', r == '.':
		default:
			return fmt.Sprintf("Invalid non-alphanumeric character '#x%X' was found in the message attribute name. "+
				"Can only include alphanumeric characters, hyphens, underscores, or dots.", r)
		}
	}
	return ""
}

func attributeFault(a *queue.Attribute) string {
	kind, label, labelled := strings.Cut(a.DataType, ".")
	switch {
	case kind != "String" && kind != "Number" && kind != "Binary", labelled && label == "", len(a.DataType) > maxAttributeName:
		return "The message attribute '" + a.Name + "' has an invalid message attribute type, " +
			"the set of supported type prefixes is Binary, Number, and String."
	case len(a.Value) == 0:
		return "The message attribute '" + a.Name + "' must contain non-empty message attribute value for message attribute type '" + a.DataType + "'."
	case kind == "Number":
		if _, ok := parseDecimal(string(a.Value)); !ok {
			return "Could not cast message attribute '" + a.Name + "' value to number."
		}
	}
	return ""
}
