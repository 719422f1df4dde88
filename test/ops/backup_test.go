package ops

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq/internal/mnqtest"
)

// contents are what clients have put into an installation and have to find again.
type contents struct {
	keys, revoked mnqtest.Keys
	creds, cut    string // files: a credential, and one that was revoked
	natsNS        string
	namespace     string          // of queues and topics
	kept          map[string]bool // bodies in the standard queue
	deleted       map[string]bool
	fifoID        string // of the message with deduplication id d, which was received and deleted
	busy          *load
}

// load sends to a queue and deletes half of what it receives, until it is stopped.
type load struct {
	stop func()
	mu   sync.Mutex
	sent map[string]bool // acknowledged
	gone map[string]bool // deleted, or perhaps
}

func startLoad(t *testing.T, c *sqs.Client, queue string) *load {
	t.Helper()
	l := &load{sent: map[string]bool{}, gone: map[string]bool{}}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	l.stop = func() { cancel(); wg.Wait() }
	t.Cleanup(l.stop)
	note := func(m map[string]bool, body string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		m[body] = true
	}
	for p := range 2 {
		wg.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				body := fmt.Sprintf("%d:%d", p, n)
				if _, err := c.SendMessage(context.Background(), &sqs.SendMessageInput{QueueUrl: &queue, MessageBody: &body}); err == nil {
					note(l.sent, body)
				}
			}
		})
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			out, err := c.ReceiveMessage(context.Background(), &sqs.ReceiveMessageInput{QueueUrl: &queue, MaxNumberOfMessages: 10, VisibilityTimeout: 1})
			if err != nil {
				continue
			}
			for _, m := range out.Messages[:len(out.Messages)/2] {
				note(l.gone, *m.Body)
				_, _ = c.DeleteMessage(context.Background(), &sqs.DeleteMessageInput{QueueUrl: &queue, ReceiptHandle: m.ReceiptHandle})
			}
		}
	})
	return l
}

// acknowledged is what has been by now.
func (l *load) acknowledged() map[string]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := map[string]bool{}
	for body := range l.sent {
		all[body] = true
	}
	return all
}

// fill makes one of everything.
func fill(t *testing.T, p *mnqtest.Process) *contents {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	c := &contents{natsNS: p.Namespace("n", "nats"), kept: map[string]bool{}, deleted: map[string]bool{}}
	ns := p.Namespace("q", "sqs_sns")
	c.namespace = ns
	c.keys, c.revoked = p.Keys(ns, "prm"), p.Keys(ns, "prm")
	p.Must("DELETE", mnqtest.Credentials+"/"+c.revoked.ID, nil)
	_, c.creds = p.Creds(c.natsNS)
	id, file := p.Creds(c.natsNS)
	c.cut = file
	p.Must("DELETE", mnqtest.Credentials+"/"+id, nil)

	queues, topics := mnqtest.SQS(p.URL, c.keys), mnqtest.SNS(p.URL, c.keys)
	for _, q := range []string{"busy", "std", "fan", "late", "q.fifo"} {
		attrs := map[string]string{}
		if strings.HasSuffix(q, ".fifo") {
			attrs["FifoQueue"] = "true"
		}
		_, err := queues.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: &q, Attributes: attrs})
		must(err)
	}
	for n := range 20 {
		body := fmt.Sprint("m", n)
		_, err := queues.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: aws.String("std"), MessageBody: &body})
		must(err)
		c.kept[body] = true
	}
	out, err := queues.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: aws.String("std"), MaxNumberOfMessages: 10, VisibilityTimeout: 1})
	must(err)
	for i, m := range out.Messages {
		if i%2 == 0 { // the others stay in flight for a moment
			_, err := queues.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: aws.String("std"), ReceiptHandle: m.ReceiptHandle})
			must(err)
			delete(c.kept, *m.Body)
			c.deleted[*m.Body] = true
		}
	}
	_, err = queues.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: aws.String("late"), MessageBody: aws.String("late"), DelaySeconds: 5})
	must(err)
	for _, d := range []string{"d", "e"} {
		sent, err := queues.SendMessage(ctx, fifoMessage(d))
		must(err)
		if d == "e" {
			continue
		}
		c.fifoID = *sent.MessageId
		got, err := queues.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: aws.String("q.fifo"), WaitTimeSeconds: 5})
		must(err)
		_, err = queues.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: aws.String("q.fifo"), ReceiptHandle: got.Messages[0].ReceiptHandle})
		must(err)
	}
	topic, err := topics.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("t")})
	must(err)
	arn := strings.Replace(strings.Replace(*topic.TopicArn, ":sns:", ":sqs:", 1), ":t", ":fan", 1)
	_, err = topics.Subscribe(ctx, &sns.SubscribeInput{TopicArn: topic.TopicArn, Protocol: aws.String("sqs"), Endpoint: &arn})
	must(err)

	nc, err := nats.Connect("nats://"+p.NATS, nats.UserCredentials(c.creds))
	must(err)
	defer nc.Close()
	js, err := jetstream.New(nc)
	must(err)
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}})
	must(err)
	_, err = js.Publish(ctx, "s", []byte("kept"))
	must(err)
	c.busy = startLoad(t, queues, "busy")
	return c
}

func fifoMessage(dedup string) *sqs.SendMessageInput {
	return &sqs.SendMessageInput{QueueUrl: aws.String("q.fifo"), MessageBody: &dedup, MessageGroupId: aws.String("g"), MessageDeduplicationId: &dedup}
}

// save takes a backup while the load goes on and adds what has to be in it.
func (c *contents) save(t *testing.T, p *mnqtest.Process) (file string) {
	t.Helper()
	mnqtest.Within(t, time.Minute, func() error {
		if n := len(c.busy.acknowledged()); n < 50 {
			return fmt.Errorf("%d messages sent", n)
		}
		return nil
	})
	before := c.busy.acknowledged()
	file = filepath.Join(t.TempDir(), "backup.mnq")
	r := mnqtest.Run(t, p.AdminEnv(), "backup", file)
	if r.Code != 0 || !strings.Contains(r.Out, "the master key is not in it") || !strings.Contains(r.Err, " streams, ") {
		t.Fatalf("%+v", r)
	}
	c.busy.stop()
	for body := range before {
		if !c.busy.gone[body] {
			c.kept[body] = true
		}
	}
	if st, err := os.Stat(file); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", st, err)
	}
	return file
}

// check looks for everything with the clients' own keys.
func (c *contents) check(t *testing.T, p *mnqtest.Process) {
	t.Helper()
	ctx := t.Context()
	queues := mnqtest.SQS(p.URL, c.keys)
	got := map[string]bool{}
	mnqtest.Within(t, time.Minute, func() error {
		missing := 0
		for _, q := range []string{"std", "busy"} {
			out, err := queues.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &q, MaxNumberOfMessages: 10, VisibilityTimeout: 300})
			if err != nil {
				return err
			}
			for _, m := range out.Messages {
				got[*m.Body] = true
			}
		}
		for body := range c.kept {
			if !got[body] {
				missing++
			}
		}
		if missing > 0 {
			return fmt.Errorf("%d of %d messages are missing", missing, len(c.kept))
		}
		return nil
	})
	for body := range c.deleted {
		if got[body] {
			t.Errorf("%s was deleted before the backup and is back", body)
		}
	}
	mnqtest.Within(t, 30*time.Second, func() error { return wantBody(ctx, queues, "late", "late") })

	// The ledger of a FIFO queue knows what was deleted.
	again, err := queues.SendMessage(ctx, fifoMessage("d"))
	if err != nil || *again.MessageId != c.fifoID {
		t.Errorf("a duplicate got another id: %v", err)
	}
	if err := wantBody(ctx, queues, "q.fifo", "e"); err != nil {
		t.Error(err)
	}

	topics := mnqtest.SNS(p.URL, c.keys)
	list, err := topics.ListTopics(ctx, &sns.ListTopicsInput{})
	if err != nil || len(list.Topics) != 1 {
		t.Fatalf("%+v %v", list, err)
	}
	if _, err := topics.Publish(ctx, &sns.PublishInput{TopicArn: list.Topics[0].TopicArn, Message: aws.String("published")}); err != nil {
		t.Fatal(err)
	}
	mnqtest.Within(t, 30*time.Second, func() error { return wantBody(ctx, queues, "fan", "published") })

	if _, err := mnqtest.SQS(p.URL, c.revoked).ListQueues(ctx, &sqs.ListQueuesInput{}); mnqtest.ErrorCode(err) != "InvalidClientTokenId" {
		t.Errorf("the revoked key: %v", err)
	}
	c.checkNATS(t, "nats://"+p.NATS)
}

// wantBody receives one message whose body holds the text.
func wantBody(ctx context.Context, c *sqs.Client, queue, text string) error {
	out, err := c.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
		QueueUrl: &queue, WaitTimeSeconds: 2, MessageSystemAttributeNames: []types.MessageSystemAttributeName{"All"},
	})
	if err == nil && (len(out.Messages) != 1 || !strings.Contains(*out.Messages[0].Body, text)) {
		err = fmt.Errorf("%d messages in %s", len(out.Messages), queue)
	}
	return err
}

func (c *contents) checkNATS(t *testing.T, url string) {
	t.Helper()
	nc, err := nats.Connect(url, nats.UserCredentials(c.creds))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	if m, err := s.GetMsg(t.Context(), 1); err != nil || string(m.Data) != "kept" {
		t.Errorf("%v %v", m, err)
	}
	if _, err := nats.Connect(url, nats.UserCredentials(c.cut), nats.NoReconnect()); !errors.Is(err, nats.ErrAuthorization) && !errors.Is(err, nats.ErrAuthRevoked) {
		t.Errorf("the revoked credential: %v", err)
	}
}

func TestBackupUnderLoadAndRestoreElsewhere(t *testing.T) { //nolint:tparallel // the steps build on each other
	t.Parallel()
	p := mnqtest.Start(t, mnqtest.Options{})
	c := fill(t, p)
	file := c.save(t, p)
	key := filepath.Join(p.Dir, "keys", "master.key")
	dir := filepath.Join(t.TempDir(), "new")
	refused := func(t *testing.T, code int, want string, args ...string) {
		t.Helper()
		r := mnqtest.Run(t, nil, append([]string{"restore"}, args...)...)
		if r.Code != code || !strings.Contains(r.Err, want) {
			t.Errorf("mnq restore %s: %+v\nwant %d %q", strings.Join(args, " "), r, code, want)
		}
	}

	t.Run("DamagedFilesAreRefusedAndNothingIsChanged", func(t *testing.T) {
		whole, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		bad := filepath.Join(t.TempDir(), "bad")
		at := strings.Index(string(whole), `"name":"S"`) // the description of the NATS stream
		data := strings.Index(string(whole[max(0, at):]), "S2sTwO")
		if at < 0 || data < 0 {
			t.Fatal("the stream is not in the backup")
		}
		at += data + 20 // in its messages
		flipped := []byte(string(whole))
		flipped[at] ^= 1
		for want, content := range map[string][]byte{
			"the backup is damaged in 1 of ":    flipped,
			"the backup is cut short in stream": whole[:at],
			"the backup is cut short":           whole[:len(whole)-1],
			"no backup that mnq has written":    []byte("hello"),
		} {
			if err := os.WriteFile(bad, content, 0o600); err != nil {
				t.Fatal(err)
			}
			refused(t, 1, want, "--data-dir", dir, "--master-key-file", key, bad)
			if want == "the backup is damaged in 1 of " {
				refused(t, 1, c.natsNS+" > S", "--data-dir", dir, "--master-key-file", key, bad)
			}
		}
		other := filepath.Join(t.TempDir(), "other.key")
		if err := os.WriteFile(other, []byte("MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(t, 2, "--master-key-file: is needed: the master key is not in a backup", "--data-dir", dir, file)
		refused(t, 2, "--master-key-file: is not the master key of the installation", "--data-dir", dir, "--master-key-file", other, file)
		refused(t, 2, "--region: must be fr-par", "--data-dir", dir, "--region", "nl-ams", "--master-key-file", key, file)
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Errorf("something was made: %v", err)
		}
		refused(t, 1, "another mnq is running on this data-dir", "--data-dir", p.Dir, file)
	})

	t.Run("EverythingIsThereElsewhere", func(t *testing.T) {
		r := mnqtest.Run(t, nil, "restore", "--data-dir", dir, "--master-key-file", key, file)
		if r.Code != 0 || !strings.Contains(r.Err, "backup of ") {
			t.Fatalf("%+v", r)
		}
		q := mnqtest.Start(t, mnqtest.Options{Dir: dir})
		c.check(t, q)
		if r := mnqtest.Run(t, q.AdminEnv(), "namespace", "ls"); r.Code != 0 || strings.Count(r.Out, "\n") != 3 {
			t.Errorf("with the new API key: %+v", r)
		}
		for k, v := range p.Env {
			if k == "SCW_DEFAULT_PROJECT_ID" && q.Env[k] != v {
				t.Errorf("%s is %s, was %s", k, q.Env[k], v)
			}
		}
		old := q.Env["SCW_API_URL"]
		env := append(p.AdminEnv(), "SCW_API_URL="+old)
		if r := mnqtest.Run(t, env, "key", "ls"); r.Code != 0 || strings.Count(r.Out, "\n") != 3 {
			t.Errorf("with the old API key: %+v", r)
		}
		if err := q.Stop(); err != nil {
			t.Fatal(err)
		}
		refused(t, 1, "a backup is restored into an empty installation only, and nothing was changed", "--data-dir", dir, file)
	})

	t.Run("RefusedToOthers", func(t *testing.T) {
		reader := p.Must("POST", "/openmnq/v1/api-keys", map[string]any{"name": "r", "read_only": true})
		env := append(p.AdminEnv(), fmt.Sprint("SCW_SECRET_KEY=", reader["secret_key"]))
		out := filepath.Join(t.TempDir(), "x")
		if r := mnqtest.Run(t, env, "backup", out); r.Code != 4 {
			t.Errorf("%+v", r)
		}
		if r := mnqtest.Run(t, p.AdminEnv(), "backup", file); r.Code != 2 || !strings.Contains(r.Err, "is there already") {
			t.Errorf("%+v", r)
		}
		if left, err := filepath.Glob(out + "*"); err != nil || len(left) > 0 {
			t.Errorf("%v %v", left, err)
		}
	})
}
