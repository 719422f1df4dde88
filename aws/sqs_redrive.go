package aws

import (
	"context"

	"github.com/openmnq/mnq/queue"
)

func (h *Handler) listDeadLetterSourceQueues(_ context.Context, c *call, in *listDeadLetterSourceQueuesInput) (*listDeadLetterSourceQueuesOutput, error) {
	q, err := h.queue(c, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	what := "ListDeadLetterSourceQueues\x00" + q.ns.Account() + "\x00" + q.Name()
	after, limit, err := readPage(what, in.NextToken, in.MaxResults)
	if err != nil {
		return nil, err
	}
	names, more := q.DeadLetterSources(after, limit)
	out := &listDeadLetterSourceQueuesOutput{QueueUrls: []string{}}
	for _, name := range names {
		out.QueueUrls = append(out.QueueUrls, c.baseURL+"/"+q.ns.Account()+"/"+name)
	}
	if more && in.MaxResults != nil && len(names) > 0 {
		out.NextToken = listToken(what, names[len(names)-1])
	}
	return out, nil
}

func (h *Handler) startMessageMoveTask(ctx context.Context, c *call, in *startMessageMoveTaskInput) (*startMessageMoveTaskOutput, error) {
	move := queue.NewMove{Source: in.SourceArn, Destination: in.DestinationArn}
	if n := in.MaxNumberOfMessagesPerSecond; n != nil {
		move.Rate = new(int(*n))
	}
	m, err := h.cfg.Queues.StartMove(ctx, c.principal.Namespace, move)
	if err != nil {
		return nil, err
	}
	return &startMessageMoveTaskOutput{TaskHandle: m.Handle()}, nil
}

func (h *Handler) cancelMessageMoveTask(ctx context.Context, c *call, in *cancelMessageMoveTaskInput) (*cancelMessageMoveTaskOutput, error) {
	moved, err := h.cfg.Queues.CancelMove(ctx, c.principal.Namespace, in.TaskHandle)
	if err != nil {
		return nil, err
	}
	return &cancelMessageMoveTaskOutput{ApproximateNumberOfMessagesMoved: new(long(moved))}, nil
}

// maxMoveTasks is how many tasks ListMessageMoveTasks returns at most.
const maxMoveTasks = 10

func (h *Handler) listMessageMoveTasks(_ context.Context, c *call, in *listMessageMoveTasksInput) (*listMessageMoveTasksOutput, error) {
	limit := 1
	if n := in.MaxResults; n != nil {
		if *n < 1 || *n > maxMoveTasks {
			return nil, outOfRange(*n, "MaxResults", "Must be between 1 and 10, if provided.")
		}
		limit = int(*n)
	}
	moves, err := h.cfg.Queues.Moves(c.principal.Namespace, in.SourceArn, limit)
	if err != nil {
		return nil, err
	}
	out := &listMessageMoveTasksOutput{}
	for _, m := range moves {
		t := moveTask{
			Status: string(m.Status), SourceArn: m.Source, DestinationArn: m.Destination, FailureReason: m.Failure,
			ApproximateNumberOfMessagesMoved: new(long(m.Moved)), ApproximateNumberOfMessagesToMove: new(long(m.ToMove)),
			StartedTimestamp: long(m.Started.UnixMilli()),
		}
		if m.Status == queue.MoveRunning {
			t.TaskHandle = m.Handle()
		}
		if m.Rate > 0 {
			t.MaxNumberOfMessagesPerSecond = new(integer(m.Rate))
		}
		out.Results = append(out.Results, t)
	}
	return out, nil
}
