package aws

import (
	"context"
	"errors"
	"net/http"

	"github.com/openmnq/mnq"
)

// codeMissingAuthentication is the code of an unsigned request, which the two
// protocols name differently.
const codeMissingAuthentication = "MissingAuthenticationToken"

// fault is how one condition looks on the wire.
type fault struct {
	shape  string // JSON __type, with its namespace
	code   string // Query code: XML <Code>, and the header x-amzn-query-error
	status int
}

const (
	sqsShape   = "com.amazonaws.sqs#"
	coralShape = "com.amazon.coral.service#"
	sqsPrefix  = "AWS.SimpleQueueService."
)

// faults maps [mnq.Error.Code] to the wire. The codes are SQS's shape names, and
// for what no model declares the Query codes.
var faults = map[string]fault{
	"QueueDoesNotExist":            {sqsShape + "QueueDoesNotExist", sqsPrefix + "NonExistentQueue", 400},
	"QueueNameExists":              {sqsShape + "QueueNameExists", "QueueAlreadyExists", 400},
	"QueueDeletedRecently":         {sqsShape + "QueueDeletedRecently", sqsPrefix + "QueueDeletedRecently", 400},
	"PurgeQueueInProgress":         {sqsShape + "PurgeQueueInProgress", sqsPrefix + "PurgeQueueInProgress", 403},
	"BatchEntryIdsNotDistinct":     {sqsShape + "BatchEntryIdsNotDistinct", sqsPrefix + "BatchEntryIdsNotDistinct", 400},
	"BatchRequestTooLong":          {sqsShape + "BatchRequestTooLong", sqsPrefix + "BatchRequestTooLong", 400},
	"EmptyBatchRequest":            {sqsShape + "EmptyBatchRequest", sqsPrefix + "EmptyBatchRequest", 400},
	"InvalidBatchEntryId":          {sqsShape + "InvalidBatchEntryId", sqsPrefix + "InvalidBatchEntryId", 400},
	"TooManyEntriesInBatchRequest": {sqsShape + "TooManyEntriesInBatchRequest", sqsPrefix + "TooManyEntriesInBatchRequest", 400},
	"MessageNotInflight":           {sqsShape + "MessageNotInflight", sqsPrefix + "MessageNotInflight", 400},
	"UnsupportedOperation":         {sqsShape + "UnsupportedOperation", sqsPrefix + "UnsupportedOperation", 400},
	"InvalidAttributeName":         {sqsShape + "InvalidAttributeName", "InvalidAttributeName", 400},
	"InvalidAttributeValue":        {sqsShape + "InvalidAttributeValue", "InvalidAttributeValue", 400},
	"InvalidIdFormat":              {sqsShape + "InvalidIdFormat", "InvalidIdFormat", 400},
	"InvalidMessageContents":       {sqsShape + "InvalidMessageContents", "InvalidMessageContents", 400},
	"ReceiptHandleIsInvalid":       {sqsShape + "ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", 404},
	"OverLimit":                    {sqsShape + "OverLimit", "OverLimit", 403},
	"InvalidAddress":               {sqsShape + "InvalidAddress", "InvalidAddress", 404},
	"InvalidSecurity":              {sqsShape + "InvalidSecurity", "InvalidSecurity", 403},
	"RequestThrottled":             {sqsShape + "RequestThrottled", "RequestThrottled", 403},
	"ResourceNotFoundException":    {sqsShape + "ResourceNotFoundException", "ResourceNotFoundException", 404},

	"InvalidParameterValue":   {coralShape + "InvalidParameterValueException", "InvalidParameterValue", 400},
	"MissingParameter":        {coralShape + "MissingRequiredParameterException", "MissingParameter", 400},
	"InvalidAction":           {coralShape + "UnknownOperationException", "InvalidAction", 400},
	"MissingAction":           {coralShape + "UnknownOperationException", "MissingAction", 400},
	"SerializationException":  {coralShape + "SerializationException", "MalformedInput", 400},
	"MalformedQueryString":    {coralShape + "SerializationException", "MalformedQueryString", 400},
	"RequestEntityTooLarge":   {coralShape + "RequestEntityTooLargeException", "RequestEntityTooLarge", 413},
	"UnsupportedMediaType":    {coralShape + "UnsupportedMediaTypeException", "UnsupportedMediaType", 415},
	"MethodNotAllowed":        {coralShape + "UnknownOperationException", "MethodNotAllowed", 405},
	"AccessDenied":            {coralShape + "AccessDeniedException", "AccessDenied", 403},
	"InvalidClientTokenId":    {coralShape + "UnrecognizedClientException", "InvalidClientTokenId", 403},
	"SignatureDoesNotMatch":   {coralShape + "InvalidSignatureException", "SignatureDoesNotMatch", 403},
	"IncompleteSignature":     {coralShape + "IncompleteSignatureException", "IncompleteSignature", 400},
	codeMissingAuthentication: {coralShape + "AccessDeniedException", codeMissingAuthentication, 403},
	"ThrottlingException":     {coralShape + "ThrottlingException", "Throttling", 400},
	"InternalFailure":         {coralShape + "InternalFailure", "InternalError", 500},
	"ServiceUnavailable":      {coralShape + "ServiceUnavailable", "ServiceUnavailable", 503},
}

// kindCodes name the condition of an error whose own code is none of the wire's.
var kindCodes = map[mnq.Kind]string{
	mnq.Internal: "InternalFailure", mnq.Invalid: "InvalidParameterValue", mnq.Unauthenticated: "InvalidClientTokenId",
	mnq.Denied: "AccessDenied", mnq.NotFound: "ResourceNotFoundException", mnq.Exists: "QueueNameExists",
	mnq.Conflict:      "ServiceUnavailable", // lost a race: the same request may win the next one
	mnq.QuotaExceeded: "OverLimit", mnq.Throttled: "RequestThrottled", mnq.Unavailable: "ServiceUnavailable",
	mnq.Unsupported: "UnsupportedOperation",
}

// failure is an error as one client is told it.
type failure struct {
	fault
	name string // the key in faults
	msg  string
}

// receiver reports whether the fault is the server's.
func (f failure) receiver() bool { return f.status >= 500 }

// kind is "Sender" or "Receiver".
func (f failure) kind() string {
	if f.receiver() {
		return "Receiver"
	}
	return "Sender"
}

// failureOf decides what a client is told about err. The cause of a fault of ours
// stays here, and a queue that is missing reads the same whatever the reason.
func failureOf(err error) failure {
	e, ok := errors.AsType[*mnq.Error](err)
	if !ok {
		e = &mnq.Error{Kind: mnq.Internal, Err: err}
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			e.Kind = mnq.Unavailable
		}
	}
	name := e.Code
	if _, known := faults[name]; !known || e.Kind == mnq.Internal || e.Kind == mnq.Unavailable {
		name = kindCodes[e.Kind]
	}
	f := failure{fault: faults[name], name: name, msg: e.Msg}
	switch {
	case name == "QueueDoesNotExist":
		f.msg = "The specified queue does not exist."
	case e.Kind == mnq.Internal:
		f.msg = "We encountered an internal error. Please try again."
	case e.Kind == mnq.Unavailable:
		f.msg = "The service is unavailable. Please try again."
	case f.msg == "":
		f.msg = http.StatusText(f.status)
	}
	return f
}

func invalid(code, msg string) error {
	return &mnq.Error{Kind: mnq.Invalid, Code: code, Msg: msg}
}

func invalidValue(msg string) error { return invalid("InvalidParameterValue", msg) }

func missing(member string) error {
	return &mnq.Error{
		Kind: mnq.Invalid, Code: "MissingParameter", Field: member,
		Msg: "The request must contain the parameter " + member + ".",
	}
}

func malformed(msg string, cause error) error {
	return &mnq.Error{Kind: mnq.Invalid, Code: "SerializationException", Op: "aws.decode", Msg: msg, Err: cause}
}

func queueDoesNotExist() error {
	return &mnq.Error{Kind: mnq.NotFound, Code: "QueueDoesNotExist"}
}
