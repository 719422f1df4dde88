package main

import (
	"net/http"

	"github.com/openmnq/mnq"
)

type projectCmd struct {
	Ls     projectLsCmd     `cmd:"" help:"List projects."`
	Create projectCreateCmd `cmd:"" help:"Create a project."`
	Show   projectShowCmd   `cmd:"" help:"Show a project."`
	Rm     projectRmCmd     `cmd:"" help:"Delete empty projects."`
}

type projectLsCmd struct{ connection }

// Run lists the projects that the key may see.
func (c *projectLsCmd) Run(a *app) error {
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	all, err := list[mnq.Project](a.ctx, cl, own("projects"), "projects", nil)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(a.stdout, all)
	}
	t := newTable(a.stdout, "ID", "NAME", "CREATED")
	for _, p := range all {
		t.row(p.ID, p.Name, stamp(p.CreatedAt))
	}
	return t.flush()
}

type projectCreateCmd struct {
	connection

	Name string `arg:"" help:"Name of the project, 1 to 64 characters."`
	ID   string `name:"id" placeholder:"UUID" help:"Id to give it. Default: random."`
}

// Run creates the project and shows it.
func (c *projectCreateCmd) Run(a *app) error {
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	in := map[string]string{"name": c.Name}
	if c.ID != "" {
		in["id"] = c.ID
	}
	var p mnq.Project
	if err := cl.call(a.ctx, http.MethodPost, own("projects"), in, &p); err != nil {
		return err
	}
	return showProject(a, c.JSON, p)
}

type projectShowCmd struct {
	connection

	ID string `arg:"" help:"Id of the project."`
}

// Run shows one project.
func (c *projectShowCmd) Run(a *app) error {
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	var p mnq.Project
	if err := cl.call(a.ctx, http.MethodGet, own("projects", c.ID), nil, &p); err != nil {
		return err
	}
	return showProject(a, c.JSON, p)
}

func showProject(a *app, asJSON bool, p mnq.Project) error {
	if asJSON {
		return printJSON(a.stdout, p)
	}
	t := newTable(a.stdout, "FIELD", "VALUE")
	t.row("id", p.ID)
	t.row("name", p.Name)
	t.row("organization", p.OrganizationID)
	t.row("created", stamp(p.CreatedAt))
	t.row("updated", stamp(p.UpdatedAt))
	return t.flush()
}

type projectRmCmd struct {
	connection

	ID []string `arg:"" help:"Ids of the projects."`
}

// Run deletes the projects.
func (c *projectRmCmd) Run(a *app) error {
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	return cl.remove(a, c.JSON, c.ID, func(id string) string { return own("projects", id) })
}
