package aws

import (
	"encoding/base64"
	"maps"
	"slices"

	"github.com/openmnq/mnq/internal/jsonstring"
)

// The messages' own operations, which are called for every message, are read and
// written here; encoding/json does all others, and of these what is unusual.

// scannable is an input that is read without reflection. When scan reports false it
// has to be read in the general way, into a new struct.
type scannable interface{ scan(s *scanner) bool }

// appendable is an output that is written without reflection, to the same bytes.
type appendable interface{ appendJSON(b []byte) []byte }

func (in *sendMessageInput) scan(s *scanner) bool {
	var e sendEntry
	if !s.object(func(name string) bool {
		if name == "QueueUrl" {
			return s.into(&in.QueueUrl)
		}
		return name != "Id" && e.member(s, name)
	}) {
		return false
	}
	in.MessageBody, in.DelaySeconds = e.MessageBody, e.DelaySeconds
	in.MessageAttributes, in.MessageSystemAttributes = e.MessageAttributes, e.MessageSystemAttributes
	in.MessageDeduplicationId, in.MessageGroupId = e.MessageDeduplicationId, e.MessageGroupId
	return true
}

func (in *sendMessageBatchInput) scan(s *scanner) bool {
	return s.object(func(name string) bool {
		switch name {
		case "QueueUrl":
			return s.into(&in.QueueUrl)
		case "Entries":
			in.Entries = make([]sendEntry, 0, maxBatch)
			return s.array(func() bool {
				in.Entries = append(in.Entries, sendEntry{})
				e := &in.Entries[len(in.Entries)-1]
				return s.object(func(name string) bool { return e.member(s, name) })
			})
		}
		return false
	})
}

func (e *sendEntry) member(s *scanner, name string) bool {
	switch name {
	case "Id":
		return s.into(&e.Id)
	case "MessageBody":
		return s.into(&e.MessageBody)
	case "DelaySeconds":
		return s.number(&e.DelaySeconds)
	case "MessageAttributes":
		return scanAttributes(s, &e.MessageAttributes)
	case "MessageSystemAttributes":
		return scanAttributes(s, &e.MessageSystemAttributes)
	case "MessageDeduplicationId":
		return s.optional(&e.MessageDeduplicationId)
	case "MessageGroupId":
		return s.optional(&e.MessageGroupId)
	}
	return false
}

// scanAttributes reads attributes that are text.
func scanAttributes(s *scanner, into *map[string]attributeValue) bool {
	*into = map[string]attributeValue{}
	return s.object(func(name string) bool {
		var v attributeValue
		ok := s.object(func(name string) bool {
			switch name {
			case "DataType":
				return s.into(&v.DataType)
			case "StringValue":
				return s.into(&v.StringValue)
			}
			return false
		})
		(*into)[name] = v
		return ok
	})
}

func (in *receiveMessageInput) scan(s *scanner) bool {
	return s.object(func(name string) bool {
		switch name {
		case "QueueUrl":
			return s.into(&in.QueueUrl)
		case "AttributeNames":
			return s.list(&in.AttributeNames)
		case "MessageSystemAttributeNames":
			return s.list(&in.MessageSystemAttributeNames)
		case "MessageAttributeNames":
			return s.list(&in.MessageAttributeNames)
		case "MaxNumberOfMessages":
			return s.number(&in.MaxNumberOfMessages)
		case "VisibilityTimeout":
			return s.number(&in.VisibilityTimeout)
		case "WaitTimeSeconds":
			return s.number(&in.WaitTimeSeconds)
		case "ReceiveRequestAttemptId":
			return s.optional(&in.ReceiveRequestAttemptId)
		}
		return false
	})
}

func (in *deleteMessageInput) scan(s *scanner) bool {
	return s.object(func(name string) bool {
		switch name {
		case "QueueUrl":
			return s.into(&in.QueueUrl)
		case "ReceiptHandle":
			return s.into(&in.ReceiptHandle)
		}
		return false
	})
}

func (in *deleteMessageBatchInput) scan(s *scanner) bool {
	return s.object(func(name string) bool {
		switch name {
		case "QueueUrl":
			return s.into(&in.QueueUrl)
		case "Entries":
			in.Entries = make([]deleteEntry, 0, maxBatch)
			return s.array(func() bool {
				var e deleteEntry
				ok := s.object(func(name string) bool {
					switch name {
					case "Id":
						return s.into(&e.Id)
					case "ReceiptHandle":
						return s.into(&e.ReceiptHandle)
					}
					return false
				})
				in.Entries = append(in.Entries, e)
				return ok
			})
		}
		return false
	})
}

func (out *sendMessageOutput) appendJSON(b []byte) []byte {
	b = jsonstring.AppendStd(append(b, `{"MD5OfMessageBody":`...), out.MD5OfMessageBody)
	b = appendGiven(b, "MD5OfMessageAttributes", out.MD5OfMessageAttributes)
	b = appendGiven(b, "MD5OfMessageSystemAttributes", out.MD5OfMessageSystemAttributes)
	b = appendMember(b, "MessageId", out.MessageId)
	return append(appendGiven(b, "SequenceNumber", out.SequenceNumber), '}')
}

func (out *sendMessageBatchOutput) appendJSON(b []byte) []byte {
	return appendResults(b, out.Successful, func(b []byte, r *sendResultEntry) []byte {
		b = jsonstring.AppendStd(append(b, `{"Id":`...), r.Id)
		b = appendMember(b, "MessageId", r.MessageId)
		b = appendMember(b, "MD5OfMessageBody", r.MD5OfMessageBody)
		b = appendGiven(b, "MD5OfMessageAttributes", r.MD5OfMessageAttributes)
		b = appendGiven(b, "MD5OfMessageSystemAttributes", r.MD5OfMessageSystemAttributes)
		return append(appendGiven(b, "SequenceNumber", r.SequenceNumber), '}')
	}, out.Failed)
}

func (out *deleteMessageBatchOutput) appendJSON(b []byte) []byte {
	return appendResults(b, out.Successful, func(b []byte, r *resultEntry) []byte {
		return append(jsonstring.AppendStd(append(b, `{"Id":`...), r.Id), '}')
	}, out.Failed)
}

// appendResults writes the answer to a batch.
func appendResults[R any](b []byte, successful []R, one func([]byte, *R) []byte, failed []batchResultError) []byte {
	b = append(b, '{')
	if len(successful) > 0 {
		b = append(b, `"Successful":[`...)
		for i := range successful {
			b = append(one(b, &successful[i]), ',')
		}
		b = append(b[:len(b)-1], ']')
	}
	if len(successful) > 0 && len(failed) > 0 {
		b = append(b, ',')
	}
	if len(failed) > 0 {
		b = append(b, `"Failed":[`...)
		for i := range failed {
			f := &failed[i]
			b = jsonstring.AppendStd(append(b, `{"Id":`...), f.Id)
			if f.SenderFault {
				b = append(b, `,"SenderFault":true`...)
			} else {
				b = append(b, `,"SenderFault":false`...)
			}
			b = appendMember(b, "Code", f.Code)
			b = append(appendGiven(b, "Message", f.Message), '}', ',')
		}
		b = append(b[:len(b)-1], ']')
	}
	return append(b, '}')
}

func (out *receiveMessageOutput) appendJSON(b []byte) []byte {
	if len(out.Messages) == 0 {
		return append(b, '{', '}')
	}
	size := 16
	for i := range out.Messages {
		size += 512 + len(out.Messages[i].Body) + len(out.Messages[i].Body)/8
	}
	b = append(slices.Grow(b, size), `{"Messages":[`...)
	for i := range out.Messages {
		b = append(out.Messages[i].appendJSON(b), ',')
	}
	return append(b[:len(b)-1], ']', '}')
}

func (m *message) appendJSON(b []byte) []byte {
	b = jsonstring.AppendStd(append(b, `{"MessageId":`...), m.MessageId)
	b = appendMember(b, "ReceiptHandle", m.ReceiptHandle)
	b = appendMember(b, "MD5OfBody", m.MD5OfBody)
	b = appendMember(b, "Body", m.Body)
	if len(m.Attributes) > 0 {
		b = append(b, `,"Attributes":{`...)
		for _, name := range slices.Sorted(maps.Keys(m.Attributes)) {
			b = append(jsonstring.AppendStd(b, name), ':')
			b = append(jsonstring.AppendStd(b, m.Attributes[name]), ',')
		}
		b[len(b)-1] = '}'
	}
	b = appendGiven(b, "MD5OfMessageAttributes", m.MD5OfMessageAttributes)
	if len(m.MessageAttributes) > 0 {
		b = append(b, `,"MessageAttributes":{`...)
		for _, name := range slices.Sorted(maps.Keys(m.MessageAttributes)) {
			v := m.MessageAttributes[name]
			b = append(jsonstring.AppendStd(b, name), ':', '{')
			if v.StringValue != "" {
				b = append(jsonstring.AppendStd(append(b, `"StringValue":`...), v.StringValue), ',')
			}
			if len(v.BinaryValue) > 0 {
				b = base64.StdEncoding.AppendEncode(append(b, `"BinaryValue":"`...), v.BinaryValue)
				b = append(b, '"', ',')
			} // values that are lists are not stored
			b = append(jsonstring.AppendStd(append(b, `"DataType":`...), v.DataType), '}', ',')
		}
		b[len(b)-1] = '}'
	}
	return append(b, '}')
}

func appendMember(b []byte, name, value string) []byte {
	b = append(append(append(b, ',', '"'), name...), '"', ':')
	return jsonstring.AppendStd(b, value)
}

// appendGiven leaves out what is empty.
func appendGiven(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return appendMember(b, name, value)
}
