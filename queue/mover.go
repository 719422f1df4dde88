package queue

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/openmnq/mnq"
)

// mover works on one task.
type mover struct {
	q      *Queue // the source
	task   Move
	report time.Time     // when the last report was written
	free   time.Time     // when the next batch may be moved
	pause  time.Duration // after the last failure
}

// run moves messages until there are no more, the task is cancelled or fails,
// another process has taken it over, or ctx ends.
func (r *mover) run(ctx context.Context) {
	for ctx.Err() == nil {
		end, reason := r.step(ctx)
		if ctx.Err() != nil {
			break
		}
		if end != "" || time.Since(r.report) >= moveReport {
			stop, err := r.write(ctx, end, reason)
			switch {
			case stop:
				return
			case err != nil:
				r.q.svc.log.WarnContext(ctx, "move task not reported", "queue", r.q.name, "namespace_id", r.q.space.id, "error", err)
			}
		}
		if wait := time.Until(r.free); wait > 0 {
			select {
			case <-time.After(min(wait, moveReport)):
			case <-r.q.closed:
			case <-ctx.Done():
			}
		}
	}
	// The service stops: let another process go on at once.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
	defer cancel()
	r.task.Runner = ""
	_, _ = r.write(last, "", "") // without it the others wait for the lease to end
}

// step moves one batch. A status says that the task has come to its end.
func (r *mover) step(ctx context.Context) (end MoveStatus, reason string) {
	select {
	case <-r.q.closed:
		return MoveFailed, nonExistentQueue
	default:
	}
	if r.q.svc.tasks.cancelled(r.q.taskKey(), r.task.ID) {
		return MoveCancelled, ""
	}
	if time.Since(r.task.Started) > maxMoveTime {
		return MoveFailed, "The task has been running for 36 hours."
	}
	if time.Now().Before(r.free) {
		return "", ""
	}
	moved, err := r.batch(ctx)
	r.task.Moved += int64(moved)
	r.q.countRedriven(moved)
	if r.task.Rate > 0 && moved > 0 {
		r.free = time.Now().Add(time.Duration(moved) * time.Second / time.Duration(r.task.Rate))
	}
	switch {
	case errors.Is(err, errNothingLeft):
		return MoveCompleted, ""
	case errors.Is(err, errNoSource):
		return MoveFailed, "CouldNotDetermineMessageSource"
	case mnq.IsNotFound(err):
		return MoveFailed, nonExistentQueue
	case err != nil:
		r.pause = min(max(2*r.pause, movePause), maxMovePause)
		r.free = time.Now().Add(r.pause)
	default:
		r.pause = 0
	}
	return "", ""
}

// nonExistentQueue is the FailureReason of a task whose destination is gone.
const nonExistentQueue = "AWS.SimpleQueueService.NonExistentQueue"

var (
	errNothingLeft = errors.New("nothing is left to move")
	errNoSource    = errors.New("a message does not say where it comes from")
)

// batch takes some messages and moves them. What could not be moved is visible
// again at once.
func (r *mover) batch(ctx context.Context) (moved int, err error) {
	w, err := r.q.svc.connection(ctx, r.q.space)
	if err != nil {
		return 0, err
	}
	n := moveBatch
	if r.task.Rate > 0 {
		n = min(moveSlowBatch, r.task.Rate)
	}
	if r.q.fifo != nil {
		return r.q.fifo.moveBatch(ctx, w, r, n)
	}
	got, err := r.q.poll(ctx, w, n)
	if err != nil {
		return 0, err
	}
	var todo, later []delivery
	for _, d := range got {
		if d.stream <= r.task.Last {
			todo = append(todo, d)
		} else {
			later = append(later, d)
		}
	}
	r.q.release(w, later)
	if len(todo) == 0 {
		return 0, errNothingLeft
	}
	var done, stay []delivery
	var reqs []request
	var to []*Queue
	var moving []delivery
	for i, d := range todo {
		req, q, bad := r.copyOf(d)
		if bad == nil {
			bad = r.q.admitMove(ctx, w, int64(len(req.Data)))
		}
		if bad != nil {
			err, stay = bad, todo[i:]
			break
		}
		reqs, to, moving = append(reqs, req), append(to, q), append(moving, d)
	}
	for i, a := range w.Exchange(ctx, reqs, answerTimeout) {
		if refused := to[i].putDone(a); refused != nil {
			stay, err = append(stay, moving[i]), errors.Join(err, refused)
			continue
		}
		to[i].lastSend.Store(time.Now().UnixNano())
		done = append(done, moving[i])
	}
	r.q.release(w, stay)
	return len(done), errors.Join(err, r.q.finishMove(ctx, w, done))
}

// copyOf is the request that stores the message as a new one in its destination.
func (r *mover) copyOf(d delivery) (request, *Queue, error) {
	m, err := decodeStored(d.data)
	if err != nil {
		return request{}, nil, err
	}
	to, err := r.destination(m)
	if err != nil {
		return request{}, nil, err
	}
	return to.put(m.renewed(time.Now()), origin{r.q.id, d.stream}, time.Time{}), to, nil
}

// destination is the queue that a message goes to.
func (r *mover) destination(m stored) (*Queue, error) {
	destination := cmp.Or(r.task.Destination, m.source)
	a, err := parseARN(destination)
	if err != nil {
		return nil, errNoSource
	}
	to := r.q.svc.byARN(r.q.space.id, destination)
	if to == nil || (to.fifo == nil) != (r.q.fifo == nil) {
		return nil, missing(a.name)
	}
	return to, nil
}

// renewed is the message as a new one, without a past.
func (m stored) renewed(now time.Time) stored {
	m.id, m.sentAt = uuid.New(), now
	m.received, m.first, m.source = 0, time.Time{}, ""
	return m
}

// write stores the progress. stop says that there is nothing more to do here: the
// task has ended, or another process works on it.
func (r *mover) write(ctx context.Context, end MoveStatus, reason string) (stop bool, err error) {
	me := r.q.svc.ledger.me.String()
	err = r.q.svc.tasks.changeOne(ctx, r.q.taskKey(), r.task.ID, func(m *Move) error {
		if m.Runner != me || !m.Status.active() {
			return errTaken
		}
		m.Moved, m.Runner = r.task.Moved, r.task.Runner
		switch {
		case m.Status == MoveCancelling && end != MoveCompleted:
			m.Status = MoveCancelled
		case end != "":
			m.Status, m.Failure = end, reason
		}
		stop = !m.Status.active()
		return nil
	})
	r.report = time.Now()
	if errors.Is(err, errTaken) || mnq.IsNotFound(err) {
		return true, nil
	}
	return stop, err
}
