package main

import (
	"crypto/md5" // as the protocol asks for
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// The references say what plain net/http allows on this machine: echo answers with
// what it read; signed checks the signature, reads the JSON and answers like
// SendMessage; wal also appends every message to a log that is synced before the
// answer, many messages per sync.
var references = []string{"echo", "signed", "wal"}

// serveReference serves one of the references until the process ends.
func serveReference(kind, addr, dir string, e endpoint) error {
	var h http.Handler
	switch kind {
	case "echo":
		h = http.HandlerFunc(echo)
	case "signed":
		h = &signedServer{endpoint: e, store: func([]string) error { return nil }}
	case "wal":
		l, err := openLog(dir)
		if err != nil {
			return err
		}
		h = &signedServer{endpoint: e, store: l.append}
	default:
		return errors.New("no such reference: " + kind)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return (&http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}).Serve(l)
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, _ = w.Write(body)
}

// signedServer does what no SQS server can leave out.
type signedServer struct {
	endpoint
	store   func(bodies []string) error
	signers sync.Pool
}

type sendInput struct {
	ID          string `json:"Id"`
	MessageBody string
	Entries     []sendInput `json:",omitempty"`
}

type sendOutput struct {
	ID               string `json:"Id,omitempty"`
	MD5OfMessageBody string
	MessageID        string `json:"MessageId"`
}

func (s *signedServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || !s.verify(r, body) {
		http.Error(w, "refused", http.StatusForbidden)
		return
	}
	var in sendInput
	if err := json.Unmarshal(body, &in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	all := in.Entries
	if len(all) == 0 {
		all = []sendInput{in}
	}
	bodies, out := make([]string, len(all)), make([]sendOutput, len(all))
	for i, m := range all {
		sum := md5.Sum([]byte(m.MessageBody))
		bodies[i] = m.MessageBody
		out[i] = sendOutput{ID: m.ID, MD5OfMessageBody: hex.EncodeToString(sum[:]), MessageID: "00000000-0000-4000-8000-000000000000"}
	}
	if err := s.store(bodies); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	var answer any = out[0]
	if len(in.Entries) > 0 {
		answer = map[string]any{"Successful": out}
	}
	text, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", contentType)
	_, _ = w.Write(text)
}

// verify makes the request again and compares the signatures.
func (s *signedServer) verify(r *http.Request, body []byte) bool {
	now, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		return false
	}
	_, want, ok := strings.Cut(r.Header.Get("Authorization"), "Signature=")
	if !ok {
		return false
	}
	own, _ := s.signers.Get().(*signer)
	if own == nil {
		own = &signer{host: s.addr, access: s.access, secret: s.secret, region: s.region}
	}
	defer s.signers.Put(own)
	head := own.request(strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "AmazonSQS."), body, now)
	_, rest, _ := strings.Cut(string(head[:len(head)-len(body)]), "Signature=")
	have, _, _ := strings.Cut(rest, "\r\n")
	return subtle.ConstantTimeCompare([]byte(have), []byte(want)) == 1
}

// groupLog is an append-only file. Appends that come while one is being synced
// share the next sync.
type groupLog struct {
	file *os.File

	mu      sync.Mutex
	buf     []byte
	waiting []chan error
	busy    bool
}

func openLog(dir string) (*groupLog, error) {
	f, err := os.CreateTemp(dir, "wal-")
	return &groupLog{file: f}, err
}

func (l *groupLog) append(bodies []string) error {
	done := make(chan error, 1)
	l.mu.Lock()
	for _, b := range bodies {
		l.buf = append(append(l.buf, b...), '\n')
	}
	l.waiting = append(l.waiting, done)
	lead := !l.busy
	l.busy = true
	l.mu.Unlock()
	if lead {
		go l.write()
	}
	return <-done
}

func (l *groupLog) write() {
	for {
		l.mu.Lock()
		buf, waiting := l.buf, l.waiting
		l.buf, l.waiting = nil, nil
		if len(waiting) == 0 {
			l.busy = false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		_, err := l.file.Write(buf)
		err = errors.Join(err, l.file.Sync())
		for _, done := range waiting {
			done <- err
		}
	}
}
