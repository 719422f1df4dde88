package rest

import (
	"context"
	"maps"
	"math"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/queue"
)

// queueOnWire is a queue with what is in it now.
type queueOnWire struct {
	Name      string     `json:"name"`
	ARN       string     `json:"arn"`
	FIFO      bool       `json:"fifo"`
	Visible   int64      `json:"visible" doc:"messages that can be received"`
	InFlight  int64      `json:"in_flight" doc:"messages that were received and are hidden"`
	Delayed   int64      `json:"delayed" doc:"messages that cannot be received yet"`
	OldestAt  *time.Time `json:"oldest_at" doc:"when the oldest message that is still here was sent; null when there is none"`
	OldestAge float64    `json:"oldest_age_seconds" doc:"the same as an age; 0 when there is none"`

	Attributes        map[string]string `json:"attributes" doc:"those that can be set, as SQS names them"`
	Tags              map[string]string `json:"tags"`
	DeadLetterSources []string          `json:"dead_letter_sources" nullable:"false" doc:"names of queues whose dead letters come here, at most 100"`
	CreatedAt         *time.Time        `json:"created_at"`
	UpdatedAt         *time.Time        `json:"updated_at"`
}

type queueList struct {
	Queues     []queueOnWire `json:"queues" nullable:"false"`
	TotalCount int           `json:"total_count"`
}

func (a *API) registerQueues() {
	handle(a, operation{
		id: "openmnq.ListQueues", method: http.MethodGet, path: "/namespaces/{namespace_id}/queues",
		summary: "List the SQS queues of a namespace with their counts, by name", noun: "queue",
	}, a.listQueues)
	handle(a, operation{
		id: "openmnq.GetQueue", method: http.MethodGet, path: "/namespaces/{namespace_id}/queues/{queue_name}",
		summary: "Get the counts of an SQS queue and the age of its oldest message", noun: "queue",
	}, a.getQueue)
}

type listQueuesInput struct {
	PageQuery

	NamespaceID string `path:"namespace_id" maxLength:"64" doc:"an id, or the account part of a queue URL"`
	Prefix      string `query:"prefix" maxLength:"80" doc:"only names that begin with it"`
	Contains    string `query:"contains" maxLength:"80" doc:"only names that it is part of"`
}

// countedAtOnce is how many queues of a page are asked for their counts together.
const countedAtOnce = 8

func (a *API) listQueues(ctx context.Context, who mnq.Identity, in *listQueuesInput) (queueList, error) {
	ns, err := a.anyNamespace(who, in.NamespaceID)
	if err != nil {
		return queueList{}, err
	}
	names, _ := a.queues.List(ns, in.Prefix, "", math.MaxInt)
	if in.Contains != "" {
		names = filter(names, func(name string) bool { return strings.Contains(name, in.Contains) })
	}
	page := cut(names, in.PageQuery)
	found := make([]*queueOnWire, len(page))
	var g errgroup.Group
	g.SetLimit(countedAtOnce)
	for i, name := range page {
		g.Go(func() error {
			q, err := a.queueWire(ctx, ns, name)
			if err == nil {
				found[i] = &q
			}
			if mnq.IsNotFound(err) {
				return nil // deleted meanwhile
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return queueList{}, err
	}
	out := queueList{Queues: []queueOnWire{}, TotalCount: len(names)}
	for _, q := range found {
		if q != nil {
			out.Queues = append(out.Queues, *q)
		}
	}
	return out, nil
}

func (a *API) getQueue(ctx context.Context, who mnq.Identity, in *QueuePath) (queueOnWire, error) {
	ns, err := a.anyNamespace(who, in.NamespaceID)
	if err != nil {
		return queueOnWire{}, err
	}
	q, err := a.queueWire(ctx, ns, in.QueueName)
	return q, as(err, "queue", in.QueueName)
}

// maxSources is how many dead-letter sources of a queue are named.
const maxSources = 100

func (a *API) queueWire(ctx context.Context, ns mnq.Namespace, name string) (queueOnWire, error) {
	q, err := a.queues.Queue(ns, name)
	var c queue.Counts
	if err == nil {
		c, err = q.Counts(ctx)
	}
	if err != nil {
		return queueOnWire{}, err
	}
	attributes, created, modified := q.Settings()
	sources, _ := q.DeadLetterSources("", maxSources)
	out := queueOnWire{
		Attributes: attributes, Tags: maps.Clone(q.Tags()), DeadLetterSources: append([]string{}, sources...),
		CreatedAt: stamp(created), UpdatedAt: stamp(modified),
		Name: q.Name(), ARN: q.ARN(ns), FIFO: q.FIFO(), Visible: c.Visible, InFlight: c.InFlight, Delayed: c.Delayed, OldestAt: stamp(c.Oldest),
	}
	if out.Tags == nil {
		out.Tags = map[string]string{}
	}
	if !c.Oldest.IsZero() {
		out.OldestAge = max(0, time.Since(c.Oldest).Round(time.Millisecond).Seconds())
	}
	return out, nil
}
