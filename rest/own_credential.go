package rest

import (
	"context"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/openmnq/mnq"
)

// credentialOnOwnWire is a credential of a namespace, whichever version made it.
type credentialOnOwnWire struct {
	ID          string           `json:"id"`
	Name        string           `json:"name"`
	Protocol    mnq.Protocol     `json:"protocol"`
	Service     mnq.Service      `json:"service,omitempty" doc:"sqs or sns: of v1beta1, opens only that"`
	AccessKey   string           `json:"access_key,omitempty"`
	Permissions *mnq.Permissions `json:"permissions" doc:"null for NATS: it may do everything in its namespace"`
	CreatedAt   *time.Time       `json:"created_at"`
	UpdatedAt   *time.Time       `json:"updated_at"`
	LastUsedAt  *time.Time       `json:"last_used_at" doc:"right within two minutes; null: never, or of NATS, where it is not known"`
}

type ownCredentialList struct {
	Credentials []credentialOnOwnWire `json:"credentials" nullable:"false"`
	TotalCount  int                   `json:"total_count"`
}

func (a *API) registerOwnCredentials() {
	handle(a, operation{
		id: "openmnq.ListCredentials", method: http.MethodGet, path: "/namespaces/{namespace_id}/credentials",
		summary: "List the credentials of a namespace, of v1alpha1 and of v1beta1, with when they were last used", noun: "credential",
	}, a.listOwnCredentials)
}

type ownCredentialsInput struct {
	PageQuery

	NamespaceID string `path:"namespace_id" maxLength:"64" doc:"an id, or the account part of a queue URL"`
}

func (a *API) listOwnCredentials(ctx context.Context, who mnq.Identity, in *ownCredentialsInput) (ownCredentialList, error) {
	ns, err := a.anyNamespace(who, in.NamespaceID)
	if err != nil {
		return ownCredentialList{}, err
	}
	all := a.visibleCredentials(who, "created_at_desc", func(c mnq.Credential) bool { return c.NamespaceID == ns.ID })
	page := cut(all, in.PageQuery)
	out := ownCredentialList{Credentials: make([]credentialOnOwnWire, len(page)), TotalCount: len(all)}
	for i, c := range page {
		out.Credentials[i] = credentialOnOwnWire{
			ID: c.ID, Name: c.Name, Protocol: c.Protocol, Service: c.Service, AccessKey: c.AccessKey,
			CreatedAt: stamp(c.CreatedAt), UpdatedAt: stamp(c.UpdatedAt),
		}
		if c.Protocol == mnq.ProtocolSQSSNS {
			out.Credentials[i].Permissions = &c.Permissions
		}
	}
	err = a.whenUsed(ctx, len(page), func(i int) (string, **time.Time) { return page[i].AccessKey, &out.Credentials[i].LastUsedAt })
	return out, err
}

// whenUsed fills in when the keys of a list were last used. Those of NATS have none.
func (a *API) whenUsed(ctx context.Context, n int, key func(i int) (string, **time.Time)) error {
	var g errgroup.Group
	g.SetLimit(countedAtOnce)
	for i := range n {
		accessKey, used := key(i)
		if accessKey == "" {
			continue
		}
		g.Go(func() error {
			at, err := a.dir.LastUsed(ctx, accessKey)
			*used = stamp(at)
			return err
		})
	}
	return g.Wait()
}
