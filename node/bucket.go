package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/openmnq/mnq"
)

// Bucket is a key-value bucket for state that several processes decide on, as the
// plain ones of JetStream are not quite:
//
//   - Every read is served by the stream's leader. A plain bucket lets a replica answer
//     that is behind.
//   - A request that meets an election waits for the new leader and is repeated there; a
//     write carries an id, so that it happens once.
//   - A watch that says that it has given everything there is has done so, and one that is
//     left behind ends instead of standing still.
//
// Entries, operations and errors are those of [jetstream.KeyValue].
type Bucket struct {
	js       jetstream.JetStream
	kv       jetstream.KeyValue
	name     string
	patience Patience
}

// BucketConfig describes a bucket.
type BucketConfig struct {
	Name        string
	Description string
	Replicas    int
	TTL         time.Duration // of every entry; 0: none
}

// ErrLostRace is why a conditional write was refused: somebody else wrote first.
var ErrLostRace = errors.New("changed by others meanwhile")

// dedupWindow is for how long a bucket's stream knows the ids of writes.
const dedupWindow = 2 * time.Minute

// OpenBucket opens a bucket, makes it if need be, and gives it the replicas wanted.
func OpenBucket(ctx context.Context, js jetstream.JetStream, cfg BucketConfig) (*Bucket, error) {
	b := &Bucket{js: js, name: cfg.Name, patience: PatienceFor(cfg.Replicas)}
	config := jetstream.StreamConfig{
		Name: b.stream(), Description: cfg.Description, Subjects: []string{b.subject(">")},
		MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, Storage: jetstream.FileStorage, Replicas: cfg.Replicas,
		MaxAge: cfg.TTL, Duplicates: dedupWindow, MaxConsumers: -1,
		DenyDelete: true, AllowRollup: true, AllowMsgTTL: true, AllowDirect: false,
	}
	_, err := Retry(ctx, b.patience, func(ctx context.Context) (jetstream.Stream, error) {
		return js.CreateOrUpdateStream(ctx, config)
	})
	if err == nil {
		b.kv, err = Retry(ctx, b.patience, func(ctx context.Context) (jetstream.KeyValue, error) {
			kv, err := js.KeyValue(ctx, cfg.Name)
			if errors.Is(err, jetstream.ErrBucketNotFound) { // made just now, and a server of the cluster has not heard of it
				err = fmt.Errorf("%w: %w", errIncomplete, err)
			}
			return kv, err
		})
	}
	if err != nil {
		return nil, &mnq.Error{Kind: mnq.Unavailable, Op: "node.OpenBucket", Resource: cfg.Name, Err: err}
	}
	return b, nil
}

func (b *Bucket) stream() string { return "KV_" + b.name }

func (b *Bucket) subject(key string) string { return "$KV." + b.name + "." + key }

// Name is the bucket's name.
func (b *Bucket) Name() string { return b.name }

// Get returns the entry now under key; [jetstream.ErrKeyNotFound] when there is none.
func (b *Bucket) Get(ctx context.Context, key string) (jetstream.KeyValueEntry, error) {
	return Retry(ctx, b.patience, func(ctx context.Context) (jetstream.KeyValueEntry, error) { return b.kv.Get(ctx, key) })
}

// Put stores a value whatever is there.
func (b *Bucket) Put(ctx context.Context, key string, value []byte) (revision uint64, err error) {
	return b.write(ctx, &nats.Msg{Subject: b.subject(key), Data: value})
}

// Create stores a value where there is none; otherwise ErrLostRace.
func (b *Bucket) Create(ctx context.Context, key string, value []byte) (revision uint64, err error) {
	revision, err = b.Update(ctx, key, value, 0)
	if !errors.Is(err, ErrLostRace) {
		return revision, err
	}
	// A deleted entry leaves a marker, which has a revision too.
	last, err := Retry(ctx, b.patience, func(ctx context.Context) (jetstream.KeyValueEntry, error) { return b.last(ctx, key) })
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound): // it has expired just now
		return b.Update(ctx, key, value, 0)
	case err != nil:
		return 0, err
	case last.Operation() == jetstream.KeyValuePut:
		return 0, fmt.Errorf("%w: %w", ErrLostRace, jetstream.ErrKeyExists)
	default:
		return b.Update(ctx, key, value, last.Revision())
	}
}

// Update stores a value if the entry still has that revision; otherwise ErrLostRace.
func (b *Bucket) Update(ctx context.Context, key string, value []byte, revision uint64) (uint64, error) {
	m := &nats.Msg{Subject: b.subject(key), Data: value}
	return b.write(ctx, m, jetstream.WithExpectLastSequencePerSubject(revision))
}

// Purge is how an entry is removed.
type Purge struct {
	Revision uint64        // only if the entry has it, otherwise ErrLostRace; 0: in any case
	TTL      time.Duration // of the marker that tells watchers; 0: it stays
}

// Remove deletes the entry under key and returns the revision of the deletion.
func (b *Bucket) Remove(ctx context.Context, key string, p Purge) (revision uint64, err error) {
	m := nats.NewMsg(b.subject(key))
	m.Header.Set("KV-Operation", "PURGE")
	m.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
	if p.TTL > 0 {
		m.Header.Set(jetstream.MsgTTLHeader, strconv.FormatInt(int64(p.TTL/time.Second), 10)+"s")
	}
	if p.Revision > 0 {
		return b.write(ctx, m, jetstream.WithExpectLastSequencePerSubject(p.Revision))
	}
	return b.write(ctx, m)
}

// write stores one message, once, however often it has to be sent.
func (b *Bucket) write(ctx context.Context, m *nats.Msg, opts ...jetstream.PublishOpt) (revision uint64, err error) {
	if m.Header == nil {
		m.Header = nats.Header{}
	}
	opts = append(opts, jetstream.WithExpectStream(b.stream()), jetstream.WithMsgID(nuid.Next()), jetstream.WithRetryAttempts(0))
	ack, err := Retry(ctx, b.patience, func(ctx context.Context) (*jetstream.PubAck, error) { return b.js.PublishMsg(ctx, m, opts...) })
	if api, ok := errors.AsType[*jetstream.APIError](err); ok && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == 10164) {
		return 0, fmt.Errorf("%w: %w", ErrLostRace, err)
	}
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// last is the last message of the subjects that key covers, a marker of a deletion too.
func (b *Bucket) last(ctx context.Context, key string) (jetstream.KeyValueEntry, error) {
	s, err := b.js.Stream(ctx, b.stream())
	if err != nil {
		return nil, err
	}
	m, err := s.GetLastMsgForSubject(ctx, b.subject(key))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, jetstream.ErrKeyNotFound
	}
	if err != nil {
		return nil, err
	}
	return rawEntry{m, b.name}, nil
}

// Revision is the revision of the newest write, whether that is still there or not.
func (b *Bucket) Revision(ctx context.Context) (uint64, error) {
	return Retry(ctx, b.patience, func(ctx context.Context) (uint64, error) {
		s, err := b.js.Stream(ctx, b.stream())
		if err != nil {
			return 0, err
		}
		return s.CachedInfo().State.LastSeq, nil
	})
}

// rawEntry is a stored message as an entry.
type rawEntry struct {
	m      *jetstream.RawStreamMsg
	bucket string
}

func (e rawEntry) Bucket() string     { return e.bucket }
func (e rawEntry) Key() string        { return e.m.Subject[len("$KV.")+len(e.bucket)+1:] }
func (e rawEntry) Value() []byte      { return e.m.Data }
func (e rawEntry) Revision() uint64   { return e.m.Sequence }
func (e rawEntry) Created() time.Time { return e.m.Time }
func (e rawEntry) Delta() uint64      { return 0 }

func (e rawEntry) Operation() jetstream.KeyValueOp {
	switch cmp.Or(e.m.Header.Get("KV-Operation"), e.m.Header.Get("Nats-Marker-Reason")) {
	case "":
		return jetstream.KeyValuePut
	case "DEL":
		return jetstream.KeyValueDelete
	default:
		return jetstream.KeyValuePurge
	}
}
