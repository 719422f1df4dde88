package faults

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/openmnq/mnq/internal/mnqtest"
)

// damages are what can happen to a file.
var damages = []struct {
	name  string
	apply func(b []byte) []byte
}{
	{"flipped byte", func(b []byte) []byte { b[rand.IntN(len(b))] ^= byte(1 + rand.IntN(255)); return b }},
	{"zeroed page", func(b []byte) []byte {
		at := rand.IntN(len(b))
		clear(b[at:min(len(b), at+4096)])
		return b
	}},
	{"truncated", func(b []byte) []byte { return b[:rand.IntN(len(b))] }},
}

// TestDamage damages a block of messages in a copy of the data, and starts a server on it.
func TestDamage(t *testing.T) {
	t.Parallel()
	r := begin(t, "damaged block")
	p := mnqtest.Start(t, mnqtest.Options{Args: []string{"--dev", "--log-level", "warn"}})
	c := client(http.DefaultTransport, p.URL, devKeys, 1)
	sent := map[string]bool{}
	const queues = 3
	for q := range queues {
		out, err := c.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String(fmt.Sprint("q", q))})
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			body := fmt.Sprintf("%d:%d:%s", q, i, strings.Repeat(string(rune('a'+i)), 400))
			if _, err := c.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: out.QueueUrl, MessageBody: &body}); err != nil {
				t.Fatal(err)
			}
			sent[body] = true
		}
	}
	clean, killed := t.TempDir(), t.TempDir()
	p.Kill()
	copyTree(t, p.Dir, killed)
	p.Restart()
	if err := p.Stop(); err != nil {
		t.Fatal(err)
	}
	copyTree(t, p.Dir, clean)
	named := map[string]int{}
	for n := range many(6, 60) {
		what := damages[n%len(damages)]
		from := []string{killed, clean}[n/len(damages)%2]
		dir := t.TempDir()
		copyTree(t, from, dir)
		file := damage(t, dir, what.apply)
		r.faults++
		got, output := serve(t, dir, queues)
		r.operations += len(got)
		isNamed := names(output, file)
		for body := range got {
			if !sent[body] {
				t.Errorf("%s (%s): served what nobody sent: %.100q", what.name, file, body)
			}
		}
		if missing := len(sent) - len(got); missing > 0 && !isNamed {
			r.lost += missing
			t.Errorf("%s (%s, %s): %d messages are missing and nothing says so:\n%.2000s", what.name, file, filepath.Base(from), missing, output)
		}
		if isNamed {
			named[what.name]++
		}
		_ = os.RemoveAll(dir)
	}
	for _, what := range damages {
		r.say("%s: named %d", what.name, named[what.name])
	}
}

// names reports whether the output says of the file that something is wrong with it.
func names(output, file string) bool {
	for line := range strings.Lines(output) {
		if strings.Contains(line, file) {
			return true
		}
	}
	return false
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "cp", "-r", from+"/.", to).CombinedOutput(); err != nil {
		t.Fatalf("cp: %v %s", err, out)
	}
}

// damage damages a block of one of the queues and returns which.
func damage(t *testing.T, dir string, apply func([]byte) []byte) string {
	t.Helper()
	var blocks []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(path, ".blk") && strings.Contains(path, string(filepath.Separator)+"q_") {
			blocks = append(blocks, path)
		}
		return err
	})
	if err != nil || len(blocks) == 0 {
		t.Fatalf("no blocks in %s: %v", dir, err)
	}
	file := blocks[rand.IntN(len(blocks))]
	b, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, apply(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// serve starts a server on the directory and takes everything out of its queues. It
// returns nothing when the server refuses to start.
func serve(t *testing.T, dir string, queues int) (got map[string]bool, output string) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	address := mnqtest.FreeAddress(t)
	cmd := exec.CommandContext(ctx, mnqtest.Binary(t), "serve", "--dev", "--data-dir", dir, "--http", address, "--nats", mnqtest.FreeAddress(t))
	var text mnqtest.Buffer
	cmd.Stdout, cmd.Stderr = &text, &text
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for !strings.Contains(text.String(), "ready in") {
		select {
		case <-ended:
			return nil, text.String()
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("neither ready nor ended: %s", text.String())
		}
	}
	got = map[string]bool{}
	c := client(http.DefaultTransport, "http://"+address, devKeys, 1)
	for q := range queues {
		url := aws.String(fmt.Sprintf("http://%s/000000000000/q%d", address, q))
		for empty := 0; empty < 2; {
			out, err := c.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{QueueUrl: url, MaxNumberOfMessages: 10, WaitTimeSeconds: 1, VisibilityTimeout: 600})
			if err != nil {
				if errors.Is(err, context.DeadlineExceeded) {
					t.Fatal(err)
				}
				break // what is missing shows
			}
			if len(out.Messages) == 0 {
				empty++
			}
			for _, m := range out.Messages {
				got[*m.Body] = true
			}
		}
	}
	_ = cmd.Process.Kill()
	<-ended
	return got, text.String()
}
