package aws

import (
	"net"
	"reflect"

	"github.com/openmnq/mnq/tenant"
)

// auditedActions are those that change what there is. Messages are counted, not
// audited.
var auditedActions = map[string]bool{
	"AddPermission": true, "RemovePermission": true, // both services
	"CancelMessageMoveTask": true, "CreateQueue": true, "DeleteQueue": true, "PurgeQueue": true, "SetQueueAttributes": true,
	"StartMessageMoveTask": true, "TagQueue": true, "UntagQueue": true,
	"ConfirmSubscription": true, "CreateTopic": true, "DeleteTopic": true, "PutDataProtectionPolicy": true,
	"SetSubscriptionAttributes": true, "SetTopicAttributes": true, "Subscribe": true, "TagResource": true, "Unsubscribe": true,
	"UntagResource": true,
}

// resourceMembers are the members of inputs that say what an action is about, the
// first that is there.
var resourceMembers = []string{
	"QueueUrl", "QueueName", "SubscriptionArn", "TopicArn", "SourceArn", "ResourceArn", "TaskHandle", "Name",
}

// auditRecord is what the audit log gets to know of a call. A link has no actor.
func (c *call) auditRecord(in any) tenant.AuditRecord {
	r := tenant.AuditRecord{
		Actor: c.principal.Credential.AccessKey, Role: "credential", ProjectID: c.principal.Namespace.ProjectID,
		Action: string(c.service) + "." + c.name, Address: c.http.RemoteAddr, Agent: c.http.UserAgent(),
		RequestID: c.id, Via: string(c.service),
	}
	if c.anonymous {
		r.Role = "link"
	}
	if host, _, err := net.SplitHostPort(c.http.RemoteAddr); err == nil {
		r.Address = host
	}
	v := reflect.ValueOf(in).Elem()
	for _, member := range resourceMembers {
		if f := v.FieldByName(member); f.IsValid() && f.Kind() == reflect.String && f.String() != "" {
			r.Resource = f.String()
			break
		}
	}
	return r
}
