package main

import (
	"cmp"
	"slices"
	"strconv"
	"time"
)

type topCmd struct {
	inNamespace

	Interval time.Duration `default:"2s" help:"Time between two looks, at least 500ms."`
	Count    int           `placeholder:"N" help:"End after so many looks. Default: go on on a terminal, else one."`
	Sort     string        `enum:"visible,oldest,name" default:"visible" help:"Order: visible, oldest or name."`
}

// Run shows the queues again and again until it is interrupted.
func (c *topCmd) Run(a *app) error {
	if c.Interval < 500*time.Millisecond {
		return usagef("--interval: must be at least 500ms")
	}
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	id, err := c.namespaceID(a.ctx, cl)
	if err != nil {
		return err
	}
	screen := terminal(a.stdout) && !c.JSON
	count := c.Count
	if count <= 0 && !screen {
		count = 1
	}
	path := own("namespaces", id, "queues")
	for n := 1; ; n++ {
		if c.JSON {
			err = listJSON(a, cl, path, "queues", nil)
		} else {
			err = c.look(a, cl, path, screen)
		}
		if a.ctx.Err() != nil {
			return nil //nolint:nilerr // interrupted, which is how it ends
		}
		if err != nil || n == count {
			return err
		}
		select {
		case <-time.After(c.Interval):
		case <-a.ctx.Done():
			return nil
		}
	}
}

func (c *topCmd) look(a *app, cl *client, path string, screen bool) error {
	all, err := list[queueInfo](a.ctx, cl, path, "queues", nil)
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(x, y queueInfo) int {
		by := 0
		switch c.Sort {
		case "visible":
			by = cmp.Compare(y.Visible, x.Visible)
		case "oldest":
			by = cmp.Compare(y.OldestAge, x.OldestAge)
		}
		return cmp.Or(by, cmp.Compare(x.Name, y.Name))
	})
	if screen {
		// Home, and clear what was there before.
		if err := printf(a.stdout, "\x1b[H\x1b[2J"); err != nil {
			return err
		}
	}
	var visible, hidden int64
	for _, q := range all {
		visible, hidden = visible+q.Visible, hidden+q.InFlight
	}
	if err := printf(a.stdout, "%s  %d queues  %d visible  %d in flight\n", time.Now().Format(time.TimeOnly), len(all), visible, hidden); err != nil {
		return err
	}
	t := newTable(a.stdout, "NAME", "KIND", "VISIBLE", "IN FLIGHT", "DELAYED", "OLDEST", "DLQ")
	for _, q := range all {
		dlq := ""
		if n := len(q.DeadLetterSources); n > 0 {
			dlq = "of " + strconv.Itoa(n)
		}
		t.row(q.Name, q.kind(), number(q.Visible), number(q.InFlight), number(q.Delayed), q.oldest(), dlq)
	}
	return t.flush()
}
