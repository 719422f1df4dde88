package topic

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/time/rate"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/service"
	"github.com/openmnq/mnq/internal/wire"
	"github.com/openmnq/mnq/queue"
)

// Config says what a Service works with. The first four fields, Key and PublicURL
// are required.
type Config struct {
	// Connect returns this process's connection to a namespace's account.
	Connect func(ctx context.Context, namespaceID string) (*nats.Conn, jetstream.JetStream, error)
	// Control is the control account, where the definitions are kept.
	Control jetstream.JetStream
	// Queues are where messages for SQS subscriptions and dead letters go.
	Queues *queue.Service
	// Namespace returns a namespace as it is now; it must answer from memory.
	Namespace func(namespaceID string) (mnq.Namespace, error)
	// Key makes tokens and seals the signing key, the same in every process.
	Key [32]byte
	// Replicas is the number of copies of each stream.
	Replicas int
	// Partition is part of ARNs; default "scw".
	Partition string
	// PublicURL returns the base of SubscribeURL, UnsubscribeURL and SigningCertURL,
	// without a slash at the end.
	PublicURL func() string
	// Accepts returns nil when new messages may be stored, else an error for the
	// client; it is asked for every publish, so it must answer from memory. nil: always.
	Accepts func(ctx context.Context) error
	// Exists reports whether the namespace is known, and false for sure when the
	// directory is not up to date. It tells definitions that were left behind from
	// those in use; nil: none are ever taken for left behind.
	Exists func(namespaceID string) (exists, sure bool)
	// Egress says where http, https and lambda subscriptions may lead.
	Egress EgressConfig
	// Undelivered lets sms and email subscriptions be made. They are listed and never
	// delivered to.
	Undelivered bool
	// Took is told how long each attempt at a delivery took, by protocol; it must not
	// block. nil: nobody is.
	Took func(protocol string, took time.Duration)
	// Tracer makes spans of publishing and of deliveries; nil makes none.
	Tracer *service.Tracer
	Log    *slog.Logger
}

// Service keeps all topics of all namespaces. It is safe for concurrent use, and any
// number of processes may run one on the same installation.
type Service struct {
	cfg  Config
	log  *slog.Logger
	defs *follower

	egress     *egress
	signer     *signer
	seal       endpointSeal
	strangers  *rate.Limiter // of questions to the store that anybody can cause
	misses     *rate.Limiter // of those that tenants can
	deliveries *deliveries
	attempts   *attemptLog
	asks       *askLimits
	direct     *direct
	streams    streamsOf
	bridges    *bridges
	tender     tender

	run  context.Context // of the background work, from Start to Stop
	stop context.CancelFunc
	done sync.WaitGroup

	ending sync.RWMutex // held to set ended, so that nothing new begins while Stop waits
	ended  bool

	mu     sync.RWMutex
	spaces map[string]*space
	topics map[string]*Topic              // by incarnation, those that are not gone
	subs   map[string]*subscribers        // by topic incarnation
	byID   map[string]*subscriptionRecord // all subscriptions
	making map[string]int                 // topics that are being made, by namespace
	conns  map[string]*connection         // by namespace

	unreadable map[string]bool // namespaces with definitions that this program does not read: nothing there is swept
}

// space is one namespace.
type space struct {
	id     string
	topics map[string]*Topic // by name, guarded by Service.mu
	tally  tally
}

// New checks the configuration.
func New(cfg Config) (*Service, error) {
	cfg.Replicas = cmp.Or(cfg.Replicas, 1)
	cfg.Partition = cmp.Or(cfg.Partition, "scw")
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Connect == nil || cfg.Control == nil || cfg.Queues == nil || cfg.Namespace == nil || cfg.PublicURL == nil || cfg.Key == [32]byte{} {
		return nil, &mnq.Error{Kind: mnq.Internal, Op: "topic.New", Msg: "Connect, Control, Queues, Namespace, PublicURL and Key are required"}
	}
	s := &Service{
		cfg: cfg, log: cfg.Log, spaces: map[string]*space{}, topics: map[string]*Topic{},
		subs: map[string]*subscribers{}, byID: map[string]*subscriptionRecord{},
		making: map[string]int{}, conns: map[string]*connection{}, unreadable: map[string]bool{}, egress: newEgress(cfg.Egress),
		strangers: rate.NewLimiter(10, 10), misses: rate.NewLimiter(100, 100), direct: newDirect(), bridges: newBridges(),
	}
	var err error
	if s.seal, err = newEndpointSeal(cfg.Key); err != nil {
		return nil, err
	}
	if s.signer, err = newSigner(cfg.Control, cfg.Key, cfg.Replicas, cfg.PublicURL); err != nil {
		return nil, err
	}
	s.deliveries, s.attempts, s.asks = newDeliveries(s), newAttemptLog(s), newAskLimits()
	s.defs = newFollower(cfg.Control, bucket, cfg.Log, s.apply)
	return s, nil
}

// Start opens the definitions and returns when all have been read.
func (s *Service) Start(ctx context.Context) error {
	if err := s.defs.open(ctx, s.cfg.Replicas); err != nil {
		return unavailable("topic.Start", bucket, err)
	}
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	s.run, s.stop = run, stop
	s.done.Go(func() { s.defs.run(run) })
	select {
	case <-s.defs.loaded:
	case <-ctx.Done():
		stop()
		return context.Cause(ctx)
	}
	s.done.Go(func() { s.sweep(run) })
	s.done.Go(func() { s.tend(run) })
	s.done.Go(func() { s.attempts.run(run) })
	return nil
}

// Stop ends the background work. Attempts at deliveries under way have a few seconds;
// what is cut off then another process begins again. It may be called twice and before
// Start.
func (s *Service) Stop(ctx context.Context) error {
	if s.stop == nil {
		return nil
	}
	s.stop()
	s.ending.Lock()
	s.ended = true
	s.ending.Unlock()
	defer s.deliveries.cutIn(ctx, stopGrace)()
	s.done.Wait()
	s.closeConnections(ctx)
	s.egress.stop()
	return nil
}

// background runs f on a goroutine that Stop waits for, unless the service is stopping.
func (s *Service) background(f func()) bool {
	s.ending.RLock()
	defer s.ending.RUnlock()
	if s.ended {
		return false
	}
	s.done.Go(f)
	return true
}

// apply takes over one definition, or its removal.
func (s *Service) apply(key string, value []byte, revision uint64) {
	if strings.HasPrefix(key, bridgePrefix) {
		s.applyBridge(key, value, revision)
		return
	}
	if value == nil {
		s.forget(key)
		return
	}
	r, sub, err := decodeDefinition(key, value, revision)
	if err == nil && sub != nil {
		err = s.seal.reveal(key, sub)
	}
	switch {
	case err != nil:
		s.mu.Lock()
		if t := strings.SplitN(key, ".", 3); len(t) == 3 {
			s.unreadable[t[1]] = true
		}
		s.mu.Unlock()
		s.log.Error("topic definition cannot be read", "error", err)
	case r != nil:
		s.applyTopic(key, r, revision)
	default:
		s.applySubscription(sub)
	}
}

func (s *Service) forget(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := strings.SplitN(key, ".", 3)
	if len(t) != 3 {
		return
	}
	sp := s.spaces[t[1]]
	if t[0] == "t" && sp != nil && sp.topics[t[2]] != nil {
		s.goneLocked(sp.topics[t[2]])
		delete(sp.topics, t[2])
		return
	}
	if id, _, ok := strings.Cut(t[2], "."); ok && t[0] == "s" && s.subs[id] != nil {
		if old := s.subs[id].remove(key); old != nil {
			delete(s.byID, old.ID)
			s.deliveries.gone(s.topics[old.topicID], old.ID)
		}
		if s.subs[id].empty() {
			delete(s.subs, id)
		}
	}
}

func (s *Service) applyTopic(key string, r *record, revision uint64) {
	t := strings.SplitN(key, ".", 3)
	if len(t) != 3 {
		return
	}
	ns, name := t[1], t[2]
	s.mu.Lock()
	defer s.mu.Unlock()
	sp := s.spaces[ns]
	if sp == nil {
		sp = &space{id: ns, topics: map[string]*Topic{}}
		s.spaces[ns] = sp
	}
	old := sp.topics[name]
	if old == nil || old.id != r.ID {
		if old != nil {
			s.goneLocked(old)
		}
		sp.topics[name] = &Topic{svc: s, namespaceID: ns, name: name, id: r.ID, all: &sp.tally, closed: make(chan struct{}), creating: make(chan struct{}, 1)}
	}
	topic := sp.topics[name]
	topic.state.Store(&state{record: r, revision: revision})
	s.topics[topic.id] = topic
	if !r.Deleted.IsZero() {
		s.goneLocked(topic)
	}
	s.tender.touch(topic.id)
}

// goneLocked ends what waits for a topic that is gone. The caller holds mu.
func (s *Service) goneLocked(t *Topic) {
	t.gone()
	delete(s.topics, t.id)
	s.tender.touch(t.id)
}

func (s *Service) applySubscription(r *subscriptionRecord) {
	s.mu.Lock()
	defer s.mu.Unlock()
	set := s.subs[r.topicID]
	if set == nil {
		set = newSubscribers(r.namespaceID)
		s.subs[r.topicID] = set
	}
	if old := set.put(r); old != nil && old.ID != r.ID {
		delete(s.byID, old.ID)
	}
	s.byID[r.ID] = r
	s.tender.touch(r.topicID)
}

// lookup returns the topic of that name in whatever state, or nil.
func (s *Service) lookup(namespaceID, name string) *Topic {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if sp := s.spaces[namespaceID]; sp != nil {
		return sp.topics[name]
	}
	return nil
}

// Topic returns the topic of that name, from memory. Missing, or deleted: kind and code
// NotFound.
func (s *Service) Topic(ns mnq.Namespace, name string) (*Topic, error) {
	if t := s.lookup(ns.ID, name); t != nil && !t.deleted() {
		return t, nil
	}
	return nil, missing(name)
}

// Find is Topic for who must be sure: what is not known here may have been made by
// another process a moment ago and is looked for in the store.
func (s *Service) Find(ctx context.Context, ns mnq.Namespace, name string) (*Topic, error) {
	t, err := s.Topic(ns, name)
	if err != nil && s.hear(ctx) {
		return s.Topic(ns, name)
	}
	return t, err
}

// hear waits for the news of other processes, unless that was asked for too often of
// late.
func (s *Service) hear(ctx context.Context) bool {
	if !s.misses.Allow() {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, wire.Timeout)
	defer cancel()
	return s.defs.fresh(ctx) == nil
}

// List returns names of topics that come after after, in byte order, at most limit.
// more says that there are others.
func (s *Service) List(ns mnq.Namespace, after string, limit int) (names []string, more bool) {
	s.mu.RLock()
	if sp := s.spaces[ns.ID]; sp != nil {
		for name, t := range sp.topics {
			if name > after && !t.deleted() {
				names = append(names, name)
			}
		}
	}
	s.mu.RUnlock()
	slices.Sort(names)
	if len(names) > limit {
		return names[:limit], true
	}
	return names, false
}

func missing(name string) error {
	return &mnq.Error{Kind: mnq.NotFound, Code: "NotFound", Op: "topic", Resource: name, Msg: "Topic does not exist"}
}

// unavailable is the error for an outcome that nobody knows.
func unavailable(op, resource string, err error) error {
	return &mnq.Error{Kind: mnq.Unavailable, Op: op, Resource: resource, Msg: "The storage does not answer. Please try again.", Err: err}
}

// invalid is the error for a parameter that is wrong; text follows SNS's prefix.
func invalid(text string) error {
	return &mnq.Error{Kind: mnq.Invalid, Code: "InvalidParameter", Op: "topic", Msg: "Invalid parameter: " + text}
}
