// Package secrets uses a server with its log at the finest level and looks for
// what must not be found: in its output, its metrics and its files.
package secrets

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/nats-io/nats.go"

	"github.com/openmnq/mnq/internal/mnqtest"
)

const body = "canary-in-a-message-body"

// secret is a text and where in the data directory it may be.
type secret struct{ what, text, file string }

func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	p := mnqtest.Start(t, mnqtest.Options{Args: []string{"--log-level", "debug"}})
	found := use(t, p)
	for _, name := range []string{"master.key", "operator.nk"} {
		text, err := os.ReadFile(filepath.Join(p.Dir, "keys", name))
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, secret{name, strings.TrimSpace(string(text)), filepath.Join("keys", name)})
	}
	ans, err := p.Call("GET", "/metrics", nil)
	if err != nil || ans.Status != http.StatusOK {
		t.Fatalf("%d %v", ans.Status, err)
	}
	commandLine, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Stop(); err != nil { // a crash may leave less on disk than a stop
		t.Fatal(err)
	}
	out := p.Output()
	if !strings.Contains(out, "v1alpha1.CreateCredential") || !strings.Contains(out, "ReceiveMessage") {
		t.Fatalf("the log names no requests, so it shows nothing: %.2000s", out)
	}
	for _, s := range found {
		if len(s.text) < 16 {
			t.Fatalf("%s is %q", s.what, s.text)
		}
		for where, text := range map[string]string{"output": out, "metrics": string(ans.Body), "command line": string(commandLine)} {
			if strings.Contains(text, s.text) {
				t.Errorf("%s is in the %s", s.what, where)
			}
		}
		if s.file == everywhere {
			continue
		}
		if in := filesWith(t, p.Dir, s.text); !slices.Equal(in, slices.DeleteFunc([]string{s.file}, func(f string) bool { return f == "" })) {
			t.Errorf("%s is in the files %v, want only %q", s.what, in, s.file)
		}
	}
}

const everywhere = "*" // in the data directory, as messages are

// use makes and uses secrets of every kind.
func use(t *testing.T, p *mnqtest.Process) []secret {
	t.Helper()
	ctx := t.Context()
	key := p.Must("POST", "/openmnq/v1/api-keys", map[string]any{"name": "k"})
	ns := p.Namespace("n", "sqs_sns")
	keys := p.Keys(ns, "prm")
	natsNS := p.Namespace("n", "nats")
	_, creds := p.Creds(natsNS)
	file, err := os.ReadFile(creds)
	if err != nil {
		t.Fatal(err)
	}
	seed := string(regexp.MustCompile(`SU[A-Z0-9]{50,}`).Find(file))

	c := mnqtest.SQS(p.URL, keys)
	q, err := c.CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("q")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: q.QueueUrl, MessageBody: aws.String(body)}); err != nil {
		t.Fatal(err)
	}
	got, err := c.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: q.QueueUrl, WaitTimeSeconds: 5})
	if err != nil || len(got.Messages) != 1 {
		t.Fatalf("%v %v", got, err)
	}
	handle := *got.Messages[0].ReceiptHandle
	nc, err := nats.Connect("nats://"+p.NATS, nats.UserCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := nc.Publish("s", []byte(body)); err != nil {
		t.Fatal(err)
	}

	// What goes wrong is logged most.
	wrong := keys
	wrong.Secret = strings.Repeat("wrong-secret-key", 4)
	if _, err := mnqtest.SQS(p.URL, wrong).SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: q.QueueUrl, MessageBody: aws.String(body)}); err == nil {
		t.Error("a wrong secret key is taken")
	}
	if _, err := c.DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: aws.String("missing"), ReceiptHandle: &handle}); err == nil {
		t.Error("a missing queue is there")
	}
	if ans, err := mnqtest.Call(p.URL, "0f0f0f0f-1111-4222-8333-444444444444", "GET", mnqtest.Namespaces, nil); err != nil || ans.Status != http.StatusUnauthorized {
		t.Errorf("%d %v", ans.Status, err)
	}
	signature := presigned(t, p, keys)
	return []secret{
		{"the first API key", p.Secret, "admin.env"},
		{"an API key", fmt.Sprint(key["secret_key"]), ""},
		{"a wrong API key", "0f0f0f0f-1111-4222-8333-444444444444", ""},
		{"an SQS secret key", keys.Secret, ""},
		{"a NATS user seed", seed, ""},
		{"a message body", body, everywhere},
		{"a receipt handle", handle, everywhere},
		{"the signature in a URL", signature, ""},
	}
}

// presigned fetches a URL with a signature, which is good for anybody who reads it,
// and returns the signature.
func presigned(t *testing.T, p *mnqtest.Process, k mnqtest.Keys) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.URL+"/?Action=ListQueues&Version=2012-11-05&X-Amz-Expires=60", nil)
	if err != nil {
		t.Fatal(err)
	}
	empty := sha256.Sum256(nil)
	signed, _, err := v4.NewSigner().PresignHTTP(context.WithoutCancel(t.Context()), aws.Credentials{AccessKeyID: k.Access, SecretAccessKey: k.Secret},
		req, hex.EncodeToString(empty[:]), "sqs", "fr-par", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Get(signed)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("the presigned URL: %s", res.Status)
	}
	_, signature, _ := strings.Cut(signed, "X-Amz-Signature=")
	signature, _, _ = strings.Cut(signature, "&")
	return signature
}

// filesWith lists the files below dir that contain text.
func filesWith(t *testing.T, dir, text string) []string {
	t.Helper()
	var in []string
	if err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if bytes.Contains(content, []byte(text)) {
			name, err := filepath.Rel(dir, path)
			if err != nil {
				return err
			}
			in = append(in, name)
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return in
}
