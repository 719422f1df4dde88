package service

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// The limits of connections, as metrics name them.
const (
	LimitConnections        = "connections"
	LimitAddressConnections = "connections_per_address"
)

// turnedAway is what a connection too many is told, if it is in clear text: that of a
// TLS client has not said yet what it understands.
const turnedAway = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"

// connections counts the connections of a listener and closes those too many. Zero is
// no limit.
type connections struct {
	max, maxPerAddress int
	refused            func(limit string)

	mu     sync.Mutex
	open   int
	byHost map[string]int
}

func newConnections(limit, perAddress int, refused func(limit string)) *connections {
	if refused == nil {
		refused = func(string) {}
	}
	return &connections{max: limit, maxPerAddress: perAddress, refused: refused, byHost: map[string]int{}}
}

// changed is the server's [http.Server.ConnState].
func (c *connections) changed(conn net.Conn, state http.ConnState) {
	host := hostOf(conn.RemoteAddr().String())
	switch state {
	case http.StateNew:
		if limit := c.add(host); limit != "" {
			c.refused(limit)
			if _, plain := conn.(*net.TCPConn); plain {
				_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
				_, _ = conn.Write([]byte(turnedAway)) // it is closed whatever comes of it
			}
			_ = conn.Close() // the server sees it and reports it closed
		}
	case http.StateClosed, http.StateHijacked:
		c.remove(host)
	case http.StateActive, http.StateIdle:
	}
}

// add counts a connection and returns the limit that it is beyond.
func (c *connections) add(host string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open++
	c.byHost[host]++
	switch {
	case c.max > 0 && c.open > c.max:
		return LimitConnections
	case c.maxPerAddress > 0 && c.byHost[host] > c.maxPerAddress:
		return LimitAddressConnections
	default:
		return ""
	}
}

func (c *connections) remove(host string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open--
	if c.byHost[host]--; c.byHost[host] == 0 {
		delete(c.byHost, host)
	}
}

func (c *connections) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open
}

// hostOf is the host of a host:port.
func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		return host
	}
	return address
}

// ClientAddress is the host that a request came from: the client's, or that of the
// proxy before us. Forwarding headers are never read.
func ClientAddress(r *http.Request) string { return hostOf(r.RemoteAddr) }

// ConnectionsForFiles is how many connections leave enough of the process's open files
// for everything else: three quarters of them, at most 65,536.
func ConnectionsForFiles() int {
	const most = 1 << 16
	n := openFiles()
	if n == 0 || n > most*4/3 {
		return most
	}
	return max(int(n)*3/4, 16)
}
