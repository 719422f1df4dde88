package queue

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/openmnq/mnq"
)

// Names of queue attributes that this package computes or reads.
const (
	attrVisibility  = "VisibilityTimeout"
	attrRetention   = "MessageRetentionPeriod"
	attrMaxSize     = "MaximumMessageSize"
	attrReceiveWait = "ReceiveMessageWaitTimeSeconds"
	attrDelay       = "DelaySeconds"

	attrVisible  = "ApproximateNumberOfMessages"
	attrInFlight = "ApproximateNumberOfMessagesNotVisible"
	attrDelayed  = "ApproximateNumberOfMessagesDelayed"
	attrCreated  = "CreatedTimestamp"
	attrModified = "LastModifiedTimestamp"
	attrARN      = "QueueArn"
)

// MaxVisibility is the longest time that a message can stay hidden.
const MaxVisibility = 12 * time.Hour

// number is an attribute with an integer value (SQS API reference, SetQueueAttributes).
type number struct{ min, max, def int64 }

var numbers = map[string]number{
	attrVisibility:  {0, 43200, 30},
	attrRetention:   {60, 1209600, 345600},
	attrMaxSize:     {1024, 1 << 20, 0}, // upper end and default are the namespace's message limit
	attrReceiveWait: {0, 20, 0},
	attrDelay:       {0, 900, 0},
}

// computed attributes are answered, never set.
var computed = []string{attrVisible, attrInFlight, attrDelayed, attrCreated, attrModified, attrARN}

// SupportedAttributes lists the queue attributes that can be set, in byte order.
func SupportedAttributes() []string {
	names := slices.AppendSeq(slices.Collect(maps.Keys(numbers)), maps.Keys(choices))
	names = slices.AppendSeq(names, maps.Keys(documents))
	slices.Sort(names)
	return names
}

// ComputedAttributes lists the queue attributes that can only be read.
func ComputedAttributes() []string { return slices.Clone(computed) }

// settings are the attributes of a queue that can be set, as text by name: every
// number, in canonical decimal form, and those documents that have a value.
type settings map[string]string

func defaultSettings(q mnq.Quota) settings {
	s := settings{}
	for name, n := range numbers {
		s[name] = strconv.FormatInt(n.def, 10)
	}
	s[attrMaxSize] = strconv.FormatInt(maxMessage(q), 10)
	s[attrManagedSSE] = "true"
	return s
}

// maxMessage is the largest message that the namespace's quota allows.
func maxMessage(q mnq.Quota) int64 {
	if q.MessageBytes < 0 || q.MessageBytes > numbers[attrMaxSize].max {
		return numbers[attrMaxSize].max
	}
	return max(q.MessageBytes, numbers[attrMaxSize].min)
}

// with returns s changed by attrs. Nothing is changed when one of them is wrong.
func (s settings) with(attrs map[string]string, q mnq.Quota) (settings, error) {
	out := maps.Clone(s)
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		n, ok := numbers[name]
		if documents[name] != nil {
			if err := out.setDocument(name, attrs[name]); err != nil {
				return nil, err
			}
			continue
		}
		switch {
		case slices.Contains(computed, name):
			return nil, invalid("InvalidAttributeName", name, "Unknown Attribute "+name+".")
		case !ok:
			return nil, invalid("InvalidAttributeName", "Attributes", "Unknown Attribute "+clip(name)+".")
		}
		if name == attrMaxSize {
			n.max = maxMessage(q)
		}
		v, err := strconv.ParseInt(attrs[name], 10, 64)
		if err != nil || v < n.min || v > n.max {
			return nil, invalid("InvalidAttributeValue", name,
				fmt.Sprintf("Invalid value for the parameter %s. Reason: Must be an integer from %d to %d.", name, n.min, n.max))
		}
		out[name] = strconv.FormatInt(v, 10)
	}
	return out, out.checkEncryption(attrs)
}

// differs returns the first attribute of want, in byte order, whose value is not
// the one in s.
func (s settings) differs(want settings, named map[string]string) (string, bool) {
	for _, name := range slices.Sorted(maps.Keys(named)) {
		if s[name] != want[name] {
			return name, true
		}
	}
	return "", false
}

func (s settings) int(name string) int64 {
	v, err := strconv.ParseInt(s[name], 10, 64)
	if err != nil {
		return numbers[name].def
	}
	return v
}

func (s settings) seconds(name string) time.Duration {
	return time.Duration(s.int(name)) * time.Second
}

// wanted resolves the names of GetQueueAttributes; "All" stands for every one.
func wanted(names []string) (map[string]bool, error) {
	want := map[string]bool{}
	for _, name := range names {
		_, known := numbers[name]
		if choices[name] != nil {
			known = true // has a value on FIFO queues only
		}
		switch {
		case name == "All":
			for _, n := range SupportedAttributes() {
				want[n] = true
			}
			for _, n := range computed {
				want[n] = true
			}
		case known || documents[name] != nil || slices.Contains(computed, name):
			want[name] = true
		default:
			return nil, invalid("InvalidAttributeName", "AttributeNames", "Unknown Attribute "+clip(name)+".")
		}
	}
	return want, nil
}

func invalid(code, field, msg string) error {
	return &mnq.Error{Kind: mnq.Invalid, Code: code, Op: "queue", Field: field, Msg: msg}
}

// clip keeps what a client sent from filling an error text.
func clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "…"
	}
	return s
}
