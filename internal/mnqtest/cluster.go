package mnqtest

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Cluster is several mnq processes whose embedded servers form a NATS cluster.
type Cluster struct {
	Nodes []*Process

	t      testing.TB
	token  string
	routes string
	listen []string
}

// StartCluster prepares the keys as an operator would and starts n nodes with as many
// replicas. It returns when all are ready.
func StartCluster(t testing.TB, n int, args ...string) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	for range n {
		c.listen = append(c.listen, FreeAddress(t))
	}
	return c.start(func(int) Options { return Options{} }, args)
}

// StartClusterOn does so on a network.
func StartClusterOn(t testing.TB, w *Network, args ...string) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	for _, host := range w.Hosts {
		c.listen = append(c.listen, host+":6222")
	}
	return c.start(func(i int) Options { return Options{host: w.Hosts[i], within: w.within(i)} }, args)
}

// start starts a node for each listener.
func (c *Cluster) start(at func(i int) Options, args []string) *Cluster {
	c.t.Helper()
	c.routes = strings.Join(c.listen, ",")
	dir := c.t.TempDir()
	for i := range c.listen {
		o := at(i)
		o.Dir = filepath.Join(dir, fmt.Sprintf("n%d", i))
		o.Args = append([]string{
			"--cluster-name", "test", "--cluster-node", fmt.Sprintf("n%d", i), "--cluster-listen", c.listen[i],
			"--cluster-routes", c.routes, "--replicas", strconv.Itoa(len(c.listen)), "--log-level", "warn",
		}, args...)
		c.keys(o.Dir)
		c.Nodes = append(c.Nodes, prepare(c.t, o))
	}
	c.Launch()
	return c
}

// keys puts the cluster's keys into a new data directory: the first time they are made,
// then they are those of the token.
func (c *Cluster) keys(data string) {
	c.t.Helper()
	args := []string{"cluster", "join", "--data-dir", data, "--token-file", c.token}
	if c.token == "" {
		c.token = filepath.Join(c.t.TempDir(), "cluster.token")
		args = []string{"cluster", "init", "--data-dir", data, "--token-file", c.token}
	}
	if out, err := exec.Command(Binary(c.t), args...).CombinedOutput(); err != nil {
		c.t.Fatalf("mnq %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// Launch starts all nodes that do not run and returns when all are ready.
func (c *Cluster) Launch() {
	c.t.Helper()
	for _, p := range c.Nodes {
		if p.cmd == nil {
			p.Launch()
		}
	}
	for _, p := range c.Nodes {
		p.WaitReady()
	}
}

// Empty gives the i-th node, which must not run, a new data directory with nothing but
// the keys, as when its machine has been replaced.
func (c *Cluster) Empty(i int) {
	c.t.Helper()
	p := c.Nodes[i]
	old := p.Dir
	p.Dir = filepath.Join(c.t.TempDir(), "replaced")
	c.keys(p.Dir)
	for j, a := range p.args {
		if a == old {
			p.args[j] = p.Dir
		}
	}
}
