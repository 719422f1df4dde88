package node

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"runtime/metrics"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/atomicfile"
)

// Mode is how NATS is run.
type Mode string

// Modes.
const (
	ModeSingle   Mode = "single"   // the embedded server alone
	ModeCluster  Mode = "cluster"  // embedded servers of several processes
	ModeExternal Mode = "external" // servers that others run
)

// State is a judgement in one word.
type State string

// States.
const (
	StateOK       State = "ok"
	StateDegraded State = "degraded" // it works, and something needs attention
	StateDown     State = "down"     // nothing can be stored
)

// Status is what is known of the installation from where it is asked for. It does not
// depend on a majority: every process and server speaks for itself.
type Status struct {
	State    State         `json:"state" doc:"ok, degraded (it works, and something needs attention) or down (nothing can be stored)"`
	Mode     Mode          `json:"mode" doc:"single, cluster or external"`
	Cluster  string        `json:"cluster" doc:"name of the NATS cluster; empty for a single node"`
	Leader   string        `json:"leader" doc:"the server that decides where streams are; empty when there is none"`
	Servers  int           `json:"servers" doc:"NATS servers that the cluster counts"`
	Quorum   int           `json:"quorum" doc:"how many of them it needs"`
	Nodes    []NodeStatus  `json:"nodes" nullable:"false"`
	Streams  StreamsStatus `json:"streams"`
	Problems []Trouble     `json:"problems" nullable:"false"`
}

// NodeStatus is one process or server.
type NodeStatus struct {
	Name        string        `json:"name"`
	Role        string        `json:"role" doc:"node (an mnq with its NATS server), gateway (an mnq without one) or server (a NATS server alone)"`
	State       string        `json:"state" doc:"ok, waiting, behind, silent (the others hear of it, and it does not answer) or away"`
	Version     string        `json:"version" doc:"of mnq; of the NATS server for the role server"`
	NATSVersion string        `json:"nats_version"`
	Leads       int           `json:"leads" doc:"streams it leads"`
	Streams     int           `json:"streams" doc:"streams it has a copy of"`
	Lag         uint64        `json:"lag" doc:"by how many writes its most backward copy is behind"`
	Behind      int           `json:"behind" doc:"copies that are not level with their leader"`
	StoredBytes uint64        `json:"stored_bytes" doc:"disk space of its streams"`
	DiskFree    uint64        `json:"disk_free" doc:"0: not known"`
	DiskTotal   uint64        `json:"disk_total"`
	MemoryBytes uint64        `json:"memory_bytes"`
	Connections int           `json:"connections" doc:"NATS clients"`
	StartedAt   *time.Time    `json:"started_at"`
	Silent      time.Duration `json:"silent" doc:"nanoseconds since the leader heard of it last; only when it is away"`
}

// StreamsStatus sums up all streams.
type StreamsStatus struct {
	Total      int             `json:"total"`
	Leaderless int             `json:"leaderless" doc:"streams that nobody leads: they answer nothing"`
	Short      int             `json:"short" doc:"streams with a copy that is missing or not level"`
	Worst      []StreamTrouble `json:"worst" nullable:"false" doc:"some of those, at most 20"`
}

// StreamTrouble is a stream that lacks something.
type StreamTrouble struct {
	Account string   `json:"account" doc:"the namespace's id, or control"`
	Stream  string   `json:"stream"`
	Leader  string   `json:"leader"`
	Copies  []string `json:"copies" doc:"the copies that are missing or behind, and how"`
}

// Trouble is something that needs attention.
type Trouble struct {
	What string `json:"what"`
	Do   string `json:"do" doc:"what to do about it"`
}

// Add puts further problems to those found.
func (s *Status) Add(p Trouble) {
	s.Problems = append(s.Problems, p)
	if s.State == StateOK {
		s.State = StateDegraded
	}
}

const (
	statusSubject = "mnq.status"
	maxWorst      = 20

	// A server that a leader has not heard of for so long counts as away. The servers
	// themselves notice one that was killed much later; heartbeats come every second.
	awayAfter = 3 * time.Second

	statusWait  = 3 * time.Second        // for a process that ought to answer
	statusQuiet = 500 * time.Millisecond // after the last answer, when it is not known who is there
)

// report is what a process or a server says of itself, and of others as far as it
// leads.
type report struct {
	Node    NodeStatus
	Meta    metaReport
	Streams streamsReport
	Trouble string // what its NATS server says is wrong
	DiskLow bool
	Waiting string // for what its start waits
}

type metaReport struct {
	Cluster string
	Leader  string
	Size    int
	Quorum  int
	Peers   []peerReport // of the leader
}

type peerReport struct {
	Name    string
	Offline bool
	Current bool
	Lag     uint64
	Silent  time.Duration
}

// streamsReport is about the streams that a server has a copy of.
type streamsReport struct {
	Stored     int
	Led        int
	Leaderless []StreamTrouble     // bounded
	Short      []StreamTrouble     // of those led; bounded
	ShortCount int                 //
	Copies     map[string]copyLags // of those led, by server
}

type copyLags struct {
	Behind int
	Lag    uint64
}

// Status asks everybody who is there. It takes up to a few seconds when somebody does
// not answer, and works from the moment that Start has begun.
func (n *Node) Status(ctx context.Context) Status {
	own := n.report(ctx)
	all := map[string]report{own.Node.Role + own.Node.Name: own}
	sys := n.reachable.Load()
	if sys != nil && n.Mode() != ModeSingle {
		for _, r := range n.collect(ctx, sys, own) {
			all[r.Node.Role+r.Node.Name] = r
		}
	}
	if sys != nil && n.Mode() == ModeExternal {
		for _, r := range n.askServers(ctx, sys) {
			all[r.Node.Role+r.Node.Name] = r
		}
	}
	reports := make([]report, 0, len(all))
	for _, r := range all {
		reports = append(reports, r)
	}
	return judge(n.Mode(), own, reports)
}

// Mode is how NATS is run.
func (n *Node) Mode() Mode {
	switch {
	case n.cfg.External != nil:
		return ModeExternal
	case n.cfg.Cluster != nil:
		return ModeCluster
	}
	return ModeSingle
}

// name is how this process is called.
func (n *Node) name() string {
	if n.cfg.Cluster != nil {
		return n.cfg.Cluster.Node
	}
	host, err := os.Hostname()
	if err != nil {
		host = "mnq"
	}
	if n.cfg.External != nil { // several may run on one machine
		return host + "-" + n.instance
	}
	return host
}

// report is what this process knows by itself.
func (n *Node) report(ctx context.Context) report {
	r := report{Node: NodeStatus{
		Name: n.name(), Role: "gateway", State: "ok", Version: n.cfg.Version, MemoryBytes: memoryInUse(), StartedAt: &n.began,
	}}
	r.Node.DiskFree, r.Node.DiskTotal, _ = diskSpace(n.cfg.DataDir) // 0 when it cannot be measured
	if n.cfg.External == nil {
		r.Node.Role = "node"
		r.DiskLow = n.room() != nil
	}
	r.Waiting = n.Waiting()
	if !n.started.Load() {
		r.Waiting = cmp.Or(r.Waiting, "NATS is starting")
	}
	if r.Waiting != "" {
		r.Node.State = "waiting"
	}
	if n.reachable.Load() == nil || n.srv == nil {
		return r
	}
	r.Node.NATSVersion = server.VERSION
	if v, err := n.srv.Varz(nil); err == nil {
		r.Node.Connections = v.Connections
	}
	info, err := n.srv.Jsz(&server.JSzOptions{Accounts: true, Streams: true, Limit: -1})
	if err != nil {
		r.Trouble = err.Error()
		return r
	}
	r.take(info, n.srv.Name(), n.keys.controlID)
	if r.Waiting == "" {
		if err := n.state(ctx).err; err != nil {
			r.Trouble = causeOf(err)
		} else if err := n.askHealth(ctx, ""); err != nil {
			r.Trouble = causeOf(err)
		}
	}
	return r
}

// causeOf is the text of what is behind an error.
func causeOf(err error) string {
	if e, ok := errors.AsType[*mnq.Error](err); ok && e.Err != nil {
		return e.Err.Error()
	}
	return err.Error()
}

// take notes what a server says of its streams and its cluster.
func (r *report) take(info *server.JSInfo, self, control string) {
	r.Node.StoredBytes = info.Store
	r.Streams.Copies = map[string]copyLags{}
	for _, a := range info.AccountDetails {
		account := a.Id
		if account == control {
			account = "control"
		}
		for _, s := range a.Streams {
			r.Streams.stream(s, account, self)
		}
	}
	r.Node.Streams, r.Node.Leads = r.Streams.Stored, r.Streams.Led
	if m := info.Meta; m != nil {
		r.Meta = metaReport{Cluster: m.Name, Leader: m.Leader, Size: m.Size, Quorum: m.QuorumNeeded}
		for _, p := range m.Replicas {
			r.Meta.Peers = append(r.Meta.Peers, peerReport{p.Name, p.Offline || p.Active > awayAfter, p.Current, p.Lag, p.Active})
		}
	}
}

// stream counts one stream of the server self.
func (r *streamsReport) stream(s server.StreamDetail, account, self string) {
	r.Stored++
	if s.Cluster == nil {
		r.Led++
		return
	}
	trouble := StreamTrouble{Account: account, Stream: s.Name, Leader: s.Cluster.Leader}
	switch s.Cluster.Leader {
	case "":
		if len(r.Leaderless) < maxWorst {
			r.Leaderless = append(r.Leaderless, trouble)
		}
		return
	case self:
	default:
		return
	}
	r.Led++
	for _, p := range s.Cluster.Replicas {
		c := r.Copies[p.Name]
		var how string
		switch {
		case p.Offline || p.Active > awayAfter:
			how = "away"
		case p.Pending:
			how = "not there yet"
		case !p.Current:
			how = "behind"
		default:
			continue
		}
		c.Behind++
		c.Lag = max(c.Lag, p.Lag)
		r.Copies[p.Name] = c
		trouble.Copies = append(trouble.Copies, p.Name+" "+how)
	}
	if trouble.Copies != nil {
		r.ShortCount++
		if len(r.Short) < maxWorst {
			r.Short = append(r.Short, trouble)
		}
	}
}

// answerStatus lets others ask this process.
func (n *Node) answerStatus(ctx context.Context, sys *nats.Conn) error {
	ctx = context.WithoutCancel(ctx)
	_, err := sys.Subscribe(statusSubject, func(m *nats.Msg) {
		ctx, cancel := context.WithTimeout(ctx, statusWait)
		defer cancel()
		if data, err := json.Marshal(n.report(ctx)); err == nil {
			_ = m.Respond(data) // who asks does not wait for ever
		}
	})
	return err
}

// collect asks all processes. In a cluster it waits for those that are there.
func (n *Node) collect(ctx context.Context, sys *nats.Conn, own report) (all []report) {
	expected := map[string]bool{}
	if n.srv != nil {
		for _, name := range n.connectedNodes() {
			expected[name] = name != own.Node.Name
		}
	}
	missing := func() bool {
		for _, open := range expected {
			if open {
				return true
			}
		}
		return false
	}
	gather(ctx, sys, request{statusSubject, nil, n.srv != nil}, func(data []byte) bool {
		var r report
		if json.Unmarshal(data, &r) == nil && r.Node.Name != "" && r.Node.Name != own.Node.Name {
			all = append(all, r)
			expected[r.Node.Name] = false
		}
		return n.srv == nil || missing()
	})
	return all
}

// request is a question to everybody on the system account.
type request struct {
	subject string
	body    []byte
	known   bool // who answers: then silence of a moment is no end
}

// gather passes the answers to each until that returns false or no more are expected.
func gather(ctx context.Context, sys *nats.Conn, q request, each func(data []byte) (more bool)) {
	ctx, cancel := context.WithTimeout(ctx, statusWait)
	defer cancel()
	inbox := sys.NewRespInbox()
	sub, err := sys.SubscribeSync(inbox)
	if err != nil {
		return
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only when the connection is closed
	if err := sys.PublishRequest(q.subject, inbox, q.body); err != nil {
		return
	}
	for quiet := statusWait; ; {
		wait, cancel := context.WithTimeout(ctx, quiet)
		m, err := sub.NextMsgWithContext(wait)
		cancel()
		if err != nil || m.Header.Get("Status") == "503" || !each(m.Data) {
			return
		}
		if !q.known {
			quiet = statusQuiet
		}
	}
}

// askServers asks NATS servers that others run.
func (n *Node) askServers(ctx context.Context, sys *nats.Conn) []report {
	type answer struct {
		Server server.ServerInfo   `json:"server"`
		Stats  *server.ServerStats `json:"statsz"`
		Data   *server.JSInfo      `json:"data"`
	}
	byID := map[string]*report{}
	of := func(data []byte) (a answer, r *report) {
		if json.Unmarshal(data, &a) != nil || a.Server.ID == "" {
			return a, nil
		}
		if r = byID[a.Server.ID]; r == nil {
			r = &report{Node: NodeStatus{Name: a.Server.Name, Role: "server", State: "ok", Version: a.Server.Version, NATSVersion: a.Server.Version}}
			byID[a.Server.ID] = r
		}
		return a, r
	}
	gather(ctx, sys, request{subject: "$SYS.REQ.SERVER.PING.STATSZ"}, func(data []byte) bool {
		if a, r := of(data); r != nil && a.Stats != nil {
			r.Node.StartedAt, r.Node.MemoryBytes, r.Node.Connections = &a.Stats.Start, uint64(max(0, a.Stats.Mem)), a.Stats.Connections
		}
		return true
	})
	gather(ctx, sys, request{subject: "$SYS.REQ.SERVER.PING.JSZ", body: []byte(`{"accounts":true,"streams":true}`)}, func(data []byte) bool {
		if a, r := of(data); r != nil && a.Data != nil && !a.Data.Disabled {
			r.take(a.Data, a.Server.Name, n.keys.controlID)
		}
		return true
	})
	var all []report
	for _, r := range byID {
		all = append(all, *r)
	}
	return all
}

// Holds lists the streams of every account, whatever its limits, that has any; the
// control account is called control. All servers that answer are asked.
func (n *Node) Holds(ctx context.Context) (map[string][]string, error) {
	held, answered := map[string][]string{}, false
	gather(ctx, n.sys, request{subject: "$SYS.REQ.SERVER.PING.JSZ", body: []byte(`{"accounts":true,"streams":true}`)}, func(data []byte) bool {
		var a struct {
			Data *server.JSInfo `json:"data"`
		}
		if json.Unmarshal(data, &a) != nil || a.Data == nil {
			return true
		}
		answered = true
		for _, account := range a.Data.AccountDetails {
			id := account.Id
			if id == n.keys.controlID {
				id = "control"
			}
			for _, s := range account.Streams {
				if !slices.Contains(held[id], s.Name) {
					held[id] = append(held[id], s.Name)
				}
			}
		}
		return true
	})
	if !answered {
		return nil, &mnq.Error{Kind: mnq.Unavailable, Op: "node.Holds", Msg: "no NATS server answers on the system account"}
	}
	return held, nil
}

// memoryInUse is what the process has of the system.
func memoryInUse() uint64 {
	s := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64() - s[1].Value.Uint64()
}

// statusToken is derived from an operator seed. It is like an API key, and opens the
// status alone.
func statusToken(k *keys) (string, error) {
	raw, err := k.derive("status token")
	if err != nil {
		return "", err
	}
	id, err := uuid.FromBytes(raw[:16])
	return id.String(), err
}

// StatusToken is the token with which whoever can read a data directory may ask its
// process for the status, when API keys cannot be checked: those are in the cluster.
func StatusToken(dataDir string) (string, error) {
	path := operatorKeyPath(dataDir)
	seed, err := atomicfile.ReadSecret(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", &mnq.Error{Kind: mnq.Invalid, Op: "node.StatusToken", Field: "data-dir", Resource: path, Msg: "there are no keys in " + dataDir}
	}
	var k *keys
	if err == nil {
		k, err = deriveKeys([]byte(strings.TrimSpace(string(seed))))
	}
	if err != nil {
		return "", keyError(Config{}, path, err)
	}
	return statusToken(k)
}

// OpensStatus reports whether token is that of StatusToken.
func (n *Node) OpensStatus(token string) bool {
	want, err := statusToken(n.keys)
	if err != nil {
		return false
	}
	a, b := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(want))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// sortNodes puts servers behind processes, each by name.
func sortNodes(nodes []NodeStatus) {
	slices.SortFunc(nodes, func(a, b NodeStatus) int { return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Name, b.Name)) })
}
