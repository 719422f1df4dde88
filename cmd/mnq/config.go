package main

import (
	"github.com/openmnq/mnq/internal/service"
	"github.com/openmnq/mnq/server"
)

type configCmd struct {
	Schema configSchemaCmd `cmd:"" help:"Print the JSON schema of the configuration file."`
	Print  configPrintCmd  `cmd:"" help:"Print the settings in force and where each comes from."`
}

type configPrintCmd struct {
	server.Settings `embed:"" group:"settings"`

	JSON bool `name:"json" help:"Print JSON."`
}

// Run prints the settings. The only secret among them is the master key: URLs that
// hold one are refused.
func (c *configPrintCmd) Run(a *app, settings []setting) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if _, err := definitions(&c.Settings); err != nil {
		return err
	}
	forDev(&c.Settings, settings)
	forCluster(&c.Settings, settings)
	if a.env[envMasterKey] != "" {
		settings = append(settings, setting{Name: "master-key", Value: "***", Origin: "env " + envMasterKey})
	}
	if c.JSON {
		return printJSON(a.stdout, settings)
	}
	t := newTable(a.stdout, "SETTING", "VALUE", "ORIGIN")
	for _, s := range settings {
		t.row(s.Name, s.Value, s.Origin)
	}
	return t.flush()
}

type versionCmd struct {
	JSON bool `name:"json" help:"Print JSON."`
}

// Run prints which build this is.
func (c *versionCmd) Run(a *app) error {
	b := service.ReadBuild()
	if c.JSON {
		return printJSON(a.stdout, b)
	}
	return printf(a.stdout, "mnq %s (%s, %s)\n", b.Version, b.Commit, b.Go)
}
