//go:build e2e

package main

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/openmnq/mnq/internal/mnqtest"
)

// TestFunctionIsCalled runs the example as its README says, and once more after a time
// without it, for which nothing is lost.
func TestFunctionIsCalled(t *testing.T) {
	t.Parallel()
	bin := filepath.Join(t.TempDir(), "function")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	p := mnqtest.Start(t, mnqtest.Options{Args: []string{"--dev", "--ephemeral"}})
	client := mnqtest.SNS(p.URL, mnqtest.Keys{Access: "test", Secret: "test"})
	address := mnqtest.FreeAddress(t)
	topic, err := client.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: aws.String("orders")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = client.Subscribe(t.Context(), &sns.SubscribeInput{TopicArn: topic.TopicArn, Protocol: aws.String("lambda"), Endpoint: aws.String("http://" + address + "/")})
	if err != nil {
		t.Fatal(err)
	}
	publish := func(text string) {
		t.Helper()
		if _, err := client.Publish(t.Context(), &sns.PublishInput{TopicArn: topic.TopicArn, Message: aws.String(text)}); err != nil {
			t.Fatal(err)
		}
	}
	first := run(t, bin, address)
	publish("hello")
	first.want(t, "hello")
	if err := first.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	publish("while it was away")
	run(t, bin, address).want(t, "while it was away", "hello")
}

// running is the example's process and what it says.
type running struct {
	cmd   *exec.Cmd
	texts chan string
}

func run(t *testing.T, bin, address string) *running {
	t.Helper()
	r := &running{cmd: exec.CommandContext(t.Context(), bin), texts: make(chan string, 100)}
	r.cmd.Env = append(os.Environ(), "ADDRESS="+address)
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.cmd.Wait() }) // the test's context ends it
	go func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			var line struct{ Text string }
			if json.Unmarshal(s.Bytes(), &line) == nil && line.Text != "" {
				r.texts <- line.Text
			}
		}
	}()
	return r
}

// want waits for a message. The one of which the function had not told that it was
// done when it was killed may come once more.
func (r *running) want(t *testing.T, text string, again ...string) {
	t.Helper()
	for {
		select {
		case got := <-r.texts:
			if got == text {
				return
			}
			if !slices.Contains(again, got) {
				t.Errorf("the function got %q, want %q", got, text)
			}
		case <-time.After(60 * time.Second):
			t.Fatalf("the function did not get %q", text)
		}
	}
}
