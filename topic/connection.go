package topic

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/openmnq/mnq/internal/wire"
)

// connection is this process's wire to one namespace.
type connection struct {
	turn chan struct{} // held by whoever looks at wire; making one may take a while
	wire *wire.Wire    // nil until it is first needed
}

func (c *connection) lock(ctx context.Context) error {
	select {
	case c.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *connection) unlock() { <-c.turn }

// wire returns the namespace's wire, made on first use and again after its connection
// was closed.
func (s *Service) wire(ctx context.Context, namespaceID string) (*wire.Wire, error) {
	s.mu.Lock()
	c := s.conns[namespaceID]
	if c == nil {
		c = &connection{turn: make(chan struct{}, 1)}
		s.conns[namespaceID] = c
	}
	s.mu.Unlock()
	if err := c.lock(ctx); err != nil {
		return nil, err
	}
	defer c.unlock()
	if c.wire != nil && !c.wire.Conn().IsClosed() {
		return c.wire, nil
	}
	nc, _, err := s.cfg.Connect(ctx, namespaceID)
	if err != nil {
		return nil, err
	}
	if c.wire != nil {
		c.wire.Close(ctx)
		c.wire = nil // it cannot be closed twice
	}
	w, err := wire.New(nc)
	if err != nil {
		return nil, unavailable("topic.connect", namespaceID, err)
	}
	c.wire = w
	return w, nil
}

func (c *connection) close(ctx context.Context) {
	if c.lock(ctx) != nil {
		return // whoever makes it finds its connection closed
	}
	defer c.unlock()
	if c.wire != nil {
		c.wire.Close(ctx)
		c.wire = nil
	}
}

// closeConnections ends the wires of the namespaces given, or of all.
func (s *Service) closeConnections(ctx context.Context, namespaceIDs ...string) {
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
		c.close(ctx)
	}
}

// eachWire ends requests for messages whose answers have got lost.
func (s *Service) eachWire(now time.Time) {
	s.mu.RLock()
	conns := slices.Collect(maps.Values(s.conns))
	s.mu.RUnlock()
	for _, c := range conns {
		select {
		case c.turn <- struct{}{}:
		default: // it is being made
			continue
		}
		w := c.wire
		c.unlock()
		if w != nil {
			w.Overdue(now)
		}
	}
}
