package aws

import (
	"crypto/md5" //nolint:gosec // MD5 is what the protocol asks for
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/queue"
)

const (
	maxAttributes    = 10
	maxAttributeName = 256
	maxTraceHeader   = 1024
	maxDelay         = 900   // seconds
	maxVisibility    = 43200 // seconds
	maxWait          = 20    // seconds

	traceAttribute = "AWSTraceHeader"
	traceHeader    = "X-Amzn-Trace-Id"

	invalidCharacters = "Invalid characters found. Valid unicode characters are " +
		"#x9 | #xA | #xD | #x20 to #xD7FF | #xE000 to #xFFFD | #x10000 to #x10FFFF"
)

// newSend checks one message and turns it into what a queue takes. fifo says of
// what type the queue is.
func newSend(c *call, in *sendEntry, fifo bool) (queue.Send, error) {
	s := queue.Send{
		Body: in.MessageBody, GroupID: value(in.MessageGroupId), DedupID: value(in.MessageDeduplicationId),
		SenderID: c.principal.Credential.ID, NoGroup: c.principal.Namespace.FIFOWithoutGroup,
	}
	if in.MessageBody == "" {
		return s, missing("MessageBody")
	}
	if !validText(in.MessageBody) {
		return s, invalid("InvalidMessageContents", invalidCharacters)
	}
	var err error
	if s.Attributes, err = newAttributes(in.MessageAttributes); err != nil {
		return s, err
	}
	if s.TraceHeader, err = traceOf(c, in.MessageSystemAttributes); err != nil {
		return s, err
	}
	if err = checkID("MessageGroupId", in.MessageGroupId); err != nil {
		return s, err
	}
	if err = checkID("MessageDeduplicationId", in.MessageDeduplicationId); err != nil {
		return s, err
	}
	if in.MessageDeduplicationId != nil && !fifo {
		return s, invalidValue("Value " + s.DedupID + " for parameter MessageDeduplicationId is invalid. " +
			"Reason: The request includes a parameter that is not valid for this queue type.")
	}
	if in.DelaySeconds != nil {
		if *in.DelaySeconds < 0 || *in.DelaySeconds > maxDelay {
			return s, outOfRange(*in.DelaySeconds, "DelaySeconds", "DelaySeconds must be >= 0 and <= 900.")
		}
		if fifo && *in.DelaySeconds > 0 {
			return s, outOfRange(*in.DelaySeconds, "DelaySeconds", "The request include parameter that is not valid for this queue type.")
		}
		if !fifo { // there 0 stands for the queue's own delay
			s.Delay = new(seconds(*in.DelaySeconds))
		}
	}
	return s, nil
}

func seconds(n integer) time.Duration { return time.Duration(n) * time.Second }

// validText reports whether SQS takes s: XML 1.0's characters, in UTF-8.
func validText(s string) bool {
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

// value is what a member holds, "" for one that was not given.
func value(member *string) string {
	if member == nil {
		return ""
	}
	return *member
}

// checkID holds a message group, deduplication or attempt id to its form. Absent
// is right, empty is not.
func checkID(parameter string, given *string) error {
	if given == nil {
		return nil
	}
	id := *given
	ok := id != "" && len(id) <= 128
	for i := range len(id) {
		ok = ok && id[i] > ' ' && id[i] < 0x7F
	}
	if ok {
		return nil
	}
	return &mnq.Error{
		Kind: mnq.Invalid, Code: "InvalidParameterValue", Field: parameter,
		Msg: "Value " + clip(id) + " for parameter " + parameter + " is invalid. Reason: " + parameter +
			" can only include alphanumeric and punctuation characters. 1 to 128 in length.",
	}
}

// newAttributes checks user attributes and sorts them by name.
func newAttributes(in map[string]attributeValue) ([]queue.Attribute, error) {
	if len(in) > maxAttributes {
		return nil, invalidValue(fmt.Sprintf("Number of message attributes [%d] exceeds the allowed maximum [10].", len(in)))
	}
	if len(in) == 0 {
		return nil, nil
	}
	out := make([]queue.Attribute, 0, len(in))
	for _, name := range slices.Sorted(maps.Keys(in)) {
		v := in[name]
		if err := checkAttributeName(name); err != nil {
			return nil, err
		}
		value, err := attributeBytes("Message (user) attribute", name, &v)
		if err != nil {
			return nil, err
		}
		out = append(out, queue.Attribute{Name: name, DataType: v.DataType, Value: value})
	}
	return out, nil
}

func checkAttributeName(name string) error {
	if name == "" {
		return invalidValue("Message (user) attribute names must not be empty.")
	}
	if len(name) > maxAttributeName {
		return invalidValue("Message (user) attribute names must be shorter than 256 Bytes")
	}
	for _, r := range name {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '_', r == '-', r == '.', r >= 0xC0 && r <= 0x17F:
		default:
			return invalidValue("Message (user) attributes name can only contain upper and lower score characters, digits, periods, hyphens and underscores. ")
		}
	}
	lower := strings.ToLower(name)
	if strings.HasPrefix(lower, "aws.") || strings.HasPrefix(lower, "amazon.") || name[0] == '.' || name[len(name)-1] == '.' || strings.Contains(name, "..") {
		return invalidValue("You can't use message attribute names beginning with 'AWS.' or 'Amazon.'. These strings are reserved for internal use. " +
			"Additionally, they cannot start or end with '.'.")
	}
	return nil
}

// attributeBytes returns the value as bytes once it has been found to be of its
// type.
func attributeBytes(what, name string, v *attributeValue) ([]byte, error) {
	if len(v.StringListValues) > 0 || len(v.BinaryListValues) > 0 {
		return nil, &mnq.Error{
			Kind: mnq.Unsupported, Code: "UnsupportedOperation",
			Msg: "Message attribute list values in SendMessage operation are not supported.",
		}
	}
	base, _, _ := strings.Cut(v.DataType, ".")
	if base != "String" && base != "Number" && base != "Binary" || len(v.DataType) > maxAttributeName || !validText(v.DataType) {
		return nil, invalidValue("The message attribute '" + name + "' has an invalid message attribute type, " +
			"the set of supported type prefixes is Binary, Number, and String.")
	}
	empty := func() error {
		return invalidValue(what + " '" + name + "' must contain a non-empty value of type '" + base + "'.")
	}
	if base == "Binary" {
		if len(v.BinaryValue) == 0 || v.StringValue != "" {
			return nil, empty()
		}
		return v.BinaryValue, nil
	}
	switch {
	case v.StringValue == "" || len(v.BinaryValue) > 0:
		return nil, empty()
	case !validText(v.StringValue):
		return nil, invalidValue(what + " '" + name + "': " + invalidCharacters)
	case base == "Number" && !validNumber(v.StringValue):
		return nil, invalidValue("Could not cast message attribute '" + name + "' value to number.")
	}
	return []byte(v.StringValue), nil
}

// validNumber reports whether s is a decimal of at most 38 digits between 10^-128
// and 10^126.
func validNumber(s string) bool {
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

// traceOf returns the trace header that a message carries: its own system
// attribute, or the one of the HTTP request.
func traceOf(c *call, system map[string]attributeValue) (string, error) {
	for name := range system {
		if name != traceAttribute {
			return "", invalidValue("Message system attribute name '" + clip(name) + "' is invalid: only AWSTraceHeader can be sent.")
		}
	}
	v, ok := system[traceAttribute]
	if !ok {
		if h := c.http.Header.Get(traceHeader); len(h) <= maxTraceHeader && validText(h) {
			return h, nil
		}
		return "", nil
	}
	if v.DataType != "String" {
		return "", invalidValue("Message (system) attribute 'AWSTraceHeader' must be of type 'String'.")
	}
	b, err := attributeBytes("Message (system) attribute", traceAttribute, &v)
	if err == nil && len(b) > maxTraceHeader {
		err = invalidValue("Message (system) attribute 'AWSTraceHeader' must not be longer than " + strconv.Itoa(maxTraceHeader) + " bytes.")
	}
	return string(b), err
}

// systemMD5 is the checksum of the system attributes that the client sent itself.
func systemMD5(in *sendEntry, s *queue.Send) string {
	if len(in.MessageSystemAttributes) == 0 {
		return ""
	}
	return attributesMD5([]queue.Attribute{{Name: traceAttribute, DataType: "String", Value: []byte(s.TraceHeader)}})
}

func bodyMD5(body string) string {
	sum := md5.Sum([]byte(body)) //nolint:gosec // as above
	return hex.EncodeToString(sum[:])
}

// attributesMD5 is SQS's checksum of attributes sorted by name; "" for none.
func attributesMD5(attributes []queue.Attribute) string {
	if len(attributes) == 0 {
		return ""
	}
	var b []byte
	field := func(s string) {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s))) //nolint:gosec // bounded by the request
		b = append(b, s...)
	}
	for _, a := range attributes {
		field(a.Name)
		field(a.DataType)
		if a.Binary() {
			b = append(b, 2)
		} else {
			b = append(b, 1)
		}
		field(string(a.Value))
	}
	sum := md5.Sum(b) //nolint:gosec // as above
	return hex.EncodeToString(sum[:])
}

// sendSize is what a message counts in a batch.
func sendSize(in *sendEntry) int {
	n := len(in.MessageBody)
	for name, v := range in.MessageAttributes {
		n += len(name) + len(v.DataType) + len(v.StringValue) + len(v.BinaryValue)
	}
	return n
}
