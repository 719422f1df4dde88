package tenant

import (
	"cmp"
	"context"
	"crypto/subtle"
	"slices"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/openmnq/mnq"
)

const maxName = 500 // characters

func checkName(op, name string) error {
	if n := utf8.RuneCountInString(name); n < 1 || n > maxName || !utf8.ValidString(name) {
		return invalid(op, "name", "must have 1 to 500 characters")
	}
	return nil
}

// NewProject is what CreateProject needs.
type NewProject struct {
	ID   string // optional UUID, else random
	Name string
}

// CreateProject makes a project. An ID that is taken: kind Exists.
func (d *Directory) CreateProject(ctx context.Context, in NewProject) (mnq.Project, error) {
	const op = "tenant.CreateProject"
	if err := checkName(op, in.Name); err != nil {
		return mnq.Project{}, err
	}
	id := cmp.Or(in.ID, uuid.NewString())
	if u, err := uuid.Parse(id); err != nil || u.String() != id {
		return mnq.Project{}, invalid(op, "id", "must be a UUID in lower case")
	}
	used := 0
	d.view.look(func(x *index) { used = len(x.projects) })
	if used >= d.cfg.Limits.Projects {
		return mnq.Project{}, tooMany(op, "projects", used, d.cfg.Limits.Projects)
	}
	t := now()
	r := &projectRecord{Project: mnq.Project{
		ID: id, Name: in.Name, OrganizationID: d.OrganizationID(), CreatedAt: t, UpdatedAt: t,
	}}
	rev, err := d.store.create(ctx, projectPrefix+id, r)
	if err != nil {
		return mnq.Project{}, err
	}
	return r.Project, d.view.wait(ctx, rev)
}

// Project returns one by id.
func (d *Directory) Project(id string) (p mnq.Project, err error) {
	err = notFound("tenant.Project", "project", id)
	d.view.look(func(x *index) {
		if r := x.project(id); r != nil {
			p, err = r.Project, nil
		}
	})
	return p, err
}

// Projects returns all in order of creation.
func (d *Directory) Projects() []mnq.Project {
	var all []mnq.Project
	d.view.look(func(x *index) {
		for _, r := range x.projects {
			if !r.Deleting {
				all = append(all, r.Project)
			}
		}
	})
	slices.SortFunc(all, func(a, b mnq.Project) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// DeleteProject removes an empty project and the API keys and users that are bound to it;
// kind Conflict while it has namespaces or active services, and for the default
// project.
func (d *Directory) DeleteProject(ctx context.Context, id string) error {
	const op = "tenant.DeleteProject"
	if id == d.DefaultProjectID() {
		return &mnq.Error{Kind: mnq.Conflict, Op: op, Code: "default_project", Resource: id, Msg: "the default project stays"}
	}
	ctx, cancel := detached(ctx)
	defer cancel()
	defer d.lock(projectPrefix + id)()
	_, rev, err := change(ctx, d.store, projectPrefix+id, func(r *projectRecord) error {
		if r.Deleting {
			return notFound(op, "project", id)
		}
		r.Deleting = true
		return nil
	})
	if mnq.IsNotFound(err) {
		return notFound(op, "project", id)
	}
	if err != nil {
		return err
	}
	return d.finishProject(ctx, id, rev)
}

// finishProject completes the deletion that was marked at revision rev, or takes
// the mark back if the project is not empty. A namespace made before the mark is
// seen here; one made after it is undone by its maker, who looks at the project
// again.
func (d *Directory) finishProject(ctx context.Context, id string, rev uint64) error {
	if err := d.view.wait(ctx, rev); err != nil {
		return err
	}
	used := false
	var keys []string // of records that go with it
	d.view.look(func(x *index) {
		a := x.activations[id]
		used = x.hasNamespaces(id) || a != nil && (!a.idle() || a.closing())
		for _, r := range x.apiKeys {
			if r.Key.ProjectID == id {
				keys = append(keys, apiKeyPrefix+r.Key.AccessKey)
			}
		}
		for _, r := range x.users {
			if r.User.ProjectID == id {
				keys = append(keys, userKey(r.User.Name))
			}
		}
	})
	if used {
		_, rev, err := change(ctx, d.store, projectPrefix+id, func(r *projectRecord) error {
			r.Deleting = false
			return nil
		})
		if err != nil {
			return err
		}
		if err := d.view.wait(ctx, rev); err != nil {
			return err
		}
		return &mnq.Error{
			Kind: mnq.Conflict, Op: "tenant.DeleteProject", Code: "project_in_use", Resource: id,
			Msg: "the project still has namespaces or active services: delete them first",
		}
	}
	for _, k := range keys {
		if _, err := d.store.remove(ctx, k); err != nil {
			return err
		}
	}
	if _, err := d.store.remove(ctx, activationPrefix+id); err != nil {
		return err
	}
	rev, err := d.store.remove(ctx, projectPrefix+id)
	if err != nil {
		return err
	}
	return d.view.wait(ctx, rev)
}

// projectStands asks the bucket, not the memory, whether a project may still have
// namespaces.
func (d *Directory) projectStands(ctx context.Context, id string) error {
	r := &projectRecord{}
	_, err := d.store.read(ctx, projectPrefix+id, r)
	if mnq.IsNotFound(err) || err == nil && r.Deleting {
		return notFound("tenant.project", "project", id)
	}
	return err
}

// NewAPIKey is what CreateAPIKey needs.
type NewAPIKey struct {
	Name      string
	ProjectID string // empty: all projects
	ReadOnly  bool
}

// CreateAPIKey makes a key and returns its secret, a UUID, which is not kept.
func (d *Directory) CreateAPIKey(ctx context.Context, in NewAPIKey) (mnq.APIKey, mnq.Secret, error) {
	const op = "tenant.CreateAPIKey"
	if err := checkName(op, in.Name); err != nil {
		return mnq.APIKey{}, "", err
	}
	orphan, used := false, 0
	d.view.look(func(x *index) {
		used = len(x.apiKeys)
		orphan = in.ProjectID != "" && x.project(in.ProjectID) == nil
	})
	switch {
	case orphan:
		return mnq.APIKey{}, "", notFound(op, "project", in.ProjectID)
	case used >= d.cfg.Limits.APIKeys:
		return mnq.APIKey{}, "", tooMany(op, "api keys", used, d.cfg.Limits.APIKeys)
	}
	secret := uuid.NewString()
	hash := tokenHash(secret)
	r := &apiKeyRecord{
		Key: mnq.APIKey{
			AccessKey: newAPIAccessKey(), ProjectID: in.ProjectID, ReadOnly: in.ReadOnly, Name: in.Name, CreatedAt: now(),
		},
		Hash: hash[:],
	}
	rev, err := d.store.create(ctx, apiKeyPrefix+r.Key.AccessKey, r)
	if err != nil {
		return mnq.APIKey{}, "", err
	}
	return r.Key, mnq.Secret(secret), d.view.wait(ctx, rev)
}

// APIKeyByAccessKey returns an API key by its access key (SCW…).
func (d *Directory) APIKeyByAccessKey(accessKey string) (k mnq.APIKey, err error) {
	err = notFound("tenant.APIKeyByAccessKey", "api_key", accessKey)
	d.view.look(func(x *index) {
		if r := x.apiKeys[accessKey]; r != nil {
			k, err = r.Key, nil
		}
	})
	return k, err
}

// APIKeys returns all in order of creation.
func (d *Directory) APIKeys() []mnq.APIKey {
	var all []mnq.APIKey
	d.view.look(func(x *index) {
		for _, r := range x.apiKeys {
			all = append(all, r.Key)
		}
	})
	slices.SortFunc(all, func(a, b mnq.APIKey) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.AccessKey, b.AccessKey))
	})
	return all
}

// DeleteAPIKey removes a key. The last one that may do everything in all projects
// stays: kind Conflict, code "last_api_key".
func (d *Directory) DeleteAPIKey(ctx context.Context, accessKey string) error {
	const op = "tenant.DeleteAPIKey"
	defer d.lock(apiKeyPrefix)()
	full := func(k mnq.APIKey) bool { return k.ProjectID == "" && !k.ReadOnly }
	var found, last bool
	d.view.look(func(x *index) {
		r := x.apiKeys[accessKey]
		found = r != nil
		last = found && full(r.Key)
		for _, other := range x.apiKeys {
			if other.Key.AccessKey != accessKey && full(other.Key) {
				last = false
			}
		}
	})
	switch {
	case !found:
		return notFound(op, "api_key", accessKey)
	case last:
		return &mnq.Error{
			Kind: mnq.Conflict, Op: op, Code: "last_api_key", Resource: accessKey,
			Msg: "the last API key with full access to all projects stays: create another one first",
		}
	}
	rev, err := d.store.remove(ctx, apiKeyPrefix+accessKey)
	if err != nil {
		return err
	}
	return d.view.wait(ctx, rev)
}

// Authenticate returns the identity behind the secret key of an API key. Keys are
// found by their hash, so the time it takes says nothing about how near a guess
// is. Unknown: kind Unauthenticated.
func (d *Directory) Authenticate(token string) (id mnq.Identity, err error) {
	hash := tokenHash(token)
	err = &mnq.Error{Kind: mnq.Unauthenticated, Op: "tenant.Authenticate", Msg: "unknown secret key"}
	d.view.look(func(x *index) {
		r := x.apiKeys[x.keyByHash[hash]]
		if r == nil || subtle.ConstantTimeCompare(r.Hash, hash[:]) != 1 || x.org == nil {
			return
		}
		id, err = mnq.Identity{
			AccessKey: r.Key.AccessKey, OrganizationID: x.org.ID, ProjectID: r.Key.ProjectID, ReadOnly: r.Key.ReadOnly,
		}, nil
	})
	return id, err
}
