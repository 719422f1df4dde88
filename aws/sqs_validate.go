package aws

import (
	"crypto/md5" //nolint:gosec // MD5 is what the protocol asks for
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/queue"
)

const (
	maxTraceHeader = 1024
	maxDelay       = 900   // seconds
	maxVisibility  = 43200 // seconds
	maxWait        = 20    // seconds

	traceAttribute = "AWSTraceHeader"
	traceHeader    = "X-Amzn-Trace-Id"
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
	if !queue.ValidText(in.MessageBody) {
		return s, invalid("InvalidMessageContents", queue.InvalidCharacters)
	}
	s.BodyMD5 = md5.Sum([]byte(in.MessageBody)) //nolint:gosec // as above
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
	return queue.CheckID(parameter, *given)
}

// newAttributes checks user attributes and sorts them by name.
func newAttributes(in map[string]attributeValue) ([]queue.Attribute, error) {
	if len(in) > queue.MaxAttributes {
		return nil, invalidValue(fmt.Sprintf("Number of message attributes [%d] exceeds the allowed maximum [10].", len(in)))
	}
	if len(in) == 0 {
		return nil, nil
	}
	out := make([]queue.Attribute, 0, len(in))
	for _, name := range slices.Sorted(maps.Keys(in)) {
		v := in[name]
		if err := queue.CheckAttributeName(name); err != nil {
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
	if base != "String" && base != "Number" && base != "Binary" || len(v.DataType) > queue.MaxAttributeName || !queue.ValidText(v.DataType) {
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
	case !queue.ValidText(v.StringValue):
		return nil, invalidValue(what + " '" + name + "': " + queue.InvalidCharacters)
	case base == "Number" && !queue.ValidNumber(v.StringValue):
		return nil, invalidValue("Could not cast message attribute '" + name + "' value to number.")
	}
	return []byte(v.StringValue), nil
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
		if h := c.http.Header.Get(traceHeader); len(h) <= maxTraceHeader && queue.ValidText(h) {
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
