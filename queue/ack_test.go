package queue

import (
	"encoding/json"
	"testing"

	"github.com/openmnq/mnq"
)

// TestRemovingAgain: a delete that the consumer was slow to answer goes to the stream,
// which may have removed the message meanwhile. The server's own answers decide here.
func TestRemovingAgain(t *testing.T) { //nolint:paralleltest // virtual does it
	virtual(t, func(t *testing.T, b *bundle) {
		q := b.create("q", nil)
		for range 3 {
			q.Send(t.Context(), []Send{{Body: "x"}})
		}
		w, err := q.svc.connection(t.Context(), q.space)
		if err != nil {
			t.Fatal(err)
		}
		all := []receipt{{stream: 2}, {stream: 2}, {stream: 1}, {stream: 1}, {stream: 3}, {stream: 2}, {stream: 3}, {stream: 9}}
		for i := range all {
			errs := make([]error, len(all))
			if q.remove(t.Context(), w, all, []int{i}, errs); errs[i] != nil {
				t.Errorf("removal %d of message %d: %v", i, all[i].stream, errs[i])
			}
		}
	})
}

// TestAFailedRemovalIsNone: what the store could not do has not been done.
func TestAFailedRemovalIsNone(t *testing.T) {
	t.Parallel()
	for answer, done := range map[string]bool{
		`{"success":true}`: true,
		`{"error":{"code":404,"err_code":10037,"description":"no message found"}}`:             true,
		`{"error":{"code":400,"err_code":10043,"description":"sequence 3 not found"}}`:         true,
		`{"error":{"code":500,"err_code":10057,"description":"no message found"}}`:             true,
		`{"error":{"code":500,"err_code":10057,"description":"stream store EOF"}}`:             true,
		`{"error":{"code":500,"err_code":10057,"description":"write: input/output error"}}`:    false,
		`{"error":{"code":500,"err_code":10057,"description":"store is closed"}}`:              false,
		`{"error":{"code":503,"err_code":10008,"description":"JetStream system temporarily"}}`: false,
		`{"success":false}`: false,
		`{}`:                false,
	} {
		var r removal
		if err := json.Unmarshal([]byte(answer), &r); err != nil || r.done() != done {
			t.Errorf("%s: %v, %v", answer, r.done(), err)
		}
		q := &Queue{name: "q"}
		if err := q.removed([]byte(answer)); (err == nil) != done || !done && mnq.KindOf(err) != mnq.Unavailable {
			t.Errorf("%s: %v", answer, err)
		}
	}
}
