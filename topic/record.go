package topic

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// bucket holds the definitions of all topics and subscriptions, in the control
// account. Keys are t.<namespace id>.<topic name> and
// s.<namespace id>.<topic incarnation>.<hash of protocol and endpoint>.
const bucket = "mnq_topics"

// record is a topic's definition as it is stored.
type record struct {
	Version        int               `json:"v"`
	ID             string            `json:"id"`              // of this incarnation: names stream, subjects and subscriptions
	Ready          bool              `json:"ready,omitempty"` // the stream was made; if it is missing, something is broken
	Settings       settings          `json:"settings,omitempty"`
	Tags           map[string]string `json:"tags,omitempty"`
	DataProtection string            `json:"data_protection,omitempty"`
	Created        time.Time         `json:"created"`
	Deleted        time.Time         `json:"deleted,omitzero"` // being deleted since; the stream may still be there
}

func topicKey(namespaceID, name string) string { return "t." + namespaceID + "." + name }

func (r *record) encode() ([]byte, error) { return json.Marshal(r) }

// The names of what belongs to one incarnation of a topic.
func (r *record) stream() string              { return "t_" + r.ID }
func (r *record) subjects() string            { return "t." + r.ID + ".>" }
func (r *record) queued(key string) string    { return "t." + r.ID + ".m." + key }
func (r *record) past(key string) string      { return "t." + r.ID + ".p." + key }
func (r *record) keyOf(subject string) string { return strings.TrimPrefix(subject, r.queued("")) }
func (r *record) sameDedup(key string) string { return "t." + r.ID + ".*." + key }
func (r *record) deliveries() string          { return "t." + r.ID + ".d.>" }
func (r *record) delivery(s string) string    { return "t." + r.ID + ".d." + s }

func (r *record) fifo() bool { return r.Settings[attrFifo] == "true" }

// published covers what is published: one subject, or in a FIFO topic one for each
// deduplication id.
func (r *record) published() string {
	if r.fifo() {
		return r.queued("*")
	}
	return r.queued("0")
}

// fanOutConsumer is the durable consumer of what is published.
const fanOutConsumer = "f"

// fanOutWait is how long a published message stays with a process that has died
// before it fanned it out.
const fanOutWait = 15 * time.Second

func (r *record) streamConfig(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: r.stream(), Subjects: []string{r.subjects()},
		Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage, Replicas: replicas,
		MaxMsgs: -1, MaxBytes: -1, MaxMsgsPerSubject: -1, // a byte limit would drop the oldest: the account's quota refuses instead
		Duplicates: time.Minute, AllowDirect: true, AllowAtomicPublish: true, AllowMsgTTL: true,
	}
}

func (r *record) fanOutConfig(replicas int) jetstream.ConsumerConfig {
	atOnce := 10_000
	if r.fifo() {
		atOnce = 1 // who has it has the turn
	}
	return jetstream.ConsumerConfig{
		Durable: fanOutConsumer, FilterSubject: r.published(),
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: fanOutWait, MaxDeliver: -1,
		MaxAckPending: atOnce, MaxWaiting: 4096, Replicas: replicas,
	}
}

// The states of a subscription.
const (
	statePending   = "pending"   // waits for its endpoint's confirmation
	stateConfirmed = "confirmed" // gets messages
	stateRemoved   = "removed"   // of protocol http(s), for as long as its endpoint may restore it
)

// subscriptionRecord is a subscription's definition as it is stored. Whoever reads
// one from memory must not change it.
type subscriptionRecord struct {
	Version   int       `json:"v"`
	ID        string    `json:"id"` // UUID, the last part of its ARN
	Topic     string    `json:"topic"`
	Protocol  string    `json:"protocol"`
	Endpoint  string    `json:"endpoint"`
	Sealed    []byte    `json:"sealed,omitempty"` // the endpoint, when it has a password in it: see endpointSeal
	Owner     string    `json:"owner"`            // account
	Principal string    `json:"principal"`        // who subscribed
	State     string    `json:"state"`
	Settings  settings  `json:"settings,omitempty"`
	From      uint64    `json:"from"`  // messages after this sequence of the topic's stream are for it
	Token     int       `json:"token"` // number of the confirmation token in force
	Created   time.Time `json:"created"`
	Changed   time.Time `json:"changed"`          // its state
	Parked    bool      `json:"parked,omitempty"` // of protocol sqs: it has had to be delivered to by itself

	Authenticated      bool `json:"authenticated,omitempty"`       // confirmed by a signed call
	SignedUnsubscribes bool `json:"signed_unsubscribes,omitempty"` // AuthenticateOnUnsubscribe

	// Of its place.
	namespaceID string
	topicID     string
	key         string
	revision    uint64

	filter *Filter // compiled from its settings; nil matches everything
}

// delivered reports whether its messages are delivered one by one.
func (r *subscriptionRecord) delivered() bool {
	return r.Protocol == protoHTTP || r.Protocol == protoHTTPS || r.Protocol == protoLambda || r.Protocol == protoNATS
}

// waits reports whether there may be deliveries of its own.
func (r *subscriptionRecord) waits() bool { return r.delivered() || r.Parked }

// subscriptionKey is the place of a subscription. There is one place for each
// endpoint, so that nobody subscribes one twice.
func subscriptionKey(namespaceID, topicID, protocol, endpoint string) string {
	sum := sha256.Sum256([]byte(protocol + "\x00" + endpoint))
	return "s." + namespaceID + "." + topicID + "." + hex.EncodeToString(sum[:16])
}

const recordVersion = 1

// decodeDefinition reads what lies under a key into one of the two results.
func decodeDefinition(key string, value []byte, revision uint64) (*record, *subscriptionRecord, error) {
	var version struct {
		V int `json:"v"`
	}
	if err := json.Unmarshal(value, &version); err != nil {
		return nil, nil, fmt.Errorf("definition of %s: %w", key, err)
	}
	if version.V != recordVersion {
		return nil, nil, fmt.Errorf("definition of %s has version %d, this mnq reads %d", key, version.V, recordVersion)
	}
	if strings.HasPrefix(key, "t.") {
		r := new(record)
		return r, nil, json.Unmarshal(value, r)
	}
	s := new(subscriptionRecord)
	if err := json.Unmarshal(value, s); err != nil {
		return nil, nil, fmt.Errorf("definition of %s: %w", key, err)
	}
	s.place(key, revision)
	scope, err := ParseScope(cmp.Or(s.Settings[attrFilterScope], ScopeAttributes.String()))
	if err == nil {
		s.filter, err = CompileFilter(s.Settings[attrFilter], scope)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("filter policy of %s: %w", key, err)
	}
	return nil, s, nil
}

func (r *subscriptionRecord) place(key string, revision uint64) {
	if t := strings.Split(key, "."); len(t) == 4 {
		r.namespaceID, r.topicID = t[1], t[2]
	}
	r.key, r.revision = key, revision
}
