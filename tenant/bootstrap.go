package tenant

import (
	"context"
	"errors"
	"os"

	"github.com/google/uuid"

	"github.com/openmnq/mnq"
)

const keyCheckText = "openmnq"

// bootstrap makes the installation if there is none, and otherwise checks that
// the master key is the installation's.
//
// The order lets a crash come anywhere: first the master key and admin.env, then
// the one record that decides. Found again without that record, both files are
// used as they are.
func (d *Directory) bootstrap(ctx context.Context) error {
	org := &orgRecord{}
	_, err := d.store.read(ctx, orgKey, org)
	if err == nil {
		return d.checkKey(org)
	}
	if !mnq.IsNotFound(err) {
		return err
	}
	madeKey := d.sealer == nil
	if madeKey {
		if d.sealer, err = createMasterKey(d.cfg.DataDir); err != nil {
			return err
		}
	}
	env, err := d.firstEnv()
	if err != nil {
		return err
	}
	if err := writeAdminEnv(d.cfg.DataDir, env.String()); err != nil {
		return err
	}
	t, hash := now(), tokenHash(env.SecretKey)
	org = &orgRecord{
		ID: env.OrganizationID, DefaultProjectID: env.ProjectID, CreatedAt: t,
		KeyCheck: d.sealer.Seal("org", "key check", []byte(keyCheckText)),
		FirstKey: &apiKeyRecord{
			Key:  mnq.APIKey{AccessKey: env.AccessKey, Name: "admin", CreatedAt: t},
			Hash: hash[:],
		},
	}
	_, err = d.store.create(ctx, orgKey, org)
	if mnq.KindOf(err) == mnq.Exists {
		return d.lostBootstrap(ctx, env, madeKey)
	}
	d.first = err == nil
	return err
}

// lostBootstrap cleans up after another process made the installation first: keys that
// were made here open nothing. Those that both had before are the installation's.
func (d *Directory) lostBootstrap(ctx context.Context, env adminEnv, madeKey bool) error {
	org := &orgRecord{}
	if _, err := d.store.read(ctx, orgKey, org); err != nil {
		return err
	}
	var errs []error
	if env.OrganizationID != org.ID {
		errs = append(errs, os.Remove(adminEnvPath(d.cfg.DataDir)))
	}
	if madeKey {
		errs = append(errs, os.Remove(masterKeyPath(d.cfg.DataDir)))
		d.sealer = nil
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return d.checkKey(org)
}

func (d *Directory) checkKey(org *orgRecord) error {
	const hint = "restore keys/master.key from a backup, or set MNQ_MASTER_KEY to the installation's key"
	if d.sealer == nil {
		return &mnq.Error{
			Kind: mnq.Invalid, Op: "tenant.Start", Field: "master-key", Resource: masterKeyPath(d.cfg.DataDir),
			Msg: "the master key is missing although there is data", Hint: hint,
		}
	}
	if plain, err := d.sealer.Open("org", "key check", org.KeyCheck); err != nil || string(plain) != keyCheckText {
		return &mnq.Error{
			Kind: mnq.Invalid, Op: "tenant.Start", Field: "master-key",
			Msg: "the master key is not this installation's", Hint: hint, Err: err,
		}
	}
	return nil
}

// firstEnv returns the first key: the one that an earlier, cut-off start left in
// admin.env, or a new one.
func (d *Directory) firstEnv() (adminEnv, error) {
	text, ok, err := readAdminEnv(d.cfg.DataDir)
	if err != nil {
		return adminEnv{}, err
	}
	env := adminEnv{}
	if ok {
		env = parseAdminEnv(text)
	}
	if !env.usable() {
		env = adminEnv{
			AccessKey: newAPIAccessKey(), SecretKey: uuid.NewString(),
			ProjectID: uuid.NewString(), OrganizationID: uuid.NewString(),
		}
	}
	env.Region, env.APIURL = d.cfg.Region, d.cfg.APIURL
	return env, nil
}

// finishBootstrap creates what the installation's record says is still missing,
// and brings admin.env up to date.
func (d *Directory) finishBootstrap(ctx context.Context) error {
	var org *orgRecord
	d.view.look(func(x *index) { org = x.org })
	if org == nil {
		return &mnq.Error{Kind: mnq.Internal, Op: "tenant.Start", Msg: "the installation's record cannot be read"}
	}
	if org.FirstKey != nil {
		project := &projectRecord{Project: mnq.Project{
			ID: org.DefaultProjectID, Name: "default", OrganizationID: org.ID,
			CreatedAt: org.CreatedAt, UpdatedAt: org.CreatedAt,
		}}
		first := *org.FirstKey
		for key, r := range map[string]record{
			projectPrefix + org.DefaultProjectID: project,
			apiKeyPrefix + first.Key.AccessKey:   &first,
		} {
			if _, err := d.store.create(ctx, key, r); err != nil && mnq.KindOf(err) != mnq.Exists {
				return err
			}
		}
		_, rev, err := change(ctx, d.store, orgKey, func(r *orgRecord) error {
			r.FirstKey = nil
			return nil
		})
		if err != nil {
			return err
		}
		if err := d.view.wait(ctx, rev); err != nil {
			return err
		}
	}
	return d.SetAPIURL(d.cfg.APIURL)
}

// SetAPIURL replaces the API's URL and the region in admin.env, if the file is
// there and they differ, and the ids in it when they are of another installation. An
// empty url stays as it is.
func (d *Directory) SetAPIURL(url string) error {
	d.adminEnvMu.Lock()
	defer d.adminEnvMu.Unlock()
	text, ok, err := readAdminEnv(d.cfg.DataDir)
	if err != nil || !ok {
		return err
	}
	values := map[string]string{"SCW_DEFAULT_REGION": d.cfg.Region, "SCW_API_URL": url}
	// A node that joined a cluster before a backup was restored into it.
	if org := d.OrganizationID(); parseAdminEnv(text).OrganizationID != org {
		values["SCW_DEFAULT_ORGANIZATION_ID"], values["SCW_DEFAULT_PROJECT_ID"] = org, d.DefaultProjectID()
	}
	if updated := withLines(text, values); updated != text {
		return writeAdminEnv(d.cfg.DataDir, updated)
	}
	return nil
}
