package topic

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"net/url"
	"strings"
)

// An endpoint may have a password in it, which goes to the endpoint and nowhere else: it
// is sealed where the definition is stored and masked wherever the endpoint is shown.

// displayEndpoint is the endpoint without its password, masked as SNS does.
func displayEndpoint(endpoint string) string {
	if u, ok := withPassword(endpoint); ok {
		return strings.Replace(u.Redacted(), ":xxxxx@", ":****@", 1)
	}
	return endpoint
}

func withPassword(endpoint string) (*url.URL, bool) {
	if !strings.Contains(endpoint, "@") || !strings.Contains(endpoint, "://") {
		return nil, false
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, false
	}
	_, ok := u.User.Password()
	return u, ok
}

// endpointSeal seals endpoints for the place of their subscription.
type endpointSeal struct{ aead cipher.AEAD }

func newEndpointSeal(key [32]byte) (endpointSeal, error) {
	k := deriveKey(key, "endpoints")
	block, err := aes.NewCipher(k[:])
	if err != nil {
		return endpointSeal{}, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return endpointSeal{aead}, err
}

// hide returns the record as it is stored under key.
func (s endpointSeal) hide(key string, r *subscriptionRecord) *subscriptionRecord {
	if _, ok := withPassword(r.Endpoint); !ok {
		return r
	}
	out := *r
	out.Endpoint = displayEndpoint(r.Endpoint)
	out.Sealed = s.aead.Seal(nil, nil, []byte(r.Endpoint), []byte(key)) //nolint:gosec // the nonce is random
	return &out
}

// reveal undoes hide.
func (s endpointSeal) reveal(key string, r *subscriptionRecord) error {
	if len(r.Sealed) == 0 {
		return nil
	}
	plain, err := s.aead.Open(nil, nil, r.Sealed, []byte(key))
	if err != nil {
		return errors.New("the endpoint was sealed with another master key, or for another subscription")
	}
	r.Endpoint, r.Sealed = string(plain), nil
	return nil
}
