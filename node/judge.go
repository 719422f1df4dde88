package node

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// judge makes one picture of what everybody has said, and says what is wrong. own is
// the report of the process that is asked.
func judge(mode Mode, own report, reports []report) Status {
	j := &judgement{
		s:      Status{State: StateOK, Mode: mode, Nodes: []NodeStatus{}, Problems: []Trouble{}},
		copies: map[string]copyLags{},
	}
	j.meta(own, reports)
	for _, r := range reports {
		j.report(r)
	}
	j.peers()
	j.streams(reports)
	j.versions()
	sortNodes(j.s.Nodes)
	return j.s
}

type judgement struct {
	s      Status
	of     metaReport // of the leader, else of whoever knows most
	copies map[string]copyLags
}

func (j *judgement) problem(state State, what, do string) {
	j.s.Add(Trouble{what, do})
	if state == StateDown {
		j.s.State = state
	}
}

// meta finds whom most believe to be the leader, and what that one says.
func (j *judgement) meta(own report, reports []report) {
	j.of = own.Meta
	for _, r := range reports {
		if m := r.Meta; m.Size > 0 && (m.Leader == r.Node.Name || j.of.Size == 0) {
			j.of = m
		}
	}
	j.s.Cluster, j.s.Leader, j.s.Servers, j.s.Quorum = j.of.Cluster, j.of.Leader, j.of.Size, j.of.Quorum
	servers := 0
	for _, r := range reports {
		if r.Node.NATSVersion != "" {
			servers++
		}
	}
	switch {
	case j.s.Mode == ModeSingle:
	case j.s.Mode == ModeExternal && servers == 0:
		j.problem(StateDown, "no NATS server answers", "see whether the servers of --nats-url run and can be reached")
	case j.s.Mode == ModeExternal && j.of.Size == 0: // a server alone
	case j.of.Size == 0:
		j.problem(StateDown, "no node knows the cluster yet", "wait a moment; if it stays so, see the nodes' logs")
	case j.of.Leader == "" && servers < j.of.Quorum:
		j.problem(StateDown, fmt.Sprintf("there is no quorum: %d of %d servers are here, and %d are needed", servers, j.of.Size, j.of.Quorum),
			"start the others again; nothing is lost, and nothing is stored until then")
	case j.of.Leader == "":
		j.problem(StateDown, "the servers are choosing a leader", "wait 10 seconds; if it stays so, see whether each of them reaches the others")
	}
}

func (j *judgement) report(r report) {
	j.s.Nodes = append(j.s.Nodes, r.Node)
	for name, c := range r.Streams.Copies {
		have := j.copies[name]
		j.copies[name] = copyLags{have.Behind + c.Behind, max(have.Lag, c.Lag)}
	}
	if r.Waiting != "" {
		state := StateDegraded
		if j.s.Mode == ModeSingle {
			state = StateDown
		}
		j.problem(state, r.Node.Name+" is starting: "+r.Waiting, "wait; it serves nobody until then")
	}
	if r.Trouble != "" {
		state := StateDegraded
		if j.s.Mode == ModeSingle {
			state = StateDown
		}
		j.problem(state, r.Node.Name+": NATS reports "+r.Trouble,
			"if it stays so for a minute, see its log and its disk, then restart it: what was acknowledged is kept")
	}
	if r.DiskLow {
		j.problem(StateDegraded, fmt.Sprintf("%s: the disk is nearly full (%d MiB free)", r.Node.Name, r.Node.DiskFree>>20),
			"make room or add some; sends are refused until then, receives and deletes go on")
	}
}

// peers completes the picture by what the leader says of the others.
func (j *judgement) peers() {
	for _, p := range j.of.Peers {
		i := slices.IndexFunc(j.s.Nodes, func(n NodeStatus) bool { return n.Name == p.Name && n.Role != "gateway" })
		if i >= 0 {
			if !p.Offline && !p.Current {
				j.s.Nodes[i].State, j.s.Nodes[i].Lag = "behind", p.Lag
			}
			continue
		}
		role := "node"
		if j.s.Mode == ModeExternal {
			role = "server"
		}
		n := NodeStatus{Name: p.Name, Role: role, State: "silent"}
		// A new leader does not know since when it has not heard of one that it never heard of.
		if p.Offline || !p.Current {
			n.State, n.Silent = "away", p.Silent
			since := ""
			if p.Silent > 0 {
				since = " for " + p.Silent.Round(time.Second).String()
			}
			j.problem(StateDegraded, p.Name+" is away"+since,
				"start it again; if its machine is gone, replace it under the same name, or take it out with: mnq cluster remove "+p.Name)
		} else {
			j.problem(StateDegraded, p.Name+" is connected and does not answer", "see its log; restart it if it hangs")
		}
		j.s.Nodes = append(j.s.Nodes, n)
	}
}

func (j *judgement) streams(reports []report) {
	s := &j.s.Streams
	s.Worst = []StreamTrouble{}
	leaderless, led := map[string]StreamTrouble{}, 0
	for _, r := range reports {
		led += r.Streams.Led
		s.Short += r.Streams.ShortCount
		s.Worst = append(s.Worst, r.Streams.Short...)
		for _, t := range r.Streams.Leaderless {
			leaderless[t.Account+"/"+t.Stream] = t
		}
	}
	s.Leaderless, s.Total = len(leaderless), led+len(leaderless)
	s.Worst = append(slices.Collect(maps.Values(leaderless)), s.Worst...)
	slices.SortFunc(s.Worst, func(a, b StreamTrouble) int {
		return cmp.Or(cmp.Compare(a.Leader, b.Leader), cmp.Compare(a.Account, b.Account), cmp.Compare(a.Stream, b.Stream))
	})
	s.Worst = s.Worst[:min(len(s.Worst), maxWorst)]
	for i := range j.s.Nodes {
		n := &j.s.Nodes[i]
		c := j.copies[n.Name]
		n.Behind, n.Lag = c.Behind, max(n.Lag, c.Lag)
		if n.State == "ok" && c.Behind > 0 {
			n.State = "behind"
		}
	}
	if s.Leaderless > 0 && j.s.Leader != "" {
		j.problem(StateDegraded, fmt.Sprintf("%d streams have no leader: %s", s.Leaderless, examples(s.Worst)),
			"they choose one within 10 seconds when more than half of their copies are there: start the servers that are away")
	}
	if s.Short > 0 {
		j.problem(StateDegraded, fmt.Sprintf("%d streams have a copy that is missing or behind: %s", s.Short, examples(s.Worst)),
			"a node that has come back catches up by itself: wait before you stop another one")
	}
}

// examples names a few streams.
func examples(list []StreamTrouble) string {
	var out []string
	for _, t := range list[:min(3, len(list))] {
		text := t.Account + " > " + t.Stream
		if len(t.Copies) > 0 {
			text += " (" + strings.Join(t.Copies, ", ") + ")"
		}
		out = append(out, text)
	}
	if len(list) > len(out) {
		out = append(out, "…")
	}
	return strings.Join(out, ", ")
}

// versions tells of an upgrade that is under way.
func (j *judgement) versions() {
	by := map[string][]string{}
	for _, n := range j.s.Nodes {
		if n.Version != "" && n.Role != "server" {
			by[n.Version] = append(by[n.Version], n.Name)
		}
	}
	if len(by) < 2 {
		return
	}
	var parts []string
	for _, v := range slices.Sorted(maps.Keys(by)) {
		slices.Sort(by[v])
		parts = append(parts, v+" on "+strings.Join(by[v], ", "))
	}
	j.problem(StateDegraded, "different versions run: "+strings.Join(parts, "; "), "finish the upgrade, one node after the other")
}
