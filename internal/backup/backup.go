// Package backup is the file that mnq backup writes: a tar archive with the streams of an
// installation and checksums of each, closed by one over everything before it. A reader
// notices every changed, missing and added byte.
//
//	manifest.json           what it is of
//	streams/<n>/stream.json account, name, configuration and state
//	streams/<n>/data/<k>    the stream's snapshot, in parts
//	sums.json               the streams that count, with their checksums
//	end                     the SHA-256 of all that stands before
//
// A stream may be there twice; sums.json says which one counts. Instead of sums.json and
// end a file has "error" when it could not be completed.
package backup

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"time"

	"github.com/openmnq/mnq"
)

// Format is the version of the file. A program reads its own and every older one.
const Format = 1

const (
	maxPart = 1 << 20  // of a snapshot, in one entry
	maxJSON = 64 << 20 // of an entry that is not a snapshot

	manifestName = "manifest.json"
	sumsName     = "sums.json"
	errorName    = "error"
	endName      = "end"
)

// Manifest says what a backup is of.
type Manifest struct {
	Format         int       `json:"format"`
	Version        string    `json:"version"` // of the mnq that wrote it
	CreatedAt      time.Time `json:"created_at"`
	OrganizationID string    `json:"organization_id"`
	Region         string    `json:"region"`
	KeyCheck       []byte    `json:"key_check"` // opens with the installation's master key only
}

// Stream is one stream of a backup.
type Stream struct {
	Account  string          `json:"account"` // the namespace's id, or Control
	Name     string          `json:"name"`
	Messages uint64          `json:"messages"`
	Config   json.RawMessage `json:"config"`
	State    json.RawMessage `json:"state"`
}

// Control stands for the control account, whose id differs between installations.
const Control = "control"

// Sum is the checksum of one stream that counts.
type Sum struct {
	N        int    `json:"n"`
	Account  string `json:"account"`
	Name     string `json:"name"`
	Messages uint64 `json:"messages"`
	Bytes    int64  `json:"bytes"`
	SHA256   string `json:"sha256"` // of stream.json and the snapshot
}

// Sums close a backup.
type Sums struct {
	Streams  []Sum    `json:"streams"`
	Warnings []string `json:"warnings,omitempty"` // what the backup may lack
}

// Writer writes a backup.
type Writer struct {
	tar  *tar.Writer
	all  hash.Hash
	sums map[[2]string]Sum // by account and name
	n    int
}

// NewWriter begins a backup.
func NewWriter(w io.Writer, m Manifest) (*Writer, error) {
	m.Format = Format
	b := &Writer{all: sha256.New(), sums: map[[2]string]Sum{}}
	b.tar = tar.NewWriter(io.MultiWriter(w, b.all))
	return b, b.json(manifestName, m)
}

func (b *Writer) entry(name string, data []byte) error {
	if err := b.tar.WriteHeader(header(name, len(data))); err != nil {
		return err
	}
	_, err := b.tar.Write(data)
	return err
}

func header(name string, size int) *tar.Header {
	return &tar.Header{Name: name, Mode: 0o600, Size: int64(size), Format: tar.FormatUSTAR}
}

func (b *Writer) json(name string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return b.entry(name, data)
}

// Stream writes one stream; body writes its snapshot. An earlier one of the same account
// and name does not count any more.
func (b *Writer) Stream(s Stream, body func(io.Writer) error) error {
	b.n++
	dir := fmt.Sprintf("streams/%d/", b.n)
	meta, err := json.Marshal(s)
	if err != nil {
		return err
	}
	sum := sha256.New()
	_, _ = sum.Write(meta) // a hash takes everything
	if err := b.entry(dir+"stream.json", meta); err != nil {
		return err
	}
	p := &parts{b: b, dir: dir + "data/", sum: sum}
	if err := body(p); err != nil {
		return err
	}
	if err := p.flush(); err != nil {
		return err
	}
	if err := b.tar.Flush(); err != nil {
		return err
	}
	b.sums[[2]string{s.Account, s.Name}] = Sum{b.n, s.Account, s.Name, s.Messages, p.bytes, hex.EncodeToString(sum.Sum(nil))}
	return nil
}

// Drop takes back a stream that was written.
func (b *Writer) Drop(account, name string) { delete(b.sums, [2]string{account, name}) }

// parts cuts a snapshot into entries.
type parts struct {
	b     *Writer
	dir   string
	sum   hash.Hash
	buf   []byte
	n     int
	bytes int64
}

// Write implements [io.Writer].
func (p *parts) Write(data []byte) (int, error) {
	p.buf = append(p.buf, data...)
	if len(p.buf) >= maxPart {
		return len(data), p.flush()
	}
	return len(data), nil
}

func (p *parts) flush() error {
	for len(p.buf) > 0 {
		part := p.buf[:min(len(p.buf), maxPart)]
		p.n++
		p.bytes += int64(len(part))
		_, _ = p.sum.Write(part) // a hash takes everything
		if err := p.b.entry(fmt.Sprintf("%s%d", p.dir, p.n), part); err != nil {
			return err
		}
		p.buf = p.buf[len(part):]
	}
	p.buf = p.buf[:0]
	return nil
}

// Close completes the backup.
func (b *Writer) Close(warnings []string) error {
	s := Sums{Warnings: warnings, Streams: []Sum{}}
	for _, one := range b.sums {
		s.Streams = append(s.Streams, one)
	}
	sortSums(s.Streams)
	if err := b.json(sumsName, s); err != nil {
		return err
	}
	if err := b.tar.Flush(); err != nil {
		return err
	}
	if err := b.entry(endName, fmt.Appendf(nil, "%x", b.all.Sum(nil))); err != nil {
		return err
	}
	return b.tar.Close()
}

// Fail ends a backup that cannot be completed.
func (b *Writer) Fail(reason string) error {
	return errors.Join(b.entry(errorName, []byte(reason)), b.tar.Close())
}

// tail is what a whole file ends with: the entry end, and the end of the archive.
func tail(sum []byte) []byte {
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	text := fmt.Appendf(nil, "%x", sum)
	if err := t.WriteHeader(header(endName, len(text))); err != nil {
		panic(err) // it fits
	}
	_, _ = t.Write(text) // into memory
	_ = t.Close()
	return b.Bytes()
}

// invalid refuses a file.
func invalid(format string, args ...any) error {
	return &mnq.Error{Kind: mnq.Invalid, Op: "backup", Msg: fmt.Sprintf(format, args...)}
}
