//go:build e2e

// Package snsvalidator has npm's sns-validator, AWS's verifier of messages to
// webhooks, at the version in package-lock.json, verify what mnq sends.
package snsvalidator

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/openmnq/mnq/internal/mnqtest"
)

// line is what the receiver prints for each message, and url at first.
type line struct {
	URL, Path, Type, Version, Message, Refused, Forged string
}

func TestValidatorAcceptsMessages(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("node_modules/sns-validator/package.json"); err != nil {
		t.Fatalf("sns-validator is needed: run make test, which installs it: %v", err)
	}
	cert, key, pool := mnqtest.Certificate(t, t.TempDir(), "localhost")
	p := mnqtest.Start(t, mnqtest.Options{Args: []string{"--dev", "--tls-cert", cert, "--tls-key", key}, CA: pool})
	client := sns.New(sns.Options{
		BaseEndpoint: aws.String(p.URL), Region: "fr-par", Credentials: credentials.NewStaticCredentialsProvider("test", "test", ""),
		HTTPClient: &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}},
	})
	lines := receiver(t, p, cert)
	url := (<-lines).URL
	for _, version := range []string{"1", "2"} {
		topic, err := client.CreateTopic(t.Context(), &sns.CreateTopicInput{
			Name: aws.String("v" + version), Attributes: map[string]string{"SignatureVersion": version},
		})
		if err != nil {
			t.Fatal(err)
		}
		for protocol, path := range map[string]string{"http": "/hook", "lambda": "/function"} {
			if _, err := client.Subscribe(t.Context(), &sns.SubscribeInput{
				TopicArn: topic.TopicArn, Protocol: aws.String(protocol), Endpoint: aws.String(url + path + version),
			}); err != nil {
				t.Fatal(err)
			}
		}
		want(t, lines, line{Path: "/hook" + version, Type: "SubscriptionConfirmation", Version: version})
		mnqtest.Within(t, 30*time.Second, func() error { return confirmed(t, client, topic.TopicArn) })
		for _, subject := range []*string{nil, aws.String("a subject")} {
			const text = "für \"dich\"\nand <others> & \u2028 too"
			if _, err := client.Publish(t.Context(), &sns.PublishInput{TopicArn: topic.TopicArn, Message: aws.String(text), Subject: subject}); err != nil {
				t.Fatal(err)
			}
			want(t, lines,
				line{Path: "/hook" + version, Type: "Notification", Version: version, Message: text},
				line{Path: "/function" + version, Type: "Notification", Version: version, Message: text})
		}
	}
}

// receiver runs the webhook until the test ends.
func receiver(t *testing.T, p *mnqtest.Process, cert string) <-chan line {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "node", "receiver.mjs")
	ca, err := filepath.Abs(cert)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+ca, "MNQ_HOST="+strings.TrimPrefix(p.URL, "https://"))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Wait() }) // the test's context ends it
	lines := make(chan line, 100)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			var l line
			if err := json.Unmarshal(s.Bytes(), &l); err != nil {
				t.Errorf("the receiver printed %q", s.Text())
				continue
			}
			lines <- l
		}
	}()
	return lines
}

// want waits for messages in any order, which the validator must have accepted; and it
// must have refused them with another text.
func want(t *testing.T, lines <-chan line, all ...line) {
	t.Helper()
	left := map[line]bool{}
	for _, l := range all {
		left[l] = true
	}
	for len(left) > 0 {
		select {
		case got, ok := <-lines:
			if !ok {
				t.Fatal("the receiver has ended")
			}
			if got.Refused != "" || got.Forged != "The message signature is invalid." {
				t.Errorf("refused %q, forged %q: %+v", got.Refused, got.Forged, got)
			}
			if got.Type != "Notification" {
				got.Message = ""
			}
			got.Forged = ""
			if !left[got] {
				t.Errorf("unexpected %+v", got)
			}
			delete(left, got)
		case <-time.After(60 * time.Second):
			t.Fatalf("these did not come: %v", left)
		}
	}
}

// confirmed returns nil when no subscription of the topic is pending.
func confirmed(t *testing.T, client *sns.Client, topic *string) error {
	t.Helper()
	out, err := client.GetTopicAttributes(t.Context(), &sns.GetTopicAttributesInput{TopicArn: topic})
	if err != nil {
		return err
	}
	if n := out.Attributes["SubscriptionsPending"]; n != "0" {
		return fmt.Errorf("%s subscriptions are pending", n)
	}
	return nil
}
