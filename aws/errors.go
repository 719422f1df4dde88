package aws

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

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

const coralShape = "com.amazon.coral.service#"

// vocabulary is how one service names conditions.
type vocabulary struct {
	// faults maps [mnq.Error.Code] to the wire.
	faults map[string]fault
	// kinds name the condition, in faults, of an error whose own code is not there.
	kinds map[mnq.Kind]string
}

var vocabularies = map[mnq.Service]*vocabulary{mnq.ServiceSQS: sqsVocabulary(), mnq.ServiceSNS: snsVocabulary()}

// withCommon adds what no service's model declares: faults of requests as such, and
// of ours.
func withCommon(faults map[string]fault) map[string]fault {
	for name, f := range map[string]fault{
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
	} {
		if _, own := faults[name]; !own {
			faults[name] = f
		}
	}
	return faults
}

// Fault describes one error of the wire, for documentation.
type Fault struct {
	Shape  string // in JSON, such as "OverLimit"; where only Query is spoken, the same as in Query
	Code   string // in Query, and in the header x-amzn-query-error
	Status int    // of HTTP
}

// Faults describes every error that a service answers with, those of its own model
// first.
func Faults(s mnq.Service) []Fault {
	var own, common []Fault
	for _, f := range vocabularies[s].faults {
		space, name, _ := strings.Cut(f.shape, "#")
		d := Fault{cmp.Or(name, f.code), f.code, f.status}
		if space+"#" == coralShape {
			common = append(common, d)
		} else {
			own = append(own, d)
		}
	}
	for _, list := range [][]Fault{own, common} {
		slices.SortFunc(list, func(a, b Fault) int { return cmp.Or(cmp.Compare(a.Shape, b.Shape), cmp.Compare(a.Code, b.Code)) })
	}
	return append(own, common...)
}

// failure is an error as one client is told it.
type failure struct {
	fault
	name string // the key in the service's faults
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

// failureOf decides what a client of the service is told about err. The cause of a
// fault of ours stays here, and a queue that is missing reads the same whatever the
// reason.
func failureOf(s mnq.Service, err error) failure {
	e, ok := errors.AsType[*mnq.Error](err)
	if !ok {
		e = &mnq.Error{Kind: mnq.Internal, Err: err}
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			e.Kind = mnq.Unavailable
		}
	}
	name, words := e.Code, vocabularies[s]
	if _, known := words.faults[name]; !known || e.Kind == mnq.Internal || e.Kind == mnq.Unavailable {
		name = words.kinds[e.Kind]
	}
	f := failure{fault: words.faults[name], name: name, msg: e.Msg}
	switch {
	case name == "QueueDoesNotExist":
		f.msg = "The specified queue does not exist."
	case e.Kind == mnq.Internal:
		f.msg = "We encountered an internal error. Please try again."
	case e.Kind == mnq.Unavailable && (e.Code == mnq.CodeDiskFull || e.Code == mnq.CodeStorageFailed): // the message says more
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
