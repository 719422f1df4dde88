package mnq

import (
	"errors"
	"strings"
)

// Kind says what sort of failure an [Error] is. Kinds are few on purpose: they
// decide exit codes and HTTP status classes, while [Error.Code] names the exact
// condition in the words of a protocol.
type Kind uint8

// The kinds of failure.
const (
	Internal        Kind = iota // a fault of ours; the text is for the log, not for the client
	Invalid                     // the request is wrong and will be wrong again
	Unauthenticated             // no identity, or one that cannot be proved
	Denied                      // a known identity without the permission
	NotFound                    // the resource does not exist, or not for this caller
	Exists                      // a resource of that name exists already, or exists differently
	Conflict                    // the resource changed meanwhile, or is in the wrong state
	QuotaExceeded               // a limit of the namespace or the project is used up
	Throttled                   // too many requests; the same request may succeed later
	Unavailable                 // storage or a peer does not answer; the outcome may be unknown
	Unsupported                 // understood, but not offered here
)

// Codes of Unavailable whose message clients are shown, because it says more than to
// try again.
const (
	CodeDiskFull      = "DiskFull"      // nothing new is stored; receiving and deleting go on
	CodeStorageFailed = "StorageFailed" // nothing is stored or removed
)

var kindNames = [...]string{
	Internal: "internal", Invalid: "invalid", Unauthenticated: "unauthenticated", Denied: "denied",
	NotFound: "not_found", Exists: "exists", Conflict: "conflict", QuotaExceeded: "quota_exceeded",
	Throttled: "throttled", Unavailable: "unavailable", Unsupported: "unsupported",
}

// String returns the kind's name in snake_case.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "internal"
}

// Error is the only error type that crosses package borders. The zero value of
// every field but Kind may be left out.
//
// Msg is shown to the client, so it says what to do and holds no secret. Err is
// the cause, for the log; it is never shown.
type Error struct {
	Kind     Kind
	Code     string // the exact condition, such as "QueueDoesNotExist"; a front door may know the code
	Op       string // the operation that failed, such as "queue.Send"
	Resource string // what it was about: a queue name, a namespace id
	Field    string // the request field that is wrong, for Invalid; the limit that was reached, for Throttled
	Msg      string // for the client
	Hint     string // for the operator: what to do about it
	Limit    int64  // for QuotaExceeded, where a number says it: what is allowed
	Used     int64  // and what there is
	Err      error
}

// Error renders the error for logs: operation, resource, message, cause, hint.
func (e *Error) Error() string {
	var b strings.Builder
	part := func(s string) {
		if s == "" {
			return
		}
		if b.Len() > 0 {
			b.WriteString(": ")
		}
		b.WriteString(s)
	}
	part(e.Op)
	part(e.Resource)
	switch {
	case e.Msg != "":
		part(e.Msg)
	case e.Code != "":
		part(e.Code)
	default:
		part(e.Kind.String())
	}
	if e.Err != nil {
		part(e.Err.Error())
	}
	if e.Hint != "" {
		b.WriteString(" (" + e.Hint + ")")
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is an *Error whose Kind and Code (when set) match,
// so that errors.Is(err, &mnq.Error{Kind: mnq.NotFound}) works.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Kind == e.Kind && (t.Code == "" || t.Code == e.Code)
}

// KindOf returns the kind of the first *Error in err's chain, or Internal.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}

// IsNotFound reports whether err is an *Error of kind NotFound.
func IsNotFound(err error) bool { return err != nil && KindOf(err) == NotFound }
