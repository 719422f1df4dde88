package topic

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/openmnq/mnq/internal/wire"
)

// connection is this process's wire to one namespace.
type connection struct {
	mu   sync.Mutex
	wire *wire.Wire // nil until it is first needed
}

// wire returns the namespace's wire, made on first use and again after its connection
// was closed.
func (s *Service) wire(ctx context.Context, namespaceID string) (*wire.Wire, error) {
	s.mu.Lock()
	c := s.conns[namespaceID]
	if c == nil {
		c = &connection{}
		s.conns[namespaceID] = c
	}
	s.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wire != nil && !c.wire.Conn().IsClosed() {
		return c.wire, nil
	}
	nc, _, err := s.cfg.Connect(ctx, namespaceID)
	if err != nil {
		return nil, err
	}
	if c.wire != nil {
		c.wire.Close()
		c.wire = nil // it cannot be closed twice
	}
	w, err := wire.New(nc)
	if err != nil {
		return nil, unavailable("topic.connect", namespaceID, err)
	}
	c.wire = w
	return w, nil
}

func (c *connection) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.wire != nil {
		c.wire.Close()
		c.wire = nil
	}
}

// closeConnections ends the wires of the namespaces given, or of all.
func (s *Service) closeConnections(namespaceIDs ...string) {
	s.mu.Lock()
	var closing []*connection
	for id, c := range s.conns {
		if len(namespaceIDs) == 0 || id == namespaceIDs[0] {
			closing = append(closing, c)
			delete(s.conns, id)
		}
	}
	s.mu.Unlock()
	for _, c := range closing {
		c.close()
	}
}

// eachWire ends requests for messages whose answers have got lost.
func (s *Service) eachWire(now time.Time) {
	s.mu.RLock()
	conns := slices.Collect(maps.Values(s.conns))
	s.mu.RUnlock()
	for _, c := range conns {
		c.mu.Lock()
		w := c.wire
		c.mu.Unlock()
		if w != nil {
			w.Overdue(now)
		}
	}
}
