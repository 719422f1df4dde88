package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"gopkg.in/yaml.v3"

	"github.com/openmnq/mnq/definition"
	"github.com/openmnq/mnq/server"
)

// maxConfigFile bounds the configuration file.
const maxConfigFile = 1 << 20

// envName is the environment twin of a flag.
func envName(flag string) string {
	return "MNQ_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// isSetting tells the server's settings from the flags of client commands.
func isSetting(f *kong.Flag) bool {
	return f.Tag != nil && f.Target.IsValid() && f.Group != nil && f.Group.Key == settingsGroup
}

const settingsGroup = "settings"

// describeFlag adds the environment twin to a setting's help.
func describeFlag(v *kong.Value) string {
	if v.Flag != nil && isSetting(v.Flag) {
		return strings.TrimSpace(v.Help + " ($" + envName(v.Name) + ")")
	}
	return v.Help
}

// resolver gives the settings their values from the environment and the
// configuration file, and remembers where each came from.
type resolver struct {
	env    env
	from   map[string]string // flag name → origin
	loaded bool
	file   string
	values map[string]string
	err    error // the first problem with the file
}

func newResolver(e env) *resolver { return &resolver{env: e, from: map[string]string{}} }

// Validate implements [kong.Resolver].
func (r *resolver) Validate(*kong.Application) error { return nil }

// Resolve implements [kong.Resolver] for flags that are not on the command line.
func (r *resolver) Resolve(ctx *kong.Context, _ *kong.Path, f *kong.Flag) (any, error) {
	if !isSetting(f) {
		return nil, nil
	}
	if value, ok := r.env[envName(f.Name)]; ok {
		r.from[f.Name] = "env " + envName(f.Name)
		return value, nil
	}
	if err := r.load(ctx); err != nil {
		r.err = err
		return nil, err
	}
	if value, ok := r.values[f.Name]; ok {
		r.from[f.Name] = "file " + r.file
		return value, nil
	}
	return nil, nil
}

// load reads the configuration file on first use.
func (r *resolver) load(ctx *kong.Context) error {
	if r.loaded {
		return r.err
	}
	r.loaded = true
	r.file = r.env[envName("config")]
	known := map[string]bool{}
	for _, f := range ctx.Flags() {
		if isSetting(f) {
			known[f.Name] = true
		}
		if name, ok := ctx.FlagValue(f).(string); ok && f.Name == "config" && name != "" {
			r.file = name
		}
	}
	if r.file == "" {
		return nil
	}
	delete(known, "config")
	var err error
	r.values, err = readConfig(r.file, known)
	return err
}

// readBoundedFile reads a file of at most maxConfigFile bytes.
func readBoundedFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxConfigFile+1))
	if err == nil && len(raw) > maxConfigFile {
		err = fmt.Errorf("%s: is larger than 1 MiB", name)
	}
	return raw, err
}

// definitions are the queues and topics in the configuration file; nil without any.
func definitions(s *server.Settings) (*definition.File, error) {
	if s.Config == "" {
		return nil, nil
	}
	raw, err := readBoundedFile(s.Config)
	if err != nil {
		return nil, usagef("--config: %w", err)
	}
	f, err := definition.Parse(raw)
	switch {
	case err != nil:
		return nil, usagef("--config: %s: %w", s.Config, err)
	case f.Empty():
		return nil, nil
	case !s.Dev:
		return nil, usagef("--config: %s: queues and topics in it need --dev; for other servers there is mnq import %s", s.Config, s.Config)
	}
	return f, nil
}

func readConfig(name string, known map[string]bool) (map[string]string, error) {
	fail := func(format string, args ...any) error {
		return fmt.Errorf("--config: %s: %s", name, fmt.Sprintf(format, args...))
	}
	raw, err := readBoundedFile(name)
	if err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	nodes := map[string]yaml.Node{}
	if err := yaml.NewDecoder(bytes.NewReader(raw)).Decode(&nodes); err != nil && !errors.Is(err, io.EOF) {
		return nil, fail("%s", strings.ReplaceAll(err.Error(), "\n", " "))
	}
	values := map[string]string{}
	for _, key := range slices.Sorted(maps.Keys(nodes)) {
		node := nodes[key]
		switch {
		case key == definition.SectionQueues, key == definition.SectionTopics: // read by definitions
		case !known[key]:
			return nil, fail("line %d: unknown setting %q", node.Line, key)
		case node.Kind != yaml.ScalarNode:
			return nil, fail("line %d: %s must be a single value", node.Line, key)
		case node.Tag != "!!null":
			values[key] = node.Value
		}
	}
	return values, nil
}

// setting is one row of mnq config print.
type setting struct {
	Name   string `json:"setting"`
	Value  string `json:"value"`
	Origin string `json:"origin"`
}

// origins lists the settings of the selected command with where they came from.
func (r *resolver) origins(ctx *kong.Context) []setting {
	onLine := map[string]bool{}
	for _, p := range ctx.Path {
		if p.Flag != nil && !p.Resolved {
			onLine[p.Flag.Name] = true
		}
	}
	var out []setting
	for _, f := range ctx.Flags() {
		if !isSetting(f) {
			continue
		}
		s := setting{Name: f.Name, Value: fmt.Sprint(f.Target.Interface()), Origin: "default"}
		if from := r.from[f.Name]; from != "" {
			s.Origin = from
		}
		if onLine[f.Name] {
			s.Origin = "flag"
		}
		out = append(out, s)
	}
	return out
}
