package topic

import (
	"fmt"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

var ownFrames = regexp.MustCompile(`github\.com/openmnq/mnq/(topic|internal/wire)\.`)

// TestIdleTopicsRunNothing looks that topics with nothing to do have no goroutines and
// send no requests but one every few minutes.
func TestIdleTopicsRunNothing(t *testing.T) { //nolint:paralleltest // counts goroutines
	alone(t, func(t *testing.T, b *bundle) {
		b.ns.Quota.Topics = -1
		b.queue("q")
		idle := func() int {
			time.Sleep(time.Minute)
			stacks := make([]byte, 64<<20)
			stacks = stacks[:runtime.Stack(stacks, true)]
			n := 0
			for g := range strings.SplitSeq(string(stacks), "\n\n") {
				if ownFrames.MatchString(g) && !strings.Contains(g, "testing.tRunner") {
					n++
				}
			}
			return n
		}
		one := b.topic("one")
		b.subscribe(one, "q")
		before := idle()
		const more = 100
		for i := range more {
			a := b.topic(fmt.Sprint("t", i))
			b.subscribe(a, "q", raw, "true")
			b.publish(a, "x")
		}
		b.drain("q", more)
		if after := idle(); after > before {
			t.Errorf("%d goroutines with one topic, %d with %d more", before, after, more)
		}
		sent := b.processes[0].nc.Stats().OutMsgs
		time.Sleep(10 * standing)
		if perTopic := float64(b.processes[0].nc.Stats().OutMsgs-sent) / (more + 1) / 10; perTopic > 1.1 {
			t.Errorf("%.2f requests of a topic every %s", perTopic, standing)
		}
		for i := range more {
			b.publish(b.mustTopic(fmt.Sprint("t", i)), "y")
		}
		b.drain("q", more)
	})
}

func (b *bundle) mustTopic(name string) *Topic {
	b.t.Helper()
	a, err := b.processes[0].topics.Topic(b.ns, name)
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}
