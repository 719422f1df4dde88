// Package scw_test calls every operation of the control plane with the SDK that
// knew v1alpha1.
package scw_test

import (
	"strings"
	"testing"

	mnq "github.com/scaleway/scaleway-sdk-go/api/mnq/v1alpha1"
	"github.com/scaleway/scaleway-sdk-go/scw"
)

var absentID = "A" + strings.Repeat("B", 55)

func TestNamespaces(t *testing.T) {
	t.Parallel()
	api := mnq.NewAPI(client(t))
	for _, protocol := range []mnq.NamespaceProtocol{mnq.NamespaceProtocolNats, mnq.NamespaceProtocolSqsSns} {
		ns, err := api.CreateNamespace(&mnq.CreateNamespaceRequest{Name: "first", Protocol: protocol})
		check(t, err)
		if len(ns.ID) != 56 || ns.Protocol != protocol || ns.CreatedAt == nil || ns.UpdatedAt == nil || ns.Region != "fr-par" || ns.Endpoint == "" {
			t.Errorf("created %+v", ns)
		}
		name := "second"
		ns, err = api.UpdateNamespace(&mnq.UpdateNamespaceRequest{NamespaceID: ns.ID, Name: &name})
		check(t, err)
		got, err := api.GetNamespace(&mnq.GetNamespaceRequest{NamespaceID: ns.ID})
		check(t, err)
		if got.Name != "second" || !got.UpdatedAt.Equal(*ns.UpdatedAt) {
			t.Errorf("got %+v after %+v", got, ns)
		}
		check(t, api.DeleteNamespace(&mnq.DeleteNamespaceRequest{NamespaceID: ns.ID}))
		_, err = api.GetNamespace(&mnq.GetNamespaceRequest{NamespaceID: ns.ID})
		if e := wantError[*scw.ResourceNotFoundError](t, err); e.Resource != "namespace" || e.ResourceID != ns.ID {
			t.Errorf("error %+v", e)
		}
	}
	ns, err := api.CreateNamespace(&mnq.CreateNamespaceRequest{Protocol: mnq.NamespaceProtocolNats}) // the SDK makes up a name
	check(t, err)
	if !strings.HasPrefix(ns.Name, "mnq") {
		t.Errorf("name %q", ns.Name)
	}
	check(t, api.DeleteNamespace(&mnq.DeleteNamespaceRequest{NamespaceID: ns.ID}))
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	api := mnq.NewAPI(client(t))
	yes, no := true, false
	create := func(p mnq.NamespaceProtocol) *mnq.Namespace {
		ns, err := api.CreateNamespace(&mnq.CreateNamespaceRequest{Name: "credentials", Protocol: p})
		check(t, err)
		t.Cleanup(func() {
			if err := api.DeleteNamespace(&mnq.DeleteNamespaceRequest{NamespaceID: ns.ID}); err != nil {
				t.Error(err)
			}
		})
		return ns
	}
	nats, aws := create(mnq.NamespaceProtocolNats), create(mnq.NamespaceProtocolSqsSns)

	file, err := api.CreateCredential(&mnq.CreateCredentialRequest{NamespaceID: nats.ID, Name: "file"})
	check(t, err)
	if file.NatsCredentials == nil || !strings.Contains(file.NatsCredentials.Content, "BEGIN USER NKEY SEED") || file.SqsSnsCredentials != nil {
		t.Error("no credentials file")
	}
	key, err := api.CreateCredential(&mnq.CreateCredentialRequest{
		NamespaceID: aws.ID, Name: "key", Permissions: &mnq.Permissions{CanPublish: &yes, CanReceive: &no, CanManage: &no},
	})
	check(t, err)
	if c := key.SqsSnsCredentials; c == nil || len(c.AccessKey) != 20 || c.SecretKey == nil || len(*c.SecretKey) != 64 {
		t.Error("no access key")
	}
	key, err = api.UpdateCredential(&mnq.UpdateCredentialRequest{CredentialID: key.ID, Permissions: &mnq.Permissions{CanManage: &yes}})
	check(t, err)
	got, err := api.GetCredential(&mnq.GetCredentialRequest{CredentialID: key.ID})
	check(t, err)
	p := got.SqsSnsCredentials.Permissions
	if got.SqsSnsCredentials.SecretKey != nil || !*p.CanPublish || *p.CanReceive || !*p.CanManage || got.Name != "key" {
		t.Errorf("got %+v", got)
	}
	list, err := api.ListCredentials(&mnq.ListCredentialsRequest{NamespaceID: &aws.ID})
	check(t, err)
	if list.TotalCount != 1 || list.Credentials[0].ID != key.ID || list.Credentials[0].SqsSnsCredentials.AccessKey == "" {
		t.Errorf("list %+v", list)
	}
	for _, id := range []string{file.ID, key.ID} {
		check(t, api.DeleteCredential(&mnq.DeleteCredentialRequest{CredentialID: id}))
		err := api.DeleteCredential(&mnq.DeleteCredentialRequest{CredentialID: id})
		if e := wantError[*scw.ResourceNotFoundError](t, err); e.Resource != "credential" {
			t.Errorf("error %+v", e)
		}
	}
}

func TestListsFollowPages(t *testing.T) {
	t.Parallel()
	api := mnq.NewAPI(client(t))
	ns, err := api.CreateNamespace(&mnq.CreateNamespaceRequest{Name: "pages", Protocol: mnq.NamespaceProtocolNats})
	check(t, err)
	for _, name := range []string{"e", "c", "a", "d", "b"} {
		_, err := api.CreateCredential(&mnq.CreateCredentialRequest{NamespaceID: ns.ID, Name: name})
		check(t, err)
	}
	size := uint32(2)
	list, err := api.ListCredentials(&mnq.ListCredentialsRequest{
		NamespaceID: &ns.ID, PageSize: &size, OrderBy: mnq.ListCredentialsRequestOrderByNameDesc,
	}, scw.WithAllPages())
	check(t, err)
	var names string
	for _, c := range list.Credentials {
		names += c.Name
	}
	if names != "edcba" || list.TotalCount != 5 {
		t.Errorf("got %q of %d", names, list.TotalCount)
	}
	one := uint32(1)
	all, err := api.ListNamespaces(&mnq.ListNamespacesRequest{PageSize: &one, OrderBy: mnq.ListNamespacesRequestOrderByCreatedAtDesc}, scw.WithAllPages())
	check(t, err)
	if len(all.Namespaces) == 0 {
		t.Error("no namespaces")
	}
	check(t, api.DeleteNamespace(&mnq.DeleteNamespaceRequest{NamespaceID: ns.ID}))
}

func TestErrors(t *testing.T) {
	t.Parallel()
	api := mnq.NewAPI(client(t))
	_, err := api.CreateNamespace(&mnq.CreateNamespaceRequest{Name: strings.Repeat("x", 65), Protocol: mnq.NamespaceProtocolNats})
	if e := wantError[*scw.InvalidArgumentsError](t, err); e.Details[0].ArgumentName != "name" || e.Details[0].Reason != "constraint" {
		t.Errorf("error %+v", e)
	}
	_, err = api.CreateNamespace(&mnq.CreateNamespaceRequest{Name: "x", Protocol: mnq.NamespaceProtocolUnknown})
	wantError[*scw.InvalidArgumentsError](t, err)
	_, err = api.GetNamespace(&mnq.GetNamespaceRequest{NamespaceID: absentID})
	wantError[*scw.ResourceNotFoundError](t, err)
	_, err = api.CreateNamespace(&mnq.CreateNamespaceRequest{
		Name: "x", Protocol: mnq.NamespaceProtocolNats, ProjectID: "11111111-2222-4333-8444-555555555555",
	})
	wantError[*scw.PermissionsDeniedError](t, err)
	stranger := mnq.NewAPI(client(t, scw.WithAuth("SCWXXXXXXXXXXXXXXXXX", "11111111-2222-4333-8444-555555555555")))
	_, err = stranger.ListNamespaces(&mnq.ListNamespacesRequest{})
	if e := wantError[*scw.DeniedAuthenticationError](t, err); e.Reason != "not_found" || e.Method != "api_key" {
		t.Errorf("error %+v", e)
	}
	_, err = api.ListNamespaces(&mnq.ListNamespacesRequest{Region: "nl-ams"})
	wantError[*scw.InvalidArgumentsError](t, err)
}
