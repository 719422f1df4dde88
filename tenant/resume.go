package tenant

import (
	"context"
	"time"

	"github.com/openmnq/mnq"
)

// Work in several steps leaves a mark in a record before its first step. The
// process that set the mark does the work; if it is cut off, any process finishes
// it: at its own start at once, otherwise after a grace. All steps can be
// repeated, also by two processes at a time.

const sweepEvery = time.Minute

// grace is how long work that another process has probably in hand is left to it.
const grace = 30 * time.Second

// unfinished lists the keys of records that ask for work.
func (x *index) unfinished() []string {
	var keys []string
	for id, r := range x.namespaces {
		if r.Deleting {
			keys = append(keys, namespacePrefix+id)
		}
	}
	for id, r := range x.activations {
		if r.closing() || r.Namespace != nil && !r.idle() && x.namespaces[r.Namespace.Namespace.ID] == nil {
			keys = append(keys, activationPrefix+id)
		}
	}
	for id, r := range x.projects {
		if r.Deleting {
			keys = append(keys, projectPrefix+id)
		}
	}
	for id := range x.credentials {
		if x.credential(id) == nil {
			keys = append(keys, credentialPrefix+id)
		}
	}
	return keys
}

// noteUnfinished wakes finishWork when a change has left a mark. It runs on the
// goroutine of the watch.
func (d *Directory) noteUnfinished(key string) {
	prefix, id := splitKey(key)
	marked := key == ""
	d.view.look(func(x *index) {
		switch prefix {
		case namespacePrefix:
			marked = x.namespaces[id] != nil && x.namespaces[id].Deleting
		case activationPrefix:
			marked = x.activations[id] != nil && x.activations[id].closing()
		}
	})
	if marked {
		d.wake()
	}
}

func (d *Directory) wake() {
	select {
	case d.resume <- struct{}{}:
	default:
	}
}

// finishWork finishes what others have left undone, until ctx ends.
func (d *Directory) finishWork(ctx context.Context) {
	seen := map[string]time.Time{} // marks, and when they may be taken over
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for wait := time.Duration(0); ; wait = grace {
		d.finishDue(ctx, seen, wait)
		select {
		case <-d.resume:
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// finishDue works on every mark that has stood long enough.
func (d *Directory) finishDue(ctx context.Context, seen map[string]time.Time, wait time.Duration) {
	var keys []string
	d.view.look(func(x *index) { keys = x.unfinished() })
	standing := map[string]bool{}
	for _, key := range keys {
		standing[key] = true
		due, known := seen[key]
		if !known {
			due = time.Now().Add(wait)
			seen[key] = due
		}
		if time.Now().Before(due) || ctx.Err() != nil {
			continue
		}
		if err := d.finish(ctx, key); err != nil && ctx.Err() == nil {
			d.log.WarnContext(ctx, "unfinished work stays", "key", key, "error", err)
		}
	}
	for key := range seen {
		if !standing[key] {
			delete(seen, key)
		}
	}
}

func (d *Directory) finish(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	prefix, id := splitKey(key)
	switch prefix {
	case namespacePrefix:
		return d.finishNamespace(ctx, id)
	case activationPrefix:
		return d.finishActivation(ctx, id)
	case projectPrefix:
		defer d.lock(key)()
		var rev uint64
		d.view.look(func(x *index) { rev = x.applied })
		if err := d.finishProject(ctx, id, rev); mnq.KindOf(err) != mnq.Conflict {
			return err
		}
		return nil
	case credentialPrefix:
		_, err := d.store.remove(ctx, key)
		return err
	}
	return nil
}

// finishActivation makes the namespace that an activation promises, or finishes
// closing. While nobody has registered for the end of services there may be
// resources that only its owner can remove, so closing waits.
func (d *Directory) finishActivation(ctx context.Context, projectID string) error {
	defer d.lock(activationPrefix + projectID)()
	r := &activationRecord{}
	if _, err := d.store.read(ctx, activationPrefix+projectID, r); mnq.IsNotFound(err) {
		return nil
	} else if err != nil {
		return err
	}
	if r.closing() {
		d.mu.Lock()
		owned := len(d.onService) > 0
		d.mu.Unlock()
		if !r.idle() && !owned {
			return nil
		}
		return d.finishDeactivation(ctx, projectID)
	}
	if r.Namespace == nil || r.idle() {
		return nil
	}
	return d.makeNamespace(ctx, r.Namespace)
}
