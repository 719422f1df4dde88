package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/openmnq/mnq/queue"
)

// giveBackTimeout is how long messages that nobody took may need to become visible again.
const giveBackTimeout = 5 * time.Second

// delivering watches an answer on its way: what a receive has handed out goes back when
// the client is not there any more to take it.
type delivering struct {
	http.ResponseWriter

	failed   bool
	giveBack func(ctx context.Context) // set by the call; nil: nothing to give back
}

// Write implements [http.ResponseWriter].
func (d *delivering) Write(b []byte) (int, error) {
	n, err := d.ResponseWriter.Write(b)
	d.failed = d.failed || err != nil
	return n, err
}

// Unwrap is for [http.ResponseController].
func (d *delivering) Unwrap() http.ResponseWriter { return d.ResponseWriter }

// end is called when the answer has been written.
func (d *delivering) end(ctx context.Context) {
	if d.giveBack == nil {
		return
	}
	if !d.failed {
		d.failed = http.NewResponseController(d.ResponseWriter).Flush() != nil
	}
	if d.failed || ctx.Err() != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBackTimeout)
		defer cancel()
		d.giveBack(ctx)
	}
}

// unlessDelivered has messages made visible again if the answer does not reach the
// client.
func unlessDelivered(ctx context.Context, q *queue.Queue, got []queue.Message) {
	c, _ := ctx.Value(contextKey{}).(caller)
	if c.answer == nil || len(got) == 0 {
		return
	}
	c.answer.giveBack = func(ctx context.Context) {
		changes := make([]queue.Visibility, 0, len(got))
		for i := range got {
			changes = append(changes, queue.Visibility{Handle: got[i].Handle})
		}
		q.ChangeVisibility(ctx, changes) // best effort: the visibility timeout does it otherwise
	}
}
