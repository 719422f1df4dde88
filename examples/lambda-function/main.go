// Command lambda-function is a function that a topic calls: an HTTP server which takes
// the event that AWS Lambda gets from SNS. Any runtime that serves HTTP will do.
package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"
)

// event is the body of each call. It has one record.
type event struct {
	Records []struct {
		EventSource          string
		EventSubscriptionArn string
		Sns                  message
	}
}

type message struct {
	MessageID         string `json:"MessageId"`
	TopicArn          string
	Subject           *string
	Message           string
	Timestamp         time.Time
	MessageAttributes map[string]struct{ Type, Value string }
}

// handle is where the work is done. An error has the message delivered again later.
func handle(m message) error {
	slog.Info("message", "id", m.MessageID, "topic", m.TopicArn, "text", m.Message)
	return nil
}

func main() {
	slog.SetDefault(slog.New(slog.NewJSONHandler(os.Stdout, nil)))
	srv := &http.Server{
		Addr:              cmp.Or(os.Getenv("ADDRESS"), "127.0.0.1:"+cmp.Or(os.Getenv("PORT"), "8080")),
		Handler:           &function{handle: handle, seen: map[string]bool{}},
		ReadHeaderTimeout: 5 * time.Second,
	}
	slog.Info("listening", "address", srv.Addr)
	if err := srv.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		slog.Error("ended", "error", err)
		os.Exit(1)
	}
}

// function turns calls into messages. The status decides what happens next: 2xx ends
// the delivery, 4xx ends it as failed, 429 and 5xx have it repeated.
type function struct {
	handle func(message) error

	mu   sync.Mutex
	seen map[string]bool // messages that have been handled
}

const (
	maxBody = 2 << 20 // a message of 256 KiB, escaped
	maxSeen = 10_000
)

func (f *function) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		http.Error(w, "POST an event", http.StatusMethodNotAllowed)
		return
	}
	var e event
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody)).Decode(&e); err != nil || len(e.Records) == 0 {
		http.Error(w, "not an event of SNS", http.StatusBadRequest)
		return
	}
	for _, record := range e.Records {
		if !f.isNew(record.Sns.MessageID) {
			continue
		}
		if err := f.handle(record.Sns); err != nil {
			f.forget(record.Sns.MessageID)
			slog.Error("not handled", "id", record.Sns.MessageID, "error", err)
			http.Error(w, "try again", http.StatusInternalServerError)
			return
		}
	}
	w.WriteHeader(http.StatusNoContent)
}

// isNew is false for a message that was handled before: deliveries are at least once. A
// function that must be sure keeps this where its results are.
func (f *function) isNew(id string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen[id] {
		return false
	}
	if len(f.seen) >= maxSeen {
		clear(f.seen)
	}
	f.seen[id] = true
	return true
}

func (f *function) forget(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.seen, id)
}
