package console

import (
	"net/url"
	"strings"
	"time"
)

// apiKey is what the control plane says of one.
type apiKey struct {
	AccessKey  string     `json:"access_key"`
	Name       string     `json:"name"`
	ProjectID  *string    `json:"project_id"`
	ReadOnly   bool       `json:"read_only"`
	CreatedAt  *time.Time `json:"created_at"`
	LastUsedAt *time.Time `json:"last_used_at"`
	SecretKey  string     `json:"secret_key"`
}

// Access is what it may do.
func (k apiKey) Access() string { return access(k.ReadOnly) }

func access(readOnly bool) string {
	if readOnly {
		return "read-only"
	}
	return "full"
}

type user struct {
	Name       string     `json:"name"`
	ProjectID  *string    `json:"project_id"`
	ReadOnly   bool       `json:"read_only"`
	CreatedAt  *time.Time `json:"created_at"`
	PasswordAt *time.Time `json:"password_at"`
}

// Access is what the user may do.
func (u user) Access() string { return access(u.ReadOnly) }

// admin is the page of projects, API keys and users.
type admin struct {
	paging

	Tab      string
	Projects []projectRow
	Keys     []apiKey
	Users    []user
	Names    map[string]string
	Choice   []project
	Made     *apiKey // the new key, whose secret is shown once
	MadeCLI  string
	Form     url.Values
}

// In is the name of a project; nil are all of them.
func (a admin) In(id *string) string {
	if id == nil {
		return "all projects"
	}
	if name := a.Names[*id]; name != "" {
		return name
	}
	return *id
}

type projectRow struct {
	project

	CreatedAt *time.Time `json:"created_at"`
}

func (p *page) showAdmin(tab string, made *apiKey, cli string) error {
	out := admin{paging: p.paging(), Tab: tab, Made: made, MadeCLI: cli, Names: map[string]string{}, Form: p.r.PostForm}
	if out.Form == nil {
		out.Form = url.Values{}
	}
	var err error
	if out.Choice, err = p.projects(); err != nil {
		return err
	}
	for _, pr := range out.Choice {
		out.Names[pr.ID] = pr.Name
	}
	var list struct {
		Projects   []projectRow `json:"projects"`
		APIKeys    []apiKey     `json:"api_keys"`
		Users      []user       `json:"users"`
		TotalCount int          `json:"total_count"`
	}
	if err := p.get(own(map[string]string{"projects": "projects", "keys": "api-keys", "users": "users"}[tab]), out.query(), &list); err != nil {
		return err
	}
	out.Projects, out.Keys, out.Users, out.Total = list.Projects, list.APIKeys, list.Users, list.TotalCount
	return p.show("admin", "Admin", out)
}

func (p *page) adminProjects() error { return p.showAdmin("projects", nil, "") }
func (p *page) adminKeys() error     { return p.showAdmin("keys", nil, "") }
func (p *page) adminUsers() error    { return p.showAdmin("users", nil, "") }

func (p *page) createProject() error {
	name := strings.TrimSpace(p.form("name"))
	err := p.post(own("projects"), map[string]any{"name": name}, nil)
	if p.refused(err) {
		return p.showAdmin("projects", nil, "")
	}
	if err != nil {
		return err
	}
	p.notify("The project "+name+" is ready.", command("project", "create", name))
	return p.redirect("admin", "projects")
}

// inProject adds the project of the form to what is asked for.
func (p *page) inProject(in map[string]any, words []string) []string {
	in["read_only"] = p.form("read_only") != ""
	if p.form("read_only") != "" {
		words = append(words, "--read-only")
	}
	if id := p.form("project_id"); id != "" {
		in["project_id"] = id
		words = append(words, "--project-id", id)
	}
	return words
}

func (p *page) createKey() error {
	in := map[string]any{"name": strings.TrimSpace(p.form("name"))}
	words := p.inProject(in, []string{"key", "create", strings.TrimSpace(p.form("name"))})
	var made apiKey
	err := p.post(own("api-keys"), in, &made)
	if p.refused(err) {
		return p.showAdmin("keys", nil, "")
	}
	if err != nil {
		return err
	}
	return p.showAdmin("keys", &made, command(words...))
}

func (p *page) createUser() error {
	in := map[string]any{"name": strings.TrimSpace(p.form("name")), "password": p.form("password")}
	words := p.inProject(in, []string{"user", "create", strings.TrimSpace(p.form("name"))})
	err := p.post(own("users"), in, nil)
	if p.refused(err) {
		return p.showAdmin("users", nil, "")
	}
	if err != nil {
		return err
	}
	p.notify("The user can sign in now.", command(words...))
	return p.redirect("admin", "users")
}

func (p *page) setPassword() error {
	name := p.r.PathValue("name")
	err := p.call("PUT", own("users", name, "password"), map[string]any{"password": p.form("password")}, nil)
	if p.refused(err) {
		return p.showAdmin("users", nil, "")
	}
	if err != nil {
		return err
	}
	p.notify("The password of "+name+" is replaced, and its sessions are over.", command("user", "password", name))
	return p.redirect("admin", "users")
}

// deleteAdmin deletes a project, an API key or a user.
func (p *page) deleteAdmin() error {
	kind, name := p.r.PathValue("kind"), p.r.PathValue("name")
	what := map[string]struct{ path, noun, word string }{
		"projects": {"projects", "project", "project"}, "keys": {"api-keys", "API key", "key"}, "users": {"users", "user", "user"},
	}[kind]
	if what.path == "" {
		return &problem{Status: 404, Message: "There is no such page."}
	}
	err := p.delete(own(what.path, name))
	if p.refused(err) {
		return p.showAdmin(kind, nil, "")
	}
	if err != nil {
		return err
	}
	p.notify("The "+what.noun+" "+name+" is deleted.", command(what.word, "rm", name))
	return p.redirect("admin", kind)
}
