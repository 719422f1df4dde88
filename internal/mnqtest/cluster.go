package mnqtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/openmnq/mnq/internal/atomicfile"
)

// Cluster is several mnq processes whose embedded servers form a NATS cluster.
type Cluster struct {
	Nodes []*Process

	t        testing.TB
	dir      string
	args     []string
	replicas int
	token    string
	routes   string
	listen   []string
}

// StartCluster prepares the keys as an operator would and starts n nodes with as many
// replicas. It returns when all are ready.
func StartCluster(t testing.TB, n int, args ...string) *Cluster {
	t.Helper()
	c := newCluster(t, n, args).onLoopback()
	c.Launch()
	return c
}

// PrepareClusterWithKey prepares a cluster that seals its secrets with the master key in
// a file, and starts nothing.
func PrepareClusterWithKey(t testing.TB, n int, masterKey string, args ...string) *Cluster {
	t.Helper()
	c := newCluster(t, n, args)
	key, err := os.ReadFile(masterKey)
	if err == nil {
		err = atomicfile.Write(filepath.Join(c.dir, "n0", "keys", "master.key"), key)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c.onLoopback()
}

// StartClusterOn is StartCluster on a network.
func StartClusterOn(t testing.TB, w *Network, args ...string) *Cluster {
	t.Helper()
	c := newCluster(t, len(w.Hosts), args)
	for _, host := range w.Hosts {
		c.listen = append(c.listen, host+":6222")
	}
	c.prepare(func(i int) Options { return Options{host: w.Hosts[i], within: w.within(i)} })
	c.Launch()
	return c
}

func newCluster(t testing.TB, replicas int, args []string) *Cluster {
	t.Helper()
	return &Cluster{t: t, dir: t.TempDir(), replicas: replicas, args: args}
}

// onLoopback prepares as many nodes as there are to be replicas.
func (c *Cluster) onLoopback() *Cluster {
	c.t.Helper()
	for range c.replicas {
		c.listen = append(c.listen, FreeAddress(c.t))
	}
	c.prepare(func(int) Options { return Options{} })
	return c
}

// prepare prepares a node for each listener that has none.
func (c *Cluster) prepare(at func(i int) Options) {
	c.t.Helper()
	c.routes = strings.Join(c.listen, ",")
	for i := len(c.Nodes); i < len(c.listen); i++ {
		o := at(i)
		o.Dir = filepath.Join(c.dir, fmt.Sprintf("n%d", i))
		o.Args = append([]string{
			"--cluster-name", "test", "--cluster-node", fmt.Sprintf("n%d", i), "--cluster-listen", c.listen[i],
			"--cluster-routes", c.routes, "--replicas", strconv.Itoa(c.replicas), "--log-level", "warn",
		}, c.args...)
		c.keys(o.Dir)
		c.Nodes = append(c.Nodes, prepare(c.t, o))
	}
}

// Add prepares one more node, which knows the others.
func (c *Cluster) Add() *Process {
	c.t.Helper()
	c.listen = append(c.listen, FreeAddress(c.t))
	c.prepare(func(int) Options { return Options{} })
	return c.Nodes[len(c.Nodes)-1]
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
