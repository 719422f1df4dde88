package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// signer makes SQS requests with a real signature (Signature Version 4). It is
// written for speed: one client, one host, the same headers in every request. It is
// not safe for concurrent use.
type signer struct {
	host, access, secret, region string

	day string // the key is for
	mac hash.Hash
	out []byte
	tmp []byte
}

const contentType = "application/x-amz-json-1.0"

// request returns the bytes of one request, valid until the next call.
func (s *signer) request(action string, body []byte, now time.Time) []byte {
	stamp := now.UTC().Format("20060102T150405Z")
	if day := stamp[:8]; s.day != day {
		key := []byte("AWS4" + s.secret)
		for _, part := range []string{day, s.region, "sqs", "aws4_request"} {
			m := hmac.New(sha256.New, key)
			m.Write([]byte(part))
			key = m.Sum(nil)
		}
		s.day, s.mac = day, hmac.New(sha256.New, key)
	}
	const signed = "content-type;host;x-amz-date;x-amz-target"
	sum := sha256.Sum256(body)
	t := s.tmp[:0]
	t = append(t, "POST\n/\n\ncontent-type:"+contentType+"\nhost:"...)
	t = append(t, s.host...)
	t = append(t, "\nx-amz-date:"...)
	t = append(t, stamp...)
	t = append(t, "\nx-amz-target:AmazonSQS."...)
	t = append(t, action...)
	t = append(t, "\n\n"+signed+"\n"...)
	t = hex.AppendEncode(t, sum[:])
	sum = sha256.Sum256(t)
	scope := stamp[:8] + "/" + s.region + "/sqs/aws4_request"
	t = append(t[:0], "AWS4-HMAC-SHA256\n"...)
	t = append(t, stamp...)
	t = append(t, '\n')
	t = append(t, scope...)
	t = append(t, '\n')
	t = hex.AppendEncode(t, sum[:])
	s.mac.Reset()
	s.mac.Write(t)
	sig := s.mac.Sum(t[:0])

	o := append(s.out[:0], "POST / HTTP/1.1\r\nHost: "...)
	o = append(o, s.host...)
	o = append(o, "\r\nContent-Type: "+contentType+"\r\nX-Amz-Date: "...)
	o = append(o, stamp...)
	o = append(o, "\r\nX-Amz-Target: AmazonSQS."...)
	o = append(o, action...)
	o = append(o, "\r\nAuthorization: AWS4-HMAC-SHA256 Credential="...)
	o = append(o, s.access...)
	o = append(o, '/')
	o = append(o, scope...)
	o = append(o, ", SignedHeaders="+signed+", Signature="...)
	o = hex.AppendEncode(o, sig)
	o = append(o, "\r\nContent-Length: "...)
	o = strconv.AppendInt(o, int64(len(body)), 10)
	o = append(o, "\r\n\r\n"...)
	s.out, s.tmp = append(o, body...), sig
	return s.out
}

// client is one keep-alive connection. It is not safe for concurrent use.
type client struct {
	conn net.Conn
	in   *bufio.Reader
	signer
	body []byte
}

// answerTimeout bounds one call, long polls included.
const answerTimeout = 30 * time.Second

func dial(ctx context.Context, t endpoint) (*client, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", t.addr)
	if err != nil {
		return nil, err
	}
	return &client{
		conn: conn, in: bufio.NewReaderSize(conn, 64<<10),
		signer: signer{host: t.addr, access: t.access, secret: t.secret, region: t.region},
	}, nil
}

func (c *client) close() error { return c.conn.Close() }

// call makes one request and returns the body of the answer, valid until the next
// call. Any status but 200 is an error.
func (c *client) call(action string, body []byte) ([]byte, error) {
	now := time.Now()
	if err := c.conn.SetDeadline(now.Add(answerTimeout)); err != nil {
		return nil, err
	}
	if _, err := c.conn.Write(c.request(action, body, now)); err != nil {
		return nil, err
	}
	status, err := c.read()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", action, err)
	}
	if status != 200 {
		return nil, fmt.Errorf("%s: HTTP %d: %.300s", action, status, c.body)
	}
	return c.body, nil
}

var errAnswer = errors.New("malformed HTTP answer")

// read takes in one answer: its status, and its body into c.body.
func (c *client) read() (status int, err error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return 0, errAnswer
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, errAnswer
	}
	length := -1
	for {
		if line, err = c.in.ReadSlice('\n'); err != nil {
			return 0, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("content-length")):
			if length, err = strconv.Atoi(string(value)); err != nil {
				return 0, errAnswer
			}
		case bytes.EqualFold(name, []byte("transfer-encoding")) && bytes.EqualFold(value, []byte("chunked")):
			length = -2
		}
	}
	c.body = c.body[:0]
	if length == -2 {
		return status, c.readChunks()
	}
	if length < 0 {
		return 0, errAnswer // it ends with the connection, which is to be kept
	}
	return status, c.readBytes(length)
}

func (c *client) readBytes(n int) error {
	have := len(c.body)
	if cap(c.body) < have+n {
		c.body = append(make([]byte, 0, 2*(have+n)), c.body...)
	}
	c.body = c.body[:have+n]
	_, err := io.ReadFull(c.in, c.body[have:])
	return err
}

func (c *client) readChunks() error {
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		size, _, _ := strings.Cut(strings.TrimSpace(string(line)), ";")
		n, err := strconv.ParseUint(size, 16, 31)
		if err != nil {
			return errAnswer
		}
		if err := c.readBytes(int(n)); err != nil {
			return err
		}
		if _, err := c.in.ReadSlice('\n'); err != nil {
			return err
		}
		if n == 0 {
			return nil
		}
	}
}
