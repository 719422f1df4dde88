// Package devmode uses `mnq serve --dev` as users of emulators would.
package devmode

import (
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sns"
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

	t.Run("TopicsOfDifferentRegionsAreSeparate", func(t *testing.T) {
		t.Parallel()
		for _, region := range []string{"us-east-1", "eu-west-3"} {
			c := sns.New(sns.Options{
				BaseEndpoint: &p.URL, Region: region, Retryer: aws.NopRetryer{}, Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
			})
			out, err := c.CreateTopic(ctx, &sns.CreateTopicInput{Name: aws.String("regional"), Attributes: map[string]string{"DisplayName": region}})
			if err != nil || *out.TopicArn != "arn:aws:sns:"+region+":000000000000:regional" {
				t.Errorf("%s: %+v %v", region, out, err)
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

// TestAccounts: policies open queues to other accounts, in the region that the
// signature names.
func TestAccounts(t *testing.T) {
	t.Parallel()
	p := mnqtest.Start(t, mnqtest.Options{Args: []string{"--dev", "--dev-skip-signature", "--fsync", "interval"}})
	ctx := t.Context()
	const mine, theirs = "111111111111", "222222222222"
	owner, guest := client(p, mine, "any", "us-east-1"), client(p, theirs, "other", "us-east-1")
	url := create(t, owner, "shared")
	create(t, client(p, mine, "any", "eu-west-3"), "shared")
	send := func(c *sqs.Client) error {
		_, err := c.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: &url, MessageBody: aws.String("x")})
		return err
	}
	if e := mnqtest.WantCode(send(guest), "AWS.SimpleQueueService.NonExistentQueue"); e != nil {
		t.Errorf("before it was allowed: %v", e)
	}
	if _, err := owner.AddPermission(ctx, &sqs.AddPermissionInput{
		QueueUrl: &url, Label: aws.String("guest"), AWSAccountIds: []string{theirs}, Actions: []string{"SendMessage", "GetQueueUrl"},
	}); err != nil {
		t.Fatal(err)
	}
	if err := send(guest); err != nil {
		t.Errorf("once allowed: %v", err)
	}
	found, err := guest.GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String("shared"), QueueOwnerAWSAccountId: aws.String(mine)})
	if err != nil || *found.QueueUrl != url {
		t.Errorf("GetQueueUrl with the owner: %v %v", found, err)
	}
	_, err = guest.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: &url})
	for what, err := range map[string]error{
		"another action": err, "another region": send(client(p, theirs, "other", "eu-west-3")), "another account": send(client(p, "333333333333", "x", "us-east-1")),
	} {
		if e := mnqtest.WantCode(err, "AWS.SimpleQueueService.NonExistentQueue"); e != nil {
			t.Errorf("%s: %v", what, e)
		}
	}
}

// TestReadyProject: SQS and SNS of the default project are on, and what the control
// plane makes has no quota either.
func TestReadyProject(t *testing.T) {
	t.Parallel()
	p := mnqtest.Start(t, mnqtest.Options{Args: []string{"--dev", "--fsync", "interval"}})
	for _, s := range []string{"sqs", "sns"} {
		info := p.Must("GET", "/mnq/v1beta1/regions/fr-par/"+s+"-info?project_id="+p.Env["SCW_DEFAULT_PROJECT_ID"], nil)
		if info["status"] != "enabled" {
			t.Errorf("%s: %v", s, info)
		}
	}
	for _, protocol := range []string{"sqs_sns", "nats"} {
		quota := p.Must("GET", "/openmnq/v1/namespaces/"+p.Namespace("n", protocol)+"/quota", nil)
		for name, v := range quota {
			if n, ok := v.(float64); ok && n != -1 && (name != "message_bytes" || protocol == "nats" || n != 1<<20) {
				t.Errorf("%s: %s is %v", protocol, name, n)
			}
		}
	}
	c := mnqtest.SQS(p.URL, p.Keys(p.Namespace("unlimited", "sqs_sns"), "prm"))
	url, body := create(t, c, "big"), strings.Repeat("x", 1<<20)
	if _, err := c.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: &body}); err != nil {
		t.Error(err)
	}
}

// TestEphemeral: nothing stays behind.
func TestEphemeral(t *testing.T) {
	t.Parallel()
	tmp := t.TempDir()
	p := mnqtest.Start(t, mnqtest.Options{Args: []string{"--dev", "--ephemeral", "--fsync", "interval"}, Env: []string{"TMPDIR=" + tmp}})
	create(t, client(p, "test", "test", "us-east-1"), "q")
	entries, err := os.ReadDir(tmp)
	if err != nil || len(entries) != 1 {
		t.Fatalf("in the temporary directory: %v %v", entries, err)
	}
	if _, err := os.Stat(filepath.Join(tmp, entries[0].Name(), "admin.env")); err != nil {
		t.Error(err)
	}
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(tmp); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v %v", entries, err)
	}
	if _, err := os.Stat(p.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the data directory was used: %v", err)
	}
}

func TestSkipSignature(t *testing.T) {
	t.Parallel()
	p := mnqtest.Start(t, mnqtest.Options{Args: []string{"--dev", "--dev-skip-signature", "--dev-account-id", "123456789012", "--ephemeral"}})
	for access, account := range map[string]string{"test": "123456789012", "AKIAANYTHING": "123456789012", "222222222222": "222222222222"} {
		if url := create(t, client(p, access, "whatever", "us-east-1"), "q"); url != p.URL+"/"+account+"/q" {
			t.Errorf("%s: %s", access, url)
		}
	}
	for _, query := range []string{"Action=ListQueues", "Action=ListTopics", "Action=CreateTopic&Name=t", "Action=ListQueues&Version=2012-11-05"} {
		res, err := http.Get(p.URL + "/?" + query)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s unsigned: %s", query, res.Status)
		}
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
