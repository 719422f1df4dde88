// Package bubble runs tests against an embedded NATS server on virtual time
// (testing/synctest). It is for tests only.
package bubble

import (
	"runtime"
	"testing"

	"go.uber.org/goleak"

	"github.com/openmnq/mnq/internal/natsclock"
)

// Main is TestMain for packages whose tests run a server in bubbles. It also
// fails when goroutines are left behind.
func Main(m *testing.M) {
	natsclock.Take()
	goleak.VerifyTestMain(m, goleak.IgnoreCurrent())
}

// Expire lets messages grow old in this bubble until the test ends. The clock is
// one for the whole process: a test that calls this must not be parallel.
func Expire(t testing.TB) {
	t.Helper()
	natsclock.Virtual(t)
}

// DropPools empties the pools of the process. What lies in them may belong to a
// bubble that is over, and must not be used in another one.
func DropPools() {
	for range 2 { // a pool keeps what it has for one collection
		runtime.GC()
	}
}
