package tenant

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/openmnq/mnq"
)

// NewNamespace is what CreateNamespace needs.
type NewNamespace struct {
	Name      string
	Protocol  mnq.Protocol
	ProjectID string
}

// CreateNamespace makes an account for the namespace and returns when every
// server knows it. No such project: kind NotFound, code "project".
func (d *Directory) CreateNamespace(ctx context.Context, in NewNamespace) (mnq.Namespace, error) {
	const op = "tenant.CreateNamespace"
	if err := checkName(op, in.Name); err != nil {
		return mnq.Namespace{}, err
	}
	if in.Protocol != mnq.ProtocolNATS && in.Protocol != mnq.ProtocolSQSSNS {
		return mnq.Namespace{}, invalid(op, "protocol", "must be nats or sqs_sns")
	}
	if err := d.cfg.Node.Accepts(ctx); err != nil {
		return mnq.Namespace{}, err
	}
	if err := d.room(op, in.ProjectID); err != nil {
		return mnq.Namespace{}, err
	}
	r, err := d.newNamespaceRecord(in)
	if err != nil {
		return mnq.Namespace{}, err
	}
	return r.inForce(), d.makeNamespace(ctx, r)
}

// room checks that the project exists and that there is place for a namespace.
func (d *Directory) room(op, projectID string) error {
	known, used := false, 0
	d.view.look(func(x *index) { known, used = x.project(projectID) != nil, len(x.namespaces) })
	switch {
	case !known:
		return notFound(op, "project", projectID)
	case used >= d.cfg.Limits.Namespaces:
		return tooMany(op, "namespaces", used, d.cfg.Limits.Namespaces)
	}
	return nil
}

// newNamespaceRecord makes the keys. The account's own seed is thrown away: the
// operator signs the account, the signing key signs its users.
func (d *Directory) newNamespaceRecord(in NewNamespace) (*namespaceRecord, error) {
	id, _, err := newAccountKey()
	if err != nil {
		return nil, err
	}
	signing, seed, err := newAccountKey()
	if err != nil {
		return nil, err
	}
	t := now()
	return &namespaceRecord{
		Namespace: mnq.Namespace{
			ID: id, Name: in.Name, Protocol: in.Protocol, ProjectID: in.ProjectID, Region: d.cfg.Region,
			Quota: d.cfg.Quota(in.Protocol), CreatedAt: t, UpdatedAt: t,
		},
		SigningKey: signing, SigningSeed: d.sealer.Seal("signing seed", id, seed),
	}, nil
}

// makeNamespace stores the record, publishes the account and looks at the project
// again (see finishProject). When a step fails it takes back what it has made; a
// namespace that was there already stays.
func (d *Directory) makeNamespace(ctx context.Context, r *namespaceRecord) error {
	ctx, cancel := detached(ctx)
	defer cancel()
	id := r.Namespace.ID
	rev, err := d.store.create(ctx, namespacePrefix+id, r)
	if mnq.KindOf(err) == mnq.Exists {
		return d.publish(ctx, id)
	}
	if err != nil {
		return err
	}
	err = d.view.wait(ctx, rev)
	if err == nil {
		err = d.projectStands(ctx, r.Namespace.ProjectID)
	}
	if err == nil {
		err = d.publish(ctx, id)
	}
	if err == nil {
		return nil
	}
	undo, cancelUndo := detached(ctx)
	defer cancelUndo()
	return errors.Join(err, d.eraseNamespace(undo, id))
}

// Namespace returns one by id, hidden (activated) ones too.
func (d *Directory) Namespace(id string) (ns mnq.Namespace, err error) {
	err = notFound("tenant.Namespace", "namespace", id)
	d.view.look(func(x *index) {
		if r := x.namespace(id); r != nil {
			ns, err = r.inForce(), nil
		}
	})
	return ns, err
}

// NamespaceByAccount resolves the account part of a queue URL or ARN: a namespace
// id, or "project-" and the id of a project with an active service.
func (d *Directory) NamespaceByAccount(account string) (ns mnq.Namespace, err error) {
	project, activated := strings.CutPrefix(account, "project-")
	err = notFound("tenant.NamespaceByAccount", "namespace", account)
	d.view.look(func(x *index) {
		id := account
		if activated {
			a := x.activations[project]
			if a == nil || a.Namespace == nil || a.idle() {
				return
			}
			id = a.Namespace.Namespace.ID
		}
		if r := x.namespace(id); r != nil && r.Namespace.Activated == activated {
			ns, err = r.inForce(), nil
		}
	})
	return ns, err
}

// Namespaces returns all in order of creation, hidden ones too; the caller
// filters and sorts.
func (d *Directory) Namespaces() []mnq.Namespace {
	var all []mnq.Namespace
	d.view.look(func(x *index) {
		for _, r := range x.namespaces {
			if !r.Deleting {
				all = append(all, r.inForce())
			}
		}
	})
	slices.SortFunc(all, func(a, b mnq.Namespace) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// RenameNamespace gives a namespace another name.
func (d *Directory) RenameNamespace(ctx context.Context, id, name string) (mnq.Namespace, error) {
	if err := checkName("tenant.RenameNamespace", name); err != nil {
		return mnq.Namespace{}, err
	}
	return d.changeNamespace(ctx, id, func(r *namespaceRecord) { r.Namespace.Name = name })
}

// SetQuota replaces the namespace's overrides; live NATS limits follow before it
// returns.
func (d *Directory) SetQuota(ctx context.Context, id string, q mnq.Quota) (mnq.Namespace, error) {
	if err := checkQuota(q); err != nil {
		return mnq.Namespace{}, err
	}
	ns, err := d.changeNamespace(ctx, id, func(r *namespaceRecord) { r.Namespace.Quota = q })
	if err != nil {
		return mnq.Namespace{}, err
	}
	return ns, d.publish(ctx, id)
}

// maxStorage is the largest storage quota that is not unlimited: the quotas of
// all namespaces have to add up without overflowing.
const maxStorage = 1 << 45

func checkQuota(q mnq.Quota) error {
	if q.StorageBytes > maxStorage {
		return invalid("tenant.SetQuota", "storage_bytes", "must be at most 35184372088832 (32 TiB); -1 is unlimited")
	}
	return nil
}

// SetFIFOWithoutGroup says whether the namespace's FIFO queues take messages
// without a group.
func (d *Directory) SetFIFOWithoutGroup(ctx context.Context, id string, allow bool) (mnq.Namespace, error) {
	return d.changeNamespace(ctx, id, func(r *namespaceRecord) { r.Namespace.FIFOWithoutGroup = allow })
}

func (d *Directory) changeNamespace(ctx context.Context, id string, f func(r *namespaceRecord)) (mnq.Namespace, error) {
	r, rev, err := change(ctx, d.store, namespacePrefix+id, func(r *namespaceRecord) error {
		if r.Deleting {
			return errGone
		}
		f(r)
		r.Namespace.UpdatedAt = now()
		return nil
	})
	if mnq.IsNotFound(err) {
		return mnq.Namespace{}, notFound("tenant.changeNamespace", "namespace", id)
	}
	if err != nil {
		return mnq.Namespace{}, err
	}
	return r.inForce(), d.view.wait(ctx, rev)
}

// DeleteNamespace cuts every connection, removes the credentials and the data.
// Once it has begun it goes on in the background until it is done, even after an
// error; from then on the namespace does not exist for anybody. A hidden
// namespace goes with its services: kind Conflict.
func (d *Directory) DeleteNamespace(ctx context.Context, id string) error {
	ns, err := d.Namespace(id)
	if err != nil {
		return err
	}
	if ns.Activated {
		return &mnq.Error{
			Kind: mnq.Conflict, Op: "tenant.DeleteNamespace", Code: "activated", Resource: id,
			Msg: "deactivate the project's services instead",
		}
	}
	ctx, cancel := detached(ctx)
	defer cancel()
	return d.eraseNamespace(ctx, id)
}

// eraseNamespace marks a namespace and finishes its deletion. One that is gone or
// marked already is kind NotFound.
func (d *Directory) eraseNamespace(ctx context.Context, id string) error {
	_, rev, err := change(ctx, d.store, namespacePrefix+id, func(r *namespaceRecord) error {
		if r.Deleting {
			return errGone
		}
		r.Deleting = true
		return nil
	})
	if mnq.IsNotFound(err) {
		return notFound("tenant.DeleteNamespace", "namespace", id)
	}
	if err != nil {
		return err
	}
	if err := d.view.wait(ctx, rev); err != nil {
		return err
	}
	return d.finishNamespace(ctx, id)
}

// finishNamespace removes all that belongs to a namespace marked as deleted, its
// record last. It can be repeated.
func (d *Directory) finishNamespace(ctx context.Context, id string) error {
	defer d.lock(namespacePrefix + id)()
	done := false
	var credentials []string
	d.view.look(func(x *index) {
		done = x.namespaces[id] == nil
		for cid, c := range x.credentials {
			if c.Credential.NamespaceID == id {
				credentials = append(credentials, cid)
			}
		}
	})
	if done {
		return nil
	}
	if err := d.cfg.Node.DeleteAccount(ctx, id); err != nil {
		return unavailable("tenant.DeleteNamespace", id, err)
	}
	for _, cid := range credentials {
		if _, err := d.store.remove(ctx, credentialPrefix+cid); err != nil {
			return err
		}
	}
	rev, err := d.store.remove(ctx, namespacePrefix+id)
	if err != nil {
		return err
	}
	return d.view.wait(ctx, rev)
}
