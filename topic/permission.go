package topic

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/policy"
)

// policyActions are what a topic's policy can allow to other accounts (SNS developer
// guide, resource-based actions).
var policyActions = []string{
	"GetTopicAttributes", "SetTopicAttributes", "AddPermission", "RemovePermission", "DeleteTopic",
	"Subscribe", "ListSubscriptionsByTopic", "Publish",
}

const defaultPolicyID = "__default_policy_ID"

// defaultPolicy is the policy of a topic that has been given none: its own account
// may do everything.
func (t *Topic) defaultPolicy(ns mnq.Namespace) string {
	actions := `"SNS:` + strings.Join(policyActions, `","SNS:`) + `"`
	return `{"Version":"2008-10-17","Id":"` + defaultPolicyID + `","Statement":[{"Sid":"__default_statement_ID","Effect":"Allow","Principal":{"AWS":"*"},` +
		`"Action":[` + actions + `],"Resource":"` + t.ARN(ns) + `","Condition":{"StringEquals":{"AWS:SourceOwner":"` + ns.Account() + `"}}}]}`
}

// Judge evaluates the topic's policy. ns is the namespace that the topic is in. The
// default policy is silent: what an owner may do, its credential says.
func (t *Topic) Judge(ns mnq.Namespace, a policy.Access) policy.Verdict {
	return policy.Judge(t.state.Load().Settings[attrPolicy], "sns", t.ARN(ns), a)
}

var labelRule = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

// AddPermission adds a statement to the topic's policy that allows actions (such as
// "Publish") to accounts. Errors: Invalid (InvalidParameter), NotFound.
func (t *Topic) AddPermission(ctx context.Context, ns mnq.Namespace, label string, accounts, actions []string) error {
	if !labelRule.MatchString(label) {
		return invalid("Label Reason: must have from 1 to 80 letters, digits, hyphens or underscores")
	}
	add := policy.Grant{Label: label, Resource: t.ARN(ns), Accounts: accounts}
	for _, a := range actions {
		if !slices.Contains(policyActions, a) {
			return invalid("Policy statement action out of service scope!")
		}
		add.Actions = append(add.Actions, "SNS:"+a)
	}
	switch {
	case len(actions) == 0:
		return invalid("ActionName Reason: must name an action")
	case len(accounts) == 0 || len(accounts) > policy.MaxPrincipals || !all(accounts, policy.ValidAccount):
		return invalid("AWSAccountId Reason: must be from 1 to 50 accounts")
	}
	return t.changePolicy(ctx, ns, func(d *policy.Draft) error {
		if d.Has(label) {
			return invalid("Statement already exists")
		}
		if len(d.Statements) >= policy.MaxStatements {
			return invalid("Policy Reason: it has 20 statements, which is the limit")
		}
		return d.Add(add)
	})
}

// RemovePermission removes the statements with that label from the topic's policy.
func (t *Topic) RemovePermission(ctx context.Context, ns mnq.Namespace, label string) error {
	return t.changePolicy(ctx, ns, func(d *policy.Draft) error {
		d.Remove(label)
		return nil
	})
}

func (t *Topic) changePolicy(ctx context.Context, ns mnq.Namespace, f func(*policy.Draft) error) error {
	return t.change(ctx, "topic.changePolicy", func(r *record) error {
		text := r.Settings[attrPolicy]
		if text == "" {
			text = t.defaultPolicy(ns)
		}
		d, err := policy.Edit(text, defaultPolicyID)
		if err != nil {
			return err
		}
		if err := f(&d); err != nil {
			return err
		}
		if text, err = d.Text(); err != nil {
			return err
		}
		if r.Settings == nil {
			r.Settings = settings{}
		}
		return r.Settings.set(attrPolicy, text)
	})
}

func all(list []string, ok func(string) bool) bool {
	return !slices.ContainsFunc(list, func(s string) bool { return !ok(s) })
}
