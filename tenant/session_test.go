package tenant

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/openmnq/mnq"
)

const goodPassword = mnq.Secret("correct horse battery")

func TestUsers(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	d := b.process(t)
	u, err := d.CreateUser(t.Context(), NewUser{Name: "ada@example.com", Password: goodPassword, ReadOnly: true})
	if err != nil || u.Name != "ada@example.com" || !u.ReadOnly {
		t.Fatal(u, err)
	}
	if _, err := d.CreateUser(t.Context(), NewUser{Name: "ada@example.com", Password: goodPassword}); mnq.KindOf(err) != mnq.Exists {
		t.Errorf("the name twice: %v", err)
	}
	for _, n := range []NewUser{
		{Name: "", Password: goodPassword},
		{Name: "a b", Password: goodPassword},
		{Name: "a/b", Password: goodPassword},
		{Name: "Ada", Password: goodPassword},
		{Name: strings.Repeat("a", 65), Password: goodPassword},
		{Name: "b", Password: "short"},
		{Name: "b", Password: mnq.Secret(strings.Repeat("a", 257))},
	} {
		if _, err := d.CreateUser(t.Context(), n); mnq.KindOf(err) != mnq.Invalid {
			t.Errorf("%q: %v", n.Name, err)
		}
	}
	if _, err := d.CreateUser(t.Context(), NewUser{Name: "b", Password: goodPassword, ProjectID: "none"}); !mnq.IsNotFound(err) {
		t.Errorf("a project that does not exist: %v", err)
	}

	id, err := d.AuthenticateUser("ada@example.com", goodPassword)
	if err != nil || id.AccessKey != "user/ada@example.com" || !id.ReadOnly || id.ProjectID != "" {
		t.Errorf("%+v, %v", id, err)
	}
	for name, password := range map[string]mnq.Secret{"ada@example.com": "another horse battery", "bob": goodPassword} {
		if _, err := d.AuthenticateUser(name, password); mnq.KindOf(err) != mnq.Unauthenticated {
			t.Errorf("%s with %s: %v", name, password.Reveal(), err)
		}
	}
	raw, err := d.store.kv.Get(t.Context(), userKey("ada@example.com"))
	if err != nil || strings.Contains(string(raw.Value()), "horse") {
		t.Errorf("the record holds the password: %v", err)
	}
	if err := d.DeleteUser(t.Context(), "ada@example.com"); err != nil {
		t.Fatal(err)
	}
	if err := d.DeleteUser(t.Context(), "ada@example.com"); !mnq.IsNotFound(err) {
		t.Errorf("deleted twice: %v", err)
	}
	if _, err := d.AuthenticateUser("ada@example.com", goodPassword); mnq.KindOf(err) != mnq.Unauthenticated {
		t.Errorf("after the deletion: %v", err)
	}
}

// TestUsersGoWithTheirProject deletes the project of one of two users.
func TestUsersGoWithTheirProject(t *testing.T) {
	t.Parallel()
	d := setup(t, "").process(t)
	p, err := d.CreateProject(t.Context(), NewProject{Name: "p"})
	if err != nil {
		t.Fatal(err)
	}
	for name, project := range map[string]string{"a": p.ID, "b": ""} {
		if _, err := d.CreateUser(t.Context(), NewUser{Name: name, Password: goodPassword, ProjectID: project}); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.DeleteProject(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	if all := d.Users(); len(all) != 1 || all[0].Name != "b" {
		t.Errorf("%+v", all)
	}
}

// signIn begins a session of a new user.
func signIn(t *testing.T, d *Directory, name string) mnq.Secret {
	t.Helper()
	if _, err := d.CreateUser(t.Context(), NewUser{Name: name, Password: goodPassword}); err != nil {
		t.Fatal(err)
	}
	return openSession(t, d, ActorUser+name)
}

func openSession(t *testing.T, d *Directory, actor string) mnq.Secret {
	t.Helper()
	token, err := d.OpenSession(t.Context(), mnq.Identity{AccessKey: actor})
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func wantOver(t *testing.T, d *Directory, token mnq.Secret, why string) {
	t.Helper()
	if _, err := d.Session(t.Context(), token); mnq.KindOf(err) != mnq.Unauthenticated {
		t.Errorf("%s: %v", why, err)
	}
}

// TestSessionsAreOfAllProcesses begins a session in one process and uses and ends it in
// another.
func TestSessionsAreOfAllProcesses(t *testing.T) {
	t.Parallel()
	b := setup(t, "")
	one, two := b.process(t), b.process(t)
	token := signIn(t, one, "ada")
	if err := two.view.wait(t.Context(), one.view.x.applied); err != nil {
		t.Fatal(err)
	}
	s, err := two.Session(t.Context(), token)
	if err != nil || s.Identity.AccessKey != "user/ada" || len(s.CSRF) < 20 {
		t.Fatalf("%+v, %v", s, err)
	}
	if err := two.CloseSession(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	wantOver(t, one, token, "ended by another process")
	if err := one.CloseSession(t.Context(), token); err != nil {
		t.Errorf("ended twice: %v", err)
	}
}

func TestSessionsEndWithWhatTheyAreOf(t *testing.T) {
	t.Parallel()
	d := setup(t, "").process(t)
	token := signIn(t, d, "ada")
	if _, err := d.SetPassword(t.Context(), "ada", "an entirely new one"); err != nil {
		t.Fatal(err)
	}
	wantOver(t, d, token, "the password was changed")
	token = openSession(t, d, "user/ada")
	if _, err := d.Session(t.Context(), token); err != nil {
		t.Errorf("after the change: %v", err)
	}
	if err := d.DeleteUser(t.Context(), "ada"); err != nil {
		t.Fatal(err)
	}
	wantOver(t, d, token, "the user was deleted")

	k, _, err := d.CreateAPIKey(t.Context(), NewAPIKey{Name: "k", ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	token = openSession(t, d, k.AccessKey)
	if s, err := d.Session(t.Context(), token); err != nil || !s.Identity.ReadOnly {
		t.Errorf("%+v, %v", s, err)
	}
	if err := d.DeleteAPIKey(t.Context(), k.AccessKey); err != nil {
		t.Fatal(err)
	}
	wantOver(t, d, token, "the key was deleted")
	for _, junk := range []mnq.Secret{"", "x", mnq.Secret(strings.Repeat("A", 66)), token[:len(token)-4] + "AAAA"} {
		wantOver(t, d, junk, fmt.Sprintf("junk %q", junk.Reveal()))
	}
}

// TestSessionsAreBounded signs one user in more often than there are places, and
// another one once.
func TestSessionsAreBounded(t *testing.T) {
	t.Parallel()
	d := setup(t, "").process(t)
	other := signIn(t, d, "bob")
	first := signIn(t, d, "ada")
	for range sessionPlaces - 1 {
		openSession(t, d, "user/ada")
	}
	if _, err := d.Session(t.Context(), first); err != nil {
		t.Errorf("with all places taken: %v", err)
	}
	last := openSession(t, d, "user/ada")
	wantOver(t, d, first, "the oldest one")
	for _, token := range []mnq.Secret{last, other} {
		if _, err := d.Session(t.Context(), token); err != nil {
			t.Error(err)
		}
	}
}

func TestSessionsExpire(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := setup(t, "")
		d := b.process(t)
		token := signIn(t, d, "ada")
		time.Sleep(SessionTime - time.Minute)
		if _, err := d.Session(t.Context(), token); err != nil {
			t.Errorf("a minute before the end: %v", err)
		}
		time.Sleep(time.Minute)
		wantOver(t, d, token, "after twelve hours")
		stop(t, d)
		b.stopNode(t)
	})
}
