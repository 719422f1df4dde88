package mnqtest

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Network is a network of its own for a few processes: each has a network namespace, and
// all are on one bridge with the test. It needs root.
type Network struct {
	Hosts []string // addresses of the processes

	t      testing.TB
	spaces []string // names of the namespaces
}

// nowhere is an Ethernet address that nobody has.
const nowhere = "02:00:00:ff:ff:ff"

// NewNetwork makes a network with room for n processes, until the test ends. Its id tells
// it from others of this run. The error says what the machine lacks.
func NewNetwork(t testing.TB, id, n int) (*Network, error) {
	t.Helper()
	pid := os.Getpid()
	w := &Network{t: t}
	name := fmt.Sprintf("mq%x%d", pid&0xfffff, id)
	subnet := fmt.Sprintf("10.%d.%d.", 64+pid%128, (pid/128*4+id)%256)
	steps := []string{
		fmt.Sprintf("link add %s type bridge", name),
		fmt.Sprintf("addr add %s254/24 dev %s", subnet, name),
		fmt.Sprintf("link set %s up", name),
	}
	for i := range n {
		space, port := fmt.Sprintf("%sn%d", name, i), fmt.Sprintf("%sv%d", name, i)
		w.spaces, w.Hosts = append(w.spaces, space), append(w.Hosts, fmt.Sprintf("%s%d", subnet, i+1))
		steps = append(steps,
			"netns add "+space,
			fmt.Sprintf("link add %s type veth peer name eth0 netns %s", port, space),
			fmt.Sprintf("link set %s master %s up", port, name),
			fmt.Sprintf("-n %s addr add %s/24 dev eth0", space, w.Hosts[i]),
			fmt.Sprintf("-n %s link set eth0 up", space),
			fmt.Sprintf("-n %s link set lo up", space),
		)
	}
	t.Cleanup(func() {
		for _, space := range w.spaces {
			_ = ip("netns del " + space) // and with it the port; it may not have been made
		}
		_ = ip("link del " + name)
	})
	for _, step := range steps {
		if err := ip(step); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func ip(args string) error {
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", args, err, out)
	}
	return nil
}

func (w *Network) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Error(err)
	}
}

// Deafen lets everything get lost that one process sends to another one.
func (w *Network) Deafen(from, to int) {
	w.t.Helper()
	w.must(ip(fmt.Sprintf("-n %s neigh replace %s lladdr %s dev eth0 nud permanent", w.spaces[from], w.Hosts[to], nowhere)))
}

// CutOff lets everything get lost between a process and the others, or, one way, what it
// sends to them.
func (w *Network) CutOff(i int, oneWay bool) {
	w.t.Helper()
	for j := range w.Hosts {
		if j == i {
			continue
		}
		w.Deafen(i, j)
		if !oneWay {
			w.Deafen(j, i)
		}
	}
}

// SlowDown gives a process a line of so many kbit/s.
func (w *Network) SlowDown(i, kbit int) {
	w.t.Helper()
	args := fmt.Sprintf("-n %s qdisc replace dev eth0 root tbf rate %dkbit burst 4kb latency 500ms", w.spaces[i], kbit)
	if out, err := exec.Command("tc", strings.Fields(args)...).CombinedOutput(); err != nil {
		w.t.Errorf("tc %s: %v: %s", args, err, out)
	}
}

// Heal undoes all of that.
func (w *Network) Heal() {
	w.t.Helper()
	for i, space := range w.spaces {
		for j := range w.Hosts {
			if i != j {
				_ = ip(fmt.Sprintf("-n %s neigh del %s dev eth0", space, w.Hosts[j])) // there may be none
			}
		}
		_ = exec.Command("tc", "-n", space, "qdisc", "del", "dev", "eth0", "root").Run() // likewise
	}
}

// within is the command that runs another one at the i-th place.
func (w *Network) within(i int) []string { return []string{"ip", "netns", "exec", w.spaces[i]} }
