package queue

import (
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/wire"
	"github.com/openmnq/mnq/node"
)

// answerTimeout is how long a server may take to answer a write. Past it the
// outcome is unknown.
const answerTimeout = wire.Timeout

// What goes over a link.
type (
	request = wire.Request
	answer  = wire.Answer
)

// link is the connection of this process to a namespace's account.
type link struct {
	*wire.Wire

	js       jetstream.JetStream
	patience node.Patience
}

func newLink(nc *nats.Conn, js jetstream.JetStream, p node.Patience) (*link, error) {
	w, err := wire.New(nc)
	if err != nil {
		return nil, err
	}
	return &link{w, js, p}, nil
}

// unavailable is the error for an outcome that nobody knows.
func unavailable(op, queue string, err error) error {
	return &mnq.Error{Kind: mnq.Unavailable, Op: op, Resource: queue, Msg: "The storage does not answer. Please try again.", Err: err}
}
