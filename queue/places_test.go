package queue

import (
	"fmt"
	"sync"
	"testing"

	"github.com/openmnq/mnq"
)

func TestQueueQuota(t *testing.T) {
	t.Parallel()
	t.Run("CreatesAtTheSameTimeKeepToIt", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			b.ns.Quota.Queues = 5
			var wg sync.WaitGroup
			errs := make([]error, 20)
			for i := range errs {
				wg.Go(func() { // each name twice
					_, errs[i] = b.services[0].Create(t.Context(), b.ns, fmt.Sprintf("q%d", i/2), nil, nil)
				})
			}
			wg.Wait()
			for _, err := range errs {
				if err != nil {
					wantCode(t, err, "OverLimit")
				}
			}
			if names, _ := b.services[0].List(b.ns, "", "", 100); len(names) != 5 {
				t.Errorf("%d queues: %q", len(names), names)
			}
			if n := len(b.services[0].making); n != 0 {
				t.Errorf("%d places are still taken", n)
			}
		})
	})

	t.Run("DeletedQueueLeavesItsPlace", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			b.ns.Quota.Queues = 1
			if err := b.create("a", nil).Delete(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.create("b", nil)
			_, err := b.services[0].Create(t.Context(), b.ns, "c", nil, nil)
			wantCode(t, err, "OverLimit")
			b.ns.Quota = mnq.Quota{Queues: -1, MessageBytes: b.ns.Quota.MessageBytes}
			b.create("c", nil)
		})
	})
}
