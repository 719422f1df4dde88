package topic

import (
	"context"
	"errors"
	"maps"
	"regexp"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/wire"
)

// Topic is one topic. It stays valid after the topic was deleted; its methods then
// return NotFound. It is safe for concurrent use.
type Topic struct {
	svc         *Service
	namespaceID string
	name        string
	id          string // of the incarnation
	state       atomic.Pointer[state]
	closed      chan struct{} // closed when the topic is gone
	creating    chan struct{} // holds a token while this process makes the stream or waits for it
	mine        atomic.Bool   // this process wrote the definition, so it makes the stream
	tally       tally
	all         *tally // of the namespace
}

// state is a topic's definition and its revision. Whoever reads one must not change it.
type state struct {
	*record
	revision uint64
}

// Name returns the topic's name.
func (t *Topic) Name() string { return t.name }

// ARN returns the topic's resource name; ns is the namespace that it is in:
// arn:{partition}:sns:{region}:{account}:{name}.
func (t *Topic) ARN(ns mnq.Namespace) string { return t.svc.arn(ns, t.name) }

func (s *Service) arn(ns mnq.Namespace, name string) string {
	return "arn:" + s.cfg.Partition + ":sns:" + ns.Region + ":" + ns.Account() + ":" + name
}

// FIFO reports whether the topic is a FIFO topic, which its name tells.
func (t *Topic) FIFO() bool { return isFIFO(t.name) }

func isFIFO(name string) bool { return strings.HasSuffix(name, ".fifo") }

func (t *Topic) deleted() bool { return !t.state.Load().Deleted.IsZero() }

// gone ends what waits for the topic. The caller holds Service.mu.
func (t *Topic) gone() {
	select {
	case <-t.closed:
	default:
		close(t.closed)
	}
}

// NewTopic is what Create makes.
type NewTopic struct {
	Name           string
	Attributes     map[string]string
	Tags           map[string]string
	DataProtection string
}

var nameRule = regexp.MustCompile(`^[A-Za-z0-9_-]{1,256}$`)

func checkName(name string, fifo bool) error {
	base, suffixed := strings.CutSuffix(name, ".fifo")
	if !nameRule.MatchString(base) || len(name) > 256 || suffixed != fifo {
		return invalid("Topic Name")
	}
	return nil
}

// Create makes a topic, or finds the one of that name when every attribute and tag
// given has the same value there. Errors: Invalid (InvalidParameter), QuotaExceeded
// (TopicLimitExceeded, TagLimitExceeded, and InvalidParameter when the namespace's
// storage is full).
func (s *Service) Create(ctx context.Context, ns mnq.Namespace, in NewTopic) (*Topic, error) {
	want, err := newSettings(in.Attributes)
	if err != nil {
		return nil, err
	}
	if err := checkName(in.Name, want[attrFifo] == "true"); err != nil {
		return nil, err
	}
	if err := checkTags(in.Tags); err != nil {
		return nil, err
	}
	for range maxRaces {
		t := s.lookup(ns.ID, in.Name)
		if t != nil && !t.deleted() {
			if err := t.sameAs(want, in); err != nil {
				return nil, err
			}
			return t, t.ready(ctx)
		}
		err := s.create(ctx, ns, in, want, t)
		if err == nil {
			continue // it is there now
		}
		if !wire.LostRace(err) {
			return nil, err
		}
		if err := s.defs.fresh(ctx); err != nil {
			return nil, unavailable("topic.Create", in.Name, err)
		}
	}
	return nil, unavailable("topic.Create", in.Name, errBusy)
}

// maxRaces is how often a change is tried again that was too late each time.
const maxRaces = 16

var errBusy = errors.New("too many others change it")

// sameAs refuses to take the topic for one with other attributes or tags.
func (t *Topic) sameAs(want settings, in NewTopic) error {
	st := t.state.Load()
	for name := range in.Attributes {
		if st.Settings[name] != want[name] {
			return invalid("Attributes Reason: Topic already exists with different attributes")
		}
	}
	for key, value := range in.Tags {
		if have, ok := st.Tags[key]; !ok || have != value {
			return invalid("Tags Reason: Topic already exists with different tags")
		}
	}
	return nil
}

// create writes the definition of a topic whose name is free, or taken by old, which is
// deleted.
func (s *Service) create(ctx context.Context, ns mnq.Namespace, in NewTopic, want settings, old *Topic) error {
	if !s.reserve(ns, in.Name) {
		return &mnq.Error{
			Kind: mnq.QuotaExceeded, Code: "TopicLimitExceeded", Op: "topic.Create", Resource: in.Name,
			Msg: "The namespace has as many topics as its quota allows. Delete one, or ask the operator for more.",
		}
	}
	defer s.vacate(ns)
	r := &record{
		Version: recordVersion, ID: nuid.Next(), Settings: want, Tags: maps.Clone(in.Tags),
		DataProtection: in.DataProtection, Created: time.Now().UTC(),
	}
	value, err := r.encode()
	if err != nil {
		return err
	}
	key := topicKey(ns.ID, in.Name)
	if old == nil {
		err = s.defs.create(ctx, key, value)
	} else {
		before := old.state.Load()
		if err := s.removeStream(ctx, old.namespaceID, before.record); err != nil {
			return err
		}
		err = s.defs.update(ctx, key, value, before.revision)
	}
	if t := s.lookup(ns.ID, in.Name); err == nil && t != nil && t.id == r.ID {
		t.mine.Store(true)
	}
	return s.stored("topic.Create", in.Name, err)
}

// stored turns a failure of the definitions' store into ours. A lost race stays what
// it is, for the caller to try again.
func (s *Service) stored(op, resource string, err error) error {
	if err == nil || wire.LostRace(err) {
		return err
	}
	return unavailable(op, resource, err)
}

// reserve takes a place for a topic unless the namespace has as many as its quota
// allows, those included that this process is making. Every success is followed by
// one vacate. Two processes at once may still exceed the quota.
func (s *Service) reserve(ns mnq.Namespace, name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := int64(s.making[ns.ID])
	if sp := s.spaces[ns.ID]; sp != nil {
		for other, t := range sp.topics {
			if other != name && !t.deleted() {
				n++
			}
		}
	}
	if limit := ns.Quota.Topics; limit >= 0 && n >= limit {
		return false
	}
	s.making[ns.ID]++
	return true
}

func (s *Service) vacate(ns mnq.Namespace) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.making[ns.ID]--; s.making[ns.ID] <= 0 {
		delete(s.making, ns.ID)
	}
}

// takeOver is how long a creation that another process has begun may take before this
// one assumes that the other has died and finishes it.
const takeOver = 5 * time.Second

// ready returns when the topic's stream is there. Who wrote the definition makes it;
// anybody else waits for that, and makes it in the end. The server does not take well to
// several that make the same at once.
func (t *Topic) ready(ctx context.Context) error {
	if t.state.Load().Ready {
		return nil
	}
	select {
	case t.creating <- struct{}{}:
		defer func() { <-t.creating }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for give := time.Now().Add(takeOver); !t.mine.Load() && time.Now().Before(give); {
		if t.state.Load().Ready {
			return nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-t.closed:
			return missing(t.name)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if t.state.Load().Ready {
		return nil
	}
	return t.makeReady(ctx)
}

func (t *Topic) makeReady(ctx context.Context) error {
	const op = "topic.Create"
	st := t.state.Load()
	_, js, err := t.svc.cfg.Connect(ctx, t.namespaceID)
	if err != nil {
		return err
	}
	if err := wire.CreateStream(ctx, js, st.streamConfig(t.svc.cfg.Replicas)); err != nil {
		return t.createError(ctx, err)
	}
	if _, err := js.CreateConsumer(ctx, st.stream(), st.fanOutConfig(t.svc.cfg.Replicas)); err != nil && !errors.Is(err, jetstream.ErrConsumerExists) {
		return t.createError(ctx, err)
	}
	err = t.change(ctx, op, func(r *record) error {
		r.Ready = true
		return nil
	})
	if mnq.IsNotFound(err) { // deleted meanwhile, maybe before its stream was there
		err = errors.Join(err, t.svc.removeStream(ctx, t.namespaceID, st.record))
	}
	return err
}

// createError says why a stream could not be made. When the quota is in the way the
// definition is taken back, so that the refused call has changed nothing.
func (t *Topic) createError(ctx context.Context, err error) error {
	if !wire.OverQuota(err) {
		return unavailable("topic.Create", t.name, err)
	}
	if e := t.svc.defs.remove(ctx, topicKey(t.namespaceID, t.name), t.state.Load().revision); e != nil && !wire.LostRace(e) {
		err = errors.Join(err, e)
	}
	return storageFull("topic.Create", t.name, err)
}

func storageFull(op, name string, err error) error {
	return &mnq.Error{
		Kind: mnq.QuotaExceeded, Code: "OverLimit", Op: op, Resource: name, Err: err,
		Msg: "The storage quota of the namespace is used up. Delete or purge messages, or ask the operator for more.",
	}
}

// change rewrites the definition by compare-and-set until it holds. f gets a copy and
// may refuse with an error; it is called again after a lost race.
func (t *Topic) change(ctx context.Context, op string, f func(*record) error) error {
	for range maxRaces {
		st := t.state.Load()
		if t.deleted() || t.svc.lookup(t.namespaceID, t.name) != t {
			return missing(t.name)
		}
		r := *st.record
		r.Settings, r.Tags = maps.Clone(r.Settings), maps.Clone(r.Tags)
		if err := f(&r); err != nil {
			return err
		}
		value, err := r.encode()
		if err != nil {
			return err
		}
		err = t.svc.defs.update(ctx, topicKey(t.namespaceID, t.name), value, st.revision)
		if err == nil {
			return nil
		}
		if !wire.LostRace(err) {
			return unavailable(op, t.name, err)
		}
		if err := t.svc.defs.fresh(ctx); err != nil {
			return unavailable(op, t.name, err)
		}
	}
	return unavailable(op, t.name, errBusy)
}

// Delete removes a topic with its subscriptions and what has not been delivered yet.
// Deleting what does not exist succeeds.
func (s *Service) Delete(ctx context.Context, ns mnq.Namespace, name string) error {
	const op = "topic.Delete"
	t := s.lookup(ns.ID, name)
	if t == nil { // another process may have made it a moment ago
		if err := s.defs.fresh(ctx); err != nil {
			return unavailable(op, name, err)
		}
		if t = s.lookup(ns.ID, name); t == nil {
			return nil
		}
	}
	err := t.change(ctx, op, func(r *record) error {
		r.Deleted = time.Now().UTC()
		return nil
	})
	if err != nil && !mnq.IsNotFound(err) {
		return err
	}
	return s.clear(ctx, t)
}

// clear removes what a deleted topic leaves behind, and then its definition. It may be
// repeated.
func (s *Service) clear(ctx context.Context, t *Topic) error {
	if err := s.removeStream(ctx, t.namespaceID, t.state.Load().record); err != nil {
		return err
	}
	if err := s.removeSubscriptions(ctx, t.id); err != nil {
		return err
	}
	st := t.state.Load()
	if s.lookup(t.namespaceID, t.name) != t || st.Deleted.IsZero() {
		return nil // somebody else was faster
	}
	err := s.stored("topic.Delete", t.name, s.defs.remove(ctx, topicKey(t.namespaceID, t.name), st.revision))
	if wire.LostRace(err) {
		return nil
	}
	return err
}

func (s *Service) removeStream(ctx context.Context, namespaceID string, r *record) error {
	_, js, err := s.cfg.Connect(ctx, namespaceID)
	if err != nil {
		return err
	}
	if err := js.DeleteStream(ctx, r.stream()); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return unavailable("topic.Delete", r.stream(), err)
	}
	return nil
}

// removeSubscriptions removes the definitions of a topic's subscriptions.
func (s *Service) removeSubscriptions(ctx context.Context, topicID string) error {
	for _, sub := range s.subscribers(topicID) {
		if err := s.stored("topic.Delete", sub.ID, s.defs.remove(ctx, sub.key, sub.revision)); err != nil && !wire.LostRace(err) {
			return err
		}
	}
	return nil
}

// DeleteAll deletes every topic of a namespace that goes on existing.
func (s *Service) DeleteAll(ctx context.Context, namespaceID string) error {
	if err := s.defs.fresh(ctx); err != nil {
		return unavailable("topic.DeleteAll", namespaceID, err)
	}
	ns := mnq.Namespace{ID: namespaceID}
	names, _ := s.List(ns, "", 1<<30)
	for _, name := range names {
		if err := s.Delete(ctx, ns, name); err != nil {
			return err
		}
	}
	return nil
}

// NamespaceGone forgets the topics of a namespace that has been deleted with all its
// streams. The definitions are removed in the background. Every process may call it,
// and again.
func (s *Service) NamespaceGone(namespaceID string) {
	s.mu.Lock()
	sp := s.spaces[namespaceID]
	delete(s.spaces, namespaceID)
	var topics []*Topic
	if sp != nil {
		for _, t := range sp.topics {
			s.goneLocked(t)
			topics = append(topics, t)
		}
	}
	s.mu.Unlock()
	s.bridgesGone(namespaceID)
	s.background(func() {
		s.closeConnections(s.run, namespaceID)
		for _, t := range topics {
			err := s.removeSubscriptions(s.run, t.id)
			if err == nil {
				err = s.defs.remove(s.run, topicKey(namespaceID, t.name), t.state.Load().revision)
			}
			if err != nil && !wire.LostRace(err) && s.run.Err() == nil {
				s.log.WarnContext(s.run, "definition of a deleted namespace's topic stays", "topic", t.name, "namespace_id", namespaceID, "error", err)
			}
		}
	})
}
