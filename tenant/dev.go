package tenant

import (
	"context"
	"regexp"
	"strings"

	"github.com/openmnq/mnq"
)

// The access key of `mnq serve --dev` that every emulator's documentation uses.
const (
	devAccessKey = "test"
	devSecret    = mnq.Secret("test")
)

// DevKeys are the access key and secret that open the account of `mnq serve --dev`.
func DevKeys() (accessKey string, secret mnq.Secret) { return devAccessKey, devSecret }

var regionRule = regexp.MustCompile(`^[a-z0-9-]{1,32}$`)

// DevQuota is what every namespace of `mnq serve --dev` gets: no limits, but for
// messages, which may be as long as on AWS.
func DevQuota(p mnq.Protocol) mnq.Quota {
	q := mnq.Quota{
		StorageBytes: -1, MessageBytes: 1 << 20, Queues: -1, Topics: -1, Subscriptions: -1,
		Streams: -1, Consumers: -1, Connections: -1, MaxAckPending: -1, NATSSubs: -1,
	}
	if p == mnq.ProtocolNATS {
		q.MessageBytes = -1
	}
	return q
}

// Dev makes tenants up as they are asked for, for `mnq serve --dev`: each account
// and region is a namespace of its own, made on first use. It is safe for
// concurrent use, by one process.
type Dev struct {
	dir     *Directory
	account string
	anyKey  bool
}

// NewDev returns tenants of the directory. account is the account id of the access
// key "test". When anyKey is set, every access key that is not known opens it too;
// use it only where signatures are not checked.
func NewDev(d *Directory, account string, anyKey bool) *Dev { return &Dev{d, account, anyKey} }

// Principal returns what an access key opens in a region: "test" the configured
// account, 12 digits the account of that number, both with the secret "test";
// anything else what the directory knows.
func (v *Dev) Principal(ctx context.Context, accessKey, region string) (mnq.Principal, error) {
	account := v.account
	switch {
	case accessKey == devAccessKey:
	case isAccountID(accessKey):
		account = accessKey
	default:
		p, err := v.dir.Principal(accessKey)
		if err == nil || !v.anyKey {
			return p, err
		}
	}
	if !regionRule.MatchString(region) {
		return mnq.Principal{}, &mnq.Error{Kind: mnq.Unauthenticated, Op: "tenant.Dev", Code: "InvalidClientTokenId", Field: "region", Msg: "not a region"}
	}
	ns, err := v.Namespace(ctx, account, region)
	if err != nil {
		return mnq.Principal{}, err
	}
	return mnq.Principal{
		Namespace: ns, Secret: devSecret,
		Credential: mnq.Credential{
			ID: "AIDA" + account, Name: "dev", NamespaceID: ns.ID, ProjectID: ns.ProjectID, Region: region, Protocol: mnq.ProtocolSQSSNS,
			AccessKey: accessKey, Permissions: mnq.Permissions{CanPublish: true, CanReceive: true, CanManage: true},
		},
	}, nil
}

// Namespace returns the namespace of an account in a region, and makes it first
// if there is none yet.
func (v *Dev) Namespace(ctx context.Context, account, region string) (mnq.Namespace, error) {
	if ns, ok := v.find(account, region); ok {
		return ns, nil
	}
	defer v.dir.lock("dev." + account + "." + region)()
	if ns, ok := v.find(account, region); ok {
		return ns, nil
	}
	project := v.dir.DefaultProjectID()
	if err := v.dir.room("tenant.Dev", project); err != nil {
		return mnq.Namespace{}, err
	}
	r, err := v.dir.newNamespaceRecord(NewNamespace{
		Name: "dev-" + account + "-" + region, Protocol: mnq.ProtocolSQSSNS, ProjectID: project,
	})
	if err != nil {
		return mnq.Namespace{}, err
	}
	r.Namespace.Region, r.Namespace.AccountID, r.Namespace.Activated = region, account, true
	return r.inForce(), v.dir.makeNamespace(ctx, r)
}

// Owner resolves the account part of a queue URL or ARN: a made-up account in that
// region if there is one by now, else what the directory knows.
func (v *Dev) Owner(account, region string) (mnq.Namespace, error) {
	if ns, ok := v.find(account, region); ok {
		return ns, nil
	}
	return v.dir.NamespaceByAccount(account)
}

func (v *Dev) find(account, region string) (ns mnq.Namespace, ok bool) {
	v.dir.view.look(func(x *index) {
		for _, r := range x.namespaces {
			if r.Namespace.AccountID == account && r.Namespace.Region == region && !r.Deleting {
				ns, ok = r.inForce(), true
				return
			}
		}
	})
	return ns, ok
}

func isAccountID(s string) bool { return len(s) == 12 && strings.Trim(s, "0123456789") == "" }
