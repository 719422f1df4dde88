// Package definition is about the queues, topics and subscriptions that an application
// needs: it reads them from mnq.yaml, from the files of other tools or from an endpoint of
// SQS and SNS, creates them at another, and moves the messages.
//
// It speaks the public protocols only, so source and target can be any server.
package definition

import (
	"fmt"
	"slices"
	"strings"
)

// File is a set of definitions.
type File struct {
	Queues []Queue
	Topics []Topic

	// Notes tell what the source says that is not carried over.
	Notes []Note
}

// Empty reports whether there is nothing to create.
func (f *File) Empty() bool { return len(f.Queues)+len(f.Topics) == 0 }

// Note is something that is not carried over, and why.
type Note struct {
	Line int // in the source; 0: of no line
	Text string
}

// String is the note with its line.
func (n Note) String() string {
	if n.Line == 0 {
		return n.Text
	}
	return fmt.Sprintf("line %d: %s", n.Line, n.Text)
}

func (f *File) note(line int, format string, args ...any) {
	f.Notes = append(f.Notes, Note{line, fmt.Sprintf(format, args...)})
}

// Queue is an SQS queue; a name that ends in .fifo makes it a FIFO queue.
type Queue struct {
	Name       string
	Attributes map[string]string // as SQS names them, without RedrivePolicy and FifoQueue
	Tags       map[string]string
	DeadLetter *DeadLetter

	Line int // in the source
}

// DeadLetter is where messages go that were received too often.
type DeadLetter struct {
	Queue           string
	MaxReceiveCount int
}

// Topic is an SNS topic; a name that ends in .fifo makes it a FIFO topic.
type Topic struct {
	Name          string
	Attributes    map[string]string // as SNS names them, without FifoTopic
	Tags          map[string]string
	Subscriptions []Subscription

	Line int
}

// Subscription is to a queue of the same file or target, or to an endpoint.
type Subscription struct {
	Queue           string // or Protocol and Endpoint
	Protocol        string
	Endpoint        string
	Attributes      map[string]string // as SNS names them, without RedrivePolicy
	DeadLetterQueue string

	Line int
}

func (s Subscription) to() string {
	if s.Queue != "" {
		return "queue " + s.Queue
	}
	return s.Protocol + " " + s.Endpoint
}

const fifoSuffix = ".fifo"

func isFIFO(name string) bool { return strings.HasSuffix(name, fifoSuffix) }

// The attributes that can be defined, as SQS and SNS name them.
var (
	QueueAttributes = []string{
		"ContentBasedDeduplication", "DeduplicationScope", "DelaySeconds", "FifoThroughputLimit", "KmsDataKeyReusePeriodSeconds",
		"KmsMasterKeyId", "MaximumMessageSize", "MessageRetentionPeriod", "Policy", "ReceiveMessageWaitTimeSeconds",
		"RedriveAllowPolicy", "SqsManagedSseEnabled", "VisibilityTimeout",
	}
	TopicAttributes = []string{
		"ContentBasedDeduplication", "DataProtectionPolicy", "DeliveryPolicy", "DisplayName", "FifoThroughputScope", "KmsMasterKeyId",
		"Policy", "SignatureVersion", "TracingConfig",
	}
	SubscriptionAttributes = []string{"DeliveryPolicy", "FilterPolicy", "FilterPolicyScope", "RawMessageDelivery"}
)

// arnName is the name at the end of an ARN; of anything else it is all.
func arnName(arn string) string { return arn[strings.LastIndexByte(arn, ':')+1:] }

// addQueue adds a queue unless there is one of that name.
func (f *File) addQueue(q Queue) {
	if !slices.ContainsFunc(f.Queues, func(have Queue) bool { return have.Name == q.Name }) {
		f.Queues = append(f.Queues, q)
	}
}

func (f *File) addTopic(t Topic) {
	if !slices.ContainsFunc(f.Topics, func(have Topic) bool { return have.Name == t.Name }) {
		f.Topics = append(f.Topics, t)
	}
}
