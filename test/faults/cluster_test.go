package faults

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/openmnq/mnq/internal/mnqtest"
)

// trouble is a fault of a cluster. It ends when it returns.
type trouble struct {
	name string
	make func(t *testing.T, w *mnqtest.Network, c *mnqtest.Cluster, victim int)
}

// a while, so that some faults are over before anybody notices and some long after.
func while(least, most time.Duration) { <-time.After(least + rand.N(most-least)) }

var troubles = []trouble{
	{"kill", func(_ *testing.T, _ *mnqtest.Network, c *mnqtest.Cluster, victim int) {
		c.Nodes[victim].Kill()
		while(0, 4*time.Second)
		c.Nodes[victim].Launch()
	}},
	{"stop and continue", func(_ *testing.T, _ *mnqtest.Network, c *mnqtest.Cluster, victim int) {
		c.Nodes[victim].Pause()
		while(500*time.Millisecond, 8*time.Second)
		c.Nodes[victim].Resume()
	}},
	{"partition", func(_ *testing.T, w *mnqtest.Network, _ *mnqtest.Cluster, victim int) {
		w.CutOff(victim, false)
		while(time.Second, 8*time.Second)
		w.Heal()
	}},
	{"one-way loss", func(_ *testing.T, w *mnqtest.Network, _ *mnqtest.Cluster, victim int) {
		w.CutOff(victim, true)
		while(time.Second, 8*time.Second)
		w.Heal()
	}},
	{"slow link", func(_ *testing.T, w *mnqtest.Network, _ *mnqtest.Cluster, victim int) {
		w.SlowDown(victim, 200+rand.IntN(800))
		while(2*time.Second, 5*time.Second)
		w.Heal()
	}},
	{"restart", func(t *testing.T, _ *mnqtest.Network, c *mnqtest.Cluster, victim int) {
		if err := c.Nodes[victim].Stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
		c.Nodes[victim].Launch()
	}},
}

// TestThreeNodes makes one fault after the other, in random order, on a cluster that
// clients use through a load balancer.
func TestThreeNodes(t *testing.T) {
	t.Parallel()
	needRoot(t, "three nodes")
	for i := range many(1, 2) {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			threeNodes(t, i)
		})
	}
}

// threeNodes makes each trouble so many times, in the short form only some once.
func threeNodes(t *testing.T, id int) {
	t.Helper()
	const name = "three nodes"
	w, err := mnqtest.NewNetwork(t, id, 3)
	if err != nil {
		cannot(t, name, err.Error())
	}
	if out, err := exec.CommandContext(t.Context(), "tc", "-V").CombinedOutput(); err != nil {
		cannot(t, name, fmt.Sprintf("tc: %v %s", err, out))
	}
	r := begin(t, name)
	cluster := mnqtest.StartClusterOn(t, w)
	ns := cluster.Nodes[0].Namespace("q", "sqs_sns")
	keys := cluster.Nodes[1].Keys(ns, "prm")
	c := client(mnqtest.NewBalancer(t, cluster.Nodes...), "http://mnq.test", keys, 8)
	const visibility = 20 * time.Second
	var loads []*load
	for _, fifo := range []bool{false, true} {
		loads = append(loads, newLoad(t, c, loadConfig{name: "q", fifo: fifo, producers: 2, consumers: 2, visibility: visibility, pace: 20 * time.Millisecond}))
	}
	for _, l := range loads {
		l.progress(t, 5)
	}
	count := map[string]int{}
	each := 15 // in each of two clusters
	if *most > 0 {
		each = *most
	}
	for _, n := range rand.Perm(each * len(troubles))[:many(2, each*len(troubles))] {
		one := troubles[n%len(troubles)]
		one.make(t, w, cluster, rand.IntN(3))
		r.faults++
		count[one.name]++
		for _, l := range loads {
			l.progress(t, 5)
		}
		for _, p := range cluster.Nodes { // a second fault meanwhile would take away the majority
			p.WaitReady()
		}
	}
	for _, one := range troubles {
		r.say("%s %d", one.name, count[one.name])
	}
	for _, l := range loads {
		l.finish(t, r)
	}
}
