package wire

import (
	"context"
	"sync"
	"time"
)

// Group commit. With every write synced to disk, a stream takes one write per
// fsync, and writes wait for each other. An atomic batch has a fixed price (files of
// its own, several fsyncs) whatever its size. So a write that finds the stream idle
// is sent at once, and what comes while it is under way goes together when that is
// over: as a batch if there is enough of it to be worth the price.
const (
	minCommit      = 6       // writes; fewer are never a batch
	maxCommit      = 256     // writes; the server takes 1,000
	maxCommitBytes = 1 << 20 // so that a batch does not hold the others up for long
)

// pace is what writes were measured to cost on this disk.
type pace struct {
	single time.Duration // a write that is synced alone
	batch  time.Duration // the fixed price of a batch
	turn   int
	always bool // whatever can be a batch is one
}

const (
	perBatched = 20 * time.Microsecond // a write in a batch, without the fixed price
	secondLook = 64                    // how often the other way is measured again
)

func newPace() pace { return pace{single: 200 * time.Microsecond, batch: 4 * time.Millisecond} }

// batches decides whether n writes go as a batch.
func (p *pace) batches(n int) bool {
	if p.always {
		return n > 1
	}
	if n < minCommit {
		return false
	}
	yes := time.Duration(n)*(p.single-perBatched) > p.batch
	if p.turn++; p.turn%secondLook == 0 {
		return !yes
	}
	return yes
}

// learn takes in how long n writes took.
func (p *pace) learn(n int, batch bool, took time.Duration) {
	if batch {
		p.batch += (max(0, took-time.Duration(n)*perBatched) - p.batch) / 8
	} else {
		p.single += (took/time.Duration(n) - p.single) / 8
	}
}

// Committer gathers the writes of one stream. It is safe for concurrent use.
type Committer struct {
	mu      sync.Mutex
	busy    bool
	waiting []*commit
	pace    pace // used by whoever is busy
}

// NewCommitter returns a committer for a stream that allows atomic batches. With always,
// whatever can be a batch is one, else what is expected to be faster that way.
func NewCommitter(always bool) *Committer {
	c := &Committer{pace: newPace()}
	c.pace.always = always
	return c
}

// commit is the writes of one caller.
type commit struct {
	w       *Wire
	reqs    []Request
	answers []Answer
	done    chan struct{} // closed when answers is set
}

// Write stores messages and returns the answer to each. Those of concurrent callers go
// together, but for those with the same [Request.Key]; run bounds what is written for
// others. That pays where each write is synced.
func (c *Committer) Write(ctx, run context.Context, w *Wire, reqs []Request) []Answer {
	c.mu.Lock()
	if c.busy {
		mine := &commit{w: w, reqs: reqs, done: make(chan struct{})}
		c.waiting = append(c.waiting, mine)
		c.mu.Unlock()
		select {
		case <-mine.done:
			return mine.answers
		case <-ctx.Done():
			answers := make([]Answer, len(reqs))
			for i := range answers {
				answers[i].Err = context.Cause(ctx)
			}
			return answers
		}
	}
	c.busy = true
	c.mu.Unlock()
	answers := c.send(ctx, w, reqs)
	if !c.idle() {
		go c.writeWaiting(run)
	}
	return answers
}

// idle ends the turn of whoever writes, unless others wait.
func (c *Committer) idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy = len(c.waiting) > 0
	return !c.busy
}

// writeWaiting writes what waits, a batch at a time, until nothing does.
func (c *Committer) writeWaiting(run context.Context) {
	for {
		group, reqs := c.take()
		answers := c.send(run, group[len(group)-1].w, reqs)
		for _, one := range group {
			n := len(one.reqs)
			one.answers, answers = answers[:n:n], answers[n:]
			close(one.done)
		}
		if c.idle() {
			return
		}
	}
}

// take returns the callers whose turn it is, in the order in which they came, and
// their writes.
func (c *Committer) take() (group []*commit, reqs []Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	bytes, n, keys := 0, 0, map[string]bool{}
	for _, one := range c.waiting {
		conflict := false
		for _, r := range one.reqs {
			bytes += len(r.Data)
			conflict = conflict || keys[r.Key]
			if r.Key != "" {
				keys[r.Key] = true
			}
		}
		if n > 0 && (conflict || len(reqs)+len(one.reqs) > maxCommit || bytes > maxCommitBytes) {
			break
		}
		reqs = append(reqs, one.reqs...)
		n++
	}
	group = c.waiting[:n:n]
	c.waiting = c.waiting[n:]
	if len(c.waiting) == 0 {
		c.waiting = nil
	}
	return group, reqs
}

// send sends writes to one stream in the way that is expected to be faster.
func (c *Committer) send(ctx context.Context, w *Wire, reqs []Request) (answers []Answer) {
	batch := c.pace.batches(len(reqs))
	begun := time.Now()
	if batch {
		answers = w.Together(ctx, reqs)
	} else {
		answers = w.Exchange(ctx, reqs, Timeout)
	}
	c.pace.learn(len(reqs), batch, time.Since(begun))
	return answers
}
