package queue

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/wire"
	"github.com/openmnq/mnq/node"
)

const (
	chartBucket = "mnq_charts"
	chartTurn   = "turn" // whose turn it is to look at all queues, and how far quarters have been made

	// chartLate is how long after its end a step may still be written: quarters are made
	// when it is over.
	chartLate = 90 * time.Second

	chartBytes     = 128 << 20 // of each stream; the oldest goes first
	chartFewBytes  = 16 << 20  // where the disk does not have that much
	chartSurveying = 4         // namespaces that are looked at at once
)

// charts writes down once a minute what happened in all queues. Each process writes what
// it has counted itself. Which of them looks at what is in the queues, and makes quarters
// of minutes, is decided anew each minute by compare-and-set. So any of them may end at any
// moment, and nothing is kept in memory but the counters' last values.
type charts struct {
	svc *Service
	kv  *node.Bucket

	opening chan struct{} // holds a token while somebody uses what follows
	link    *link         // nil until the streams have been made

	last map[string]Totals // by queue id, when a minute was last written; of run only
}

// turn is what is stored under chartTurn.
type turn struct {
	Minute int64 `json:"minute"` // that somebody has looked at the queues for
	Rolled int64 `json:"rolled"` // the last quarter that was made
}

func newCharts(s *Service) *charts {
	return &charts{svc: s, opening: make(chan struct{}, 1), last: map[string]Totals{}}
}

// open makes the streams when they are first needed.
func (c *charts) open(ctx context.Context) (*link, error) {
	select {
	case c.opening <- struct{}{}:
		defer func() { <-c.opening }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if c.link != nil {
		return c.link, nil
	}
	s := c.svc
	for _, stream := range chartStreams {
		cfg := jetstream.StreamConfig{
			Name: stream.name, Description: "charts of queues", Subjects: []string{stream.prefix + ">"},
			Storage: jetstream.FileStorage, Replicas: s.cfg.Replicas, MaxAge: stream.keep, MaxBytes: chartBytes,
			Discard: jetstream.DiscardOld, AllowDirect: true,
		}
		_, err := retried(ctx, s, func(ctx context.Context) (jetstream.Stream, error) {
			return s.cfg.Control.CreateOrUpdateStream(ctx, cfg)
		})
		if api, ok := errors.AsType[*jetstream.APIError](err); ok && api.ErrorCode == 10047 { // not so much room
			cfg.MaxBytes = chartFewBytes
			_, err = retried(ctx, s, func(ctx context.Context) (jetstream.Stream, error) {
				return s.cfg.Control.CreateOrUpdateStream(ctx, cfg)
			})
		}
		if err != nil {
			return nil, fmt.Errorf("make stream %s: %w", stream.name, err)
		}
	}
	kv, err := node.OpenBucket(ctx, s.cfg.Control, node.BucketConfig{Name: chartBucket, Description: "who makes charts", Replicas: s.cfg.Replicas})
	if err != nil {
		return nil, err
	}
	w, err := newLink(s.cfg.Control.Conn(), s.cfg.Control, s.patience)
	if err != nil {
		return nil, err
	}
	c.kv, c.link = kv, w
	return w, nil
}

func (c *charts) close() {
	c.opening <- struct{}{}
	defer func() { <-c.opening }()
	if c.link != nil {
		c.link.Drop()
		c.link = nil
	}
}

// keep writes until ctx ends, and then what has been counted since the last minute.
func (c *charts) keep(ctx context.Context) {
	defer c.close()
	for {
		now := time.Now()
		next := time.NewTimer(now.Truncate(ChartMinute).Add(ChartMinute).Sub(now))
		select {
		case at := <-next.C:
			c.minute(ctx, at)
		case <-ctx.Done():
			next.Stop()
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerTimeout)
			defer cancel()
			if counted := c.counted(); len(counted) > 0 {
				_ = c.write(last, time.Now().UnixNano()/int64(ChartMinute), counted) // a hint that gets lost
			}
			return
		}
	}
}

// chartBySpace has values by namespace and queue.
type chartBySpace map[string]map[chartKey]chartValues

func (b chartBySpace) put(namespaceID string, k chartKey, v chartValues) {
	if b[namespaceID] == nil {
		b[namespaceID] = map[chartKey]chartValues{}
	}
	b[namespaceID][k] = b[namespaceID][k].and(v)
}

// minute writes the minute that has ended at a time.
func (c *charts) minute(ctx context.Context, at time.Time) {
	ctx, cancel := context.WithTimeout(ctx, ChartMinute/2)
	defer cancel()
	minute := at.Add(-time.Second).UnixNano() / int64(ChartMinute)
	out := c.counted()
	if len(c.svc.all()) == 0 && len(out) == 0 {
		return
	}
	mine, err := c.take(ctx, minute)
	if mine {
		c.look(ctx, out)
		out.put(chartUp, chartKey{}, chartValues{})
	}
	if werr := c.write(ctx, minute, out); err == nil {
		err = werr
	}
	if mine && err == nil {
		err = c.roll(ctx, at)
	}
	if err != nil && ctx.Err() == nil {
		c.svc.log.WarnContext(ctx, "charts have a gap", "error", err)
	}
}

// counted is what this process has counted since it was called last.
func (c *charts) counted() chartBySpace {
	out, now := chartBySpace{}, map[string]Totals{}
	for _, q := range c.svc.all() {
		t := q.Totals()
		if t == (Totals{}) {
			continue
		}
		now[q.id] = t
		if v := chartOf(t, c.last[q.id]); v != (chartValues{}) {
			out.put(q.space.id, chartKeyOf(q.id), v)
		}
	}
	c.last = now
	return out
}

// take reports whether it is this process's turn to look at all queues for the minute.
func (c *charts) take(ctx context.Context, minute int64) (bool, error) {
	if _, err := c.open(ctx); err != nil {
		return false, err
	}
	t, revision, err := c.turn(ctx)
	if err != nil || t.Minute >= minute {
		return false, err
	}
	t.Minute = minute
	err = c.setTurn(ctx, t, revision)
	if lostRace(err) {
		return false, nil
	}
	return err == nil, err
}

func (c *charts) turn(ctx context.Context) (t turn, revision uint64, err error) {
	e, err := c.kv.Get(ctx, chartTurn)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return turn{}, 0, nil
	}
	if err != nil {
		return t, 0, err
	}
	return t, e.Revision(), json.Unmarshal(e.Value(), &t)
}

func (c *charts) setTurn(ctx context.Context, t turn, revision uint64) error {
	value, err := json.Marshal(t)
	if err == nil {
		_, err = c.kv.Update(ctx, chartTurn, value, revision)
	}
	return err
}

// look adds what is in the queues of all namespaces.
func (c *charts) look(ctx context.Context, out chartBySpace) {
	ids := map[string]bool{}
	for _, q := range c.svc.all() {
		ids[q.space.id] = true
	}
	var mu sync.Mutex
	var work sync.WaitGroup
	places := make(chan struct{}, chartSurveying)
	for id := range ids {
		places <- struct{}{}
		work.Go(func() {
			defer func() { <-places }()
			found, _ := c.svc.Survey(ctx, mnq.Namespace{ID: id}) // a namespace that does not answer is left out
			now := time.Now()
			mu.Lock()
			defer mu.Unlock()
			for name, counts := range found {
				var v chartValues
				if v.observe(counts, now); v == (chartValues{}) {
					continue
				}
				if q := c.svc.lookup(id, name); q != nil {
					out.put(id, chartKeyOf(q.id), v)
				}
			}
		})
	}
	work.Wait()
}

// write stores what happened in a minute.
func (c *charts) write(ctx context.Context, minute int64, out chartBySpace) error {
	return c.store(ctx, chartStreams[0], minute, out)
}

// store writes a record for each shard of each namespace. All of them are on their way at
// once; one without an answer is not sent again, since it would count twice.
func (c *charts) store(ctx context.Context, s chartStream, step int64, out chartBySpace) error {
	w, err := c.open(ctx)
	if err != nil {
		return err
	}
	var reqs []request
	for id, queues := range out {
		shards := map[int]map[chartKey]chartValues{}
		for k, v := range queues {
			n := k.shard()
			if shards[n] == nil {
				shards[n] = map[chartKey]chartValues{}
			}
			shards[n][k] = v
		}
		for n, part := range shards {
			reqs = append(reqs, request{Subject: s.subject(id, n), Data: chartRecord{step, part}.encode()})
		}
	}
	for len(reqs) > 0 && err == nil {
		part := reqs[:min(len(reqs), surveyBatch)]
		for _, a := range w.Exchange(ctx, part, answerTimeout) {
			if err == nil {
				err = a.Err
			}
			if a.Err == nil && wire.NoResponders(a.Msg) {
				c.close() // the streams are gone: made again the next time
				return errors.New("the streams of charts are not there")
			}
		}
		reqs = reqs[len(part):]
	}
	return err
}

// roll makes quarters of minutes, of those that are complete and have not been made.
func (c *charts) roll(ctx context.Context, now time.Time) error {
	const each = int64(ChartQuarter / ChartMinute)
	t, revision, err := c.turn(ctx)
	if err != nil {
		return err
	}
	done := now.Add(-chartLate).UnixNano()/int64(ChartQuarter) - 1 // the last one that is complete
	if t.Rolled == 0 {
		t.Rolled = now.UnixNano()/int64(ChartQuarter) - 1 // there are no minutes before this one
	}
	t.Rolled = max(t.Rolled, done-int64(chartMinuteSpan/ChartQuarter))
	for quarter := t.Rolled + 1; quarter <= done; quarter++ {
		if err := c.quarter(ctx, quarter, each); err != nil {
			return err
		}
		t.Rolled = quarter
	}
	err = c.setTurn(ctx, t, revision)
	if lostRace(err) {
		return nil // others go on
	}
	return err
}

// quarter makes one quarter. That it may be made twice does no harm: the last one counts.
func (c *charts) quarter(ctx context.Context, quarter, each int64) error {
	w, err := c.open(ctx)
	if err != nil {
		return err
	}
	begin := time.Unix(0, quarter*int64(ChartQuarter))
	minutes := map[int64]chartBySpace{}
	err = chartPart{chartMinutes, chartStreams[0].prefix + ">", begin}.each(ctx, w, func(subject string, r chartRecord) bool {
		if r.step/each == quarter {
			if minutes[r.step] == nil {
				minutes[r.step] = chartBySpace{}
			}
			id, _, _ := strings.Cut(strings.TrimPrefix(subject, chartStreams[0].prefix), ".")
			for k, v := range r.queues {
				minutes[r.step].put(id, k, v)
			}
		}
		return r.step < (quarter+1)*each+2 // a process that has stopped was early with its last one
	})
	if err != nil {
		return err
	}
	out := chartBySpace{}
	for step := quarter * each; step < (quarter+1)*each; step++ {
		for id, queues := range minutes[step] {
			for k, v := range queues {
				if out[id] == nil {
					out[id] = map[chartKey]chartValues{}
				}
				out[id][k] = out[id][k].then(v)
			}
		}
	}
	return c.store(ctx, chartStreams[1], quarter, out)
}
