package wire

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// CreateStream makes a stream unless it is there. The server refuses now and then to
// make its files while others come and go; then it is asked again.
func CreateStream(ctx context.Context, js jetstream.JetStream, cfg jetstream.StreamConfig) error {
	const storeFailed = 10049
	for try := 0; ; try++ {
		_, err := js.CreateStream(ctx, cfg)
		if err == nil || errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return nil
		}
		api, ok := errors.AsType[*jetstream.APIError](err)
		if !ok || api.ErrorCode != storeFailed || try == 3 {
			return err
		}
		select {
		case <-time.After(50 * time.Millisecond << try):
		case <-ctx.Done():
			return err
		}
	}
}
