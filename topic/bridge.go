package topic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/wire"
)

// Bridge brings what is published on a subject of a NATS namespace to a queue or a
// topic of the same project, at least once: a stream of the namespace keeps it until
// the target has it.
type Bridge struct {
	ID        string // UUID
	Name      string
	ProjectID string
	Source    string // id of the NATS namespace
	Subject   string // may have wildcards
	Stream    string // that keeps the messages
	Own       bool   // the stream was made for the bridge and goes with it
	Target    BridgeTarget
	CreatedAt time.Time
}

// BridgeTarget is a queue or a topic.
type BridgeTarget struct {
	Namespace string      `json:"namespace"` // id
	Service   mnq.Service `json:"service"`   // ServiceSQS: a queue, ServiceSNS: a topic
	Name      string      `json:"name"`
}

// NewBridge is what CreateBridge makes.
type NewBridge struct {
	Name    string
	Source  mnq.Namespace
	Subject string
	Target  mnq.Namespace
	Service mnq.Service
	Of      string // name of the queue or topic
}

// bridgeRecord is a bridge as it is stored, under b.<source namespace>.<id> beside the
// topics.
type bridgeRecord struct {
	Version   int          `json:"v"`
	ID        string       `json:"id"`
	Name      string       `json:"name"`
	ProjectID string       `json:"project_id"`
	Subject   string       `json:"subject"`
	Stream    string       `json:"stream"`
	Own       bool         `json:"own"`
	Target    BridgeTarget `json:"target"`
	Created   time.Time    `json:"created"`
	Deleted   time.Time    `json:"deleted,omitzero"` // its consumer and stream may still be there

	source   string
	key      string
	revision uint64
}

const (
	bridgePrefix = "b."
	maxBridges   = 20 // of one NATS namespace
	maxHops      = 5  // bridges that a message may cross
)

// bridges are all bridges, in memory. Changes come through Service.apply.
type bridges struct {
	mu      sync.RWMutex
	byKey   map[string]*bridgeRecord
	sources map[string]*source // by bridge id
}

func newBridges() *bridges {
	return &bridges{byKey: map[string]*bridgeRecord{}, sources: map[string]*source{}}
}

func (r *bridgeRecord) shown() Bridge {
	return Bridge{
		ID: r.ID, Name: r.Name, ProjectID: r.ProjectID, Source: r.source, Subject: r.Subject,
		Stream: r.Stream, Own: r.Own, Target: r.Target, CreatedAt: r.Created,
	}
}

// applyBridge takes over a bridge, or its removal.
func (s *Service) applyBridge(key string, value []byte, revision uint64) {
	b := s.bridges
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.byKey, key)
	if value == nil {
		return
	}
	t := strings.SplitN(key, ".", 3)
	r := &bridgeRecord{key: key, revision: revision}
	if err := json.Unmarshal(value, r); err != nil || r.Version != recordVersion || len(t) != 3 {
		s.log.Error("bridge cannot be read", "key", key, "error", err)
		return
	}
	r.source = t[1]
	b.byKey[key] = r
	if !r.Deleted.IsZero() || b.sources[r.ID] != nil {
		return
	}
	x := s.bridgeSource(r)
	b.sources[r.ID] = x
	x.start()
}

// bridge returns a bridge that is not deleted, or nil.
func (b *bridges) bridge(id string) *bridgeRecord {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, r := range b.byKey {
		if r.ID == id && r.Deleted.IsZero() {
			return r
		}
	}
	return nil
}

func (b *bridges) all(keep func(*bridgeRecord) bool) (out []*bridgeRecord) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	for _, r := range b.byKey {
		if keep(r) {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(x, y *bridgeRecord) int { return strings.Compare(x.ID, y.ID) })
	return out
}

// Bridges lists the bridges of the projects that sees is true for, by id.
func (s *Service) Bridges(sees func(projectID string) bool) []Bridge {
	var out []Bridge
	for _, r := range s.bridges.all(func(r *bridgeRecord) bool { return r.Deleted.IsZero() && sees(r.ProjectID) }) {
		out = append(out, r.shown())
	}
	return out
}

// Bridge returns one bridge. Missing: kind NotFound, code "bridge".
func (s *Service) Bridge(id string) (Bridge, error) {
	if r := s.bridges.bridge(id); r != nil {
		return r.shown(), nil
	}
	return Bridge{}, noBridge(id)
}

func noBridge(id string) error {
	return &mnq.Error{Kind: mnq.NotFound, Code: "bridge", Op: "topic.Bridge", Resource: id, Msg: "The bridge does not exist."}
}

// TargetARN is the resource name of a bridge's target; ns is its namespace.
func (s *Service) TargetARN(ns mnq.Namespace, to BridgeTarget) string {
	return "arn:" + s.cfg.Partition + ":" + string(to.Service) + ":" + ns.Region + ":" + ns.Account() + ":" + to.Name
}

// BridgeState is how far a bridge has come.
type BridgeState struct {
	Waiting int64  // messages that the target does not have yet
	Fault   string // why nothing moves, in words; "" when all is well
}

// BridgeState asks how far a bridge has come.
func (s *Service) BridgeState(ctx context.Context, id string) (BridgeState, error) {
	r := s.bridges.bridge(id)
	if r == nil {
		return BridgeState{}, noBridge(id)
	}
	if _, err := s.bridgeTarget(r); err != nil {
		return BridgeState{Fault: "the target does not exist"}, nil //nolint:nilerr // it is the answer
	}
	_, js, err := s.cfg.Connect(ctx, r.source)
	if err != nil {
		return BridgeState{Fault: "the NATS namespace cannot be reached"}, nil //nolint:nilerr // it is the answer
	}
	c, err := js.Consumer(ctx, r.Stream, bridgeConsumer(r.ID))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return BridgeState{Fault: "the stream " + r.Stream + " does not exist any more"}, nil
	}
	if err != nil {
		return BridgeState{Fault: "its consumer does not answer"}, nil //nolint:nilerr // it is the answer
	}
	info, err := c.Info(ctx)
	if err != nil {
		return BridgeState{}, unavailable("topic.BridgeState", id, err)
	}
	return BridgeState{Waiting: int64(info.NumPending) + int64(info.NumAckPending)}, nil //nolint:gosec // a count
}

// CreateBridge makes a bridge. What is published on the subject after the call reaches
// the target. A stream of the namespace that keeps the whole subject already is used;
// otherwise one is made, which counts against the namespace's quota. Errors: Invalid,
// also when a stream keeps only a part of the subject; NotFound (code "queue" or "topic");
// QuotaExceeded.
func (s *Service) CreateBridge(ctx context.Context, in NewBridge) (Bridge, error) {
	const op = "topic.CreateBridge"
	if err := s.checkBridge(in); err != nil {
		return Bridge{}, err
	}
	r := &bridgeRecord{
		Version: recordVersion, ID: uuid.NewString(), Name: in.Name, ProjectID: in.Source.ProjectID, Subject: in.Subject,
		Target:  BridgeTarget{Namespace: in.Target.ID, Service: in.Service, Name: in.Of},
		Created: time.Now().UTC().Truncate(time.Microsecond), source: in.Source.ID,
	}
	r.key = bridgePrefix + in.Source.ID + "." + r.ID
	if _, err := s.bridgeTarget(r); err != nil {
		return Bridge{}, err
	}
	_, js, err := s.cfg.Connect(ctx, in.Source.ID)
	if err != nil {
		return Bridge{}, err
	}
	if err := r.findStream(ctx, js); err != nil {
		return Bridge{}, err
	}
	value, err := json.Marshal(r)
	if err != nil {
		return Bridge{}, err
	}
	if err := r.prepare(ctx, js); err != nil { // first, so that a refusal leaves nothing
		return Bridge{}, bridgeError(op, r, err)
	}
	if err := s.defs.create(ctx, r.key, value); err != nil {
		return Bridge{}, errors.Join(s.stored(op, in.Name, err), r.unmake(context.WithoutCancel(ctx), js))
	}
	return r.shown(), nil
}

// findStream chooses the stream that keeps the messages.
func (r *bridgeRecord) findStream(ctx context.Context, js jetstream.JetStream) error {
	const op = "topic.CreateBridge"
	name, err := js.StreamNameBySubject(ctx, r.Subject)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		r.Stream, r.Own = "mnq_bridge_"+r.ID, true
		return nil
	}
	if err != nil {
		return unavailable(op, r.source, err)
	}
	st, err := js.Stream(ctx, name)
	if err != nil {
		return unavailable(op, r.source, err)
	}
	if !slices.ContainsFunc(st.CachedInfo().Config.Subjects, func(kept string) bool { return covers(kept, r.Subject) }) {
		return overlap(op, r, nil)
	}
	r.Stream = name
	return nil
}

// covers reports whether every subject that the pattern b matches is matched by a.
func covers(a, b string) bool {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i, t := range x {
		switch {
		case t == ">":
			return len(y) > i
		case i >= len(y), y[i] == ">", t != "*" && t != y[i]:
			return false
		}
	}
	return len(x) == len(y)
}

// overlap is the error for a stream that keeps a part of a bridge's subject.
func overlap(op string, r *bridgeRecord, err error) error {
	return &mnq.Error{
		Kind: mnq.Invalid, Op: op, Resource: r.source, Field: "source.subject", Err: err,
		Msg: "A stream of the namespace keeps a part of the subject. Choose a subject that it keeps as a whole, or one that it does not keep.",
	}
}

func (s *Service) checkBridge(in NewBridge) error {
	bad := func(field, msg string) error {
		return &mnq.Error{Kind: mnq.Invalid, Op: "topic.CreateBridge", Field: field, Msg: msg}
	}
	switch {
	case in.Source.Protocol != mnq.ProtocolNATS:
		return bad("source.namespace_id", "must be a NATS namespace")
	case in.Target.Protocol != mnq.ProtocolSQSSNS:
		return bad("target_arn", "must be a queue or a topic")
	case in.Source.ProjectID != in.Target.ProjectID:
		return bad("target_arn", "must belong to the project of the NATS namespace")
	case !validSubject(in.Subject, true):
		return bad("source.subject", "must be a NATS subject of at most 255 bytes; wildcards are allowed, but not as the first token")
	}
	if n := len(s.bridges.all(func(r *bridgeRecord) bool { return r.source == in.Source.ID })); n >= maxBridges {
		return &mnq.Error{
			Kind: mnq.QuotaExceeded, Op: "topic.CreateBridge", Resource: "bridge",
			Msg: fmt.Sprintf("A NATS namespace has at most %d bridges.", maxBridges),
		}
	}
	return nil
}

// bridgeError says why a stream or consumer could not be made.
func bridgeError(op string, r *bridgeRecord, err error) error {
	const overlaps = 10065
	api, ok := errors.AsType[*jetstream.APIError](err)
	switch {
	case wire.OverQuota(err), ok && (api.ErrorCode == 10026 || api.ErrorCode == 10027 || api.ErrorCode == 10047):
		return &mnq.Error{
			Kind: mnq.QuotaExceeded, Op: op, Resource: r.source, Err: err,
			Msg: "The NATS namespace has no room for the bridge's stream or consumer. Raise its quota or remove others.",
		}
	case ok && api.ErrorCode == overlaps:
		return overlap(op, r, err)
	case ok && api.Code < 500:
		return &mnq.Error{
			Kind: mnq.Invalid, Op: op, Resource: r.source, Field: "source.subject", Err: err,
			Msg: "The stream " + r.Stream + " does not take the bridge: " + api.Description,
		}
	}
	return unavailable(op, r.source, err)
}

func bridgeConsumer(id string) string { return "mnq_bridge_" + id }

func (r *bridgeRecord) consumerConfig() jetstream.ConsumerConfig {
	c := jetstream.ConsumerConfig{
		Durable: bridgeConsumer(r.ID), FilterSubject: r.Subject, AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: bridgeWait, MaxDeliver: -1, MaxAckPending: bridgeWidth, DeliverPolicy: jetstream.DeliverNewPolicy,
	}
	if r.Own {
		c.DeliverPolicy = jetstream.DeliverAllPolicy
	}
	if isFIFO(r.Target.Name) {
		c.MaxAckPending = 1 // nothing overtakes what comes again
	}
	return c
}

// prepare makes what a bridge needs in its namespace, unless it is there.
func (r *bridgeRecord) prepare(ctx context.Context, js jetstream.JetStream) error {
	if r.Own {
		_, err := js.CreateStream(ctx, jetstream.StreamConfig{
			Name: r.Stream, Description: "kept for the bridge " + r.ID, Subjects: []string{r.Subject},
			Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage, MaxAge: bridgeRetention,
		})
		if err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return err
		}
	}
	_, err := js.CreateConsumer(ctx, r.Stream, r.consumerConfig())
	if errors.Is(err, jetstream.ErrConsumerExists) {
		return nil
	}
	return err
}

// unmake removes what prepare has made.
func (r *bridgeRecord) unmake(ctx context.Context, js jetstream.JetStream) error {
	var err error
	if r.Own {
		err = js.DeleteStream(ctx, r.Stream)
	} else {
		err = js.DeleteConsumer(ctx, r.Stream, bridgeConsumer(r.ID))
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrConsumerNotFound) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount) {
		return nil
	}
	return err
}

// DeleteBridge removes a bridge. What its own stream still keeps is gone with it.
func (s *Service) DeleteBridge(ctx context.Context, id string) error {
	const op = "topic.DeleteBridge"
	for range maxRaces {
		r := s.bridges.bridge(id)
		if r == nil {
			return noBridge(id)
		}
		gone := *r
		gone.Deleted = time.Now().UTC()
		value, err := json.Marshal(gone)
		if err != nil {
			return err
		}
		err = s.defs.update(ctx, r.key, value, r.revision)
		if err == nil {
			return s.clearBridge(ctx, id)
		}
		if !wire.LostRace(err) {
			return s.stored(op, id, err)
		}
		if err := s.defs.fresh(ctx); err != nil {
			return unavailable(op, id, err)
		}
	}
	return unavailable(op, id, errBusy)
}

// clearBridge finishes the deletion of a bridge; whoever sweeps does it again if need be.
func (s *Service) clearBridge(ctx context.Context, id string) error {
	for _, r := range s.bridges.all(func(r *bridgeRecord) bool { return r.ID == id && !r.Deleted.IsZero() }) {
		_, js, err := s.cfg.Connect(ctx, r.source)
		if err == nil {
			err = r.unmake(ctx, js)
		}
		if err != nil && !mnq.IsNotFound(err) { // without its namespace there is nothing
			return unavailable("topic.DeleteBridge", id, err)
		}
		if err := s.defs.remove(ctx, r.key, r.revision); err != nil && !wire.LostRace(err) {
			return unavailable("topic.DeleteBridge", id, err)
		}
	}
	return nil
}

// sweepBridges finishes deletions that were begun some time ago.
func (s *Service) sweepBridges(ctx context.Context, before time.Time) {
	for _, r := range s.bridges.all(func(r *bridgeRecord) bool { return !r.Deleted.IsZero() && r.Deleted.Before(before) }) {
		if err := s.clearBridge(ctx, r.ID); err != nil && ctx.Err() == nil {
			s.log.WarnContext(ctx, "deleted bridge not cleared yet", "bridge", r.ID, "namespace_id", r.source, "error", err)
		}
	}
}

// bridgesGone removes the bridges from and to a namespace that has been deleted.
func (s *Service) bridgesGone(namespaceID string) {
	for _, r := range s.bridges.all(func(r *bridgeRecord) bool { return r.source == namespaceID || r.Target.Namespace == namespaceID }) {
		s.background(func() {
			err := s.DeleteBridge(s.run, r.ID)
			if err != nil && !mnq.IsNotFound(err) && s.run.Err() == nil {
				s.log.WarnContext(s.run, "bridge of a deleted namespace stays", "bridge", r.ID, "namespace_id", namespaceID, "error", err)
			}
		})
	}
}
