package main

import (
	"maps"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/openmnq/mnq/definition"
)

//go:generate sh -c "go run . config schema > ../../docs/mnq.schema.json"

type configSchemaCmd struct{}

// Run prints the JSON schema of the configuration file, for editors.
func (c *configSchemaCmd) Run(a *app) error {
	properties := definition.Schema()
	maps.Copy(properties, settingsSchema(a.model))
	return printJSON(a.stdout, map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "mnq.yaml",
		"description": "Settings of mnq serve, and queues and topics that it creates with --dev.",
		"type":        "object", "properties": properties, "additionalProperties": false,
	})
}

// settingsSchema is taken from the flags of mnq serve.
func settingsSchema(model *kong.Application) map[string]any {
	out := map[string]any{}
	for _, command := range model.Children {
		if command.Name != "serve" {
			continue
		}
		for _, f := range command.Flags {
			if !isSetting(f) || f.Name == "config" {
				continue
			}
			s := map[string]any{"description": f.Help, "type": "string"}
			switch {
			case f.IsBool():
				s["type"] = "boolean"
			case f.IsCounter(), strings.HasPrefix(f.Target.Kind().String(), "int") && f.Target.Type().String() == "int":
				s["type"] = "integer"
			case f.Enum != "":
				s["enum"] = strings.Split(f.Enum, ",")
			}
			if f.HasDefault && f.Default != "" && s["type"] == "string" {
				s["default"] = f.Default
			}
			out[f.Name] = s
		}
	}
	return out
}
