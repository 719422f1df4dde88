package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// What the scale measurements use.
const (
	clients  = 16
	backlog  = 1_000_000
	polls    = 5_000
	queues   = 1_000
	groups   = 10_000
	measured = 5 * time.Second
)

// server is a running `mnq serve --dev --ephemeral`.
type server struct {
	cmd  *exec.Cmd
	addr string
}

func startDev(ctx context.Context, bin, addr string) (*server, error) {
	cmd := exec.CommandContext(ctx, bin, "serve", "--dev", "--ephemeral", "--fsync", "interval", "--http", addr, "--nats", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), "MNQ_LOG_LEVEL=error")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{cmd, addr}
	for ctx.Err() == nil {
		if ok, err := isReady(ctx, "http://"+addr); err == nil && ok {
			return s, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil, errors.Join(ctx.Err(), s.stop())
}

func (s *server) stop() error {
	return errors.Join(s.cmd.Process.Signal(syscall.SIGTERM), s.cmd.Wait())
}

func (s *server) megabytes() (float64, error) {
	rss, err := residentBytes(s.cmd.Process.Pid)
	return float64(rss) / 1e6, err
}

// scale measures what a queue, a namespace and a server bear, each with a server of
// its own.
func scale(bin, addr string, names []string) error {
	runs := map[string]func(*server) error{"backlog": deep, "polls": waiting, "queues": many, "groups": fifo}
	for _, name := range names {
		run := runs[name]
		if run == nil {
			return fmt.Errorf("nothing to measure is called %q", name)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
		s, err := startDev(ctx, bin, addr)
		if err == nil {
			err = errors.Join(run(s), s.stop())
		}
		cancel()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func createQueue(addr, name, attributes string) error {
	return parallel(addr, 1, func(_ int, c *client) error {
		_, err := c.call("CreateQueue", `{"QueueName":"`+name+`","Attributes":{`+attributes+`}}`)
		return err
	})
}

var kibibyte = strings.Repeat("x", 1024)

func batchOf(n int, more string) string {
	entries := make([]string, n)
	for i := range entries {
		entries[i] = fmt.Sprintf(`{"Id":"%d","MessageBody":"%s"%s}`, i, kibibyte, more)
	}
	return strings.Join(entries, ",")
}

// rates are the three operations that must not depend on what is waiting.
type rates struct{ send, receive, remove float64 }

func measureQueue(addr string) (r rates, err error) {
	send, err := signed(addr, "SendMessage", `{"QueueUrl":"q","MessageBody":"`+kibibyte+`"}`)
	if err != nil {
		return r, err
	}
	receive, err := signed(addr, "ReceiveMessage", `{"QueueUrl":"q","VisibilityTimeout":600}`)
	if err != nil {
		return r, err
	}
	if r.send, err = rate(addr, clients, measured, func(c *client) (int, error) {
		_, err := c.do(send)
		return 1, err
	}); err != nil {
		return r, err
	}
	taken := make(chan string, 200_000)
	if r.receive, err = rate(addr, clients, measured, func(c *client) (int, error) {
		body, err := c.do(receive)
		n := 0
		for _, h := range handles(body) {
			n++
			select {
			case taken <- h:
			default:
			}
		}
		return n, err
	}); err != nil {
		return r, err
	}
	close(taken)
	n := len(taken)
	begun := time.Now()
	err = parallel(addr, clients, func(_ int, c *client) error {
		for h := range taken {
			if _, err := c.call("DeleteMessage", `{"QueueUrl":"q","ReceiptHandle":"`+h+`"}`); err != nil {
				return err
			}
		}
		return nil
	})
	r.remove = float64(n) / time.Since(begun).Seconds()
	return r, err
}

// deep compares an empty queue with one that holds a million messages.
func deep(s *server) error {
	if err := createQueue(s.addr, "q", ""); err != nil {
		return err
	}
	empty, err := measureQueue(s.addr)
	if err != nil {
		return err
	}
	batch, err := signed(s.addr, "SendMessageBatch", `{"QueueUrl":"q","Entries":[`+batchOf(10, "")+`]}`)
	if err != nil {
		return err
	}
	begun := time.Now()
	var sent atomic.Int64
	if err := parallel(s.addr, clients, func(_ int, c *client) error {
		for sent.Add(10) <= backlog {
			if _, err := c.do(batch); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	took := time.Since(begun)
	memory, err := s.megabytes()
	if err != nil {
		return err
	}
	full, err := measureQueue(s.addr)
	if err != nil {
		return err
	}
	after, err := s.megabytes()
	if err != nil {
		return err
	}
	_, err = fmt.Printf("backlog               %d messages of 1 KiB in %.0f s; resident memory %.0f MB, after measuring %.0f MB\n"+
		"  send                %.0f/s empty, %.0f/s full: ratio %.2f\n  receive             %.0f/s empty, %.0f/s full: ratio %.2f\n  delete              %.0f/s empty, %.0f/s full: ratio %.2f\n",
		backlog, took.Seconds(), memory, after, empty.send, full.send, full.send/empty.send,
		empty.receive, full.receive, full.receive/empty.receive, empty.remove, full.remove, full.remove/empty.remove)
	return err
}

// waiting keeps long polls open on one queue, and measures how soon a message
// reaches one of them.
func waiting(s *server) error {
	if err := createQueue(s.addr, "q", ""); err != nil {
		return err
	}
	poll, err := signed(s.addr, "ReceiveMessage", `{"QueueUrl":"q","WaitTimeSeconds":20}`)
	if err != nil {
		return err
	}
	var answered atomic.Int64
	first := make(chan time.Time, 1)
	done := make(chan error, 1)
	go func() {
		done <- parallel(s.addr, polls, func(_ int, c *client) error {
			body, err := c.do(poll)
			if len(handles(body)) > 0 {
				select {
				case first <- time.Now():
				default:
				}
			}
			answered.Add(1)
			return err
		})
	}()
	time.Sleep(10 * time.Second)
	memory, err := s.megabytes()
	if err != nil {
		return err
	}
	open := polls - answered.Load()
	begun := time.Now()
	if err := parallel(s.addr, 1, func(_ int, c *client) error {
		_, err := c.call("SendMessage", `{"QueueUrl":"q","MessageBody":"x"}`)
		return err
	}); err != nil {
		return err
	}
	wake := (<-first).Sub(begun)
	if err := <-done; err != nil {
		return err
	}
	_, err = fmt.Printf("long polls            %d open at once: resident memory %.0f MB; a message reached one after %.1f ms\n", open, memory, milliseconds(wake))
	return err
}

// many makes queues in one namespace.
func many(s *server) error {
	before, err := s.megabytes()
	if err != nil {
		return err
	}
	begun := time.Now()
	var next atomic.Int64
	if err := parallel(s.addr, 4, func(_ int, c *client) error {
		for i := next.Add(1); i <= queues; i = next.Add(1) {
			if _, err := c.call("CreateQueue", fmt.Sprintf(`{"QueueName":"q%d"}`, i)); err != nil {
				return err
			}
			if _, err := c.call("SendMessage", fmt.Sprintf(`{"QueueUrl":"q%d","MessageBody":"x"}`, i)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	took := time.Since(begun)
	after, err := s.megabytes()
	if err != nil {
		return err
	}
	_, err = fmt.Printf("queues                %d made and sent to in %.1f s; resident memory %.0f MB, %.0f KB a queue\n", queues, took.Seconds(), after, (after-before)*1000/queues)
	return err
}

// fifo sends to many groups and drains them.
func fifo(s *server) error {
	if err := createQueue(s.addr, "q.fifo", `"FifoQueue":"true"`); err != nil {
		return err
	}
	begun := time.Now()
	var next atomic.Int64
	if err := parallel(s.addr, clients, func(_ int, c *client) error {
		for i := next.Add(1); i <= groups; i = next.Add(1) {
			if _, err := c.call("SendMessage", fmt.Sprintf(`{"QueueUrl":"q.fifo","MessageBody":"%s","MessageGroupId":"g%d","MessageDeduplicationId":"d%d"}`, kibibyte, i, i)); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	sent := time.Since(begun)
	begun = time.Now()
	var received atomic.Int64
	if err := parallel(s.addr, clients, func(_ int, c *client) error {
		for received.Load() < groups {
			body, err := c.call("ReceiveMessage", `{"QueueUrl":"q.fifo","MaxNumberOfMessages":10,"VisibilityTimeout":600}`)
			if err != nil {
				return err
			}
			for _, h := range handles(body) {
				if _, err := c.call("DeleteMessage", `{"QueueUrl":"q.fifo","ReceiptHandle":"`+h+`"}`); err != nil {
					return err
				}
				received.Add(1)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	memory, err := s.megabytes()
	if err != nil {
		return err
	}
	_, err = fmt.Printf("FIFO groups           %d: %.0f sends/s, received and deleted %.0f/s; resident memory %.0f MB\n",
		groups, groups/sent.Seconds(), float64(received.Load())/time.Since(begun).Seconds(), memory)
	return err
}
