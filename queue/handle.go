package queue

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/openmnq/mnq"
)

// receipt is what a receipt handle stands for: one delivery of one message.
type receipt struct {
	stream   uint64    // sequence in the stream: the message
	consumer uint64    // sequence in the consumer: the delivery
	count    uint32    // how often the message has been delivered
	stamp    int64     // the server's time stamp, part of the acknowledgement's subject
	expires  time.Time // when the visibility given with it ends (milliseconds)
	received time.Time // when the receiver got it (milliseconds)
	holder   holder    // the process that handed it out
	track    track     // of the queue's consumers, the one that delivered it
}

const (
	handleVersion = 2
	receiptSize   = 8 + 8 + 4 + 8 + 8 + 8 + 4 + 1
	handleTag     = 16
	maxHandle     = 1024 // characters, as the service's own limit
)

// sealer makes receipt handles and reads them back. A handle is encrypted and
// authenticated (a synthetic-IV construction: the tag is an HMAC over queue and
// content and also the counter's start, so no nonce can repeat by accident), and
// it opens only for the queue it was made for.
type sealer struct {
	mac   []byte
	block cipher.Block
}

// newSealer derives the two keys from a secret of 32 bytes.
func newSealer(secret []byte) (*sealer, error) {
	mac, err := hkdf.Key(sha256.New, secret, nil, "receipt handle mac", 32)
	if err != nil {
		return nil, err
	}
	enc, err := hkdf.Key(sha256.New, secret, nil, "receipt handle cipher", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(enc)
	return &sealer{mac, block}, err
}

func (s *sealer) tag(queueID string, content []byte) []byte {
	h := hmac.New(sha256.New, s.mac)
	h.Write([]byte{handleVersion, byte(len(queueID) & 0xff)})
	h.Write([]byte(queueID))
	h.Write(content)
	return h.Sum(nil)[:handleTag]
}

// lock encrypts and authenticates what a handle of the queue stands for.
func (s *sealer) lock(queueID string, content []byte) string {
	raw := make([]byte, 1+handleTag+len(content))
	raw[0] = handleVersion
	tag := s.tag(queueID, content)
	copy(raw[1:], tag)
	cipher.NewCTR(s.block, tag).XORKeyStream(raw[1+handleTag:], content)
	return base64.RawURLEncoding.EncodeToString(raw)
}

// unlock returns the size bytes that lock made a handle of, for the same queue.
// Anything else is ReceiptHandleIsInvalid.
func (s *sealer) unlock(queueID, handle string, size int) ([]byte, error) {
	if len(handle) != base64.RawURLEncoding.EncodedLen(1+handleTag+size) {
		return nil, invalidHandle(handle)
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(handle)
	if err != nil || raw[0] != handleVersion {
		return nil, invalidHandle(handle)
	}
	tag, content := raw[1:1+handleTag], make([]byte, size)
	cipher.NewCTR(s.block, tag).XORKeyStream(content, raw[1+handleTag:])
	if !hmac.Equal(tag, s.tag(queueID, content)) {
		return nil, invalidHandle(handle)
	}
	return content, nil
}

// seal returns the handle of a delivery of the queue.
func (s *sealer) seal(queueID string, r receipt) string {
	var content [receiptSize]byte
	binary.BigEndian.PutUint64(content[0:], r.stream)
	binary.BigEndian.PutUint64(content[8:], r.consumer)
	binary.BigEndian.PutUint32(content[16:], r.count)
	binary.BigEndian.PutUint64(content[20:], uint64(r.stamp)) //nolint:gosec // read back as int64
	binary.BigEndian.PutUint64(content[28:], uint64(r.expires.UnixMilli()))
	binary.BigEndian.PutUint64(content[36:], uint64(r.received.UnixMilli()))
	binary.BigEndian.PutUint32(content[44:], uint32(r.holder))
	content[48] = byte(r.track)
	return s.lock(queueID, content[:])
}

// open reads a handle that seal made for the same queue. Anything else is
// ReceiptHandleIsInvalid.
func (s *sealer) open(queueID, handle string) (receipt, error) {
	content, err := s.unlock(queueID, handle, receiptSize)
	if err != nil {
		return receipt{}, err
	}
	return receipt{
		stream:   binary.BigEndian.Uint64(content[0:]),
		consumer: binary.BigEndian.Uint64(content[8:]),
		count:    binary.BigEndian.Uint32(content[16:]),
		stamp:    int64(binary.BigEndian.Uint64(content[20:])),                 //nolint:gosec // written from an int64
		expires:  time.UnixMilli(int64(binary.BigEndian.Uint64(content[28:]))), //nolint:gosec // likewise
		received: time.UnixMilli(int64(binary.BigEndian.Uint64(content[36:]))), //nolint:gosec // likewise
		holder:   holder(binary.BigEndian.Uint32(content[44:])),
		track:    track(content[48]),
	}, nil
}

func invalidHandle(handle string) error {
	if len(handle) > maxHandle {
		handle = handle[:maxHandle] + "…"
	}
	return &mnq.Error{
		Kind: mnq.Invalid, Code: "ReceiptHandleIsInvalid", Op: "queue.handle", Field: "ReceiptHandle",
		Msg: fmt.Sprintf("The input receipt handle %q is not a valid receipt handle.", handle),
	}
}
