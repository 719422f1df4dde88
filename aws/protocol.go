package aws

import (
	"net/http"

	"github.com/openmnq/mnq"
)

// protocol is one way to write requests and answers. It is not exported because
// its two implementations are all there will be; a further one would have to know
// operations and faults anyway. Implementations have no state.
type protocol interface {
	// action names the operation, after the signature was verified.
	action(r *request) (string, error)
	// decode reads the input into the struct that in points to.
	decode(r *request, in any) error
	// encode renders the output of an operation.
	encode(r *request, out any) (body []byte, contentType string, err error)
	// encodeFailure renders an error, setting further headers.
	encodeFailure(r *request, f failure, h http.Header) (body []byte, contentType string)
}

// request is one request on its way through the front door.
type request struct {
	id      string // UUID
	http    *http.Request
	path    string // of the URL, below that of the public URL
	body    []byte
	admit   func() error // asked before a large body is read; nil: always
	large   bool         // holds one of the places for large bodies
	taken   []func()     // give back what else it holds of what there is for all
	leave   func()       // one of taken: it is not being worked on any more
	proto   protocol
	service mnq.Service
	name    string // of the operation, once known
	query   []pair // the decoded query string
	form    *tree  // Query protocol: all parameters, once read
}
