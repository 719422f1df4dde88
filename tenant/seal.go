package tenant

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/atomicfile"
)

const (
	masterKeySize = 32
	keyIDSize     = 4
	sealVersion   = 1
)

// Sealer encrypts what must be readable again: SQS and SNS secret keys, which
// verify signatures, and account signing seeds. It is safe for concurrent use.
//
// A sealed value is version, key id, nonce and AES-256-GCM ciphertext. It is
// bound to the place it was sealed for: it does not open anywhere else, so
// records with sealed values cannot be swapped.
type Sealer struct {
	aead   cipher.AEAD
	keyID  [keyIDSize]byte
	master [masterKeySize]byte
}

// NewSealer makes a sealer from the 32 bytes of a master key.
func NewSealer(master []byte) (*Sealer, error) {
	if len(master) != masterKeySize {
		return nil, fmt.Errorf("master key has %d bytes, not %d", len(master), masterKeySize)
	}
	s := &Sealer{master: [masterKeySize]byte(master)}
	key := s.DeriveKey("seal")
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, err
	}
	if s.aead, err = cipher.NewGCMWithRandomNonce(block); err != nil {
		return nil, err
	}
	id := s.DeriveKey("seal key id")
	s.keyID = [keyIDSize]byte(id[:keyIDSize])
	return s, nil
}

// Seal encrypts plain for the place named by kind and id.
func (s *Sealer) Seal(kind, id string, plain []byte) []byte {
	out := append([]byte{sealVersion}, s.keyID[:]...)
	return s.aead.Seal(out, nil, plain, place(kind, id)) //nolint:gosec // the nonce is random: see NewSealer
}

// Open decrypts what Seal made for the same kind and id. It fails on any other
// key or place, and on a changed byte.
func (s *Sealer) Open(kind, id string, sealed []byte) ([]byte, error) {
	const head = 1 + keyIDSize
	switch {
	case len(sealed) < head || sealed[0] != sealVersion:
		return nil, errors.New("not a sealed value of a known version")
	case !bytes.Equal(sealed[1:head], s.keyID[:]):
		return nil, fmt.Errorf("sealed with another master key (id %x, this one is %x)", sealed[1:head], s.keyID)
	}
	return s.aead.Open(nil, nil, sealed[head:], place(kind, id))
}

func place(kind, id string) []byte { return []byte(kind + "\x00" + id) }

// DeriveKey returns a key for another purpose than sealing, the same in every
// process with this master key. The purpose names it for good.
func (s *Sealer) DeriveKey(purpose string) [32]byte {
	k, err := hkdf.Key(sha256.New, s.master[:], nil, "openmnq "+purpose, 32)
	if err != nil { // only for a length that HKDF cannot give
		panic(err)
	}
	return [32]byte(k)
}

// text is the master key as it is stored.
func (s *Sealer) text() string { return base64.StdEncoding.EncodeToString(s.master[:]) }

// masterKeyPath is where the key lives unless it is given.
func masterKeyPath(dataDir string) string { return filepath.Join(dataDir, "keys", "master.key") }

// loadSealer makes the sealer from the given key (base64), or else from the key
// file. It returns nil when there is neither.
func loadSealer(given, dataDir string) (*Sealer, error) {
	if given != "" {
		return parseMasterKey(given, "master-key")
	}
	path := masterKeyPath(dataDir)
	text, err := atomicfile.ReadSecret(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &mnq.Error{Kind: mnq.Invalid, Op: "tenant.New", Resource: path, Msg: "cannot read the master key", Err: err}
	}
	return parseMasterKey(string(text), path)
}

func parseMasterKey(text, source string) (*Sealer, error) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err == nil {
		var s *Sealer
		if s, err = NewSealer(raw); err == nil {
			return s, nil
		}
	}
	return nil, &mnq.Error{
		Kind: mnq.Invalid, Op: "tenant.New", Field: "master-key", Resource: source,
		Msg: "must be 32 bytes in base64", Hint: "openssl rand -base64 32", Err: redact(err),
	}
}

// redact keeps a decoding error from quoting the key.
func redact(err error) error {
	if _, ok := errors.AsType[base64.CorruptInputError](err); ok {
		return errors.New("not base64")
	}
	return err
}

// createMasterKey makes a random key and stores it in the key file.
func createMasterKey(dataDir string) (*Sealer, error) {
	raw := make([]byte, masterKeySize)
	if _, err := rand.Read(raw); err != nil {
		return nil, err
	}
	text := base64.StdEncoding.EncodeToString(raw) + "\n"
	if err := atomicfile.Write(masterKeyPath(dataDir), []byte(text)); err != nil {
		return nil, fmt.Errorf("store the master key: %w", err)
	}
	return NewSealer(raw)
}
