package rest

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/google/uuid"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/service"
)

// problem is the body of every error. Which fields are set depends on Type.
type problem struct {
	status int

	Message      string   `json:"message"`
	Type         string   `json:"type" doc:"the condition; clients decide by it"`
	Details      []detail `json:"details,omitempty"`
	Resource     string   `json:"resource,omitempty"`
	ResourceID   string   `json:"resource_id,omitempty"`
	HelpMessage  string   `json:"help_message,omitempty"`
	Precondition string   `json:"precondition,omitempty"`
	CurrentState string   `json:"current_state,omitempty"`
	Method       string   `json:"method,omitempty"`
	Reason       string   `json:"reason,omitempty"`
}

// detail is one reason of a problem: an argument that is wrong, a permission
// that is missing or a quota that is used up.
type detail struct {
	ArgumentName string `json:"argument_name,omitempty"`
	HelpMessage  string `json:"help_message,omitempty"`
	Reason       string `json:"reason,omitempty"`
	Action       string `json:"action,omitempty"`
	Resource     string `json:"resource,omitempty"`
	Quota        *int64 `json:"quota,omitempty"`
	Current      *int64 `json:"current,omitempty"`
}

// Error implements error.
func (p *problem) Error() string { return p.Type + ": " + p.Message }

// GetStatus implements huma.StatusError.
func (p *problem) GetStatus() int { return p.status }

// GetHeaders implements huma.HeadersError: when it is worth trying again.
func (p *problem) GetHeaders() http.Header {
	if p.status == http.StatusTooManyRequests || p.status == http.StatusServiceUnavailable {
		return http.Header{"Retry-After": {"1"}}
	}
	return nil
}

func invalid(argument, reason, help string) *problem {
	return invalidArguments(detail{ArgumentName: argument, Reason: reason, HelpMessage: help})
}

func invalidArguments(details ...detail) *problem {
	return &problem{
		status: http.StatusBadRequest, Type: "invalid_arguments", Message: "invalid argument(s)", Details: details,
	}
}

const typeDenied = "denied_authentication"

// deniedAuthentication refuses a token; reason is "invalid_argument" or
// "not_found".
func deniedAuthentication(reason string) *problem {
	return &problem{
		status: http.StatusUnauthorized, Type: typeDenied, Message: "authentication is denied",
		Method: "api_key", Reason: reason,
	}
}

func permissionsDenied(action, noun string) *problem {
	return &problem{
		status: http.StatusForbidden, Type: "permissions_denied", Message: "insufficient permissions",
		Details: []detail{{Action: action, Resource: noun}},
	}
}

func notFound(noun, id string) *problem {
	return &problem{
		status: http.StatusNotFound, Type: "not_found", Message: "resource is not found", Resource: noun, ResourceID: id,
	}
}

func alreadyExists(noun, id, help string) *problem {
	return &problem{
		status: http.StatusConflict, Type: "already_exists", Message: "resource already exists",
		Resource: noun, ResourceID: id, HelpMessage: help,
	}
}

func preconditionFailed(precondition, help string) *problem {
	return &problem{
		status: http.StatusPreconditionFailed, Type: "precondition_failed", Message: "precondition is not respected",
		Precondition: precondition, HelpMessage: help,
	}
}

func unavailable(msg string) *problem {
	return &problem{status: http.StatusServiceUnavailable, Type: "unavailable", Message: msg}
}

// Starting answers in an API's place while the server starts; waiting says, fit for
// anybody, what for.
func Starting(waiting func() string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setHeaders(w.Header(), uuid.NewString(), r.TLS != nil)
		w.Header().Set("Retry-After", "1")
		p := unavailable("the service is starting")
		p.HelpMessage = waiting()
		w.WriteHeader(p.status)
		_ = json.NewEncoder(w).Encode(p) // the client is gone if this fails
	})
}

func internalProblem() *problem {
	return &problem{status: http.StatusInternalServerError, Type: "internal", Message: "internal error"}
}

// as returns notFound(noun, id) for an err of kind NotFound and err itself
// otherwise. It gives a failure of the directory the name the caller knows.
func as(err error, noun, id string) error {
	if mnq.IsNotFound(err) {
		return notFound(noun, id)
	}
	return err
}

// render turns any error of an operation into its answer. It is the one place
// where failures of ours are logged; the caller sees no cause.
func (a *API) render(ctx context.Context, requestID string, err error, op operation) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	e, ok := errors.AsType[*mnq.Error](err)
	if !ok {
		e = &mnq.Error{Kind: mnq.Internal, Err: err}
	}
	p := problemOf(e, op)
	ours := e.Kind == mnq.Internal || e.Kind == mnq.Unavailable
	if ours && !errors.Is(err, context.Canceled) {
		a.log.ErrorContext(ctx, "control plane request failed",
			slog.String("operation", op.id), slog.String("request_id", requestID), slog.Any("error", err))
	}
	return p
}

// problemOf maps an error of the inner packages to the wire.
func problemOf(e *mnq.Error, op operation) *problem {
	switch e.Kind {
	case mnq.Invalid:
		field := e.Field
		if field == "" {
			field = "unknown"
		}
		return invalid(field, "constraint", e.Msg)
	case mnq.Unauthenticated:
		return deniedAuthentication("not_found")
	case mnq.Denied:
		action := op.action
		if action == "" {
			action = "read"
		}
		p := permissionsDenied(action, op.noun)
		p.HelpMessage = e.Msg
		return p
	case mnq.NotFound:
		return notFound(op.noun, e.Resource)
	case mnq.Exists:
		return alreadyExists(op.noun, e.Resource, e.Msg)
	case mnq.Conflict:
		return &problem{
			status: http.StatusConflict, Type: "transient_state", Message: "resource is in a transient state",
			Resource: op.noun, ResourceID: e.Resource, CurrentState: "updating", HelpMessage: e.Msg,
		}
	case mnq.QuotaExceeded:
		d := detail{Resource: op.noun}
		if e.Limit > 0 {
			d.Quota, d.Current = &e.Limit, &e.Used
		}
		return &problem{
			status: http.StatusForbidden, Type: "quotas_exceeded", Message: "quota(s) exceeded for this resource",
			Details: []detail{d}, HelpMessage: e.Msg,
		}
	case mnq.Throttled:
		return &problem{status: http.StatusTooManyRequests, Type: "too_many_requests", Message: "too many requests", HelpMessage: e.Msg}
	case mnq.Unavailable:
		if e.Code == mnq.CodeDiskFull || e.Code == mnq.CodeStorageFailed {
			return unavailable(e.Msg)
		}
		return unavailable("the service is unavailable; the outcome of the request may be unknown")
	case mnq.Unsupported:
		return &problem{status: http.StatusNotImplemented, Type: "unsupported", Message: "not offered here", HelpMessage: e.Msg}
	case mnq.Internal:
	}
	return internalProblem()
}

// writeProblem answers a request that reached no operation.
func (a *API) writeProblem(w http.ResponseWriter, r *http.Request, requestID string, err error) {
	p := a.render(r.Context(), requestID, err, operation{id: "none", noun: "path"})
	if info := service.RequestOf(r.Context()); info != nil && p.Type == typeDenied {
		info.Refused = p.Reason
	}
	noteThrottled(r.Context(), err)
	maps.Copy(w.Header(), p.GetHeaders())
	w.WriteHeader(p.status)
	_ = json.NewEncoder(w).Encode(p) // the client is gone if this fails
}

// useProblems makes huma render its own errors as problems. The setting is
// global to the process, hence once.
var useProblems = sync.OnceFunc(func() {
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		return translate(status, msg, errs)
	}
})

// maxDetails bounds the answer to a request with many mistakes.
const maxDetails = 20

// translate turns what huma found wrong with a request into invalid_arguments.
func translate(status int, msg string, errs []error) *problem {
	switch status {
	case http.StatusRequestEntityTooLarge:
		p := invalid("body", "constraint", "value length must be at most 65536 bytes")
		p.status = status
		return p
	case http.StatusRequestTimeout:
		return &problem{status: status, Type: "request_timeout", Message: "the request body did not arrive in time"}
	}
	if len(errs) == 0 {
		return invalid("body", "required", msg)
	}
	details := make([]detail, 0, min(len(errs), maxDetails))
	for _, err := range errs[:min(len(errs), maxDetails)] {
		d, ok := errors.AsType[*huma.ErrorDetail](err)
		if !ok {
			d = &huma.ErrorDetail{Location: "body", Message: "the body cannot be read"}
		}
		details = append(details, argument(d))
	}
	return invalidArguments(details...)
}

var (
	missingProperty = regexp.MustCompile(`^expected required property (\S+) to be present`)
	lengthBound     = regexp.MustCompile(`^expected length ([<>])= (\d+)$`)
	numberBound     = regexp.MustCompile(`^expected number ([<>])= (\S+)$`)
)

// argument names what is wrong with one field, in the manner of the API: which
// field, what kind of mistake, and a sentence about it.
func argument(d *huma.ErrorDetail) detail {
	in, name, _ := strings.Cut(d.Location, ".")
	msg := d.Message
	out := func(reason, help string) detail {
		if name == "" {
			name = in
		}
		return detail{ArgumentName: name, Reason: reason, HelpMessage: help}
	}
	if m := missingProperty.FindStringSubmatch(msg); m != nil {
		name = strings.TrimPrefix(name+"."+m[1], ".")
		return out("required", "value is required")
	}
	if name == "" && in == "body" && !strings.HasPrefix(msg, "expected") {
		return out("format", "the body must be a JSON object")
	}
	if s, isString := d.Value.(string); d.Value == nil || isString && s == "" {
		return out("required", "value is required")
	}
	if m := lengthBound.FindStringSubmatch(msg); m != nil {
		return out("constraint", "value length must be "+lengthRule(m[1], m[2])+" runes")
	}
	if m := numberBound.FindStringSubmatch(msg); m != nil {
		return out("constraint", "value must be "+map[string]string{"<": "less", ">": "greater"}[m[1]]+" than or equal to "+digits(m[2]))
	}
	switch {
	case strings.Contains(msg, "uuid"):
		return out("format", "value must be a valid UUID")
	case strings.HasPrefix(msg, "expected value to be one of"), strings.HasPrefix(msg, "unexpected property"):
		return out("constraint", msg)
	default:
		return out("format", msg)
	}
}

// digits writes a number such as 2.147483647e+09 out.
func digits(number string) string {
	f, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return number
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

// lengthRule words a bound; ids are the only values with a fixed length.
func lengthRule(sign, n string) string {
	switch {
	case n == "56":
		return n
	case sign == "<":
		return "at most " + n
	default:
		return "at least " + n
	}
}

// problemSchema describes the error bodies in the OpenAPI document.
func problemSchema(api huma.API) *huma.Schema {
	return api.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[problem](), true, "Problem")
}
