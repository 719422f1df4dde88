package tenant

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/openmnq/mnq"
)

const (
	maxUserName = 64  // bytes
	minPassword = 12  // characters
	maxPassword = 256 // bytes

	// ActorUser begins the access key of an identity that is a user: no API key's does.
	ActorUser = "user/"
)

// argonSettings are the cost of a password: with 32 MiB one guess takes some tens of
// milliseconds. They are kept with each hash, so that they can be raised.
type argonSettings struct {
	Time    uint32 `json:"time"`
	Memory  uint32 `json:"memory"` // KiB
	Threads uint8  `json:"threads"`
}

var argonNow = argonSettings{Time: 3, Memory: 32 << 10, Threads: 1}

// passwordHash is a password as it is stored: argon2id.
type passwordHash struct {
	argonSettings

	Salt []byte `json:"salt"`
	Hash []byte `json:"hash"`
}

// hashing bounds how much memory passwords take at a time.
var hashing = make(chan struct{}, 2)

func (p passwordHash) of(password string) []byte {
	hashing <- struct{}{}
	defer func() { <-hashing }()
	return argon2.IDKey([]byte(password), p.Salt, p.Time, p.Memory, p.Threads, 32)
}

func newPasswordHash(password string) passwordHash {
	p := passwordHash{argonSettings: argonNow, Salt: make([]byte, 16)}
	_, _ = rand.Read(p.Salt) // never fails: crypto/rand ends the process instead
	p.Hash = p.of(password)
	return p
}

// userRecord is a user of the console.
type userRecord struct {
	header
	User     mnq.User     `json:"user"`
	Password passwordHash `json:"password"`
}

// userKey is where a user's record is: names may hold what keys may not.
func userKey(name string) string { return userPrefix + hex.EncodeToString([]byte(name)) }

func checkUserName(op, name string) error {
	bad := func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) || r == '/' || unicode.IsUpper(r) }
	if name == "" || len(name) > maxUserName || !utf8.ValidString(name) || strings.ContainsFunc(name, bad) {
		return invalid(op, "name", "must be 1 to 64 bytes without spaces, slashes and capital letters")
	}
	return nil
}

func checkPassword(op string, password mnq.Secret) error {
	p := password.Reveal()
	if utf8.RuneCountInString(p) < minPassword || len(p) > maxPassword {
		return invalid(op, "password", "must have at least 12 characters and at most 256 bytes")
	}
	return nil
}

// NewUser is what CreateUser needs.
type NewUser struct {
	Name      string
	Password  mnq.Secret
	ProjectID string // empty: all projects
	ReadOnly  bool
}

// CreateUser makes a user, who signs in to the console with a password. A name that is
// taken: kind Exists.
func (d *Directory) CreateUser(ctx context.Context, in NewUser) (mnq.User, error) {
	const op = "tenant.CreateUser"
	if err := cmp.Or(checkUserName(op, in.Name), checkPassword(op, in.Password)); err != nil {
		return mnq.User{}, err
	}
	orphan, used := false, 0
	d.view.look(func(x *index) {
		used = len(x.users)
		orphan = in.ProjectID != "" && x.project(in.ProjectID) == nil
	})
	switch {
	case orphan:
		return mnq.User{}, notFound(op, "project", in.ProjectID)
	case used >= d.cfg.Limits.Users:
		return mnq.User{}, tooMany(op, "users", used, d.cfg.Limits.Users)
	}
	r := &userRecord{
		User:     mnq.User{Name: in.Name, ProjectID: in.ProjectID, ReadOnly: in.ReadOnly, CreatedAt: now()},
		Password: newPasswordHash(in.Password.Reveal()),
	}
	r.User.PasswordAt = r.User.CreatedAt
	rev, err := d.store.create(ctx, userKey(in.Name), r)
	if err != nil {
		return mnq.User{}, err
	}
	return r.User, d.view.wait(ctx, rev)
}

// SetPassword replaces a user's password and ends the user's sessions. Missing: kind
// NotFound.
func (d *Directory) SetPassword(ctx context.Context, name string, password mnq.Secret) (mnq.User, error) {
	const op = "tenant.SetPassword"
	if err := checkPassword(op, password); err != nil {
		return mnq.User{}, err
	}
	hash, at := newPasswordHash(password.Reveal()), now()
	r, rev, err := change(ctx, d.store, userKey(name), func(r *userRecord) error {
		r.Password, r.User.PasswordAt = hash, at
		return nil
	})
	if mnq.IsNotFound(err) {
		return mnq.User{}, notFound(op, "user", name)
	}
	if err != nil {
		return mnq.User{}, err
	}
	return r.User, d.view.wait(ctx, rev)
}

// DeleteUser removes a user and ends the user's sessions. Missing: kind NotFound.
func (d *Directory) DeleteUser(ctx context.Context, name string) error {
	if _, err := d.User(name); err != nil {
		return err
	}
	rev, err := d.store.remove(ctx, userKey(name))
	if err != nil {
		return err
	}
	return d.view.wait(ctx, rev)
}

// User returns one by name.
func (d *Directory) User(name string) (u mnq.User, err error) {
	err = notFound("tenant.User", "user", name)
	d.view.look(func(x *index) {
		if r := x.users[name]; r != nil {
			u, err = r.User, nil
		}
	})
	return u, err
}

// Users returns all by name.
func (d *Directory) Users() []mnq.User {
	var all []mnq.User
	d.view.look(func(x *index) {
		for _, r := range x.users {
			all = append(all, r.User)
		}
	})
	slices.SortFunc(all, func(a, b mnq.User) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// noUser is what the password of a user who does not exist is compared with, so that
// the time it takes does not tell.
var noUser = userRecord{Password: passwordHash{argonSettings: argonNow, Salt: make([]byte, 16), Hash: make([]byte, 32)}}

// AuthenticateUser returns the identity of the user with this name and password. It
// takes some tens of milliseconds. Anything wrong: kind Unauthenticated.
func (d *Directory) AuthenticateUser(name string, password mnq.Secret) (mnq.Identity, error) {
	r := &noUser
	d.view.look(func(x *index) {
		if u := x.users[name]; u != nil {
			r = u
		}
	})
	refused := &mnq.Error{Kind: mnq.Unauthenticated, Op: "tenant.AuthenticateUser", Msg: "unknown user or wrong password"}
	if len(password) > maxPassword {
		return mnq.Identity{}, refused
	}
	if subtle.ConstantTimeCompare(r.Password.of(password.Reveal()), r.Password.Hash) != 1 || r == &noUser {
		return mnq.Identity{}, refused
	}
	id, _, err := d.identify(ActorUser + name)
	return id, err
}

// identify returns what an actor, as the audit log names it, may do now, and since when
// its secret is the one that it is. Gone: kind Unauthenticated.
func (d *Directory) identify(actor string) (id mnq.Identity, since time.Time, err error) {
	err = &mnq.Error{Kind: mnq.Unauthenticated, Op: "tenant.identify", Msg: "the API key or user does not exist any more"}
	d.view.look(func(x *index) {
		if x.org == nil {
			return
		}
		id = mnq.Identity{AccessKey: actor, OrganizationID: x.org.ID}
		if name, isUser := strings.CutPrefix(actor, ActorUser); isUser {
			if r := x.users[name]; r != nil {
				id.ProjectID, id.ReadOnly, since, err = r.User.ProjectID, r.User.ReadOnly, r.User.PasswordAt, nil
			}
			return
		}
		if r := x.apiKeys[actor]; r != nil {
			id.ProjectID, id.ReadOnly, since, err = r.Key.ProjectID, r.Key.ReadOnly, r.Key.CreatedAt, nil
		}
	})
	if err != nil {
		return mnq.Identity{}, time.Time{}, err
	}
	return id, since, nil
}
