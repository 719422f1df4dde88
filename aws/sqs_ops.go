package aws

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"

	"github.com/openmnq/mnq"
)

// sqsOperations is the table of SQS: all 23 actions of API version 2012-11-05.
func sqsOperations() []operation {
	return table(
		mnq.ServiceSQS,
		offer("AddPermission", mnq.CanManage, (*Handler).addPermission),
		offer("CancelMessageMoveTask", mnq.CanManage, (*Handler).cancelMessageMoveTask),
		offer("ChangeMessageVisibility", mnq.CanReceive|mnq.CanManage, (*Handler).changeVisibility),
		offer("ChangeMessageVisibilityBatch", mnq.CanReceive|mnq.CanManage, (*Handler).changeVisibilityBatch),
		offer("CreateQueue", mnq.CanManage, (*Handler).createQueue),
		offer("DeleteMessage", mnq.CanReceive, (*Handler).deleteMessage),
		offer("DeleteMessageBatch", mnq.CanReceive, (*Handler).deleteMessageBatch),
		offer("DeleteQueue", mnq.CanManage, (*Handler).deleteQueue),
		offer("GetQueueAttributes", mnq.AnyPermission, (*Handler).getQueueAttributes),
		offer("GetQueueUrl", mnq.AnyPermission, (*Handler).getQueueURL),
		offer("ListDeadLetterSourceQueues", mnq.AnyPermission, (*Handler).listDeadLetterSourceQueues),
		offer("ListMessageMoveTasks", mnq.CanManage, (*Handler).listMessageMoveTasks),
		offer("ListQueueTags", mnq.AnyPermission, (*Handler).listQueueTags),
		offer("ListQueues", mnq.CanManage, (*Handler).listQueues),
		offer("PurgeQueue", mnq.CanManage, (*Handler).purgeQueue),
		offer("ReceiveMessage", mnq.CanReceive, (*Handler).receiveMessage),
		offer("RemovePermission", mnq.CanManage, (*Handler).removePermission),
		offer("SendMessage", mnq.CanPublish, (*Handler).sendMessage),
		offer("SendMessageBatch", mnq.CanPublish, (*Handler).sendMessageBatch),
		offer("SetQueueAttributes", mnq.CanManage, (*Handler).setQueueAttributes),
		offer("StartMessageMoveTask", mnq.CanManage, (*Handler).startMessageMoveTask),
		offer("TagQueue", mnq.CanManage, (*Handler).tagQueue),
		offer("UntagQueue", mnq.CanManage, (*Handler).untagQueue),
	)
}

// splitQueueURL reads a queue's URL, path or bare name. The host is ignored, and
// so is the region of the form /queue/{region}/{account}/{name} that an emulator
// hands out: clients reach the same server by many names.
func splitQueueURL(s, basePath string) (account, name string, ok bool) {
	if strings.Contains(s, "://") {
		u, err := url.Parse(s)
		if err != nil {
			return "", "", false
		}
		s = u.Path
	}
	parts := strings.Split(strings.Trim(below(basePath, s), "/"), "/")
	if len(parts) == 4 && parts[0] == "queue" {
		parts = parts[2:]
	}
	switch len(parts) {
	case 1:
		return "", parts[0], parts[0] != ""
	case 2:
		return parts[0], parts[1], parts[0] != "" && parts[1] != ""
	}
	return "", "", false
}

func (c *call) queueURL(name string) string {
	return c.baseURL + "/" + c.principal.Namespace.Account() + "/" + name
}

func (h *Handler) createQueue(ctx context.Context, c *call, in *createQueueInput) (*queueURLOutput, error) {
	q, err := h.cfg.Queues.Create(ctx, c.principal.Namespace, in.QueueName, in.Attributes, in.Tags)
	if err != nil {
		return nil, err
	}
	return &queueURLOutput{QueueUrl: c.queueURL(q.Name())}, nil
}

func (h *Handler) getQueueURL(_ context.Context, c *call, in *getQueueURLInput) (*queueURLOutput, error) {
	q, err := h.find(c, in.QueueOwnerAWSAccountId, in.QueueName)
	if err != nil {
		return nil, err
	}
	return &queueURLOutput{QueueUrl: c.baseURL + "/" + q.ns.Account() + "/" + q.Name()}, nil
}

// maxListed is how many queues ListQueues returns at most.
const maxListed = 1000

func (h *Handler) listQueues(_ context.Context, c *call, in *listQueuesInput) (*listQueuesOutput, error) {
	ns := c.principal.Namespace
	what := "ListQueues\x00" + ns.ID + "\x00" + in.QueueNamePrefix
	after, limit, err := readPage(what, in.NextToken, in.MaxResults)
	if err != nil {
		return nil, err
	}
	names, more := h.cfg.Queues.List(ns, in.QueueNamePrefix, after, limit)
	out := &listQueuesOutput{}
	for _, name := range names {
		out.QueueUrls = append(out.QueueUrls, c.queueURL(name))
	}
	if more && in.MaxResults != nil && len(names) > 0 {
		out.NextToken = listToken(what, names[len(names)-1])
	}
	return out, nil
}

// readPage reads what says which part of a list is wanted. what names the list, so
// that a token of another one is refused.
func readPage(what, token string, maxResults *integer) (after string, limit int, err error) {
	limit = maxListed
	if maxResults != nil {
		if *maxResults < 1 || *maxResults > maxListed {
			return "", 0, outOfRange(*maxResults, "MaxResults", "Must be between 1 and 1000, if provided.")
		}
		limit = int(*maxResults)
	}
	after, ok := readToken(what, token)
	if !ok {
		return "", 0, invalidValue("The NextToken is not one that was returned for this list.")
	}
	return after, limit, nil
}

// readToken returns what a token of that list says, "" for none.
func readToken(what, token string) (after string, ok bool) {
	if token == "" {
		return "", true
	}
	mark := listMark(what)
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) <= len(mark) || string(b[:len(mark)]) != string(mark) {
		return "", false
	}
	return string(b[len(mark):]), true
}

// listToken says where a list goes on. It holds only a name that the caller has
// seen, so it needs no secrecy.
func listToken(what, last string) string {
	return base64.RawURLEncoding.EncodeToString(append(listMark(what), last...))
}

func listMark(what string) []byte {
	sum := sha256.Sum256([]byte(what))
	return sum[:8]
}

func (h *Handler) getQueueAttributes(ctx context.Context, c *call, in *getQueueAttributesInput) (*getQueueAttributesOutput, error) {
	q, err := h.queue(c, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	if len(in.AttributeNames) == 0 {
		return &getQueueAttributesOutput{}, nil
	}
	attributes, err := q.Attributes(ctx, q.ns, in.AttributeNames)
	if err != nil {
		return nil, err
	}
	return &getQueueAttributesOutput{Attributes: attributes}, nil
}

func (h *Handler) setQueueAttributes(ctx context.Context, c *call, in *setQueueAttributesInput) (*none, error) {
	q, err := h.queue(c, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	return &none{}, q.SetAttributes(ctx, c.principal.Namespace, in.Attributes)
}

func (h *Handler) deleteQueue(ctx context.Context, c *call, in *addressedInput) (*none, error) {
	q, err := h.queue(c, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	return &none{}, q.Delete(ctx)
}

func (h *Handler) purgeQueue(ctx context.Context, c *call, in *addressedInput) (*none, error) {
	q, err := h.queue(c, in.QueueUrl)
	if err != nil {
		return nil, err
	}
	return &none{}, q.Purge(ctx)
}

func outOfRange(value integer, parameter, reason string) error {
	return &mnq.Error{
		Kind: mnq.Invalid, Code: "InvalidParameterValue", Field: parameter,
		Msg: fmt.Sprintf("Value %d for parameter %s is invalid. Reason: %s", value, parameter, reason),
	}
}
