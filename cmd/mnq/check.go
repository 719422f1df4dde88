package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// The states of a check, with the exit codes that Nagios gives them (Monitoring
// Plugins development guidelines).
const (
	checkOK       = 0
	checkWarning  = 1
	checkCritical = 2
	checkUnknown  = 3
)

var checkNames = [...]string{"OK", "WARNING", "CRITICAL", "UNKNOWN"}

type checkCmd struct {
	Server checkServerCmd `cmd:"" help:"Check that a server is ready; for this no key is needed."`

	Queue checkQueueCmd `cmd:"" help:"Check the age and the number of a queue's messages and its dead letters."`
}

type checkServerCmd struct {
	URL     string        `arg:"" optional:"" default:"http://127.0.0.1:9324" help:"Where it listens, --http or --admin-http."`
	Timeout time.Duration `default:"5s" help:"How long it may take to answer."`
}

// Run asks whether the server is ready and prints one line.
func (c *checkServerCmd) Run(a *app) error {
	state, text := checkOK, "ready"
	ctx, cancel := context.WithTimeout(a.ctx, c.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimRight(c.URL, "/")+"/readyz", http.NoBody)
	if err != nil {
		return usagef("the URL: %w", err)
	}
	switch resp, err := http.DefaultClient.Do(req); {
	case err != nil:
		state, text = checkCritical, err.Error()
	default:
		defer resp.Body.Close()
		body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
		if err != nil || resp.StatusCode != http.StatusOK {
			state, text = checkCritical, resp.Status+" "+strings.TrimSpace(string(body))
		}
	}
	if err := printf(a.stdout, "SERVER %s - %s\n", checkNames[state], strings.ReplaceAll(text, "\n", " ")); err != nil || state == checkOK {
		return err
	}
	return statusError(state)
}

type checkQueueCmd struct {
	inNamespace

	Name      string         `arg:"" help:"Name of the queue."`
	MaxAge    *time.Duration `placeholder:"DURATION" help:"Critical when the oldest message is older."`
	WarnAge   *time.Duration `placeholder:"DURATION" help:"Warning when the oldest message is older."`
	MaxDepth  *int64         `placeholder:"N" help:"Critical when more messages wait."`
	WarnDepth *int64         `placeholder:"N" help:"Warning when more messages wait."`
	DLQ       *int64         `name:"dlq" placeholder:"N" help:"Critical when the dead-letter queue has more messages."`
}

// Run prints one line and ends with the state's exit code. Whatever keeps it from
// knowing is UNKNOWN.
func (c *checkQueueCmd) Run(a *app) error {
	state, text := c.check(a)
	if err := printf(a.stdout, "QUEUE %s - %s\n", checkNames[state], strings.ReplaceAll(text, "\n", " ")); err != nil {
		return err
	}
	if state == checkOK {
		return nil
	}
	return statusError(state)
}

func (c *checkQueueCmd) check(a *app) (state int, text string) {
	q, err := c.queue(a, c.Name)
	var now queueInfo
	if err == nil {
		now, err = q.info(a.ctx)
	}
	var dead *queueInfo
	if err == nil && c.DLQ != nil {
		dead, err = c.deadLetters(a, now)
	}
	if err != nil {
		return checkUnknown, c.Name + ": " + err.Error()
	}
	return c.judge(now, dead)
}

// deadLetters is the queue that the redrive policy names.
func (c *checkQueueCmd) deadLetters(a *app, of queueInfo) (*queueInfo, error) {
	_, rest, ok := strings.Cut(of.Attributes["RedrivePolicy"], `"deadLetterTargetArn":"`)
	if !ok {
		return nil, fmt.Errorf("%s has no dead-letter queue", of.Name)
	}
	arn, _, _ := strings.Cut(rest, `"`)
	q, err := c.queue(a, arn[strings.LastIndexByte(arn, ':')+1:])
	if err != nil {
		return nil, err
	}
	dead, err := q.info(a.ctx)
	return &dead, err
}

// judge is the state of a queue, and a line with what can be drawn: label=value;warn;crit.
func (c *checkQueueCmd) judge(q queueInfo, dead *queueInfo) (state int, text string) {
	var reasons []string
	exceeds := func(level int, over bool, reason string) {
		if over {
			state = max(state, level)
			reasons = append(reasons, reason)
		}
	}
	age := time.Duration(q.OldestAge * float64(time.Second))
	waits := fmt.Sprintf("%d messages wait", q.Visible)
	switch {
	case c.MaxAge != nil && age > *c.MaxAge:
		exceeds(checkCritical, true, "oldest is "+q.oldest()+" old")
	case c.WarnAge != nil:
		exceeds(checkWarning, age > *c.WarnAge, "oldest is "+q.oldest()+" old")
	}
	switch {
	case c.MaxDepth != nil && q.Visible > *c.MaxDepth:
		exceeds(checkCritical, true, waits)
	case c.WarnDepth != nil:
		exceeds(checkWarning, q.Visible > *c.WarnDepth, waits)
	}
	data := fmt.Sprintf("visible=%d;%s;%s in_flight=%d delayed=%d age=%.3fs;%s;%s", q.Visible, bound(c.WarnDepth), bound(c.MaxDepth),
		q.InFlight, q.Delayed, q.OldestAge, seconds(c.WarnAge), seconds(c.MaxAge))
	if dead != nil {
		exceeds(checkCritical, dead.messages() > *c.DLQ, fmt.Sprintf("%d dead letters", dead.messages()))
		data += fmt.Sprintf(" dead_letters=%d;;%d", dead.messages(), *c.DLQ)
	}
	if reasons == nil {
		reasons = []string{waits}
	}
	return state, q.Name + ": " + strings.Join(reasons, ", ") + " | " + data
}

func bound(n *int64) string {
	if n == nil {
		return ""
	}
	return number(*n)
}

func seconds(d *time.Duration) string {
	if d == nil {
		return ""
	}
	return fmt.Sprintf("%g", d.Seconds())
}
