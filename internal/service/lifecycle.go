package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// undoTimeout bounds how long StartAll waits for parts that had started before
// one of them failed.
const undoTimeout = 5 * time.Second

// Part is something that is started and stopped. Either function may be nil.
type Part struct {
	Name  string // for error texts
	Start func(ctx context.Context) error
	Stop  func(ctx context.Context) error
}

// Group is a list of started parts.
type Group struct {
	mu sync.Mutex

	started []Part
}

// StartAll starts the parts in order. When one fails, or ctx ends, the parts
// started before it are stopped in reverse and the error names the part that
// failed.
func StartAll(ctx context.Context, parts ...Part) (*Group, error) {
	g := &Group{}
	for _, p := range parts {
		err := ctx.Err()
		if err == nil && p.Start != nil {
			err = p.Start(ctx)
		}
		if err != nil {
			undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
			defer cancel()
			return nil, errors.Join(fmt.Errorf("start %s: %w", p.Name, err), g.StopAll(undo))
		}
		g.started = append(g.started, p)
	}
	return g, nil
}

// StopAll stops the parts in reverse and goes on after failures. It returns at
// ctx's deadline even when a part does not. A part gets three quarters of the
// time that is left, so that a slow one cannot use up the time of those after
// it. A second call does nothing.
func (g *Group) StopAll(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	var errs []error
	for i, p := range slices.Backward(g.started) {
		if p.Stop == nil {
			continue
		}
		if err := stopWithin(ctx, p.Stop, i > 0); err != nil {
			errs = append(errs, fmt.Errorf("stop %s: %w", p.Name, err))
		}
	}
	g.started = nil
	return errors.Join(errs...)
}

func stopWithin(ctx context.Context, stop func(context.Context) error, leaveTime bool) error {
	if deadline, ok := ctx.Deadline(); ok && leaveTime {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)*3/4)
		defer cancel()
	}
	done := make(chan error, 1)
	go func() { done <- stop(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	// A part that honours its deadline answers about now; prefer its own error.
	select {
	case err := <-done:
		return err
	case <-time.After(100 * time.Millisecond):
		return fmt.Errorf("still running: %w", context.Cause(ctx))
	}
}
