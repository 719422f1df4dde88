package service

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// certificateCheck is how often the files are looked at, at most.
const certificateCheck = time.Second

// Certificate is a key pair that follows its files: a renewed certificate is
// served to new connections within about a second. Files that cannot be read or
// do not match leave the previous pair in force. It is safe for concurrent use.
type Certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	mu sync.Mutex

	pair    *tls.Certificate
	stamp   [2]fileStamp
	checked time.Time
}

type fileStamp struct {
	modified time.Time
	size     int64
}

// LoadCertificate reads a PEM certificate chain and its key.
func LoadCertificate(certFile, keyFile string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, log: log}
	if err := c.reload(time.Now()); err != nil {
		return nil, err
	}
	return c, nil
}

// Config returns a server configuration that serves the certificate, TLS 1.2 or
// newer.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.current(time.Now()), nil
		},
	}
}

// Expires is when the certificate that is served now ends.
func (c *Certificate) Expires() time.Time { return c.current(time.Now()).Leaf.NotAfter }

func (c *Certificate) current(now time.Time) *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.checked) >= certificateCheck {
		if err := c.reload(now); err != nil {
			c.log.Error("certificate_reload_failed", "file", c.certFile, "error", err)
		}
	}
	return c.pair
}

// reload reads the files when they changed. The caller holds mu, or is alone.
func (c *Certificate) reload(now time.Time) error {
	c.checked = now
	stamp, err := stampOf(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	if c.pair != nil && stamp == c.stamp {
		return nil
	}
	c.stamp = stamp // also when the pair is bad, so that it is reported once
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("load certificate: %w", err)
	}
	c.pair = &pair
	return nil
}

func stampOf(certFile, keyFile string) (stamp [2]fileStamp, err error) {
	for i, name := range [2]string{certFile, keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return stamp, fmt.Errorf("look at certificate: %w", err)
		}
		stamp[i] = fileStamp{info.ModTime(), info.Size()}
	}
	return stamp, nil
}
