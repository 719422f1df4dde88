package topic

import (
	"errors"
	"strings"
	"testing"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/queue"
)

// TestPublishToFullStorage answers OverLimit, and again takes messages when there is room.
func TestPublishToFullStorage(t *testing.T) {
	t.Parallel()
	alone(t, func(t *testing.T, b *bundle) {
		a, q := b.topic("a"), b.queue("q")
		fifo := b.topic("a.fifo", attrFifo, "true", attrContent, "true")
		filler := strings.Repeat("x", 256<<10)
		for n := 0; q.Send(t.Context(), []queue.Send{{Body: filler}})[0].Err == nil; n++ {
			if n > 1000 {
				t.Fatal("the storage does not get full")
			}
		}
		for _, full := range []*Topic{a, fifo} {
			got := full.Publish(t.Context(), b.ns, []Publication{{Message: filler, GroupID: "g"}})[0].Err
			if e, ok := errors.AsType[*mnq.Error](got); !ok || e.Kind != mnq.QuotaExceeded || e.Code != "OverLimit" {
				t.Errorf("%s: %v", full.name, got)
			}
		}
		if err := q.Purge(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, free := range []*Topic{a, fifo} {
			if err := free.Publish(t.Context(), b.ns, []Publication{{Message: filler, GroupID: "g"}})[0].Err; err != nil {
				t.Errorf("%s: %v", free.name, err)
			}
		}
	})
}
