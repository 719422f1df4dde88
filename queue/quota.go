package queue

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/openmnq/mnq/node"
)

// usage is how much of the namespace's storage is in use, as far as this process
// knows: what the server said a moment ago and what has been sent since.
type usage struct {
	asking chan struct{} // holds a token while somebody asks the server

	mu        sync.Mutex
	at        time.Time
	used, max int64  // bytes; max is negative for no limit
	asked     uint64 // questions asked so far
	answered  uint64 // the last of them that was answered
}

const (
	usageAge   = time.Second // how long the server's answer is relied on
	overhead   = 256         // bytes of a stored message besides its content, about
	maxReserve = 1 << 20
)

// roomy reports whether the account is far from its limit. A batch that reaches it
// half way is neither stored nor refused: the server does not answer.
func (u *usage) roomy() bool {
	const margin = 32 << 20
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.max < 0 || u.used+margin < u.max
}

// admit refuses n bytes of new messages when they would not leave a reserve. The
// server refuses everything at its limit, and what frees space needs some: leases
// and tombstones of FIFO queues.
func (q *Queue) admit(ctx context.Context, w *link, n int64) error {
	return q.space.admit(ctx, w, n, q.name)
}

// admitMove is admit for copies of messages that are moved, which may use half of
// the reserve: they free what they take, but they must not stop the deletes.
func (q *Queue) admitMove(ctx context.Context, w *link, n int64) error {
	return q.space.admitTo(ctx, w, allotment{n + overhead, 2}, q.name)
}

func (sp *space) admit(ctx context.Context, w *link, n int64, name string) error {
	return sp.admitTo(ctx, w, allotment{n, 1}, name)
}

// allotment is what somebody wants of the storage.
type allotment struct {
	bytes int64
	part  int64 // what must be left of the reserve: 1 all, 2 half of it
}

func (sp *space) admitTo(ctx context.Context, w *link, a allotment, name string) error {
	u := &sp.usage
	fits, known := u.take(a, 0)
	if !fits {
		if err := u.ask(ctx, w, known); err != nil {
			return unavailable("queue.Send", name, err)
		}
		if fits, _ = u.take(a, known); !fits {
			return storageFull("queue.Send", name, errors.New("only the reserve is left"))
		}
	}
	return nil
}

// take takes what is wanted if it fits by the answer to a question later than since
// that is not too old. It returns how many questions have been asked.
func (u *usage) take(a allotment, since uint64) (fits bool, asked uint64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	known := u.answered > since && time.Since(u.at) <= usageAge
	fits = known && (u.max < 0 || u.used+a.bytes <= u.max-min(maxReserve, u.max/16)/a.part)
	if fits {
		u.used += a.bytes
	}
	return fits, u.asked
}

// ask asks the server a question later than since, one caller for all that wait. While a
// cluster has no leader nobody can tell, and what was known last goes on counting.
func (u *usage) ask(ctx context.Context, w *link, since uint64) error {
	select {
	case u.asking <- struct{}{}:
		defer func() { <-u.asking }()
	case <-ctx.Done():
		return ctx.Err()
	}
	u.mu.Lock()
	if u.answered > since {
		u.mu.Unlock()
		return nil // another one has asked meanwhile
	}
	u.asked++
	mine := u.asked
	u.mu.Unlock()
	try, cancel := context.WithTimeout(ctx, w.patience.Try)
	defer cancel()
	info, err := w.js.AccountInfo(try)
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case err == nil:
		u.max, u.used = info.Limits.MaxStore, int64(info.Store) //nolint:gosec // bytes on a disk
	case w.patience.Total <= w.patience.Try || !node.Temporary(err) || ctx.Err() != nil:
		return err
	case u.answered == 0:
		u.max = -1 // a cluster without a leader: the servers refuse at the limit in any case
	}
	u.at, u.answered = time.Now(), mine
	return nil
}
