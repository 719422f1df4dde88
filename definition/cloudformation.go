package definition

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// Values are what a template leaves open.
type Values struct {
	Stack      string            // AWS::StackName; default: "stack"
	Region     string            // AWS::Region
	Parameters map[string]string // of the template, by name; else their defaults
	Stage      string            // of serverless.yml; default: its own, or dev
}

const account = "000000000000" // AWS::AccountId

// CloudFormation reads the queues, topics and subscriptions of a template in YAML or JSON.
func CloudFormation(raw []byte, v Values) (*File, error) {
	top, err := root(raw)
	if err != nil {
		return nil, err
	}
	f := &File{}
	if top == nil {
		return f, nil
	}
	t := newTemplate(f, v)
	for key, n := range pairs(top) {
		switch key.Value {
		case "Parameters":
			t.parameters(n)
		case "Transform":
			f.note(key.Line, "Transform is not applied: resources that it makes are missing here")
		case "Mappings", "Conditions":
			f.note(key.Line, "%s are not evaluated", key.Value)
		}
	}
	for key, n := range pairs(top) {
		if key.Value == "Resources" {
			err = errors.Join(err, t.resources(n))
		}
	}
	return f, err
}

// template is what the functions of a template refer to.
type template struct {
	f         *File
	values    map[string]string            // parameters and pseudo parameters
	arns      map[string]string            // of resources, by logical name
	names     map[string]string            // of resources, by logical name
	variable  func(string) (string, error) // ${…} that are not of CloudFormation; nil: there are none
	resource  []resource
	elsewhere map[string]int // resources of other kinds
}

type resource struct {
	id, kind   string
	line       int
	properties *yaml.Node
}

func newTemplate(f *File, v Values) *template {
	region := cmp.Or(v.Region, "us-east-1")
	t := &template{
		f: f, arns: map[string]string{}, names: map[string]string{}, elsewhere: map[string]int{},
		values: map[string]string{
			"AWS::Region": region, "AWS::AccountId": account, "AWS::Partition": "aws", "AWS::StackName": cmp.Or(v.Stack, "stack"),
			"AWS::URLSuffix": "amazonaws.com",
		},
	}
	maps.Copy(t.values, v.Parameters)
	return t
}

func (t *template) parameters(n *yaml.Node) {
	for name, p := range pairs(n) {
		if _, given := t.values[name.Value]; given {
			continue
		}
		for key, v := range pairs(p) {
			if key.Value == "Default" {
				t.values[name.Value] = v.Value
			}
		}
	}
}

// openError is a value that cannot be known from the file alone.
type openError struct{ text string }

func (e openError) Error() string { return e.text }

func open(format string, args ...any) error { return openError{fmt.Sprintf(format, args...)} }

// function returns the name of an intrinsic function and its argument, from the short and
// the long form.
func function(n *yaml.Node) (name string, argument *yaml.Node) {
	if tag := n.Tag; strings.HasPrefix(tag, "!") && !strings.HasPrefix(tag, "!!") {
		bare := *n
		bare.Tag = ""
		if n.Kind == yaml.ScalarNode {
			bare.Tag = "!!str"
		}
		return strings.TrimPrefix(tag, "!"), &bare
	}
	if n.Kind == yaml.MappingNode && len(n.Content) == 2 {
		key := n.Content[0].Value
		if short, ok := strings.CutPrefix(key, "Fn::"); ok || key == "Ref" || key == "Condition" {
			return cmp.Or(short, key), aliased(n.Content[1])
		}
	}
	return "", nil
}

// eval is the value of a node: string, bool, number, nil, []any or map[string]any.
func (t *template) eval(n *yaml.Node) (any, error) {
	n = aliased(n)
	if name, argument := function(n); name != "" {
		return t.call(name, argument)
	}
	switch n.Kind {
	case yaml.MappingNode:
		out := map[string]any{}
		for key, v := range pairs(n) {
			value, err := t.eval(v)
			if err != nil {
				return nil, err
			}
			out[key.Value] = value
		}
		return out, nil
	case yaml.SequenceNode:
		out := []any{}
		for _, v := range n.Content {
			value, err := t.eval(v)
			if err != nil {
				return nil, err
			}
			out = append(out, value)
		}
		return out, nil
	default:
		if n.Tag == "!!str" {
			return t.expand(n.Value)
		}
		var v any
		err := n.Decode(&v)
		return v, err
	}
}

func (t *template) call(name string, n *yaml.Node) (any, error) {
	switch name {
	case "Ref":
		return t.ref(n.Value)
	case "GetAtt":
		id, attribute, _ := strings.Cut(n.Value, ".")
		if n.Kind == yaml.SequenceNode && len(n.Content) == 2 {
			id, attribute = n.Content[0].Value, n.Content[1].Value
		}
		return t.attribute(id, attribute)
	case "Sub":
		return t.sub(n)
	case "Join":
		v, err := t.eval(n)
		if err != nil {
			return nil, err
		}
		if list, ok := v.([]any); ok && len(list) == 2 {
			if parts, ok := list[1].([]any); ok {
				var words []string
				for _, p := range parts {
					words = append(words, fmt.Sprint(p))
				}
				return strings.Join(words, fmt.Sprint(list[0])), nil
			}
		}
	}
	return nil, open("the function %s is not evaluated", name)
}

func (t *template) ref(name string) (any, error) {
	if v, ok := t.values[name]; ok {
		return v, nil
	}
	if arn, ok := t.arns[name]; ok { // a queue's Ref is its URL, which is not known yet; the name in both is the same
		return arn, nil
	}
	return nil, open("%s has no value; give it with --parameter %s=…", name, name)
}

func (t *template) attribute(id, attribute string) (any, error) {
	arn, ok := t.arns[id]
	if !ok {
		return nil, open("%s is no queue or topic of the file", id)
	}
	switch attribute {
	case "Arn", "TopicArn":
		return arn, nil
	case "QueueName", "TopicName":
		return t.names[id], nil
	}
	return nil, open("%s.%s is not known", id, attribute)
}

var placeholder = regexp.MustCompile(`\$\{([^}]*)\}`)

func (t *template) sub(n *yaml.Node) (any, error) {
	text, local := n.Value, map[string]string{}
	if n.Kind == yaml.SequenceNode && len(n.Content) == 2 {
		text = n.Content[0].Value
		for key, v := range pairs(aliased(n.Content[1])) {
			value, err := t.eval(v)
			if err != nil {
				return nil, err
			}
			local[key.Value] = fmt.Sprint(value)
		}
	}
	return replace(text, func(name string) (string, error) {
		if literal, ok := strings.CutPrefix(name, "!"); ok {
			return "${" + literal + "}", nil
		}
		if v, ok := local[name]; ok {
			return v, nil
		}
		if t.variable != nil && !strings.HasPrefix(name, "AWS::") {
			if v, err := t.variable(name); err == nil {
				return v, nil
			}
		}
		if id, attribute, ok := strings.Cut(name, "."); ok {
			v, err := t.attribute(id, attribute)
			return fmt.Sprint(v), err
		}
		v, err := t.ref(name)
		return fmt.Sprint(v), err
	})
}

// expand puts the variables of the Serverless Framework into a text.
func (t *template) expand(text string) (any, error) {
	if t.variable == nil {
		return text, nil
	}
	return replace(text, t.variable)
}

// replace puts values in the places of ${…}, from the inside out.
func replace(text string, value func(string) (string, error)) (string, error) {
	var failed error
	out := placeholder.ReplaceAllStringFunc(text, func(m string) string {
		v, err := value(m[2 : len(m)-1])
		if failed == nil {
			failed = err
		}
		return v
	})
	return out, failed
}

// resources names all resources first, because they refer to each other in any order.
func (t *template) resources(n *yaml.Node) error {
	for id, r := range pairs(n) {
		one := resource{id: id.Value, line: id.Line, properties: &yaml.Node{Kind: yaml.MappingNode}}
		for key, v := range pairs(r) {
			switch key.Value {
			case "Type":
				one.kind = v.Value
			case "Properties":
				one.properties = v
			case "Condition":
				t.f.note(key.Line, "%s has the condition %s and is created anyway", one.id, v.Value)
			}
		}
		if err := t.nameOf(one); err != nil {
			return err
		}
		t.resource = append(t.resource, one)
	}
	for _, late := range []bool{false, true} { // subscriptions need their topics
		for _, r := range t.resource {
			if (r.kind == "AWS::SNS::Subscription") == late {
				t.add(r)
			}
		}
	}
	t.elsewhereNote()
	return nil
}

func (t *template) elsewhereNote() {
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(t.elsewhere)) {
		kinds = append(kinds, fmt.Sprintf("%d %s", t.elsewhere[kind], kind))
	}
	if len(kinds) > 0 {
		t.f.note(0, "other resources are not carried over: %s", strings.Join(kinds, ", "))
	}
}

func (t *template) nameOf(r resource) error {
	var service, property string
	switch r.kind {
	case "AWS::SQS::Queue":
		service, property = "sqs", "QueueName"
	case "AWS::SNS::Topic":
		service, property = "sns", "TopicName"
	default:
		return nil
	}
	name := ""
	p := r.property(property)
	if p != nil {
		v, err := t.eval(p)
		if err != nil {
			return wrong(p, "%s of %s: %v", property, r.id, err)
		}
		name = fmt.Sprint(v)
	}
	if name == "" {
		name = r.id
		for _, fifo := range []string{"FifoQueue", "FifoTopic"} {
			if f := r.property(fifo); f != nil && f.Value == "true" {
				name += fifoSuffix
			}
		}
		t.f.note(r.line, "%s has no %s, for which CloudFormation makes one up; here it is called %s", r.id, property, name)
	}
	t.names[r.id] = name
	t.arns[r.id] = "arn:aws:" + service + ":" + t.values["AWS::Region"] + ":" + account + ":" + name
	return nil
}

func (r resource) property(name string) *yaml.Node {
	for key, v := range pairs(r.properties) {
		if key.Value == name {
			return v
		}
	}
	return nil
}

func (t *template) add(r resource) {
	switch r.kind {
	case "AWS::SQS::Queue":
		t.queue(r)
	case "AWS::SNS::Topic":
		t.topic(r)
	case "AWS::SNS::Subscription":
		t.subscription(r)
	case "AWS::SQS::QueuePolicy", "AWS::SQS::QueueInlinePolicy", "AWS::SNS::TopicPolicy", "AWS::SNS::TopicInlinePolicy":
		t.f.note(r.line, "%s (%s) is not carried over: it names accounts of AWS; within a namespace topics reach queues without one", r.id, r.kind)
	default:
		t.elsewhere[r.kind]++
	}
}

// text is a property as SQS and SNS take it: a text, or JSON.
func (t *template) text(n *yaml.Node) (string, error) {
	v, err := t.eval(n)
	if err != nil {
		return "", err
	}
	switch v := v.(type) {
	case string:
		return v, nil
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), nil
	case map[string]any, []any:
		raw, err := json.Marshal(v)
		return string(raw), err
	}
	return fmt.Sprint(v), nil
}

// take evaluates a property and reports whether it has a value; when it has none, that is
// noted.
func (t *template) take(r resource, key, n *yaml.Node) (string, bool) {
	text, err := t.text(n)
	if err != nil {
		t.f.note(key.Line, "%s: %s is not carried over: %v", r.id, key.Value, err)
		return "", false
	}
	return text, true
}

func (t *template) queue(r resource) {
	q := Queue{Name: t.names[r.id], Line: r.line, Attributes: map[string]string{}}
	for key, n := range pairs(r.properties) {
		switch {
		case key.Value == "QueueName", key.Value == "FifoQueue":
		case key.Value == "Tags":
			q.Tags = t.tags(r, key, n)
		case strings.HasPrefix(key.Value, "Kms"):
			t.f.note(key.Line, "%s: %s is not carried over: it names a key of AWS", r.id, key.Value)
		case key.Value == "RedrivePolicy":
			if text, ok := t.take(r, key, n); ok {
				d, err := redriveJSON(text)
				if err != nil {
					t.f.note(key.Line, "%s: RedrivePolicy is not carried over: %v", r.id, err)
					continue
				}
				q.DeadLetter = d
			}
		case slices.Contains(QueueAttributes, key.Value):
			if text, ok := t.take(r, key, n); ok {
				q.Attributes[key.Value] = text
			}
		default:
			t.f.note(key.Line, "%s: %s is not carried over", r.id, key.Value)
		}
	}
	t.f.addQueue(q)
}

func (t *template) tags(r resource, key, n *yaml.Node) map[string]string {
	out := map[string]string{}
	v, err := t.eval(n)
	list, ok := v.([]any)
	if err != nil || !ok {
		t.f.note(key.Line, "%s: Tags are not carried over", r.id)
		return nil
	}
	for _, one := range list {
		if tag, ok := one.(map[string]any); ok {
			out[fmt.Sprint(tag["Key"])] = fmt.Sprint(tag["Value"])
		}
	}
	return out
}

func (t *template) topic(r resource) {
	topic := Topic{Name: t.names[r.id], Line: r.line, Attributes: map[string]string{}}
	for key, n := range pairs(r.properties) {
		switch {
		case key.Value == "TopicName", key.Value == "FifoTopic":
		case key.Value == "Tags":
			topic.Tags = t.tags(r, key, n)
		case key.Value == "Subscription":
			for _, one := range n.Content {
				s := resource{id: r.id, line: one.Line, properties: aliased(one)}
				if sub, ok := t.subscriptionOf(s); ok {
					topic.Subscriptions = append(topic.Subscriptions, sub)
				}
			}
		case slices.Contains(TopicAttributes, key.Value) && !strings.HasPrefix(key.Value, "Kms"):
			if text, ok := t.take(r, key, n); ok {
				topic.Attributes[key.Value] = text
			}
		default:
			t.f.note(key.Line, "%s: %s is not carried over", r.id, key.Value)
		}
	}
	t.f.addTopic(topic)
}

func (t *template) subscription(r resource) {
	target := r.property("TopicArn")
	if target == nil {
		t.f.note(r.line, "%s is not carried over: it has no TopicArn", r.id)
		return
	}
	arn, err := t.text(target)
	i := slices.IndexFunc(t.f.Topics, func(have Topic) bool { return have.Name == arnName(arn) })
	if err != nil || i < 0 {
		t.f.note(r.line, "%s is not carried over: its topic is not in the file", r.id)
		return
	}
	if s, ok := t.subscriptionOf(r); ok {
		t.f.Topics[i].Subscriptions = append(t.f.Topics[i].Subscriptions, s)
	}
}

func (t *template) subscriptionOf(r resource) (Subscription, bool) {
	s := Subscription{Line: r.line, Attributes: map[string]string{}}
	for key, n := range pairs(r.properties) {
		switch {
		case key.Value == "TopicArn":
		case key.Value == "Protocol", key.Value == "Endpoint", key.Value == "RedrivePolicy", slices.Contains(SubscriptionAttributes, key.Value):
			text, ok := t.take(r, key, n)
			if !ok && key.Value == "Endpoint" {
				return s, false
			}
			switch key.Value {
			case "Protocol":
				s.Protocol = text
			case "Endpoint":
				s.Endpoint = text
			case "RedrivePolicy":
				var p struct{ DeadLetterTargetArn string }
				if json.Unmarshal([]byte(text), &p) == nil && p.DeadLetterTargetArn != "" {
					s.DeadLetterQueue = arnName(p.DeadLetterTargetArn)
				}
			default:
				if ok {
					s.Attributes[key.Value] = text
				}
			}
		default:
			t.f.note(key.Line, "%s: %s is not carried over", r.id, key.Value)
		}
	}
	switch s.Protocol {
	case "sqs":
		s.Queue, s.Protocol, s.Endpoint = arnName(s.Endpoint), "", ""
	case "http", "https":
	default:
		t.f.note(r.line, "%s: a subscription of protocol %s is not carried over", r.id, s.Protocol)
		return s, false
	}
	return s, true
}
