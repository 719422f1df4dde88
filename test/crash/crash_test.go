// Package crash kills a loaded server again and again and checks that it kept
// its word.
package crash

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq/internal/mnqtest"
)

var kills = flag.Int("kills", 10, "how often the server is killed")

const visibility = 2 * time.Second

// load is what the clients did and saw. A send without an answer may have
// happened, so it is attempted but not acknowledged; likewise a delete.
type load struct {
	mu         sync.Mutex
	attempted  map[string]bool
	acked      map[string]bool
	delivered  map[string]bool
	deletedAt  map[string]time.Time // acknowledged
	maybe      map[string]bool      // a delete that was not acknowledged may have happened
	phantom    []string
	reappeared []string

	sends, receives, deletes, unknown atomic.Int64
}

func newLoad() *load {
	return &load{
		attempted: map[string]bool{}, acked: map[string]bool{}, delivered: map[string]bool{}, deletedAt: map[string]time.Time{}, maybe: map[string]bool{},
	}
}

func (l *load) produce(ctx context.Context, c *sqs.Client, url string, producer int) {
	for n := 0; ctx.Err() == nil; n++ {
		body := fmt.Sprintf("%d:%d:%s", producer, n, strings.Repeat("x", rand.IntN(800)))
		l.mu.Lock()
		l.attempted[body] = true
		l.mu.Unlock()
		_, err := c.SendMessage(context.WithoutCancel(ctx), &sqs.SendMessageInput{QueueUrl: &url, MessageBody: &body})
		if err != nil {
			l.unknown.Add(1)
			pause(ctx, 20*time.Millisecond)
			continue
		}
		l.sends.Add(1)
		l.mu.Lock()
		l.acked[body] = true
		l.mu.Unlock()
	}
}

func (l *load) consume(ctx context.Context, c *sqs.Client, url string) {
	for ctx.Err() == nil {
		if n := l.receive(ctx, c, url, 0.8); n < 0 {
			pause(ctx, 20*time.Millisecond)
		}
	}
}

// receive takes messages once, deletes a share of them, and returns how many
// came, -1 for an error.
func (l *load) receive(ctx context.Context, c *sqs.Client, url string, share float64) int {
	began := time.Now()
	out, err := c.ReceiveMessage(context.WithoutCancel(ctx), &sqs.ReceiveMessageInput{QueueUrl: &url, MaxNumberOfMessages: 10, WaitTimeSeconds: 1})
	if err != nil {
		l.unknown.Add(1)
		return -1
	}
	var entries []types.DeleteMessageBatchRequestEntry
	for i, m := range out.Messages {
		l.see(*m.Body, began)
		if rand.Float64() < share {
			entries = append(entries, types.DeleteMessageBatchRequestEntry{Id: aws.String(strconv.Itoa(i)), ReceiptHandle: m.ReceiptHandle})
		}
	}
	l.receives.Add(int64(len(out.Messages)))
	if len(entries) == 0 {
		return len(out.Messages)
	}
	l.mu.Lock()
	for _, e := range entries {
		i, _ := strconv.Atoi(*e.Id)
		l.maybe[*out.Messages[i].Body] = true
	}
	l.mu.Unlock()
	res, err := c.DeleteMessageBatch(context.WithoutCancel(ctx), &sqs.DeleteMessageBatchInput{QueueUrl: &url, Entries: entries})
	if err != nil {
		l.unknown.Add(1)
		return len(out.Messages)
	}
	at := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range res.Successful {
		var i int
		if _, err := fmt.Sscan(*s.Id, &i); err == nil {
			l.deletedAt[*out.Messages[i].Body] = at
			l.deletes.Add(1)
		}
	}
	return len(out.Messages)
}

func (l *load) see(body string, began time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.attempted[body] {
		l.phantom = append(l.phantom, body)
	}
	if at, ok := l.deletedAt[body]; ok && began.After(at) {
		l.reappeared = append(l.reappeared, body)
	}
	l.delivered[body] = true
}

// lost returns what was never delivered, or was and did not come back although nobody
// asked for its deletion.
func (l *load) lost() []string {
	var out []string
	for body := range l.acked {
		if !l.delivered[body] {
			out = append(out, body)
		}
	}
	for body := range l.delivered {
		if !l.maybe[body] {
			out = append(out, body)
		}
	}
	return out
}

// drain receives and deletes until the queue says that it holds nothing at all.
// A message that the server had pulled but not handed out when it was killed
// comes back after ten seconds.
func (l *load) drain(t *testing.T, c *sqs.Client, url string) {
	t.Helper()
	left, received := errors.New("nothing was asked"), 0
	for give := time.Now().Add(3 * time.Minute); time.Now().Before(give); {
		n := l.receive(t.Context(), c, url, 1)
		if received += max(0, n); n > 0 {
			continue
		}
		out, err := c.GetQueueAttributes(t.Context(), &sqs.GetQueueAttributesInput{QueueUrl: &url, AttributeNames: counts})
		if err != nil {
			left = err
			continue
		}
		if left = holds(out.Attributes); left == nil && n == 0 {
			return
		}
	}
	t.Errorf("the queue does not run empty, %d messages came meanwhile: %v", received, left)
}

// counts are how many messages a queue holds.
var counts = []types.QueueAttributeName{
	types.QueueAttributeNameApproximateNumberOfMessages, types.QueueAttributeNameApproximateNumberOfMessagesNotVisible,
	types.QueueAttributeNameApproximateNumberOfMessagesDelayed,
}

// holds is an error unless the three counts of a queue are zero.
func holds(have map[string]string) error {
	empty := len(have) == len(counts)
	for _, n := range have {
		empty = empty && n == "0"
	}
	if !empty {
		return fmt.Errorf("it holds %v", have)
	}
	return nil
}

// directory makes and removes tenants meanwhile.
type directory struct {
	p       *mnqtest.Process
	present map[string]*made // path → an acknowledged create that nobody tried to delete
	absent  map[string]*made // path → an acknowledged delete
}

// made is a namespace, or a credential and how it opens its namespace.
type made struct {
	within string // path of the namespace of a credential
	creds  string // .creds text of a NATS credential
	keys   mnqtest.Keys
}

// round creates a namespace with a credential, and deletes what earlier rounds made.
func (d *directory) round(n int) {
	protocol := []string{"nats", "sqs_sns"}[n%2]
	a, err := d.p.Call("POST", mnqtest.Namespaces, map[string]any{"name": fmt.Sprint("n", n), "protocol": protocol, "project_id": d.p.Env["SCW_DEFAULT_PROJECT_ID"]})
	if err != nil || a.Status != 200 {
		return
	}
	id := fmt.Sprint(a.JSON["id"])
	namespace := mnqtest.Namespaces + "/" + id
	d.present[namespace] = &made{}
	in := map[string]any{"name": "c", "namespace_id": id}
	if protocol == "sqs_sns" {
		in["permissions"] = map[string]bool{"can_publish": true, "can_receive": true, "can_manage": true}
	}
	if a, err := d.p.Call("POST", mnqtest.Credentials, in); err == nil && a.Status == 200 {
		m := &made{within: namespace}
		if c, ok := a.JSON["nats_credentials"].(map[string]any); ok {
			m.creds, _ = c["content"].(string)
		}
		if c, ok := a.JSON["sqs_sns_credentials"].(map[string]any); ok {
			m.keys.Access, _ = c["access_key"].(string)
			m.keys.Secret, _ = c["secret_key"].(string)
		}
		d.present[fmt.Sprint(mnqtest.Credentials, "/", a.JSON["id"])] = m
	}
	for path, m := range d.present {
		if share := rand.IntN(16); share == 0 || share == 1 && m.within != "" {
			d.remove(path, m)
		}
	}
}

// remove deletes. Whatever the answer, it may be gone now, and with a namespace all
// that is within.
func (d *directory) remove(path string, m *made) {
	gone := map[string]*made{path: m}
	for inner, c := range d.present {
		if c.within == path {
			gone[inner] = c
		}
	}
	for p := range gone {
		delete(d.present, p)
	}
	if a, err := d.p.Call("DELETE", path, nil); err == nil && a.Status == 204 {
		maps.Copy(d.absent, gone)
	}
}

// check looks at everything at a time: a server lets whoever names an account that
// it does not know wait for two seconds.
func (d *directory) check(t *testing.T) {
	t.Helper()
	var all sync.WaitGroup
	for path, m := range d.present {
		all.Go(func() {
			if a, err := d.p.Call("GET", path, nil); err != nil || a.Status != 200 {
				t.Errorf("%s was acknowledged and is lost: %d %s %v", path, a.Status, a.Body, err)
			}
			if err := d.use(t, m); err != nil {
				t.Errorf("%s was acknowledged and opens nothing: %v", path, err)
			}
		})
	}
	for path, m := range d.absent {
		all.Go(func() {
			if a, err := d.p.Call("GET", path, nil); err != nil || a.Status != 404 {
				t.Errorf("%s was deleted and is back: %d %s %v", path, a.Status, a.Body, err)
			}
			if err := d.use(t, m); err == nil && m.within != "" {
				t.Errorf("%s was deleted and opens its namespace", path)
			}
		})
	}
	all.Wait()
}

// use opens the namespace of a credential.
func (d *directory) use(t *testing.T, m *made) error {
	t.Helper()
	switch {
	case m.creds != "":
		file := filepath.Join(t.TempDir(), "user.creds")
		if err := os.WriteFile(file, []byte(m.creds), 0o600); err != nil {
			t.Fatal(err)
		}
		nc, err := nats.Connect("nats://"+d.p.NATS, nats.UserCredentials(file), nats.NoReconnect())
		if err != nil {
			return err
		}
		defer nc.Close()
		js, err := jetstream.New(nc)
		if err != nil {
			return err
		}
		_, err = js.AccountInfo(t.Context())
		return err
	case m.keys.Access != "":
		_, err := mnqtest.SQS(d.p.URL, m.keys).ListQueues(t.Context(), &sqs.ListQueuesInput{})
		return err
	}
	return nil
}

func TestKill(t *testing.T) {
	t.Parallel()
	p := mnqtest.Start(t, mnqtest.Options{})
	c := mnqtest.SQS(p.URL, p.Keys(p.Namespace("load", "sqs_sns"), "prm"))
	q, err := c.CreateQueue(t.Context(), &sqs.CreateQueueInput{
		QueueName: aws.String("q"), Attributes: map[string]string{"VisibilityTimeout": strconv.Itoa(int(visibility.Seconds()))},
	})
	if err != nil {
		t.Fatal(err)
	}
	l, d := newLoad(), &directory{p: p, present: map[string]*made{}, absent: map[string]*made{}}
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for i := range 4 {
		clients.Go(func() { l.produce(ctx, c, *q.QueueUrl, i) })
		clients.Go(func() { l.consume(ctx, c, *q.QueueUrl) })
	}
	for n := range *kills {
		for until := time.Now().Add(time.Duration(300+rand.IntN(500)) * time.Millisecond); time.Now().Before(until); {
			d.round(n)
			pause(ctx, 50*time.Millisecond)
		}
		p.Kill()
		p.Restart()
	}
	stop()
	clients.Wait()
	l.drain(t, c, *q.QueueUrl)
	lost := l.lost()
	t.Logf("kills %d, sends %d, receives %d, deletes %d, unknown %d; lost %d, reappeared %d, phantom %d; namespaces and credentials kept %d, gone %d",
		*kills, l.sends.Load(), l.receives.Load(), l.deletes.Load(), l.unknown.Load(), len(lost), len(l.reappeared), len(l.phantom), len(d.present), len(d.absent))
	if len(lost) > 0 || len(l.reappeared) > 0 || len(l.phantom) > 0 {
		t.Errorf("lost %.5q reappeared %.5q phantom %.5q", lost, l.reappeared, l.phantom)
	}
	if l.sends.Load() < int64(*kills)*10 {
		t.Errorf("only %d sends: the load was too small to show anything", l.sends.Load())
	}
	if len(d.present) < 2 || len(d.absent) < 2 {
		t.Errorf("namespaces and credentials: %d kept, %d deleted: too few to show anything", len(d.present), len(d.absent))
	}
	d.check(t)
}

// pause waits a moment after an error, so that a dead server is not hammered.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
