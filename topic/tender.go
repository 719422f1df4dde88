package topic

import (
	"context"
	"sync"
	"time"
)

// tender keeps what runs for topics and subscriptions in line with their definitions.
type tender struct {
	mu      sync.Mutex
	touched map[string]bool // topics whose definitions have changed, by incarnation
	wake    chan struct{}

	sources map[string]*source // fan-outs, by topic incarnation; of the tender's goroutine
}

// touch has a topic looked at. It does not block.
func (d *tender) touch(topicID string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.touched == nil {
		d.touched = map[string]bool{}
	}
	d.touched[topicID] = true
	if d.wake != nil {
		select {
		case d.wake <- struct{}{}:
		default:
		}
	}
}

func (d *tender) take() map[string]bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	touched := d.touched
	d.touched = nil
	return touched
}

// overdueEvery is how often requests for messages are looked after whose answers may
// have got lost.
const overdueEvery = 15 * time.Second

// tend runs until ctx ends.
func (s *Service) tend(ctx context.Context) {
	d := &s.tender
	d.mu.Lock()
	d.wake = make(chan struct{}, 1)
	d.mu.Unlock()
	d.sources = map[string]*source{}
	tick := time.NewTicker(overdueEvery)
	defer tick.Stop()
	for {
		for id := range d.take() {
			s.tendTopic(id) //nolint:contextcheck // a source lives longer than this round
		}
		select {
		case <-d.wake:
		case now := <-tick.C:
			s.eachWire(now)
		case <-ctx.Done():
			for _, x := range d.sources {
				x.stop()
			}
			return
		}
	}
}

// tendTopic starts the fan-out of a topic that is there, and ends it with the topic.
func (s *Service) tendTopic(id string) {
	s.mu.RLock()
	t := s.topics[id]
	s.mu.RUnlock()
	x := s.tender.sources[id]
	switch {
	case t == nil && x != nil:
		x.stop()
		delete(s.tender.sources, id)
	case t == nil || !t.state.Load().Ready:
		return
	case x == nil:
		x = t.fanOutSource()
		s.tender.sources[id] = x
		x.start()
	}
	if t == nil {
		return
	}
	for _, sub := range s.subscribers(id) {
		if sub.waits() {
			s.deliveries.wake(sub)
		}
	}
}
