package aws

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/queue"
	"github.com/openmnq/mnq/topic"
)

func (h *Handler) publish(ctx context.Context, c *call, in *publishInput) (*publishOutput, error) {
	arn, err := publishTarget(in)
	if err != nil {
		return nil, err
	}
	t, err := h.topic(ctx, c, "TopicArn", arn)
	if err != nil {
		return nil, err
	}
	m, err := newPublication(c, &publishEntry{
		Message: in.Message, Subject: in.Subject, MessageStructure: in.MessageStructure, MessageAttributes: in.MessageAttributes,
		MessageDeduplicationId: in.MessageDeduplicationId, MessageGroupId: in.MessageGroupId,
	})
	if err != nil {
		return nil, err
	}
	done := t.Publish(ctx, t.ns, []topic.Publication{m})[0]
	if done.Err != nil {
		return nil, done.Err
	}
	return &publishOutput{MessageId: done.MessageID, SequenceNumber: done.SequenceNumber}, nil
}

// publishTarget returns the ARN of the topic that is meant. There are no phones and
// no mobile applications here.
func publishTarget(in *publishInput) (string, error) {
	given := slices.DeleteFunc([]string{in.TopicArn, in.TargetArn, in.PhoneNumber}, func(s string) bool { return s == "" })
	switch {
	case len(given) == 0:
		return "", invalidParameter("TopicArn or TargetArn Reason: no value for required parameter")
	case len(given) > 1:
		return "", invalidParameter("TopicArn Reason: only one of TopicArn, TargetArn and PhoneNumber can be given")
	case in.PhoneNumber != "" && !validPhoneNumber(in.PhoneNumber):
		return "", invalidParameter("PhoneNumber Reason: " + clip(in.PhoneNumber) + " is not valid to publish to")
	case in.PhoneNumber != "":
		return "", invalidParameter("PhoneNumber Reason: SMS is not supported")
	case strings.Contains(in.TargetArn, ":endpoint/"):
		return "", invalidParameter("TargetArn Reason: No endpoint found for the target arn specified")
	}
	return given[0], nil
}

// validPhoneNumber reports whether s is in the form of E.164; the plus may be missing.
func validPhoneNumber(s string) bool {
	s = strings.TrimPrefix(s, "+")
	return len(s) >= 2 && len(s) <= 15 && s[0] != '0' && strings.Trim(s, "0123456789") == ""
}

// newPublication turns a message into what a topic takes, and checks what only the
// wire shows.
func newPublication(c *call, in *publishEntry) (topic.Publication, error) {
	m := topic.Publication{
		Message: in.Message, Structure: in.MessageStructure, GroupID: in.MessageGroupId, DedupID: in.MessageDeduplicationId,
		SenderID: c.principal.Credential.ID,
	}
	if in.Subject != nil {
		if *in.Subject == "" {
			return m, invalidParameter("Subject")
		}
		m.Subject = *in.Subject
	}
	var err error
	if m.TraceHeader, err = traceOf(c, nil); err != nil {
		return m, err
	}
	m.Attributes, err = publishedAttributes(in.MessageAttributes)
	return m, err
}

// publishedAttributes sorts attributes by name and takes of each the value that its
// type asks for. What else can be wrong about them the topic says.
func publishedAttributes(in map[string]publishedAttribute) ([]queue.Attribute, error) {
	if len(in) == 0 {
		return nil, nil
	}
	out := make([]queue.Attribute, 0, len(in))
	for _, name := range slices.Sorted(maps.Keys(in)) {
		v := in[name]
		a := queue.Attribute{Name: name, DataType: v.DataType}
		kind, _, _ := strings.Cut(v.DataType, ".")
		wrong := ""
		switch binary := kind == "Binary"; {
		case binary && v.BinaryValue != nil:
			a.Value = *v.BinaryValue
		case binary && v.StringValue != nil:
			wrong = "Binary"
		case v.StringValue != nil:
			a.Value = []byte(*v.StringValue)
		case v.BinaryValue != nil && (kind == "String" || kind == "Number"):
			wrong = "String"
		}
		if wrong != "" {
			return nil, invalid("ParameterValueInvalid", "The message attribute '"+clip(name)+"' with type '"+clip(v.DataType)+"' must use field '"+wrong+"'.")
		}
		out = append(out, a)
	}
	return out, nil
}

// The batch limits of SNS.
const (
	maxPublishBatch = 10
	maxPublishBytes = 256 << 10 // of a batch
)

func (h *Handler) publishBatch(ctx context.Context, c *call, in *publishBatchInput) (*publishBatchOutput, error) {
	t, err := h.topic(ctx, c, "TopicArn", in.TopicArn)
	if err != nil {
		return nil, err
	}
	entries := in.PublishBatchRequestEntries
	if err := checkPublishBatch(ids(entries, func(e *publishEntry) string { return e.Id })); err != nil {
		return nil, err
	}
	total := 0
	for i := range entries {
		total += publishSize(&entries[i])
	}
	if total > maxPublishBytes {
		return nil, invalid("BatchRequestTooLong", "The length of all the messages put together is more than the limit.")
	}
	errs := make([]error, len(entries))
	var messages []topic.Publication
	var places []int // index in entries of each message
	for i := range entries {
		m, err := newPublication(c, &entries[i])
		if err := t.CheckOrder(t.ns, m); err != nil {
			return nil, err
		}
		if errs[i] = err; err == nil {
			messages, places = append(messages, m), append(places, i)
		}
	}
	out := &publishBatchOutput{}
	if len(messages) > 0 {
		for j, done := range t.Publish(ctx, t.ns, messages) {
			i := places[j]
			if errs[i] = done.Err; done.Err == nil {
				out.Successful = append(out.Successful, publishResultEntry{Id: entries[i].Id, MessageId: done.MessageID, SequenceNumber: done.SequenceNumber})
			}
		}
	}
	if err := wholeFailure(mnq.ServiceSNS, errs); err != nil {
		return nil, err
	}
	for i, err := range errs {
		if err != nil {
			out.Failed = append(out.Failed, entryFailure(mnq.ServiceSNS, entries[i].Id, err))
		}
	}
	return out, nil
}

// checkPublishBatch refuses a batch as a whole, with SNS's texts.
func checkPublishBatch(ids []string) error {
	switch n := len(ids); {
	case n == 0:
		return invalid("EmptyBatchRequest", "The batch request doesn't contain any entries.")
	case n > maxPublishBatch:
		return invalid("TooManyEntriesInBatchRequest", "The batch request contains more entries than permissible.")
	}
	seen := make(map[string]bool, len(ids))
	for _, id := range ids {
		switch {
		case len(id) > maxBatchID:
			return invalid("InvalidBatchEntryId", "The Id of a batch entry in the batch request is too long: "+clip(id))
		case !validBatchID(id):
			return invalid("InvalidBatchEntryId", "The Id of a batch entry in the batch request contains an impermissible character: "+id)
		case seen[id]:
			return invalid("BatchEntryIdsNotDistinct", "Two or more batch entries in the request have the same Id.")
		}
		seen[id] = true
	}
	return nil
}

// publishSize is what a message counts in a batch.
func publishSize(in *publishEntry) int {
	n := len(in.Message)
	for name, v := range in.MessageAttributes {
		n += len(name) + len(v.DataType)
		if v.StringValue != nil {
			n += len(*v.StringValue)
		}
		if v.BinaryValue != nil {
			n += len(*v.BinaryValue)
		}
	}
	return n
}
