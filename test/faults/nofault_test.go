package faults

import (
	"net/http"
	"testing"
	"time"

	"github.com/openmnq/mnq/internal/mnqtest"
)

// TestNoFault holds a server to the promises under load while nothing happens to it:
// then nothing comes twice either.
func TestNoFault(t *testing.T) {
	t.Parallel()
	r := begin(t, "no fault")
	p := mnqtest.Start(t, mnqtest.Options{Args: []string{"--dev"}})
	// Its transport keeps fewer idle connections than there are clients, so that many are
	// closed as soon as the answer has been read.
	c := client(&http.Transport{MaxIdleConnsPerHost: 1}, p.URL, devKeys, 1)
	var loads []*load
	for _, fifo := range []bool{false, true} {
		loads = append(loads, newLoad(t, c, loadConfig{
			name: "q", fifo: fifo, producers: 4, consumers: 2, visibility: 60 * time.Second, pace: 10 * time.Millisecond, size: 500,
		}))
	}
	<-time.After(time.Duration(many(5, 60)) * time.Second)
	for _, l := range loads {
		l.finish(t, r)
	}
	if r.duplicated > 0 {
		t.Errorf("%d messages came twice", r.duplicated)
	}
}
