package tenant

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/openmnq/mnq"
)

// index is the whole directory in memory. It does no I/O and no locking.
// Records in it are never changed, only replaced.
type index struct {
	applied     uint64 // newest revision taken in
	org         *orgRecord
	projects    map[string]*projectRecord
	apiKeys     map[string]*apiKeyRecord
	namespaces  map[string]*namespaceRecord
	credentials map[string]*openCredential
	activations map[string]*activationRecord
	users       map[string]*userRecord // by name

	keyByHash    map[[sha256.Size]byte]string // → access key
	credByAccess map[string]string            // access key → credential id
}

// openCredential is a credential with its secret in clear.
type openCredential struct {
	credentialRecord
	secret mnq.Secret
}

func newIndex() *index {
	return &index{
		projects: map[string]*projectRecord{}, apiKeys: map[string]*apiKeyRecord{},
		namespaces: map[string]*namespaceRecord{}, credentials: map[string]*openCredential{},
		activations: map[string]*activationRecord{}, users: map[string]*userRecord{},
		keyByHash: map[[sha256.Size]byte]string{}, credByAccess: map[string]string{},
	}
}

// set takes in a record. After an error the key is absent: what cannot be
// understood grants nothing.
func (x *index) set(key string, value []byte, sealer *Sealer) error {
	x.drop(key)
	prefix, id := splitKey(key)
	switch prefix {
	case "":
		return put(key, value, func(r *orgRecord) error { x.org = r; return nil })
	case projectPrefix:
		return put(key, value, func(r *projectRecord) error { x.projects[id] = r; return nil })
	case apiKeyPrefix:
		return put(key, value, func(r *apiKeyRecord) error {
			if len(r.Hash) != sha256.Size {
				return fmt.Errorf("record %s has no hash", key)
			}
			x.apiKeys[id] = r
			x.keyByHash[[sha256.Size]byte(r.Hash)] = id
			return nil
		})
	case namespacePrefix:
		return put(key, value, func(r *namespaceRecord) error { x.namespaces[id] = r; return nil })
	case activationPrefix:
		return put(key, value, func(r *activationRecord) error { x.activations[id] = r; return nil })
	case userPrefix:
		return put(key, value, func(r *userRecord) error { x.users[r.User.Name] = r; return nil })
	case credentialPrefix:
		return put(key, value, func(r *credentialRecord) error { return x.setCredential(id, r, sealer) })
	}
	return fmt.Errorf("record %s is of no known kind", key)
}

func put[T any, P interface {
	*T
	record
}](key string, value []byte, keep func(P) error) error {
	r := P(new(T))
	if err := decode(key, value, r); err != nil {
		return err
	}
	return keep(r)
}

func (x *index) setCredential(id string, r *credentialRecord, sealer *Sealer) error {
	c := &openCredential{credentialRecord: *r}
	if len(r.Secret) > 0 {
		if sealer == nil {
			return fmt.Errorf("credential %s: no master key to open its secret with", id)
		}
		plain, err := sealer.Open("credential", id, r.Secret)
		if err != nil {
			return fmt.Errorf("open the secret of credential %s: %w", id, err)
		}
		c.secret = mnq.Secret(plain)
	}
	x.credentials[id] = c
	if ak := r.Credential.AccessKey; ak != "" {
		x.credByAccess[ak] = id
	}
	return nil
}

func (x *index) drop(key string) {
	switch prefix, id := splitKey(key); prefix {
	case "":
		x.org = nil
	case projectPrefix:
		delete(x.projects, id)
	case apiKeyPrefix:
		if r := x.apiKeys[id]; r != nil {
			delete(x.keyByHash, [sha256.Size]byte(r.Hash))
			delete(x.apiKeys, id)
		}
	case namespacePrefix:
		delete(x.namespaces, id)
	case activationPrefix:
		delete(x.activations, id)
	case userPrefix:
		if name, err := hex.DecodeString(id); err == nil {
			delete(x.users, string(name))
		}
	case credentialPrefix:
		if c := x.credentials[id]; c != nil {
			delete(x.credByAccess, c.Credential.AccessKey)
			delete(x.credentials, id)
		}
	}
}

// project returns a project that is not being deleted, or nil.
func (x *index) project(id string) *projectRecord {
	if r := x.projects[id]; r != nil && !r.Deleting {
		return r
	}
	return nil
}

// namespace returns a namespace that is not being deleted, or nil.
func (x *index) namespace(id string) *namespaceRecord {
	if r := x.namespaces[id]; r != nil && !r.Deleting {
		return r
	}
	return nil
}

// credential returns a credential that opens something, or nil: its namespace
// stands, and its service is on in the activation that it was made for.
func (x *index) credential(id string) *openCredential {
	c := x.credentials[id]
	if c == nil || x.namespace(c.Credential.NamespaceID) == nil {
		return nil
	}
	if s := c.Credential.Service; s != "" {
		a := x.activations[c.Credential.ProjectID]
		if a == nil || a.service(s).State != serviceOn || a.service(s).Epoch != c.Epoch {
			return nil
		}
	}
	return c
}

// hasNamespaces reports whether a project has any, those being deleted included.
func (x *index) hasNamespaces(projectID string) bool {
	for _, r := range x.namespaces {
		if r.Namespace.ProjectID == projectID {
			return true
		}
	}
	return false
}

// natsUsers counts a namespace's credentials and the revoked ones that its account
// still has to carry.
func (x *index) natsUsers(namespaceID string) int {
	n := 0
	for _, c := range x.credentials {
		if c.Credential.NamespaceID == namespaceID {
			n++
		}
	}
	if r := x.namespaces[namespaceID]; r != nil {
		n += len(r.Revoked)
	}
	return n
}

// gone returns the namespaces that stand in x and no longer in y.
func (x *index) gone(y *index) []string {
	var ids []string
	for id := range x.namespaces {
		if x.namespace(id) != nil && y.namespace(id) == nil {
			ids = append(ids, id)
		}
	}
	return ids
}

// inForce returns the namespace with the defaults of its quota filled in.
func (r *namespaceRecord) inForce() mnq.Namespace {
	ns := r.Namespace
	ns.Quota = ns.Quota.Or(mnq.DefaultQuota(ns.Protocol))
	return ns
}
