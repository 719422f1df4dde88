package main

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/openmnq/mnq"
)

type userCmd struct {
	Ls       userLsCmd       `cmd:"" help:"List users."`
	Create   userCreateCmd   `cmd:"" help:"Create a user; the password is read from standard input."`
	Password userPasswordCmd `cmd:"" help:"Replace a user's password, read from standard input, and end the user's sessions."`
	Rm       userRmCmd       `cmd:"" help:"Delete users and end their sessions."`
}

type userLsCmd struct{ connection }

// Run lists the users that the key may see.
func (c *userLsCmd) Run(a *app) error {
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	all, err := list[mnq.User](a.ctx, cl, own("users"), "users", nil)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(a.stdout, all)
	}
	t := newTable(a.stdout, "NAME", "PROJECT", "ACCESS", "CREATED", "PASSWORD")
	for _, u := range all {
		k := mnq.APIKey{ProjectID: u.ProjectID, ReadOnly: u.ReadOnly}
		t.row(u.Name, keyProject(k), keyAccess(k), stamp(u.CreatedAt), stamp(u.PasswordAt))
	}
	return t.flush()
}

type userCreateCmd struct {
	connection

	Name      string `arg:"" help:"Name of the user, 1 to 64 bytes without spaces, slashes and capital letters."`
	ProjectID string `placeholder:"UUID" help:"Bind the user to one project. Default: all projects."`
	ReadOnly  bool   `help:"The user can look but not change anything."`
}

// Run creates the user.
func (c *userCreateCmd) Run(a *app) error {
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	password, err := a.password()
	if err != nil {
		return err
	}
	in := map[string]any{"name": c.Name, "password": password, "read_only": c.ReadOnly}
	if c.ProjectID != "" {
		in["project_id"] = c.ProjectID
	}
	return putUser(a, c.JSON, func(u *mnq.User) error { return cl.call(a.ctx, http.MethodPost, own("users"), in, u) })
}

func putUser(a *app, asJSON bool, put func(*mnq.User) error) error {
	var u mnq.User
	if err := put(&u); err != nil {
		return err
	}
	if asJSON {
		return printJSON(a.stdout, u)
	}
	return printf(a.stdout, "%s\n", u.Name)
}

// password reads one line; on a terminal it asks twice and shows nothing.
func (a *app) password() (string, error) {
	f, ok := a.stdin.(*os.File)
	if !ok || !terminal(a.stdin) {
		line, err := bufio.NewReader(io.LimitReader(a.stdin, 1024)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			return "", usagef("there is no password on standard input")
		}
		return line, nil
	}
	var typed [2]string
	for i, ask := range []string{"Password: ", "Again: "} {
		if err := printf(a.stderr, "%s", ask); err != nil {
			return "", err
		}
		b, err := term.ReadPassword(int(f.Fd()))
		if err = errors.Join(err, printf(a.stderr, "\n")); err != nil {
			return "", err
		}
		typed[i] = string(b)
	}
	if typed[0] != typed[1] {
		return "", usagef("the passwords are not the same")
	}
	return typed[0], nil
}

type userPasswordCmd struct {
	connection

	Name string `arg:"" help:"Name of the user."`
}

// Run replaces the password.
func (c *userPasswordCmd) Run(a *app) error {
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	password, err := a.password()
	if err != nil {
		return err
	}
	in := map[string]any{"password": password}
	return putUser(a, c.JSON, func(u *mnq.User) error {
		return cl.call(a.ctx, http.MethodPut, own("users", c.Name, "password"), in, u)
	})
}

type userRmCmd struct {
	connection

	Name []string `arg:"" help:"Names of the users."`
}

// Run deletes the users.
func (c *userRmCmd) Run(a *app) error {
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	return cl.remove(a, c.JSON, c.Name, func(name string) string { return own("users", name) })
}
