package node

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/openmnq/mnq"
)

// A server that is paused, or cut off from the others, does not know that they have
// chosen other leaders meanwhile: for some seconds it goes on serving what it has, such
// as messages that were deleted elsewhere. So a member proves again and again that it is
// in contact with more than half of the cluster. When it cannot any more it must not be
// believed, and it ends, to start anew as a follower of whoever leads by then.
//
// Leaders send a heartbeat every second, and nobody chooses a new one within 4 seconds
// of the last. Whoever answers what was sent at some moment has therefore not done so 3
// seconds later.
const (
	contactEvery = 250 * time.Millisecond
	contactLasts = 2800 * time.Millisecond // counted from when the question was sent
	contactFirst = 10 * time.Second        // after the start
)

const contactSubject = "mnq.contact"

// contact is the proof that this member is in touch with the others.
type contact struct {
	self     string
	replicas int // that streams have
	began    time.Time
	until    atomic.Int64 // since began; proven up to here

	mu    sync.Mutex
	need  int                      // others that have to answer
	sent  map[uint64]time.Duration // questions by number
	heard map[string]time.Duration // by node: when the newest question was sent that it has answered
	next  uint64
}

func newContact(self string, size, replicas int) *contact {
	c := &contact{
		self: self, replicas: replicas, need: enough(size, replicas), began: time.Now(),
		sent: map[uint64]time.Duration{}, heard: map[string]time.Duration{},
	}
	c.until.Store(int64(contactFirst))
	return c
}

// enough is how many others have to answer: so many that those left over are no majority
// of the servers, nor of those that have a stream which this one has. The streams of
// tenants may have three replicas where the installation's have one.
func enough(size, replicas int) int { return max(size/2, size-1-max(replicas, 3)/2) }

// resize takes note of how many servers the cluster has by now.
func (c *contact) resize(size int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.need = enough(size, c.replicas)
}

// ask returns the number of the next question, sent at now.
func (c *contact) ask(now time.Duration) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n, at := range c.sent {
		if now-at > contactLasts {
			delete(c.sent, n)
		}
	}
	c.next++
	c.sent[c.next] = now
	return c.next
}

// answered takes a node's answer to a question.
func (c *contact) answered(node string, number uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.sent[number]
	if !ok || node == c.self {
		return
	}
	c.heard[node] = max(c.heard[node], at)
	times := make([]time.Duration, 0, len(c.heard))
	for _, t := range c.heard {
		times = append(times, t)
	}
	if len(times) < c.need || c.need == 0 {
		return
	}
	slices.Sort(times)
	proven := times[len(times)-c.need] + contactLasts // as many have answered something sent then or later
	c.until.Store(max(c.until.Load(), int64(proven)))
}

// left is for how long contact is proven from now on; negative: since when not.
func (c *contact) left() time.Duration { return time.Duration(c.until.Load()) - time.Since(c.began) }

// Current returns nil when what the embedded server says is true for the whole cluster:
// nobody can have chosen other leaders without it. Otherwise it is Unavailable, and
// nothing that was read may be handed out. It answers from memory. A server that stands
// alone is always current; an external cluster is taken at its word.
func (n *Node) Current() error {
	if c := n.contact.Load(); c != nil && c.left() <= 0 {
		return &mnq.Error{Kind: mnq.Unavailable, Op: "node.Current", Msg: "this node is cut off from the cluster"}
	}
	return nil
}

// keepContact begins to prove contact. It goes on when ctx has ended, until Stop.
func (n *Node) keepContact(ctx context.Context) error {
	info, err := n.srv.Jsz(&server.JSzOptions{})
	if err != nil || info.Meta == nil {
		return fmt.Errorf("ask for the size of the cluster: %w", err)
	}
	c := newContact(n.cfg.Cluster.Node, info.Meta.Size, n.cfg.Replicas)
	_, err = n.sys.Subscribe(contactSubject, func(m *nats.Msg) { _ = m.Respond([]byte(c.self)) }) // who asks asks again
	if err != nil {
		return err
	}
	inbox := n.sys.NewRespInbox() + "."
	_, err = n.sys.Subscribe(inbox+"*", func(m *nats.Msg) {
		if number, err := strconv.ParseUint(strings.TrimPrefix(m.Subject, inbox), 36, 64); err == nil {
			c.answered(string(m.Data), number)
		}
	})
	if err != nil {
		return err
	}
	n.contact.Store(c)
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	n.stopContact = stop
	go n.watchContact(ctx, c, inbox)
	return nil
}

// clusterSize is how many servers this one counts; 0: not known.
func (n *Node) clusterSize() int {
	for _, groups := range *n.srv.Raftz(&server.RaftzOptions{GroupFilter: metaGroup}) {
		return groups[metaGroup].Size
	}
	return 0
}

const metaGroup = "_meta_" // of the servers themselves

// watchContact asks the others until ctx ends, or contact is lost.
func (n *Node) watchContact(ctx context.Context, c *contact, inbox string) {
	tick := time.NewTicker(contactEvery)
	defer tick.Stop()
	for {
		number := c.ask(time.Since(c.began))
		if size := n.clusterSize(); size > 1 {
			c.resize(size)
		}
		_ = n.sys.PublishRequest(contactSubject, inbox+strconv.FormatUint(number, 36), nil) // a failure shows as lost contact
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		if left := c.left(); left <= 0 {
			n.log.Error("cut off from the cluster", "node", c.self, "since", (contactLasts - left).Round(10*time.Millisecond).String())
			n.cfg.CutOff()
			return
		}
	}
}
