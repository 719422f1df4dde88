package queue

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/policy"
)

// maxPermissionActions is how many actions one AddPermission may name.
const maxPermissionActions = 7

// sharedActions are what a policy can allow to other accounts.
var sharedActions = []string{
	"*", "SendMessage", "ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "GetQueueAttributes", "GetQueueUrl",
	"ListDeadLetterSourceQueues", "PurgeQueue",
}

// ownerActions are those that only the owner of a queue may call, whatever its
// policy says.
var ownerActions = []string{
	"AddPermission", "RemovePermission", "CreateQueue", "DeleteQueue", "SetQueueAttributes", "ListQueues", "TagQueue", "UntagQueue",
	"ListQueueTags", "StartMessageMoveTask", "CancelMessageMoveTask", "ListMessageMoveTasks",
}

// OwnerOnly reports whether only the owner of a queue may call the action.
func OwnerOnly(action string) bool { return slices.Contains(ownerActions, action) }

// Permission is a statement to add to a queue's policy.
type Permission struct {
	Label    string
	Accounts []string // see [policy.ValidAccount]
	Actions  []string // such as "SendMessage", or "*"
}

// AddPermission adds a statement to the queue's policy. ns is the namespace that the
// queue is in. Errors: Invalid, with InvalidParameterValue for a label, account or
// action that is not allowed and for a label that is taken; QuotaExceeded
// (OverLimit) for too many actions or statements.
func (q *Queue) AddPermission(ctx context.Context, ns mnq.Namespace, p Permission) error {
	if err := p.check(); err != nil {
		return err
	}
	if err := q.finishCreate(ctx); err != nil {
		return err
	}
	resource := q.ARN(ns)
	added := policy.Grant{Label: p.Label, Resource: resource, Accounts: p.Accounts}
	for _, a := range p.Actions {
		added.Actions = append(added.Actions, "SQS:"+a)
	}
	return q.changePolicy(ctx, resource, func(d *policy.Draft) error {
		if d.Has(p.Label) {
			return invalidParameter(p.Label, "Label", "Already exists.")
		}
		if n := len(d.Statements); n >= policy.MaxStatements {
			return overLimit(fmt.Sprintf("%d Statements were found, maximum allowed is 20.", n+1))
		}
		return d.Add(added)
	})
}

// RemovePermission removes the statement with that label from the queue's policy,
// and with the last one the policy. None of that label: Invalid, code
// InvalidParameterValue.
func (q *Queue) RemovePermission(ctx context.Context, ns mnq.Namespace, label string) error {
	if err := q.finishCreate(ctx); err != nil {
		return err
	}
	return q.changePolicy(ctx, q.ARN(ns), func(d *policy.Draft) error {
		if !d.Remove(label) {
			return invalidParameter(label, "Label", "can't find label.")
		}
		return nil
	})
}

func (p Permission) check() error {
	if !nameRule.MatchString(p.Label) {
		return invalidParameter(p.Label, "Label", "Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length.")
	}
	if n := len(p.Actions); n > maxPermissionActions {
		return overLimit(fmt.Sprintf("%d Actions were found, maximum allowed is 7.", n))
	}
	for _, a := range p.Actions {
		switch {
		case OwnerOnly(a):
			return invalidParameter("SQS:"+a, "ActionName", "Only the queue owner is allowed to invoke this action.")
		case !slices.Contains(sharedActions, a):
			return invalidParameter("SQS:"+clip(a), "ActionName", "Please refer to the appropriate WSDL for a list of valid actions. ")
		}
	}
	if len(p.Accounts) == 0 || len(p.Accounts) > policy.MaxPrincipals {
		return invalidParameter("[]", "PrincipalId", "Unable to verify.")
	}
	for _, a := range p.Accounts {
		if !policy.ValidAccount(a) {
			return invalidParameter("["+clip(a)+"]", "PrincipalId", "Unable to verify.")
		}
	}
	return nil
}

func (q *Queue) changePolicy(ctx context.Context, resource string, f func(*policy.Draft) error) error {
	return q.change(ctx, "queue.changePolicy", func(r *record) error {
		d, err := policy.Edit(r.Settings[attrPolicy], resource+"/SQSDefaultPolicy")
		if err != nil {
			return err
		}
		if err := f(&d); err != nil {
			return err
		}
		text, err := d.Text()
		if err != nil {
			return err
		}
		r.Modified = time.Now().UTC()
		if text == "" {
			delete(r.Settings, attrPolicy)
			return nil
		}
		if text, err = canonicalPolicy(text); err != nil {
			return err
		}
		r.Settings[attrPolicy] = text
		return nil
	})
}

// canonicalPolicy checks a queue's policy and returns it without needless space.
func canonicalPolicy(v string) (string, error) {
	text, reason := policy.Check(v)
	if reason != "" {
		return "", invalidAttribute(attrPolicy, reason)
	}
	return text, nil
}

// Judge evaluates the queue's policy. ns is the namespace that the queue is in.
func (q *Queue) Judge(ns mnq.Namespace, a policy.Access) policy.Verdict {
	return policy.Judge(q.record.Load().Settings[attrPolicy], "sqs", q.ARN(ns), a)
}

func overLimit(msg string) error {
	return &mnq.Error{Kind: mnq.QuotaExceeded, Code: "OverLimit", Op: "queue", Msg: msg}
}

func invalidParameter(value, name, reason string) error {
	return invalid("InvalidParameterValue", name, "Value "+value+" for parameter "+name+" is invalid. Reason: "+reason)
}
