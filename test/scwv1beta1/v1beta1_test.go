// Package scw_test calls every operation of the control plane with today's SDK.
package scw_test

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"

	mnq "github.com/scaleway/scaleway-sdk-go/api/mnq/v1beta1"
	"github.com/scaleway/scaleway-sdk-go/scw"
)

const absentID = "11111111-2222-4333-8444-555555555555"

// project makes a project through the operator's API, so that activations of one
// test do not meet those of another.
func project(t *testing.T) string {
	t.Helper()
	var out struct{ ID string }
	operate(t, http.MethodPost, "/openmnq/v1/projects", map[string]any{"name": t.Name()}, &out)
	return out.ID
}

func operate(t *testing.T, method, path string, in, out any) {
	t.Helper()
	body, err := json.Marshal(in)
	check(t, err)
	r, err := http.NewRequestWithContext(t.Context(), method, os.Getenv("SCW_API_URL")+path, bytes.NewReader(body))
	check(t, err)
	r.Header.Set("X-Auth-Token", os.Getenv("SCW_SECRET_KEY"))
	resp, err := http.DefaultClient.Do(r)
	check(t, err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s", method, path, resp.Status)
	}
	check(t, json.NewDecoder(resp.Body).Decode(out))
}

func sha1Of(s string) string {
	sum := sha1.Sum([]byte(s))
	return hex.EncodeToString(sum[:])
}

func TestNATS(t *testing.T) {
	t.Parallel()
	api := mnq.NewNatsAPI(client(t, scw.WithDefaultProjectID(project(t))))
	account, err := api.CreateNatsAccount(&mnq.NatsAPICreateNatsAccountRequest{Name: "first"})
	check(t, err)
	if len(account.ID) != 56 || !strings.HasPrefix(account.Endpoint, "nats://") || account.CreatedAt == nil {
		t.Errorf("created %+v", account)
	}
	name := "second"
	_, err = api.UpdateNatsAccount(&mnq.NatsAPIUpdateNatsAccountRequest{NatsAccountID: account.ID, Name: &name})
	check(t, err)
	account, err = api.GetNatsAccount(&mnq.NatsAPIGetNatsAccountRequest{NatsAccountID: account.ID})
	check(t, err)
	if account.Name != "second" {
		t.Errorf("renamed to %q", account.Name)
	}

	creds, err := api.CreateNatsCredentials(&mnq.NatsAPICreateNatsCredentialsRequest{NatsAccountID: account.ID, Name: "c"})
	check(t, err)
	if creds.Credentials == nil || creds.Credentials.Name != "user.creds" || creds.Checksum != sha1Of(creds.Credentials.Content) {
		t.Error("no credentials file, or a wrong checksum")
	}
	got, err := api.GetNatsCredentials(&mnq.NatsAPIGetNatsCredentialsRequest{NatsCredentialsID: creds.ID})
	check(t, err)
	if got.Credentials != nil || got.Checksum != creds.Checksum || got.NatsAccountID != account.ID || got.Region != "fr-par" {
		t.Errorf("got %+v", got)
	}
	_, err = api.CreateNatsCredentials(&mnq.NatsAPICreateNatsCredentialsRequest{NatsAccountID: account.ID, Name: "a"})
	check(t, err)
	one := uint32(1)
	list, err := api.ListNatsCredentials(&mnq.NatsAPIListNatsCredentialsRequest{
		NatsAccountID: &account.ID, PageSize: &one, OrderBy: mnq.ListNatsCredentialsRequestOrderByNameAsc,
	}, scw.WithAllPages())
	check(t, err)
	if list.TotalCount != 2 || len(list.NatsCredentials) != 2 || list.NatsCredentials[0].Name != "a" {
		t.Errorf("list %+v", list)
	}
	accounts, err := api.ListNatsAccounts(&mnq.NatsAPIListNatsAccountsRequest{ProjectID: &account.ProjectID, PageSize: &one}, scw.WithAllPages())
	check(t, err)
	if accounts.TotalCount != 1 || accounts.NatsAccounts[0].ID != account.ID {
		t.Errorf("accounts %+v", accounts)
	}
	check(t, api.DeleteNatsCredentials(&mnq.NatsAPIDeleteNatsCredentialsRequest{NatsCredentialsID: creds.ID}))
	_, err = api.GetNatsCredentials(&mnq.NatsAPIGetNatsCredentialsRequest{NatsCredentialsID: creds.ID})
	if e := wantError[*scw.ResourceNotFoundError](t, err); e.Resource != "credentials" {
		t.Errorf("error %+v", e)
	}
	check(t, api.DeleteNatsAccount(&mnq.NatsAPIDeleteNatsAccountRequest{NatsAccountID: account.ID}))
	_, err = api.GetNatsAccount(&mnq.NatsAPIGetNatsAccountRequest{NatsAccountID: account.ID})
	if e := wantError[*scw.ResourceNotFoundError](t, err); e.Resource != "namespace" {
		t.Errorf("error %+v", e)
	}
}

func TestSQS(t *testing.T) {
	t.Parallel()
	api := mnq.NewSqsAPI(client(t, scw.WithDefaultProjectID(project(t))))
	info, err := api.GetSqsInfo(&mnq.SqsAPIGetSqsInfoRequest{})
	check(t, err)
	if info.Status != mnq.SqsInfoStatusDisabled || info.CreatedAt != nil || info.SqsEndpointURL == "" {
		t.Errorf("before: %+v", info)
	}
	info, err = api.ActivateSqs(&mnq.SqsAPIActivateSqsRequest{})
	check(t, err)
	if info.Status != mnq.SqsInfoStatusEnabled || info.CreatedAt == nil {
		t.Errorf("activated: %+v", info)
	}
	_, err = api.ActivateSqs(&mnq.SqsAPIActivateSqsRequest{})
	if e := wantError[*scw.ResponseError](t, err); e.StatusCode != 409 || e.Type != "already_exists" {
		t.Errorf("error %+v", e)
	}
	yes, no := true, false
	creds, err := api.CreateSqsCredentials(&mnq.SqsAPICreateSqsCredentialsRequest{
		Name: "n", Permissions: &mnq.SqsPermissions{CanPublish: &yes, CanReceive: &no, CanManage: &no},
	})
	check(t, err)
	if len(creds.AccessKey) != 20 || creds.SecretChecksum != sha1Of(creds.SecretKey) || creds.ProjectID != info.ProjectID {
		t.Error("no access key, or a wrong checksum")
	}
	name := "m"
	_, err = api.UpdateSqsCredentials(&mnq.SqsAPIUpdateSqsCredentialsRequest{
		SqsCredentialsID: creds.ID, Name: &name, Permissions: &mnq.SqsPermissions{CanManage: &yes},
	})
	check(t, err)
	got, err := api.GetSqsCredentials(&mnq.SqsAPIGetSqsCredentialsRequest{SqsCredentialsID: creds.ID})
	check(t, err)
	if got.Name != "m" || !*got.Permissions.CanPublish || *got.Permissions.CanReceive || !*got.Permissions.CanManage || got.SecretKey != "" {
		t.Errorf("got %+v", got)
	}
	one := uint32(1)
	list, err := api.ListSqsCredentials(&mnq.SqsAPIListSqsCredentialsRequest{ProjectID: &info.ProjectID, PageSize: &one}, scw.WithAllPages())
	check(t, err)
	if list.TotalCount != 1 || list.SqsCredentials[0].ID != creds.ID {
		t.Errorf("list %+v", list)
	}
	check(t, api.DeleteSqsCredentials(&mnq.SqsAPIDeleteSqsCredentialsRequest{SqsCredentialsID: creds.ID}))
	_, err = api.GetSqsCredentials(&mnq.SqsAPIGetSqsCredentialsRequest{SqsCredentialsID: creds.ID})
	wantError[*scw.ResourceNotFoundError](t, err)
	info, err = api.DeactivateSqs(&mnq.SqsAPIDeactivateSqsRequest{})
	check(t, err)
	if info.Status != mnq.SqsInfoStatusDisabled || info.CreatedAt != nil || info.UpdatedAt != nil {
		t.Errorf("deactivated: %+v", info)
	}
	_, err = api.DeactivateSqs(&mnq.SqsAPIDeactivateSqsRequest{})
	if e := wantError[*scw.ResourceNotFoundError](t, err); e.Resource != "MnqSQSNamespace" {
		t.Errorf("error %+v", e)
	}
}

func TestSNS(t *testing.T) {
	t.Parallel()
	api := mnq.NewSnsAPI(client(t, scw.WithDefaultProjectID(project(t))))
	_, err := api.CreateSnsCredentials(&mnq.SnsAPICreateSnsCredentialsRequest{Name: "n"})
	if e := wantError[*scw.ResourceNotFoundError](t, err); e.Resource != "MnqSNSNamespace" {
		t.Errorf("error %+v", e)
	}
	info, err := api.ActivateSns(&mnq.SnsAPIActivateSnsRequest{})
	check(t, err)
	again, err := api.GetSnsInfo(&mnq.SnsAPIGetSnsInfoRequest{})
	check(t, err)
	if again.Status != mnq.SnsInfoStatusEnabled || !again.CreatedAt.Equal(*info.CreatedAt) || again.SnsEndpointURL == "" {
		t.Errorf("activated %+v, then %+v", info, again)
	}
	creds, err := api.CreateSnsCredentials(&mnq.SnsAPICreateSnsCredentialsRequest{Name: "n"})
	check(t, err)
	if *creds.Permissions.CanManage || *creds.Permissions.CanPublish || *creds.Permissions.CanReceive || creds.SecretKey == "" {
		t.Error("permissions nobody asked for, or no secret")
	}
	yes := true
	_, err = api.UpdateSnsCredentials(&mnq.SnsAPIUpdateSnsCredentialsRequest{
		SnsCredentialsID: creds.ID, Permissions: &mnq.SnsPermissions{CanReceive: &yes},
	})
	check(t, err)
	got, err := api.GetSnsCredentials(&mnq.SnsAPIGetSnsCredentialsRequest{SnsCredentialsID: creds.ID})
	check(t, err)
	if !*got.Permissions.CanReceive || *got.Permissions.CanManage || got.Name != "n" {
		t.Errorf("got %+v", got)
	}
	list, err := api.ListSnsCredentials(&mnq.SnsAPIListSnsCredentialsRequest{ProjectID: &info.ProjectID}, scw.WithAllPages())
	check(t, err)
	if list.TotalCount != 1 || list.SnsCredentials[0].AccessKey != creds.AccessKey {
		t.Errorf("list %+v", list)
	}
	check(t, api.DeleteSnsCredentials(&mnq.SnsAPIDeleteSnsCredentialsRequest{SnsCredentialsID: creds.ID}))
	info, err = api.DeactivateSns(&mnq.SnsAPIDeactivateSnsRequest{})
	check(t, err)
	if info.Status != mnq.SnsInfoStatusDisabled {
		t.Errorf("deactivated: %+v", info)
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	api := mnq.NewNatsAPI(client(t))
	_, err := api.GetNatsAccount(&mnq.NatsAPIGetNatsAccountRequest{NatsAccountID: "short"})
	e := wantError[*scw.InvalidArgumentsError](t, err)
	if d := e.Details[0]; d.ArgumentName != "nats_account_id" || d.Reason != "constraint" || d.HelpMessage != "value length must be 56 runes" {
		t.Errorf("error %+v", e)
	}
	_, err = mnq.NewSqsAPI(client(t)).GetSqsInfo(&mnq.SqsAPIGetSqsInfoRequest{ProjectID: absentID})
	wantError[*scw.PermissionsDeniedError](t, err)
	_, err = api.GetNatsCredentials(&mnq.NatsAPIGetNatsCredentialsRequest{NatsCredentialsID: absentID})
	wantError[*scw.ResourceNotFoundError](t, err)

	var key struct {
		AccessKey string `json:"access_key"`
		SecretKey string `json:"secret_key"`
	}
	operate(t, http.MethodPost, "/openmnq/v1/api-keys", map[string]any{"name": "reader", "read_only": true}, &key)
	reader := mnq.NewNatsAPI(client(t, scw.WithAuth(key.AccessKey, key.SecretKey)))
	_, err = reader.ListNatsAccounts(&mnq.NatsAPIListNatsAccountsRequest{})
	check(t, err)
	_, err = reader.CreateNatsAccount(&mnq.NatsAPICreateNatsAccountRequest{Name: "x"})
	if e := wantError[*scw.PermissionsDeniedError](t, err); e.Details[0].Action != "create" {
		t.Errorf("error %+v", e)
	}
	stranger := mnq.NewNatsAPI(client(t, scw.WithAuth("SCWXXXXXXXXXXXXXXXXX", absentID)))
	_, err = stranger.ListNatsAccounts(&mnq.NatsAPIListNatsAccountsRequest{})
	wantError[*scw.DeniedAuthenticationError](t, err)
}
