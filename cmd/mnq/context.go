package main

import (
	"bytes"
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"gopkg.in/yaml.v3"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/atomicfile"
)

// contexts is the file that remembers servers, mode 0600 because it holds keys.
type contexts struct {
	Current  string            `yaml:"current,omitempty"`
	Contexts map[string]target `yaml:"contexts"`
}

func contextsPath(e env) (string, error) {
	dir := e["XDG_CONFIG_HOME"]
	if dir == "" {
		if e["HOME"] == "" {
			return "", usagef("HOME: is not set, so there is no place for contexts")
		}
		dir = filepath.Join(e["HOME"], ".config")
	}
	return filepath.Join(dir, "mnq", "contexts.yaml"), nil
}

func loadContexts(e env) (contexts, error) {
	c := contexts{Contexts: map[string]target{}}
	path, err := contextsPath(e)
	if err != nil {
		return c, err
	}
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, err
	}
	dec := yaml.NewDecoder(bytes.NewReader(raw))
	dec.KnownFields(true)
	if err := dec.Decode(&c); err != nil {
		return c, usagef("%s: %w", path, err)
	}
	if c.Contexts == nil {
		c.Contexts = map[string]target{}
	}
	return c, nil
}

func (c contexts) save(e env) error {
	path, err := contextsPath(e)
	if err != nil {
		return err
	}
	raw, err := yaml.Marshal(c)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return atomicfile.Write(path, raw)
}

type contextCmd struct {
	Add contextAddCmd `cmd:"" help:"Remember the server that the SCW_* variables name, and use it."`
	Use contextUseCmd `cmd:"" help:"Use a remembered server when SCW_API_URL is not set."`
	Ls  contextLsCmd  `cmd:"" help:"List remembered servers."`
	Rm  contextRmCmd  `cmd:"" help:"Forget a server."`
}

type contextAddCmd struct {
	Name string `arg:"" help:"Name of the context."`
}

// Run takes the secret from the environment, never from the command line, which
// other users can read.
func (c *contextAddCmd) Run(a *app) error {
	if a.env["SCW_API_URL"] == "" {
		return usagef("SCW_API_URL: is not set; load admin.env first")
	}
	t, err := (&connection{}).target(a.env)
	if err != nil {
		return err
	}
	all, err := loadContexts(a.env)
	if err != nil {
		return err
	}
	all.Contexts[c.Name] = t
	all.Current = c.Name
	return all.save(a.env)
}

type contextUseCmd struct {
	Name string `arg:"" help:"Name of the context."`
}

// Run makes the context the current one.
func (c *contextUseCmd) Run(a *app) error {
	all, err := loadContexts(a.env)
	if err != nil {
		return err
	}
	if _, ok := all.Contexts[c.Name]; !ok {
		return contextMissing(c.Name)
	}
	all.Current = c.Name
	return all.save(a.env)
}

type contextLsCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Run lists the contexts without their secrets.
func (c *contextLsCmd) Run(a *app) error {
	all, err := loadContexts(a.env)
	if err != nil {
		return err
	}
	type row struct {
		Name    string `json:"name"`
		Current bool   `json:"current"`
		target
	}
	rows := []row{}
	for _, name := range slices.Sorted(maps.Keys(all.Contexts)) {
		rows = append(rows, row{name, name == all.Current, all.Contexts[name]})
	}
	if c.JSON {
		return printJSON(a.stdout, rows)
	}
	t := newTable(a.stdout, "CURRENT", "NAME", "API URL", "REGION", "PROJECT")
	for _, r := range rows {
		mark := ""
		if r.Current {
			mark = "*"
		}
		t.row(cmp.Or(mark, " "), r.Name, r.APIURL, r.Region, r.ProjectID)
	}
	return t.flush()
}

type contextRmCmd struct {
	Name string `arg:"" help:"Name of the context."`
}

// Run forgets the context and its secret.
func (c *contextRmCmd) Run(a *app) error {
	all, err := loadContexts(a.env)
	if err != nil {
		return err
	}
	if _, ok := all.Contexts[c.Name]; !ok {
		return contextMissing(c.Name)
	}
	delete(all.Contexts, c.Name)
	if all.Current == c.Name {
		all.Current = ""
	}
	return all.save(a.env)
}

func contextMissing(name string) error {
	return &mnq.Error{Kind: mnq.NotFound, Op: opClient, Resource: name, Msg: "there is no such context"}
}
