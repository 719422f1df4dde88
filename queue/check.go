package queue

import (
	"fmt"
	"math/big"
	"strings"
	"unicode/utf8"
)

// What a message may consist of, in SQS's words (API reference, SendMessage;
// developer guide, message attributes).

const (
	// MaxAttributes is how many attributes a message can have.
	MaxAttributes = 10
	// MaxAttributeName bounds the name and the type of an attribute, in bytes.
	MaxAttributeName = 256

	// InvalidCharacters is the error text for what [ValidText] refuses.
	InvalidCharacters = "Invalid characters found. Valid unicode characters are " +
		"#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"
)

// ValidText reports whether SQS takes s: XML 1.0's characters, in UTF-8.
func ValidText(s string) bool {
	ascii := 0
	for ascii < len(s) && s[ascii] >= 0x20 && s[ascii] < utf8.RuneSelf {
		ascii++
	}
	s = s[ascii:]
	for i, r := range s {
		switch {
		case r == '\t' || r == '\n' || r == '\r' || r >= 0x20 && r < utf8.RuneError || r > 0xFFFF:
		case r == utf8.RuneError: // U+FFFD itself is 3 bytes long, bad UTF-8 is 1
			if _, n := utf8.DecodeRuneInString(s[i:]); n == 1 {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// CheckID holds a message group, deduplication or attempt id to its form. Errors:
// Invalid (InvalidParameterValue).
func CheckID(parameter, id string) error {
	ok := id != "" && len(id) <= 128
	for i := range len(id) {
		ok = ok && id[i] > ' ' && id[i] < 0x7F
	}
	if ok {
		return nil
	}
	return invalidParameter(clip(id), parameter, parameter+" can only include alphanumeric and punctuation characters. 1 to 128 in length.")
}

// CheckAttributeName holds the name of a message attribute to SQS's rules. Errors:
// Invalid (InvalidParameterValue).
func CheckAttributeName(name string) error {
	if name == "" {
		return invalidMessage("Message (user) attribute names must not be empty.")
	}
	if len(name) > MaxAttributeName {
		return invalidMessage("Message (user) attribute names must be shorter than 256 Bytes")
	}
	for _, r := range name {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-', r == '.', r >= 0xC0 && r <= 0x17F:
		default:
			return invalidMessage("Message (user) attributes name can only contain upper and lower score characters, digits, periods, hyphens and underscores. ")
		}
	}
	lower := strings.ToLower(name)
	if strings.HasPrefix(lower, "aws.") || strings.HasPrefix(lower, "amazon.") || name[0] == '.' || name[len(name)-1] == '.' || strings.Contains(name, "..") {
		return invalidMessage("You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. These strings are reserved for internal use. " +
			"Additionally, they cannot start or end with '.'.")
	}
	return nil
}

// ValidNumber reports whether s is a decimal of at most 38 digits between 10^-128
// and 10^126.
func ValidNumber(s string) bool {
	if len(s) > 256 || strings.Trim(s, "+-.0123456789eE") != "" {
		return false
	}
	mantissa, exponent, _ := strings.Cut(strings.ToLower(strings.TrimLeft(s, "+-")), "e")
	if e := strings.TrimLeft(exponent, "+-0"); len(e) > 3 {
		return false // beyond the range, and too dear to compute
	}
	digits := strings.Trim(strings.Replace(mantissa, ".", "", 1), "0")
	if len(digits) > 38 {
		return false
	}
	f, _, err := big.ParseFloat(s, 10, 192, big.ToNearestEven)
	if err != nil || f.IsInf() {
		return false
	}
	if f.Sign() == 0 {
		return true
	}
	return f.Abs(f).Cmp(numberMin) >= 0 && f.Cmp(numberMax) <= 0
}

var numberMin, numberMax = decimal("1e-128"), decimal("1e126")

func decimal(s string) *big.Float {
	f, _, _ := big.ParseFloat(s, 10, 192, big.ToNearestEven) // constants above
	return f
}

func invalidMessage(msg string) error {
	return invalid("InvalidParameterValue", "MessageAttributes", msg)
}

// Check holds a message to the rules that do not depend on the queue's attributes but
// for its type. Errors: Invalid, with SQS's codes and texts.
func (s *Send) Check(fifo bool) error {
	switch {
	case s.Body == "":
		return invalid("MissingParameter", "MessageBody", "The request must contain the parameter MessageBody.")
	case !ValidText(s.Body):
		return invalid("InvalidMessageContents", "MessageBody", InvalidCharacters)
	case len(s.Attributes) > MaxAttributes:
		return invalidMessage(fmt.Sprintf("Number of message attributes [%d] exceeds the allowed maximum [10].", len(s.Attributes)))
	case s.Delay != nil && (*s.Delay < 0 || *s.Delay > MaxDelay):
		return invalidParameter(s.Delay.String(), "DelaySeconds", "DelaySeconds must be >= 0 and <= 900.")
	case s.DedupID != "" && !fifo:
		return invalidParameter(clip(s.DedupID), "MessageDeduplicationId", "The request includes a parameter that is not valid for this queue type.")
	}
	for _, a := range s.Attributes {
		if err := a.check(); err != nil {
			return err
		}
	}
	for parameter, id := range map[string]string{"MessageGroupId": s.GroupID, "MessageDeduplicationId": s.DedupID} {
		if err := CheckID(parameter, id); id != "" && err != nil {
			return err
		}
	}
	return nil
}

func (a *Attribute) check() error {
	if err := CheckAttributeName(a.Name); err != nil {
		return err
	}
	base, _, _ := strings.Cut(a.DataType, ".")
	switch {
	case base != "String" && base != "Number" && base != "Binary", len(a.DataType) > MaxAttributeName, !ValidText(a.DataType):
		return invalidMessage("The message attribute '" + a.Name + "' has an invalid message attribute type, " +
			"the set of supported type prefixes is Binary, Number, and String.")
	case len(a.Value) == 0:
		return invalidMessage("Message (user) attribute '" + a.Name + "' must contain a non-empty value of type '" + base + "'.")
	case base != "Binary" && !ValidText(string(a.Value)):
		return invalidMessage("Message (user) attribute '" + a.Name + "': " + InvalidCharacters)
	case base == "Number" && !ValidNumber(string(a.Value)):
		return invalidMessage("Could not cast message attribute '" + a.Name + "' value to number.")
	}
	return nil
}
