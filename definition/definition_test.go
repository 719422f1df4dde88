package definition_test

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/openmnq/mnq/definition"
	"github.com/openmnq/mnq/mnqtest"
)

var rewrite = flag.Bool("rewrite", false, "write what is found as what is wanted")

func read(t *testing.T, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// samples are files in the formats of each tool, with how they are read.
var samples = map[string]func(raw []byte) (*definition.File, error){
	"mnq.yaml":       definition.Parse,
	"elasticmq.conf": definition.ElasticMQ,
	"goaws.yaml":     func(raw []byte) (*definition.File, error) { return definition.GoAWS(raw, "") },
	"template.yaml": func(raw []byte) (*definition.File, error) {
		return definition.CloudFormation(raw, definition.Values{Parameters: map[string]string{"Team": "shop"}})
	},
	"serverless.yml": func(raw []byte) (*definition.File, error) { return definition.Serverless(raw, definition.Values{}) },
}

var kinds = map[string]definition.Kind{
	"mnq.yaml": definition.KindMNQ, "elasticmq.conf": definition.KindElasticMQ, "goaws.yaml": definition.KindGoAWS,
	"template.yaml": definition.KindCloudFormation, "serverless.yml": definition.KindServerless,
}

// describe is what a file becomes: mnq.yaml, and what is not carried over.
func describe(t *testing.T, f *definition.File) string {
	t.Helper()
	text, err := f.YAML()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.Write(text)
	for _, n := range f.Notes {
		fmt.Fprintln(&b, "# "+n.String())
	}
	return b.String()
}

// plain is a file without what every server has anyway, in one order.
func plain(f *definition.File) *definition.File {
	usual := func(name, value string) bool {
		return name == "MaximumMessageSize" || value == "0" || name == "RawMessageDelivery" && value == "false"
	}
	for _, q := range f.Queues {
		maps.DeleteFunc(q.Attributes, usual)
	}
	for _, t := range f.Topics {
		slices.SortFunc(t.Subscriptions, func(a, b definition.Subscription) int {
			return strings.Compare(a.Queue+a.Endpoint, b.Queue+b.Endpoint)
		})
		for i, s := range t.Subscriptions {
			maps.DeleteFunc(s.Attributes, usual)
			if s.Endpoint != "" { // nobody confirms them, and until then SNS does not tell what they are
				t.Subscriptions[i].Attributes, t.Subscriptions[i].DeadLetterQueue = nil, ""
			}
		}
	}
	return f
}

// TestSamples reads each file, compares with testdata/….want, which -rewrite writes, and
// creates everything on a server, twice.
func TestSamples(t *testing.T) {
	t.Parallel()
	for name, parse := range samples {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw := read(t, name)
			if got := definition.KindOf(name, raw); got != kinds[name] {
				t.Errorf("is taken for %q", got)
			}
			f, err := parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			got := describe(t, f)
			if *rewrite {
				if err := os.WriteFile(filepath.Join("testdata", name+".want"), []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(string(read(t, name+".want")), got); diff != "" {
				t.Error(diff)
			}
			again, err := definition.Parse([]byte(got))
			if err != nil {
				t.Fatalf("what is written cannot be read: %v", err)
			}
			e := definition.NewEndpoint(mnqtest.Start(t).AWS)
			for _, want := range []string{"created", "unchanged"} {
				changes, err := e.Apply(t.Context(), again)
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range changes {
					if c.Done != want {
						t.Errorf("%s: %s, want %s", c.What, c.Done, want)
					}
				}
				if want, got := len(f.Queues)+len(f.Topics), len(changes); got < want {
					t.Errorf("%d changes for %d queues and topics", got, want)
				}
			}
			found, err := e.Read(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(describe(t, plain(again)), describe(t, plain(found))); diff != "" {
				t.Errorf("what is on the server: %s", diff)
			}
		})
	}
}

func TestChangesAreApplied(t *testing.T) {
	t.Parallel()
	e := definition.NewEndpoint(mnqtest.Start(t, mnqtest.Define(string(read(t, "mnq.yaml")))).AWS)
	text := strings.NewReplacer("VisibilityTimeout: 60", "VisibilityTimeout: 90", "max-receive-count: 3", "max-receive-count: 4",
		"DisplayName: News", "DisplayName: Old", "team: shop", "team: office", "[order, return]", "[order]").Replace(string(read(t, "mnq.yaml")))
	f, err := definition.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	changes, err := e.Apply(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"queue orders": "changed", "queue orders-dead": "unchanged", "queue payments.fifo": "unchanged", "topic news": "changed",
		"subscription of news to http http://127.0.0.1:8082/news": "unchanged",
	}
	for _, c := range changes {
		if w := want[c.What]; w != "" && w != c.Done || strings.HasSuffix(c.What, "orders") && c.Done != "changed" {
			t.Errorf("%s: %s", c.What, c.Done)
		}
	}
	found, err := e.Read(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(describe(t, plain(f)), describe(t, plain(found))); diff != "" {
		t.Error(diff)
	}
}

func TestMistakesHaveLines(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"queues:\n  a:\n    attributes:\n      VisibilityTimeot: 3":                   "line 4: queue a: unknown attribute \"VisibilityTimeot\"",
		"queues:\n  a: {}\n  a: {}":                                                   "line 3: \"a\" is there twice",
		"queues:\n  a:\n    dead-letter: {queue: b}":                                  "line 3: dead-letter of queue a needs",
		"queues:\n  a:\n    dead-letter:\n      queue: b\n      max-receive-count: x": "line 5: max-receive-count must be a number",
		"queues: 3":                     "line 1: queues must be a mapping",
		"queues:\n  a:\n    color: red": "line 3: queue a: unknown key \"color\"",
		"topics:\n  t:\n    subscriptions:\n      - endpoint: x": "line 4: subscription of topic t needs either queue",
		"topics:\n  t:\n    subscriptions: 3":                    "line 3: subscriptions of topic t must be a list",
		"- a":                                                    "line 1: must be a mapping",
		"queues: [":                                              "line 1",
	} {
		if _, err := definition.Parse([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	for text, want := range map[string]string{
		"queues {\n  a {\n    delay = x\n  }\n}":                 "line 3: queue a: delay: \"x\" is no duration",
		"queues {\n  a {\n":                                      "line 3: a closing brace is missing",
		"queues {\n  a {\n    deadLettersQueue { name = b }\n}}": "line 3: queue a: deadLettersQueue: needs name and maxReceiveCount",
		"queues {\n a b\n}":                                      "line 2: after the key a",
		"queues {\n a = \"b\n}":                                  "line 2: the text has no end",
		"}":                                                      "line 1: a key is missing",
	} {
		if _, err := definition.ElasticMQ([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	if _, err := definition.GoAWS(read(t, "goaws.yaml"), "Prod"); err == nil || !strings.Contains(err.Error(), "Local, Ci") {
		t.Error(err)
	}
}

// TestRefusalNamesTheDefinition has the server refuse something.
func TestRefusalNamesTheDefinition(t *testing.T) {
	t.Parallel()
	e := definition.NewEndpoint(mnqtest.Start(t).AWS)
	f, err := definition.Parse([]byte("queues:\n  good:\n  bad:\n    attributes: {VisibilityTimeout: -1}\n"))
	if err != nil {
		t.Fatal(err)
	}
	changes, err := e.Apply(t.Context(), f)
	if err == nil || !strings.HasPrefix(err.Error(), "line 3: queue bad: InvalidAttributeValue: ") || len(changes) != 1 {
		t.Errorf("%v %v", changes, err)
	}
	var api interface{ ErrorCode() string }
	if !errors.As(err, &api) {
		t.Errorf("%T says no code", err)
	}
}

func FuzzElasticMQ(f *testing.F) {
	f.Add([]byte("queues { a { delay = 5 seconds, tags { x = \"y\" } } }"))
	f.Add([]byte("queues.a.fifo = true\n\"x\".y : [1, {z = 2}] // c"))
	f.Fuzz(func(t *testing.T, raw []byte) { _, _ = definition.ElasticMQ(raw) })
}

func FuzzYAML(f *testing.F) {
	for name := range samples {
		raw, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		_ = definition.KindOf("x.yaml", raw)
		_, _ = definition.Parse(raw)
		_, _ = definition.GoAWS(raw, "")
		_, _ = definition.CloudFormation(raw, definition.Values{})
		_, _ = definition.Serverless(raw, definition.Values{})
	})
}
