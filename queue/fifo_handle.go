package queue

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"

	"github.com/google/uuid"
)

// hash stands for a client's text in a subject, where the text itself must not be.
type hash [16]byte

func hashOf(s string) hash {
	sum := sha256.Sum256([]byte(s))
	return hash(sum[:16])
}

func (h hash) String() string { return base64.RawURLEncoding.EncodeToString(h[:]) }

func parseHash(s string) (h hash, ok bool) {
	n, err := base64.RawURLEncoding.Strict().Decode(h[:], []byte(s))
	return h, err == nil && n == len(h)
}

// fifoReceipt is what a FIFO queue's receipt handle stands for.
type fifoReceipt struct {
	seq   uint64
	sent  time.Time // when the stream took the message
	id    uuid.UUID
	dedup hash
	group hash
	token token
}

const fifoReceiptSize = 8 + 8 + 16 + 16 + 16 + 8

// sealFIFO returns the handle of a delivery, made as [sealer.seal] does.
func (s *sealer) sealFIFO(queueID string, r fifoReceipt) string {
	content := make([]byte, 0, fifoReceiptSize)
	content = binary.BigEndian.AppendUint64(content, r.seq)
	content = binary.BigEndian.AppendUint64(content, uint64(r.sent.UnixNano()))
	for _, part := range [...][]byte{r.id[:], r.dedup[:], r.group[:], r.token[:]} {
		content = append(content, part...)
	}
	return s.lock(queueID, content)
}

// openFIFO reads a handle that sealFIFO made for the same queue. Anything else is
// ReceiptHandleIsInvalid.
func (s *sealer) openFIFO(queueID, handle string) (fifoReceipt, error) {
	content, err := s.unlock(queueID, handle, fifoReceiptSize)
	if err != nil {
		return fifoReceipt{}, err
	}
	r := fifoReceipt{
		seq:  binary.BigEndian.Uint64(content),
		sent: time.Unix(0, int64(binary.BigEndian.Uint64(content[8:]))), //nolint:gosec // written from an int64
	}
	copy(r.id[:], content[16:])
	copy(r.dedup[:], content[32:])
	copy(r.group[:], content[48:])
	copy(r.token[:], content[64:])
	return r, nil
}
