package main

import (
	"net/http"
	"time"

	"github.com/openmnq/mnq"
)

// task is work that the server does in the background.
type task struct {
	ID          string    `json:"id"`
	Kind        string    `json:"kind"`
	Status      string    `json:"status"`
	Queue       string    `json:"queue"`
	Destination string    `json:"destination_arn"`
	Moved       int64     `json:"moved"`
	ToMove      int64     `json:"to_move"`
	Failure     string    `json:"failure,omitempty"`
	StartedAt   time.Time `json:"started_at"`
}

func (t task) ended() bool { return t.Status != "running" && t.Status != "cancelling" }

func showTask(t *table, v task) {
	t.row("id", v.ID)
	t.row("kind", v.Kind)
	t.row("status", v.Status)
	t.row("queue", v.Queue)
	t.row("destination", v.Destination)
	t.row("moved", number(v.Moved)+" of "+number(v.ToMove))
	t.row("failure", v.Failure)
	t.row("started", stamp(v.StartedAt))
}

type taskCmd struct {
	Ls     taskLsCmd     `cmd:"" help:"List tasks, the newest first."`
	Watch  taskWatchCmd  `cmd:"" help:"Wait for a task to end; fails when it does."`
	Cancel taskCancelCmd `cmd:"" help:"Ask a running task to end; what it has done stays done."`
}

type taskLsCmd struct{ inNamespace }

// Run lists the tasks of a namespace.
func (c *taskLsCmd) Run(a *app) error {
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	id, err := c.namespaceID(a.ctx, cl)
	if err != nil {
		return err
	}
	path := own("namespaces", id, "tasks")
	if c.JSON {
		return listJSON(a, cl, path, "tasks", nil)
	}
	all, err := list[task](a.ctx, cl, path, "tasks", nil)
	if err != nil {
		return err
	}
	t := newTable(a.stdout, "ID", "KIND", "QUEUE", "STATUS", "DONE", "OF", "STARTED")
	for _, v := range all {
		t.row(v.ID, v.Kind, v.Queue, v.Status, number(v.Moved), number(v.ToMove), stamp(v.StartedAt))
	}
	return t.flush()
}

type taskWatchCmd struct {
	inNamespace

	ID string `arg:"" help:"Id of the task."`
}

// Run waits for the task to end.
func (c *taskWatchCmd) Run(a *app) error {
	if c.ID == "" {
		return usagef("an empty id names nothing")
	}
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	id, err := c.namespaceID(a.ctx, cl)
	if err != nil {
		return err
	}
	return watchTask(a, c.JSON, cl, own("namespaces", id, "tasks", c.ID))
}

const watchEvery = 500 * time.Millisecond

// watchTask asks for the task until it has ended, with a progress line for people, and
// shows it. A task that failed is a failure of the command.
func watchTask(a *app, asJSON bool, cl *client, path string) error {
	var t task
	for progress := terminal(a.stderr); ; {
		if err := cl.call(a.ctx, http.MethodGet, path, nil, &t); err != nil {
			return err
		}
		if progress {
			end := ""
			if t.ended() {
				end = "\n"
			}
			if err := printf(a.stderr, "\r%s: %d of %d%s", t.Status, t.Moved, t.ToMove, end); err != nil {
				return err
			}
		}
		if t.ended() {
			break
		}
		select {
		case <-time.After(watchEvery):
		case <-a.ctx.Done():
			return a.ctx.Err()
		}
	}
	if t.Status == "failed" {
		return &mnq.Error{Kind: mnq.Conflict, Op: opClient, Msg: "the task failed: " + t.Failure}
	}
	return showCall(a, asJSON, cl, apiCall{http.MethodGet, path, nil}, showTask)
}

type taskCancelCmd struct {
	inNamespace

	ID string `arg:"" help:"Id of the task."`
}

// Run asks the task to end.
func (c *taskCancelCmd) Run(a *app) error {
	if c.ID == "" {
		return usagef("an empty id names nothing")
	}
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	id, err := c.namespaceID(a.ctx, cl)
	if err != nil {
		return err
	}
	return showCall(a, c.JSON, cl, apiCall{http.MethodPost, own("namespaces", id, "tasks", c.ID) + "/cancel", nil}, showTask)
}
