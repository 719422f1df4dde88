package backup

import (
	"archive/tar"
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/openmnq/mnq"
)

func sortSums(s []Sum) { slices.SortFunc(s, func(a, b Sum) int { return cmp.Compare(a.N, b.N) }) }

// Reader reads a backup from its beginning to its end and checks it on the way.
type Reader struct {
	Manifest Manifest
	Sums     Sums // after Next has returned io.EOF

	raw  io.Reader // what the archive reads, hashed as it is read
	tar  *tar.Reader
	all  hash.Hash
	have map[int]Sum // of what has been read
	cur  *body
	next *tar.Header // read already, belongs to what comes
	done bool
}

// NewReader reads the manifest. The file's sums are checked only by reading on until
// Next returns io.EOF.
func NewReader(r io.Reader) (*Reader, error) {
	b := &Reader{all: sha256.New(), have: map[int]Sum{}}
	b.raw = io.TeeReader(r, b.all)
	b.tar = tar.NewReader(b.raw)
	h, err := b.tar.Next()
	if err != nil || h.Name != manifestName {
		return nil, invalid("this is no backup that mnq has written")
	}
	if err := b.json(h, &b.Manifest); err != nil {
		return nil, err
	}
	if b.Manifest.Format < 1 {
		return nil, invalid("this is no backup that mnq has written")
	}
	if b.Manifest.Format > Format {
		return nil, invalid("the backup has format %d, and this mnq reads formats up to %d: use the mnq that wrote it, or a newer one", b.Manifest.Format, Format)
	}
	return b, nil
}

func (b *Reader) json(h *tar.Header, v any) error {
	if h.Size > maxJSON {
		return invalid("the backup is damaged: %s is too large", h.Name)
	}
	data, err := io.ReadAll(b.tar)
	if err != nil {
		return b.broken(err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return invalid("the backup is damaged in %s: %s", h.Name, err)
	}
	return nil
}

// broken says how a file ends before its end, or how it is no archive any more.
func (b *Reader) broken(err error) error {
	where := ""
	if b.cur != nil {
		where = " in stream " + b.cur.Account + " > " + b.cur.Name
	}
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return invalid("the backup is cut short%s: it was not completed, or not copied whole", where)
	}
	if errors.Is(err, tar.ErrHeader) {
		return invalid("the backup is damaged%s", where)
	}
	if e, ok := errors.AsType[*mnq.Error](err); ok {
		return e
	}
	return fmt.Errorf("read the backup: %w", err)
}

// header is the next entry.
func (b *Reader) header() (*tar.Header, error) {
	if h := b.next; h != nil {
		b.next = nil
		return h, nil
	}
	h, err := b.tar.Next()
	if err != nil {
		return nil, b.broken(err)
	}
	return h, nil
}

// Next passes over what is left of the stream before and returns the next one with its
// snapshot. io.EOF: that was all, and all of it is as it was written. It does not know
// yet whether the stream counts: see Counts.
func (b *Reader) Next() (Stream, io.Reader, error) {
	if b.done {
		return Stream{}, nil, io.EOF
	}
	if b.cur != nil {
		if _, err := io.Copy(io.Discard, b.cur); err != nil {
			return Stream{}, nil, err
		}
		b.have[b.cur.n] = Sum{b.cur.n, b.cur.Account, b.cur.Name, b.cur.Messages, b.cur.bytes, hex.EncodeToString(b.cur.sum.Sum(nil))}
	}
	h, err := b.header()
	if err != nil {
		return Stream{}, nil, err
	}
	switch h.Name {
	case errorName:
		text, err := io.ReadAll(io.LimitReader(b.tar, 4096))
		if err != nil {
			return Stream{}, nil, b.broken(err)
		}
		return Stream{}, nil, invalid("the backup was not completed: %s", text)
	case sumsName:
		return Stream{}, nil, b.finish(h)
	}
	n, ok := number(h.Name, "/stream.json")
	if !ok {
		return Stream{}, nil, invalid("the backup is damaged: it has an entry %q", h.Name)
	}
	if h.Size > maxJSON {
		return Stream{}, nil, invalid("the backup is damaged: %s is too large", h.Name)
	}
	meta, err := io.ReadAll(b.tar)
	if err != nil {
		return Stream{}, nil, b.broken(err)
	}
	b.cur = &body{r: b, n: n, sum: sha256.New()}
	_, _ = b.cur.sum.Write(meta) // a hash takes everything
	if err := json.Unmarshal(meta, &b.cur.Stream); err != nil {
		return Stream{}, nil, invalid("the backup is damaged in %s: %s", h.Name, err)
	}
	return b.cur.Stream, b.cur, nil
}

// number reads the n of streams/<n><rest>.
func number(name, rest string) (int, bool) {
	text, ok := strings.CutPrefix(name, "streams/")
	text, ok2 := strings.CutSuffix(text, rest)
	n, err := strconv.Atoi(text)
	return n, ok && ok2 && err == nil
}

// finish compares the sums, and the sum of everything.
func (b *Reader) finish(h *tar.Header) error {
	if err := b.json(h, &b.Sums); err != nil {
		return err
	}
	var damaged []string
	for _, want := range b.Sums.Streams {
		if have, ok := b.have[want.N]; !ok || have != want {
			damaged = append(damaged, want.Account+" > "+want.Name)
		}
	}
	if damaged != nil {
		return invalid("the backup is damaged in %d of %d streams: %s", len(damaged), len(b.Sums.Streams), few(damaged))
	}
	// The entry's padding belongs to what is summed up; the archive is always read
	// in whole blocks.
	if pad := (512 - h.Size%512) % 512; pad > 0 {
		if _, err := io.CopyN(io.Discard, b.raw, pad); err != nil {
			return b.broken(err)
		}
	}
	want := tail(b.all.Sum(nil))
	rest, err := io.ReadAll(io.LimitReader(b.raw, int64(len(want))+1))
	switch {
	case err != nil:
		return b.broken(err)
	case len(rest) < len(want):
		return b.broken(io.ErrUnexpectedEOF)
	case !bytes.Equal(rest, want):
		return invalid("the backup is damaged: its sum is not that of what it holds")
	}
	b.done, b.cur = true, nil
	return io.EOF
}

func few(names []string) string {
	if len(names) > 3 {
		names = append(slices.Clone(names[:3]), "…")
	}
	return strings.Join(names, ", ")
}

// Counts lists the streams that count, by number, from a file that was read to its end.
func (b *Reader) Counts() map[int]Sum {
	all := map[int]Sum{}
	for _, s := range b.Sums.Streams {
		all[s.N] = s
	}
	return all
}

// N is the number of the stream that Next has returned last.
func (b *Reader) N() int { return b.cur.n }

// body is the snapshot of one stream.
type body struct {
	Stream

	r     *Reader
	n     int
	sum   hash.Hash
	part  int
	bytes int64
	ended bool
	open  bool // an entry is being read
}

// Read implements [io.Reader].
func (s *body) Read(p []byte) (int, error) {
	for {
		if s.ended {
			return 0, io.EOF
		}
		if !s.open {
			h, err := s.r.header()
			if err != nil {
				return 0, err
			}
			if path.Dir(h.Name) != fmt.Sprintf("streams/%d/data", s.n) {
				s.r.next, s.ended = h, true
				continue
			}
			s.part++
			if path.Base(h.Name) != strconv.Itoa(s.part) {
				return 0, invalid("the backup is damaged in stream %s > %s: part %d is missing", s.Account, s.Name, s.part)
			}
			s.open = true
		}
		n, err := s.r.tar.Read(p)
		_, _ = s.sum.Write(p[:n]) // a hash takes everything
		s.bytes += int64(n)
		if errors.Is(err, io.EOF) {
			s.open, err = false, nil
		}
		if err != nil {
			return n, s.r.broken(err)
		}
		if n > 0 {
			return n, nil
		}
	}
}
