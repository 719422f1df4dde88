package topic

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// TestThrottleHoldsForAllProcesses: the attempts of three processes together are as
// many as one may make, evenly spread.
func TestThrottleHoldsForAllProcesses(t *testing.T) {
	t.Parallel()
	withControl(t, func(t *testing.T, js jetstream.JetStream) {
		for _, rate := range []int{1, 7, 100} {
			id := fmt.Sprint("subscription-", rate)
			var mu sync.Mutex
			var at []time.Time
			var all sync.WaitGroup
			begun := time.Now()
			for range 3 {
				x := newThrottles(js, 1)
				for range 4 { // concurrent deliveries
					all.Go(func() {
						for range max(1, rate/4) {
							if err := x.wait(context.Background(), id, rate); err != nil {
								t.Error(err)
								return
							}
							mu.Lock()
							at = append(at, time.Now())
							mu.Unlock()
						}
					})
				}
			}
			all.Wait()
			slices.SortFunc(at, time.Time.Compare)
			if want := time.Duration(len(at)-1) * interval(rate); at[len(at)-1].Sub(begun) < want {
				t.Errorf("rate %d: %d attempts within %s, which takes %s", rate, len(at), at[len(at)-1].Sub(begun), want)
			}
			if most := time.Duration(len(at)+3*throttleChunk(rate)) * interval(rate); at[len(at)-1].Sub(begun) > most {
				t.Errorf("rate %d: %d attempts took %s, more than %s", rate, len(at), at[len(at)-1].Sub(begun), most)
			}
			for i := range at {
				if n := i + rate; n < len(at) && at[n].Sub(at[i]) < time.Second-time.Millisecond {
					t.Errorf("rate %d: %d attempts within %s", rate, rate+1, at[n].Sub(at[i]))
					break
				}
			}
		}
	})
}

// TestThrottleDoesNotMakeUpForIdleTime: after a pause the rate is what it was.
func TestThrottleDoesNotMakeUpForIdleTime(t *testing.T) {
	t.Parallel()
	withControl(t, func(t *testing.T, js jetstream.JetStream) {
		x := newThrottles(js, 1)
		wait := func() time.Time {
			t.Helper()
			if err := x.wait(t.Context(), "s", 4); err != nil {
				t.Fatal(err)
			}
			return time.Now()
		}
		wait()
		time.Sleep(10 * time.Second)
		begun := time.Now()
		if first := wait().Sub(begun); first > 0 {
			t.Errorf("the first after a pause came after %s", first)
		}
		for range 3 {
			wait()
		}
		if took := time.Since(begun); took != 750*time.Millisecond {
			t.Errorf("four attempts at 4 a second took %s", took)
		}
	})
}
