package queue

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq/node"
)

// taskBucket holds the move tasks, in the control account: under
// <namespace id>.<incarnation of the source> a list, the newest first. That all
// tasks of a source are one value makes it sure that only one of them is active.
const taskBucket = "mnq_tasks"

func (q *Queue) taskKey() string { return key(q.space.id, q.id) }

// tasks keeps the move tasks: what is stored about them, as it was seen last, and
// those that run here. A process that works on a task reports once a second; when no
// report has been seen for moveLease, whoever notices takes the task over.
type tasks struct {
	svc  *Service
	kv   *node.Bucket
	wake chan struct{}

	mu      sync.Mutex
	known   map[string]taskList
	running map[string]bool // task ids
}

type taskList struct {
	revision uint64
	moves    []Move
	seen     time.Time // by this process's clock
}

func newTasks(s *Service) *tasks {
	return &tasks{svc: s, wake: make(chan struct{}, 1), known: map[string]taskList{}, running: map[string]bool{}}
}

func (t *tasks) start(ctx context.Context) error {
	kv, err := node.OpenBucket(ctx, t.svc.cfg.Control, node.BucketConfig{Name: taskBucket, Description: "message move tasks", Replicas: t.svc.cfg.Replicas})
	if err != nil {
		return err
	}
	t.kv = kv
	loaded := make(chan struct{})
	t.svc.done.Go(func() {
		keepWatching(t.svc, kv, loaded, t.learn)
	})
	t.svc.done.Go(func() { t.tend(t.svc.run) })
	select {
	case <-loaded:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// keepWatching passes every entry of a bucket to f, and every change, until the
// service stops. loaded is closed after the first round.
func keepWatching(s *Service, kv *node.Bucket, loaded chan struct{}, f func(jetstream.KeyValueEntry)) {
	var once sync.Once
	for s.run.Err() == nil {
		err := kv.WatchAll(s.run, func(e jetstream.KeyValueEntry) error {
			if e == nil {
				once.Do(func() { close(loaded) })
			} else {
				f(e)
			}
			return nil
		})
		if s.run.Err() != nil {
			return
		}
		s.log.WarnContext(s.run, "watch interrupted", "bucket", kv.Name(), "error", err)
		select {
		case <-time.After(watchRetry):
		case <-s.run.Done():
		}
	}
}

const watchRetry = 250 * time.Millisecond

func (t *tasks) learn(e jetstream.KeyValueEntry) {
	var moves []Move
	if e.Operation() == jetstream.KeyValuePut {
		if err := json.Unmarshal(e.Value(), &moves); err != nil {
			t.svc.log.ErrorContext(t.svc.run, "move tasks cannot be read", "key", e.Key(), "error", err)
			return
		}
	}
	t.mu.Lock()
	if t.known[e.Key()].revision < e.Revision() {
		t.known[e.Key()] = taskList{e.Revision(), moves, time.Now()}
	}
	t.mu.Unlock()
	t.poke()
}

func (t *tasks) poke() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

func (t *tasks) list(k string) []Move {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.known[k].moves)
}

// of lists the tasks of a namespace.
func (t *tasks) of(namespaceID string) (all []Move) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, l := range t.known {
		if ns, _, _ := splitKey(k); ns == namespaceID {
			all = append(all, l.moves...)
		}
	}
	return all
}

// cancelled reports whether the task has been asked to end.
func (t *tasks) cancelled(k, id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.ContainsFunc(t.known[k].moves, func(m Move) bool { return m.ID == id && m.Status == MoveCancelling })
}

// TaskKey says which tasks a number is about.
type TaskKey struct{ Kind, State string }

// TaskStates counts the tasks of all namespaces that are kept: every process tells the same.
func (s *Service) TaskStates() map[TaskKey]int {
	s.tasks.mu.Lock()
	defer s.tasks.mu.Unlock()
	out := map[TaskKey]int{}
	for _, l := range s.tasks.known {
		for _, m := range l.moves {
			out[TaskKey{"redrive", strings.ToLower(string(m.Status))}]++
		}
	}
	return out
}

// active counts the active tasks of a namespace.
func (t *tasks) active(namespaceID string) (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, l := range t.known {
		if ns, _, _ := splitKey(k); ns == namespaceID && len(l.moves) > 0 && l.moves[0].Status.active() {
			n++
		}
	}
	return n
}

// change rewrites the tasks of one source by compare-and-set.
func (t *tasks) change(ctx context.Context, k string, f func([]Move) ([]Move, error)) error {
	for range 16 {
		t.mu.Lock()
		l := t.known[k]
		t.mu.Unlock()
		moves, err := f(slices.Clone(l.moves))
		if err != nil {
			return err
		}
		value, err := json.Marshal(moves)
		if err != nil {
			return err
		}
		revision, err := t.kv.Update(ctx, k, value, l.revision)
		if err == nil {
			t.mu.Lock()
			if t.known[k].revision < revision {
				t.known[k] = taskList{revision, moves, time.Now()}
			}
			t.mu.Unlock()
			return nil
		}
		if !lostRace(err) {
			return unavailable("queue.move", k, err)
		}
		if e, err := t.kv.Get(ctx, k); err == nil {
			t.learn(e)
		} else if !errors.Is(err, jetstream.ErrKeyNotFound) {
			return unavailable("queue.move", k, err)
		}
	}
	return unavailable("queue.move", k, errors.New("too many others change it"))
}

// changeOne rewrites one task.
func (t *tasks) changeOne(ctx context.Context, k, id string, f func(*Move) error) error {
	return t.change(ctx, k, func(list []Move) ([]Move, error) {
		i := slices.IndexFunc(list, func(m Move) bool { return m.ID == id })
		if i < 0 {
			return nil, noResource("Task does not exist.")
		}
		return list, f(&list[i])
	})
}

// tend takes over what others have left, and forgets the tasks of queues that are
// gone, until ctx ends.
func (t *tasks) tend(ctx context.Context) {
	for {
		var again <-chan time.Time
		if t.tendOnce(ctx) {
			again = time.After(moveLease / 2)
		}
		select {
		case <-t.wake:
		case <-again:
		case <-ctx.Done():
			return
		}
	}
}

// orphanTask is how long the source of a task must be unknown before the task is
// taken for left behind.
const orphanTask = time.Minute

// tendOnce reports whether there is a task to look at again soon.
func (t *tasks) tendOnce(ctx context.Context) (soon bool) {
	select {
	case <-t.svc.loaded:
	default:
		return true
	}
	t.mu.Lock()
	known := make(map[string]taskList, len(t.known))
	for k, l := range t.known {
		if len(l.moves) > 0 {
			known[k] = l
		}
	}
	t.mu.Unlock()
	me := t.svc.ledger.me.String()
	for k, l := range known {
		_, id, _ := splitKey(k)
		q := t.svc.byID(id)
		if q == nil && time.Since(l.seen) < orphanTask {
			soon = true // its definition may be on its way
			continue
		}
		if q == nil {
			_, _ = t.kv.Remove(ctx, k, node.Purge{Revision: l.revision, TTL: markerTTL}) // else the next time
			continue
		}
		m := l.moves[0]
		if !m.Status.active() {
			continue
		}
		soon = true
		if t.runs(m.ID) || m.Runner != "" && m.Runner != me && time.Since(l.seen) < moveLease {
			continue
		}
		err := t.changeOne(ctx, k, m.ID, func(now *Move) error {
			if !now.Status.active() || now.Runner != m.Runner {
				return errTaken
			}
			now.Runner, m = me, *now
			m.Runner = me
			return nil
		})
		if err == nil {
			t.run(q, m)
		}
	}
	return soon
}

var errTaken = errors.New("another process works on it")

func (t *tasks) runs(id string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.running[id]
}

// run works on a task in the background.
func (t *tasks) run(q *Queue, m Move) {
	t.mu.Lock()
	already := t.running[m.ID]
	t.running[m.ID] = true
	t.mu.Unlock()
	if already {
		return
	}
	t.svc.done.Go(func() {
		defer func() {
			t.mu.Lock()
			delete(t.running, m.ID)
			t.mu.Unlock()
			t.poke()
		}()
		r := &mover{q: q, task: m, report: time.Now()}
		r.run(t.svc.run)
	})
}
