package rest

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/queue"
)

func (a *API) registerSends() {
	const one = "/namespaces/{namespace_id}/queues/{queue_name}"
	handle(a, operation{
		id: "openmnq.SendMessages", method: http.MethodPost, path: one + "/messages",
		summary: "Send up to ten messages; each has its own result", noun: "message", action: "create", data: true, large: true,
	}, a.sendMessages)
	handle(a, operation{
		id: "openmnq.ReceiveMessages", method: http.MethodPost, path: one + "/receive",
		summary: "Receive messages: they are hidden until they are deleted or become visible again", noun: "message", action: "write", data: true,
	}, a.receiveMessages)
	handle(a, operation{
		id: "openmnq.DeleteMessages", method: http.MethodPost, path: one + "/messages/delete",
		summary: "Delete received messages by their receipt handles; each has its own result", noun: "message", action: "delete", data: true,
	}, a.deleteMessages)
}

// attributeIn is a message attribute as it is sent.
type attributeIn struct {
	DataType    string  `json:"data_type" maxLength:"256"`
	StringValue *string `json:"string_value" required:"false"`
	BinaryValue []byte  `json:"binary_value" required:"false" doc:"in base64"`
}

type sendIn struct {
	Body            string                 `json:"body"`
	Attributes      map[string]attributeIn `json:"attributes" required:"false"`
	DelaySeconds    *int64                 `json:"delay_seconds" required:"false" minimum:"0" maximum:"900"`
	GroupID         string                 `json:"group_id" required:"false"`
	DeduplicationID string                 `json:"deduplication_id" required:"false"`
}

type sendMessagesInput struct {
	QueuePath

	Body struct {
		Messages []sendIn `json:"messages" minItems:"1" maxItems:"10"`
	}
}

// sentOnWire is the outcome of one message: an id, or an error.
type sentOnWire struct {
	ID             string `json:"id,omitempty"`
	SequenceNumber string `json:"sequence_number,omitempty"`
	Error          string `json:"error,omitempty"`
}

type sentList struct {
	Results []sentOnWire `json:"results" nullable:"false" doc:"in the order of the request"`
	Failed  int          `json:"failed"`
}

func (a *API) sendMessages(ctx context.Context, who mnq.Identity, in *sendMessagesInput) (sentList, error) {
	ns, err := a.anyNamespace(who, in.NamespaceID)
	if err != nil {
		return sentList{}, err
	}
	q, err := a.queue(who, in.QueuePath)
	if err != nil {
		return sentList{}, err
	}
	sends := make([]queue.Send, len(in.Body.Messages))
	for i, m := range in.Body.Messages {
		s := queue.Send{
			Body: m.Body, GroupID: m.GroupID, DedupID: m.DeduplicationID, SenderID: who.AccessKey, NoGroup: ns.FIFOWithoutGroup,
			Attributes: attributesOf(m.Attributes),
		}
		if m.DelaySeconds != nil && (!q.FIFO() || *m.DelaySeconds > 0) {
			s.Delay = new(time.Duration(*m.DelaySeconds) * time.Second)
		}
		if err := s.Check(q.FIFO()); err != nil {
			return sentList{}, err
		}
		if err := q.CheckGroup(s); err != nil {
			return sentList{}, err
		}
		sends[i] = s
	}
	out := sentList{Results: []sentOnWire{}}
	var first error
	for _, r := range q.Send(ctx, sends) {
		w := sentOnWire{ID: r.MessageID, SequenceNumber: r.SequenceNumber}
		if r.Err != nil {
			w = sentOnWire{Error: a.reason(ctx, r.Err)}
			out.Failed++
			if first == nil {
				first = r.Err
			}
		}
		out.Results = append(out.Results, w)
	}
	if out.Failed == len(sends) {
		return sentList{}, as(first, "queue", in.QueueName)
	}
	return out, nil
}

// reason is what a client may know of an error that is one of several.
func (a *API) reason(ctx context.Context, err error) string {
	c, _ := ctx.Value(contextKey{}).(caller)
	p := a.render(ctx, c.requestID, err, operation{id: "openmnq.part", noun: "message"})
	parts := []string{p.Message}
	for _, d := range p.Details {
		parts = append(parts, d.HelpMessage)
	}
	parts = slices.DeleteFunc(append(parts, p.HelpMessage), func(s string) bool { return s == "" })
	return strings.Join(parts, ": ")
}

// attributesOf sorts attributes by name.
func attributesOf(in map[string]attributeIn) []queue.Attribute {
	var out []queue.Attribute
	for _, name := range slices.Sorted(maps.Keys(in)) {
		v := in[name]
		a := queue.Attribute{Name: name, DataType: v.DataType, Value: v.BinaryValue}
		if v.StringValue != nil && !a.Binary() {
			a.Value = []byte(*v.StringValue)
		}
		out = append(out, a)
	}
	return out
}

type receiveInput struct {
	QueuePath

	Body struct {
		Max        int64  `json:"max" required:"false" minimum:"1" maximum:"10" default:"1"`
		Wait       *int64 `json:"wait_seconds" required:"false" minimum:"0" maximum:"20" doc:"default: the queue's"`
		Visibility *int64 `json:"visibility_timeout" required:"false" minimum:"0" maximum:"43200" doc:"seconds; default: the queue's"`
	}
}

type receivedOnWire struct {
	Message

	ReceiptHandle string `json:"receipt_handle"`
}

type receivedList struct {
	Messages []receivedOnWire `json:"messages" nullable:"false"`
}

func (a *API) receiveMessages(ctx context.Context, who mnq.Identity, in *receiveInput) (receivedList, error) {
	q, err := a.queue(who, in.QueuePath)
	if err != nil {
		return receivedList{}, err
	}
	take := queue.Receive{Max: int(in.Body.Max), Wait: -1, Visibility: -1}
	if in.Body.Wait != nil {
		take.Wait = time.Duration(*in.Body.Wait) * time.Second
	}
	if in.Body.Visibility != nil {
		take.Visibility = time.Duration(*in.Body.Visibility) * time.Second
	}
	got, err := q.Receive(ctx, take)
	if err != nil {
		return receivedList{}, as(err, "queue", in.QueueName)
	}
	unlessDelivered(ctx, q, got)
	return receivedList{convert(got, func(m queue.Message) receivedOnWire {
		return receivedOnWire{messageFields(m), m.Handle}
	})}, nil
}

type deleteMessagesInput struct {
	QueuePath

	Body struct {
		ReceiptHandles []string `json:"receipt_handles" minItems:"1" maxItems:"10"`
	}
}

func (a *API) deleteMessages(ctx context.Context, who mnq.Identity, in *deleteMessagesInput) (sentList, error) {
	q, err := a.queue(who, in.QueuePath)
	if err != nil {
		return sentList{}, err
	}
	out := sentList{Results: []sentOnWire{}}
	errs := q.DeleteMessages(ctx, in.Body.ReceiptHandles)
	for _, err := range errs {
		w := sentOnWire{}
		if err != nil {
			w.Error = a.reason(ctx, err)
			out.Failed++
		}
		out.Results = append(out.Results, w)
	}
	if out.Failed == len(errs) {
		return sentList{}, as(errs[0], "queue", in.QueueName)
	}
	return out, nil
}
