package rest

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/queue"
)

// attributeOnWire is a message attribute; which of the values is set depends on the type.
type attributeOnWire struct {
	DataType    string  `json:"data_type" doc:"String, Number or Binary, with an optional .label"`
	StringValue *string `json:"string_value,omitempty"`
	BinaryValue []byte  `json:"binary_value,omitempty" doc:"in base64"`
}

// Message is what a message is, however it was come by.
type Message struct {
	ID              string                     `json:"id"`
	Body            string                     `json:"body"`
	BodyMD5         string                     `json:"body_md5"`
	Attributes      map[string]attributeOnWire `json:"attributes"`
	SentAt          *time.Time                 `json:"sent_at"`
	ReceiveCount    *int                       `json:"receive_count" doc:"null when nobody knows any more"`
	FirstReceivedAt *time.Time                 `json:"first_received_at"`

	SenderID         string `json:"sender_id,omitempty"`
	GroupID          string `json:"group_id,omitempty"`
	DeduplicationID  string `json:"deduplication_id,omitempty"`
	SequenceNumber   string `json:"sequence_number,omitempty" doc:"FIFO queues only"`
	DeadLetterSource string `json:"dead_letter_source,omitempty" doc:"ARN of the queue it was moved from"`
	TraceHeader      string `json:"trace_header,omitempty"`
}

// messageOnWire is a message that was looked at.
type messageOnWire struct {
	Message

	Sequence uint64          `json:"sequence" doc:"its place in the queue; 0 in the tail of a standard queue"`
	State    queue.PeekState `json:"state" enum:"visible,in_flight,delayed,unknown" doc:"unknown: was received by a process that has ended, and may be hidden still"`
	Until    *time.Time      `json:"until" doc:"when in_flight or delayed ends; null for other states and when it is not known"`
	StoredAt *time.Time      `json:"stored_at" doc:"when it got its place: later than sent_at after a delay or a move"`
}

type messageList struct {
	Messages []messageOnWire `json:"messages" nullable:"false"`
	Scanned  int             `json:"scanned" doc:"how many records were looked at"`
	Next     *uint64         `json:"next" doc:"from of the call that goes on; null when there is nothing more"`
}

func (a *API) registerMessages() {
	handle(a, operation{
		id: "openmnq.PeekMessages", method: http.MethodGet, path: "/namespaces/{namespace_id}/queues/{queue_name}/messages",
		summary: "Look at messages without receiving them: no receive count and no visibility changes", noun: "message", look: true,
	}, a.peekMessages)
	handle(a, operation{
		id: "openmnq.PeekMessage", method: http.MethodGet, path: "/namespaces/{namespace_id}/queues/{queue_name}/messages/{sequence}",
		summary: "Look at one message without receiving it", noun: "message", look: true,
	}, a.peekMessage)
	stream(a, operation{
		id: "openmnq.TailMessages", method: http.MethodGet, path: "/namespaces/{namespace_id}/queues/{queue_name}/tail",
		summary: "Follow what is sent to a queue, as server-sent events, without receiving it: begin (nothing is missed from now on), message (the message), " +
			"missed (how many were left out because the client was slow), end (the error that ended it)", noun: "message", look: true,
	}, a.tailMessages)
}

// MatchQuery chooses messages.
type MatchQuery struct {
	Text      string `query:"text" maxLength:"1000" doc:"only messages with this text in the body or in an attribute's text value"`
	Attribute string `query:"attribute" maxLength:"1300" doc:"only messages with this attribute: a name, or name=value"`
}

func (m MatchQuery) match() queue.Match {
	name, value, _ := strings.Cut(m.Attribute, "=")
	return queue.Match{Text: m.Text, Attribute: name, Value: value}
}

// QueuePath names a queue.
type QueuePath struct {
	NamespaceID string `path:"namespace_id" maxLength:"64" doc:"an id, or the account part of a queue URL"`
	QueueName   string `path:"queue_name" maxLength:"80"`
}

// queue finds the queue that a path names, in a namespace that the caller sees.
func (a *API) queue(who mnq.Identity, at QueuePath) (*queue.Queue, error) {
	ns, err := a.anyNamespace(who, at.NamespaceID)
	if err != nil {
		return nil, err
	}
	q, err := a.queues.Queue(ns, at.QueueName)
	return q, as(err, "queue", at.QueueName)
}

type peekInput struct {
	QueuePath
	MatchQuery

	Order string    `query:"order" enum:"oldest,newest" default:"oldest" doc:"where to begin and which way to go"`
	From  uint64    `query:"from" doc:"the sequence to begin at, itself included"`
	At    time.Time `query:"at" doc:"begin with the first message stored at or after it; with order=newest with the last one before it"`
	Max   int64     `query:"max" minimum:"1" maximum:"100" default:"10" doc:"messages to return; fewer when they are large"`
	Scan  int64     `query:"scan" minimum:"1" maximum:"10000" default:"1000" doc:"records to look at before giving up for now"`
}

func (a *API) peekMessages(ctx context.Context, who mnq.Identity, in *peekInput) (messageList, error) {
	q, err := a.queue(who, in.QueuePath)
	if err != nil {
		return messageList{}, err
	}
	found, err := q.Peek(ctx, queue.Peek{
		Newest: in.Order == "newest", From: in.From, At: in.At, Max: int(in.Max), Scan: int(in.Scan), Match: in.match(),
	})
	if err != nil {
		return messageList{}, as(err, "queue", in.QueueName)
	}
	out := messageList{Messages: convert(found.Messages, messageWire), Scanned: found.Scanned}
	if found.Next > 0 {
		out.Next = &found.Next
	}
	return out, nil
}

type peekOneInput struct {
	QueuePath

	Sequence uint64 `path:"sequence" minimum:"1"`
}

func (a *API) peekMessage(ctx context.Context, who mnq.Identity, in *peekOneInput) (messageOnWire, error) {
	q, err := a.queue(who, in.QueuePath)
	if err != nil {
		return messageOnWire{}, err
	}
	m, err := q.PeekOne(ctx, in.Sequence)
	return messageWire(m), as(err, "message", strconv.FormatUint(in.Sequence, 10))
}

func messageFields(m queue.Message) Message {
	out := Message{
		ID: m.ID, Body: m.Body, BodyMD5: m.BodyMD5, Attributes: attributesWire(m.Attributes), SentAt: stamp(m.SentAt),
		FirstReceivedAt: stamp(m.FirstReceived), SenderID: m.SenderID, GroupID: m.GroupID, DeduplicationID: m.DedupID,
		SequenceNumber: m.SequenceNumber, DeadLetterSource: m.DeadLetterSource, TraceHeader: m.TraceHeader,
	}
	if m.ReceiveCount >= 0 {
		out.ReceiveCount = &m.ReceiveCount
	}
	return out
}

func messageWire(m queue.Peeked) messageOnWire {
	return messageOnWire{
		Message: messageFields(m.Message), Sequence: m.Sequence, State: m.State, Until: stamp(m.Until), StoredAt: stamp(m.StoredAt),
	}
}

func attributesWire(list []queue.Attribute) map[string]attributeOnWire {
	out := make(map[string]attributeOnWire, len(list))
	for _, a := range list {
		w := attributeOnWire{DataType: a.DataType}
		if a.Binary() {
			w.BinaryValue = a.Value
		} else {
			w.StringValue = new(string(a.Value))
		}
		out[a.Name] = w
	}
	return out
}

type tailInput struct {
	QueuePath
	MatchQuery
}

// tailMessages finds the queue before the answer begins; what goes wrong later is
// the last event.
func (a *API) tailMessages(_ context.Context, who mnq.Identity, in *tailInput) (func(context.Context, *events), error) {
	q, err := a.queue(who, in.QueuePath)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, out *events) {
		err := q.Tail(ctx, queue.Tail{
			Match: in.match(),
			Begun: func() { out.send(ctx, "begin", struct{}{}) },
			Show: func(m queue.Peeked, missed int) error {
				if missed > 0 {
					out.send(ctx, "missed", map[string]int{"count": missed})
				}
				out.send(ctx, "message", messageWire(m))
				return nil
			},
		})
		if err != nil && ctx.Err() == nil {
			out.fail(ctx, as(err, "queue", in.QueueName))
		}
	}, nil
}
