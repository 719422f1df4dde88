package tenant

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestLastUse asks the process in which a key is used, and another one a minute later.
func TestLastUse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, "")
		one, two := b.process(t), b.process(t)
		want := func(d *Directory, key string, at time.Time) {
			t.Helper()
			if got, err := d.LastUsed(t.Context(), key); err != nil || !got.Equal(at) {
				t.Errorf("%s: %s, %v, want %s", key, got, err, at)
			}
		}
		want(one, "SCWA", time.Time{})
		first := time.Now().UTC().Truncate(time.Second)
		one.Used("SCWA")
		want(one, "SCWA", first)
		want(two, "SCWA", time.Time{})
		time.Sleep(usedEvery + time.Second)
		want(two, "SCWA", first)
		again := time.Now().UTC().Truncate(time.Second)
		two.Used("SCWA")
		time.Sleep(2 * time.Hour)
		want(one, "SCWA", again)
		n := 0
		for _, d := range []*Directory{one, two} {
			d.used.at.Range(func(any, any) bool { n++; return true })
		}
		if n != 0 {
			t.Errorf("%d keys in memory after two hours", n)
		}
		stop(t, one)
		stop(t, two)
		b.stopNode(t)
	})
}
