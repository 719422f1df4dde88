package topic

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestSlotsBoundAnEndpoint(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSlots()
		var running, most atomic.Int64
		for range 200 {
			go func() {
				x, err := s.acquire(t.Context(), "n", "e")
				if err != nil {
					t.Error(err)
					return
				}
				defer x.release()
				most.Store(max(most.Load(), running.Add(1)))
				time.Sleep(time.Second)
				running.Add(-1)
			}()
		}
		begun := time.Now()
		other, err := s.acquire(t.Context(), "n", "another")
		if err != nil || time.Since(begun) > 0 {
			t.Errorf("another endpoint waits: %v", err)
		}
		other.release()
		time.Sleep(time.Minute)
		synctest.Wait()
		if most.Load() != endpointSlots {
			t.Errorf("%d at once", most.Load())
		}
		if len(s.endpoints) != 0 || len(s.namespaces) != 0 {
			t.Errorf("%d endpoints and %d namespaces are left", len(s.endpoints), len(s.namespaces))
		}
	})
}

// TestSilentEndpointsLeaveRoom: many endpoints that never answer do not take all the
// places of their namespace.
func TestSilentEndpointsLeaveRoom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSlots()
		ctx, stop := context.WithCancel(t.Context())
		for i := range 60 {
			endpoint := "silent" + string(rune('A'+i))
			for range 2 * endpointSlots {
				go func() {
					for {
						x, err := s.acquire(ctx, "n", endpoint)
						if err != nil {
							return
						}
						time.Sleep(requestTimeout)
						x.learn(false)
						x.release()
					}
				}()
			}
		}
		time.Sleep(10 * time.Minute) // they have been found out
		if r := s.room("n", "silentA"); r != 1 {
			t.Errorf("room for %d more at a silent endpoint that others wait for", r)
		}
		for range 10 {
			begun := time.Now()
			x, err := s.acquire(ctx, "n", "good")
			if err != nil || time.Since(begun) > 0 {
				t.Errorf("a good endpoint waits %s: %v", time.Since(begun), err)
			}
			x.learn(true)
			x.release()
			time.Sleep(time.Second)
		}
		stop()
		synctest.Wait()
		s.mu.Lock() // who was at an endpoint goes on below
		for _, g := range s.endpoints {
			if g.limit != endpointMinSlots || len(g.waiting) > 0 {
				t.Errorf("%+v", *g)
			}
		}
		s.mu.Unlock()
		time.Sleep(requestTimeout)
	})
}

func TestEndpointThatAnswersAgainGetsItsPlacesBack(t *testing.T) {
	t.Parallel()
	s := newSlots()
	x, err := s.acquire(t.Context(), "n", "e")
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		x.learn(false)
	}
	if r := s.room("n", "e"); r != endpointMinSlots {
		t.Errorf("room for %d", r)
	}
	x.release()
	if r := s.room("n", "e"); r != endpointMinSlots {
		t.Errorf("it was forgotten: room for %d", r)
	}
	if x, err = s.acquire(t.Context(), "n", "e"); err != nil {
		t.Fatal(err)
	}
	for range endpointSlots {
		x.learn(true)
	}
	x.release()
	if r := s.room("n", "e"); r != endpointSlots || len(s.endpoints) != 0 {
		t.Errorf("room for %d, %d are kept", r, len(s.endpoints))
	}
}

func TestWhoGivesUpWaitingTakesNoPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSlots()
		var taken []slot
		for range endpointSlots {
			x, err := s.acquire(t.Context(), "n", "e")
			if err != nil {
				t.Fatal(err)
			}
			taken = append(taken, x)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := s.acquire(ctx, "n", "e"); err == nil {
			t.Fatal("one too many")
		}
		for _, x := range taken {
			x.release()
		}
		if len(s.endpoints) != 0 || len(s.namespaces) != 0 || !s.process.TryAcquire(processSlots) {
			t.Error("something is still taken")
		}
	})
}
