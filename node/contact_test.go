package node

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestContact(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	run := func(name string, size int, f func(t *testing.T, c *contact, ask func() uint64)) {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newContact("a", size, size)
				f(t, c, func() uint64 { return c.ask(time.Since(c.began)) })
			})
		})
	}
	want := func(t *testing.T, c *contact, d time.Duration) {
		t.Helper()
		if got := c.left(); got != d {
			t.Errorf("proven for %v, want %v", got, d)
		}
	}
	run("IsGivenTimeAtTheStart", 3, func(t *testing.T, c *contact, _ func() uint64) {
		want(t, c, contactFirst)
		time.Sleep(contactFirst + time.Second)
		want(t, c, -time.Second)
	})
	run("LastsFromWhenTheQuestionWasSent", 3, func(t *testing.T, c *contact, ask func() uint64) {
		time.Sleep(contactFirst)
		n := ask()
		time.Sleep(200 * ms) // the answer takes that long
		c.answered("b", n)
		want(t, c, contactLasts-200*ms)
		time.Sleep(contactLasts)
		want(t, c, -200*ms)
	})
	run("AnOldAnswerProvesNothingNew", 3, func(t *testing.T, c *contact, ask func() uint64) {
		time.Sleep(contactFirst)
		n := ask()
		time.Sleep(20 * time.Second) // the process was paused, the answer lay in a buffer
		c.answered("b", n)
		want(t, c, contactLasts-20*time.Second)
	})
	run("ItsOwnAnswerDoesNotCount", 3, func(t *testing.T, c *contact, ask func() uint64) {
		time.Sleep(contactFirst)
		c.answered("a", ask())
		want(t, c, 0)
	})
	run("OneOfTwoOthersIsEnough", 3, func(t *testing.T, c *contact, ask func() uint64) {
		time.Sleep(contactFirst)
		c.answered("c", ask())
		want(t, c, contactLasts)
	})
	run("OneOfFourOthersIsNot", 5, func(t *testing.T, c *contact, ask func() uint64) {
		time.Sleep(contactFirst)
		n := ask()
		c.answered("b", n)
		c.answered("b", n)
		want(t, c, 0)
		time.Sleep(500 * ms)
		c.answered("c", ask())
		want(t, c, contactLasts-500*ms) // the older of the two
	})
	run("ACutThatSplitsAStreamIsNoticed", 5, func(t *testing.T, c *contact, ask func() uint64) {
		// Two others may have the two other copies of a stream.
		c.replicas = 3
		c.resize(5)
		time.Sleep(contactFirst)
		n := ask()
		c.answered("b", n)
		c.answered("c", n)
		want(t, c, 0)
		c.answered("d", n)
		want(t, c, contactLasts)
	})
	run("AClusterThatGrowsNeedsMore", 3, func(t *testing.T, c *contact, ask func() uint64) {
		time.Sleep(contactFirst)
		c.resize(4)
		n := ask()
		c.answered("b", n)
		want(t, c, 0)
		c.answered("c", n)
		want(t, c, contactLasts)
	})
	run("AnswersOutOfOrderTakeNothingBack", 3, func(t *testing.T, c *contact, ask func() uint64) {
		time.Sleep(contactFirst)
		first := ask()
		time.Sleep(500 * ms)
		c.answered("b", ask())
		c.answered("b", first)
		c.answered("c", first)
		want(t, c, contactLasts)
	})
}
