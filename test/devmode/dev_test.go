// Package devmode uses `mnq serve --dev` as users of emulators would.
package devmode

import (
	"errors"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/openmnq/mnq/internal/mnqtest"
)

func client(p *mnqtest.Process, access, secret, region string) *sqs.Client {
	return sqs.New(sqs.Options{
		BaseEndpoint: &p.URL, Region: region, Retryer: aws.NopRetryer{},
		Credentials: credentials.NewStaticCredentialsProvider(access, secret, ""),
	})
}

func create(t *testing.T, c *sqs.Client, name string) string {
	t.Helper()
	out, err := c.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: &name})
	if err != nil {
		t.Fatal(err)
	}
	return *out.QueueUrl
}

func TestDev(t *testing.T) {
	t.Parallel()
	p := mnqtest.Start(t, mnqtest.Options{Args: []string{"--dev", "--dev-lenient", "--fsync", "interval"}})
	us, eu := client(p, "test", "test", "us-east-1"), client(p, "test", "test", "eu-west-3")
	ctx := t.Context()

	t.Run("QueuesOfDifferentRegionsAreSeparate", func(t *testing.T) {
		t.Parallel()
		url := create(t, us, "regional")
		if url != p.URL+"/000000000000/regional" {
			t.Errorf("queue URL %s", url)
		}
		create(t, eu, "regional")
		if _, err := us.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String("here")}); err != nil {
			t.Fatal(err)
		}
		if out, err := eu.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &url}); err != nil || len(out.Messages) != 0 {
			t.Errorf("the other region receives %v %v", out, err)
		}
		for c, want := range map[*sqs.Client]string{us: "arn:aws:sqs:us-east-1:000000000000:regional", eu: "arn:aws:sqs:eu-west-3:000000000000:regional"} {
			out, err := c.GetQueueAttributes(ctx, &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: []types.QueueAttributeName{"QueueArn", "MaximumMessageSize"}})
			if err != nil || out.Attributes["QueueArn"] != want || out.Attributes["MaximumMessageSize"] != "1048576" {
				t.Errorf("attributes %v %v, want %s", out, err, want)
			}
		}
	})

	t.Run("NamesAreFreeAtOnceAndQueuesUnlimited", func(t *testing.T) {
		t.Parallel()
		for range 3 {
			url := create(t, us, "again")
			for range 2 {
				if _, err := us.PurgeQueue(ctx, &sqs.PurgeQueueInput{QueueUrl: &url}); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := us.DeleteQueue(ctx, &sqs.DeleteQueueInput{QueueUrl: &url}); err != nil {
				t.Fatal(err)
			}
		}
		for range 60 {
			create(t, eu, "q"+strings.ToLower(mnqtest.Name(t)))
		}
	})

	t.Run("AMessageOfAMebibyteFits", func(t *testing.T) {
		t.Parallel()
		url, body := create(t, us, "big"), strings.Repeat("x", 1<<20)
		if _, err := us.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: &body}); err != nil {
			t.Fatal(err)
		}
		out, err := us.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &url, WaitTimeSeconds: 5})
		if err != nil || len(out.Messages) != 1 || *out.Messages[0].Body != body {
			t.Fatalf("%d messages, %v", len(out.Messages), err)
		}
	})

	t.Run("SignaturesAreChecked", func(t *testing.T) {
		t.Parallel()
		for _, c := range []struct{ access, secret, code string }{
			{"test", "wrong", "SignatureDoesNotMatch"}, {"somebody", "test", "InvalidClientTokenId"}, {"111111111111", "wrong", "SignatureDoesNotMatch"},
		} {
			_, err := client(p, c.access, c.secret, "us-east-1").ListQueues(ctx, &sqs.ListQueuesInput{})
			if e := mnqtest.WantCode(err, c.code); e != nil {
				t.Errorf("%s: %v", c.access, e)
			}
		}
		url := create(t, client(p, "111111111111", "test", "us-east-1"), "theirs")
		if !strings.Contains(url, "/111111111111/") {
			t.Errorf("queue URL %s", url)
		}
		if _, err := us.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String("theirs")}); err == nil {
			t.Error("one account sees the other's queue")
		}
	})
}

func TestSkipSignature(t *testing.T) {
	t.Parallel()
	p := mnqtest.Start(t, mnqtest.Options{Args: []string{"--dev", "--dev-skip-signature", "--dev-account-id", "123456789012", "--ephemeral"}})
	for access, account := range map[string]string{"test": "123456789012", "AKIAANYTHING": "123456789012", "222222222222": "222222222222"} {
		if url := create(t, client(p, access, "whatever", "us-east-1"), "q"); url != p.URL+"/"+account+"/q" {
			t.Errorf("%s: %s", access, url)
		}
	}
	res, err := http.Get(p.URL + "/?Action=ListQueues")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		t.Errorf("an unsigned request: %s", res.Status)
	}
}

func TestDevStaysLocal(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--dev", "--http", "0.0.0.0:0"}, {"--dev", "--nats", ":0"}, {"--dev", "--http", "192.0.2.1:80"}, {"--dev-skip-signature"}, {"--ephemeral"}, {"--dev", "--dev-account-id", "1"},
	} {
		out, err := exec.Command(mnqtest.Binary(t), append([]string{"serve", "--data-dir", t.TempDir()}, args...)...).CombinedOutput()
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok || exit.ExitCode() != 2 || strings.Count(string(out), "\n") != 1 {
			t.Errorf("%v: %v %s", args, err, out)
		}
	}
}
