package mnqtest_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/openmnq/mnq/mnqtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func create(t *testing.T, c *sqs.Client, name string, attributes map[string]string) *string {
	t.Helper()
	q, err := c.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name, Attributes: attributes})
	if err != nil {
		t.Fatal(err)
	}
	return q.QueueUrl
}

func send(t *testing.T, c *sqs.Client, url *string, body string) {
	t.Helper()
	if _, err := c.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: url, MessageBody: &body}); err != nil {
		t.Fatal(err)
	}
}

// receive returns the body of a message, "" when there is none within wait seconds.
func receive(t *testing.T, c *sqs.Client, url *string, wait int32) string {
	t.Helper()
	got, err := c.ReceiveMessage(t.Context(), &sqs.ReceiveMessageInput{QueueUrl: url, WaitTimeSeconds: wait})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Messages) == 0 {
		return ""
	}
	return *got.Messages[0].Body
}

// TestServersAreApart runs several at once, each with a queue of the same name.
func TestServersAreApart(t *testing.T) {
	t.Parallel()
	for i := range 4 {
		t.Run("", func(t *testing.T) {
			t.Parallel()
			s := mnqtest.Start(t)
			c := sqs.NewFromConfig(s.AWS)
			url := create(t, c, "orders", nil)
			want := fmt.Sprint("order ", i)
			send(t, c, url, want)
			if got := receive(t, c, url, 20); got != want {
				t.Errorf("received %q, want %q", got, want)
			}
		})
	}
}

func TestNATS(t *testing.T) {
	t.Parallel()
	s := mnqtest.Start(t)
	js, err := jetstream.New(s.NATS)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}}); err != nil {
		t.Fatal(err)
	}
	other, err := nats.Connect(s.NATSURL, nats.UserCredentials(s.CredsFile))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	ojs, err := jetstream.New(other)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ojs.Publish(t.Context(), "orders.new", []byte("x")); err != nil {
		t.Fatal(err)
	}
	st, err := js.Stream(t.Context(), "ORDERS")
	if err != nil {
		t.Fatal(err)
	}
	if m, err := st.GetMsg(t.Context(), 1); err != nil || string(m.Data) != "x" {
		t.Errorf("%v %v", m, err)
	}
}

func TestAccountsAndRegionsAreApart(t *testing.T) {
	t.Parallel()
	s := mnqtest.Start(t)
	create(t, sqs.NewFromConfig(s.AWS), "orders", nil)
	for _, c := range []aws.Config{s.Config("111122223333", mnqtest.Region), s.Config(mnqtest.Account, "eu-west-1")} {
		got, err := sqs.NewFromConfig(c).ListQueues(t.Context(), &sqs.ListQueuesInput{})
		if err != nil || len(got.QueueUrls) != 0 {
			t.Errorf("%s: %v %v", c.Region, got, err)
		}
	}
}

// TestControlPlane uses what the administrator's file says.
func TestControlPlane(t *testing.T) {
	t.Parallel()
	s := mnqtest.Start(t)
	raw, err := os.ReadFile(s.AdminFile)
	if err != nil {
		t.Fatal(err)
	}
	secret := ""
	for line := range strings.Lines(string(raw)) {
		if v, ok := strings.CutPrefix(line, "SCW_SECRET_KEY="); ok {
			secret = strings.Trim(strings.TrimSpace(v), "'")
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/openmnq/v1/projects", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Auth-Token", secret)
	res, err := s.HTTP.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Error(res.Status)
	}
}

func TestOptions(t *testing.T) { //nolint:tparallel // the second server goes on where the first has stopped
	t.Parallel()
	dir := t.TempDir()
	var log bytes.Buffer
	t.Run("first", func(t *testing.T) {
		s := mnqtest.Start(t, mnqtest.Dir(dir), mnqtest.Lenient(), mnqtest.Synced(), mnqtest.LogTo(&log, slog.LevelDebug))
		c := sqs.NewFromConfig(s.AWS)
		url := create(t, c, "kept", nil)
		send(t, c, url, "still here")
		for range 2 {
			gone := create(t, c, "gone", nil)
			if _, err := c.DeleteQueue(t.Context(), &sqs.DeleteQueueInput{QueueUrl: gone}); err != nil {
				t.Fatal(err)
			}
		}
	})
	if log.Len() == 0 {
		t.Error("no log")
	}
	c := sqs.NewFromConfig(mnqtest.Start(t, mnqtest.Dir(dir)).AWS)
	url, err := c.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String("kept")})
	if err != nil {
		t.Fatal(err)
	}
	if got := receive(t, c, url.QueueUrl, 20); got != "still here" {
		t.Errorf("received %q after a restart", got)
	}
}

// TestHoursPass goes through everything that SQS counts in time, and twice, because what
// one bubble leaves behind must not hurt the next.
func TestHoursPass(t *testing.T) { //nolint:paralleltest // virtual time
	for range 2 {
		synctest.Test(t, func(t *testing.T) {
			s := mnqtest.Start(t)
			c := sqs.NewFromConfig(s.AWS)
			url := create(t, c, "orders", map[string]string{"VisibilityTimeout": "3600", "DelaySeconds": "900", "MessageRetentionPeriod": "7200"})
			begun := time.Now()
			send(t, c, url, "late")
			passed := func(want time.Duration) {
				t.Helper()
				if got := time.Since(begun); got < want || got > want+time.Minute {
					t.Errorf("%v have passed, want %v", got, want)
				}
			}
			waitFor := func() {
				t.Helper()
				for receive(t, c, url, 20) == "" {
				}
			}
			waitFor()
			passed(15 * time.Minute)
			waitFor()
			passed(15*time.Minute + time.Hour)
			time.Sleep(2 * time.Hour)
			if got := receive(t, c, url, 20); got != "" {
				t.Errorf("received %q after its retention period", got)
			}
			sub, err := s.NATS.SubscribeSync("greetings")
			if err != nil {
				t.Fatal(err)
			}
			if err := s.NATS.Publish("greetings", []byte("hello")); err != nil {
				t.Fatal(err)
			}
			if m, err := sub.NextMsgWithContext(t.Context()); err != nil || string(m.Data) != "hello" {
				t.Errorf("%v %v", m, err)
			}
		})
	}
}

// TestTopicsInBubble fans out.
func TestTopicsInBubble(t *testing.T) { //nolint:paralleltest // virtual time
	synctest.Test(t, func(t *testing.T) {
		s := mnqtest.Start(t)
		ctx := t.Context()
		queues, topics := sqs.NewFromConfig(s.AWS), sns.NewFromConfig(s.AWS)
		topic, err := topics.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("news")})
		if err != nil {
			t.Fatal(err)
		}
		url := create(t, queues, "readers", nil)
		arn := fmt.Sprintf("arn:aws:sqs:%s:%s:readers", mnqtest.Region, mnqtest.Account)
		_, err = topics.Subscribe(ctx, &sns.SubscribeInput{
			TopicArn: topic.TopicArn, Protocol: aws.String("sqs"), Endpoint: &arn, Attributes: map[string]string{"RawMessageDelivery": "true"},
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := topics.Publish(ctx, &sns.PublishInput{TopicArn: topic.TopicArn, Message: aws.String("read all about it")}); err != nil {
			t.Fatal(err)
		}
		if got := receive(t, queues, url, 20); got != "read all about it" {
			t.Errorf("received %q", got)
		}
	})
}

// TestFailureIsToldInTheTest gives a directory that is no directory.
func TestFailureIsToldInTheTest(t *testing.T) {
	t.Parallel()
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	f := &fake{TB: t}
	done := make(chan struct{})
	go func() { // Fatalf ends the goroutine
		defer close(done)
		mnqtest.Start(f, mnqtest.Dir(file))
	}()
	<-done
	if !strings.Contains(f.text, file) {
		t.Errorf("it said %q", f.text)
	}
}

type fake struct {
	testing.TB

	text string
}

func (f *fake) Context() context.Context { return context.Background() }

func (f *fake) Fatalf(format string, args ...any) {
	f.text = fmt.Sprintf(format, args...)
	runtime.Goexit()
}
