package queue

import (
	"context"
	"errors"
	"time"
)

// moveBatch does as [mover.batch] says: it moves up to n messages, group by group
// from the head on. Messages behind one in flight are not moved.
func (f *fifo) moveBatch(ctx context.Context, w *link, r *mover, n int) (moved int, err error) {
	fw, err := f.index(ctx, w)
	if err != nil {
		return 0, err
	}
	picks := fw.x.movable(n, r.task.Last, time.Now())
	if len(picks) == 0 {
		switch complete, err := f.level(ctx, fw, answerTimeout); {
		case err != nil:
			return 0, err
		case !complete:
			return 0, errBehind
		}
		if picks = fw.x.movable(n, r.task.Last, time.Now()); len(picks) == 0 {
			return 0, errNothingLeft
		}
	}
	ctx = context.WithoutCancel(ctx) // what has been begun is brought to an end
	picks, err = f.route(ctx, fw, r, picks)
	won, lost := f.win(ctx, fw, picks)
	moved, failed := f.move(ctx, fw, won)
	return moved, errors.Join(err, lost, failed)
}

// route decides where messages go, and so the leases of the picks. It returns those
// of which something can be moved, and gives the other groups back.
func (f *fifo) route(ctx context.Context, fw *follower, r *mover, picks []pick) (out []pick, err error) {
	recs, errs := f.fetch(ctx, fw, picks)
	rules, t := f.rules(), taking{now: time.Now(), newToken: newToken}
	for _, p := range picks {
		for i, m := range p.msgs {
			c, _ := p.lease.find(m.seq)
			c.seq = m.seq
			target, task := c.moving, c.task
			if !c.bound() {
				to, bad := r.of(recs[m.seq], errs[m.seq])
				if bad != nil {
					err, p.msgs = errors.Join(err, bad), p.msgs[:i]
					break
				}
				target, task = to.id, true
			}
			p.lease = p.lease.with(rules.leave(c, target, task, t))
		}
		if len(p.msgs) == 0 {
			fw.x.restore(p, p.before)
			continue
		}
		out = append(out, p)
	}
	return out, err
}

// of is the destination of the message in a record.
func (r *mover) of(rec *raw, err error) (*Queue, error) {
	if err != nil {
		return nil, err
	}
	m, err := decodeStored(rec.data)
	if err != nil {
		return nil, err
	}
	return r.destination(m)
}
