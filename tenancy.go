package mnq

import "time"

// Protocol is what a namespace speaks.
type Protocol string

// The protocols of v1alpha1.
const (
	ProtocolNATS   Protocol = "nats"
	ProtocolSQSSNS Protocol = "sqs_sns"
)

// Service is one of the two AWS data planes.
type Service string

// The AWS data planes, named as in a SigV4 credential scope.
const (
	ServiceSQS Service = "sqs"
	ServiceSNS Service = "sns"
)

// Permissions are what a data-plane credential may do in its whole namespace.
type Permissions struct {
	CanPublish bool `json:"can_publish"`
	CanReceive bool `json:"can_receive"`
	CanManage  bool `json:"can_manage"`
}

// Permission is a set of alternatives: an operation names the permissions of
// which the caller needs at least one.
type Permission uint8

// The three permissions, and none for operations that need no permission.
const (
	CanPublish Permission = 1 << iota
	CanReceive
	CanManage

	AnyPermission = CanPublish | CanReceive | CanManage
)

// Allow reports whether p holds at least one permission of need. A need of zero
// is always allowed.
func (p Permissions) Allow(need Permission) bool {
	return need == 0 ||
		need&CanPublish != 0 && p.CanPublish ||
		need&CanReceive != 0 && p.CanReceive ||
		need&CanManage != 0 && p.CanManage
}

// Project owns namespaces and credentials. API keys are bound to one project or
// see all of them.
type Project struct {
	ID             string    `json:"id"` // UUID
	Name           string    `json:"name"`
	OrganizationID string    `json:"organization_id"` // UUID
	CreatedAt      time.Time `json:"created_at"`
	UpdatedAt      time.Time `json:"updated_at"`
}

// APIKey authenticates against the control plane. Its secret is a UUID that is
// shown once and stored as a hash.
type APIKey struct {
	AccessKey string    `json:"access_key"`           // "SCW" and 17 of A-Z0-9
	ProjectID string    `json:"project_id,omitempty"` // empty: all projects
	ReadOnly  bool      `json:"read_only"`
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"created_at"`
}

// User signs in to the console with a name and a password.
type User struct {
	Name       string    `json:"name"`
	ProjectID  string    `json:"project_id,omitempty"` // empty: all projects
	ReadOnly   bool      `json:"read_only"`
	CreatedAt  time.Time `json:"created_at"`
	PasswordAt time.Time `json:"password_at"` // when the password was set
}

// Identity is an authenticated caller of the control plane.
type Identity struct {
	AccessKey      string // of the API key; of a user "user/" and the name
	OrganizationID string
	ProjectID      string // empty: all projects
	ReadOnly       bool
}

// Sees reports whether the identity may know that projectID exists.
func (i Identity) Sees(projectID string) bool { return i.ProjectID == "" || i.ProjectID == projectID }

// Quota bounds one namespace. Zero means the default of its protocol, a negative
// number means unlimited.
type Quota struct {
	StorageBytes  int64 `json:"storage_bytes,omitempty"`
	MessageBytes  int64 `json:"message_bytes,omitempty"`   // largest message (SQS/SNS) or payload (NATS)
	Queues        int64 `json:"queues,omitempty"`          // SQS/SNS only
	Topics        int64 `json:"topics,omitempty"`          // SQS/SNS only
	Subscriptions int64 `json:"subscriptions,omitempty"`   // per topic, SQS/SNS only
	Streams       int64 `json:"streams,omitempty"`         // NATS only
	Consumers     int64 `json:"consumers,omitempty"`       // per stream, NATS only
	Connections   int64 `json:"connections,omitempty"`     // NATS only
	MaxAckPending int64 `json:"max_ack_pending,omitempty"` // per consumer, NATS only
	NATSSubs      int64 `json:"subscriptions_nats,omitempty"`
}

// DefaultQuota returns the limits of the compatible profile
// (docs/compatibility.md names their sources).
func DefaultQuota(p Protocol) Quota {
	if p == ProtocolNATS {
		return Quota{
			StorageBytes: 300 << 20, MessageBytes: 512 << 10, Streams: 50, Consumers: 50,
			Connections: 1000, MaxAckPending: 100_000, NATSSubs: 10_000,
		}
	}
	return Quota{StorageBytes: 100 << 20, MessageBytes: 256 << 10, Queues: 50, Topics: 50, Subscriptions: 50}
}

// Or returns q with every zero field taken from def.
func (q Quota) Or(def Quota) Quota {
	or := func(v, d int64) int64 {
		if v == 0 {
			return d
		}
		return v
	}
	return Quota{
		StorageBytes: or(q.StorageBytes, def.StorageBytes), MessageBytes: or(q.MessageBytes, def.MessageBytes),
		Queues: or(q.Queues, def.Queues), Topics: or(q.Topics, def.Topics),
		Subscriptions: or(q.Subscriptions, def.Subscriptions), Streams: or(q.Streams, def.Streams),
		Consumers: or(q.Consumers, def.Consumers), Connections: or(q.Connections, def.Connections),
		MaxAckPending: or(q.MaxAckPending, def.MaxAckPending), NATSSubs: or(q.NATSSubs, def.NATSSubs),
	}
}

// Namespace is a broker: one isolated NATS account. Its id is that account's
// public nkey.
type Namespace struct {
	ID        string    `json:"id"` // 56 characters, "A…"
	Name      string    `json:"name"`
	Protocol  Protocol  `json:"protocol"`
	ProjectID string    `json:"project_id"`
	Region    string    `json:"region"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	Quota     Quota     `json:"quota"` // in force, defaults filled in

	// Activated is set on the hidden namespace behind a project's v1beta1 SQS
	// and SNS. Such a namespace is not listed by v1alpha1, and its account part
	// in queue URLs and ARNs is "project-<uuid>" instead of the id.
	Activated bool `json:"activated,omitempty"`

	// AccountID is set on the namespaces of `mnq serve --dev`, one for each account
	// and region: the account part of their queue URLs and ARNs.
	AccountID string `json:"account_id,omitempty"`

	// FIFOWithoutGroup lets FIFO queues take messages without a group. All of them
	// form one group.
	FIFOWithoutGroup bool `json:"fifo_without_group,omitempty"`
}

// Account returns the account part of the namespace's queue URLs and ARNs.
func (n Namespace) Account() string {
	if n.AccountID != "" {
		return n.AccountID
	}
	if n.Activated {
		return "project-" + n.ProjectID
	}
	return n.ID
}

// Credential opens the data plane of one namespace: a NATS user, or an access
// key for SQS and SNS.
type Credential struct {
	ID          string      `json:"id"` // UUID
	Name        string      `json:"name"`
	NamespaceID string      `json:"namespace_id"`
	ProjectID   string      `json:"project_id"`
	Region      string      `json:"region"`
	Protocol    Protocol    `json:"protocol"`
	Service     Service     `json:"service,omitempty"`    // set on v1beta1 credentials: the only service they open
	AccessKey   string      `json:"access_key,omitempty"` // SQS/SNS: 20 of A-Za-z0-9
	UserKey     string      `json:"user_key,omitempty"`   // NATS: the user's public nkey
	Permissions Permissions `json:"permissions,omitzero"` // SQS/SNS
	Checksum    string      `json:"checksum"`             // SHA-1 hex of the secret or of the creds file
	CreatedAt   time.Time   `json:"created_at"`
	UpdatedAt   time.Time   `json:"updated_at"`
}

// Activation says whether SQS or SNS is switched on for a project (v1beta1).
// The times are zero while it is off.
type Activation struct {
	ProjectID string
	Service   Service
	Enabled   bool
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Principal is an access key as the SQS and SNS front door needs it: the clear
// secret to verify signatures with, and what the holder may do where.
type Principal struct {
	Credential Credential
	Namespace  Namespace
	Secret     Secret
}

// Secret is a string that does not print.
type Secret string

// String returns a mask.
func (Secret) String() string { return "***" }

// GoString returns a mask.
func (Secret) GoString() string { return "***" }

// MarshalText returns a mask, so that a Secret never reaches JSON or a log.
func (Secret) MarshalText() ([]byte, error) { return []byte("***"), nil }

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }
