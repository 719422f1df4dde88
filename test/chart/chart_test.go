// Package chart renders the Helm chart, with the functions that its templates use, and
// checks what comes out. scripts/release does so with Helm itself, which takes minutes to
// build.
package chart

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	"gopkg.in/yaml.v3"
)

const chart = "../../deploy/helm/mnq"

// render returns the objects that the chart makes with some of its values changed.
func render(t *testing.T, change map[string]any) (map[string]map[string]any, error) {
	t.Helper()
	values := map[string]any{}
	read(t, "values.yaml", &values)
	for name, v := range change {
		if _, ok := values[name]; !ok {
			t.Fatalf("the chart has no value %s", name)
		}
		values[name] = v
	}
	var meta struct {
		Name       string `yaml:"name"`
		AppVersion string `yaml:"appVersion"`
	}
	read(t, "Chart.yaml", &meta)
	all := template.New("")
	functions := sprig.TxtFuncMap()
	functions["toYaml"] = func(v any) (string, error) {
		raw, err := yaml.Marshal(v)
		return strings.TrimSuffix(string(raw), "\n"), err
	}
	functions["include"] = func(name string, data any) (string, error) {
		var b bytes.Buffer
		err := all.ExecuteTemplate(&b, name, data)
		return b.String(), err
	}
	all.Funcs(functions).Option("missingkey=error")
	files, err := filepath.Glob(filepath.Join(chart, "templates", "*"))
	if err != nil {
		t.Fatal(err)
	}
	tests, err := filepath.Glob(filepath.Join(chart, "templates", "tests", "*"))
	if err != nil || len(tests) == 0 {
		t.Fatal("no tests of the chart", err)
	}
	var names []string
	for _, f := range append(files, tests...) {
		if st, err := os.Stat(f); err != nil || st.IsDir() {
			continue
		}
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := all.New(f).Parse(string(text)); err != nil {
			t.Fatal(err)
		}
		names = append(names, f)
	}
	data := map[string]any{
		"Values": values, "Release": map[string]any{"Name": "shop", "Namespace": "mq", "Service": "Helm"},
		"Chart": map[string]any{"Name": meta.Name, "AppVersion": meta.AppVersion},
	}
	objects := map[string]map[string]any{}
	for _, name := range names {
		var b bytes.Buffer
		if err := all.ExecuteTemplate(&b, name, data); err != nil {
			return nil, err
		}
		if filepath.Ext(name) != ".yaml" {
			continue
		}
		for d := yaml.NewDecoder(&b); ; {
			var o map[string]any
			err := d.Decode(&o)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if len(o) > 0 {
				objects[o["kind"].(string)+"/"+at(o, "metadata", "name").(string)] = o
			}
		}
	}
	return objects, nil
}

func read(t *testing.T, name string, into any) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(chart, name))
	if err == nil {
		err = yaml.Unmarshal(raw, into)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// at follows keys and indexes.
func at(v any, path ...any) any {
	for _, p := range path {
		switch p := p.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[p]
		case int:
			l, _ := v.([]any)
			if p >= len(l) {
				return nil
			}
			v = l[p]
		}
	}
	return v
}

// variables are those of the server's container.
func variables(set map[string]any) map[string]string {
	out := map[string]string{}
	list, _ := at(set, "spec", "template", "spec", "containers", 0, "env").([]any)
	for _, e := range list {
		name, _ := at(e, "name").(string)
		value, _ := at(e, "value").(string)
		out[name] = value
	}
	return out
}

func TestOneNode(t *testing.T) {
	t.Parallel()
	objects, err := render(t, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"StatefulSet/shop", "Service/shop", "Service/shop-nodes", "ConfigMap/shop", "Pod/shop-test"} {
		if objects[want] == nil {
			t.Errorf("no %s", want)
		}
	}
	set := objects["StatefulSet/shop"]
	if n := at(set, "spec", "replicas"); n != 1 || objects["PodDisruptionBudget/shop"] != nil || at(set, "spec", "template", "spec", "initContainers") != nil {
		t.Errorf("%v nodes, or what only a cluster has", n)
	}
	env := variables(set)
	if env["MNQ_CLUSTER_NAME"] != "" || env["MNQ_PUBLIC_URL"] != "http://shop.mq.svc:9324" {
		t.Errorf("%v", env)
	}
}

func TestThreeNodes(t *testing.T) {
	t.Parallel()
	objects, err := render(t, map[string]any{"nodes": 3, "clusterSecret": "cluster", "masterKeySecret": "key", "tlsSecret": "tls"})
	if err != nil {
		t.Fatal(err)
	}
	set := objects["StatefulSet/shop"]
	env := variables(set)
	const routes = "shop-0.shop-nodes.mq.svc:6222,shop-1.shop-nodes.mq.svc:6222,shop-2.shop-nodes.mq.svc:6222"
	if env["MNQ_CLUSTER_ROUTES"] != routes || env["MNQ_CLUSTER_NODE"] != "$(POD_NAME)" || env["MNQ_TLS_CERT"] == "" || env["MNQ_PUBLIC_URL"] != "https://shop.mq.svc:9324" {
		t.Errorf("%v", env)
	}
	if n := at(objects["PodDisruptionBudget/shop"], "spec", "maxUnavailable"); n != 1 {
		t.Errorf("%v nodes may be away", n)
	}
	if name := at(set, "spec", "template", "spec", "initContainers", 0, "name"); name != "join" {
		t.Errorf("first comes %v", name)
	}
	for _, kind := range []string{"containers", "initContainers"} {
		if at(set, "spec", "template", "spec", kind, 0, "securityContext", "readOnlyRootFilesystem") != true {
			t.Errorf("%s can write to the image", kind)
		}
	}
}

func TestValuesThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, change := range []map[string]any{{"nodes": 2}, {"nodes": 3}} {
		if _, err := render(t, change); err == nil {
			t.Errorf("%v is rendered", change)
		}
	}
}
