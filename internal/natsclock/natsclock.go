// Package natsclock takes over the clock by which an embedded NATS server tells how old
// messages are. It is for tests only.
//
// That clock is one global for the process, which a goroutine sets ten times a second.
// In a bubble of testing/synctest the goroutine would keep virtual time from advancing,
// and outside one it would show the wall clock, by which every message in the bubble is
// decades old. So whoever imports this package keeps that goroutine from ever starting,
// and says instead by whose time messages grow old: Wall, Virtual, or nobody's.
package natsclock

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	_ "unsafe" // for linkname

	_ "github.com/nats-io/nats-server/v2/server/ats" // whose clock this is
)

//go:linkname clock github.com/nats-io/nats-server/v2/server/ats.utime
var clock atomic.Int64

//go:linkname users github.com/nats-io/nats-server/v2/server/ats.refs
var users atomic.Int64

// never is a time at which no message is old.
const never = 1

// manyUsers keeps every server from being the first user, which starts the goroutine, and
// from being the last.
const manyUsers = 1 << 32

const tick = 100 * time.Millisecond

var take = sync.OnceFunc(func() {
	users.Add(manyUsers)
	clock.Store(never)
})

// Take stops the clock. Call it before the first server starts.
func Take() { take() }

var (
	mu      sync.Mutex
	walls   int           // servers on wall time
	stop    chan struct{} // ends the goroutine of Wall
	stopped chan struct{}
	virtual atomic.Int64 // tests on virtual time
)

// Wall lets messages grow old by the wall clock until release is called. Call it outside
// bubbles.
func Wall() (release func()) {
	Take()
	mu.Lock()
	defer mu.Unlock()
	if walls++; walls == 1 {
		stop, stopped = make(chan struct{}), make(chan struct{})
		set()
		go follow(stop, stopped)
	}
	return func() {
		mu.Lock()
		defer mu.Unlock()
		if walls--; walls == 0 {
			close(stop)
			<-stopped
			if virtual.Load() == 0 {
				clock.Store(never)
			}
		}
	}
}

func follow(stop, stopped chan struct{}) {
	defer close(stopped)
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			set()
		case <-stop:
			return
		}
	}
}

// set shows the wall clock, unless a bubble has a time of its own: by that no message
// outside is old.
func set() {
	if virtual.Load() == 0 {
		clock.Store(time.Now().UnixNano())
	}
}

// Virtual lets messages grow old by the time of the test's bubble until the test ends. A
// test that calls this must not run beside others on virtual time.
func Virtual(t testing.TB) {
	t.Helper()
	Take()
	virtual.Add(1)
	clock.Store(time.Now().UnixNano())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	t.Cleanup(func() {
		cancel()
		<-done
		if virtual.Add(-1) == 0 {
			clock.Store(never)
		}
	})
	go func() {
		defer close(done)
		second := time.NewTicker(time.Second)
		defer second.Stop()
		for {
			select {
			case now := <-second.C:
				clock.Store(now.UnixNano())
			case <-ctx.Done():
				return
			}
		}
	}()
}
