package mnqtest_test

import (
	"testing"

	"github.com/openmnq/mnq/mnqtest"
)

// BenchmarkStart is the time until a server, its AWS configuration and its connection to
// NATS can be used; stopping it is not counted.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		b.Run("", func(b *testing.B) { mnqtest.Start(b) })
	}
}
