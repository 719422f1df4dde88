package tenant

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Usage is what a namespace uses of its quota now.
type Usage struct {
	StorageBytes int64 `json:"storage_bytes"`
	Streams      int64 `json:"streams" doc:"of NATS; for SQS and SNS what stands behind queues and topics"`
	Consumers    int64 `json:"consumers"`
}

// Usage asks the namespace's account. Gone: kind NotFound, code "namespace".
func (d *Directory) Usage(ctx context.Context, namespaceID string) (Usage, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, js, err := d.Connect(ctx, namespaceID)
	if err != nil {
		return Usage{}, err
	}
	var a *jetstream.AccountInfo
	if a, err = js.AccountInfo(ctx); err != nil {
		return Usage{}, unavailable("tenant.Usage", namespaceID, err)
	}
	return Usage{StorageBytes: int64(a.Store), Streams: int64(a.Streams), Consumers: int64(a.Consumers)}, nil //nolint:gosec // bytes on a disk
}
