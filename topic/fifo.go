package topic

import (
	"context"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/wire"
)

func (t *Topic) publishOrdered(_ context.Context, _ *wire.Wire, _ []Publication, out []Published) {
	for i := range out {
		out[i].Err = &mnq.Error{Kind: mnq.Unsupported, Code: "InvalidParameter", Op: "topic.Publish", Msg: "FIFO topics are not supported yet."}
	}
}
