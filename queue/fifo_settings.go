package queue

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/openmnq/mnq"
)

// Attributes that only FIFO queues have.
const (
	attrFifo       = "FifoQueue"
	attrContent    = "ContentBasedDeduplication"
	attrScope      = "DeduplicationScope"
	attrThroughput = "FifoThroughputLimit"

	scopeQueue, scopeGroup   = "queue", "messageGroup"
	limitQueue, limitByGroup = "perQueue", "perMessageGroupId"
)

// choices are the FIFO attributes with their values, the default first.
var choices = map[string][]string{
	attrFifo:       {"true", "false"},
	attrContent:    {"false", "true"},
	attrScope:      {scopeQueue, scopeGroup},
	attrThroughput: {limitQueue, limitByGroup},
}

const fifoSuffix = ".fifo"

func (s settings) fifo() bool { return s[attrFifo] == "true" }

// newSettings returns what a queue of that name is created with. Name and
// attributes must agree on whether it is a FIFO queue.
func newSettings(name string, attrs map[string]string, q mnq.Quota) (settings, error) {
	fifo, err := checkName(name, attrs)
	if err != nil {
		return nil, err
	}
	s := defaultSettings(q)
	if fifo {
		for name, values := range choices {
			s[name] = values[0]
		}
	}
	return s.change(attrs, q)
}

// change returns s changed by attrs, those of FIFO queues included. Nothing is
// changed when one of them is wrong.
func (s settings) change(attrs map[string]string, q mnq.Quota) (settings, error) {
	out, rest := maps.Clone(s), map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		v := attrs[name]
		values, ok := choices[name]
		switch {
		case !ok:
			rest[name] = v
		case !s.fifo():
			return nil, invalid("InvalidAttributeName", name, notOnStandard(name))
		case name == attrFifo && v == "false":
			return nil, invalid("InvalidAttributeValue", name, "Invalid value for the parameter FifoQueue. Reason: Modifying queue type is not supported.")
		case !slices.Contains(values, v):
			return nil, invalid("InvalidAttributeValue", name, "Invalid value for the parameter "+name+".")
		default:
			out[name] = v
		}
	}
	if out[attrThroughput] == limitByGroup && out[attrScope] != scopeGroup {
		return nil, invalid("InvalidAttributeValue", attrThroughput,
			"Invalid value for the parameter FifoThroughputLimit. Reason: perMessageGroupId needs DeduplicationScope messageGroup.")
	}
	return out.with(rest, q)
}

func notOnStandard(name string) string {
	if name == attrScope || name == attrThroughput {
		return "You can specify the " + name + " only when FifoQueue is set to true."
	}
	return "Unknown Attribute " + name + "."
}

var nameRule = regexp.MustCompile(`^[A-Za-z0-9_-]{1,80}$`)

// checkName refuses what is not a queue's name and reports whether it is a FIFO
// queue's. The suffix counts in the 80 characters.
func checkName(name string, attrs map[string]string) (fifo bool, err error) {
	base, suffixed := strings.CutSuffix(name, fifoSuffix)
	asked := attrs[attrFifo] == "true"
	switch {
	case asked && (!suffixed || len(name) > 80 || !nameRule.MatchString(base)):
		return false, invalid("InvalidParameterValue", "QueueName",
			"The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length.")
	case !asked && !nameRule.MatchString(name):
		return false, invalid("InvalidParameterValue", "QueueName",
			"Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")
	}
	return asked, nil
}
