package definition

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// The sections of mnq.yaml that hold definitions. The rest are settings of the server.
const (
	SectionQueues = "queues"
	SectionTopics = "topics"
)

// lineError is what is wrong in a file, and where.
type lineError struct {
	line int
	text string
}

func (e *lineError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.text) }

func wrong(n *yaml.Node, format string, args ...any) error {
	return &lineError{n.Line, fmt.Sprintf(format, args...)}
}

// root is the mapping at the top of a YAML file; nil of an empty one.
func root(raw []byte) (*yaml.Node, error) {
	var doc yaml.Node
	err := yaml.NewDecoder(bytes.NewReader(raw)).Decode(&doc)
	if errors.Is(err, io.EOF) {
		return nil, nil
	}
	if err != nil {
		return nil, errors.New(strings.ReplaceAll(strings.TrimPrefix(err.Error(), "yaml: "), "\n", " "))
	}
	n := doc.Content[0]
	if n.Kind != yaml.MappingNode {
		return nil, wrong(n, "must be a mapping")
	}
	return n, nil
}

// Parse reads the sections queues and topics of an mnq.yaml. An error begins with the line.
func Parse(raw []byte) (*File, error) {
	f := &File{}
	n, err := root(raw)
	if err != nil || n == nil {
		return f, err
	}
	for key, value := range pairs(n) {
		switch key.Value {
		case SectionQueues:
			err = each(value, "queues", func(name, v *yaml.Node) error {
				q, err := parseQueue(name, v)
				f.Queues = append(f.Queues, q)
				return err
			})
		case SectionTopics:
			err = each(value, "topics", func(name, v *yaml.Node) error {
				t, err := parseTopic(name, v)
				f.Topics = append(f.Topics, t)
				return err
			})
		}
		if err != nil {
			return f, err
		}
	}
	return f, nil
}

// pairs are the keys and values of a mapping.
func pairs(n *yaml.Node) func(yield func(key, value *yaml.Node) bool) {
	return func(yield func(key, value *yaml.Node) bool) {
		for i := 0; i+1 < len(n.Content); i += 2 {
			if !yield(n.Content[i], aliased(n.Content[i+1])) {
				return
			}
		}
	}
}

func aliased(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// each goes through a mapping without letting a key stand twice.
func each(n *yaml.Node, what string, f func(key, value *yaml.Node) error) error {
	if isNull(n) {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		return wrong(n, "%s must be a mapping", what)
	}
	seen := map[string]bool{}
	for key, value := range pairs(n) {
		if seen[key.Value] {
			return wrong(key, "%q is there twice", key.Value)
		}
		seen[key.Value] = true
		if err := f(key, value); err != nil {
			return err
		}
	}
	return nil
}

func parseQueue(name, n *yaml.Node) (Queue, error) {
	q := Queue{Name: name.Value, Line: name.Line}
	what := "queue " + name.Value
	return q, each(n, what, func(key, v *yaml.Node) (err error) {
		switch key.Value {
		case "attributes":
			q.Attributes, err = attributes(v, what, QueueAttributes)
		case "tags":
			q.Tags, err = strings1(v, "tags of "+what)
		case "dead-letter":
			q.DeadLetter, err = parseDeadLetter(v, what)
		default:
			err = wrong(key, "%s: unknown key %q; there are attributes, tags and dead-letter", what, key.Value)
		}
		return err
	})
}

func parseDeadLetter(n *yaml.Node, what string) (*DeadLetter, error) {
	d := &DeadLetter{}
	err := each(n, "dead-letter of "+what, func(key, v *yaml.Node) (err error) {
		switch key.Value {
		case "queue":
			d.Queue, err = scalar(v, "queue")
		case "max-receive-count":
			if d.MaxReceiveCount, err = strconv.Atoi(v.Value); err != nil || d.MaxReceiveCount < 1 || d.MaxReceiveCount > 1000 {
				return wrong(v, "max-receive-count must be a number from 1 to 1000, not %q", v.Value)
			}
		default:
			err = wrong(key, "dead-letter of %s: unknown key %q; there are queue and max-receive-count", what, key.Value)
		}
		return err
	})
	if err == nil && (d.Queue == "" || d.MaxReceiveCount == 0) {
		err = wrong(n, "dead-letter of %s needs queue and max-receive-count", what)
	}
	return d, err
}

func parseTopic(name, n *yaml.Node) (Topic, error) {
	t := Topic{Name: name.Value, Line: name.Line}
	what := "topic " + name.Value
	return t, each(n, what, func(key, v *yaml.Node) (err error) {
		switch key.Value {
		case "attributes":
			t.Attributes, err = attributes(v, what, TopicAttributes)
		case "tags":
			t.Tags, err = strings1(v, "tags of "+what)
		case "subscriptions":
			if v.Kind != yaml.SequenceNode {
				return wrong(v, "subscriptions of %s must be a list", what)
			}
			for _, one := range v.Content {
				s, err := parseSubscription(aliased(one), what)
				if err != nil {
					return err
				}
				t.Subscriptions = append(t.Subscriptions, s)
			}
		default:
			err = wrong(key, "%s: unknown key %q; there are attributes, tags and subscriptions", what, key.Value)
		}
		return err
	})
}

func parseSubscription(n *yaml.Node, topic string) (Subscription, error) {
	s := Subscription{Line: n.Line}
	what := "subscription of " + topic
	err := each(n, what, func(key, v *yaml.Node) (err error) {
		switch key.Value {
		case "queue":
			s.Queue, err = scalar(v, "queue")
		case "protocol":
			s.Protocol, err = scalar(v, "protocol")
		case "endpoint":
			s.Endpoint, err = scalar(v, "endpoint")
		case "attributes":
			s.Attributes, err = attributes(v, what, SubscriptionAttributes)
		case "dead-letter-queue":
			s.DeadLetterQueue, err = scalar(v, "dead-letter-queue")
		default:
			err = wrong(key, "%s: unknown key %q; there are queue, protocol, endpoint, attributes and dead-letter-queue", what, key.Value)
		}
		return err
	})
	if err == nil && (s.Queue == "") == (s.Protocol == "" || s.Endpoint == "") {
		err = wrong(n, "%s needs either queue, or protocol and endpoint", what)
	}
	return s, err
}

func scalar(n *yaml.Node, what string) (string, error) {
	if n.Kind != yaml.ScalarNode || n.Value == "" {
		return "", wrong(n, "%s must be a text", what)
	}
	return n.Value, nil
}

func strings1(n *yaml.Node, what string) (map[string]string, error) {
	out := map[string]string{}
	return out, each(n, what, func(key, v *yaml.Node) error {
		if v.Kind != yaml.ScalarNode {
			return wrong(v, "%s: %s must be a single value", what, key.Value)
		}
		out[key.Value] = v.Value
		return nil
	})
}

// attributes reads attributes of known names. What SQS and SNS take as JSON may be written
// as YAML.
func attributes(n *yaml.Node, what string, known []string) (map[string]string, error) {
	out := map[string]string{}
	return out, each(n, "attributes of "+what, func(key, v *yaml.Node) (err error) {
		if !slices.Contains(known, key.Value) {
			return wrong(key, "%s: unknown attribute %q; there are %s", what, key.Value, strings.Join(known, ", "))
		}
		out[key.Value], err = attributeText(v)
		return err
	})
}

func attributeText(n *yaml.Node) (string, error) {
	if n.Kind == yaml.ScalarNode {
		return n.Value, nil
	}
	var v any
	if err := n.Decode(&v); err != nil {
		return "", wrong(n, "%v", err)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return "", wrong(n, "cannot be written as JSON: %v", err)
	}
	return string(raw), nil
}

// YAML writes the file's definitions as mnq.yaml.
func (f *File) YAML() ([]byte, error) {
	type deadLetter struct {
		Queue           string `yaml:"queue"`
		MaxReceiveCount int    `yaml:"max-receive-count"`
	}
	type queue struct {
		Attributes map[string]any    `yaml:"attributes,omitempty"`
		DeadLetter *deadLetter       `yaml:"dead-letter,omitempty"`
		Tags       map[string]string `yaml:"tags,omitempty"`
	}
	type subscription struct {
		Queue           string         `yaml:"queue,omitempty"`
		Protocol        string         `yaml:"protocol,omitempty"`
		Endpoint        string         `yaml:"endpoint,omitempty"`
		Attributes      map[string]any `yaml:"attributes,omitempty"`
		DeadLetterQueue string         `yaml:"dead-letter-queue,omitempty"`
	}
	type topic struct {
		Attributes    map[string]any    `yaml:"attributes,omitempty"`
		Tags          map[string]string `yaml:"tags,omitempty"`
		Subscriptions []subscription    `yaml:"subscriptions,omitempty"`
	}
	out := struct {
		Queues map[string]queue `yaml:"queues,omitempty"`
		Topics map[string]topic `yaml:"topics,omitempty"`
	}{map[string]queue{}, map[string]topic{}}
	for _, q := range f.Queues {
		out.Queues[q.Name] = queue{values(q.Attributes), (*deadLetter)(q.DeadLetter), q.Tags}
	}
	for _, t := range f.Topics {
		o := topic{Attributes: values(t.Attributes), Tags: t.Tags}
		for _, s := range t.Subscriptions {
			o.Subscriptions = append(o.Subscriptions, subscription{s.Queue, s.Protocol, s.Endpoint, values(s.Attributes), s.DeadLetterQueue})
		}
		out.Topics[t.Name] = o
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(out); err != nil {
		return nil, err
	}
	return b.Bytes(), enc.Close()
}

// values writes JSON documents as YAML, and numbers and truth values without quotes.
func values(attributes map[string]string) map[string]any {
	out := map[string]any{}
	for name, text := range attributes {
		out[name] = text
		var v any
		if json.Unmarshal([]byte(text), &v) == nil {
			switch v.(type) {
			case map[string]any, bool:
				out[name] = v
			case float64:
				if n, err := strconv.ParseInt(text, 10, 64); err == nil && strconv.FormatInt(n, 10) == text {
					out[name] = n
				}
			}
		}
	}
	return out
}
