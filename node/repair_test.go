package node

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq"
)

// TestAFailedWriteIsNoticedAndRepaired does as if a stream's file could not be written.
// What happens on a disk that is really full shows test/faults.
func TestAFailedWriteIsNoticedAndRepaired(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	b := setup(t, nil)
	tn := b.tenant(t, Unlimited())
	nc, js, err := b.node.Connect(ctx, tn.ID, tn.signing)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(ctx, "s", []byte("kept")); err != nil {
		t.Fatal(err)
	}
	before := nc.Stats().Reconnects

	b.node.logs.Errorf("Filestore [%s] Critical write error: %v", "S", errors.New("no space left on device"))
	want := &mnq.Error{Kind: mnq.Unavailable, Code: mnq.CodeStorageFailed}
	for what, err := range map[string]error{"Stored": b.node.Stored(), "Accepts": b.node.Accepts(ctx), "Ready": b.node.Ready(ctx)} {
		if !errors.Is(err, want) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for b.node.Accepts(ctx) != nil || nc.Stats().Reconnects == before || !nc.IsConnected() {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("not repaired: %v, reconnects %d", b.node.Stored(), nc.Stats().Reconnects)
		}
	}
	m, err := Retry(ctx, PatienceFor(3), func(try context.Context) (*jetstream.RawStreamMsg, error) {
		s, err := js.Stream(try, "S")
		if err != nil {
			return nil, err
		}
		return s.GetMsg(try, 1)
	})
	if err != nil || string(m.Data) != "kept" {
		t.Errorf("what was stored before: %v %v", m, err)
	}
	if _, err := js.Publish(ctx, "s", []byte("new"), jetstream.WithRetryAttempts(100)); err != nil {
		t.Errorf("publish afterwards: %v", err)
	}
	if err := b.node.Ready(ctx); err != nil {
		t.Errorf("Ready afterwards: %v", err)
	}
}

func TestOnlyWritesThatFailCount(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]bool{
		"Filestore [q_1] Critical write error: no space left on device":     true,
		"JetStream stream 'A > q' critical write error: input/output error": true,
		"JetStream out of resources, will be DISABLED":                      true,
		"File system permission denied while writing, disabling JetStream":  true,
		"127.0.0.1:1 - cid:7 - authorization violation":                     false,
	} {
		f := failure{news: make(chan struct{}, 1)}
		f.note(line)
		if got := f.err() != nil; got != want || len(f.news) == 1 != want {
			t.Errorf("%q: %v", line, got)
		}
	}
}
