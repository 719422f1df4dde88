package node

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// says is a report of a node in a cluster of three that n0 leads.
func says(name string, change func(*report)) report {
	r := report{
		Node: NodeStatus{Name: name, Role: "node", State: "ok", Version: "v1", NATSVersion: "2"},
		Meta: metaReport{Cluster: "c", Leader: "n0", Size: 3, Quorum: 2},
	}
	if name == "n0" {
		r.Meta.Peers = []peerReport{{Name: "n1", Current: true}, {Name: "n2", Current: true}}
	}
	if change != nil {
		change(&r)
	}
	return r
}

func TestJudge(t *testing.T) {
	t.Parallel()
	leaderless := func(r *report) {
		r.Meta.Leader, r.Meta.Peers = "", nil
		r.Streams = streamsReport{Stored: 1, Leaderless: []StreamTrouble{{Account: "A", Stream: "s"}}}
	}
	for name, c := range map[string]struct {
		mode    Mode
		reports []report
		state   State
		want    []string // in the words for what is wrong, one each
	}{
		"all well": {ModeCluster, []report{says("n0", nil), says("n1", nil), says("n2", nil)}, StateOK, nil},
		"one away": {ModeCluster, []report{says("n1", nil), says("n0", func(r *report) {
			r.Meta.Peers[1] = peerReport{Name: "n2", Offline: true, Silent: 90 * time.Second}
		})}, StateDegraded, []string{"n2 is away for 1m30s"}},
		"one hangs": {ModeCluster, []report{says("n0", nil), says("n1", nil)}, StateDegraded, []string{"n2 is connected and does not answer"}},
		"no quorum": {ModeCluster, []report{says("n1", leaderless)}, StateDown, []string{"no quorum: 1 of 3 servers are here, and 2 are needed"}},
		"election": {
			ModeCluster,
			[]report{says("n0", leaderless), says("n1", leaderless), says("n2", leaderless)},
			StateDown,
			[]string{"choosing a leader"},
		},
		"a stream without a leader": {ModeCluster, []report{says("n0", nil), says("n1", nil), says("n2", func(r *report) {
			leaderless(r)
			r.Meta.Leader = "n0"
		})}, StateDegraded, []string{"1 streams have no leader: A > s"}},
		"a copy behind": {ModeCluster, []report{says("n0", nil), says("n1", func(r *report) {
			r.Streams.take1(server.StreamDetail{Name: "s", Cluster: &server.ClusterInfo{
				Leader: "n1", Replicas: []*server.PeerInfo{{Name: "n0", Current: true}, {Name: "n2", Lag: 7}},
			}}, "n1")
		}), says("n2", nil)}, StateDegraded, []string{"1 streams have a copy that is missing or behind: A > s (n2 behind)"}},
		"versions": {
			ModeCluster,
			[]report{says("n0", nil), says("n1", nil), says("n2", func(r *report) { r.Node.Version = "v2" })},
			StateDegraded,
			[]string{"different versions run: v1 on n0, n1; v2 on n2"},
		},
		"starting": {
			ModeCluster,
			[]report{says("n0", nil), says("n1", nil), says("n2", func(r *report) { r.Waiting = "catching up" })},
			StateDegraded,
			[]string{"n2 is starting: catching up"},
		},
		"disk":                  {ModeSingle, []report{{Node: NodeStatus{Name: "x", DiskFree: 5 << 20}, DiskLow: true}}, StateDegraded, []string{"the disk is nearly full (5 MiB free)"}},
		"write error":           {ModeSingle, []report{{Trouble: "stream s: no space"}}, StateDown, []string{"NATS reports stream s: no space"}},
		"external servers gone": {ModeExternal, []report{{Node: NodeStatus{Name: "g", Role: "gateway"}}}, StateDown, []string{"no NATS server answers"}},
	} {
		s := judge(c.mode, c.reports[0], c.reports)
		ok := s.State == c.state && len(s.Problems) == len(c.want)
		for i, w := range c.want {
			ok = ok && strings.Contains(s.Problems[i].What, w) && s.Problems[i].Do != ""
		}
		if !ok {
			t.Errorf("%s: %s, want %s: %+v", name, s.State, c.state, s.Problems)
		}
	}
}

// take1 notes a stream of account A.
func (r *streamsReport) take1(s server.StreamDetail, self string) {
	r.Copies = map[string]copyLags{}
	r.stream(s, "A", self)
}

func TestStatusTokenIsOfTheInstallation(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n, err := New(Config{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
	token, err := StatusToken(dir)
	if err != nil || !n.OpensStatus(token) || len(token) != 36 {
		t.Errorf("%s %v", token, err)
	}
	for _, other := range []string{"", "00000000-0000-4000-8000-000000000000", strings.ToUpper(token)} {
		if n.OpensStatus(other) {
			t.Errorf("%q opens it", other)
		}
	}
}
