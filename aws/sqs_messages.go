package aws

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/service"
	"github.com/openmnq/mnq/queue"
)

func (h *Handler) sendMessage(ctx context.Context, c *call, in *sendMessageInput) (*sendMessageOutput, error) {
	q, err := h.queue(c, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	entry := &sendEntry{
		MessageBody: in.MessageBody, DelaySeconds: in.DelaySeconds,
		MessageAttributes: in.MessageAttributes, MessageSystemAttributes: in.MessageSystemAttributes,
		MessageDeduplicationId: in.MessageDeduplicationId, MessageGroupId: in.MessageGroupId,
	}
	s, err := newSend(c, entry, q.FIFO())
	if err != nil {
		return nil, err
	}
	sent := q.Send(ctx, []queue.Send{s})[0]
	if sent.Err != nil {
		return nil, sent.Err
	}
	return &sendMessageOutput{
		MD5OfMessageBody: hex.EncodeToString(s.BodyMD5[:]), MD5OfMessageAttributes: attributesMD5(s.Attributes),
		MD5OfMessageSystemAttributes: systemMD5(entry, &s), MessageId: sent.MessageID, SequenceNumber: sent.SequenceNumber,
	}, nil
}

func (h *Handler) sendMessageBatch(ctx context.Context, c *call, in *sendMessageBatchInput) (*sendMessageBatchOutput, error) {
	q, err := h.queue(c, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	if err := checkBatch("SendMessageBatchRequestEntry", ids(in.Entries, func(e *sendEntry) string { return e.Id })); err != nil {
		return nil, err
	}
	total := 0
	for i := range in.Entries {
		total += sendSize(&in.Entries[i])
	}
	if total > maxBatchBytes {
		return nil, invalid("BatchRequestTooLong", fmt.Sprintf("Batch requests cannot be longer than 1048576 bytes. You have sent %d bytes.", total))
	}

	out := &sendMessageBatchOutput{}
	errs := make([]error, len(in.Entries))
	var sends []queue.Send
	var entries []int // index in in.Entries of each send
	for i := range in.Entries {
		s, err := newSend(c, &in.Entries[i], q.FIFO())
		if err := q.CheckGroup(s); err != nil {
			return nil, err
		}
		if errs[i] = err; err == nil {
			sends, entries = append(sends, s), append(entries, i)
		}
	}
	if len(sends) > 0 {
		for j, sent := range q.Send(ctx, sends) {
			i := entries[j]
			if errs[i] = sent.Err; sent.Err != nil {
				continue
			}
			out.Successful = append(out.Successful, sendResultEntry{
				Id: in.Entries[i].Id, MessageId: sent.MessageID, SequenceNumber: sent.SequenceNumber,
				MD5OfMessageBody: hex.EncodeToString(sends[j].BodyMD5[:]), MD5OfMessageAttributes: attributesMD5(sends[j].Attributes),
				MD5OfMessageSystemAttributes: systemMD5(&in.Entries[i], &sends[j]),
			})
		}
	}
	if err := wholeFailure(mnq.ServiceSQS, errs); err != nil {
		return nil, err
	}
	for i, err := range errs {
		if err != nil {
			out.Failed = append(out.Failed, entryFailure(mnq.ServiceSQS, in.Entries[i].Id, err))
		}
	}
	return out, nil
}

func (h *Handler) receiveMessage(ctx context.Context, c *call, in *receiveMessageInput) (*receiveMessageOutput, error) {
	q, err := h.queue(c, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	take, err := newReceive(in)
	if err != nil {
		return nil, err
	}
	system, err := systemNames(in.AttributeNames, in.MessageSystemAttributeNames)
	if err != nil {
		return nil, err
	}
	if take.Wait < 0 {
		take.Wait = q.ReceiveWait()
	}
	if take.Wait > 0 {
		defer h.polls.Add(-1)
		if h.polls.Add(1) > int64(h.cfg.MaxLongPolls) {
			return nil, throttled(limitLongPolls, "Too many ReceiveMessage calls are waiting. Try again, or with WaitTimeSeconds 0.")
		}
		c.leave()
	}
	received, err := h.receive(ctx, q.Queue, take)
	if err != nil {
		return nil, err
	}
	out := &receiveMessageOutput{}
	for i := range received {
		out.Messages = append(out.Messages, newMessage(&received[i], system, in.MessageAttributeNames))
	}
	if len(received) > 0 {
		c.giveBack = func(ctx context.Context) {
			changes := make([]queue.Visibility, 0, len(received))
			for i := range received {
				changes = append(changes, queue.Visibility{Handle: received[i].Handle})
			}
			q.ChangeVisibility(ctx, changes) // best effort: the visibility timeout does it otherwise
		}
	}
	return out, nil
}

// receive takes messages; a long poll ends without any when the server stops.
func (h *Handler) receive(ctx context.Context, q *queue.Queue, take queue.Receive) ([]queue.Message, error) {
	if take.Wait == 0 {
		return q.Receive(ctx, take)
	}
	if info := service.RequestOf(ctx); info != nil {
		begun := time.Now()
		defer func() { info.Waited = time.Since(begun) }()
	}
	poll, stop := service.UntilDraining(ctx)
	defer stop()
	received, err := q.Receive(poll, take)
	if err != nil && errors.Is(context.Cause(poll), service.ErrDraining) {
		return nil, nil
	}
	return received, err
}

func newReceive(in *receiveMessageInput) (queue.Receive, error) {
	take := queue.Receive{Max: 1, Wait: -1, Visibility: -1}
	if n := in.MaxNumberOfMessages; n != nil {
		if *n < 1 || *n > 10 {
			return take, outOfRange(*n, "MaxNumberOfMessages", "Must be between 1 and 10, if provided.")
		}
		take.Max = int(*n)
	}
	if n := in.WaitTimeSeconds; n != nil {
		if *n < 0 || *n > maxWait {
			return take, outOfRange(*n, "WaitTimeSeconds", "Must be >= 0 and <= 20, if provided.")
		}
		take.Wait = seconds(*n)
	}
	if n := in.VisibilityTimeout; n != nil {
		if *n < 0 || *n > maxVisibility {
			return take, outOfRange(*n, "VisibilityTimeout", "Must be >= 0 and <= 43200, if provided.")
		}
		take.Visibility = seconds(*n)
	}
	take.AttemptID = value(in.ReceiveRequestAttemptId)
	return take, checkID("ReceiveRequestAttemptId", in.ReceiveRequestAttemptId)
}

// systemAttributes are what a receiver may ask for by name.
var systemAttributes = []struct {
	name  string
	value func(m *queue.Message) string // "": none
}{
	{"SenderId", func(m *queue.Message) string { return m.SenderID }},
	{"SentTimestamp", func(m *queue.Message) string { return milliseconds(m.SentAt) }},
	{"ApproximateReceiveCount", func(m *queue.Message) string { return strconv.Itoa(m.ReceiveCount) }},
	{"ApproximateFirstReceiveTimestamp", func(m *queue.Message) string { return milliseconds(m.FirstReceived) }},
	{"SequenceNumber", func(m *queue.Message) string { return m.SequenceNumber }},
	{"MessageDeduplicationId", func(m *queue.Message) string { return m.DedupID }},
	{"MessageGroupId", func(m *queue.Message) string { return m.GroupID }},
	{traceAttribute, func(m *queue.Message) string { return m.TraceHeader }},
	{"DeadLetterQueueSourceArn", func(m *queue.Message) string { return m.DeadLetterSource }},
}

func milliseconds(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strconv.FormatInt(t.UnixMilli(), 10)
}

// queueAttributeNames are what older clients may send in AttributeNames of
// ReceiveMessage, whose type was that of queue attributes. They mean nothing there.
var queueAttributeNames = map[string]bool{
	"Policy": true, "VisibilityTimeout": true, "MaximumMessageSize": true, "MessageRetentionPeriod": true,
	"ApproximateNumberOfMessages": true, "ApproximateNumberOfMessagesNotVisible": true, "ApproximateNumberOfMessagesDelayed": true,
	"CreatedTimestamp": true, "LastModifiedTimestamp": true, "QueueArn": true, "DelaySeconds": true,
	"ReceiveMessageWaitTimeSeconds": true, "RedrivePolicy": true, "RedriveAllowPolicy": true, "FifoQueue": true,
	"ContentBasedDeduplication": true, "DeduplicationScope": true, "FifoThroughputLimit": true, "KmsMasterKeyId": true,
	"KmsDataKeyReusePeriodSeconds": true, "SqsManagedSseEnabled": true,
}

// systemNames returns the set of system attributes that the old and the new
// member ask for together.
func systemNames(lists ...[]string) (map[string]bool, error) {
	want := map[string]bool{}
	for _, list := range lists {
	names:
		for _, name := range list {
			if name == "All" {
				for _, a := range systemAttributes {
					want[a.name] = true
				}
				continue
			}
			for _, a := range systemAttributes {
				if a.name == name {
					want[name] = true
					continue names
				}
			}
			if !queueAttributeNames[name] {
				return nil, invalid("InvalidAttributeName", "Unknown Attribute "+clip(name)+".")
			}
		}
	}
	return want, nil
}

func newMessage(m *queue.Message, system map[string]bool, names []string) message {
	out := message{MessageId: m.ID, ReceiptHandle: m.Handle, MD5OfBody: m.BodyMD5, Body: m.Body}
	for _, a := range systemAttributes {
		if !system[a.name] {
			continue
		}
		if v := a.value(m); v != "" {
			if out.Attributes == nil {
				out.Attributes = make(map[string]string, len(system))
			}
			out.Attributes[a.name] = v
		}
	}
	var chosen []queue.Attribute
	for _, a := range m.Attributes {
		if !attributeAsked(a.Name, names) {
			continue
		}
		chosen = append(chosen, a)
		v := attributeValue{DataType: a.DataType}
		if a.Binary() {
			v.BinaryValue = a.Value
		} else {
			v.StringValue = string(a.Value)
		}
		if out.MessageAttributes == nil {
			out.MessageAttributes = make(map[string]attributeValue, len(m.Attributes))
		}
		out.MessageAttributes[a.Name] = v
	}
	out.MD5OfMessageAttributes = attributesMD5(chosen)
	return out
}

// attributeAsked reports whether names ask for the attribute: by its name, by
// "prefix.*", or by All or ".*".
func attributeAsked(name string, names []string) bool {
	for _, want := range names {
		prefix, wild := strings.CutSuffix(want, ".*")
		if want == name || want == "All" || want == "*" || wild && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

func (h *Handler) deleteMessage(ctx context.Context, c *call, in *deleteMessageInput) (*none, error) {
	q, err := h.queue(c, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	return &none{}, q.DeleteMessages(ctx, []string{in.ReceiptHandle})[0]
}

func (h *Handler) deleteMessageBatch(ctx context.Context, c *call, in *deleteMessageBatchInput) (*deleteMessageBatchOutput, error) {
	q, err := h.queue(c, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	names := ids(in.Entries, func(e *deleteEntry) string { return e.Id })
	if err := checkBatch("DeleteMessageBatchRequestEntry", names); err != nil {
		return nil, err
	}
	errs := q.DeleteMessages(ctx, ids(in.Entries, func(e *deleteEntry) string { return e.ReceiptHandle }))
	out := &deleteMessageBatchOutput{}
	out.Successful, out.Failed, err = batchResult(names, errs)
	return out, err
}

// batchResult sorts the outcomes of a batch whose successes have nothing to say.
func batchResult(names []string, errs []error) (ok []resultEntry, failed []batchResultError, err error) {
	if err := wholeFailure(mnq.ServiceSQS, errs); err != nil {
		return nil, nil, err
	}
	for i, id := range names {
		if errs[i] == nil {
			ok = append(ok, resultEntry{Id: id})
		} else {
			failed = append(failed, entryFailure(mnq.ServiceSQS, id, errs[i]))
		}
	}
	return ok, failed, nil
}

func (h *Handler) changeVisibility(ctx context.Context, c *call, in *changeVisibilityInput) (*none, error) {
	q, err := h.queue(c, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	if err := checkVisibility(in.VisibilityTimeout); err != nil {
		return nil, err
	}
	change := queue.Visibility{Handle: in.ReceiptHandle, Timeout: seconds(*in.VisibilityTimeout)}
	return &none{}, q.ChangeVisibility(ctx, []queue.Visibility{change})[0]
}

func checkVisibility(n *integer) error {
	switch {
	case n == nil:
		return missing("VisibilityTimeout")
	case *n < 0:
		return outOfRange(*n, "VisibilityTimeout", "Must be >= 0 and <= 43200, if provided.")
	case *n > maxVisibility:
		return outOfRange(*n, "VisibilityTimeout", "Total VisibilityTimeout for the message is beyond the limit [43200 seconds]")
	}
	return nil
}

func (h *Handler) changeVisibilityBatch(ctx context.Context, c *call, in *changeVisibilityBatchInput) (*changeVisibilityBatchOutput, error) {
	q, err := h.queue(c, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	names := ids(in.Entries, func(e *visibilityEntry) string { return e.Id })
	if err := checkBatch("ChangeMessageVisibilityBatchRequestEntry", names); err != nil {
		return nil, err
	}
	errs := make([]error, len(in.Entries))
	var changes []queue.Visibility
	var entries []int // index in in.Entries of each change
	for i, e := range in.Entries {
		if errs[i] = checkVisibility(e.VisibilityTimeout); errs[i] == nil {
			changes = append(changes, queue.Visibility{Handle: e.ReceiptHandle, Timeout: seconds(*e.VisibilityTimeout)})
			entries = append(entries, i)
		}
	}
	if len(changes) > 0 {
		for j, err := range q.ChangeVisibility(ctx, changes) {
			errs[entries[j]] = err
		}
	}
	out := &changeVisibilityBatchOutput{}
	out.Successful, out.Failed, err = batchResult(names, errs)
	return out, err
}
