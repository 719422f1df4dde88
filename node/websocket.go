package node

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"

	"github.com/coder/websocket"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/service"
)

// webSocket carries the NATS protocol in WebSocket messages: each connection is an
// in-process one of the embedded server, so the server checks credentials and
// limits as everywhere. The server's own WebSocket listener is not used, because it
// lets clients in before the accounts have been published.
type webSocket struct {
	server interface{ InProcessConn() (net.Conn, error) }
	log    *slog.Logger
	http   *service.HTTP
	open   sync.WaitGroup // connections
}

// ListenWebSocket opens the WebSocket listener, if there is to be one. Like Listen
// it is for when every account has been pushed.
func (n *Node) ListenWebSocket(ctx context.Context) error {
	if n.cfg.WebSocket == "" {
		return nil
	}
	w := &webSocket{server: n.srv, log: n.log}
	var err error
	w.http, err = service.NewHTTP(ctx, service.HTTPConfig{
		Address: n.cfg.WebSocket, TLS: n.cfg.TLS, Before: w, Log: n.log,
		Failed: func(err error) { n.log.Error("nats websocket ended", "error", err) },
	})
	if err != nil {
		return &mnq.Error{
			Kind: mnq.Invalid, Op: "node.ListenWebSocket", Field: "nats-websocket", Resource: n.cfg.WebSocket,
			Msg: "cannot listen: " + err.Error(), Err: err,
		}
	}
	n.ws = w
	return w.http.Start(ctx)
}

// WebSocketAddress is the bound host:port of the WebSocket listener, "" without one.
func (n *Node) WebSocketAddress() string {
	if n.ws == nil {
		return ""
	}
	return n.ws.http.Address()
}

// ServeHTTP serves one connection, until either side ends it.
func (w *webSocket) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.open.Add(1)
	defer w.open.Done()
	// From any page: a client proves itself by signing what the server sends, never
	// by something that a browser adds.
	c, err := websocket.Accept(rw, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
	if err != nil {
		return // answered
	}
	server, err := w.server.InProcessConn()
	if err != nil {
		w.log.Warn("nats websocket refused", "error", err)
		_ = c.Close(websocket.StatusTryAgainLater, "the server is stopping")
		return
	}
	client := websocket.NetConn(context.WithoutCancel(r.Context()), c, websocket.MessageBinary)
	var inbound sync.WaitGroup
	inbound.Go(func() {
		_, _ = io.Copy(server, client) // ends with either side
		_ = server.Close()
	})
	_, _ = io.Copy(client, server)
	// Not client.Close, which would cut the connection under a client that is still
	// writing, and with it what the server said last.
	_ = c.Close(websocket.StatusNormalClosure, "")
	inbound.Wait()
}

// refuse closes the listener.
func (w *webSocket) refuse(ctx context.Context) error {
	if w == nil {
		return nil
	}
	return w.http.Stop(ctx)
}

// wait returns when every connection has ended, which the end of the server brings
// about.
func (w *webSocket) wait(ctx context.Context) error {
	if w == nil {
		return nil
	}
	done := make(chan struct{})
	go func() { w.open.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("end nats websockets: %w", context.Cause(ctx))
	}
}
