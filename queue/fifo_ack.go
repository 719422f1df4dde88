package queue

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/openmnq/mnq"
)

// verdict is what a receipt handle is worth.
type verdict int

const (
	current  verdict = iota // its delivery holds the message
	outdated                // its visibility timeout has passed, or somebody else has received the message
	deleted                 // the message does not exist any more
)

// judge says what a receipt is worth now, and under which lease. The index is
// believed when it says that a message is gone, which it has then seen, and when it
// says that the delivery holds, which the write that follows makes sure of. Anything
// else may be its lag: the stream is asked.
func (f *fifo) judge(ctx context.Context, fw *follower, r fifoReceipt, now time.Time) (verdict, lease, error) {
	for asked := false; ; asked = true {
		l, exists := fw.x.lookup(r.group, r.seq)
		c, claimed := l.find(r.seq)
		switch {
		case !exists:
			return f.missing(ctx, fw.w, r)
		case claimed && c.token == r.token && c.over(fw.x.self).After(now):
			return current, l, nil
		case asked:
			return outdated, l, nil
		}
		subject := f.q.record.Load().fifoSubject(r.dedup, r.group, r.id)
		switch gone, err := f.q.vanished(ctx, fw.w, place{f.q.id, subject, r.seq}); {
		case errors.Is(err, errNoStream):
			return outdated, l, f.q.streamError("queue.handle", err)
		case err != nil:
			return outdated, l, err
		case gone:
			fw.x.gone(r.group, r.seq)
			return f.missing(ctx, fw.w, r)
		}
		if err := f.catchUp(ctx, fw, []hash{r.group}); err != nil {
			return outdated, l, err
		}
	}
}

// missing is the verdict on the receipt of a message that is not here any more: it has
// been deleted, or moved into another queue. Nothing remembers a move for longer than
// five minutes.
func (f *fifo) missing(ctx context.Context, w *link, r fifoReceipt) (verdict, lease, error) {
	subject := f.q.record.Load().fifoSubject(r.dedup, r.group, r.id)
	a := w.Exchange(ctx, []request{f.q.getRequest(`{"last_by_subj":"` + subject + `"}`)}, answerTimeout)
	rec, err := f.q.got("queue.handle", a[0])
	if err != nil || rec != nil && rec.seq > r.seq && (rec.header.Get(headGone) == "" || rec.header.Get(headMoved) != "") {
		return outdated, lease{}, err
	}
	return deleted, lease{}, nil
}

// openAll reads handles and finds what is needed to act on them. A nil follower
// means that errs says all there is to say.
func (f *fifo) openAll(ctx context.Context, handles []string) (errs []error, receipts []fifoReceipt, fw *follower) {
	errs, receipts = make([]error, len(handles)), make([]fifoReceipt, len(handles))
	all := f.q.finishCreate(ctx)
	if all == nil && f.q.record.Load().State == stateDeleted {
		all = missing(f.q.name)
	}
	for i, h := range handles {
		if receipts[i], errs[i] = f.q.svc.sealer.openFIFO(f.q.id, h); all != nil {
			errs[i] = all
		}
	}
	if all != nil {
		return errs, nil, nil
	}
	w, all := f.q.svc.connection(ctx, f.q.space)
	if all == nil {
		fw, all = f.index(ctx, w)
	}
	if all != nil {
		for i := range errs {
			errs[i] = all
		}
		return errs, nil, nil
	}
	return errs, receipts, fw
}

// delete removes messages as [Queue.DeleteMessages] says.
func (f *fifo) delete(ctx context.Context, handles []string) []error {
	errs, receipts, fw := f.openAll(ctx, handles)
	if fw == nil {
		return errs
	}
	var good []fifoReceipt
	var at []int
	for i, r := range receipts {
		if errs[i] == nil {
			good, at = append(good, r), append(at, i)
		}
	}
	for j, err := range f.remove(ctx, fw, good) {
		if errs[at[j]] = err; errors.Is(err, errOutdated) {
			errs[at[j]] = expiredHandle(handles[at[j]])
		}
	}
	return errs
}

var errOutdated = errors.New("the delivery is over")

// remove puts tombstones in the messages' places, each on the condition that the
// lease which the receipt belongs to is still the group's: a process that was
// paused in between deletes nothing that somebody else has received meanwhile, and
// neither does a write that arrives late.
func (f *fifo) remove(ctx context.Context, fw *follower, receipts []fifoReceipt) []error {
	errs := make([]error, len(receipts))
	open := make([]int, len(receipts))
	for i := range open {
		open[i] = i
	}
	for range maxRaces {
		now, r := time.Now(), f.q.record.Load()
		var reqs []request
		var at []int
		for _, i := range open {
			verdict, l, err := f.judge(ctx, fw, receipts[i], now)
			switch errs[i] = err; {
			case err != nil || verdict == deleted:
			case verdict == outdated:
				errs[i] = errOutdated
			default:
				req := r.tombstone(receipts[i], now)
				maps.Copy(req.Header, compareAndSet(r.leaseSubject(receipts[i].group), l.seq))
				reqs, at = append(reqs, req), append(at, i)
			}
		}
		open = nil
		stale := map[hash]bool{}
		for j, a := range f.q.write(ctx, fw.w, reqs) {
			i := at[j]
			_, err := f.q.written("queue.Delete", a)
			switch {
			case err == nil:
				fw.x.gone(receipts[i].group, receipts[i].seq)
			case errors.Is(err, errRefused):
				open, stale[receipts[i].group] = append(open, i), true
			default:
				errs[i] = err
			}
		}
		if len(open) == 0 {
			return errs
		}
		if err := f.catchUp(ctx, fw, slices.Collect(maps.Keys(stale))); err != nil {
			for _, i := range open {
				errs[i] = err
			}
			return errs
		}
	}
	for _, i := range open {
		errs[i] = unavailable("queue.Delete", f.q.name, errors.New("too many others change the group"))
	}
	return errs
}

// buryYoung puts tombstones in the places of messages that a purge removes.
func (f *fifo) buryYoung(ctx context.Context, w *link, seqs []uint64) error {
	const atOnce = 256
	now := time.Now()
	for len(seqs) > 0 {
		n := min(atOnce, len(seqs))
		reqs := make([]request, n)
		for i, seq := range seqs[:n] {
			reqs[i] = f.q.getRequest(`{"seq":` + strconv.FormatUint(seq, 10) + `}`)
		}
		var stones []request
		for _, a := range w.Exchange(ctx, reqs, answerTimeout) {
			rec, err := f.q.got("queue.Purge", a)
			if err != nil {
				return err
			}
			if rec == nil {
				continue
			}
			if kind, p, ok := parseSubject(rec.subject); ok && kind == 'f' && rec.header.Get(headGone) == "" {
				r := fifoReceipt{seq: rec.seq, sent: rec.sent, id: p.id, dedup: p.dedup, group: p.group}
				stones = append(stones, f.q.record.Load().tombstone(r, now))
			}
		}
		for _, a := range w.Exchange(ctx, stones, answerTimeout) {
			if _, err := f.q.written("queue.Purge", a); err != nil {
				return err
			}
		}
		seqs = seqs[n:]
	}
	return nil
}

// changeVisibility does as [Queue.ChangeVisibility] says, with one write for
// each group.
func (f *fifo) changeVisibility(ctx context.Context, changes []Visibility) []error {
	handles := make([]string, len(changes))
	for i, c := range changes {
		handles[i] = c.Handle
	}
	errs, receipts, fw := f.openAll(ctx, handles)
	if fw == nil {
		return errs
	}
	now := time.Now()
	byGroup := map[hash][]int{}
	var keys []hash
	for i, r := range receipts {
		if errs[i] != nil {
			continue
		}
		verdict, l, err := f.judge(ctx, fw, r, now)
		c, _ := l.find(r.seq)
		switch {
		case err != nil:
			errs[i] = err
		case verdict == deleted:
			errs[i] = notThere(changes[i].Handle)
		case verdict == outdated:
			errs[i] = expiredHandle(changes[i].Handle)
		case now.Add(changes[i].Timeout).Sub(c.since) > MaxVisibility:
			errs[i] = tooLongHidden(changes[i].Timeout)
		default:
			if byGroup[r.group] == nil {
				keys = append(keys, r.group)
			}
			byGroup[r.group] = append(byGroup[r.group], i)
		}
	}
	_, failed := f.rewrite(ctx, fw, keys, func(k hash, l lease) (lease, bool) {
		changed := false
		for _, i := range byGroup[k] {
			c, ok := l.find(receipts[i].seq)
			if errs[i] = nil; !ok || c.token != receipts[i].token {
				errs[i] = expiredHandle(changes[i].Handle)
				continue
			}
			l, changed = l.with(c.hide(now, changes[i].Timeout, fw.x.self)), true
		}
		return l, changed
	})
	for k, is := range byGroup {
		for _, i := range is {
			if errs[i] == nil {
				errs[i] = failed[k]
			}
		}
	}
	return errs
}

func expiredHandle(handle string) error {
	return &mnq.Error{
		Kind: mnq.Invalid, Code: "InvalidParameterValue", Op: "queue.handle", Field: "ReceiptHandle",
		Msg: "Value " + handle + " for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.",
	}
}
