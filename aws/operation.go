package aws

import (
	"context"
	"reflect"
	"slices"
	"strings"

	"github.com/openmnq/mnq"
)

// operation is one row of a service's table.
type operation struct {
	service mnq.Service
	name    string
	need    mnq.Permission
	in, out reflect.Type // nil: not offered
	run     func(h *Handler, ctx context.Context, c *call) (any, error)

	// link says that the operation may also be called by GET without a signature,
	// as the links do that messages to webhooks have.
	link bool
}

// call is a verified request for one operation.
type call struct {
	*request
	principal mnq.Principal // zero when anonymous
	anonymous bool          // by a link
	baseURL   string        // of queue URLs, without a slash at the end

	// giveBack, when set, is called if the answer could not be delivered.
	giveBack func(ctx context.Context)
}

// handlerFunc is what an operation is written as. In and Out are structs whose
// fields are described at [shape].
type handlerFunc[In, Out any] func(h *Handler, ctx context.Context, c *call, in *In) (*Out, error)

// offer makes a row: it decodes, checks that nothing required is missing, and calls.
func offer[In, Out any](name string, need mnq.Permission, f handlerFunc[In, Out]) operation {
	return operation{
		name: name, need: need,
		in: reflect.TypeFor[In](), out: reflect.TypeFor[Out](),
		run: func(h *Handler, ctx context.Context, c *call) (any, error) {
			in := new(In)
			if err := c.proto.decode(c.request, in); err != nil {
				return nil, err
			}
			if err := checkRequired(reflect.ValueOf(in).Elem()); err != nil {
				return nil, err
			}
			if !auditedActions[name] || h.cfg.Audit == nil {
				return f(h, ctx, c, in)
			}
			var out *Out
			err := h.cfg.Audit(ctx, c.auditRecord(in), func() (err error) {
				out, err = f(h, ctx, c, in)
				return err
			})
			return out, err
		},
	}
}

// offerLink is offer for an operation that may be called by a link as well. f tells
// the two by [call].anonymous.
func offerLink[In, Out any](name string, need mnq.Permission, f handlerFunc[In, Out]) operation {
	op := offer(name, need, f)
	op.link = true
	return op
}

// refuse makes rows for actions that are not offered.
func refuse(need mnq.Permission, names ...string) []operation {
	rows := make([]operation, 0, len(names))
	for _, name := range names {
		rows = append(rows, operation{name: name, need: need})
	}
	return rows
}

// table makes rows the table of a service.
func table(service mnq.Service, rows ...operation) []operation {
	for i := range rows {
		rows[i].service = service
	}
	return rows
}

// tables holds every operation of every service, offered or not.
var tables = index(sqsOperations(), snsOperations())

func index(all ...[]operation) map[mnq.Service]map[string]*operation {
	t := make(map[mnq.Service]map[string]*operation)
	for _, ops := range all {
		for i := range ops {
			op := &ops[i]
			if t[op.service] == nil {
				t[op.service] = make(map[string]*operation)
			}
			t[op.service][op.name] = op
		}
	}
	return t
}

// find returns the operation that a request names.
func find(service mnq.Service, name string) (*operation, error) {
	op := tables[service][name]
	switch {
	case op == nil:
		return nil, unknownAction(name)
	case op.run == nil:
		return nil, notSupported(name)
	}
	return op, nil
}

func notSupported(name string) error {
	return &mnq.Error{
		Kind: mnq.Unsupported, Code: "UnsupportedOperation", Op: "aws.find",
		Msg: "The action " + name + " is not supported.",
	}
}

// admit refuses callers who may not do this.
func (op *operation) admit(c *call) error {
	if c.anonymous && op.link || !c.anonymous && c.principal.Credential.Permissions.Allow(op.need) {
		return nil
	}
	return &mnq.Error{
		Kind: mnq.Denied, Code: "AccessDenied", Op: "aws.admit",
		Msg: "Access to " + string(op.service) + ":" + op.name + " is denied: the credential needs " + permissionText(op.need) + ".",
	}
}

func unknownAction(name string) error {
	return invalid("InvalidAction", "The action "+clip(name)+" is not valid for this endpoint.")
}

// clip bounds a text of the client's that goes into an answer.
func clip(s string) string { return s[:min(len(s), 256)] }

var permissionNames = []struct {
	bit  mnq.Permission
	name string
}{{mnq.CanPublish, "can_publish"}, {mnq.CanReceive, "can_receive"}, {mnq.CanManage, "can_manage"}}

func permissionText(need mnq.Permission) string {
	if need == 0 {
		return "none"
	}
	var names []string
	for _, p := range permissionNames {
		if need&p.bit != 0 {
			names = append(names, p.name)
		}
	}
	return strings.Join(names, " or ")
}

// Operation describes one row of the table, for documentation.
type Operation struct {
	Service    mnq.Service
	Name       string
	Permission string // such as "can_receive or can_manage"; "none"
	Supported  bool
	Refusal    string   // Query code that the answer has when it is not supported
	Input      []string // members that are read, in order; nil when not supported
	Output     []string // members that may be answered
}

// Operations describes every operation the front door knows, in the order of the
// tables.
func Operations() []Operation {
	var all []Operation
	for _, op := range slices.Concat(sqsOperations(), snsOperations()) {
		o := Operation{Service: op.service, Name: op.name, Permission: permissionText(op.need), Supported: op.run != nil}
		if !o.Supported {
			o.Refusal = failureOf(op.service, notSupported(op.name)).code
		} else {
			o.Input, o.Output = shapeOf(op.in).names(), shapeOf(op.out).names()
		}
		all = append(all, o)
	}
	return all
}
