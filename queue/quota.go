package queue

import (
	"context"
	"errors"
	"sync"
	"time"
)

// usage is how much of the namespace's storage is in use, as far as this process
// knows: what the server said a moment ago and what has been sent since.
type usage struct {
	mu        sync.Mutex
	at        time.Time
	used, max int64 // bytes; max is negative for no limit
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
func (q *Queue) admit(ctx context.Context, w *wire, n int64) error {
	return q.space.admit(ctx, w, n, q.name)
}

func (sp *space) admit(ctx context.Context, w *wire, n int64, name string) error {
	u := &sp.usage
	u.mu.Lock()
	defer u.mu.Unlock()
	for asked := false; ; asked = true {
		if asked || time.Since(u.at) > usageAge {
			info, err := w.js.AccountInfo(ctx)
			if err != nil {
				return unavailable("queue.Send", name, err)
			}
			asked = true
			u.at, u.max = time.Now(), info.Limits.MaxStore
			u.used = int64(info.Store) //nolint:gosec // bytes on a disk
		}
		switch {
		case u.max < 0 || u.used+n <= u.max-min(maxReserve, u.max/16):
			u.used += n
			return nil
		case asked:
			return storageFull("queue.Send", name, errors.New("only the reserve is left"))
		}
	}
}
