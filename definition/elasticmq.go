package definition

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// ElasticMQ reads the queues of an ElasticMQ configuration file (HOCON).
func ElasticMQ(raw []byte) (*File, error) {
	o, err := parseHocon(string(raw))
	if err != nil {
		return nil, err
	}
	f := &File{}
	for _, key := range o.keys {
		switch key {
		case "include":
			if text := fmt.Sprint(o.values[key]); !strings.Contains(text, "application.conf") {
				f.note(o.lines[key], "%s is not read: queues in it are missing here", text)
			}
		case "queues-storage", "messages-storage":
			if on, _ := o.object(key).values["enabled"].(string); on == "true" {
				f.note(o.lines[key], "%s: messages and queues that it keeps are not in this file; copy them with mnq migrate while ElasticMQ runs", key)
			}
		case "rest-sqs", "node-address":
			f.addressNote(o, key)
		}
	}
	queues := o.object("queues")
	if queues == nil {
		return f, nil
	}
	names := map[string]string{}
	for _, name := range queues.keys {
		names[name] = elasticName(name, queues.object(name))
	}
	for _, name := range queues.keys {
		q, err := f.elasticQueue(names, name, queues)
		if err != nil {
			return nil, err
		}
		f.Queues = append(f.Queues, q)
	}
	for _, q := range f.Queues {
		if d := q.DeadLetter; d != nil && !f.has(d.Queue) {
			f.note(q.Line, "queue %s: its dead-letter queue %s is not in the file; it is created with defaults", q.Name, d.Queue)
			f.addQueue(Queue{Name: d.Queue, Line: q.Line})
		}
	}
	return f, nil
}

func (f *File) has(queue string) bool {
	for _, q := range f.Queues {
		if q.Name == queue {
			return true
		}
	}
	return false
}

func (f *File) addressNote(o *hoconObject, key string) {
	child := o.object(key)
	if child == nil {
		return
	}
	for _, name := range []string{"port", "bind-port"} {
		if port, ok := child.values[name].(string); ok && port != "9324" {
			f.note(child.lines[name], "%s.%s is %s: start the server with --http 127.0.0.1:%s, or tell the clients", key, name, port, port)
		}
	}
}

// elasticName is a queue's name: ElasticMQ adds the suffix of FIFO queues.
func elasticName(name string, o *hoconObject) string {
	if o != nil && o.values["fifo"] == "true" && !isFIFO(name) {
		return name + fifoSuffix
	}
	return name
}

func (f *File) elasticQueue(names map[string]string, name string, queues *hoconObject) (Queue, error) {
	q := Queue{Name: names[name], Line: queues.lines[name], Attributes: map[string]string{}}
	if q.Name != name {
		f.note(q.Line, "queue %s is a FIFO queue and is called %s", name, q.Name)
	}
	o := queues.object(name)
	if o == nil {
		return q, &lineError{q.Line, "queue " + name + " must be an object"}
	}
	for _, key := range o.keys {
		line, text := o.lines[key], fmt.Sprint(o.values[key])
		bad := func(err error) error { return &lineError{line, fmt.Sprintf("queue %s: %s: %v", name, key, err)} }
		switch key {
		case "defaultVisibilityTimeout", "delay", "receiveMessageWait":
			d, err := hoconDuration(text)
			if err != nil {
				return q, bad(err)
			}
			if d%time.Second != 0 {
				f.note(line, "queue %s: %s of %s is rounded up to whole seconds", name, key, text)
			}
			attribute := map[string]string{
				"defaultVisibilityTimeout": "VisibilityTimeout", "delay": "DelaySeconds", "receiveMessageWait": "ReceiveMessageWaitTimeSeconds",
			}[key]
			q.Attributes[attribute] = strconv.Itoa(int(math.Ceil(d.Seconds())))
		case "deadLettersQueue":
			d := o.object(key)
			if d == nil {
				return q, bad(errors.New("must be an object"))
			}
			target, _ := d.values["name"].(string)
			if known := names[target]; known != "" {
				target = known
			}
			count, err := strconv.Atoi(fmt.Sprint(d.values["maxReceiveCount"]))
			if err != nil || target == "" {
				return q, bad(errors.New("needs name and maxReceiveCount"))
			}
			q.DeadLetter = &DeadLetter{target, count}
		case "fifo":
		case "contentBasedDeduplication":
			if text == "true" {
				q.Attributes["ContentBasedDeduplication"] = "true"
			}
		case "tags":
			if tags := o.object(key); tags != nil && len(tags.keys) > 0 {
				q.Tags = map[string]string{}
				for _, k := range tags.keys {
					q.Tags[k] = fmt.Sprint(tags.values[k])
				}
			}
		case "copyTo":
			f.note(line, "queue %s: copyTo %s is not carried over; send to a topic that both queues subscribe to", name, text)
		case "moveTo":
			f.note(line, "queue %s: moveTo %s is not carried over; send to that queue", name, text)
		default:
			f.note(line, "queue %s: %s is not known here", name, key)
		}
	}
	if len(q.Attributes) == 0 {
		q.Attributes = nil
	}
	return q, nil
}

// hoconDuration reads a number with a unit; without one it is milliseconds.
func hoconDuration(text string) (time.Duration, error) {
	number := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyz ")
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%q is no duration", text)
	}
	units := map[string]time.Duration{
		"": time.Millisecond, "ms": time.Millisecond, "milli": time.Millisecond, "millis": time.Millisecond, "millisecond": time.Millisecond,
		"milliseconds": time.Millisecond, "s": time.Second, "second": time.Second, "seconds": time.Second, "m": time.Minute, "minute": time.Minute,
		"minutes": time.Minute, "h": time.Hour, "hour": time.Hour, "hours": time.Hour, "d": 24 * time.Hour, "day": 24 * time.Hour, "days": 24 * time.Hour,
	}
	unit, ok := units[strings.TrimSpace(text[len(number):])]
	if !ok {
		return 0, fmt.Errorf("%q is no duration", text)
	}
	return time.Duration(n * float64(unit)), nil
}
