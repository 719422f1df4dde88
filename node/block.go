package node

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/minio/highwayhash"
)

// The parts of a record in a block.
const (
	recordHeader  = 22 // length, sequence, time, length of the subject
	recordSum     = 8
	recordLargest = 32 << 20
	headersBit    = 1 << 31 // in the length: there are headers, behind their length
	erasedBit     = 1 << 63 // in the sequence
	tombstoneBit  = 1 << 62
)

// block is a file of records and what is wrong with it.
type block struct {
	path   string
	stream string
	number uint32
	last   bool // of its stream
	size   int

	bad  int  // where the first unreadable record begins; -1: none
	good int  // readable records behind it
	torn bool // nothing readable comes after it in the stream: an interrupted write leaves that
	hole bool // all that is unreadable is zeros: several writes that were interrupted leave that
	sum  hashOf
}

// hashOf sums records of one block.
type hashOf func(parts ...[]byte) []byte

// newHash returns what sums the records of a block: the key is the stream's name and the
// block's number, so that a block in the place of another one is noticed too.
func newHash(stream string, number uint32) (hashOf, error) {
	key := sha256.Sum256(fmt.Appendf(nil, "%s-%d", stream, number))
	h, err := highwayhash.NewDigest64(key[:])
	if err != nil {
		return nil, err
	}
	var out [highwayhash.Size64]byte
	return func(parts ...[]byte) []byte {
		h.Reset()
		for _, p := range parts {
			_, _ = h.Write(p) // never fails
		}
		return h.Sum(out[:0])
	}, nil
}

// record returns the length of the record at the beginning of b; 0: there is none that
// is whole.
func record(b []byte, sum hashOf) int {
	if len(b) < recordHeader+recordSum {
		return 0
	}
	le := binary.LittleEndian
	length, subject := le.Uint32(b), int(le.Uint16(b[20:]))
	headers := length&headersBit != 0
	length &^= headersBit
	least := recordHeader + subject + recordSum
	if headers {
		least += 4
	}
	if length > recordLargest || int(length) < least || int(length) > len(b) {
		return 0
	}
	body := b[recordHeader : int(length)-recordSum]
	rest := body[subject:]
	if headers {
		rest = rest[4:]
	}
	if !bytes.Equal(sum(b[4:20], body[:subject], rest), b[int(length)-recordSum:length]) {
		return 0
	}
	return int(length)
}

// plausible reports whether a record may begin with b. It keeps the search behind damage
// from summing up everything again and again.
func plausible(b []byte) bool {
	if len(b) < recordHeader+recordSum {
		return false
	}
	le := binary.LittleEndian
	seq, at := le.Uint64(b[4:])&^(erasedBit|tombstoneBit), le.Uint64(b[12:])
	return seq > 0 && seq < 1<<48 && at < 1<<62 && le.Uint16(b[20:]) < 4096
}

// inspect reads the block.
func (k *block) inspect() (data []byte, err error) {
	if data, err = os.ReadFile(k.path); err != nil {
		return nil, err
	}
	k.size, k.bad, k.hole = len(data), -1, true
	if bytes.HasPrefix(data, []byte("cmp")) {
		return data, nil // compressed at a tenant's wish: the server sums it up itself
	}
	if k.sum, err = newHash(k.stream, k.number); err != nil {
		return nil, err
	}
	for at := 0; at < len(data); {
		n := record(data[at:], k.sum)
		switch {
		case n > 0 && k.bad >= 0:
			k.good++
			at += n
		case n > 0:
			at += n
		default:
			if k.bad < 0 {
				k.bad = at
			}
			next := k.next(data, at)
			k.hole = k.hole && len(bytes.Trim(data[at:next], "\x00")) == 0
			at = next
		}
	}
	k.torn = k.bad >= 0 && k.good == 0 && k.last
	return data, nil
}

// next is where the next record begins behind an unreadable one.
func (k *block) next(data []byte, at int) int {
	for at++; at < len(data); at++ {
		if plausible(data[at:]) && record(data[at:], k.sum) > 0 {
			break
		}
	}
	return at
}

// blocks lists the blocks of all streams below dir.
func blocks(dir string) ([]*block, error) {
	var all []*block
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		name, isBlock := strings.CutSuffix(filepath.Base(path), ".blk")
		if err != nil || !isBlock {
			return err
		}
		n, err := strconv.ParseUint(name, 10, 32)
		if err != nil {
			return nil //nolint:nilerr // a file of somebody else
		}
		all = append(all, &block{path: path, stream: filepath.Base(filepath.Dir(filepath.Dir(path))), number: uint32(n)})
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	newest := map[string]*block{}
	for _, k := range all {
		if n := newest[filepath.Dir(k.path)]; n == nil || n.number < k.number {
			newest[filepath.Dir(k.path)] = k
		}
	}
	for _, k := range newest {
		k.last = true
	}
	return all, err
}
