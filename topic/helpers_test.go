package topic

import (
	"bufio"
	"io"
	"runtime"
	"testing"

	"github.com/openmnq/mnq/internal/bubble"
)

func newBufioReader(r io.Reader) *bufio.Reader { return bufio.NewReader(r) }

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// memory is how many bytes have been allocated so far.
func memory() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

func TestMain(m *testing.M) { bubble.Main(m) }
