package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
)

// serverLog hands the embedded server's lines to slog. Its notices are our debug
// lines; what it calls fatal ends the start, not the process.
type serverLog struct {
	log    *slog.Logger
	failed failure

	mu  sync.Mutex
	err error
}

func newServerLog(log *slog.Logger) *serverLog {
	return &serverLog{log: log, failed: failure{news: make(chan struct{}, 1)}}
}

func (l *serverLog) put(level slog.Level, format string, v []any) {
	if ctx := context.Background(); l.log.Enabled(ctx, level) {
		l.log.LogAttrs(ctx, level, "nats-server", slog.String("text", fmt.Sprintf(format, v...)))
	}
}

func (l *serverLog) Noticef(format string, v ...any) { l.put(slog.LevelDebug, format, v) }
func (l *serverLog) Warnf(format string, v ...any)   { l.put(slog.LevelWarn, format, v) }
func (l *serverLog) Errorf(format string, v ...any) {
	l.failed.note(fmt.Sprintf(format, v...))
	l.put(slog.LevelError, format, v)
}

func (l *serverLog) Debugf(format string, v ...any) { l.put(slog.LevelDebug-4, format, v) }
func (l *serverLog) Tracef(format string, v ...any) { l.put(slog.LevelDebug-8, format, v) }

func (l *serverLog) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err = errors.Join(l.err, fmt.Errorf(format, v...))
}

// fatal returns what the server called fatal so far.
func (l *serverLog) fatal() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}
