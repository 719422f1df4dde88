package queue

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq/node"
)

// bucket holds the definitions of all queues, in the control account. Keys are
// <namespace id>.<queue name>.
const bucket = "mnq_queues"

// The states of a queue's definition. See DESIGN.md for the transitions.
const (
	stateCreating = "creating" // the stream may not be there yet; whoever comes across it finishes the work
	stateActive   = "active"   // the stream is there; if it is missing, something is broken
	stateDeleted  = "deleted"  // the name stays taken for a minute; the stream may still be there
)

// record is a queue's definition as it is stored.
type record struct {
	Version  int               `json:"v"`
	ID       string            `json:"id"` // of this incarnation: names stream, subjects and receipt handles
	State    string            `json:"state"`
	Settings settings          `json:"settings"`
	Tags     map[string]string `json:"tags,omitempty"`
	Created  time.Time         `json:"created"`
	Modified time.Time         `json:"modified"`
	Replicas int               `json:"replicas,omitempty"` // of the stream; 0 is 1
	Crowd    bool              `json:"crowd,omitempty"`    // there is a second track, see fair.go
	Purged   time.Time         `json:"purged,omitzero"`    // last PurgeQueue
	Deleted  time.Time         `json:"deleted,omitzero"`   // in stateDeleted
	Cleared  bool              `json:"cleared,omitempty"`  // in stateDeleted: the stream is gone
}

func key(namespaceID, name string) string { return namespaceID + "." + name }

func splitKey(k string) (namespaceID, name string, ok bool) { return strings.Cut(k, ".") }

func decodeRecord(e jetstream.KeyValueEntry) (record, error) {
	var r record
	if err := json.Unmarshal(e.Value(), &r); err != nil {
		return r, fmt.Errorf("definition of %s: %w", e.Key(), err)
	}
	if r.Version != 1 {
		return r, fmt.Errorf("definition of %s has version %d, this mnq reads 1", e.Key(), r.Version)
	}
	return r, nil
}

func (r record) encode() ([]byte, error) { return json.Marshal(r) }

// The names of what belongs to one incarnation of a queue.
func (r record) stream() string          { return "q_" + r.ID }
func (r record) subjects() string        { return "q." + r.ID + ".>" }
func (r record) ready() string           { return "q." + r.ID + ".r.0" }
func (r record) readyFilter() string     { return "q." + r.ID + ".r.>" }
func (r record) delayed(n string) string { return "q." + r.ID + ".d." + n }

// moved is the subject of a message that comes from another queue: one of its own,
// so that putting it there twice can be refused.
func (r record) moved(o origin) string {
	return "q." + r.ID + ".r.m." + o.queue + "." + strconv.FormatUint(o.seq, 10)
}

const consumerName = "c"

// ackWait is how long a message stays hidden that a process has pulled but not
// yet claimed: it died in between. Claiming is a NAK with the visibility timeout
// as its delay, because only that deadline survives a restart of the server.
//
// It is longer than a claim may take, so that nobody else gets the message meanwhile.
const ackWait = 2 * answerTimeout

// MaxInFlight is the number of received messages that a queue can have before
// ReceiveMessage answers OverLimit.
const MaxInFlight = 120_000

func (r record) streamConfig(replicas int) jetstream.StreamConfig {
	if r.Settings.fifo() {
		return r.fifoStreamConfig(replicas)
	}
	retention := r.Settings.seconds(attrRetention)
	return jetstream.StreamConfig{
		Name: r.stream(), Subjects: []string{r.subjects()},
		Retention: jetstream.WorkQueuePolicy, Storage: jetstream.FileStorage, Replicas: replicas,
		MaxMsgs: -1, MaxBytes: -1, MaxMsgsPerSubject: -1, // a byte limit would drop the oldest: the account's quota refuses instead
		MaxAge: retention, Duplicates: min(time.Minute, retention),
		AllowDirect: true, AllowAtomicPublish: true, AllowMsgSchedules: true, AllowMsgTTL: true,
	}
}

func (r record) consumerConfig(replicas int) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable: consumerName, FilterSubject: r.readyFilter(),
		AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxDeliver: -1,
		MaxAckPending: MaxInFlight, MaxWaiting: 4096, Replicas: replicas,
	}
}

// markerTTL is how long the deletion of an entry is told to watchers.
const markerTTL = time.Hour

// lostRace reports whether a compare-and-set write was refused because somebody
// else wrote first.
func lostRace(err error) bool { return errors.Is(err, node.ErrLostRace) }
