package queue

import (
	"encoding/base64"
	"encoding/binary"
	"slices"
	"time"
)

// token names one delivery of one message. A receipt handle is good as long as
// the lease of its group says the same.
type token [8]byte

// claim is what a group's lease says about one message: how often and when it was
// received, by which delivery, and until when it is hidden.
type claim struct {
	seq   uint64
	count uint32
	owner uint32 // of the process whose clock set until
	first time.Time
	since time.Time // of this delivery
	until time.Time // zero: visible
	token token

	attempt uint64 // stands for the receive's ReceiveRequestAttemptId; 0: it had none
	of      uint8  // how many messages that receive got of this group
	nth     uint8  // which of all its messages this is

	// Of a message that is on its way into another queue: its incarnation, or nowhere. Then
	// count and first are those of its receives, and since is when the first try began.
	moving string
	task   bool // because of a move task
}

// nowhere is where a dead letter moves when its queue of dead letters is gone.
const nowhere = "-"

// bound reports whether a copy of the message may exist in another queue. It must
// not be handed out here then.
func (c claim) bound() bool { return c.moving != "" && c.moving != nowhere }

// lease is the state of one message group, a record in the stream that changes
// only by compare-and-set. It has a claim for each message that was ever received,
// in order; those of deleted messages are dropped at the next change.
//
// A message is received only when it is among the first ten of its group, and
// deletions bring it further to the front, so there are never more claims than
// that on messages that exist.
type lease struct {
	seq    uint64 // of the record; 0: there is none
	claims []claim
}

// clockSlack is added to deadlines that another process's clock has set.
const clockSlack = time.Second

// over reports when the claim ends, as far as the process self can tell.
func (c claim) over(self uint32) time.Time {
	if c.until.IsZero() || c.owner == self {
		return c.until
	}
	return c.until.Add(clockSlack)
}

func (l lease) find(seq uint64) (claim, bool) {
	i, ok := slices.BinarySearchFunc(l.claims, seq, func(c claim, seq uint64) int {
		switch {
		case c.seq < seq:
			return -1
		case c.seq > seq:
			return 1
		}
		return 0
	})
	if !ok {
		return claim{}, false
	}
	return l.claims[i], true
}

// with returns the lease with c in the place of what it said about the message.
func (l lease) with(c claim) lease {
	out := slices.DeleteFunc(slices.Clone(l.claims), func(o claim) bool { return o.seq == c.seq })
	i, _ := slices.BinarySearchFunc(out, c.seq, func(o claim, seq uint64) int {
		if o.seq < seq {
			return -1
		}
		return 1
	})
	return lease{seq: l.seq, claims: slices.Insert(out, i, c)}
}

// without drops the claims for which gone is true.
func (l lease) without(gone func(seq uint64) bool) lease {
	return lease{seq: l.seq, claims: slices.DeleteFunc(slices.Clone(l.claims), func(c claim) bool { return gone(c.seq) })}
}

const (
	leaseVersion = 2
	claimSize    = 1 + 8 + 4 + 4 + 8 + 8 + 8 + 8 // without what only some have
)

// In a claim's first byte: what follows the fixed part.
const (
	claimAttempt = 1 << iota // attempt, of and nth
	claimMoving              // moving, after its length
	claimTask                // nothing: task is true
	claimKnown   = claimAttempt | claimMoving | claimTask
)

// encode writes the claims as one header value.
func (l lease) encode() string {
	b := make([]byte, 1, 1+len(l.claims)*(claimSize+10))
	b[0] = leaseVersion
	for _, c := range l.claims {
		has := byte(0)
		if c.attempt != 0 {
			has |= claimAttempt
		}
		if c.moving != "" {
			has |= claimMoving
		}
		if c.task {
			has |= claimTask
		}
		b = append(b, has)
		b = binary.BigEndian.AppendUint64(b, c.seq)
		b = binary.BigEndian.AppendUint32(b, c.count)
		b = binary.BigEndian.AppendUint32(b, c.owner)
		for _, t := range [...]time.Time{c.first, c.since, c.until} {
			b = binary.BigEndian.AppendUint64(b, uint64(nanos(t))) //nolint:gosec // read back as int64
		}
		b = append(b, c.token[:]...)
		if has&claimAttempt != 0 {
			b = append(binary.BigEndian.AppendUint64(b, c.attempt), c.of, c.nth)
		}
		if has&claimMoving != 0 {
			b = appendBytes(b, c.moving)
		}
	}
	return base64.RawStdEncoding.EncodeToString(b)
}

// decodeLease reads what encode wrote in the record seq. Anything else is errDamaged.
func decodeLease(seq uint64, s string) (lease, error) {
	b, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil || len(b) == 0 || b[0] != leaseVersion {
		return lease{}, errDamaged
	}
	l := lease{seq: seq}
	for r := (reader{rest: b[1:]}); len(r.rest) > 0; {
		has := r.byte()
		c := claim{
			seq: r.uint64(), count: r.uint32(), owner: r.uint32(),
			first: moment(r.uint64()), since: moment(r.uint64()), until: moment(r.uint64()),
		}
		copy(c.token[:], r.take(len(c.token)))
		if has&claimAttempt != 0 {
			c.attempt, c.of, c.nth = r.uint64(), r.byte(), r.byte()
		}
		if has&claimMoving != 0 {
			c.moving = string(r.bytes())
		}
		c.task = has&claimTask != 0
		if n := len(l.claims); r.bad || has&^byte(claimKnown) != 0 || n > 0 && l.claims[n-1].seq >= c.seq {
			return lease{}, errDamaged
		}
		l.claims = append(l.claims, c)
	}
	return l, nil
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func moment(n uint64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(n)) //nolint:gosec // written from an int64
}

// waiting is one message of a group that has not been deleted.
type waiting struct {
	seq   uint64
	sent  int64 // when the stream took it, Unix nanoseconds
	alone bool  // see index.alone
}

// rules are what a decision about a group depends on besides its state.
type rules struct {
	self      uint32
	delay     time.Duration
	retention time.Duration
	receives  uint32 // after which a message is dead; 0: never
	target    string // incarnation of the dead-letter queue, or nowhere
	most      int    // messages that may be in flight; 0: any number
}

// leaves reports whether a message goes to another queue instead of to a receiver.
func (r rules) leaves(m waiting, l lease) bool {
	c, ok := l.find(m.seq)
	return ok && (c.bound() || r.receives > 0 && c.count >= r.receives)
}

// run returns the first messages of which all leave or none does.
func (r rules) run(msgs []waiting, l lease) (run []waiting, leave bool) {
	for i, m := range msgs {
		switch leaves := r.leaves(m, l); {
		case i == 0:
			leave = leaves
		case leaves != leave:
			return msgs[:i], leave
		}
	}
	return msgs, leave
}

// expired reports whether the message's retention is over.
func (r rules) expired(m waiting, now time.Time) bool {
	return now.UnixNano()-m.sent >= int64(r.retention)
}

// visibleAt is when the message can be received; in the past or zero: now.
func (r rules) visibleAt(m waiting, l lease) time.Time {
	if c, ok := l.find(m.seq); ok {
		return c.over(r.self)
	}
	if r.delay == 0 {
		return time.Time{}
	}
	return time.Unix(0, m.sent).Add(r.delay)
}

// available returns the messages of a group that can be received now: those from
// its head up to the first that is hidden, at most n. A hidden message holds back
// those behind it and not those before it.
func (r rules) available(msgs []waiting, l lease, n int, now time.Time) []waiting {
	for i, m := range msgs[:min(n, len(msgs))] {
		if r.visibleAt(m, l).After(now) {
			return msgs[:i]
		}
	}
	return msgs[:min(n, len(msgs))]
}

// taking is how messages are received.
type taking struct {
	now        time.Time
	visibility time.Duration
	attempt    uint64
	nth        int // how many messages the receive has got before
	newToken   func() token
}

// take returns the lease after the messages have been received.
func (r rules) take(l lease, msgs []waiting, t taking) lease {
	for i, m := range msgs {
		c, _ := l.find(m.seq)
		c.seq = m.seq
		if c.count++; c.first.IsZero() {
			c.first = t.now
		}
		c.token, c.since = t.newToken(), t.now
		c.moving, c.task = "", false
		if c.attempt, c.of, c.nth = t.attempt, 0, 0; t.attempt != 0 {
			c.of, c.nth = uint8(len(msgs)), uint8(t.nth+i) //nolint:gosec // at most ten
		}
		l = l.with(c.hide(t.now, t.visibility, r.self))
	}
	return l
}

// send returns the lease after dead letters have been taken to be moved. What may
// have a copy already goes where that is.
func (r rules) send(l lease, msgs []waiting, t taking) lease {
	for _, m := range msgs {
		c, _ := l.find(m.seq)
		c.seq = m.seq
		target := r.target
		if c.bound() {
			target = c.moving
		}
		l = l.with(r.leave(c, target, c.bound() && c.task, t))
	}
	return l
}

// leave is the claim on a message that is taken to be moved. When nothing can be
// moved now it hides the message for a while that doubles with each try.
func (r rules) leave(c claim, target string, task bool, t taking) claim {
	if c.moving == "" {
		c.since = t.now
	}
	c.moving, c.task = target, task
	c.attempt, c.of, c.nth = 0, 0, 0
	c.token = t.newToken()
	if target == nowhere {
		return c.hide(t.now, c.patience(t.now), r.self)
	}
	return c.hide(t.now, moveHold, r.self)
}

// moveHold is how long a message is hidden while a process moves it. Past it the
// process is taken for dead, and another one goes on.
const moveHold = 3 * answerTimeout

// patience is how long a message waits that could not be moved.
func (c claim) patience(now time.Time) time.Duration {
	return min(max(now.Sub(c.since), time.Second), 64*time.Second)
}

// hide ends the claim after d, counted from now.
func (c claim) hide(now time.Time, d time.Duration, self uint32) claim {
	c.owner, c.until = self, time.Time{}
	if d > 0 {
		c.until = now.Add(d)
	}
	return c
}
