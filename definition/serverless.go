package definition

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

// Serverless reads the resources of a serverless.yml, and the topics that its functions
// listen to, which the Serverless Framework creates.
func Serverless(raw []byte, v Values) (*File, error) {
	top, err := root(raw)
	if err != nil {
		return nil, err
	}
	f := &File{}
	if top == nil {
		return f, nil
	}
	s := &serverless{top: top, stage: v.Stage}
	service := s.text("service")
	if s.stage == "" {
		text, err := replace(s.text("provider.stage"), s.variable)
		if err != nil || text == "" {
			text = "dev"
		}
		s.stage = text
	}
	v.Region = cmp.Or(v.Region, s.text("provider.region"))
	if strings.Contains(v.Region, "$") {
		v.Region, _ = replace(v.Region, s.variable) // else the default
	}
	v.Stack = cmp.Or(v.Stack, service+"-"+s.stage)
	t := newTemplate(f, v)
	t.variable = s.variable
	for _, part := range s.resources() {
		for key, n := range pairs(part) {
			switch key.Value {
			case "Resources":
				err = errors.Join(err, t.resources(n))
			case "Parameters":
				t.parameters(n)
			}
		}
	}
	if err != nil {
		return nil, err
	}
	if n := s.find("functions"); n != nil {
		for name, function := range pairs(n) {
			t.events(name.Value, function)
		}
	}
	return f, nil
}

type serverless struct {
	top   *yaml.Node
	stage string
	depth int
}

// resources are the templates: one, or a list of them.
func (s *serverless) resources() []*yaml.Node {
	n := s.find("resources")
	switch {
	case n == nil:
		return nil
	case n.Kind == yaml.SequenceNode:
		var all []*yaml.Node
		for _, one := range n.Content {
			all = append(all, aliased(one))
		}
		return all
	}
	return []*yaml.Node{n}
}

// find follows a path of keys.
func (s *serverless) find(path string) *yaml.Node {
	n := s.top
	for key := range strings.SplitSeq(path, ".") {
		var next *yaml.Node
		for k, v := range pairs(n) {
			if k.Value == key {
				next = v
			}
		}
		if next == nil {
			return nil
		}
		n = next
	}
	return n
}

func (s *serverless) text(path string) string {
	if n := s.find(path); n != nil && n.Kind == yaml.ScalarNode {
		return n.Value
	}
	return ""
}

// maxVariables bounds variables whose values are variables.
const maxVariables = 16

// variable is the value of ${name}, which may give a default after a comma.
func (s *serverless) variable(name string) (string, error) {
	source, fallback, hasDefault := strings.Cut(name, ",")
	source, fallback = strings.TrimSpace(source), strings.Trim(strings.TrimSpace(fallback), `'"`)
	if s.depth++; s.depth > maxVariables {
		s.depth = 0
		return "", open("${%s} refers to itself", name)
	}
	defer func() { s.depth = max(0, s.depth-1) }()
	switch kind, path, _ := strings.Cut(source, ":"); kind {
	case "sls":
		if path == "stage" {
			return s.stage, nil
		}
	case "opt":
		if path == "stage" {
			if stage := cmp.Or(s.stage, fallback); stage != "" {
				return stage, nil
			}
		}
	case "self", "":
		if path == "service.name" {
			path = "service"
		}
		if path == "provider.stage" && s.stage != "" {
			return s.stage, nil
		}
		if text := s.text(path); text != "" {
			return replace(text, s.variable)
		}
	}
	if hasDefault {
		return fallback, nil
	}
	return "", open("${%s} has no value here", name)
}

// events are what a function listens to.
func (t *template) events(function string, n *yaml.Node) {
	for key, list := range pairs(n) {
		if key.Value != "events" {
			continue
		}
		for _, event := range list.Content {
			for kind, what := range pairs(aliased(event)) {
				switch kind.Value {
				case "sns":
					t.topicEvent(function, what)
				case "sqs":
					t.f.note(kind.Line, "function %s: receiving from its queue is not carried over; run a worker", function)
				}
			}
		}
	}
}

// topicEvent makes the topic that an event names, as the framework does; one that it
// refers to by ARN is there already.
func (t *template) topicEvent(function string, n *yaml.Node) {
	name := n
	if n.Kind == yaml.MappingNode {
		name = nil
		for key, v := range pairs(n) {
			if key.Value == "topicName" {
				name = v
			}
		}
	}
	what := "its topic"
	if name != nil {
		if v, err := t.eval(name); err == nil {
			what = "the topic " + arnName(fmt.Sprint(v))
			if text := fmt.Sprint(v); !strings.HasPrefix(text, "arn:") {
				t.f.addTopic(Topic{Name: text, Line: n.Line})
			}
		}
	}
	t.f.note(n.Line, "function %s: its subscription to %s is not carried over; subscribe an address with protocol lambda", function, what)
}
