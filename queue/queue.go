// Package queue keeps SQS queues on JetStream: one stream and one pull consumer
// for each standard queue, one stream for each FIFO queue. DESIGN.md beside this
// file gives the reasons.
package queue

import (
	"context"
	"maps"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/wire"
)

// Queue is one queue. It stays valid after the queue was deleted; its methods
// then return QueueDoesNotExist. It is safe for concurrent use.
type Queue struct {
	svc     *Service
	space   *space
	name    string
	id      string // of the incarnation
	record  atomic.Pointer[record]
	closed  chan struct{} // closed when the queue is gone
	fifo    *fifo         // how messages are kept in a FIFO queue; nil in a standard one
	flight  *flight
	commits *wire.Committer
	pulls   [2]pullSlots // by track
	fair    fairness
	turn    atomic.Uint64 // of receives, when there are two tracks
	tally   tally

	lastSend atomic.Int64 // Unix nanoseconds of this process's last send
	lastFull atomic.Int64 // and of its last receive that was over the limit
	lastLook atomic.Int64 // and of its last look for what a crash has left

	creating chan struct{} // holds a token while this process makes the stream or waits for it
	mine     atomic.Bool   // this process wrote the definition, so it makes the stream

	revision uint64 // of the definition; guarded by svc.mu
}

// Name returns the queue's name.
func (q *Queue) Name() string { return q.name }

// ARN returns the queue's resource name; ns is the namespace that it is in:
// arn:{partition}:sqs:{region}:{account}:{name}.
func (q *Queue) ARN(ns mnq.Namespace) string {
	return "arn:" + q.svc.cfg.Partition + ":sqs:" + ns.Region + ":" + ns.Account() + ":" + q.name
}

// Settings returns the attributes that can be set and have a value, and when the
// queue was made and last changed, all from memory.
func (q *Queue) Settings() (attributes map[string]string, created, modified time.Time) {
	r := q.record.Load()
	return maps.Clone(map[string]string(r.Settings)), r.Created, r.Modified
}

// ReceiveWait is how long a receive waits that does not say.
func (q *Queue) ReceiveWait() time.Duration { return q.record.Load().Settings.seconds(attrReceiveWait) }

// MaxMessageSize is the largest message the queue takes now, in bytes.
func (q *Queue) MaxMessageSize() int64 { return q.record.Load().Settings.int(attrMaxSize) }

// Attributes returns those of the named attributes that have a value; "All"
// stands for every one. ns is the namespace that the queue is in. An unknown name
// is Invalid, code InvalidAttributeName.
func (q *Queue) Attributes(ctx context.Context, ns mnq.Namespace, names []string) (map[string]string, error) {
	want, err := wanted(names)
	if err != nil {
		return nil, err
	}
	if err := q.finishCreate(ctx); err != nil {
		return nil, err
	}
	r := q.record.Load()
	out := map[string]string{}
	for name, v := range r.Settings {
		if want[name] {
			out[name] = v
		}
	}
	put := func(name, v string) {
		if want[name] {
			out[name] = v
		}
	}
	put(attrARN, q.ARN(ns))
	put(attrCreated, strconv.FormatInt(r.Created.Unix(), 10))
	put(attrModified, strconv.FormatInt(r.Modified.Unix(), 10))
	if want[attrVisible] || want[attrInFlight] || want[attrDelayed] {
		c, err := q.Counts(ctx)
		if err != nil {
			return nil, err
		}
		put(attrVisible, strconv.FormatInt(c.Visible, 10))
		put(attrInFlight, strconv.FormatInt(c.InFlight, 10))
		put(attrDelayed, strconv.FormatInt(c.Delayed, 10))
	}
	return out, nil
}
