package queue

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/openmnq/mnq"
)

// MoveStatus is the state of a message move task.
type MoveStatus string

// The states, as SQS names them. Running and Cancelling are active.
const (
	MoveRunning    MoveStatus = "RUNNING"
	MoveCompleted  MoveStatus = "COMPLETED"
	MoveCancelling MoveStatus = "CANCELLING"
	MoveCancelled  MoveStatus = "CANCELLED"
	MoveFailed     MoveStatus = "FAILED"
)

func (s MoveStatus) active() bool { return s == MoveRunning || s == MoveCancelling }

const (
	maxMoveRate   = 500 // messages a second
	maxMovesKept  = 10  // of one source
	maxMoves      = 100 // active, of one namespace
	maxMoveTime   = 36 * time.Hour
	movePause     = time.Second      // between tries that got nowhere; doubled up to maxMovePause
	maxMovePause  = 30 * time.Second // see movePause
	moveReport    = time.Second      // between two reports of a running task
	moveLease     = 10 * time.Second // without a report another process takes the task over
	moveBatch     = 50
	moveSlowBatch = 10 // of a task with a rate
)

// Move is a message move task.
type Move struct {
	ID          string     `json:"id"` // UUID
	Source      string     `json:"source"`
	Destination string     `json:"destination,omitempty"` // "": each message's own source
	Rate        int        `json:"rate,omitempty"`        // messages a second; 0: as fast as possible
	Status      MoveStatus `json:"status"`
	Moved       int64      `json:"moved"`
	ToMove      int64      `json:"to_move"` // when it began
	Failure     string     `json:"failure,omitempty"`
	Started     time.Time  `json:"started"`

	Last   uint64 `json:"last"`             // what is stored after it is not moved
	Runner string `json:"runner,omitempty"` // the process that works on it
}

// Handle names the task to a client: base64 of a small JSON object, as SQS's own.
func (m Move) Handle() string {
	return base64.StdEncoding.EncodeToString([]byte(compact(moveHandle{m.ID, m.Source})))
}

type moveHandle struct {
	Task   string `json:"taskId"`
	Source string `json:"sourceArn"`
}

// NewMove says what to move.
type NewMove struct {
	Source      string // ARN of a dead-letter queue
	Destination string // ARN of a queue, or "" for each message's own source
	Rate        *int   // 1 to 500 messages a second; nil: as fast as possible
}

// StartMove begins to move the messages of a dead-letter queue, and returns when the
// task is stored. From then on it goes on until it is done or cancelled, whichever
// processes end meanwhile. Moved messages are new ones: they get new ids, a receive
// count of zero and their whole retention period. Errors: Invalid
// (InvalidParameterValue), NotFound (ResourceNotFoundException), QuotaExceeded.
func (s *Service) StartMove(ctx context.Context, ns mnq.Namespace, in NewMove) (Move, error) {
	q, err := s.moveSource(ns, in.Source)
	if err != nil {
		return Move{}, err
	}
	if names, _ := q.DeadLetterSources("", 1); len(names) == 0 {
		return Move{}, invalid("InvalidParameterValue", "SourceArn", "Source queue must be configured as a Dead Letter Queue.")
	}
	m := Move{
		ID: uuid.NewString(), Source: in.Source, Destination: in.Destination, Status: MoveRunning,
		Started: time.Now().UTC(), Runner: s.ledger.me.String(),
	}
	if in.Rate != nil {
		if m.Rate = *in.Rate; m.Rate < 1 || m.Rate > maxMoveRate {
			return Move{}, invalid("InvalidParameterValue", "MaxNumberOfMessagesPerSecond",
				"The value for parameter MaxNumberOfMessagesPerSecond is invalid. Reason: Must be between 1 and 500, if provided.")
		}
	}
	if err := s.checkDestination(ns, q, in.Destination); err != nil {
		return Move{}, err
	}
	if s.tasks.active(ns.ID) >= maxMoves {
		return Move{}, overLimit("The namespace has 100 message move tasks running, which is the most allowed.")
	}
	if err := q.finishCreate(ctx); err != nil {
		return Move{}, err
	}
	if m.ToMove, m.Last, err = q.moveExtent(ctx); err != nil {
		return Move{}, err
	}
	err = s.tasks.change(ctx, q.taskKey(), func(list []Move) ([]Move, error) {
		if slices.ContainsFunc(list, func(m Move) bool { return m.Status.active() }) {
			return nil, invalid("InvalidParameterValue", "SourceArn",
				"There is already a task running. Only one active task is allowed for a source queue arn at a given time.")
		}
		list = append([]Move{m}, list...)
		return list[:min(len(list), maxMovesKept)], nil
	})
	if err != nil {
		return Move{}, err
	}
	s.tasks.run(q, m)
	return m, nil
}

// moveExtent is how many messages there are to move, and the last of them.
func (q *Queue) moveExtent(ctx context.Context) (n int64, last uint64, err error) {
	c, err := q.Counts(ctx)
	if err != nil {
		return 0, 0, err
	}
	w, err := q.svc.connection(ctx, q.space)
	if err != nil {
		return 0, 0, err
	}
	st, err := w.js.Stream(ctx, q.record.Load().stream())
	if err != nil {
		return 0, 0, q.streamError("queue.StartMove", err)
	}
	return c.Visible, st.CachedInfo().State.LastSeq, nil
}

// moveSource finds the queue of a task by its ARN.
func (s *Service) moveSource(ns mnq.Namespace, source string) (*Queue, error) {
	a, err := parseARN(source)
	if err != nil {
		return nil, err
	}
	q, err := s.Queue(ns, a.name)
	if !a.in(ns) || err != nil {
		return nil, noResource("The resource that you specified for the SourceArn parameter doesn't exist.")
	}
	return q, nil
}

func (s *Service) checkDestination(ns mnq.Namespace, source *Queue, destination string) error {
	if destination == "" {
		return nil
	}
	a, err := parseARN(destination)
	if err != nil {
		return invalid("InvalidParameterValue", "DestinationArn",
			"You must use this format to specify the DestinationArn: arn:<partition>:<service>:<region>:<account-id>:<resource-id>")
	}
	if _, err := s.Queue(ns, a.name); !a.in(ns) || err != nil {
		return noResource("The resource that you specified for the DestinationArn parameter doesn't exist.")
	}
	switch {
	case a.name == source.name:
		return invalid("InvalidParameterValue", "DestinationArn", "The source and the destination must be two queues.")
	case isFIFO(a.name) != isFIFO(source.name):
		return invalid("InvalidParameterValue", "DestinationArn", "The source and the destination must be queues of the same type.")
	}
	return nil
}

// CancelMove asks a running task to end, and returns how many messages it has moved
// by now. They stay where they are. Errors: Invalid for what is not a handle,
// NotFound (ResourceNotFoundException) when there is no such task or it has ended.
func (s *Service) CancelMove(ctx context.Context, ns mnq.Namespace, handle string) (moved int64, err error) {
	var h moveHandle
	b, err := base64.StdEncoding.DecodeString(handle)
	if err != nil || len(b) > 1024 || json.Unmarshal(b, &h) != nil || h.Task == "" || h.Source == "" {
		return 0, invalid("InvalidParameterValue", "TaskHandle", "Value for parameter TaskHandle is invalid.")
	}
	q, err := s.moveSource(ns, h.Source)
	if err != nil {
		return 0, err
	}
	err = s.tasks.changeOne(ctx, q.taskKey(), h.Task, func(m *Move) error {
		if !m.Status.active() {
			return noResource("Task does not exist.")
		}
		m.Status, moved = MoveCancelling, m.Moved
		return nil
	})
	return moved, err
}

// Moves returns the tasks of a source, the newest first, at most limit of at most
// ten that are kept. Errors as for [Service.StartMove].
func (s *Service) Moves(ns mnq.Namespace, source string, limit int) ([]Move, error) {
	q, err := s.moveSource(ns, source)
	if err != nil {
		return nil, err
	}
	list := s.tasks.list(q.taskKey())
	return list[:min(len(list), limit)], nil
}

// AllMoves returns the tasks of a namespace, the newest first: of each source at most
// ten.
func (s *Service) AllMoves(ns mnq.Namespace) []Move {
	all := s.tasks.of(ns.ID)
	slices.SortFunc(all, func(a, b Move) int { return cmp.Or(b.Started.Compare(a.Started), cmp.Compare(a.ID, b.ID)) })
	return all
}

func noResource(msg string) error {
	return &mnq.Error{Kind: mnq.NotFound, Code: "ResourceNotFoundException", Op: "queue.move", Msg: msg}
}
