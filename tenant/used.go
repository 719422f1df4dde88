package tenant

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/openmnq/mnq/node"
)

// When keys were last used is noted in memory and written down every minute, in a bucket
// of its own: it must cost a request nothing. A process that is killed forgets its last
// minute.

const (
	usedBucket = "mnq_used"
	usedEvery  = time.Minute
	usedFor    = 400 * 24 * time.Hour
)

// lastUse is when the keys of this process's callers were used.
type lastUse struct {
	at sync.Map // access key → *atomic.Int64, seconds

	mu      sync.Mutex
	kv      *node.Bucket
	written map[string]int64
}

// Used notes that a key or credential was used just now by somebody who could prove
// that it is theirs. It does not block.
func (d *Directory) Used(accessKey string) {
	now := time.Now().Unix()
	v, ok := d.used.at.Load(accessKey)
	if !ok {
		v, _ = d.used.at.LoadOrStore(accessKey, new(atomic.Int64))
	}
	if n, ok := v.(*atomic.Int64); ok && n.Load() != now {
		n.Store(now)
	}
}

// LastUsed says when a key or credential was last used, right within two minutes; zero:
// never, not for a year, or it is of NATS, whose server does not tell.
func (d *Directory) LastUsed(ctx context.Context, accessKey string) (time.Time, error) {
	var here int64
	if v, ok := d.used.at.Load(accessKey); ok {
		if n, ok := v.(*atomic.Int64); ok {
			here = n.Load()
		}
	}
	kv, err := d.usedBucket(ctx)
	if err != nil {
		return time.Time{}, err
	}
	e, err := kv.Get(ctx, accessKey)
	if err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
		return time.Time{}, unavailable("tenant.LastUsed", accessKey, err)
	}
	if err == nil {
		if n, err := strconv.ParseInt(string(e.Value()), 10, 64); err == nil {
			here = max(here, n)
		}
	}
	if here == 0 {
		return time.Time{}, nil
	}
	return time.Unix(here, 0).UTC(), nil
}

func (d *Directory) usedBucket(ctx context.Context) (*node.Bucket, error) {
	d.used.mu.Lock()
	defer d.used.mu.Unlock()
	if d.used.kv == nil {
		kv, err := node.OpenBucket(ctx, d.cfg.Node.Control(), node.BucketConfig{
			Name: usedBucket, Description: "when keys were last used", Replicas: d.cfg.Node.Replicas(), TTL: usedFor,
		})
		if err != nil {
			return nil, unavailable("tenant.used", "open the bucket", err)
		}
		d.used.kv = kv
	}
	return d.used.kv, nil
}

// noteUse writes down what is new until ctx ends.
func (d *Directory) noteUse(ctx context.Context) {
	tick := time.NewTicker(usedEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			d.writeUse(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// writeUse forgets what is written and older than an hour, so that memory is that of
// keys in use.
func (d *Directory) writeUse(ctx context.Context) {
	if d.used.written == nil {
		d.used.written = map[string]int64{}
	}
	d.used.at.Range(func(k, v any) bool {
		key, _ := k.(string)
		n, _ := v.(*atomic.Int64)
		at := n.Load()
		if d.used.written[key] == at {
			if time.Since(time.Unix(at, 0)) > time.Hour {
				d.used.at.Delete(key)
				delete(d.used.written, key)
			}
			return true
		}
		kv, err := d.usedBucket(ctx)
		if err == nil {
			_, err = kv.Put(ctx, key, strconv.AppendInt(nil, at, 10))
		}
		if err != nil {
			if ctx.Err() == nil {
				d.log.WarnContext(ctx, "use of keys not noted", "error", err)
			}
			return false
		}
		d.used.written[key] = at
		return true
	})
}
