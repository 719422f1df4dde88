package queue

import (
	"testing"

	"github.com/openmnq/mnq"
)

// A server whose disk fails goes on confirming removals that do not happen.
func TestADeleteIsNotBelievedWhileWritesFail(t *testing.T) { //nolint:paralleltest // virtual does
	virtual(t, func(t *testing.T, b *bundle) {
		failed := &mnq.Error{Kind: mnq.Unavailable, Code: mnq.CodeStorageFailed}
		var now error
		b.services[0].cfg.Stored = func() error { return now }
		q := b.create("q", nil)
		for _, r := range q.Send(t.Context(), []Send{{Body: "x"}}) {
			if r.Err != nil {
				t.Fatal(r.Err)
			}
		}
		got, err := q.Receive(t.Context(), Receive{Max: 1, Wait: -1, Visibility: -1})
		if err != nil || len(got) != 1 {
			t.Fatalf("%v %v", got, err)
		}
		now = failed
		if errs := q.DeleteMessages(t.Context(), []string{got[0].Handle}); mnq.KindOf(errs[0]) != mnq.Unavailable {
			t.Errorf("while writes fail: %v", errs)
		}
		now = nil
		if errs := q.DeleteMessages(t.Context(), []string{got[0].Handle}); errs[0] != nil {
			t.Errorf("afterwards: %v", errs)
		}
	})
}
