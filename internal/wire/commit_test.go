package wire

import (
	"testing"
	"time"
)

func TestPaceFollowsTheDisk(t *testing.T) {
	t.Parallel()
	p := newPace()
	if p.batches(5) || p.batches(10) || !p.batches(50) {
		t.Error("at first a batch pays from about 22 writes on")
	}
	for range 50 { // a disk on which a sync takes 5 ms
		p.learn(2, false, 10*time.Millisecond)
		p.learn(20, true, 25*time.Millisecond)
	}
	if p.batches(5) || !p.batches(10) {
		t.Errorf("a slow disk: a batch pays from 6 writes on, not so with %+v", p)
	}
	for range 50 { // one that is as fast as memory
		p.learn(10, false, 300*time.Microsecond)
	}
	if p.batches(maxCommit) {
		t.Errorf("a fast disk: no batch pays, not so with %+v", p)
	}
	other := 0
	for range 10 * secondLook {
		if p.batches(100) {
			other++
		}
	}
	if other != 10 {
		t.Errorf("the other way was measured %d times, not 10", other)
	}
}

func TestTakeBoundsABatchAndKeepsTheOrder(t *testing.T) {
	t.Parallel()
	of := func(n, size int) *commit {
		c := &commit{}
		for range n {
			c.reqs = append(c.reqs, Request{Data: make([]byte, size)})
		}
		return c
	}
	keyed := func(key string) *commit { return &commit{reqs: []Request{{Key: key}}} }
	for _, test := range []struct {
		name    string
		waiting []*commit
		want    int
	}{
		{"everything", []*commit{of(1, 10), of(10, 10), of(1, 10)}, 3},
		{"at most maxCommit writes", []*commit{of(maxCommit-5, 1), of(5, 1), of(1, 1)}, 2},
		{"at most maxCommitBytes", []*commit{of(1, maxCommitBytes), of(1, 1)}, 1},
		{"one of a key", []*commit{keyed("a"), keyed("b"), of(1, 1), keyed("a"), of(1, 1)}, 3},
		{"never nothing", []*commit{of(10, maxCommitBytes), of(1, 1)}, 1},
	} {
		c := &Committer{waiting: test.waiting}
		group, reqs := c.take()
		writes := 0
		for _, one := range test.waiting[:test.want] {
			writes += len(one.reqs)
		}
		if len(group) != test.want || len(reqs) != writes || len(c.waiting) != len(test.waiting)-test.want {
			t.Errorf("%s: %d callers with %d writes, %d left", test.name, len(group), len(reqs), len(c.waiting))
		}
	}
}
