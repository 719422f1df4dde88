package topic

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/openmnq/mnq/node"
)

// BenchmarkWebhooks publishes to one topic with webhooks on loopback and waits until
// every one of them has every message.
func BenchmarkWebhooks(b *testing.B) {
	for _, c := range []struct {
		name     string
		webhooks int
		protocol string
	}{
		{"1webhook", 1, protoHTTP},
		{"100webhooks", 100, protoHTTP},
		{"100functions", 100, protoLambda},
	} {
		b.Run(c.name, func(b *testing.B) {
			srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
			defer srv.Close()
			f := newBundleWith(b, b.TempDir(), node.FsyncAlways)
			defer f.stop()
			p := f.processes[0]
			p.end(b)
			f.processes = nil
			f.change = func(cfg *Config) { cfg.Egress.Loopback = true }
			f.process()
			f.ns.Quota.Subscriptions = -1
			a := f.topic("a")
			for i := range c.webhooks {
				url := fmt.Sprint(srv.URL, "/", i)
				if c.protocol == protoLambda {
					f.function(a, url)
				} else {
					f.webhook(a, url)
				}
			}
			waitIdle(b, f, a)
			b.ReportAllocs()
			b.ResetTimer()
			publishMany(b, f, a, strings.Repeat("x", 512), b.N)
			waitIdle(b, f, a)
			b.StopTimer()
			b.ReportMetric(float64(b.N*c.webhooks)/b.Elapsed().Seconds(), "deliveries/s")
		})
	}
}
