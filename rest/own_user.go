package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/tenant"
)

// userOnWire is a user of the console. ProjectID is null for those who see all projects.
type userOnWire struct {
	Name       string     `json:"name"`
	ProjectID  *string    `json:"project_id"`
	ReadOnly   bool       `json:"read_only"`
	CreatedAt  *time.Time `json:"created_at"`
	PasswordAt *time.Time `json:"password_at" doc:"when the password was set"`
}

type userList struct {
	Users      []userOnWire `json:"users" nullable:"false"`
	TotalCount int          `json:"total_count"`
}

func (a *API) registerUsers() {
	handle(a, operation{
		id: "openmnq.ListUsers", method: http.MethodGet, path: "/users",
		summary: "List the users of the console", noun: "user",
	}, a.listUsers)
	handle(a, operation{
		id: "openmnq.CreateUser", method: http.MethodPost, path: "/users",
		summary: "Create a user, who signs in to the console with a password", noun: "user", action: "create", admin: true,
	}, a.createUser)
	handle(a, operation{
		id: "openmnq.SetUserPassword", method: http.MethodPut, path: "/users/{user_name}/password",
		summary: "Replace a user's password and end the user's sessions", noun: "user", action: "write", admin: true,
	}, a.setPassword)
	remove(a, operation{
		id: "openmnq.DeleteUser", method: http.MethodDelete, path: "/users/{user_name}",
		summary: "Delete a user and end the user's sessions", noun: "user", action: "delete", admin: true,
	}, a.deleteUser)
}

func userWire(u mnq.User) userOnWire {
	out := userOnWire{Name: u.Name, ReadOnly: u.ReadOnly, CreatedAt: stamp(u.CreatedAt), PasswordAt: stamp(u.PasswordAt)}
	if u.ProjectID != "" {
		out.ProjectID = new(u.ProjectID)
	}
	return out
}

func (a *API) listUsers(_ context.Context, who mnq.Identity, in *pageInput) (userList, error) {
	all := filter(a.dir.Users(), func(u mnq.User) bool { return who.ProjectID == "" || u.ProjectID == who.ProjectID })
	return userList{Users: convert(cut(all, in.PageQuery), userWire), TotalCount: len(all)}, nil
}

type createUserInput struct{ Body createUserRequest }

type createUserRequest struct {
	Name      string  `json:"name" minLength:"1" maxLength:"64" doc:"without spaces, slashes and capital letters"`
	Password  string  `json:"password" minLength:"12" maxLength:"256"`
	ProjectID *string `json:"project_id" required:"false" format:"uuid" doc:"null: all projects"`
	ReadOnly  bool    `json:"read_only" required:"false"`
}

func (a *API) createUser(ctx context.Context, who mnq.Identity, in *createUserInput) (userOnWire, error) {
	n := tenant.NewUser{Name: in.Body.Name, Password: mnq.Secret(in.Body.Password), ReadOnly: in.Body.ReadOnly}
	if in.Body.ProjectID != nil {
		p, err := a.visible(who, *in.Body.ProjectID)
		if err != nil {
			return userOnWire{}, err
		}
		n.ProjectID = p.ID
	}
	u, err := a.dir.CreateUser(ctx, n)
	if err != nil && mnq.KindOf(err) == mnq.Exists {
		return userOnWire{}, alreadyExists("user", n.Name, "a user of this name exists")
	}
	return userWire(u), err
}

// UserPath names a user.
type UserPath struct {
	UserName string `path:"user_name" maxLength:"64"`
}

type passwordInput struct {
	UserPath

	Body struct {
		Password string `json:"password" minLength:"12" maxLength:"256"`
	}
}

func (a *API) setPassword(ctx context.Context, _ mnq.Identity, in *passwordInput) (userOnWire, error) {
	u, err := a.dir.SetPassword(ctx, in.UserName, mnq.Secret(in.Body.Password))
	return userWire(u), as(err, "user", in.UserName)
}

func (a *API) deleteUser(ctx context.Context, _ mnq.Identity, in *UserPath) error {
	return as(a.dir.DeleteUser(ctx, in.UserName), "user", in.UserName)
}
