package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"golang.org/x/sync/errgroup"
)

// client is one keep-alive connection that sends signed SQS requests. Requests
// are signed once and sent again as they are, so that the generator costs little.
type client struct {
	addr string
	conn net.Conn
	in   *bufio.Reader
}

func dial(addr string) (*client, error) {
	var d net.Dialer
	c, err := d.DialContext(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &client{addr, c, bufio.NewReader(c)}, nil
}

// signed returns the bytes of a JSON request as the --dev tenant.
func signed(addr, action, body string) ([]byte, error) {
	r, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+addr+"/", strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("X-Amz-Target", "AmazonSQS."+action)
	r.Header.Set("Content-Type", "application/x-amz-json-1.0")
	sum := sha256.Sum256([]byte(body))
	who := aws.Credentials{AccessKeyID: "test", SecretAccessKey: "test"}
	if err := v4.NewSigner().SignHTTP(context.Background(), who, r, hex.EncodeToString(sum[:]), "sqs", "us-east-1", time.Now()); err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(strings.NewReader(body)) // signing has read it
	var b bytes.Buffer
	if err := r.Write(&b); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// do sends a request and returns the body of its answer; anything but 200 is an error.
func (c *client) do(raw []byte) ([]byte, error) {
	if _, err := c.conn.Write(raw); err != nil {
		return nil, err
	}
	res, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(res.Body)
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %.300s", res.Status, body)
	}
	return body, nil
}

// call signs and sends.
func (c *client) call(action, body string) ([]byte, error) {
	raw, err := signed(c.addr, action, body)
	if err != nil {
		return nil, err
	}
	return c.do(raw)
}

// parallel runs f on n connections and returns the first error.
func parallel(addr string, n int, f func(i int, c *client) error) error {
	var g errgroup.Group
	for i := range n {
		g.Go(func() error {
			c, err := dial(addr)
			if err != nil {
				return err
			}
			return errors.Join(f(i, c), c.conn.Close())
		})
	}
	return g.Wait()
}

// rate runs step again and again on n connections for d and returns how often a second.
func rate(addr string, n int, d time.Duration, step func(c *client) (done int, err error)) (float64, error) {
	counts := make([]int, n)
	begun := time.Now()
	err := parallel(addr, n, func(i int, c *client) error {
		for time.Since(begun) < d {
			done, err := step(c)
			if err != nil {
				return err
			}
			counts[i] += done
		}
		return nil
	})
	total := 0
	for _, n := range counts {
		total += n
	}
	return float64(total) / time.Since(begun).Seconds(), err
}

// handles picks the receipt handles out of a ReceiveMessage answer.
func handles(body []byte) []string {
	const field = `"ReceiptHandle":"`
	var out []string
	for {
		_, after, ok := bytes.Cut(body, []byte(field))
		if !ok {
			return out
		}
		h, rest, _ := bytes.Cut(after, []byte{'"'})
		out, body = append(out, string(h)), rest
	}
}
