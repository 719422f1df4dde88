package definition

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
)

// Moved is what Move did with a queue.
type Moved struct {
	Messages int // sent to the target and deleted at the source
	Known    int // deleted at the source only: an earlier run had sent them
	Doubtful int // sent again, because an earlier run ended before it knew whether they had arrived
	InFlight int // left at the source: another client has received them and not deleted them yet
}

// Journal remembers on disk which messages have been sent, so that a later run does not
// send them again. One process at a time uses it.
type Journal struct {
	file *os.File
	sent map[string]bool // by queue and message id; false: begun
}

type journalEntry struct {
	Queue string   `json:"queue"`
	Done  bool     `json:"done"`
	IDs   []string `json:"ids"`
}

// OpenJournal reads a journal, or begins one.
func OpenJournal(name string) (*Journal, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	j := &Journal{file: f, sent: map[string]bool{}}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	good := int64(0)
	for lines.Scan() {
		var e journalEntry
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			break // the last line, cut off by a crash
		}
		good += int64(len(lines.Bytes())) + 1
		j.put(e)
	}
	err = errors.Join(lines.Err(), f.Truncate(good))
	if err == nil {
		_, err = f.Seek(good, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return j, nil
}

func (j *Journal) put(e journalEntry) {
	for _, id := range e.IDs {
		j.sent[e.Queue+"/"+id] = e.Done
	}
}

// write returns when the entry is on disk.
func (j *Journal) write(e journalEntry) error {
	raw, err := json.Marshal(e)
	if err != nil {
		return err
	}
	if _, err := j.file.Write(append(raw, '\n')); err != nil {
		return err
	}
	j.put(e)
	return j.file.Sync()
}

// Finish closes the journal, and removes it when all is moved.
func (j *Journal) Finish(all bool) error {
	err := j.file.Close()
	if all {
		err = errors.Join(err, os.Remove(j.file.Name()))
	}
	return err
}

const (
	moveHidden  = 300 // seconds that a message stays hidden at the source while it is moved
	emptyRounds = 3   // receives that find nothing before a queue counts as empty
)

// Move moves the messages of a queue from one endpoint to a queue of the same name at
// another, until the source is empty. It sends before it deletes, so no message is lost
// whenever it is interrupted, and the journal keeps a later run from sending one twice.
// Only messages that were being sent when a process was killed may be there twice; to a
// FIFO queue not even those when it goes on within five minutes. The order of groups in
// FIFO queues stays. When they were sent is not carried over, nor are deduplication ids.
func Move(ctx context.Context, from, to Endpoint, queue string, j *Journal) (m Moved, err error) {
	source, err := from.SQS.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &queue})
	if err != nil {
		return m, fmt.Errorf("the source: %w", reason(err))
	}
	target, err := to.SQS.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: &queue})
	if err != nil {
		return m, fmt.Errorf("the target: %w", reason(err))
	}
	v := &mover{from: from.SQS, to: to.SQS, source: source.QueueUrl, target: target.QueueUrl, queue: queue, journal: j}
	for empty := 0; empty < emptyRounds; {
		if err := ctx.Err(); err != nil {
			return v.Moved, err
		}
		n, err := v.round(context.WithoutCancel(ctx)) // a batch is finished
		if err != nil {
			return v.Moved, err
		}
		if empty++; n > 0 {
			empty = 0
		}
	}
	got, err := from.SQS.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{
		QueueUrl: source.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{"ApproximateNumberOfMessagesNotVisible"},
	})
	if err != nil {
		return v.Moved, reason(err)
	}
	v.InFlight, _ = strconv.Atoi(got.Attributes["ApproximateNumberOfMessagesNotVisible"])
	return v.Moved, nil
}

type mover struct {
	Moved

	from, to       *sqs.Client
	source, target *string
	queue          string
	journal        *Journal
}

// round moves one batch and returns how many messages it had.
func (v *mover) round(ctx context.Context) (int, error) {
	got, err := v.from.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: v.source, MaxNumberOfMessages: 10, VisibilityTimeout: moveHidden, WaitTimeSeconds: 1,
		MessageAttributeNames: []string{"All"}, MessageSystemAttributeNames: []sqstypes.MessageSystemAttributeName{"All"},
	})
	if err != nil {
		return 0, fmt.Errorf("receive: %w", reason(err))
	}
	var send []sqstypes.Message
	for _, m := range got.Messages {
		done, begun := v.journal.sent[v.queue+"/"+*m.MessageId]
		switch {
		case done:
			v.Known++
			continue
		case begun:
			v.Doubtful++
		}
		send = append(send, m)
	}
	refused, err := v.send(ctx, send)
	if err != nil {
		return 0, err
	}
	remove := slices.DeleteFunc(slices.Clone(got.Messages), func(m sqstypes.Message) bool { return refused[*m.MessageId] != "" })
	if err := v.remove(ctx, remove); err != nil {
		return 0, err
	}
	for id, why := range refused {
		return 0, fmt.Errorf("the target refuses message %s: %s", id, why)
	}
	return len(got.Messages), nil
}

// send sends messages one by one when they are FIFO, because one that is refused must not
// be overtaken by those behind it, and else together. It returns the refused ones with the
// reasons.
func (v *mover) send(ctx context.Context, all []sqstypes.Message) (map[string]string, error) {
	size := 10
	if isFIFO(v.queue) {
		size = 1
	}
	refused := map[string]string{}
	for batch := range slices.Chunk(all, size) {
		for part := range parts(batch) {
			if len(refused) > 0 { // those behind it wait
				for _, m := range part {
					refused[*m.MessageId] = "one before it was refused"
				}
				continue
			}
			if err := v.sendBatch(ctx, part, refused); err != nil {
				return nil, err
			}
		}
	}
	return refused, nil
}

// maxBatch is how many bytes a batch may have everywhere, with some room for attributes.
const maxBatch = 200 << 10

// parts splits a batch where it would be too large.
func parts(all []sqstypes.Message) func(yield func([]sqstypes.Message) bool) {
	return func(yield func([]sqstypes.Message) bool) {
		first, size := 0, 0
		for i, m := range all {
			if n := len(*m.Body); i > first && size+n > maxBatch {
				if !yield(all[first:i]) {
					return
				}
				first, size = i, 0
			}
			size += len(*m.Body)
		}
		if first < len(all) {
			yield(all[first:])
		}
	}
}

func (v *mover) sendBatch(ctx context.Context, batch []sqstypes.Message, refused map[string]string) error {
	var ids []string
	entries := make([]sqstypes.SendMessageBatchRequestEntry, len(batch))
	for i, m := range batch {
		ids = append(ids, *m.MessageId)
		entries[i] = v.entry(strconv.Itoa(i), m)
	}
	if err := v.journal.write(journalEntry{v.queue, false, ids}); err != nil {
		return fmt.Errorf("the journal: %w", err)
	}
	sent, err := v.to.SendMessageBatch(ctx, &sqs.SendMessageBatchInput{QueueUrl: v.target, Entries: entries})
	if err != nil {
		return fmt.Errorf("send: %w", reason(err))
	}
	var done []string
	for _, s := range sent.Successful {
		if i, err := strconv.Atoi(*s.Id); err == nil && i < len(ids) {
			done = append(done, ids[i])
		}
	}
	for _, s := range sent.Failed {
		if i, err := strconv.Atoi(*s.Id); err == nil && i < len(ids) {
			refused[ids[i]] = *s.Code + " " + aws.ToString(s.Message)
		}
	}
	v.Messages += len(done)
	if err := v.journal.write(journalEntry{v.queue, true, done}); err != nil {
		return fmt.Errorf("the journal: %w", err)
	}
	return nil
}

func (v *mover) entry(id string, m sqstypes.Message) sqstypes.SendMessageBatchRequestEntry {
	e := sqstypes.SendMessageBatchRequestEntry{Id: &id, MessageBody: m.Body, MessageAttributes: m.MessageAttributes}
	if group := m.Attributes["MessageGroupId"]; group != "" {
		e.MessageGroupId = &group
	}
	if isFIFO(v.queue) {
		// Not its own deduplication id: two messages may have the same, sent at different
		// times, and of those the target would take one.
		e.MessageDeduplicationId = m.MessageId
	}
	if trace := m.Attributes["AWSTraceHeader"]; trace != "" {
		e.MessageSystemAttributes = map[string]sqstypes.MessageSystemAttributeValue{
			"AWSTraceHeader": {DataType: aws.String("String"), StringValue: &trace},
		}
	}
	return e
}

func (v *mover) remove(ctx context.Context, all []sqstypes.Message) error {
	if len(all) == 0 {
		return nil
	}
	entries := make([]sqstypes.DeleteMessageBatchRequestEntry, len(all))
	for i, m := range all {
		entries[i] = sqstypes.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: m.ReceiptHandle}
	}
	got, err := v.from.DeleteMessageBatch(ctx, &sqs.DeleteMessageBatchInput{QueueUrl: v.source, Entries: entries})
	if err != nil {
		return fmt.Errorf("delete: %w", reason(err))
	}
	for _, f := range got.Failed {
		return fmt.Errorf("delete: %s %s", *f.Code, aws.ToString(f.Message))
	}
	return nil
}
