package rest

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/service"
)

const (
	eventWait = 10 * time.Second // for the client to take one event
	keepAlive = 15 * time.Second // between two signs of life
)

// events are what a stream sends to its client.
type events struct {
	next    chan event
	problem func(error) *problem
}

type event struct {
	name string
	data any
}

// send waits until the client has room for the event, or ctx ends.
func (e *events) send(ctx context.Context, name string, data any) {
	select {
	case e.next <- event{name, data}:
	case <-ctx.Done():
	}
}

// fail sends the error that ends the stream.
func (e *events) fail(ctx context.Context, err error) { e.send(ctx, "end", e.problem(err)) }

// stream registers an operation that answers with server-sent events. f checks what
// is asked for and returns what sends the events, until it returns or its context
// ends: with the client, or when the server stops.
func stream[I any](a *API, op operation, f func(ctx context.Context, who mnq.Identity, in *I) (func(context.Context, *events), error)) {
	described := a.describe(op, http.StatusOK)
	described.Responses["200"] = &huma.Response{
		Description: "events until the client goes away",
		Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: "string"}}},
	}
	huma.Register(a.huma, described, func(ctx context.Context, in *I) (*huma.StreamResponse, error) {
		feed, err := run(ctx, a, op.on(in), func(who mnq.Identity) (func(context.Context, *events), error) { return f(ctx, who, in) })
		if err != nil {
			return nil, err
		}
		c, _ := ctx.Value(contextKey{}).(caller)
		out := &events{next: make(chan event), problem: func(err error) *problem { return a.render(ctx, c.requestID, err, op) }}
		return &huma.StreamResponse{Body: func(hc huma.Context) { //nolint:contextcheck // huma hands the same one over
			r, w := humago.Unwrap(hc)
			serveEvents(r.Context(), w, out, feed)
		}}, nil
	})
}

// serveEvents writes what feed sends, and a comment when there is nothing for a while,
// so that proxies do not take the connection for dead.
func serveEvents(ctx context.Context, w http.ResponseWriter, out *events, feed func(context.Context, *events)) {
	ctx, cancel := service.UntilDraining(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		feed(ctx, out)
	}()
	begun := time.Now()
	defer func() {
		cancel()
		<-done
		if info := service.RequestOf(ctx); info != nil {
			info.Waited = time.Since(begun) // it is no slow answer
		}
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(time.Time{}) // only a real connection has deadlines
	write := func(text string) bool {
		_ = c.SetWriteDeadline(time.Now().Add(eventWait))
		_, err := io.WriteString(w, text)
		return err == nil && c.Flush() == nil
	}
	if !write(": following\n\n") {
		return
	}
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	for {
		select {
		case e := <-out.next:
			if data, err := json.Marshal(e.data); err != nil || !write("event: "+e.name+"\ndata: "+string(data)+"\n\n") {
				return
			}
		case <-tick.C:
			if !write(": still here\n\n") {
				return
			}
		case <-done:
			return
		case <-ctx.Done():
			return
		}
	}
}
