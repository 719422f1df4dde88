package wire

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

var errBatchAnswer = errors.New("the answer to a batch does not fit it")

// Together stores messages of one stream as an atomic batch and returns the answer to
// each. Where each write is synced, a batch has the price of about four writes, however
// long it is. It is refused as a whole, also for the fault of one message; then they go
// one by one. After an error nobody knows which were stored.
func (w *Wire) Together(ctx context.Context, reqs []Request) []Answer {
	id, last := nuid.Next(), len(reqs)-1
	for i, r := range reqs[:last] {
		if err := w.nc.PublishMsg(inBatch(r, id, i)); err != nil {
			return w.Exchange(ctx, reqs, Timeout) // without its end nothing of the batch is stored
		}
	}
	m := inBatch(reqs[last], id, last)
	m.Header["Nats-Batch-Commit"] = []string{"1"}
	a := w.Exchange(ctx, []Request{{Subject: m.Subject, Header: m.Header, Data: m.Data}}, Timeout)[0]
	answers := make([]Answer, len(reqs))
	if a.Err == nil && !NoResponders(a.Msg) {
		var ack struct {
			Seq   uint64          `json:"seq"`
			Count uint64          `json:"count"`
			Error json.RawMessage `json:"error"`
		}
		switch err := json.Unmarshal(a.Msg.Data, &ack); {
		case err == nil && ack.Error != nil:
			return w.Exchange(ctx, reqs, Timeout)
		case err == nil && ack.Count == uint64(len(reqs)) && ack.Seq >= ack.Count:
			for i := range answers {
				answers[i].Seq = ack.Seq - ack.Count + 1 + uint64(i)
			}
			return answers
		}
		a.Err = errBatchAnswer
	}
	for i := range answers {
		answers[i] = a
	}
	return answers
}

// inBatch is the i-th message of a batch.
func inBatch(r Request, id string, i int) *nats.Msg {
	h := make(nats.Header, len(r.Header)+3)
	maps.Copy(h, r.Header)
	h["Nats-Batch-Id"] = []string{id}
	h["Nats-Batch-Sequence"] = []string{strconv.Itoa(i + 1)}
	return &nats.Msg{Subject: r.Subject, Header: h, Data: r.Data}
}
