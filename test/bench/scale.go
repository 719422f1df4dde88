package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
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
	measured = 2 * time.Second
	turns    = 7
)

// server is a running `mnq serve --dev` with a data directory of its own.
type server struct {
	ctx  context.Context //nolint:containedctx // bounds the process
	bin  string
	addr string
	dir  string
	cmd  *exec.Cmd
}

// start runs the server and returns how long it took to be ready.
func (s *server) start() (time.Duration, error) {
	s.cmd = exec.CommandContext(s.ctx, s.bin, "serve", "--dev", "--dev-lenient", "--data-dir", s.dir, "--fsync", "interval",
		"--http", s.addr, "--nats", "127.0.0.1:0")
	s.cmd.Env = append(os.Environ(), "MNQ_LOG_LEVEL=error")
	s.cmd.Stderr = os.Stderr
	begun := time.Now()
	if err := s.cmd.Start(); err != nil {
		return 0, err
	}
	for s.ctx.Err() == nil {
		if ok, err := isReady(s.ctx, "http://"+s.addr); err == nil && ok {
			return time.Since(begun), nil
		}
		time.Sleep(time.Millisecond)
	}
	return 0, errors.Join(s.ctx.Err(), s.stop())
}

func (s *server) stop() error {
	return errors.Join(s.cmd.Process.Signal(syscall.SIGTERM), s.cmd.Wait())
}

// with runs f against a server that starts empty and leaves nothing behind.
func with(bin, addr string, f func(*server) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	dir, err := os.MkdirTemp("", "mnq-bench-")
	if err != nil {
		return err
	}
	s := &server{ctx: ctx, bin: bin, addr: addr, dir: dir}
	if _, err = s.start(); err == nil {
		err = errors.Join(f(s), s.stop())
	}
	return errors.Join(err, os.RemoveAll(dir))
}

func (s *server) megabytes() (float64, error) {
	rss, err := residentBytes(s.cmd.Process.Pid)
	return float64(rss) / 1e6, err
}

// scale measures what a queue, a namespace and a server bear, each with a server of
// its own.
func scale(bin, addr string, names []string) error {
	runs := map[string]func(*server) error{
		"backlog": deep, "polls": waiting, "queues": many, "groups": fifo, "fanout": fanOut, "topics": idleTopicsCost, "look": look,
		"namespaces": manyTenants, "nats": beside, "wake": wake,
	}
	for _, name := range names {
		run := runs[name]
		if run == nil {
			return fmt.Errorf("nothing to measure is called %q", name)
		}
		if err := with(bin, addr, run); err != nil {
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

func batchOf(n int, more string) string { return entriesOf(n, kibibyte, more) }

func entriesOf(n int, body, more string) string {
	entries := make([]string, n)
	for i := range entries {
		entries[i] = fmt.Sprintf(`{"Id":"%d","MessageBody":"%s"%s}`, i, body, more)
	}
	return strings.Join(entries, ",")
}

// fill sends a backlog to the queue "full", ten entries at a time.
func fill(addr, ten string) error {
	batch, err := signed(addr, "SendMessageBatch", `{"QueueUrl":"full","Entries":[`+ten+`]}`)
	if err != nil {
		return err
	}
	var sent atomic.Int64
	return parallel(addr, clients, func(_ int, c *client) error {
		for sent.Add(10) <= backlog {
			if _, err := c.do(batch); err != nil {
				return err
			}
		}
		return nil
	})
}

// rates are the three operations that must not depend on what is waiting.
type rates struct{ send, receive, remove float64 }

// over is r as a share of other.
func (r rates) over(other rates) rates {
	return rates{r.send / other.send, r.receive / other.receive, r.remove / other.remove}
}

func median(all []rates) rates {
	of := func(f func(rates) float64) float64 {
		list := make([]float64, 0, len(all))
		for _, r := range all {
			list = append(list, f(r))
		}
		slices.Sort(list)
		return list[len(list)/2]
	}
	return rates{
		of(func(r rates) float64 { return r.send }), of(func(r rates) float64 { return r.receive }), of(func(r rates) float64 { return r.remove }),
	}
}

// measureQueue sends and receives for a while each, and deletes what was received.
func measureQueue(addr, queue string) (r rates, err error) {
	send, err := signed(addr, "SendMessage", `{"QueueUrl":"`+queue+`","MessageBody":"`+kibibyte+`"}`)
	if err != nil {
		return r, err
	}
	receive, err := signed(addr, "ReceiveMessage", `{"QueueUrl":"`+queue+`","VisibilityTimeout":600}`)
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
			if _, err := c.call("DeleteMessage", `{"QueueUrl":"`+queue+`","ReceiptHandle":"`+h+`"}`); err != nil {
				return err
			}
		}
		return nil
	})
	r.remove = float64(n) / time.Since(begun).Seconds()
	return r, err
}

func purge(addr, queue string) error {
	return parallel(addr, 1, func(_ int, c *client) error {
		_, err := c.call("PurgeQueue", `{"QueueUrl":"`+queue+`"}`)
		return err
	})
}

// deep compares a queue that holds a million messages with one that is empty. Both
// are measured in turns, so that what else the machine does hits both alike.
func deep(s *server) error {
	for _, name := range []string{"empty", "full"} {
		if err := createQueue(s.addr, name, ""); err != nil {
			return err
		}
	}
	begun := time.Now()
	if err := fill(s.addr, batchOf(10, "")); err != nil {
		return err
	}
	took := time.Since(begun)
	memory, err := s.megabytes()
	if err != nil {
		return err
	}
	var empty, full, ratio []rates
	for range turns {
		e, err := measureQueue(s.addr, "empty")
		if err != nil {
			return err
		}
		f, err := measureQueue(s.addr, "full")
		if err = errors.Join(err, purge(s.addr, "empty")); err != nil {
			return err
		}
		empty, full, ratio = append(empty, e), append(full, f), append(ratio, f.over(e))
	}
	after, err := s.megabytes()
	if err != nil {
		return err
	}
	if err := s.stop(); err != nil {
		return err
	}
	ready, err := s.start()
	if err != nil {
		return err
	}
	again, err := s.megabytes()
	if err != nil {
		return err
	}
	e, f, r := median(empty), median(full), median(ratio)
	_, err = fmt.Printf("backlog               %d messages of 1 KiB in %.0f s; resident memory %.0f MB, after measuring %.0f MB; restarted in %.0f ms with %.0f MB; medians of %d\n"+
		"  send                %.0f/s empty, %.0f/s full: ratio %.2f\n  receive             %.0f/s empty, %.0f/s full: ratio %.2f\n  delete              %.0f/s empty, %.0f/s full: ratio %.2f\n",
		backlog, took.Seconds(), memory, after, milliseconds(ready), again, turns, e.send, f.send, r.send, e.receive, f.receive, r.receive, e.remove, f.remove, r.remove)
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
