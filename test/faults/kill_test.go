package faults

import (
	"math/rand/v2"
	"net/http"
	"testing"
	"time"

	"github.com/openmnq/mnq/internal/mnqtest"
)

const devQueues = "arn:aws:sqs:fr-par:000000000000:"

// TestKill ends a loaded server with kill -9 again and again.
func TestKill(t *testing.T) {
	t.Parallel()
	r := begin(t, "kill -9, one node")
	p := mnqtest.Start(t, mnqtest.Options{Args: []string{"--dev", "--log-level", "error"}})
	c := client(http.DefaultTransport, p.URL, devKeys, 1)
	var loads []*load
	for _, fifo := range []bool{false, true} {
		loads = append(loads, newLoad(t, c, loadConfig{
			name: "q", fifo: fifo, producers: 2, consumers: 2, visibility: 5 * time.Second, pace: 5 * time.Millisecond, size: 200,
		}))
	}
	f := newFan(t, fanConfig{via: http.DefaultTransport, url: p.URL, keys: devKeys, arn: devQueues, webhook: true})
	for range many(5, 100) {
		<-time.After(time.Duration(300+rand.IntN(700)) * time.Millisecond)
		p.Kill()
		p.Restart()
		r.faults++
	}
	for _, l := range loads {
		l.progress(t, 5)
		l.finish(t, r)
	}
	f.finish(t, r)
}
