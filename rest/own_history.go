package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/queue"
)

// historyOnWire is a chart of one queue or of all of a namespace: one list for each
// measure, all of the same length, as charts want them.
type historyOnWire struct {
	Step  int64   `json:"step_seconds" doc:"60 or 900"`
	Times []int64 `json:"times" nullable:"false" doc:"when each step began, in seconds since 1970"`

	Sent          []uint64 `json:"sent" nullable:"false" doc:"messages in each step"`
	Received      []uint64 `json:"received" nullable:"false"`
	Deleted       []uint64 `json:"deleted" nullable:"false"`
	EmptyReceives []uint64 `json:"empty_receives" nullable:"false"`

	Visible   []*uint64 `json:"visible" nullable:"false" doc:"the most that was seen in each step; null when nobody looked, as while no server ran"`
	InFlight  []*uint64 `json:"in_flight" nullable:"false" doc:"likewise"`
	Delayed   []*uint64 `json:"delayed" nullable:"false" doc:"likewise"`
	OldestAge []*uint64 `json:"oldest_age_seconds" nullable:"false" doc:"likewise, of the oldest message"`
}

// HistoryQuery says which part of a history is wanted.
type HistoryQuery struct {
	Since time.Time `query:"since" doc:"default: six hours before until"`
	Until time.Time `query:"until" doc:"default: now"`
	Step  string    `query:"step" enum:"1m,15m" doc:"1m: of the last 24 hours, 15m: of the last 7 days. Default: 1m for up to six hours, else 15m"`
}

func (q HistoryQuery) span() queue.Span {
	s := queue.Span{Since: q.Since, Until: q.Until, Step: map[string]time.Duration{"1m": queue.ChartMinute, "15m": queue.ChartQuarter}[q.Step]}
	if s.Until.IsZero() {
		s.Until = time.Now()
	}
	if s.Since.IsZero() {
		s.Since = s.Until.Add(-6 * time.Hour)
	}
	return s
}

func (a *API) registerHistory() {
	handle(a, operation{
		id: "openmnq.GetQueueHistory", method: http.MethodGet, path: "/namespaces/{namespace_id}/queues/{queue_name}/history",
		summary: "Get what happened in an SQS queue over the last 7 days, step by step", noun: "queue",
	}, a.queueHistory)
	handle(a, operation{
		id: "openmnq.GetNamespaceHistory", method: http.MethodGet, path: "/namespaces/{namespace_id}/history",
		summary: "Get the same for all SQS queues of a namespace together", noun: "namespace",
	}, a.namespaceHistory)
}

type queueHistoryInput struct {
	QueuePath
	HistoryQuery
}

func (a *API) queueHistory(ctx context.Context, who mnq.Identity, in *queueHistoryInput) (historyOnWire, error) {
	q, err := a.queue(who, in.QueuePath)
	if err != nil {
		return historyOnWire{}, err
	}
	points, step, err := q.Chart(ctx, in.span())
	return historyWire(points, step), err
}

type namespaceHistoryInput struct {
	HistoryQuery

	NamespaceID string `path:"namespace_id" maxLength:"64" doc:"an id, or the account part of a queue URL"`
}

func (a *API) namespaceHistory(ctx context.Context, who mnq.Identity, in *namespaceHistoryInput) (historyOnWire, error) {
	ns, err := a.anyNamespace(who, in.NamespaceID)
	if err != nil {
		return historyOnWire{}, err
	}
	points, step, err := a.queues.Chart(ctx, ns, in.span())
	return historyWire(points, step), err
}

func historyWire(points []queue.ChartPoint, step time.Duration) historyOnWire {
	out := historyOnWire{
		Step: int64(step / time.Second), Times: []int64{}, Sent: []uint64{}, Received: []uint64{}, Deleted: []uint64{}, EmptyReceives: []uint64{},
		Visible: []*uint64{}, InFlight: []*uint64{}, Delayed: []*uint64{}, OldestAge: []*uint64{},
	}
	for _, p := range points {
		out.Times = append(out.Times, p.At.Unix())
		out.Sent, out.Received = append(out.Sent, p.Sent), append(out.Received, p.Received)
		out.Deleted, out.EmptyReceives = append(out.Deleted, p.Deleted), append(out.EmptyReceives, p.EmptyReceives)
		seen := func(v uint64) *uint64 {
			if !p.Known {
				return nil
			}
			return &v
		}
		out.Visible, out.InFlight, out.Delayed = append(out.Visible, seen(p.Visible)), append(out.InFlight, seen(p.InFlight)), append(out.Delayed, seen(p.Delayed))
		out.OldestAge = append(out.OldestAge, seen(uint64(p.Oldest/time.Second))) //nolint:gosec // not negative
	}
	return out
}
