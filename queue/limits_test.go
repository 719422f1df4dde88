package queue

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/openmnq/mnq"
)

func TestLimits(t *testing.T) {
	t.Parallel()

	t.Run("TooLongAMessageIsRefusedAloneAndChangesNothing", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			q := b.create("q", map[string]string{"MaximumMessageSize": "1024"})
			r := q.Send(t.Context(), []Send{
				{Body: strings.Repeat("x", 1024)},
				{Body: strings.Repeat("x", 1020), Attributes: []Attribute{{"a", "Str", []byte("1")}}},
			})
			if r[0].Err != nil {
				t.Fatal(r[0].Err)
			}
			wantCode(t, r[1].Err, "InvalidParameterValue")
			wantCounts(t, q, Counts{Visible: 1})
		})
	})

	t.Run("FullNamespaceRefusesSendsUntilSpaceIsFreed", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			b.account.Limits.Storage = 1 << 20
			if err := b.node.PushAccount(t.Context(), b.account); err != nil {
				t.Fatal(err)
			}
			q := b.create("q", nil)
			body := strings.Repeat("x", 200<<10)
			var full error
			for n := 0; full == nil && n < 10; n++ {
				full = q.Send(t.Context(), []Send{{Body: body}})[0].Err
			}
			wantCode(t, full, "OverLimit")
			c, err := q.Counts(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			ms := receive(t, q, now)
			if int64(len(ms)) != c.Visible {
				t.Fatalf("%d received of %d", len(ms), c.Visible)
			}
			remove(t, q, ms[0])
			if err := q.Send(t.Context(), []Send{{Body: body}})[0].Err; err != nil {
				t.Fatal("after a delete:", err)
			}
		})
	})

	t.Run("FullDiskRefusesSendsWhileReceivesAndDeletesGoOn", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			var full atomic.Bool
			b.change = func(c *Config) {
				c.Accepts = func(context.Context) error {
					if full.Load() {
						return &mnq.Error{Kind: mnq.Unavailable, Msg: "full"}
					}
					return nil
				}
			}
			b.restart()
			q := b.create("q", nil)
			send(t, q, "a")
			full.Store(true)
			if err := q.Send(t.Context(), []Send{{Body: "b"}})[0].Err; mnq.KindOf(err) != mnq.Unavailable {
				t.Fatal(err)
			}
			remove(t, q, receive(t, q, now)...)
			full.Store(false)
			send(t, q, "c")
		})
	})

	t.Run("QueueCountIsBounded", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			b.ns.Quota.Queues = 2
			b.create("a", nil)
			b.create("b", nil)
			_, err := b.services[0].Create(t.Context(), b.ns, "c", nil, nil)
			wantCode(t, err, "OverLimit")
			b.create("a", nil)
		})
	})

	t.Run("WrongAttributesAndNamesAreRefused", func(t *testing.T) {
		virtual(t, func(t *testing.T, b *bundle) {
			for _, c := range []struct{ name, attr, value, code string }{
				{"q", "VisibilityTimeout", "43201", "InvalidAttributeValue"},
				{"q", "VisibilityTimeout", "x", "InvalidAttributeValue"},
				{"q", "MaximumMessageSize", "262145", "InvalidAttributeValue"},
				{"q", "Nonsense", "1", "InvalidAttributeName"},
				{"q", "QueueArn", "1", "InvalidAttributeName"},
				{"q", "FifoQueue", "true", "InvalidParameterValue"},
				{"q", "FifoQueue", "false", "InvalidAttributeName"},
				{"q", "ContentBasedDeduplication", "true", "InvalidAttributeName"},
				{"q", "DeduplicationScope", "queue", "InvalidAttributeName"},
				{"q.fifo", "DelaySeconds", "1", "InvalidParameterValue"},
				{"q.fifo", "FifoQueue", "false", "InvalidParameterValue"},
				{strings.Repeat("x", 76) + ".fifo", "FifoQueue", "true", "InvalidParameterValue"},
				{"", "DelaySeconds", "1", "InvalidParameterValue"},
				{"a.b", "DelaySeconds", "1", "InvalidParameterValue"},
				{"a>", "DelaySeconds", "1", "InvalidParameterValue"},
				{"a/../b", "DelaySeconds", "1", "InvalidParameterValue"},
				{strings.Repeat("x", 81), "DelaySeconds", "1", "InvalidParameterValue"},
			} {
				_, err := b.services[0].Create(t.Context(), b.ns, c.name, map[string]string{c.attr: c.value}, nil)
				wantCode(t, err, c.code)
			}
		})
	})
}

func FuzzReceiptHandle(f *testing.F) {
	s, err := newSealer([]byte(strings.Repeat("k", 32)))
	if err != nil {
		f.Fatal(err)
	}
	want := receipt{stream: 7, consumer: 8, count: 2, stamp: 9, expires: time.UnixMilli(10)}
	good := s.seal("queue", want)
	f.Add(good)
	f.Add(s.seal("other", want))
	f.Add("")
	f.Add(strings.Repeat("A", len(good)))
	f.Fuzz(func(t *testing.T, handle string) {
		r, err := s.open("queue", handle)
		if err != nil {
			wantCode(t, err, "ReceiptHandleIsInvalid")
			return
		}
		if s.seal("queue", r) != handle {
			t.Fatalf("%q opens as %+v, which has another handle", handle, r)
		}
	})
}

func FuzzStoredMessage(f *testing.F) {
	f.Add(newStored(Send{Body: "b", SenderID: "s", Attributes: []Attribute{{"a", "String", []byte("v")}}}, time.UnixMilli(1)).encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decodeStored(b)
		if err != nil {
			return
		}
		again, err := decodeStored(m.encode())
		if err != nil || fmt.Sprint(again) != fmt.Sprint(m) {
			t.Fatalf("%v: %+v became %+v", err, m, again)
		}
	})
}
