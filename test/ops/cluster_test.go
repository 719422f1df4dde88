// Package ops does to a running installation what its operator does, with the mnq
// command as an operator has it.
package ops

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	"github.com/openmnq/mnq/internal/mnqtest"
	"github.com/openmnq/mnq/node"
)

// status runs mnq status until it ends with the code and says what is wanted.
func status(t *testing.T, p *mnqtest.Process, code int, want ...string) (s node.Status) {
	t.Helper()
	mnqtest.Within(t, time.Minute, func() error {
		r := mnqtest.Run(t, nil, "status", "--data-dir", p.Dir)
		if r.Code != code {
			return fmt.Errorf("exit code %d, want %d: %s%s", r.Code, code, r.Out, r.Err)
		}
		for _, w := range want {
			if !strings.Contains(r.Out, w) {
				return fmt.Errorf("it does not say %q: %s", w, r.Out)
			}
		}
		r = mnqtest.Run(t, p.AdminEnv(), "status", "--data-dir", p.Dir, "--json")
		if r.Code != code { // leaders may change between the two
			return fmt.Errorf("exit code %d with --json, want %d: %s%s", r.Code, code, r.Out, r.Err)
		}
		return json.Unmarshal([]byte(r.Out), &s)
	})
	return s
}

func TestCluster(t *testing.T) { //nolint:tparallel // the steps build on each other
	t.Parallel()
	c := mnqtest.StartCluster(t, 3)
	a, b, d := c.Nodes[0], c.Nodes[1], c.Nodes[2]

	t.Run("StatusSaysThatAllIsWell", func(t *testing.T) {
		s := status(t, b, 0, "ok: cluster test, 3 servers, leader n")
		if len(s.Nodes) != 3 || s.Streams.Total == 0 || s.Quorum != 2 {
			t.Errorf("%+v", s)
		}
		led := 0
		for _, n := range s.Nodes {
			led += n.Leads
			if n.Streams != s.Streams.Total || n.DiskFree == 0 || n.MemoryBytes == 0 || n.State != "ok" || n.Role != "node" {
				t.Errorf("%+v of %d streams", n, s.Streams.Total)
			}
		}
		if led != s.Streams.Total {
			t.Errorf("%d streams are led, of %d", led, s.Streams.Total)
		}
		// With an API key, as with the keys of the data directory.
		mnqtest.Within(t, time.Minute, func() error {
			if r := mnqtest.Run(t, a.AdminEnv(), "status"); r.Code != 0 {
				return fmt.Errorf("%+v", r)
			}
			return nil
		})
	})

	t.Run("StatusNamesWhoIsAway", func(t *testing.T) {
		d.Kill()
		s := status(t, a, 6, "degraded: cluster test", "! n2 is away", "mnq cluster remove n2", "streams have a copy that is missing or behind: ")
		mnqtest.Within(t, time.Minute, func() error { // those that it led have new leaders
			if s.Streams.Short != s.Streams.Total || s.Streams.Leaderless != 0 {
				s = status(t, a, 6)
				return fmt.Errorf("%+v", s.Streams)
			}
			return nil
		})
	})

	t.Run("StatusWithoutAQuorumTellsWhatIsKnown", func(t *testing.T) {
		b.Kill()
		status(t, a, 1, "down: cluster test, 3 servers, leader none", "! there is no quorum: 1 of 3 servers are here, and 2 are needed", "! n0 is starting: ")
		r := mnqtest.Run(t, a.AdminEnv(), "status")
		if r.Code != 5 || !strings.Contains(r.Err, "the service is starting: no leader, because not more than half of the 3 nodes are connected: n0") ||
			!strings.Contains(r.Err, "mnq status --data-dir") {
			t.Errorf("with an API key: %+v", r)
		}
		b.Launch()
		d.Launch()
		a.WaitReady()
		b.WaitReady()
		d.WaitReady()
		status(t, a, 0)
	})

	t.Run("ANodeIsReplacedByOneOfAnotherName", func(t *testing.T) {
		remove := func(code int, want, name string) {
			t.Helper()
			if r := mnqtest.Run(t, a.AdminEnv(), "cluster", "remove", name); r.Code != code || !strings.Contains(r.Out+r.Err, want) {
				t.Errorf("mnq cluster remove %s: %+v\nwant %d %q", name, r, code, want)
			}
		}
		ns := a.Namespace("q", "sqs_sns")
		queues := mnqtest.SQS(a.URL, a.Keys(ns, "prm"))
		if _, err := queues.CreateQueue(t.Context(), &sqs.CreateQueueInput{QueueName: aws.String("q")}); err != nil {
			t.Fatal(err)
		}
		if _, err := queues.SendMessage(t.Context(), &sqs.SendMessageInput{QueueUrl: aws.String("q"), MessageBody: aws.String("kept")}); err != nil {
			t.Fatal(err)
		}
		remove(3, "node n9", "n9")
		remove(1, "n2 runs: stop it first", "n2")
		d.Kill()
		status(t, a, 6, "! n2 is away")
		remove(1, "2 nodes would remain, and streams have 3 copies: start another node first", "n2")
		e := c.Add()
		e.Restart()
		remove(0, "n2 is removed, and every stream has all its copies", "n2")
		s := status(t, e, 0, "3 servers")
		for _, n := range s.Nodes {
			if n.Name == "n2" || n.Streams != s.Streams.Total {
				t.Errorf("%+v of %d streams", n, s.Streams.Total)
			}
		}
		// The new one counts: with it, another may go.
		b.Kill()
		mnqtest.Within(t, time.Minute, func() error { return wantBody(t.Context(), queues, "q", "kept") })
	})
}
