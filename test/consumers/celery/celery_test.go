//go:build e2e

// Package celery runs Debian's Celery, whose SQS transport uses pycurl and boto3,
// against mnq.
package celery

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	"github.com/openmnq/mnq/internal/mnqtest"
)

const (
	python   = "/usr/bin/python3" // Debian's, whichever else is in PATH
	tasks    = 1000
	patience = 90 * time.Second
)

// installation is one mnq with a Celery application of its own.
type installation struct {
	visibility time.Duration

	p       *mnqtest.Process
	env     []string
	dir     string // of the application
	journal string
}

func setup(t *testing.T, visibility time.Duration) *installation {
	t.Helper()
	if out, err := exec.Command(python, "-c", "import celery, boto3, pycurl").CombinedOutput(); err != nil {
		t.Fatalf("Debian's celery is needed: run make test, which installs it: %v\n%s", err, out)
	}
	p := mnqtest.Start(t, mnqtest.Options{Args: []string{"--dev"}})
	dir, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	in := &installation{visibility: visibility, p: p, dir: dir, journal: filepath.Join(t.TempDir(), "journal")}
	in.env = append(p.DevEnvironment(t.TempDir()),
		"BROKER_URL=sqs://test:test@"+strings.TrimPrefix(p.URL, "http://"), "PYTHONDONTWRITEBYTECODE=1",
		"JOURNAL="+in.journal, fmt.Sprintf("VISIBILITY_TIMEOUT=%d", int(visibility.Seconds())))
	return in
}

func (in *installation) publish(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, "publish.py", strconv.Itoa(tasks))
	cmd.Dir, cmd.Env = in.dir, in.env
	if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != strconv.Itoa(tasks) {
		t.Fatalf("publish: %v\n%s", err, out)
	}
}

// work starts a worker. The function it returns asks it to stop as an operator
// would and fails the test unless it ends with code 0.
func (in *installation) work(t *testing.T) (stop func()) {
	t.Helper()
	worker := exec.Command(python, "-m", "celery", "-A", "app", "worker", "--concurrency", "2", "--loglevel", "WARNING")
	worker.Dir, worker.Env = in.dir, in.env
	var log bytes.Buffer
	worker.Stdout, worker.Stderr = &log, &log
	worker.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // its children end with it
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- worker.Wait() }()
	running := true
	t.Cleanup(func() {
		if running {
			_ = syscall.Kill(-worker.Process.Pid, syscall.SIGKILL)
			<-ended
		}
		if t.Failed() {
			t.Logf("the worker's log:\n%s", log.String())
		}
	})
	return func() {
		t.Helper()
		if err := worker.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-ended:
			running = false
			if err != nil {
				t.Errorf("the worker ended with %v", err)
			}
		case <-time.After(patience):
			t.Error("the worker does not stop")
		}
	}
}

// done counts how often each task has run.
func (in *installation) done() map[string]int {
	runs := map[string]int{}
	text, _ := os.ReadFile(in.journal) // the first task makes the file
	for n := range strings.FieldsSeq(string(text)) {
		runs[n]++
	}
	return runs
}

func (in *installation) waitFor(t *testing.T, n int) {
	t.Helper()
	mnqtest.Within(t, patience, func() error {
		if got := len(in.done()); got < n {
			return fmt.Errorf("%d of %d tasks have run", got, n)
		}
		return nil
	})
}

// wantEmpty fails unless the queue reports that it holds nothing.
func (in *installation) wantEmpty(t *testing.T) {
	t.Helper()
	c := mnqtest.SQS(in.p.URL, mnqtest.Keys{Access: "test", Secret: "test"})
	us := func(o *sqs.Options) { o.Region = "us-east-1" }
	q, err := c.GetQueueUrl(t.Context(), &sqs.GetQueueUrlInput{QueueName: aws.String("tasks")}, us)
	if err != nil {
		t.Fatal(err)
	}
	mnqtest.Within(t, in.visibility+10*time.Second, func() error {
		out, err := c.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: q.QueueUrl, AttributeNames: []types.QueueAttributeName{"All"}}, us)
		if err != nil {
			return err
		}
		for _, name := range []string{"ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible", "ApproximateNumberOfMessagesDelayed"} {
			if n := out.Attributes[name]; n != "0" {
				return fmt.Errorf("%s is %s", name, n)
			}
		}
		return nil
	})
}

// Once holds for what is acknowledged before its visibility timeout. An idle worker
// of Celery 5.5 sends one delete after each of its long polls: the last ones take it
// half a minute.
func TestAWorkerRunsEveryTaskOnce(t *testing.T) {
	t.Parallel()
	in := setup(t, 2*time.Minute)
	stop := in.work(t)
	in.publish(t)
	in.waitFor(t, tasks)
	in.wantEmpty(t)
	stop()
	for n, runs := range in.done() {
		if runs != 1 {
			t.Errorf("task %s has run %d times", n, runs)
		}
	}
}

func TestNoTaskIsLostWhenTheServerIsKilled(t *testing.T) {
	t.Parallel()
	in := setup(t, 20*time.Second)
	in.publish(t)
	stop := in.work(t)
	in.waitFor(t, tasks/4)
	in.p.Kill()
	before := len(in.done())
	in.p.Restart()
	if before >= tasks {
		t.Errorf("all tasks had run before the server was killed")
	}
	in.waitFor(t, tasks)
	in.wantEmpty(t)
	stop()
}
