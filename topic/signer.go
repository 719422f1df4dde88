package topic

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // signature version 1 is SHA1withRSA
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/singleflight"
	"golang.org/x/time/rate"

	"github.com/openmnq/mnq"
)

const (
	signingBucket  = "mnq_signing"
	signingEntry   = "keys"
	signingBits    = 2048
	keyYear        = 365 * 24 * time.Hour
	certificateFor = 3 * keyYear
	refreshAfter   = time.Hour // how long another process's rotation may go unnoticed here
	maxSigningKeys = 64        // certificates that are kept; one a year is added

	certificatePrefix = "/SimpleNotificationService-"
	certificateSuffix = ".pem"
)

// signer signs notifications with the installation's key. Key and certificate are
// made when they are first needed, by compare-and-set, so that all processes
// agree; nothing is done at start. Each key is used for a year; its certificate
// stays where it is, so that old messages can be verified.
type signer struct {
	js       jetstream.JetStream
	replicas int
	base     func() string // of the certificate's URL
	aead     cipher.AEAD

	rotateAfter time.Duration // keyYear, but for tests

	state  atomic.Pointer[signingState]
	load   singleflight.Group
	misses *rate.Limiter // of look-ups for certificates that are not known
	made   signatures
}

// signingRecord is the value in the bucket: every key that ever was, oldest first.
type signingRecord struct {
	Keys []signingKey `json:"keys"`
}

type signingKey struct {
	ID          string    `json:"id"` // 32 hex digits, in the certificate's name
	CreatedAt   time.Time `json:"created_at"`
	Certificate []byte    `json:"certificate"`      // DER
	Sealed      []byte    `json:"sealed,omitempty"` // the private key; gone once it is out of use
}

// signingState is the record as this process has read it.
type signingState struct {
	readAt  time.Time
	id      string
	created time.Time
	key     *rsa.PrivateKey   // nil: there is none yet
	pems    map[string][]byte // certificates by id
}

func newSigner(js jetstream.JetStream, key [32]byte, replicas int, base func() string) (*signer, error) {
	k := deriveKey(key, "signing key")
	block, err := aes.NewCipher(k[:])
	if err != nil {
		return nil, err
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, err
	}
	return &signer{
		js: js, replicas: replicas, base: base, aead: aead, misses: rate.NewLimiter(10, 10),
		rotateAfter: keyYear,
	}, nil
}

// deriveKey returns a key for one purpose, so that no two uses share one.
func deriveKey(key [32]byte, purpose string) [32]byte {
	k, err := hkdf.Key(sha256.New, key[:], nil, "openmnq sns "+purpose, 32)
	if err != nil { // only for a length that HKDF cannot give
		panic(err)
	}
	return [32]byte(k)
}

// signed is a signature as it stands in a message.
type signed struct {
	version   string // "1" or "2"
	signature string // base64
	certURL   string
}

// sign signs text with the given signature version. The same text is signed once,
// however many subscriptions it goes to.
func (s *signer) sign(ctx context.Context, version, text string) (signed, error) {
	st, err := s.current(ctx)
	if err != nil {
		return signed{}, err
	}
	version = cmp.Or(version, "1")
	sig, err := s.made.get(st.id, version, text, func() (string, error) {
		hash, digest := crypto.SHA1, sha1.Sum([]byte(text)) //nolint:gosec // as above
		sum := digest[:]
		if version == "2" {
			d := sha256.Sum256([]byte(text))
			hash, sum = crypto.SHA256, d[:]
		}
		raw, err := rsa.SignPKCS1v15(nil, st.key, hash, sum)
		return base64.StdEncoding.EncodeToString(raw), err
	})
	if err != nil {
		return signed{}, &mnq.Error{Kind: mnq.Internal, Op: "topic.sign", Err: err}
	}
	return signed{version: version, signature: sig, certURL: s.base() + certificatePrefix + st.id + certificateSuffix}, nil
}

// current returns a state with a key to sign with. When the store does not answer
// what is known goes on being used.
func (s *signer) current(ctx context.Context) (*signingState, error) {
	st := s.state.Load()
	if st != nil && st.key != nil && time.Since(st.readAt) < refreshAfter && time.Since(st.created) < s.rotateAfter {
		return st, nil
	}
	fresh, err := s.refresh(ctx, true)
	if err == nil {
		return fresh, nil
	}
	if st != nil && st.key != nil {
		return st, nil
	}
	return nil, &mnq.Error{Kind: mnq.Unavailable, Op: "topic.sign", Resource: signingBucket, Msg: "The signing key cannot be read. Please try again.", Err: err}
}

// refresh reads the record, and with create also makes a key when there is none or
// it is due for rotation. Concurrent calls share one read.
func (s *signer) refresh(ctx context.Context, create bool) (*signingState, error) {
	what := "read"
	if create {
		what = "create"
	}
	v, err, _ := s.load.Do(what, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTimeout)
		defer cancel()
		st, err := s.read(ctx, create)
		if err == nil {
			s.state.Store(st)
		}
		return st, err
	})
	if err != nil {
		return nil, err
	}
	return v.(*signingState), nil
}

func (s *signer) read(ctx context.Context, create bool) (*signingState, error) {
	kv, err := s.open(ctx, create)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return &signingState{readAt: time.Now()}, nil
	}
	if err != nil {
		return nil, err
	}
	for range 8 { // each turn is lost only to another process that got through
		var r signingRecord
		e, err := kv.Get(ctx, signingEntry)
		switch {
		case errors.Is(err, jetstream.ErrKeyNotFound):
		case err != nil:
			return nil, err
		default:
			if err := json.Unmarshal(e.Value(), &r); err != nil {
				return nil, fmt.Errorf("signing keys: %w", err)
			}
		}
		if !create || len(r.Keys) > 0 && time.Since(r.Keys[len(r.Keys)-1].CreatedAt) < s.rotateAfter {
			return s.adopt(r)
		}
		if err := s.add(&r); err != nil {
			return nil, err
		}
		data, err := json.Marshal(r)
		if err != nil {
			return nil, err
		}
		if e == nil {
			_, err = kv.Create(ctx, signingEntry, data)
		} else {
			_, err = kv.Update(ctx, signingEntry, data, e.Revision())
		}
		if err == nil {
			return s.adopt(r)
		}
		if !errors.Is(err, jetstream.ErrKeyExists) && !errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
			return nil, err
		}
	}
	return nil, errors.New("the signing keys are changed by others all the time")
}

// open returns the bucket. It is read from its leader only, so that a certificate
// is found by every process as soon as there is a signature that names it.
func (s *signer) open(ctx context.Context, create bool) (jetstream.KeyValue, error) {
	if create {
		_, err := s.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
			Name: "KV_" + signingBucket, Description: "SNS signing keys", Subjects: []string{"$KV." + signingBucket + ".>"},
			MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, Storage: jetstream.FileStorage, Replicas: s.replicas,
			DenyDelete: true, AllowRollup: true, AllowDirect: false,
		})
		if err != nil {
			return nil, err
		}
	}
	return s.js.KeyValue(ctx, signingBucket)
}

// add makes a new key. The private keys before it are dropped but for the last,
// which other processes may still be using.
func (s *signer) add(r *signingRecord) error {
	key, err := rsa.GenerateKey(rand.Reader, signingBits)
	if err != nil {
		return err
	}
	serial := make([]byte, 16)
	_, _ = rand.Read(serial) // never fails
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial),
		Subject:      pkix.Name{CommonName: "OpenMNQ SNS message signing"},
		NotBefore:    now.Add(-time.Hour), NotAfter: now.Add(certificateFor), // receivers' clocks may be behind
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(der)
	id := hex.EncodeToString(sum[:16])
	for i := range max(0, len(r.Keys)-1) {
		r.Keys[i].Sealed = nil
	}
	r.Keys = append(r.Keys, signingKey{
		ID: id, CreatedAt: now.UTC(), Certificate: der,
		Sealed: s.aead.Seal(nil, nil, x509.MarshalPKCS1PrivateKey(key), []byte(id)), //nolint:gosec // the nonce is random
	})
	r.Keys = r.Keys[max(0, len(r.Keys)-maxSigningKeys):]
	return nil
}

// adopt opens the newest key of a record.
func (s *signer) adopt(r signingRecord) (*signingState, error) {
	st := &signingState{readAt: time.Now(), pems: make(map[string][]byte, len(r.Keys))}
	for _, k := range r.Keys {
		st.pems[k.ID] = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: k.Certificate})
	}
	if len(r.Keys) == 0 {
		return st, nil
	}
	last := r.Keys[len(r.Keys)-1]
	if old := s.state.Load(); old != nil && old.id == last.ID {
		st.id, st.created, st.key = old.id, old.created, old.key
		return st, nil
	}
	plain, err := s.aead.Open(nil, nil, last.Sealed, []byte(last.ID))
	if err != nil {
		return nil, fmt.Errorf("the signing key was sealed with another master key: %w", err)
	}
	if st.key, err = x509.ParsePKCS1PrivateKey(plain); err != nil {
		return nil, err
	}
	st.id, st.created = last.ID, last.CreatedAt
	return st, nil
}

// Certificate returns the signing certificate that is served under a file name,
// SimpleNotificationService-<32 hex digits>.pem: the one in use and those before it.
func (s *Service) Certificate(ctx context.Context, file string) (pem []byte, ok bool) {
	return s.signer.certificate(ctx, file)
}

// certificate returns the certificate that is served under that file name. A name
// that is not known here is looked up, some times a second, because another process
// may have just made it.
func (s *signer) certificate(ctx context.Context, file string) ([]byte, bool) {
	id, ok := strings.CutPrefix(strings.TrimPrefix(file, "/"), certificatePrefix[1:])
	id, suffixed := strings.CutSuffix(id, certificateSuffix)
	if !ok || !suffixed || len(id) != 32 || strings.Trim(id, "0123456789abcdef") != "" {
		return nil, false
	}
	st := s.state.Load()
	if st == nil || st.pems[id] == nil && s.misses.Allow() {
		fresh, err := s.refresh(context.WithoutCancel(ctx), false) // others may wait for the same answer
		if err != nil {
			return nil, false
		}
		st = fresh
	}
	p := st.pems[id]
	return bytes.Clone(p), p != nil
}

// maxSignatures is how many signatures are remembered, at least; at most twice as many.
const maxSignatures = 4096

// signatures remembers what has been signed lately: an RSA signature costs about a
// millisecond, and a message goes to many subscriptions, and to some repeatedly.
type signatures struct {
	mu         sync.Mutex
	young, old map[[sha256.Size]byte]*madeSignature
}

type madeSignature struct {
	once sync.Once
	text string
	err  error
}

func (c *signatures) get(key, version, text string, make func() (string, error)) (string, error) {
	h := sha256.New()
	h.Write([]byte(key + " " + version + "\n" + text))
	m := c.entry([sha256.Size]byte(h.Sum(nil)))
	m.once.Do(func() { m.text, m.err = make() })
	return m.text, m.err
}

func (c *signatures) entry(k [sha256.Size]byte) *madeSignature {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.young[k]
	if m == nil {
		if m = c.old[k]; m == nil {
			m = &madeSignature{}
		}
		if len(c.young) >= maxSignatures || c.young == nil {
			c.young, c.old = map[[sha256.Size]byte]*madeSignature{}, c.young
		}
		c.young[k] = m
	}
	return m
}
