package queue

import (
	"context"
	"time"

	"github.com/openmnq/mnq"
)

// Chart returns what happened in the queue step by step, from the oldest on: a point for
// each whole step of the span. What processes count in a minute is there soon after the
// minute; a process that is killed takes its last minute with it. There are minutes for
// the last 24 hours, and quarters of an hour for 7 days. Errors: Invalid, Unavailable.
func (q *Queue) Chart(ctx context.Context, s Span) ([]ChartPoint, time.Duration, error) {
	key := chartKeyOf(q.id)
	return q.svc.charts.read(ctx, chartQuestion{namespace: q.space.id, key: &key}, s)
}

// Chart is [Queue.Chart] for all queues of the namespace together, those that have been
// deleted since too.
func (s *Service) Chart(ctx context.Context, ns mnq.Namespace, span Span) ([]ChartPoint, time.Duration, error) {
	return s.charts.read(ctx, chartQuestion{namespace: ns.ID}, span)
}

// chartQuestion says whose chart is wanted.
type chartQuestion struct {
	namespace string
	key       *chartKey // nil: all queues
}

func (c chartQuestion) subject(s chartStream) string {
	if c.key != nil {
		return s.subject(c.namespace, c.key.shard())
	}
	return s.prefix + c.namespace + ".*"
}

// of takes from a record what is asked for.
func (c chartQuestion) of(r chartRecord) (v chartValues) {
	if c.key != nil {
		return r.queues[*c.key]
	}
	for _, o := range r.queues {
		v = v.and(o)
	}
	return v
}

// chartSteps are values by step; one that is there and has none was looked at.
type chartSteps struct {
	values map[int64]chartValues
	known  map[int64]bool
}

func (c *charts) read(ctx context.Context, ask chartQuestion, span Span) ([]ChartPoint, time.Duration, error) {
	span, err := span.settle(time.Now())
	if err != nil {
		return nil, 0, err
	}
	w, err := c.open(ctx)
	if err != nil {
		return nil, 0, unavailable("queue.Chart", "", err)
	}
	var steps chartSteps
	if span.Step == ChartMinute {
		steps, err = c.steps(ctx, w, ask, chartStreams[0], span.Since)
	} else {
		steps, err = c.quarters(ctx, w, ask, span.Since)
	}
	if err != nil {
		return nil, 0, unavailable("queue.Chart", "", err)
	}
	var out []ChartPoint
	for at := span.Since; at.Before(span.Until); at = at.Add(span.Step) {
		step := at.UnixNano() / int64(span.Step)
		out = append(out, steps.values[step].point(at, steps.known[step]))
	}
	// What has just ended may not have been written yet.
	if n := len(out); n > 0 && out[n-1] == (ChartPoint{At: out[n-1].At}) && time.Since(span.Until) < chartLate {
		out = out[:n-1]
	}
	return out, span.Step, nil
}

// quarters are those that have been made, and for the time after them minutes added up.
func (c *charts) quarters(ctx context.Context, w *link, ask chartQuestion, since time.Time) (chartSteps, error) {
	steps, err := c.steps(ctx, w, ask, chartStreams[1], since)
	if err != nil {
		return steps, err
	}
	next := since.UnixNano() / int64(ChartQuarter)
	for step := range steps.known {
		next = max(next, step+1)
	}
	for step := range steps.values {
		next = max(next, step+1)
	}
	minutes, err := c.steps(ctx, w, ask, chartStreams[0], time.Unix(0, next*int64(ChartQuarter)))
	if err != nil {
		return steps, err
	}
	const each = int64(ChartQuarter / ChartMinute)
	for minute, v := range minutes.values {
		steps.values[minute/each] = steps.values[minute/each].then(v)
	}
	for minute := range minutes.known {
		steps.known[minute/each] = true
	}
	return steps, nil
}

// steps reads one stream for the steps that begin at since or later.
func (c *charts) steps(ctx context.Context, w *link, ask chartQuestion, s chartStream, since time.Time) (chartSteps, error) {
	out := chartSteps{values: map[int64]chartValues{}, known: map[int64]bool{}}
	first := since.UnixNano() / int64(s.step)
	if err := (chartPart{s.name, s.prefix + chartUp + ".0", since}).each(ctx, w, func(_ string, r chartRecord) bool {
		out.known[r.step] = out.known[r.step] || r.step >= first
		return true
	}); err != nil {
		return out, err
	}
	// Quarters may have been made twice: of each shard's the last counts.
	type place struct {
		subject string
		step    int64
	}
	quarters := map[place]chartValues{}
	err := chartPart{s.name, ask.subject(s), since}.each(ctx, w, func(subject string, r chartRecord) bool {
		switch {
		case r.step < first:
		case s.step == ChartQuarter:
			quarters[place{subject, r.step}] = ask.of(r)
		default:
			out.values[r.step] = out.values[r.step].and(ask.of(r))
		}
		return true
	})
	for p, v := range quarters {
		out.values[p.step] = out.values[p.step].and(v)
	}
	return out, err
}

// chartPart are the records of some subjects that were written at since or later.
type chartPart struct {
	stream, subjects string
	since            time.Time
}

// each passes them in order until f returns false.
func (p chartPart) each(ctx context.Context, w *link, f func(subject string, r chartRecord) bool) error {
	from := readFrom{time: p.since, n: surveyBatch}
	for {
		recs, more, err := w.readSome(ctx, p.stream, p.subjects, from)
		if err != nil {
			return err
		}
		for _, rec := range recs {
			r, err := decodeChart(rec.data)
			if err != nil {
				continue // of another version
			}
			if !f(rec.subject, r) {
				return nil
			}
		}
		if len(recs) == 0 || more == 0 {
			return nil
		}
		from = readFrom{seq: recs[len(recs)-1].seq + 1, n: surveyBatch}
	}
}
