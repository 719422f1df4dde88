//go:build e2e

// Package examples runs every example against the binary and looks at what it prints.
package examples

import (
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns"

	"github.com/openmnq/mnq/internal/mnqtest"
)

const debian = "/usr/bin/python3" // the one that has boto3

// languages are how the examples of a folder are run.
var languages = map[string]func(name string) (command []string, file string){
	"go": func(name string) ([]string, string) { return []string{"go", "run", "./" + name}, name + "/main.go" },
	"python": func(name string) ([]string, string) {
		return []string{debian, "-B", "-W", "ignore", name + ".py"}, name + ".py"
	},
	"javascript": func(name string) ([]string, string) { return []string{"node", name + ".mjs"}, name + ".mjs" },
	"shell":      func(name string) ([]string, string) { return []string{"bash", name + ".sh"}, name + ".sh" },
}

// lines are what each example prints, in any order; each of them must be there.
var lines = map[string][]string{
	"worker":  {"done: resize cat.jpg", "failed: there is no picture", "given up: resize nothing"},
	"fanout":  {"billing has order", "express has order"},
	"webhook": {"verified: hello"},
	"fifo":    {"anna: open anna", "bert: close bert"},
	"nats":    {"answer: hello world", "events.0", "events.1", "events.2"},
}

// absent are those that there are not. A client of NATS for Python is in no package of
// Debian, and the shell has no listener: its webhook has a test of its own.
var absent = []string{"python/nats", "shell/webhook"}

func TestExamples(t *testing.T) {
	t.Parallel()
	p := mnqtest.Start(t, mnqtest.Options{Args: []string{"--dev", "--fsync", "interval"}})
	id, creds := p.Creds(p.Namespace("examples", "nats"))
	if id == "" {
		t.Fatal("no credential")
	}
	for language, command := range languages {
		for name, want := range lines {
			if slices.Contains(absent, language+"/"+name) {
				continue
			}
			t.Run(language+"/"+name, func(t *testing.T) {
				t.Parallel()
				args, file := command(name)
				if _, err := os.Stat(filepath.Join(language, file)); err != nil {
					t.Fatal(err)
				}
				cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
				cmd.Dir = language
				cmd.Env = append(p.DevEnvironment(t.TempDir()), "NATS_URL=nats://"+p.NATS, "NATS_CREDS="+creds)
				if language == "go" { // with its own caches, whatever the home directory
					cmd.Env = append(os.Environ(), cmd.Env[1:]...)
				}
				out, err := cmd.CombinedOutput()
				t.Logf("%s", out)
				if err != nil {
					t.Fatal(err)
				}
				for _, w := range want {
					if !strings.Contains(string(out), w) {
						t.Errorf("it does not print %q", w)
					}
				}
				if name == "fifo" {
					inOrder(t, string(out))
				}
			})
		}
	}
	t.Run("shell/webhook", func(t *testing.T) {
		t.Parallel()
		webhook(t, p)
	})
}

// inOrder checks that each group opens before it closes, and once.
func inOrder(t *testing.T, out string) {
	t.Helper()
	for _, account := range []string{"anna", "bert"} {
		opened, closed := strings.Index(out, "open "+account), strings.Index(out, "close "+account)
		if opened < 0 || closed < opened || strings.Count(out, "close "+account) != 1 {
			t.Errorf("%s is out of order, or there twice", account)
		}
	}
}

// webhook has the script check what a topic delivers, and the same with one letter changed.
func webhook(t *testing.T, p *mnqtest.Process) {
	t.Helper()
	bodies := make(chan string, 8)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		bodies <- string(b)
	})}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	next := func() string {
		t.Helper()
		select {
		case b := <-bodies:
			return b
		case <-time.After(time.Minute):
			t.Fatal("nothing is delivered")
			return ""
		}
	}
	check := func(body string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "bash", "webhook.sh")
		cmd.Dir, cmd.Stdin, cmd.Env = "shell", strings.NewReader(body), p.DevEnvironment(t.TempDir())
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	c := mnqtest.SNS(p.URL, mnqtest.Keys{Access: "test", Secret: "test"})
	topic, err := c.CreateTopic(t.Context(), &sns.CreateTopicInput{Name: aws.String("shell-webhook")})
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.Subscribe(t.Context(), &sns.SubscribeInput{TopicArn: topic.TopicArn, Protocol: aws.String("http"), Endpoint: aws.String("http://" + l.Addr().String() + "/")})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := check(next()); err != nil || !strings.HasPrefix(out, "confirmed: ") {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := c.Publish(t.Context(), &sns.PublishInput{TopicArn: topic.TopicArn, Message: aws.String("hello")}); err != nil {
		t.Fatal(err)
	}
	body := next()
	if out, err := check(body); err != nil || out != "verified: hello\n" {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := check(strings.Replace(body, "hello", "hallo", 1)); err == nil {
		t.Errorf("a changed message is taken: %s", out)
	}
}
