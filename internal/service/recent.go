package service

import (
	"bytes"
	"context"
	"log/slog"
	"regexp"
	"sync"
)

const (
	recentKept = 200     // lines
	recentLine = 4 << 10 // bytes of one
)

// Recent remembers the last warnings and errors of a log.
type Recent struct {
	mu    sync.Mutex
	lines [recentKept]string
	next  int // of the lines, overall
}

// Wrap returns a handler that passes records on and remembers those that matter.
func (r *Recent) Wrap(next slog.Handler) slog.Handler {
	return &recentHandler{Handler: next, kept: slog.NewTextHandler(r, &slog.HandlerOptions{Level: slog.LevelWarn})}
}

// Write implements [io.Writer] for one line.
func (r *Recent) Write(line []byte) (int, error) {
	n := len(line)
	if len(line) > recentLine {
		line = append(bytes.Clone(line[:recentLine]), "…\n"...)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines[r.next%recentKept] = string(line)
	r.next++
	return n, nil
}

// Text is what is remembered, the oldest line first.
func (r *Recent) Text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b bytes.Buffer
	for i := max(0, r.next-recentKept); i < r.next; i++ {
		b.WriteString(r.lines[i%recentKept])
	}
	return b.String()
}

type recentHandler struct {
	slog.Handler

	kept slog.Handler
}

func (h *recentHandler) Enabled(ctx context.Context, l slog.Level) bool {
	return l >= slog.LevelWarn || h.Handler.Enabled(ctx, l)
}

func (h *recentHandler) Handle(ctx context.Context, rec slog.Record) error {
	if rec.Level >= slog.LevelWarn {
		_ = h.kept.Handle(ctx, rec) // writes to memory
	}
	if !h.Handler.Enabled(ctx, rec.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, rec)
}

func (h *recentHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &recentHandler{h.Handler.WithAttrs(attrs), h.kept.WithAttrs(attrs)}
}

func (h *recentHandler) WithGroup(name string) slog.Handler {
	return &recentHandler{h.Handler.WithGroup(name), h.kept.WithGroup(name)}
}

// secrets are texts that must not leave the installation, whatever they stand in.
var secrets = []struct {
	is   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*(?:PRIVATE KEY|SEED|JWT)-----.*?(?:-----END [A-Z ]*(?:PRIVATE KEY|SEED|JWT)-----|------END [A-Z ]*------|\z)`), "***"},
	{regexp.MustCompile(`\bS[NCOAUXP][A-Z2-7]{56}\b`), "***"},                              // a seed of NATS
	{regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*`), "***"}, // a JWT
	{regexp.MustCompile(`(?i)\b(authorization|x-auth-token|set-cookie|cookie)("?\s*[:=]\s*"?)[^\n"]+`), "${1}${2}***"},
	{regexp.MustCompile(`(?i)((?:secret|password|passwd|token|seed|master|signature|api)(?:_?key)?)("?\s*[:=]\s*"?)[^\s"&,;}]+`), "${1}${2}***"},
	{regexp.MustCompile(`([a-z][a-z0-9+.-]*://)[^/\s:@"]+(?::[^/\s@"]*)?@`), "${1}***@"}, // a user in a URL
	{regexp.MustCompile(`\b[A-Za-z0-9+/_-]{43}=`), "***"},                                // 32 bytes: a key
}

// Scrub replaces in a text what looks like a secret, and every one of known.
func Scrub(text string, known ...string) string {
	for _, k := range known {
		if len(k) >= 8 {
			text = string(bytes.ReplaceAll([]byte(text), []byte(k), []byte("***")))
		}
	}
	for _, s := range secrets {
		text = s.is.ReplaceAllString(text, s.with)
	}
	return text
}
