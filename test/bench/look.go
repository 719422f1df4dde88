package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

const (
	lookQueues = 10_000
	looks      = 21
)

// look measures what consoles ask for: peeking into a queue of a million messages, and
// pages of a namespace with ten thousand queues.
func look(s *server) error {
	if err := createQueue(s.addr, "full", ""); err != nil {
		return err
	}
	if err := fill(s.addr, entriesOf(10, "a message", "")); err != nil {
		return err
	}
	var made atomic.Int64
	if err := parallel(s.addr, clients, func(_ int, c *client) error {
		for n := made.Add(1); n < lookQueues; n = made.Add(1) {
			if _, err := c.call("CreateQueue", `{"QueueName":"q`+strconv.FormatInt(n, 10)+`"}`); err != nil {
				return err
			}
		}
		return nil
	}); err != nil {
		return err
	}
	space, err := s.namespace()
	if err != nil {
		return err
	}
	for _, m := range []struct{ what, path string }{
		{"peek at the oldest 100", "/queues/full/messages?max=100"},
		{"peek at the newest 100", "/queues/full/messages?max=100&order=newest"},
		{"peek from the middle", "/queues/full/messages?max=100&from=" + strconv.Itoa(backlog/2)},
		{"peek for a text, 10,000 looked at", "/queues/full/messages?max=100&scan=10000&text=nothing-has-it"},
		{"first page of 100 of 10,000 queues", "/queues?page_size=100"},
		{"last page of 100 of 10,000 queues", "/queues?page_size=100&page=100"},
	} {
		took, err := s.ask(space + m.path)
		if err != nil {
			return fmt.Errorf("%s: %w", m.what, err)
		}
		if _, err := fmt.Printf("%-36s %.1f ms median of %d (%.1f to %.1f)\n", m.what, milliseconds(took[looks/2]), looks, milliseconds(took[0]), milliseconds(took[looks-1])); err != nil {
			return err
		}
	}
	return nil
}

// namespace is the path of the namespace that has the queues.
func (s *server) namespace() (string, error) {
	body, err := s.get("/openmnq/v1/namespaces?page_size=100")
	if err != nil {
		return "", err
	}
	var all struct {
		Namespaces []struct{ ID string }
	}
	if err := json.Unmarshal(body, &all); err != nil {
		return "", err
	}
	for _, ns := range all.Namespaces {
		path := "/openmnq/v1/namespaces/" + ns.ID
		if _, err := s.get(path + "/queues/full"); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no namespace has the queue full")
}

// ask makes a call of the control plane some times and returns how long each took, in
// order of that.
func (s *server) ask(path string) ([]time.Duration, error) {
	var took []time.Duration
	for range looks {
		begun := time.Now()
		if _, err := s.get(path); err != nil {
			return nil, err
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	return took, nil
}

func (s *server) get(path string) ([]byte, error) {
	env, err := os.ReadFile(filepath.Join(s.dir, "admin.env"))
	if err != nil {
		return nil, err
	}
	_, after, _ := bytes.Cut(env, []byte("SCW_SECRET_KEY="))
	secret, _, _ := strings.Cut(string(after), "\n")
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.addr+path, http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("X-Auth-Token", strings.Trim(secret, "'"))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %.300s", resp.Status, body)
	}
	return body, errors.Join(err, resp.Body.Close())
}
