// Package bridge passes messages between topics, queues and NATS subjects, with the
// clients of both sides.
package bridge

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	snstypes "github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	sqstypes "github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq/internal/mnqtest"
)

const (
	bridges = "/openmnq/v1/bridges"
	soon    = 30 * time.Second
)

// place is an installation with one namespace of each kind.
type place struct {
	*testing.T
	p      *mnqtest.Process
	nats   string // ids
	aws    string
	nc     *nats.Conn
	js     jetstream.JetStream
	sqs    *sqs.Client
	sns    *sns.Client
	common context.Context
}

func setUp(t *testing.T) *place {
	t.Helper()
	p := mnqtest.Start(t, mnqtest.Options{Args: []string{"--fsync", "interval"}})
	x := &place{T: t, p: p, nats: p.Namespace("n", "nats"), aws: p.Namespace("a", "sqs_sns"), common: t.Context()}
	keys := p.Keys(x.aws, "prm")
	x.sqs, x.sns = mnqtest.SQS(p.URL, keys), mnqtest.SNS(p.URL, keys)
	x.connect()
	return x
}

func (x *place) connect() {
	x.Helper()
	_, creds := x.p.Creds(x.nats)
	var err error
	if x.nc, err = nats.Connect("nats://"+x.p.NATS, nats.UserCredentials(creds)); err != nil {
		x.Fatal(err)
	}
	x.Cleanup(x.nc.Close)
	if x.js, err = jetstream.New(x.nc); err != nil {
		x.Fatal(err)
	}
}

func (x *place) queue(name string, attributes map[string]string) (url, arn string) {
	x.Helper()
	q, err := x.sqs.CreateQueue(x.common, &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		x.Fatal(err)
	}
	a, err := x.sqs.GetQueueAttributes(x.common, &sqs.GetQueueAttributesInput{QueueUrl: q.QueueUrl, AttributeNames: []sqstypes.QueueAttributeName{"QueueArn"}})
	if err != nil {
		x.Fatal(err)
	}
	return *q.QueueUrl, a.Attributes["QueueArn"]
}

func (x *place) topic(name string) string {
	x.Helper()
	t, err := x.sns.CreateTopic(x.common, &sns.CreateTopicInput{Name: &name})
	if err != nil {
		x.Fatal(err)
	}
	return *t.TopicArn
}

func (x *place) bridge(subject, arn string) map[string]any {
	x.Helper()
	return x.p.Must("POST", bridges, newBridge(x.nats, subject, arn))
}

func newBridge(namespace, subject, arn string) map[string]any {
	return map[string]any{"name": "b", "source": map[string]string{"namespace_id": namespace, "subject": subject}, "target_arn": arn}
}

// receive takes messages from a queue until f has had enough of them.
func (x *place) receive(url string, f func(sqstypes.Message) (enough bool)) {
	x.Helper()
	for until := time.Now().Add(3 * soon); time.Now().Before(until); {
		out, err := x.sqs.ReceiveMessage(x.common, &sqs.ReceiveMessageInput{
			QueueUrl: &url, MaxNumberOfMessages: 10, WaitTimeSeconds: 2,
			MessageAttributeNames: []string{"All"}, MessageSystemAttributeNames: []sqstypes.MessageSystemAttributeName{"All"},
		})
		if err != nil {
			x.Fatal(err)
		}
		for _, m := range out.Messages {
			if _, err := x.sqs.DeleteMessage(x.common, &sqs.DeleteMessageInput{QueueUrl: &url, ReceiptHandle: m.ReceiptHandle}); err != nil {
				x.Fatal(err)
			}
			if f(m) {
				return
			}
		}
	}
	for _, b := range x.p.Must("GET", bridges, nil)["bridges"].([]any) {
		x.Log(x.p.Must("GET", bridges+"/"+fmt.Sprint(b.(map[string]any)["id"]), nil))
	}
	x.Fatal("not enough messages in time")
}

func TestTopicDeliversToSubjects(t *testing.T) {
	t.Parallel()
	x := setUp(t)
	arn := x.topic("news")
	subscribe := func(endpoint string, attributes map[string]string) error {
		_, err := x.sns.Subscribe(x.common, &sns.SubscribeInput{
			TopicArn: &arn, Protocol: aws.String("nats"), Endpoint: &endpoint, Attributes: attributes, ReturnSubscriptionArn: true,
		})
		return err
	}
	if _, err := x.js.CreateStream(x.common, jetstream.StreamConfig{Name: "KEPT", Subjects: []string{"kept.>"}}); err != nil {
		t.Fatal(err)
	}
	core, err := x.nc.SubscribeSync("live.news")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(x.nc.Flush(),
		subscribe("nats://"+x.nats+"/live.news", map[string]string{"RawMessageDelivery": "true"}),
		subscribe("nats://"+x.nats+"/kept.news", map[string]string{"FilterPolicy": `{"keep":["yes"]}`})); err != nil {
		t.Fatal(err)
	}
	for i, keep := range []string{"yes", "no"} {
		if _, err := x.sns.Publish(x.common, &sns.PublishInput{
			TopicArn: &arn, Message: aws.String("message " + strconv.Itoa(i)), Subject: aws.String("Subject"),
			MessageAttributes: map[string]snstypes.MessageAttributeValue{
				"keep":        {DataType: aws.String("String"), StringValue: aws.String(keep)},
				"bytes":       {DataType: aws.String("Binary"), BinaryValue: []byte{0, 1, 2}},
				"Nats-Rollup": {DataType: aws.String("String"), StringValue: aws.String("all")},
			},
		}); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		m, err := core.NextMsg(soon)
		if err != nil {
			t.Fatal(err)
		}
		h := m.Header
		if h.Get("Mnq-Topic-Arn") != arn || h.Get("Mnq-Subject") != "Subject" || h.Get("keep") == "" ||
			h.Get("Mnq-Binary-bytes") != base64.StdEncoding.EncodeToString([]byte{0, 1, 2}) || h.Get("Nats-Rollup") != "" || len(m.Data) != len("message 0") {
			t.Errorf("%q with %v", m.Data, h)
		}
	}
	mnqtest.Within(t, soon, func() error {
		s, err := x.js.Stream(x.common, "KEPT")
		if err != nil {
			return err
		}
		if n := s.CachedInfo().State.Msgs; n != 1 {
			return fmt.Errorf("%d messages kept", n)
		}
		m, err := s.GetLastMsgForSubject(x.common, "kept.news")
		if err == nil && m.Header.Get("keep") != "yes" {
			err = fmt.Errorf("kept %v", m.Header)
		}
		return err
	})

	other := x.p.Must("POST", "/openmnq/v1/projects", map[string]any{"name": "other"})["id"]
	foreign := fmt.Sprint(x.p.Must("POST", mnqtest.Namespaces, map[string]any{"name": "f", "protocol": "nats", "project_id": other})["id"])
	for _, endpoint := range []string{
		"nats://" + foreign + "/x", "nats://" + x.aws + "/x", "nats://nobody/x", "nats://" + x.nats, "nats://" + x.nats + "/a.*",
		"nats://" + x.nats + "/$JS.API.STREAM.LIST", "nats://" + x.nats + "/_INBOX.x", "http://x/y",
	} {
		if err := mnqtest.WantCode(subscribe(endpoint, nil), "InvalidParameter"); err != nil {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}

func TestSubjectFeedsQueue(t *testing.T) {
	t.Parallel()
	x := setUp(t)
	url, arn := x.queue("orders", nil)
	b := x.bridge("orders.>", arn)
	if b["target_arn"] != arn || b["own_stream"] != true {
		t.Fatal(b)
	}
	m := nats.NewMsg("orders.new")
	m.Data = []byte("an order")
	m.Header = nats.Header{
		"colour": {"red"}, "Mnq-Binary-raw": {base64.StdEncoding.EncodeToString([]byte{9, 8})}, "Nats-Expected-Stream": {}, "bad!name": {"x"},
	}
	binary := nats.NewMsg("orders.binary")
	binary.Data = []byte{0xFF, 0xFE, 0}
	if err := errors.Join(x.nc.PublishMsg(m), x.nc.PublishMsg(binary), x.nc.Publish("orders.empty", nil), x.nc.Flush()); err != nil {
		t.Fatal(err)
	}
	got := map[string]sqstypes.Message{}
	x.receive(url, func(m sqstypes.Message) bool {
		got[*m.MessageAttributes["Mnq-Nats-Subject"].StringValue] = m
		return len(got) == 2
	})
	order := got["orders.new"]
	if *order.Body != "an order" || *order.MessageAttributes["colour"].StringValue != "red" || string(order.MessageAttributes["raw"].BinaryValue) != "\x09\x08" ||
		order.Attributes["SenderId"] != "nats" || len(order.MessageAttributes) != 4 {
		t.Errorf("%q %v %v", *order.Body, order.MessageAttributes, order.Attributes)
	}
	odd := got["orders.binary"]
	if *odd.Body != base64.StdEncoding.EncodeToString(binary.Data) || *odd.MessageAttributes["Mnq-Encoding"].StringValue != "base64" {
		t.Errorf("%q %v", *odd.Body, odd.MessageAttributes)
	}

	id := fmt.Sprint(b["id"])
	mnqtest.Within(t, soon, func() error {
		if state := x.p.Must("GET", bridges+"/"+id, nil); fmt.Sprint(state["waiting"]) != "0" || state["fault"] != nil {
			return fmt.Errorf("%v", state)
		}
		return nil
	})
	x.p.Must("DELETE", bridges+"/"+id, nil)
	if _, err := x.js.Stream(x.common, fmt.Sprint(b["stream"])); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("the stream of a deleted bridge: %v", err)
	}
	if list := x.p.Must("GET", bridges, nil); fmt.Sprint(list["total_count"]) != "0" {
		t.Error(list)
	}
}

// A FIFO queue gets each message once and in the order of its subject, although the
// process is killed again and again, and nothing is lost while the queue is away.
func TestBridgeSurvivesKills(t *testing.T) {
	t.Parallel()
	x := setUp(t)
	url, arn := x.queue("in.fifo", map[string]string{"FifoQueue": "true"})
	x.bridge("in.*", arn)
	const n, kills = 120, 3
	for i := range n {
		if i > 0 && i%(n/(kills+1)) == 0 {
			x.p.Kill()
			x.p.Restart()
		}
		mnqtest.Within(t, soon, func() error {
			_, err := x.js.Publish(x.common, "in."+strconv.Itoa(i%3), []byte(strconv.Itoa(i)), jetstream.WithMsgID(strconv.Itoa(i)))
			return err
		})
	}
	last, seen := map[string]int{}, 0
	x.receive(url, func(m sqstypes.Message) bool {
		i, err := strconv.Atoi(*m.Body)
		if err != nil {
			t.Fatal(err)
		}
		group := m.Attributes["MessageGroupId"]
		if group != "in."+strconv.Itoa(i%3) {
			t.Errorf("%d in group %s", i, group)
		}
		if before, ok := last[group]; ok && i != before+3 || !ok && i != i%3 {
			t.Errorf("%d after %d in group %s", i, before, group)
		}
		last[group] = i
		seen++
		return seen == n
	})
}

func TestMessagesDoNotGoRoundForEver(t *testing.T) {
	t.Parallel()
	x := setUp(t)
	arn := x.topic("round")
	watch, err := x.nc.SubscribeSync("round.about")
	if err != nil {
		t.Fatal(err)
	}
	x.bridge("round.about", arn)
	if _, err := x.sns.Subscribe(x.common, &sns.SubscribeInput{
		TopicArn: &arn, Protocol: aws.String("nats"), Endpoint: aws.String("nats://" + x.nats + "/round.about"),
		Attributes: map[string]string{"RawMessageDelivery": "true"},
	}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(x.nc.Publish("round.about", []byte("hello")), x.nc.Flush()); err != nil {
		t.Fatal(err)
	}
	for turn := range 6 { // the first one is ours, then one for each bridge that may be crossed
		m, err := watch.NextMsg(soon)
		if err != nil {
			t.Fatal(turn, err)
		}
		if want := strconv.Itoa(turn); turn > 0 && m.Header.Get("Mnq-Hops") != want {
			t.Errorf("turn %s has crossed %s", want, m.Header.Get("Mnq-Hops"))
		}
	}
	id := fmt.Sprint(x.p.Must("GET", bridges, nil)["bridges"].([]any)[0].(map[string]any)["id"])
	mnqtest.Within(t, soon, func() error {
		if state := x.p.Must("GET", bridges+"/"+id, nil); fmt.Sprint(state["waiting"]) != "0" {
			return fmt.Errorf("%v", state)
		}
		return nil
	})
	if m, err := watch.NextMsg(time.Second); err == nil {
		t.Errorf("and again: %v", m.Header)
	}
}

func TestBridgesAreRefusedWhenTheyCannotWork(t *testing.T) {
	t.Parallel()
	x := setUp(t)
	_, arn := x.queue("q", nil)
	if _, err := x.js.CreateStream(x.common, jetstream.StreamConfig{Name: "PART", Subjects: []string{"part.a"}}); err != nil {
		t.Fatal(err)
	}
	other := x.p.Must("POST", "/openmnq/v1/projects", map[string]any{"name": "other"})["id"]
	foreign := fmt.Sprint(x.p.Must("POST", mnqtest.Namespaces, map[string]any{"name": "f", "protocol": "nats", "project_id": other})["id"])
	for name, body := range map[string]map[string]any{
		"everything":           newBridge(x.nats, ">", arn),
		"the server's subject": newBridge(x.nats, "$SYS.>", arn),
		"no subject":           newBridge(x.nats, "", arn),
		"a part of a stream's": newBridge(x.nats, "part.*", arn),
		"no NATS namespace":    newBridge(x.aws, "a", arn),
		"another project":      newBridge(foreign, "a", arn),
		"no ARN":               newBridge(x.nats, "a", "q"),
		"no such queue":        newBridge(x.nats, "a", arn+"x"),
		"no such namespace":    newBridge(foreign[:55]+"A", "a", arn),
	} {
		a, err := x.p.Call("POST", bridges, body)
		if err != nil || a.Status != 400 && a.Status != 404 {
			t.Errorf("%s: %d %v %v", name, a.Status, a.Body, err)
		}
	}
	if list := x.p.Must("GET", bridges, nil); fmt.Sprint(list["total_count"]) != "0" {
		t.Error(list)
	}
	if s := x.js.StreamNames(x.common); s != nil {
		for name := range s.Name() {
			if name != "PART" {
				t.Errorf("a refused bridge left the stream %s", name)
			}
		}
	}
	// A stream that keeps the whole subject is used, and stays.
	b := x.bridge("part.a", arn)
	if b["stream"] != "PART" || b["own_stream"] != false {
		t.Error(b)
	}
	x.p.Must("DELETE", bridges+"/"+fmt.Sprint(b["id"]), nil)
	if _, err := x.js.Stream(x.common, "PART"); err != nil {
		t.Error(err)
	}
}
