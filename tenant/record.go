package tenant

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/openmnq/mnq"
)

// recordVersion is the version of every record that this program writes. It
// reads no newer one: what it does not understand it must not judge by.
const recordVersion = 1

// Keys of the bucket. An id never contains a dot.
const (
	orgKey           = "org"
	projectPrefix    = "project."
	apiKeyPrefix     = "apikey."
	namespacePrefix  = "ns."
	credentialPrefix = "cred."
	activationPrefix = "activation."
	userPrefix       = "user."
)

// header is what all records begin with.
type header struct {
	Version int `json:"v"`
}

func (h *header) head() *header { return h }

// record is any of the types below, by pointer.
type record interface{ head() *header }

// orgRecord is the installation itself. Creating it is what decides which of
// several processes bootstraps.
type orgRecord struct {
	header
	ID               string        `json:"id"`
	DefaultProjectID string        `json:"default_project_id"`
	CreatedAt        time.Time     `json:"created_at"`
	KeyCheck         []byte        `json:"key_check"`           // sealed; opens only with the right master key
	FirstKey         *apiKeyRecord `json:"first_key,omitempty"` // still to be created, with the default project
}

type projectRecord struct {
	header
	Project  mnq.Project `json:"project"`
	Deleting bool        `json:"deleting,omitempty"` // no namespace may be made in it any more
}

type apiKeyRecord struct {
	header
	Key  mnq.APIKey `json:"key"`
	Hash []byte     `json:"hash"` // SHA-256 of the secret
}

type namespaceRecord struct {
	header
	Namespace   mnq.Namespace    `json:"namespace"` // Quota holds the overrides only
	SigningKey  string           `json:"signing_key"`
	SigningSeed []byte           `json:"signing_seed"`      // sealed
	Revoked     map[string]int64 `json:"revoked,omitempty"` // user key → JWTs issued until then are refused
	Deleting    bool             `json:"deleting,omitempty"`
}

type credentialRecord struct {
	header
	Credential mnq.Credential `json:"credential"`
	Secret     []byte         `json:"secret,omitempty"` // SQS/SNS: sealed
	Epoch      int            `json:"epoch,omitempty"`  // of the activation it belongs to
}

// activationRecord is a project's SQS and SNS, which share one hidden namespace.
type activationRecord struct {
	header
	ProjectID string           `json:"project_id"`
	Namespace *namespaceRecord `json:"namespace,omitempty"` // what to make; kept while a service is on
	Epoch     int              `json:"epoch"`               // of the newest activation of either service
	SQS       serviceRecord    `json:"sqs"`
	SNS       serviceRecord    `json:"sns"`
}

// serviceRecord is one service of an activation. It goes off → on → closing →
// off. A credential is good for one epoch only, so nothing of an earlier
// activation comes back with a later one.
type serviceRecord struct {
	State     serviceState `json:"state"`
	Epoch     int          `json:"epoch"`
	CreatedAt time.Time    `json:"created_at,omitzero"`
	UpdatedAt time.Time    `json:"updated_at,omitzero"`
}

type serviceState string

const (
	serviceOff     serviceState = ""
	serviceOn      serviceState = "on"
	serviceClosing serviceState = "closing" // refused already, its resources are being removed
)

func (r *activationRecord) service(s mnq.Service) *serviceRecord {
	if s == mnq.ServiceSNS {
		return &r.SNS
	}
	return &r.SQS
}

// idle reports whether no service is on, so that the namespace is to go.
func (r *activationRecord) idle() bool { return r.SQS.State != serviceOn && r.SNS.State != serviceOn }

func (r *activationRecord) closing() bool {
	return r.SQS.State == serviceClosing || r.SNS.State == serviceClosing
}

func encode(r record) ([]byte, error) {
	r.head().Version = recordVersion
	return json.Marshal(r)
}

func decode(key string, data []byte, r record) error {
	if err := json.Unmarshal(data, r); err != nil {
		return fmt.Errorf("record %s: %w", key, err)
	}
	if v := r.head().Version; v != recordVersion {
		return fmt.Errorf("record %s has version %d, this program knows %d", key, v, recordVersion)
	}
	return nil
}

// splitKey parts "cred.x" into "cred." and "x".
func splitKey(key string) (prefix, id string) {
	i := strings.IndexByte(key, '.') + 1
	return key[:i], key[i:]
}
