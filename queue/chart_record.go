package queue

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"
	"strconv"
	"time"

	"github.com/openmnq/mnq"
)

// What charts show is kept in two streams of the control account: a record for each
// minute, process and shard of a namespace's queues, and one for each quarter of an hour
// that is made from those. A record has only the queues of which there is something to
// tell, some twenty bytes each.

const (
	chartMinutes = "MNQ_CHART_MINUTES"
	chartQuarter = "MNQ_CHART_QUARTERS"

	chartShards = 16
	// chartUp stands in the place of the namespace in records that say only that somebody
	// was there to look: without one a depth of zero would be a guess.
	chartUp = "up"

	chartVersion = 1
)

// chartStream is one of the two.
type chartStream struct {
	name   string
	prefix string // of its subjects
	step   time.Duration
	keep   time.Duration
}

var chartStreams = [...]chartStream{
	{chartMinutes, "mnq.chart.m.", ChartMinute, 25 * time.Hour},
	{chartQuarter, "mnq.chart.q.", ChartQuarter, 7*24*time.Hour + time.Hour},
}

func (s chartStream) subject(namespaceID string, shard int) string {
	return s.prefix + namespaceID + "." + strconv.Itoa(shard)
}

// chartKey is a queue's incarnation in a record.
type chartKey [8]byte

func chartKeyOf(queueID string) (k chartKey) {
	sum := sha256.Sum256([]byte(queueID))
	copy(k[:], sum[:])
	return k
}

func (k chartKey) shard() int { return int(k[7]) % chartShards }

// chartRecord is what happened in one step.
type chartRecord struct {
	step   int64 // since 1970, in steps of the stream
	queues map[chartKey]chartValues
}

// chartValues are those of one queue, or of several together.
type chartValues struct {
	sent, received, deleted, empty     uint64
	visible, inFlight, delayed, oldest uint64 // the highest in the step; oldest in seconds
}

// and adds what happened to another queue, or was counted by another process, in the
// same step.
func (v chartValues) and(o chartValues) chartValues {
	v.count(o)
	v.visible += o.visible
	v.inFlight += o.inFlight
	v.delayed += o.delayed
	v.oldest = max(v.oldest, o.oldest)
	return v
}

// then adds what happened to the same queue later.
func (v chartValues) then(o chartValues) chartValues {
	v.count(o)
	v.visible = max(v.visible, o.visible)
	v.inFlight = max(v.inFlight, o.inFlight)
	v.delayed = max(v.delayed, o.delayed)
	v.oldest = max(v.oldest, o.oldest)
	return v
}

func (v *chartValues) count(o chartValues) {
	v.sent += o.sent
	v.received += o.received
	v.deleted += o.deleted
	v.empty += o.empty
}

func (v *chartValues) fields() [8]*uint64 {
	return [...]*uint64{&v.sent, &v.received, &v.deleted, &v.empty, &v.visible, &v.inFlight, &v.delayed, &v.oldest}
}

func (r chartRecord) encode() []byte {
	b := make([]byte, 1, 16+len(r.queues)*24)
	b[0] = chartVersion
	b = binary.AppendVarint(b, r.step)
	for k, v := range r.queues {
		b = append(b, k[:]...)
		for _, f := range v.fields() {
			b = binary.AppendUvarint(b, *f)
		}
	}
	return b
}

var errChartRecord = errors.New("not a record of a chart")

func decodeChart(b []byte) (r chartRecord, err error) {
	if len(b) < 2 || b[0] != chartVersion {
		return r, errChartRecord
	}
	step, n := binary.Varint(b[1:])
	if n <= 0 {
		return r, errChartRecord
	}
	r.step, r.queues = step, map[chartKey]chartValues{}
	for b = b[1+n:]; len(b) > 0; {
		var k chartKey
		if len(b) < len(k) {
			return r, errChartRecord
		}
		copy(k[:], b)
		b = b[len(k):]
		var v chartValues
		for _, f := range v.fields() {
			x, n := binary.Uvarint(b)
			if n <= 0 {
				return r, errChartRecord
			}
			*f, b = x, b[n:]
		}
		r.queues[k] = v
	}
	return r, nil
}

// chartOf turns totals and counts into what a record has.
func chartOf(now, before Totals) chartValues {
	return chartValues{
		sent: now.Sent - before.Sent, received: now.Received - before.Received,
		deleted: now.Deleted - before.Deleted, empty: now.EmptyReceives - before.EmptyReceives,
	}
}

func (v *chartValues) observe(c Counts, now time.Time) {
	v.visible, v.inFlight, v.delayed = positive(c.Visible), positive(c.InFlight), positive(c.Delayed)
	if !c.Oldest.IsZero() {
		v.oldest = positive(int64(math.Ceil(now.Sub(c.Oldest).Seconds())))
	}
}

func positive(n int64) uint64 { return uint64(max(n, 0)) }

// The steps of a chart.
const (
	ChartMinute  = time.Minute
	ChartQuarter = 15 * time.Minute

	chartMinuteSpan  = 24 * time.Hour // for how long there are minutes
	chartQuarterSpan = 7 * 24 * time.Hour
)

// Span says which part of a chart is wanted.
type Span struct {
	Since, Until time.Time     // zero Until: now
	Step         time.Duration // ChartMinute, ChartQuarter; 0: minutes for up to six hours, else quarters
}

const chartFine = 6 * time.Hour

// settle checks the span and brings it to whole steps. What lies in the future is cut off.
func (s Span) settle(now time.Time) (Span, error) {
	if s.Until.IsZero() || s.Until.After(now) {
		s.Until = now
	}
	if s.Step == 0 {
		s.Step = ChartQuarter
		if s.Until.Sub(s.Since) <= chartFine && now.Sub(s.Since) <= chartMinuteSpan {
			s.Step = ChartMinute
		}
	}
	longest := map[time.Duration]time.Duration{ChartMinute: chartMinuteSpan, ChartQuarter: chartQuarterSpan}[s.Step]
	if longest == 0 {
		return s, &mnq.Error{Kind: mnq.Invalid, Op: "queue.Chart", Field: "step", Msg: "must be 1m or 15m"}
	}
	if oldest := now.Add(-longest); s.Since.Before(oldest) {
		s.Since = oldest
	}
	s.Since, s.Until = s.Since.UTC().Truncate(s.Step), s.Until.UTC().Truncate(s.Step)
	if s.Until.Before(s.Since) {
		return s, &mnq.Error{Kind: mnq.Invalid, Op: "queue.Chart", Field: "until", Msg: "must not be before since"}
	}
	return s, nil
}

// ChartPoint is what happened in a step of a chart.
type ChartPoint struct {
	At time.Time // when the step began

	Sent, Received, Deleted, EmptyReceives uint64

	// Known says that somebody looked at what was in the queue. The rest has the highest
	// that was seen.
	Known                      bool
	Visible, InFlight, Delayed uint64
	Oldest                     time.Duration // age of the oldest message
}

func (v chartValues) point(at time.Time, known bool) ChartPoint {
	p := ChartPoint{At: at, Known: known, Sent: v.sent, Received: v.received, Deleted: v.deleted, EmptyReceives: v.empty}
	if known {
		p.Visible, p.InFlight, p.Delayed = v.visible, v.inFlight, v.delayed
		p.Oldest = time.Duration(v.oldest) * time.Second //nolint:gosec // some years at most
	}
	return p
}
