// Package external runs gateways on a stock nats-server in operator mode.
package external

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq/internal/mnqtest"
)

// masterKey seals secrets; gateways that hold no data of their own share it.
const masterKey = "MNQ_MASTER_KEY=MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="

func TestTwoGateways(t *testing.T) { //nolint:tparallel // the steps build on each other
	t.Parallel()
	s := mnqtest.StartNATSServer(t)
	start := func(dir string) *mnqtest.Process {
		return mnqtest.Start(t, mnqtest.Options{Dir: dir, Args: s.Args(), Env: []string{masterKey}})
	}
	a := start("")
	if a.Env["SCW_SECRET_KEY"] == "" {
		t.Fatal("the first gateway did not write admin.env")
	}
	b := start(t.TempDir())

	natsNS, sqsNS := a.Namespace("n", "nats"), a.Namespace("q", "sqs_sns")
	keys := a.Keys(sqsNS, "prm")
	ctx := t.Context()

	t.Run("WhatOneCreatesTheOtherServes", func(t *testing.T) {
		mnqtest.Within(t, time.Second, func() error {
			_, err := mnqtest.SQS(b.URL, keys).CreateQueue(ctx, &sqs.CreateQueueInput{QueueName: aws.String("q")})
			return err
		})
		in, err := mnqtest.SQS(a.URL, keys).SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: aws.String("q"), MessageBody: aws.String("hello")})
		if err != nil {
			t.Fatal(err)
		}
		out, err := mnqtest.SQS(b.URL, keys).ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: aws.String("q"), WaitTimeSeconds: 5})
		if err != nil || len(out.Messages) != 1 || *out.Messages[0].MessageId != *in.MessageId {
			t.Fatalf("%+v %v", out, err)
		}
		if _, err := mnqtest.SQS(a.URL, keys).DeleteMessage(ctx, &sqs.DeleteMessageInput{QueueUrl: aws.String("q"), ReceiptHandle: out.Messages[0].ReceiptHandle}); err != nil {
			t.Fatal(err)
		}
	})

	t.Run("AMessageIsForWhoHadSubscribedWhereverThatWas", func(t *testing.T) { topics(t, a, b, sqsNS, keys) })

	t.Run("CredsFileOpensTheExternalServerUntilItIsRevoked", func(t *testing.T) {
		id, file := a.Creds(natsNS)
		cut := make(chan struct{})
		nc, err := nats.Connect(s.URL, nats.UserCredentials(file), nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(cut) }))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		js, err := jetstream.New(nc)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
			t.Fatal(err)
		}
		if _, err := js.Publish(ctx, "s", []byte("x")); err != nil {
			t.Fatal(err)
		}
		// Through the other gateway: what one revokes is revoked everywhere.
		if ans, err := mnqtest.Call(b.URL, a.Secret, "DELETE", mnqtest.Credentials+"/"+id, nil); err != nil || ans.Status != 204 {
			t.Fatalf("%d %s %v", ans.Status, ans.Body, err)
		}
		<-cut
		if _, err := nats.Connect(s.URL, nats.UserCredentials(file), nats.NoReconnect()); err == nil {
			t.Fatal("the revoked credential still opens the server")
		}
	})

	t.Run("RevokedAccessKeyIsRefusedByBothWithinASecond", func(t *testing.T) {
		k := a.Keys(sqsNS, "prm")
		list := func(p *mnqtest.Process) error {
			_, err := mnqtest.SQS(p.URL, k).ListQueues(ctx, &sqs.ListQueuesInput{})
			return err
		}
		mnqtest.Within(t, time.Second, func() error { return list(b) })
		a.Must("DELETE", mnqtest.Credentials+"/"+k.ID, nil)
		if mnqtest.ErrorCode(list(a)) != "InvalidClientTokenId" {
			t.Fatalf("on the gateway that revoked it: %v", list(a))
		}
		mnqtest.Within(t, time.Second, func() error { return mnqtest.WantCode(list(b), "InvalidClientTokenId") })
	})

	t.Run("RevokedAPIKeyIsRefusedByBothWithinASecond", func(t *testing.T) {
		k := a.Must("POST", "/openmnq/v1/api-keys", map[string]any{"name": "k"})
		status := func(p *mnqtest.Process, want int) error {
			ans, err := mnqtest.Call(p.URL, fmt.Sprint(k["secret_key"]), "GET", mnqtest.Namespaces, nil)
			if err == nil && ans.Status != want {
				err = fmt.Errorf("%d %s", ans.Status, ans.Body)
			}
			return err
		}
		mnqtest.Within(t, time.Second, func() error { return status(b, 200) })
		a.Must("DELETE", fmt.Sprint("/openmnq/v1/api-keys/", k["access_key"]), nil)
		if err := status(a, 401); err != nil {
			t.Errorf("on the gateway that deleted it: %v", err)
		}
		mnqtest.Within(t, time.Second, func() error { return status(b, 401) })
	})

	t.Run("GatewayAndServerRestartsKeepEverything", func(t *testing.T) {
		if _, err := mnqtest.SQS(a.URL, keys).SendMessage(ctx, &sqs.SendMessageInput{QueueUrl: aws.String("q"), MessageBody: aws.String("kept")}); err != nil {
			t.Fatal(err)
		}
		a.Kill()
		a.Restart()
		s.Kill()
		s.Start()
		for _, p := range []*mnqtest.Process{a, b} {
			mnqtest.Within(t, 15*time.Second, func() error {
				_, err := mnqtest.SQS(p.URL, keys).GetQueueUrl(ctx, &sqs.GetQueueUrlInput{QueueName: aws.String("q")})
				return err
			})
		}
		for _, p := range []*mnqtest.Process{a, b} { // their own connections come back by themselves
			mnqtest.Within(t, 15*time.Second, func() error {
				if ans, err := p.Call("GET", "/readyz", nil); err != nil || ans.Status != 200 {
					return fmt.Errorf("%d %w", ans.Status, err)
				}
				return nil
			})
		}
		mnqtest.Within(t, 15*time.Second, func() error {
			out, err := mnqtest.SQS(b.URL, keys).ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: aws.String("q"), WaitTimeSeconds: 1})
			if err != nil {
				return err
			}
			if len(out.Messages) != 1 || *out.Messages[0].Body != "kept" {
				return fmt.Errorf("got %d messages", len(out.Messages))
			}
			return nil
		})
	})

	t.Run("DeletedNamespaceIsGoneFromTheServer", func(t *testing.T) {
		_, file := a.Creds(natsNS)
		cut := make(chan struct{})
		nc, err := nats.Connect(s.URL, nats.UserCredentials(file), nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(cut) }))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if len(files(t, s.Dir, natsNS)) == 0 {
			t.Fatal("nothing of the namespace is on disk, so its removal would show nothing")
		}
		a.Must("DELETE", mnqtest.Namespaces+"/"+natsNS, nil)
		<-cut
		if left := files(t, s.Dir, natsNS); len(left) > 0 {
			t.Errorf("files of the deleted namespace are still there: %v", left)
		}
		if _, err := nats.Connect(s.URL, nats.UserCredentials(file), nats.NoReconnect()); err == nil {
			t.Fatal("a credential of the deleted namespace still opens the server")
		}
	})
}

// files lists what is stored in streams of the account.
func files(t *testing.T, dir, account string) (found []string) {
	t.Helper()
	if err := filepath.WalkDir(filepath.Join(dir, "jetstream", account), func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if d != nil && !d.IsDir() {
			found = append(found, path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return found
}
