package queue

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/service"
	"github.com/openmnq/mnq/internal/wire"
	"github.com/openmnq/mnq/node"
)

// Config says what a Service works with. All fields but Log and Partition are
// required.
type Config struct {
	// Connect returns this process's connection to a namespace's account.
	Connect func(ctx context.Context, namespaceID string) (*nats.Conn, jetstream.JetStream, error)
	// Control is the control account, where the definitions are kept.
	Control jetstream.JetStream
	// HandleKey is a secret of 32 bytes that seals receipt handles, the same in every process.
	HandleKey []byte
	// GroupCommit says that the server syncs every write, so that it pays to write
	// several at once.
	GroupCommit bool
	// Replicas is the number of copies of each stream.
	Replicas int
	// Partition is part of ARNs; default "scw".
	Partition string
	// Accepts returns nil when new messages may be stored, else an error for the
	// client; it is asked for every send, so it must answer from memory. nil: always.
	Accepts func(ctx context.Context) error
	// Current returns nil while what this process reads is true for the whole cluster;
	// otherwise nothing that was received may be handed out. It must answer from
	// memory. nil: always.
	Current func() error
	// Stored returns nil when every write that the server has confirmed so far was made;
	// it is asked after the answer has come and must answer from memory. nil: always.
	Stored func() error
	// Exists reports whether the namespace is known, and false for sure when the
	// directory is not up to date. It tells definitions that were left behind from
	// those in use; nil: none are ever taken for left behind.
	Exists func(namespaceID string) (exists, sure bool)
	// LenientNames turns off the minute that a deleted queue's name stays taken and the minute between purges.
	LenientNames bool
	// Charts says that what happens in queues is written down for [Queue.Chart].
	Charts bool
	// Tracer makes spans of sends and receives; nil makes none.
	Tracer *service.Tracer
	Log    *slog.Logger
}

// nameHold is how long the name of a deleted queue stays taken, and how long
// after a purge the next one is refused.
const nameHold = time.Minute

// Service keeps all queues of all namespaces. It is safe for concurrent use, and
// any number of processes may run one on the same installation: definitions are
// changed by compare-and-set, and each process follows the changes of the others.
type Service struct {
	cfg    Config
	log    *slog.Logger
	sealer *sealer
	self   uint32 // names this process in leases
	kv     *node.Bucket
	run    context.Context // of the background work, from Start to Stop
	stop   context.CancelFunc
	done   sync.WaitGroup
	loaded chan struct{} // closed when the definitions have been read once
	ledger *ledger
	tasks  *tasks
	charts *charts

	maxInFlight int // MaxInFlight, but for tests
	tails       atomic.Int64
	patience    node.Patience
	batchAlways bool // whatever can be written as a batch is; for tests

	mu     sync.RWMutex
	spaces map[string]*space
	making places
	ids    map[string]*Queue // by incarnation
}

// space is one namespace.
type space struct {
	id     string
	queues map[string]*Queue // guarded by Service.mu
	lostAt time.Time         // since when its namespace is unknown; used by the sweep only

	mu   sync.Mutex
	link *link

	usage usage
	tally tally
}

func newSpace(id string) *space {
	return &space{id: id, queues: map[string]*Queue{}, usage: usage{asking: make(chan struct{}, 1)}}
}

// New checks the configuration.
func New(cfg Config) (*Service, error) {
	cfg.Replicas = cmp.Or(cfg.Replicas, 1)
	cfg.Partition = cmp.Or(cfg.Partition, "scw")
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Connect == nil || cfg.Control == nil || len(cfg.HandleKey) != 32 {
		return nil, &mnq.Error{Kind: mnq.Internal, Op: "queue.New", Msg: "Connect, Control and a HandleKey of 32 bytes are required"}
	}
	s, err := newSealer(cfg.HandleKey)
	if err != nil {
		return nil, err
	}
	svc := &Service{
		cfg: cfg, log: cfg.Log, sealer: s, self: newProcess(), loaded: make(chan struct{}), maxInFlight: MaxInFlight,
		patience: node.PatienceFor(cfg.Replicas),
		spaces:   map[string]*space{}, ids: map[string]*Queue{}, making: places{},
	}
	svc.ledger, svc.tasks, svc.charts = newLedger(svc), newTasks(svc), newCharts(svc)
	return svc, nil
}

// Start opens the definitions and returns when all have been read.
func (s *Service) Start(ctx context.Context) error {
	kv, err := node.OpenBucket(ctx, s.cfg.Control, node.BucketConfig{Name: bucket, Description: "queue definitions", Replicas: s.cfg.Replicas})
	if err != nil {
		return err
	}
	s.kv = kv
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.run, s.stop = run, stop
	s.done.Go(func() {
		keepWatching(s, kv, s.loaded, func(e jetstream.KeyValueEntry) { s.applyEntry(run, e) })
	})
	s.done.Go(func() { s.sweep(run) })
	s.done.Go(func() { s.scaleAll(run) })
	if err := s.ledger.start(ctx); err != nil {
		stop()
		return unavailable("queue.Start", flightBucket, err)
	}
	if err := s.tasks.start(ctx); err != nil {
		stop()
		return unavailable("queue.Start", taskBucket, err)
	}
	select {
	case <-s.loaded:
		s.tasks.poke()
		if s.cfg.Charts {
			s.done.Go(func() { s.charts.keep(s.run) })
		}
		return nil
	case <-ctx.Done():
		stop()
		return context.Cause(ctx)
	}
}

// Stop ends the background work and every waiting receive. It may be called
// twice and before Start.
func (s *Service) Stop(context.Context) error {
	if s.stop == nil {
		return nil
	}
	s.stop()
	s.done.Wait()
	s.charts.close()
	s.mu.Lock()
	spaces := s.spaces
	s.spaces = map[string]*space{}
	s.mu.Unlock()
	for _, sp := range spaces {
		sp.close()
	}
	return nil
}

func (s *Service) applyEntry(ctx context.Context, e jetstream.KeyValueEntry) {
	ns, name, ok := splitKey(e.Key())
	if !ok {
		return
	}
	if e.Operation() != jetstream.KeyValuePut {
		s.apply(ns, name, nil, e.Revision())
		return
	}
	r, err := decodeRecord(e)
	if err != nil {
		s.log.ErrorContext(ctx, "queue definition cannot be read", "error", err)
		return
	}
	s.apply(ns, name, &r, e.Revision())
}

// apply brings one definition up to date, unless a newer one is known already.
// A nil record means that there is none.
func (s *Service) apply(ns, name string, r *record, revision uint64) *Queue {
	s.mu.Lock()
	defer s.mu.Unlock()
	sp := s.spaces[ns]
	if sp == nil {
		if r == nil {
			return nil
		}
		sp = newSpace(ns)
		s.spaces[ns] = sp
	}
	q := sp.queues[name]
	if q != nil && q.revision >= revision {
		return q
	}
	if r == nil {
		if q != nil {
			q.gone()
			delete(sp.queues, name)
		}
		return nil
	}
	if old := q; old == nil || old.id != r.ID {
		if old != nil {
			old.gone()
		}
		q = &Queue{svc: s, space: sp, name: name, id: r.ID, closed: make(chan struct{}), creating: make(chan struct{}, 1), flight: newFlight(), commits: wire.NewCommitter(s.batchAlways)}
		q.lastSend.Store(time.Now().UnixNano()) // others may have sent just now
		if r.Settings.fifo() {
			q.fifo = newFIFO(q)
		}
		sp.queues[name] = q
		s.ids[q.id] = q
	} else if !q.record.Load().Purged.Equal(r.Purged) {
		q.flight.reset()
	}
	q.revision = revision
	q.record.Store(r)
	if r.State == stateDeleted {
		q.gone()
	}
	return q
}

// lookup returns the queue of that name in whatever state, or nil.
func (s *Service) lookup(ns, name string) *Queue {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if sp := s.spaces[ns]; sp != nil {
		return sp.queues[name]
	}
	return nil
}

// Queue returns the queue of that name, from memory. Missing, or deleted: kind
// NotFound, code QueueDoesNotExist.
func (s *Service) Queue(ns mnq.Namespace, name string) (*Queue, error) {
	if q := s.lookup(ns.ID, name); q != nil && q.record.Load().State != stateDeleted {
		return q, nil
	}
	return nil, missing(name)
}

// List returns names of queues that begin with prefix and come after after, in
// byte order, at most limit. more says that there are others.
func (s *Service) List(ns mnq.Namespace, prefix, after string, limit int) (names []string, more bool) {
	s.mu.RLock()
	if sp := s.spaces[ns.ID]; sp != nil {
		for name, q := range sp.queues {
			if name > after && len(name) >= len(prefix) && name[:len(prefix)] == prefix && q.record.Load().State != stateDeleted {
				names = append(names, name)
			}
		}
	}
	s.mu.RUnlock()
	return page(names, limit)
}

// page sorts names and returns the first of them, and whether there are more.
func page(names []string, limit int) ([]string, bool) {
	slices.Sort(names)
	if len(names) > limit {
		return names[:limit], true
	}
	return names, false
}

// Create makes a queue, or finds the one of that name when every attribute named
// in attrs has the same value there; otherwise kind Exists, code QueueNameExists.
// Other errors: Invalid (InvalidAttributeName, InvalidAttributeValue,
// InvalidParameterValue for the name), Conflict (QueueDeletedRecently, for a
// minute after a delete) and QuotaExceeded.
func (s *Service) Create(ctx context.Context, ns mnq.Namespace, name string, attrs, tags map[string]string) (*Queue, error) {
	want, err := newSettings(name, attrs, ns.Quota)
	if err != nil {
		return nil, err
	}
	if err := s.checkRedrive(ns, name, want); err != nil {
		return nil, err
	}
	if err := checkTags(name, tags); err != nil {
		return nil, err
	}
	for range 8 { // each turn is lost only to another process that got through
		q := s.lookup(ns.ID, name)
		if q != nil && q.record.Load().State != stateDeleted {
			if differing, yes := q.record.Load().Settings.differs(want, attrs); yes {
				return nil, &mnq.Error{
					Kind: mnq.Exists, Code: "QueueNameExists", Op: "queue.Create", Resource: name,
					Msg: "A queue already exists with the same name and a different value for attribute " + differing,
				}
			}
			return q, q.finishCreate(ctx)
		}
		q, err := s.create(ctx, ns, newQueue{name, want, tags, q})
		if err == nil {
			return q, q.finishCreate(ctx)
		}
		if !lostRace(err) {
			return nil, err
		}
		if err := s.refresh(ctx, ns.ID, name); err != nil {
			return nil, err
		}
	}
	return nil, unavailable("queue.Create", name, errors.New("too many others create and delete it"))
}

// newQueue is what create needs.
type newQueue struct {
	name string
	want settings
	tags map[string]string
	old  *Queue // the deleted queue that has the name still, or nil
}

func (s *Service) create(ctx context.Context, ns mnq.Namespace, in newQueue) (*Queue, error) {
	name, old := in.name, in.old
	now := time.Now().UTC()
	if !s.reserve(ns, name) {
		return nil, &mnq.Error{
			Kind: mnq.QuotaExceeded, Code: "OverLimit", Op: "queue.Create", Resource: name,
			Msg: "The namespace has as many queues as its quota allows. Delete one, or ask the operator for more.",
		}
	}
	defer s.vacate(ns, name)
	r := record{Version: 1, ID: nuid.Next(), State: stateCreating, Settings: in.want, Tags: in.tags, Created: now, Modified: now}
	value, err := r.encode()
	if err != nil {
		return nil, err
	}
	var revision uint64
	if old == nil {
		revision, err = s.kv.Create(ctx, key(ns.ID, name), value)
	} else {
		before := old.record.Load()
		if !s.cfg.LenientNames && now.Sub(before.Deleted) < nameHold {
			return nil, &mnq.Error{
				Kind: mnq.Conflict, Code: "QueueDeletedRecently", Op: "queue.Create", Resource: name,
				Msg: "You must wait 60 seconds after deleting a queue before you can create another with the same name.",
			}
		}
		if !before.Cleared {
			if err := s.clear(ctx, old); err != nil {
				return nil, err
			}
		}
		revision, err = s.kv.Update(ctx, key(ns.ID, name), value, old.rev())
	}
	if err != nil {
		return nil, storeError("queue.Create", name, err)
	}
	q := s.apply(ns.ID, name, &r, revision)
	q.mine.Store(q.id == r.ID)
	return q, nil
}

// refresh reads one definition from the store.
func (s *Service) refresh(ctx context.Context, ns, name string) error {
	e, err := s.kv.Get(ctx, key(ns, name))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if sp := s.spaces[ns]; sp != nil && sp.queues[name] != nil {
			sp.queues[name].gone()
			delete(sp.queues, name)
		}
		return nil
	}
	if err != nil {
		return storeError("queue.refresh", name, err)
	}
	s.applyEntry(ctx, e)
	return nil
}

// connection returns the namespace's wire, made on first use and again after its
// connection was closed.
func (s *Service) connection(ctx context.Context, sp *space) (*link, error) {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if sp.link != nil && !sp.link.Conn().IsClosed() {
		return sp.link, nil
	}
	nc, js, err := s.cfg.Connect(ctx, sp.id)
	if err != nil {
		return nil, err
	}
	if sp.link != nil {
		sp.link.Drop()
		sp.link = nil // it cannot be closed twice
	}
	w, err := newLink(nc, js, s.patience)
	if err != nil {
		return nil, unavailable("queue.connect", sp.id, err)
	}
	sp.link = w
	return w, nil
}

func (sp *space) close() {
	sp.mu.Lock()
	defer sp.mu.Unlock()
	if sp.link != nil {
		sp.link.Drop()
		sp.link = nil
	}
}

func missing(name string) error {
	return &mnq.Error{
		Kind: mnq.NotFound, Code: "QueueDoesNotExist", Op: "queue", Resource: name,
		Msg: "The specified queue does not exist.",
	}
}

// storeError turns a failure of the definitions' store into ours. A lost race
// stays what it is, for the caller to try again.
func storeError(op, name string, err error) error {
	if lostRace(err) {
		return err
	}
	return unavailable(op, name, err)
}
