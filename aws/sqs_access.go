package aws

import (
	"context"
	"strings"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/policy"
	"github.com/openmnq/mnq/queue"
)

// addressed is the queue that a request names, and whose it is.
type addressed struct {
	*queue.Queue
	ns mnq.Namespace
}

// queue finds the queue that a request names by its URL.
func (h *Handler) queue(c *call, queueURL string) (*addressed, error) {
	account, name, ok := splitQueueURL(queueURL, h.basePath)
	if !ok {
		return nil, queueDoesNotExist()
	}
	return h.find(c, account, name)
}

// find finds a queue of the caller's own namespace, or one of another whose policy
// lets the caller do this. Any other queue is as missing as one that never was. An
// empty account is the caller's own.
func (h *Handler) find(c *call, account, name string) (*addressed, error) {
	ns := c.principal.Namespace
	own := account == "" || account == ns.Account()
	if !own {
		if queue.OwnerOnly(c.name) || h.cfg.Owner == nil {
			return nil, queueDoesNotExist()
		}
		var err error
		if ns, err = h.cfg.Owner(account, ns.Region); err != nil || ns.Account() != account || ns.Protocol != mnq.ProtocolSQSSNS {
			return nil, queueDoesNotExist()
		}
	}
	q, err := h.cfg.Queues.Queue(ns, name)
	if err != nil {
		return nil, queueDoesNotExist()
	}
	verdict := q.Judge(ns, policy.Access{
		Account: c.principal.Namespace.Account(), Action: strings.TrimSuffix(c.name, "Batch"), Secure: strings.HasPrefix(c.baseURL, "https:"),
	})
	switch {
	case own && verdict == policy.Refused && !queue.OwnerOnly(c.name):
		return nil, &mnq.Error{
			Kind: mnq.Denied, Code: "AccessDenied", Op: "aws.find", Resource: name,
			Msg: "Access to the resource " + c.baseURL + "/" + ns.Account() + "/" + q.Name() + " is denied.",
		}
	case !own && verdict != policy.Allowed:
		return nil, queueDoesNotExist()
	}
	return &addressed{q, ns}, nil
}

func (h *Handler) addPermission(ctx context.Context, c *call, in *addPermissionInput) (*none, error) {
	q, err := h.queue(c, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	return &none{}, q.AddPermission(ctx, q.ns, queue.Permission{Label: in.Label, Accounts: in.AWSAccountIds, Actions: in.Actions})
}

func (h *Handler) removePermission(ctx context.Context, c *call, in *removePermissionInput) (*none, error) {
	q, err := h.queue(c, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	return &none{}, q.RemovePermission(ctx, q.ns, in.Label)
}

func (h *Handler) tagQueue(ctx context.Context, c *call, in *tagQueueInput) (*none, error) {
	q, err := h.queue(c, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	return &none{}, q.Tag(ctx, in.Tags)
}

func (h *Handler) untagQueue(ctx context.Context, c *call, in *untagQueueInput) (*none, error) {
	q, err := h.queue(c, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	return &none{}, q.Untag(ctx, in.TagKeys)
}

func (h *Handler) listQueueTags(_ context.Context, c *call, in *addressedInput) (*listQueueTagsOutput, error) {
	q, err := h.queue(c, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	return &listQueueTagsOutput{Tags: q.Tags()}, nil
}
