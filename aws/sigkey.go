package aws

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"sync"
)

// maxSigningKeys bounds the cache of derived keys (about 300 bytes each).
const maxSigningKeys = 4096

// signingKeys remembers derived keys of secrets that have signed a request
// correctly, so that only holders of a key can fill it. An entry is good for one
// secret only: a key that was given a new secret derives anew. The zero value is
// ready, and safe for concurrent use.
type signingKeys struct {
	mu sync.RWMutex

	keys map[scope]signingKey
}

type signingKey struct {
	secret string
	key    [sha256.Size]byte
}

func (c *signingKeys) get(s scope, secret string) (key [sha256.Size]byte, ok bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	k, ok := c.keys[s]
	if !ok || subtle.ConstantTimeCompare([]byte(k.secret), []byte(secret)) == 0 {
		return key, false
	}
	return k.key, true
}

func (c *signingKeys) put(s scope, secret string, key [sha256.Size]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.keys == nil {
		c.keys = make(map[scope]signingKey)
	}
	for old := range c.keys {
		if len(c.keys) < maxSigningKeys {
			break
		}
		delete(c.keys, old) // any: yesterday's are as likely as today's, and deriving again is cheap
	}
	c.keys[s] = signingKey{secret, key}
}

func deriveKey(secret string, s scope) (key [sha256.Size]byte) {
	k := hmacSHA256([]byte("AWS4"+secret), []byte(s.date))
	for _, part := range [...]string{s.region, s.service, sigTerminator} {
		k = hmacSHA256(k, []byte(part))
	}
	return [sha256.Size]byte(k)
}

func hmacSHA256(key, data []byte) []byte {
	h := hmac.New(sha256.New, key)
	h.Write(data)
	return h.Sum(make([]byte, 0, sha256.Size))
}
