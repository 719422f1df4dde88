package rest

import (
	"context"
	"net/http"
	"strings"

	"github.com/openmnq/mnq"
)

func (a *API) registerQueueChanges() {
	const queues, one = "/namespaces/{namespace_id}/queues", "/namespaces/{namespace_id}/queues/{queue_name}"
	handle(a, operation{
		id: "openmnq.CreateQueue", method: http.MethodPost, path: queues,
		summary: "Create an SQS queue, or find the one that has the same attributes", noun: "queue", action: "create", large: true,
	}, a.createQueue)
	handle(a, operation{
		id: "openmnq.UpdateQueue", method: http.MethodPatch, path: one,
		summary: "Change attributes and tags of a queue; what is not named stays", noun: "queue", action: "write", large: true,
	}, a.updateQueue)
	remove(a, operation{
		id: "openmnq.DeleteQueue", method: http.MethodDelete, path: one,
		summary: "Delete a queue with its messages", noun: "queue", action: "delete",
	}, a.deleteQueue)
	handle(a, operation{
		id: "openmnq.PurgeQueue", method: http.MethodPost, path: one + "/purge",
		summary: "Remove all messages of a queue, hidden and delayed ones too", noun: "queue", action: "write",
	}, a.purgeQueue)
}

type createQueueInput struct {
	NamespaceID string `path:"namespace_id" maxLength:"64" doc:"an id, or the account part of a queue URL"`
	Body        createQueueRequest
}

type createQueueRequest struct {
	Name       string            `json:"name" minLength:"1" maxLength:"80" doc:"ends in .fifo for a FIFO queue"`
	Attributes map[string]string `json:"attributes" required:"false" doc:"as SQS names them; FifoQueue may be left out"`
	Tags       map[string]string `json:"tags" required:"false"`
}

func (a *API) createQueue(ctx context.Context, who mnq.Identity, in *createQueueInput) (queueOnWire, error) {
	ns, err := a.anyNamespace(who, in.NamespaceID)
	if err != nil {
		return queueOnWire{}, err
	}
	if err := offersQueues(ns); err != nil {
		return queueOnWire{}, err
	}
	attributes := in.Body.Attributes
	if strings.HasSuffix(in.Body.Name, ".fifo") {
		if attributes == nil {
			attributes = map[string]string{}
		}
		attributes["FifoQueue"] = "true"
	}
	if _, err := a.queues.Create(ctx, ns, in.Body.Name, attributes, in.Body.Tags); err != nil {
		return queueOnWire{}, err
	}
	return a.queueWire(ctx, ns, in.Body.Name)
}

// offersQueues: what belongs to SQS and SNS cannot be made in a NATS namespace.
func offersQueues(ns mnq.Namespace) error {
	if ns.Protocol != mnq.ProtocolSQSSNS {
		return preconditionFailed("protocol_mismatch", "the namespace speaks NATS: queues and topics are in namespaces of protocol sqs_sns")
	}
	return nil
}

type updateQueueInput struct {
	QueuePath

	Body updateQueueRequest
}

type updateQueueRequest struct {
	Attributes map[string]string `json:"attributes" required:"false"`
	Tags       map[string]string `json:"tags" required:"false" doc:"to add or to overwrite"`
	Untag      []string          `json:"untag" required:"false" maxItems:"50" doc:"keys of tags to remove"`
}

func (a *API) updateQueue(ctx context.Context, who mnq.Identity, in *updateQueueInput) (queueOnWire, error) {
	ns, err := a.anyNamespace(who, in.NamespaceID)
	if err != nil {
		return queueOnWire{}, err
	}
	q, err := a.queue(who, in.QueuePath)
	if err == nil && len(in.Body.Attributes) > 0 {
		err = q.SetAttributes(ctx, ns, in.Body.Attributes)
	}
	if err == nil && len(in.Body.Tags) > 0 {
		err = q.Tag(ctx, in.Body.Tags)
	}
	if err == nil && len(in.Body.Untag) > 0 {
		err = q.Untag(ctx, in.Body.Untag)
	}
	if err != nil {
		return queueOnWire{}, as(err, "queue", in.QueueName)
	}
	return a.queueWire(ctx, ns, in.QueueName)
}

func (a *API) deleteQueue(ctx context.Context, who mnq.Identity, in *QueuePath) error {
	q, err := a.queue(who, *in)
	if err != nil {
		return err
	}
	return as(q.Delete(ctx), "queue", in.QueueName)
}

type purged struct {
	Messages int64 `json:"messages" doc:"how many there were a moment before"`
}

func (a *API) purgeQueue(ctx context.Context, who mnq.Identity, in *QueuePath) (purged, error) {
	q, err := a.queue(who, *in)
	if err != nil {
		return purged{}, err
	}
	c, err := q.Counts(ctx)
	if err == nil {
		err = q.Purge(ctx)
	}
	return purged{c.Visible + c.InFlight + c.Delayed}, as(err, "queue", in.QueueName)
}
