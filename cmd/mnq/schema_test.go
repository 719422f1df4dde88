package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"gopkg.in/yaml.v3"
)

// TestSchema holds docs/mnq.schema.json to the program, and the sample files to it.
func TestSchema(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"config", "schema"}, env{}, streams{strings.NewReader(""), &out, &errs}); code != exitOK {
		t.Fatal(errs.String())
	}
	kept, err := os.ReadFile("../../docs/mnq.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(kept, out.Bytes()) {
		t.Error("docs/mnq.schema.json is old: run make generate")
	}
	doc, err := jsonschema.UnmarshalJSON(&out)
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("mnq.json", doc); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("mnq.json")
	if err != nil {
		t.Fatal(err)
	}
	valid := func(text []byte) error {
		t.Helper()
		var v any
		if err := yaml.Unmarshal(text, &v); err != nil {
			t.Fatal(err)
		}
		return schema.Validate(v)
	}
	for _, name := range []string{"../../deploy/mnq.yaml", "../../definition/testdata/mnq.yaml"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := valid(text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, text := range []string{
		"colour: red", "replicas: many", "fsync: sometimes", "dev: perhaps", "queues: {q: {attributes: {Visibility: 3}}}", "queues: {q: {dead-letter: {queue: d}}}",
		"topics: {t: {subscriptions: [{protocol: http}]}}", "topics: {t: {subscriptions: [{queue: q, protocol: http, endpoint: x}]}}", "queues: {a b: {}}",
	} {
		if valid([]byte(text)) == nil {
			t.Errorf("%q is valid", text)
		}
	}
}
