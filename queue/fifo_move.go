package queue

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/openmnq/mnq/internal/wire"
)

// Moving a message from one FIFO queue to another is a write there and one here, and
// nobody may find two of it, none of it, or one that was deleted, whoever is paused or
// dies when. See DESIGN.md, "Moving". In short:
//
//  1. The group's lease says where the message goes, and by whose hand (a token).
//  2. In the place of the copy an intent is written, if nothing else is there.
//  3. The lease is written again. If that succeeds, nobody else moves the message, and
//     once the index has come past it, it says whether the message was still there.
//  4. The copy replaces the intent, if it is still this one.
//  5. A tombstone replaces the original. Who hands out the copy does that again first.

// former is where a message lay before it was moved.
type former struct {
	queue string // incarnation
	seq   uint64
	sent  time.Time // when that stream took it
	id    uuid.UUID
	parts parts // of its subject
}

func (o former) header() string {
	return o.queue + " " + goneValue(o.seq, o.sent) + " " + hash(o.id).String()
}

// parseFrom reads what header wrote on a message whose subject has those parts.
func parseFrom(s string, p parts) (o former, ok bool) {
	t := strings.Split(s, " ")
	if len(t) != 4 {
		return former{}, false
	}
	seq, sent, a := parseGone(t[1] + " " + t[2])
	id, b := parseHash(t[3])
	o = former{queue: t[0], seq: seq, sent: time.Unix(0, sent), id: uuid.UUID(id), parts: p}
	o.parts.id = o.id
	return o, a && b
}

// subject is the message's in its former queue.
func (o former) subject() string {
	return record{ID: o.queue}.fifoSubject(o.parts.dedup, o.parts.group, o.parts.id)
}

// transfer is a message on its way.
type transfer struct {
	group  hash
	seq    uint64
	claim  claim
	before claim  // what the claim was before this try
	from   former // from here on known once the message has been read
	to     *Queue
	m      stored // as it will lie there
	place  place
	last   uint64 // in that place
	lease  uint64 // sequence of the group's lease

	stage stage
	err   error
}

// stage is how far a transfer has got.
type stage int

const (
	begun   stage = iota
	fenced        // the intent is written
	sure          // and nobody else moves the message
	halfway       // a copy may have been stored, or not
	copied        // the copy is stored
	moved         // and the original is gone
)

// move moves the messages of picks whose leases hold. What cannot be moved now is
// left for later; the error says why. It returns how many messages have been moved.
func (f *fifo) move(ctx context.Context, fw *follower, picks []pick) (n int, err error) {
	list := f.prepare(ctx, fw, picks)
	f.reserve(ctx, fw, list)
	f.confirm(ctx, fw, list)
	f.admit(ctx, fw, list)
	f.copy(ctx, fw, list)
	f.clear(ctx, fw, list)
	for _, t := range list {
		if t.stage == moved {
			n++
		}
		err = errors.Join(err, t.err)
	}
	f.leave(ctx, fw, list)
	return n, err
}

// prepare reads the messages and says what becomes of each.
func (f *fifo) prepare(ctx context.Context, fw *follower, picks []pick) (list []*transfer) {
	recs, errs := f.fetch(ctx, fw, picks)
	for _, p := range picks {
		for _, m := range p.msgs {
			c, _ := p.lease.find(m.seq)
			before, _ := p.before.find(m.seq)
			if c.moving == nowhere {
				continue
			}
			t := &transfer{group: p.g.key, seq: m.seq, claim: c, before: before}
			if t.err = errs[m.seq]; t.err == nil {
				t.err = f.address(t, recs[m.seq])
			}
			list = append(list, t)
		}
	}
	return list
}

// fetch reads the messages of picks, each of which has its record or an error.
func (f *fifo) fetch(ctx context.Context, fw *follower, picks []pick) (map[uint64]*raw, map[uint64]error) {
	var reqs []request
	var seqs []uint64
	for _, p := range picks {
		for _, m := range p.msgs {
			reqs, seqs = append(reqs, f.q.getRequest(fmt.Sprintf(`{"seq":%d}`, m.seq))), append(seqs, m.seq)
		}
	}
	recs, errs := make(map[uint64]*raw, len(seqs)), map[uint64]error{}
	for i, a := range fw.w.Exchange(ctx, reqs, answerTimeout) {
		rec, err := f.q.got("queue.move", a)
		if err == nil && rec == nil { // the index will notice, or it was an old answer
			err = errNotRead
		}
		if err != nil {
			errs[seqs[i]] = err
		}
		recs[seqs[i]] = rec
	}
	return recs, errs
}

var errNotRead = errors.New("the message cannot be read")

// address reads the record of a message that is to be moved.
func (f *fifo) address(t *transfer, rec *raw) error {
	kind, p, ok := parseSubject(rec.subject)
	m, err := decodeStored(rec.data)
	if !ok || kind != 'f' || err != nil {
		return errors.Join(errNotRead, err)
	}
	t.from = former{queue: f.q.id, seq: rec.seq, sent: rec.sent, id: p.id, parts: p}
	if t.to = f.q.svc.byID(t.claim.moving); t.to == nil || t.to.fifo == nil {
		return errTargetGone // or not known yet
	}
	if t.claim.task {
		t.m = m.renewed(time.Now())
		t.m.id = t.from.successor()
	} else {
		first := t.claim.first
		if !m.first.IsZero() {
			first = m.first
		}
		t.m = m.buried(f.q.sourceARN(f.keptTarget()), uint64(t.claim.count), first)
	}
	t.place = place{queue: t.to.id, subject: t.to.record.Load().fifoSubject(p.dedup, p.group, t.m.id)}
	return nil
}

var errTargetGone = errors.New("the queue that the message moves to is gone")

func (f *fifo) keptTarget() string {
	f.rules()
	return f.kept.Load().target
}

// successor is the id of the message that a move task makes of this one: always the
// same, so that two processes do not make two.
func (o former) successor() uuid.UUID {
	sum := sha256.Sum256(fmt.Appendf(nil, "mnq move %s %d", o.queue, o.seq))
	id := uuid.UUID(sum[:16])
	id[6], id[8] = id[6]&0x0F|0x80, id[8]&0x3F|0x80 // version 8, RFC 9562
	return id
}

// itself reports whether the copy takes the very place of the message.
func (t *transfer) itself() bool { return t.place.subject == t.from.subject() }

// reserve looks for a copy, and writes an intent in its place where there is none.
func (f *fifo) reserve(ctx context.Context, fw *follower, list []*transfer) {
	for range maxRaces {
		var open []*transfer
		var reqs []request
		for _, t := range list {
			switch {
			case t.err != nil || t.stage != begun:
			case t.itself(): // the lease is fence enough
				t.stage = fenced
			default:
				open = append(open, t)
				reqs = append(reqs, t.to.getRequest(`{"last_by_subj":"`+t.place.subject+`"}`))
			}
		}
		if len(open) == 0 {
			return
		}
		var intents []request
		var without []*transfer
		for i, a := range fw.w.Exchange(ctx, reqs, answerTimeout) {
			t := open[i]
			rec, err := t.to.got("queue.move", a)
			switch {
			case err != nil:
				t.err = err
				continue
			case rec != nil && rec.header.Get(headIntent) == "": // the copy, or what is left of it
				t.stage = copied
				continue
			case rec != nil:
				t.last = rec.seq
			}
			req := request{Subject: t.place.subject, Header: compareAndSet(t.place.subject, t.last)}
			req.Header[headIntent] = []string{f.q.id}
			intents, without = append(intents, req), append(without, t)
		}
		for i, a := range fw.w.Exchange(ctx, intents, answerTimeout) {
			t := without[i]
			seq, err := t.to.written("queue.move", a)
			switch {
			case err == nil:
				t.last, t.stage = seq, fenced
			case !errors.Is(err, errRefused):
				t.err = err
			}
		}
	}
	for _, t := range list {
		if t.err == nil && t.stage == begun {
			t.err = errors.New("too many others move the message")
		}
	}
}

// confirm makes sure that the messages are still this process's to move, and that
// they were still there after the intents had been written.
func (f *fifo) confirm(ctx context.Context, fw *follower, list []*transfer) {
	byGroup := map[hash][]*transfer{}
	for _, t := range list {
		if t.err == nil && t.stage == fenced {
			byGroup[t.group] = append(byGroup[t.group], t)
		}
	}
	held, errs := f.rewrite(ctx, fw, keysOf(byGroup), func(k hash, l lease) (lease, bool) {
		changed := false
		for _, t := range byGroup[k] {
			if c, ok := l.find(t.seq); ok && c.token == t.claim.token {
				l, changed = l.with(c.hide(time.Now(), moveHold, fw.x.self)), true
			}
		}
		return l, changed
	})
	for k, ts := range byGroup {
		l := held[k]
		seen := l.seq > 0 && fw.x.await(ctx, l.seq, answerTimeout)
		for _, t := range ts {
			c, ok := l.find(t.seq)
			_, exists := fw.x.lookup(k, t.seq)
			switch {
			case errs[k] != nil:
				t.err = errs[k]
			case !ok || c.token != t.claim.token:
				t.err = errTaken
			case !seen:
				t.err = errBehind
				fw.suspect()
			case !exists:
				t.err = errNotRead
			default:
				t.stage, t.claim, t.lease = sure, c, l.seq
			}
		}
	}
}

// admit holds copies back for which there is no room.
func (f *fifo) admit(ctx context.Context, fw *follower, list []*transfer) {
	for _, t := range list {
		if t.stage == sure {
			t.err = f.q.admitMove(ctx, fw.w, int64(len(t.m.encode())))
		}
	}
}

// copy stores the copies, those of one group one after the other and none after one
// that failed.
func (f *fifo) copy(ctx context.Context, fw *follower, list []*transfer) {
	stopped := map[hash]bool{}
	for done := map[*transfer]bool{}; ; {
		var wave []*transfer
		var reqs []request
		taken := map[hash]bool{}
		for _, t := range list {
			if done[t] || taken[t.group] {
				continue
			}
			done[t] = true
			switch {
			case t.stage == copied:
				continue
			case t.err != nil || stopped[t.group]:
				stopped[t.group] = true
				continue
			}
			taken[t.group] = true
			wave, reqs = append(wave, t), append(reqs, f.copyOf(t))
		}
		if len(wave) == 0 {
			if len(done) == len(list) {
				return
			}
			continue
		}
		for i, a := range fw.w.Exchange(ctx, reqs, answerTimeout) {
			t := wave[i]
			seq, err := t.to.written("queue.move", a)
			switch {
			case err == nil:
				t.stage = copied
				t.to.fifo.noteSent(seq)
				if t.itself() {
					fw.x.gone(t.group, t.seq)
					t.stage = moved
				}
				continue
			case a.Err != nil:
				t.stage = halfway
			}
			t.err, stopped[t.group] = err, true
		}
	}
}

// copyOf is the request that stores the copy. In its own place it replaces the
// message, if the group is still this process's.
func (f *fifo) copyOf(t *transfer) request {
	req := request{Subject: t.place.subject, Data: t.m.encode()}
	if t.itself() {
		req.Header = compareAndSet(f.q.record.Load().leaseSubject(t.group), t.lease)
	} else {
		req.Header = compareAndSet(t.place.subject, t.last)
	}
	req.Header[headFrom] = []string{t.from.header()}
	return req
}

// clear removes the originals of copies.
func (f *fifo) clear(ctx context.Context, fw *follower, list []*transfer) {
	var ts []*transfer
	var originals []former
	for _, t := range list {
		if t.stage == copied {
			ts, originals = append(ts, t), append(originals, t.from)
		}
	}
	for i, err := range f.q.bid(ctx, fw.w, originals) {
		if t := ts[i]; err != nil {
			t.err = errors.Join(t.err, err)
		} else {
			fw.x.gone(t.group, t.seq)
			t.stage = moved
		}
	}
}

// bid bids farewell to messages that have been moved: it puts tombstones in their
// former places. Nil means that the message is not there any more.
func (q *Queue) bid(ctx context.Context, w *link, originals []former) []error {
	errs := make([]error, len(originals))
	reqs := make([]request, len(originals))
	now := time.Now()
	for i, o := range originals {
		subject := o.subject()
		reqs[i] = record{ID: o.queue}.tombstone(fifoReceipt{seq: o.seq, sent: o.sent, id: o.id, dedup: o.parts.dedup, group: o.parts.group}, now)
		maps.Copy(reqs[i].Header, compareAndSet(subject, o.seq))
		reqs[i].Header["Nats-TTL"] = []string{strconv.Itoa(int(dedupWindow / time.Second))}
		reqs[i].Header[headMoved] = []string{q.id}
	}
	for i, a := range w.Exchange(ctx, reqs, answerTimeout) {
		if a.Err == nil && !wire.NoResponders(a.Msg) {
			if _, err := q.written("queue.move", a); !errors.Is(err, errRefused) {
				errs[i] = err
				continue
			}
		}
		// It was not there, or nobody knows.
		o := originals[i]
		gone, err := q.vanished(ctx, w, place{o.queue, o.subject(), o.seq})
		switch {
		case gone || errors.Is(err, errNoStream):
		case err != nil:
			errs[i] = err
		default:
			errs[i] = unavailable("queue.move", q.name, errors.New("the message is still in its former queue"))
		}
	}
	return errs
}

// leave lets go of what has not been moved. A message that has no copy and cannot
// get one any more is not bound to its target.
func (f *fifo) leave(ctx context.Context, fw *follower, list []*transfer) {
	byGroup := map[hash][]*transfer{}
	for _, t := range list {
		if t.stage != moved && (!errors.Is(t.err, errTargetGone) || f.targetGone(ctx, fw, t)) {
			byGroup[t.group] = append(byGroup[t.group], t)
		}
	}
	now := time.Now()
	_, _ = f.rewrite(ctx, fw, keysOf(byGroup), func(k hash, l lease) (lease, bool) { // else moveHold ends
		changed := false
		for _, t := range byGroup[k] {
			c, ok := l.find(t.seq)
			if !ok || c.token != t.claim.token {
				continue
			}
			wait := c.patience(now)
			if t.free() {
				if c.moving = nowhere; c.task {
					c.moving, c.task, wait = "", false, 0
				}
			}
			l, changed = l.with(c.hide(now, wait, fw.x.self)), true
		}
		return l, changed
	})
}

// free reports whether it is certain that there is no copy and that there will be
// none: this process has not tried to store one, and nobody before it can any more.
func (t *transfer) free() bool {
	switch t.stage {
	case fenced, sure:
		return true
	case begun:
		return !t.before.bound() || errors.Is(t.err, errTargetGone)
	default:
		return false
	}
}

// targetGone makes sure that the queue does not exist, whose definition is not known
// here or says that it is deleted.
func (f *fifo) targetGone(ctx context.Context, fw *follower, t *transfer) bool {
	info, err := fw.w.streamInfo(ctx, t.claim.moving, "")
	return err == nil && info.gone
}

func keysOf[T any](m map[hash]T) []hash {
	out := make([]hash, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	return out
}

// noteSent makes the next receive of this process wait for the message.
func (f *fifo) noteSent(seq uint64) {
	for {
		last := f.lastSent.Load()
		if seq <= last || f.lastSent.CompareAndSwap(last, seq) {
			return
		}
	}
}
