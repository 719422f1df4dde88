package awssdk

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/openmnq/mnq/internal/mnqtest"
)

// fifoQueue is one FIFO queue and what a client does with it.
type fifoQueue struct {
	*fixture
	t   *testing.T
	url *string
}

func (f *fixture) fifo(t *testing.T, name string, attrs map[string]string) fifoQueue {
	t.Helper()
	all := map[string]string{"FifoQueue": "true", "ContentBasedDeduplication": "true", "VisibilityTimeout": "30"}
	maps.Copy(all, attrs)
	out, err := f.c.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: all})
	if err != nil {
		t.Fatal(err)
	}
	return fifoQueue{f, t, out.QueueUrl}
}

func (q fifoQueue) arn() string {
	q.t.Helper()
	out, err := q.c.GetQueueAttributes(q.t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: q.url, AttributeNames: []types.QueueAttributeName{"QueueArn"}})
	if err != nil {
		q.t.Fatal(err)
	}
	return out.Attributes["QueueArn"]
}

// send sends messages written as group/body.
func (q fifoQueue) send(msgs ...string) (ids []string) {
	q.t.Helper()
	for _, m := range msgs {
		group, body, _ := strings.Cut(m, "/")
		out, err := q.c.SendMessage(q.t.Context(), &sqs.SendMessageInput{QueueUrl: q.url, MessageBody: &body, MessageGroupId: &group})
		if err != nil {
			q.t.Fatal(err)
		}
		ids = append(ids, *out.MessageId)
	}
	return ids
}

func (q fifoQueue) receive(change func(*sqs.ReceiveMessageInput), want ...string) []types.Message {
	q.t.Helper()
	in := &sqs.ReceiveMessageInput{
		QueueUrl: q.url, MaxNumberOfMessages: 10, MessageSystemAttributeNames: []types.MessageSystemAttributeName{types.MessageSystemAttributeNameAll},
	}
	if change != nil {
		change(in)
	}
	out, err := q.c.ReceiveMessage(q.t.Context(), in)
	if err != nil {
		q.t.Fatal(err)
	}
	var got []string
	for _, m := range out.Messages {
		got = append(got, m.Attributes["MessageGroupId"]+"/"+*m.Body)
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		q.t.Fatalf("received %q, want %q", got, want)
	}
	return out.Messages
}

func (q fifoQueue) delete(m types.Message) error {
	_, err := q.c.DeleteMessage(q.t.Context(), &sqs.DeleteMessageInput{QueueUrl: q.url, ReceiptHandle: m.ReceiptHandle})
	return err
}

func (q fifoQueue) hide(m types.Message, seconds int32) error {
	_, err := q.c.ChangeMessageVisibility(q.t.Context(), &sqs.ChangeMessageVisibilityInput{QueueUrl: q.url, ReceiptHandle: m.ReceiptHandle, VisibilityTimeout: seconds})
	return err
}

func TestFIFOGroups(t *testing.T) {
	t.Parallel()
	q := setup(t).fifo(t, "q.fifo", nil)
	q.send("g/1", "g/2", "g/3", "h/4")
	two := func(in *sqs.ReceiveMessageInput) {
		in.MaxNumberOfMessages, in.ReceiveRequestAttemptId = 2, aws.String("once")
	}
	got := q.receive(two, "g/1", "g/2")
	again := q.receive(two, "g/1", "g/2")
	if *again[0].ReceiptHandle != *got[0].ReceiptHandle || again[0].Attributes["ApproximateReceiveCount"] != "1" {
		t.Errorf("the same attempt: %+v", again)
	}
	q.receive(nil, "h/4") // g is locked
	if err := q.delete(got[0]); err != nil {
		t.Fatal(err)
	}
	q.receive(nil)
	if err := q.hide(got[1], 0); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"delete": q.delete(got[1]), "change": q.hide(got[1], 1)} {
		if e := mnqtest.WantCode(err, "InvalidParameterValue"); e != nil || !strings.Contains(err.Error(), "The receipt handle has expired.") {
			t.Errorf("%s with an expired handle: %v", what, err)
		}
	}
	for _, m := range q.receive(nil, "g/2", "g/3") {
		if err := q.delete(m); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFIFOGroupsDoNotWaitForEachOther(t *testing.T) {
	t.Parallel()
	q := setup(t).fifo(t, "q.fifo", nil)
	for i := range 200 {
		q.send("stuck/" + strconv.Itoa(i))
	}
	q.receive(func(in *sqs.ReceiveMessageInput) { in.MaxNumberOfMessages = 1 }, "stuck/0")
	for i := range 20 {
		name := "g" + strconv.Itoa(i)
		q.send(name + "/x" + strconv.Itoa(i))
		if err := q.delete(q.receive(nil, name+"/x"+strconv.Itoa(i))[0]); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFIFODeduplicationScope(t *testing.T) {
	t.Parallel()
	q := setup(t).fifo(t, "q.fifo", map[string]string{"DeduplicationScope": "messageGroup", "FifoThroughputLimit": "perMessageGroupId"})
	ids := q.send("g/x", "g/x", "h/x")
	if ids[0] != ids[1] || ids[0] == ids[2] {
		t.Errorf("%v: the first two are one message", ids)
	}
	q.receive(nil, "g/x", "h/x")
}

func TestFIFODeadLetters(t *testing.T) {
	t.Parallel()
	f := setup(t)
	dlq := f.fifo(t, "dlq.fifo", nil)
	q := f.fifo(t, "q.fifo", map[string]string{"VisibilityTimeout": "0", "RedrivePolicy": `{"deadLetterTargetArn":"` + dlq.arn() + `","maxReceiveCount":2}`})
	sent, err := f.c.SendMessage(t.Context(), &sqs.SendMessageInput{
		QueueUrl: q.url, MessageBody: aws.String("1"), MessageGroupId: aws.String("g"), MessageDeduplicationId: aws.String("d"),
		MessageAttributes: map[string]types.MessageAttributeValue{"a": {DataType: aws.String("String"), StringValue: aws.String("v")}},
	})
	if err != nil {
		t.Fatal(err)
	}
	q.send("g/2")
	one := func(in *sqs.ReceiveMessageInput) {
		in.MaxNumberOfMessages, in.MessageAttributeNames = 1, []string{"All"}
	}
	first := q.receive(one, "g/1")[0]
	q.receive(one, "g/1")
	q.receive(one, "g/2") // the group goes on
	dead := dlq.receive(one, "g/1")[0]
	if *dead.MessageId != *sent.MessageId || *dead.MessageAttributes["a"].StringValue != "v" {
		t.Errorf("%+v", dead)
	}
	for name, want := range map[string]string{
		"MessageDeduplicationId": "d", "ApproximateReceiveCount": "3", "DeadLetterQueueSourceArn": q.arn(),
		"SentTimestamp":                    first.Attributes["SentTimestamp"],
		"ApproximateFirstReceiveTimestamp": first.Attributes["ApproximateFirstReceiveTimestamp"],
	} {
		if dead.Attributes[name] != want {
			t.Errorf("%s is %s, want %s", name, dead.Attributes[name], want)
		}
	}
	sources, err := f.c.ListDeadLetterSourceQueues(t.Context(), &sqs.ListDeadLetterSourceQueuesInput{QueueUrl: dlq.url})
	if err != nil || len(sources.QueueUrls) != 1 || sources.QueueUrls[0] != *q.url {
		t.Errorf("%+v, %v", sources, err)
	}
	if err := dlq.hide(dead, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := f.c.StartMessageMoveTask(t.Context(), &sqs.StartMessageMoveTaskInput{SourceArn: aws.String(dlq.arn())}); err != nil {
		t.Fatal(err)
	}
	mnqtest.Within(t, 5*time.Second, func() error {
		tasks, err := f.c.ListMessageMoveTasks(t.Context(), &sqs.ListMessageMoveTasksInput{SourceArn: aws.String(dlq.arn())})
		if err == nil && (len(tasks.Results) != 1 || *tasks.Results[0].Status != "COMPLETED" || tasks.Results[0].ApproximateNumberOfMessagesMoved != 1) {
			return fmt.Errorf("%+v", tasks.Results)
		}
		return err
	})
	dlq.receive(nil)
	back := q.receive(nil, "g/2", "g/1")[1]
	if *back.MessageId == *sent.MessageId || back.Attributes["ApproximateReceiveCount"] != "1" || back.Attributes["MessageDeduplicationId"] != "d" ||
		back.Attributes["DeadLetterQueueSourceArn"] != "" {
		t.Errorf("%+v", back)
	}
}
