package tenant

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/openmnq/mnq"
)

// Activation reports the state; never activated counts as off, not as missing.
func (d *Directory) Activation(projectID string, s mnq.Service) mnq.Activation {
	out := mnq.Activation{ProjectID: projectID, Service: s}
	d.view.look(func(x *index) {
		if a := x.activations[projectID]; a != nil {
			out = a.shown(s)
		}
	})
	return out
}

// shown is the activation as clients see it: a service that is closing is off.
func (r *activationRecord) shown(s mnq.Service) mnq.Activation {
	out := mnq.Activation{ProjectID: r.ProjectID, Service: s}
	if sr := r.service(s); sr.State == serviceOn {
		out.Enabled, out.CreatedAt, out.UpdatedAt = true, sr.CreatedAt, sr.UpdatedAt
	}
	return out
}

// Activate switches a service on for a project. Already on: kind Exists, code
// "activation". No such project: kind NotFound, code "project".
func (d *Directory) Activate(ctx context.Context, projectID string, s mnq.Service) (mnq.Activation, error) {
	const op = "tenant.Activate"
	if err := checkService(op, s); err != nil {
		return mnq.Activation{}, err
	}
	ctx, cancel := detached(ctx)
	defer cancel()
	defer d.lock(activationPrefix + projectID)()
	if err := d.room(op, projectID); err != nil && (mnq.IsNotFound(err) || !d.activated(projectID)) {
		return mnq.Activation{}, err
	}
	if err := d.finishDeactivation(ctx, projectID); err != nil {
		return mnq.Activation{}, err
	}
	r, err := d.switchOn(ctx, projectID, s)
	if err != nil && mnq.KindOf(err) != mnq.Exists {
		return mnq.Activation{}, err
	}
	wasOn := err
	if err := d.makeNamespace(ctx, r.Namespace); err != nil {
		if wasOn == nil {
			_, undo := d.deactivate(ctx, projectID, s)
			err = errors.Join(err, undo)
		}
		return mnq.Activation{}, err
	}
	return r.shown(s), wasOn
}

// activated reports whether a project has its hidden namespace already.
func (d *Directory) activated(projectID string) (yes bool) {
	d.view.look(func(x *index) { yes = x.activations[projectID] != nil && x.activations[projectID].Namespace != nil })
	return yes
}

// switchOn records the service as on, together with the namespace to make if
// there is none yet. The record comes before the namespace, so that two processes
// that switch on SQS and SNS at the same moment make the same namespace.
func (d *Directory) switchOn(ctx context.Context, projectID string, s mnq.Service) (*activationRecord, error) {
	ns, err := d.newNamespaceRecord(NewNamespace{
		Name: "project-" + projectID, Protocol: mnq.ProtocolSQSSNS, ProjectID: projectID,
	})
	if err != nil {
		return nil, err
	}
	ns.Namespace.Activated = true
	blank := &activationRecord{ProjectID: projectID}
	if _, err := d.store.create(ctx, activationPrefix+projectID, blank); err != nil && mnq.KindOf(err) != mnq.Exists {
		return nil, err
	}
	wasOn := false
	r, rev, err := change(ctx, d.store, activationPrefix+projectID, func(r *activationRecord) error {
		sr := r.service(s)
		switch wasOn = sr.State == serviceOn; {
		case wasOn:
			return errKeep
		case r.closing(): // by another process, since we looked
			return &mnq.Error{
				Kind: mnq.Conflict, Op: "tenant.Activate", Code: "activation", Resource: projectID,
				Msg: "a service of the project is being deactivated; try again",
			}
		case r.Namespace == nil:
			r.Namespace = ns
		}
		r.Epoch++
		t := now()
		*sr = serviceRecord{State: serviceOn, Epoch: r.Epoch, CreatedAt: t, UpdatedAt: t}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := d.view.wait(ctx, rev); err != nil {
		return nil, err
	}
	if wasOn {
		return r, &mnq.Error{
			Kind: mnq.Exists, Op: "tenant.Activate", Code: "activation", Resource: projectID,
			Msg: fmt.Sprintf("%s is already enabled on this project", s),
		}
	}
	return r, nil
}

// Deactivate switches a service off and removes its queues or topics, messages
// and credentials before it returns. Already off: kind NotFound, code
// "activation". Once begun it goes on in the background, even after an error.
func (d *Directory) Deactivate(ctx context.Context, projectID string, s mnq.Service) (mnq.Activation, error) {
	if err := checkService("tenant.Deactivate", s); err != nil {
		return mnq.Activation{}, err
	}
	ctx, cancel := detached(ctx)
	defer cancel()
	defer d.lock(activationPrefix + projectID)()
	return d.deactivate(ctx, projectID, s)
}

func (d *Directory) deactivate(ctx context.Context, projectID string, s mnq.Service) (mnq.Activation, error) {
	_, rev, err := change(ctx, d.store, activationPrefix+projectID, func(r *activationRecord) error {
		sr := r.service(s)
		if sr.State != serviceOn {
			return errGone
		}
		sr.State, sr.UpdatedAt = serviceClosing, now()
		return nil
	})
	if mnq.IsNotFound(err) {
		return mnq.Activation{}, notFound("tenant.Deactivate", "activation", projectID)
	}
	if err != nil {
		return mnq.Activation{}, err
	}
	if err := d.view.wait(ctx, rev); err != nil {
		return mnq.Activation{}, err
	}
	return mnq.Activation{ProjectID: projectID, Service: s}, d.finishDeactivation(ctx, projectID)
}

// finishDeactivation removes what services that are closing leave behind, and then
// records them as off. It can be repeated, and does nothing when none is closing.
func (d *Directory) finishDeactivation(ctx context.Context, projectID string) error {
	r := &activationRecord{}
	_, err := d.store.read(ctx, activationPrefix+projectID, r)
	if mnq.IsNotFound(err) || err == nil && !r.closing() {
		return nil
	}
	if err != nil {
		return err
	}
	if r.Namespace != nil && r.idle() {
		err = d.eraseHidden(ctx, r.Namespace.Namespace.ID)
	} else {
		err = d.clearServices(ctx, r)
	}
	if err != nil {
		return err
	}
	found := *r
	_, rev, err := change(ctx, d.store, activationPrefix+projectID, func(r *activationRecord) error {
		for _, s := range []mnq.Service{mnq.ServiceSQS, mnq.ServiceSNS} {
			was, is := found.service(s), r.service(s)
			if was.State == serviceClosing && is.State == serviceClosing && was.Epoch == is.Epoch {
				*is = serviceRecord{Epoch: is.Epoch}
			}
		}
		if found.idle() && r.idle() {
			r.Namespace = nil
		}
		return nil
	})
	if err != nil {
		return err
	}
	return d.view.wait(ctx, rev)
}

// eraseHidden deletes an activation's namespace, in whatever state it is.
func (d *Directory) eraseHidden(ctx context.Context, id string) error {
	err := d.eraseNamespace(ctx, id)
	if !mnq.IsNotFound(err) {
		return err
	}
	return d.finishNamespace(ctx, id) // gone, or marked by somebody who was cut off
}

// clearServices removes the resources and credentials of the services that are
// closing while the other one stays on.
func (d *Directory) clearServices(ctx context.Context, r *activationRecord) error {
	d.mu.Lock()
	hooks := slices.Clone(d.onService)
	d.mu.Unlock()
	for _, s := range []mnq.Service{mnq.ServiceSQS, mnq.ServiceSNS} {
		sr := r.service(s)
		if sr.State != serviceClosing {
			continue
		}
		for _, f := range hooks {
			if r.Namespace == nil {
				break
			}
			if err := f(ctx, r.Namespace.Namespace.ID, s); err != nil {
				return fmt.Errorf("remove what %s keeps: %w", s, err)
			}
		}
		for _, id := range d.credentialsOf(r.ProjectID, s, sr.Epoch) {
			if _, err := d.store.remove(ctx, credentialPrefix+id); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *Directory) credentialsOf(projectID string, s mnq.Service, epoch int) (ids []string) {
	d.view.look(func(x *index) {
		for id, c := range x.credentials {
			if c.Credential.ProjectID == projectID && c.Credential.Service == s && c.Epoch <= epoch {
				ids = append(ids, id)
			}
		}
	})
	return ids
}

func checkService(op string, s mnq.Service) error {
	if s != mnq.ServiceSQS && s != mnq.ServiceSNS {
		return invalid(op, "service", "must be sqs or sns")
	}
	return nil
}
