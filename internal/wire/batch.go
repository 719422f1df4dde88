package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

// Together stores messages of one stream as an atomic batch: all of them or none. Where
// each write is synced, a batch has the price of about four writes, however long it is.
// It is refused as a whole for the fault of one message. After an error other than a
// *QuotaError nobody knows whether it was stored.
func (w *Wire) Together(ctx context.Context, reqs []Request) error {
	id, last := nuid.Next(), len(reqs)-1
	for i, r := range reqs[:last] {
		if err := w.nc.PublishMsg(inBatch(r, id, i)); err != nil {
			return err // without its end nothing of the batch is stored
		}
	}
	m := inBatch(reqs[last], id, last)
	m.Header["Nats-Batch-Commit"] = []string{"1"}
	a := w.Exchange(ctx, []Request{{Subject: m.Subject, Header: m.Header, Data: m.Data}}, Timeout)[0]
	if _, _, err := a.Stored(); err != nil {
		return err
	}
	var ack struct {
		Count int `json:"count"`
	}
	if err := json.Unmarshal(a.Msg.Data, &ack); err != nil || ack.Count != len(reqs) {
		return errors.Join(err, fmt.Errorf("a batch of %d messages was answered with %d", len(reqs), ack.Count))
	}
	return nil
}

// inBatch is the i-th message of a batch.
func inBatch(r Request, id string, i int) *nats.Msg {
	h := make(nats.Header, len(r.Header)+3)
	maps.Copy(h, r.Header)
	h["Nats-Batch-Id"] = []string{id}
	h["Nats-Batch-Sequence"] = []string{strconv.Itoa(i + 1)}
	return &nats.Msg{Subject: r.Subject, Header: h, Data: r.Data}
}
