package tenant

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/openmnq/mnq"
)

// NewCredential is what CreateCredential needs. Exactly one of NamespaceID and
// Service is set: Service makes a v1beta1 credential in the project's activated
// namespace.
type NewCredential struct {
	Name        string
	NamespaceID string
	ProjectID   string // with NamespaceID: optional, and then the namespace must be in it
	Service     mnq.Service
	Permissions mnq.Permissions // SQS/SNS only
}

// CredentialSecret is the part of a credential that is shown once.
type CredentialSecret struct {
	SecretKey mnq.Secret // SQS/SNS: 64 of A-Za-z0-9
	CredsFile mnq.Secret // NATS: the whole .creds file
}

// CredentialChange changes a credential; nil fields stay as they are.
type CredentialChange struct {
	Name                              *string
	CanPublish, CanReceive, CanManage *bool
}

// sets reports whether the change touches permissions.
func (c CredentialChange) sets() bool {
	return c.CanPublish != nil || c.CanReceive != nil || c.CanManage != nil
}

// revokedFor reaches past the clocks of processes that run ahead. A revoked user
// key is never signed for again, so it may be long.
const revokedFor = 24 * time.Hour

// CreateCredential makes a credential and returns its secret, which for NATS is
// not kept. Errors: NotFound "namespace"; Conflict "activation" when the service
// is off; QuotaExceeded.
func (d *Directory) CreateCredential(ctx context.Context, in NewCredential) (mnq.Credential, CredentialSecret, error) {
	const op = "tenant.CreateCredential"
	r, ns, err := d.newCredentialRecord(op, in)
	if err != nil {
		return mnq.Credential{}, CredentialSecret{}, err
	}
	secret, err := d.fillSecret(r, ns)
	if err != nil {
		return mnq.Credential{}, CredentialSecret{}, err
	}
	id := r.Credential.ID
	rev, err := d.store.create(ctx, credentialPrefix+id, r)
	if err != nil {
		return mnq.Credential{}, CredentialSecret{}, err
	}
	if err := d.view.wait(ctx, rev); err != nil {
		return mnq.Credential{}, CredentialSecret{}, err
	}
	if _, err := d.Credential(id); err != nil { // its namespace went meanwhile; finishWork removes it
		return mnq.Credential{}, CredentialSecret{}, notFound(op, "namespace", r.Credential.NamespaceID)
	}
	return r.Credential, secret, nil
}

// newCredentialRecord finds the namespace that the credential is for.
func (d *Directory) newCredentialRecord(op string, in NewCredential) (*credentialRecord, *namespaceRecord, error) {
	if err := checkName(op, in.Name); err != nil {
		return nil, nil, err
	}
	if (in.NamespaceID == "") == (in.Service == "") {
		return nil, nil, invalid(op, "namespace_id", "either a namespace or a service is needed")
	}
	t := now()
	r := &credentialRecord{Credential: mnq.Credential{
		ID: uuid.NewString(), Name: in.Name, NamespaceID: in.NamespaceID, Region: d.cfg.Region, Service: in.Service,
		Permissions: in.Permissions, CreatedAt: t, UpdatedAt: t,
	}}
	var ns *namespaceRecord
	users := 0
	err := notFound(op, "namespace", in.NamespaceID)
	d.view.look(func(x *index) {
		if in.Service != "" {
			a := x.activations[in.ProjectID]
			if a == nil || a.Namespace == nil || a.service(in.Service).State != serviceOn {
				err = &mnq.Error{
					Kind: mnq.Conflict, Op: op, Code: "activation", Resource: in.ProjectID,
					Msg: string(in.Service) + " is not activated on this project",
				}
				return
			}
			r.Credential.NamespaceID, r.Epoch = a.Namespace.Namespace.ID, a.service(in.Service).Epoch
		}
		ns = x.namespace(r.Credential.NamespaceID)
		if ns == nil || ns.Namespace.Activated != (in.Service != "") ||
			in.ProjectID != "" && in.ProjectID != ns.Namespace.ProjectID {
			return
		}
		users = x.natsUsers(r.Credential.NamespaceID)
		err = nil
	})
	switch {
	case err != nil:
		return nil, nil, err
	case users >= d.cfg.Limits.Credentials:
		return nil, nil, tooMany(op, "credentials", users, d.cfg.Limits.Credentials)
	case ns.Namespace.Protocol == mnq.ProtocolNATS && in.Permissions != (mnq.Permissions{}):
		return nil, nil, invalid(op, "permissions", "NATS credentials have none")
	}
	r.Credential.ProjectID, r.Credential.Protocol = ns.Namespace.ProjectID, ns.Namespace.Protocol
	return r, ns, nil
}

// fillSecret makes the secret and puts into the record what is kept of it.
func (d *Directory) fillSecret(r *credentialRecord, ns *namespaceRecord) (CredentialSecret, error) {
	c := &r.Credential
	if c.Protocol != mnq.ProtocolNATS {
		secret := randomString(64, alphanumeric)
		c.AccessKey = randomString(20, alphanumeric)
		c.Checksum = checksum(secret)
		r.Secret = d.sealer.Seal("credential", c.ID, []byte(secret))
		return CredentialSecret{SecretKey: mnq.Secret(secret)}, nil
	}
	seed, err := d.openSigningSeed(ns)
	if err != nil {
		return CredentialSecret{}, err
	}
	user, file, err := newUser(c.NamespaceID, c.Name, seed)
	if err != nil {
		return CredentialSecret{}, err
	}
	c.UserKey, c.Checksum = user, checksum(file.Reveal())
	return CredentialSecret{CredsFile: file}, nil
}

func (d *Directory) openSigningSeed(ns *namespaceRecord) ([]byte, error) {
	seed, err := d.sealer.Open("signing seed", ns.Namespace.ID, ns.SigningSeed)
	if err != nil {
		return nil, &mnq.Error{
			Kind: mnq.Internal, Op: "tenant.openSigningSeed", Resource: ns.Namespace.ID, Err: err,
			Hint: "was the master key replaced?",
		}
	}
	return seed, nil
}

// Credential returns one by id.
func (d *Directory) Credential(id string) (c mnq.Credential, err error) {
	err = notFound("tenant.Credential", "credential", id)
	d.view.look(func(x *index) {
		if r := x.credential(id); r != nil {
			c, err = r.Credential, nil
		}
	})
	return c, err
}

// Credentials returns all in order of creation, of all protocols and services.
func (d *Directory) Credentials() []mnq.Credential {
	var all []mnq.Credential
	d.view.look(func(x *index) {
		for id := range x.credentials {
			if r := x.credential(id); r != nil {
				all = append(all, r.Credential)
			}
		}
	})
	slices.SortFunc(all, func(a, b mnq.Credential) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// Principal returns what an SQS/SNS access key opens. Unknown or revoked: kind
// Unauthenticated, code "InvalidClientTokenId".
func (d *Directory) Principal(accessKey string) (p mnq.Principal, err error) {
	err = &mnq.Error{
		Kind: mnq.Unauthenticated, Op: "tenant.Principal", Code: "InvalidClientTokenId",
		Msg: "The security token included in the request is invalid.",
	}
	d.view.look(func(x *index) {
		if c := x.credential(x.credByAccess[accessKey]); c != nil && accessKey != "" {
			ns := x.namespace(c.Credential.NamespaceID)
			p, err = mnq.Principal{Credential: c.Credential, Namespace: ns.inForce(), Secret: c.secret}, nil
		}
	})
	return p, err
}

// UpdateCredential changes name and permissions. Permissions of a NATS
// credential: kind Invalid.
func (d *Directory) UpdateCredential(ctx context.Context, id string, c CredentialChange) (mnq.Credential, error) {
	const op = "tenant.UpdateCredential"
	if c.Name != nil {
		if err := checkName(op, *c.Name); err != nil {
			return mnq.Credential{}, err
		}
	}
	if old, err := d.Credential(id); err != nil {
		return mnq.Credential{}, err
	} else if old.Protocol == mnq.ProtocolNATS && c.sets() {
		return mnq.Credential{}, invalid(op, "permissions", "NATS credentials have none")
	}
	r, rev, err := change(ctx, d.store, credentialPrefix+id, func(r *credentialRecord) error {
		set(&r.Credential.Name, c.Name)
		set(&r.Credential.Permissions.CanPublish, c.CanPublish)
		set(&r.Credential.Permissions.CanReceive, c.CanReceive)
		set(&r.Credential.Permissions.CanManage, c.CanManage)
		r.Credential.UpdatedAt = now()
		return nil
	})
	if mnq.IsNotFound(err) {
		return mnq.Credential{}, notFound(op, "credential", id)
	}
	if err != nil {
		return mnq.Credential{}, err
	}
	return r.Credential, d.view.wait(ctx, rev)
}

func set[T any](field *T, value *T) {
	if value != nil {
		*field = *value
	}
}

// DeleteCredential revokes: live NATS connections are cut and the access key is
// refused by this process when it returns, and by every other within a second.
func (d *Directory) DeleteCredential(ctx context.Context, id string) error {
	c, err := d.Credential(id)
	if err != nil {
		return err
	}
	ctx, cancel := detached(ctx)
	defer cancel()
	if c.UserKey != "" {
		if err := d.revoke(ctx, c); err != nil && !mnq.IsNotFound(err) { // not found: the namespace went, and all with it
			return err
		}
	}
	rev, err := d.store.remove(ctx, credentialPrefix+id)
	if err != nil {
		return err
	}
	return d.view.wait(ctx, rev)
}

// revoke makes every server refuse a NATS user. The revocation is kept in the
// namespace's record, so it is published again at every start.
func (d *Directory) revoke(ctx context.Context, c mnq.Credential) error {
	_, rev, err := change(ctx, d.store, namespacePrefix+c.NamespaceID, func(r *namespaceRecord) error {
		if r.Deleting {
			return errGone
		}
		if r.Revoked == nil {
			r.Revoked = map[string]int64{}
		}
		r.Revoked[c.UserKey] = time.Now().Add(revokedFor).Unix()
		return nil
	})
	if err != nil {
		return err
	}
	if err := d.view.wait(ctx, rev); err != nil {
		return err
	}
	return d.publish(ctx, c.NamespaceID)
}
