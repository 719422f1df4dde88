package rest

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/queue"
)

// taskOnWire is a message move task.
type taskOnWire struct {
	ID          string     `json:"id"`
	Kind        string     `json:"kind" enum:"redrive"`
	Status      string     `json:"status" enum:"running,completed,cancelling,cancelled,failed"`
	Queue       string     `json:"queue" doc:"name of the queue whose messages move"`
	SourceARN   string     `json:"source_arn"`
	Destination string     `json:"destination_arn" doc:"empty: each message goes to the queue it came from"`
	Rate        int        `json:"rate" doc:"messages a second; 0: as fast as possible"`
	Moved       int64      `json:"moved"`
	ToMove      int64      `json:"to_move" doc:"how many there were when it began"`
	Failure     string     `json:"failure,omitempty"`
	StartedAt   *time.Time `json:"started_at"`
}

type taskList struct {
	Tasks      []taskOnWire `json:"tasks" nullable:"false"`
	TotalCount int          `json:"total_count"`
}

func (a *API) registerTasks() {
	handle(a, operation{
		id: "openmnq.RedriveQueue", method: http.MethodPost, path: "/namespaces/{namespace_id}/queues/{queue_name}/redrive",
		summary: "Begin to move the messages of a dead-letter queue", noun: "queue", action: "write",
	}, a.redriveQueue)
	handle(a, operation{
		id: "openmnq.ListTasks", method: http.MethodGet, path: "/namespaces/{namespace_id}/tasks",
		summary: "List the tasks of a namespace, the newest first", noun: "task",
	}, a.listTasks)
	handle(a, operation{
		id: "openmnq.GetTask", method: http.MethodGet, path: "/namespaces/{namespace_id}/tasks/{task_id}",
		summary: "Get a task with its progress", noun: "task",
	}, a.getTask)
	handle(a, operation{
		id: "openmnq.CancelTask", method: http.MethodPost, path: "/namespaces/{namespace_id}/tasks/{task_id}/cancel",
		summary: "Ask a running task to end; what it has moved stays moved", noun: "task", action: "write",
	}, a.cancelTask)
}

type redriveInput struct {
	QueuePath

	Body struct {
		Destination string `json:"destination" required:"false" maxLength:"80" doc:"name of a queue of the same namespace; left out: each message goes to the queue it came from"`
		Rate        *int64 `json:"rate" required:"false" minimum:"1" maximum:"500" doc:"messages a second; left out: as fast as possible"`
	}
}

func (a *API) redriveQueue(ctx context.Context, who mnq.Identity, in *redriveInput) (taskOnWire, error) {
	ns, err := a.anyNamespace(who, in.NamespaceID)
	if err != nil {
		return taskOnWire{}, err
	}
	q, err := a.queue(who, in.QueuePath)
	if err != nil {
		return taskOnWire{}, err
	}
	move := queue.NewMove{Source: q.ARN(ns)}
	if name := in.Body.Destination; name != "" {
		to, err := a.queues.Queue(ns, name)
		if err != nil {
			return taskOnWire{}, as(err, "queue", name)
		}
		move.Destination = to.ARN(ns)
	}
	if in.Body.Rate != nil {
		move.Rate = new(int(*in.Body.Rate))
	}
	m, err := a.queues.StartMove(ctx, ns, move)
	if err != nil {
		return taskOnWire{}, err
	}
	return taskWire(m), nil
}

func taskWire(m queue.Move) taskOnWire {
	return taskOnWire{
		ID: m.ID, Kind: "redrive", Status: strings.ToLower(string(m.Status)), Queue: m.Source[strings.LastIndexByte(m.Source, ':')+1:],
		SourceARN: m.Source, Destination: m.Destination, Rate: m.Rate, Moved: m.Moved, ToMove: m.ToMove, Failure: m.Failure, StartedAt: stamp(m.Started),
	}
}

type listTasksInput struct {
	PageQuery

	NamespaceID string `path:"namespace_id" maxLength:"64" doc:"an id, or the account part of a queue URL"`
}

func (a *API) listTasks(_ context.Context, who mnq.Identity, in *listTasksInput) (taskList, error) {
	ns, err := a.anyNamespace(who, in.NamespaceID)
	if err != nil {
		return taskList{}, err
	}
	all := a.queues.AllMoves(ns)
	return taskList{Tasks: convert(cut(all, in.PageQuery), taskWire), TotalCount: len(all)}, nil
}

type taskInput struct {
	NamespaceID string `path:"namespace_id" maxLength:"64"`
	TaskID      string `path:"task_id" format:"uuid"`
}

func (a *API) task(who mnq.Identity, in *taskInput) (mnq.Namespace, queue.Move, error) {
	ns, err := a.anyNamespace(who, in.NamespaceID)
	if err != nil {
		return ns, queue.Move{}, err
	}
	for _, m := range a.queues.AllMoves(ns) {
		if m.ID == canonical(in.TaskID) {
			return ns, m, nil
		}
	}
	return ns, queue.Move{}, notFound("task", in.TaskID)
}

func (a *API) getTask(_ context.Context, who mnq.Identity, in *taskInput) (taskOnWire, error) {
	_, m, err := a.task(who, in)
	if err != nil {
		return taskOnWire{}, err
	}
	return taskWire(m), nil
}

func (a *API) cancelTask(ctx context.Context, who mnq.Identity, in *taskInput) (taskOnWire, error) {
	ns, m, err := a.task(who, in)
	if err != nil {
		return taskOnWire{}, err
	}
	if m.Status != queue.MoveRunning && m.Status != queue.MoveCancelling {
		return taskOnWire{}, preconditionFailed("task_ended", "the task has ended already")
	}
	if _, err := a.queues.CancelMove(ctx, ns, m.Handle()); err != nil {
		return taskOnWire{}, as(err, "task", m.ID)
	}
	_, m, err = a.task(who, in)
	return taskWire(m), err
}
