package definition

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"gopkg.in/yaml.v3"
)

// GoAWS reads the queues and topics of an environment of a GoAWS configuration file; an
// empty environment is the one that GoAWS takes, Local, or the only one.
func GoAWS(raw []byte, environment string) (*File, error) {
	top, err := root(raw)
	if err != nil {
		return nil, err
	}
	f := &File{}
	if top == nil {
		return f, nil
	}
	var names []string
	var env *yaml.Node
	for key, v := range pairs(top) {
		names = append(names, key.Value)
		if key.Value == environment || environment == "" && (env == nil || key.Value == "Local") {
			env = v
		}
	}
	if env == nil {
		return nil, fmt.Errorf("there is no environment %q; there are %s", environment, strings.Join(names, ", "))
	}
	if environment == "" && len(names) > 1 {
		f.note(0, "of the environments %s this is the first, or Local; choose with --environment", strings.Join(names, ", "))
	}
	defaults := map[string]string{}
	for key, v := range pairs(env) {
		switch key.Value {
		case "QueueAttributeDefaults":
			for k, d := range pairs(v) {
				f.goawsAttribute(defaults, k, d, "QueueAttributeDefaults")
			}
		case "EnableDuplicates":
			if v.Value == "false" {
				f.note(key.Line, "EnableDuplicates is off there, and FIFO queues here always leave out duplicates within 5 minutes")
			}
		case "RandomLatency":
			f.note(key.Line, "RandomLatency is not carried over")
		}
	}
	for key, v := range pairs(env) {
		switch key.Value {
		case "Queues":
			err = f.goawsQueues(v, defaults)
		case "Topics":
			err = f.goawsTopics(v, defaults)
		}
		if err != nil {
			return nil, err
		}
	}
	return f, nil
}

// goawsAttribute takes an attribute of a queue over, if it is one.
func (f *File) goawsAttribute(into map[string]string, key, v *yaml.Node, what string) {
	if !slices.Contains(QueueAttributes, key.Value) {
		f.note(key.Line, "%s: %s is not carried over", what, key.Value)
		return
	}
	text, err := attributeText(v)
	if err != nil {
		f.note(v.Line, "%s: %s is not carried over: %v", what, key.Value, err)
		return
	}
	into[key.Value] = text
}

func (f *File) goawsQueues(list *yaml.Node, defaults map[string]string) error {
	for _, n := range list.Content {
		n = aliased(n)
		q := Queue{Line: n.Line, Attributes: maps.Clone(defaults)}
		for key, v := range pairs(n) {
			switch key.Value {
			case "Name":
				q.Name = v.Value
			case "RedrivePolicy":
				d, err := redrive(v)
				if err != nil {
					return err
				}
				q.DeadLetter = d
			default:
				f.goawsAttribute(q.Attributes, key, v, "queue "+q.Name)
			}
		}
		if q.Name == "" {
			return wrong(n, "a queue needs a Name")
		}
		f.addQueue(q)
	}
	return nil
}

// redrive reads a RedrivePolicy, which is JSON in a text or YAML.
func redrive(n *yaml.Node) (*DeadLetter, error) {
	text, err := attributeText(n)
	if err != nil {
		return nil, err
	}
	d, err := redriveJSON(text)
	if err != nil {
		return nil, wrong(n, "RedrivePolicy: %v", err)
	}
	return d, nil
}

func redriveJSON(text string) (*DeadLetter, error) {
	var p struct {
		Target string `json:"deadLetterTargetArn"`
		Count  any    `json:"maxReceiveCount"` // a number, or one in a text
	}
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return nil, err
	}
	count, err := strconv.Atoi(fmt.Sprint(p.Count))
	if err != nil || p.Target == "" {
		return nil, fmt.Errorf("needs deadLetterTargetArn and maxReceiveCount, and is %s", text)
	}
	return &DeadLetter{arnName(p.Target), count}, nil
}

func (f *File) goawsTopics(list *yaml.Node, defaults map[string]string) error {
	for _, n := range list.Content {
		n = aliased(n)
		t := Topic{Line: n.Line}
		for key, v := range pairs(n) {
			switch key.Value {
			case "Name":
				t.Name = v.Value
			case "Subscriptions":
				for _, s := range v.Content {
					t.Subscriptions = append(t.Subscriptions, f.goawsSubscription(aliased(s)))
				}
			default:
				f.note(key.Line, "topic %s: %s is not carried over", t.Name, key.Value)
			}
		}
		if t.Name == "" {
			return wrong(n, "a topic needs a Name")
		}
		for _, s := range t.Subscriptions {
			if s.Queue != "" { // GoAWS creates them
				f.addQueue(Queue{Name: s.Queue, Attributes: defaults, Line: s.Line})
			}
		}
		f.addTopic(t)
	}
	return nil
}

func (f *File) goawsSubscription(n *yaml.Node) Subscription {
	s := Subscription{Line: n.Line, Attributes: map[string]string{}}
	for key, v := range pairs(n) {
		switch key.Value {
		case "QueueName":
			s.Queue = v.Value
		case "Protocol":
			s.Protocol = v.Value
		case "EndPoint", "Endpoint":
			s.Endpoint = v.Value
		case "Raw":
			s.Attributes["RawMessageDelivery"] = v.Value
		case "FilterPolicy":
			if text, err := attributeText(v); err == nil {
				s.Attributes["FilterPolicy"] = text
			}
		case "TopicArn":
		default:
			f.note(key.Line, "subscription: %s is not carried over", key.Value)
		}
	}
	if s.Queue != "" {
		s.Protocol, s.Endpoint = "", ""
	}
	return s
}
