package queue

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkRound sends, receives and deletes one message at a time with a number of
// clients, in pairs of a standard and a FIFO queue.
func BenchmarkRound(b *testing.B) {
	for _, clients := range []int{1, 16} {
		for _, fifo := range []bool{false, true} {
			b.Run(fmt.Sprintf("fifo=%v/clients=%d", fifo, clients), func(b *testing.B) {
				q := syncedQueue(b, true, fifo)
				var n atomic.Int64
				b.SetParallelism((clients + 1) / 2) // times GOMAXPROCS
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						i := strconv.FormatInt(n.Add(1), 10)
						m := Send{Body: i, SenderID: "me"}
						if fifo {
							m.GroupID, m.DedupID = i, i
						}
						if err := q.Send(context.Background(), []Send{m})[0].Err; err != nil {
							b.Fatal(err)
						}
						got, err := q.Receive(context.Background(), Receive{Max: 1, Wait: time.Second, Visibility: time.Minute})
						if err != nil {
							b.Fatal(err)
						}
						for _, m := range got {
							if err := q.DeleteMessages(context.Background(), []string{m.Handle})[0]; err != nil {
								b.Fatal(err)
							}
						}
					}
				})
			})
		}
	}
}
