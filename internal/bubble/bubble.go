// Package bubble runs tests against an embedded NATS server on virtual time
// (testing/synctest). It is for tests only.
//
// The server reads message ages from a clock of its own, a global that a
// goroutine sets ten times a second. Inside a bubble that goroutine would keep
// virtual time from advancing, and outside it would show the wall clock, by which
// every message in the bubble is decades old. So it is never started, and a test
// that needs messages to expire moves the clock along with its bubble.
package bubble

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"
	_ "unsafe" // for linkname

	_ "github.com/nats-io/nats-server/v2/server/ats" // whose clock this is
	"go.uber.org/goleak"
)

//go:linkname clock github.com/nats-io/nats-server/v2/server/ats.utime
var clock atomic.Int64

//go:linkname users github.com/nats-io/nats-server/v2/server/ats.refs
var users atomic.Int64

// never is a time at which no message is old.
const never = 1

// Main is TestMain for packages whose tests run a server in bubbles. It also
// fails when goroutines are left behind.
func Main(m *testing.M) {
	users.Store(1 << 32) // whoever registers is not the first, so the goroutine is never started
	clock.Store(never)
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

// Expire lets messages grow old in this bubble until the test ends. The clock is
// one for the whole process: a test that calls this must not be parallel.
func Expire(t testing.TB) {
	t.Helper()
	clock.Store(time.Now().UnixNano())
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	t.Cleanup(func() {
		stop()
		<-done
		clock.Store(never)
	})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case now := <-tick.C:
				clock.Store(now.UnixNano())
			case <-ctx.Done():
				return
			}
		}
	}()
}

// DropPools empties the pools of the process. What lies in them may belong to a
// bubble that is over, and must not be used in another one.
func DropPools() {
	for range 2 { // a pool keeps what it has for one collection
		runtime.GC()
	}
}
