package main

import (
	"bufio"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/openmnq/mnq/internal/mnqtest"
)

// keysOf reads admin.env of a server's data directory.
func keysOf(t *testing.T, dir string) env {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, "admin.env"))
	if err != nil {
		t.Fatal(err)
	}
	e := env{}
	for line := range strings.Lines(string(raw)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && strings.HasPrefix(name, "SCW_") {
			e[name] = strings.Trim(value, "'")
		}
	}
	return e
}

func TestTailCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _, err := startServer(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { s.stop(); <-s.done }()
	e := keysOf(t, dir)
	mnq := func(args ...string) {
		t.Helper()
		var errs mnqtest.Buffer
		if code := run(t.Context(), args, e, streams{strings.NewReader(""), io.Discard, &errs}); code != exitOK {
			t.Fatalf("%v: exit code %d, %s", args, code, &errs)
		}
	}
	mnq("namespace", "create", "n", "--protocol", "sqs_sns")
	mnq("queue", "create", "q")
	tail := func(ctx context.Context, args ...string) (stdout *mnqtest.Buffer, ended chan int) {
		r, w := io.Pipe()
		stdout, ended = &mnqtest.Buffer{}, make(chan int, 1)
		go func() {
			ended <- run(ctx, append([]string{"queue", "tail", "q"}, args...), e, streams{strings.NewReader(""), stdout, w})
			_ = w.Close()
		}()
		lines := bufio.NewScanner(r)
		if !lines.Scan() || lines.Text() != "following q" {
			t.Fatalf("%q, exit code %d", lines.Text(), <-ended)
		}
		go func() { _, _ = io.Copy(io.Discard, r) }()
		return stdout, ended
	}
	table, first := tail(t.Context(), "--count", "2", "--text", "e")
	lines, second := tail(t.Context(), "--count", "1", "--json")
	mnq("queue", "send", "q", "one")
	mnq("queue", "send", "q", "xyz")
	mnq("queue", "send", "q", "three\u0085\tx")
	if code := <-first; code != exitOK || strings.Count(table.String(), "\n") != 2 || !strings.HasSuffix(table.String(), "  three??x\n") {
		t.Errorf("exit code %d, %q", code, table)
	}
	if code := <-second; code != exitOK || !strings.Contains(lines.String(), `"body":"one"`) || strings.Count(lines.String(), "\n") != 1 {
		t.Errorf("exit code %d, %q", code, lines)
	}
	ctx, interrupt := context.WithCancel(t.Context())
	_, interrupted := tail(ctx)
	interrupt()
	if code := <-interrupted; code != exitOK {
		t.Errorf("interrupted: exit code %d", code)
	}
	_, cut := tail(t.Context())
	mnq("queue", "rm", "q", "--yes")
	if code := <-cut; code != exitNotFound {
		t.Errorf("of a deleted queue: exit code %d", code)
	}
}

func TestCheckJudges(t *testing.T) {
	t.Parallel()
	q := queueInfo{Name: "q", Visible: 5, OldestAge: 90}
	at := time.Now()
	q.OldestAt = &at
	minute, two, five, four := time.Minute, 2*time.Minute, int64(5), int64(4)
	for name, c := range map[string]struct {
		check checkQueueCmd
		dead  *queueInfo
		want  int
	}{
		"nothing asked":   {checkQueueCmd{}, nil, checkOK},
		"age in bounds":   {checkQueueCmd{MaxAge: &two}, nil, checkOK},
		"too old":         {checkQueueCmd{MaxAge: &minute}, nil, checkCritical},
		"rather old":      {checkQueueCmd{MaxAge: &two, WarnAge: &minute}, nil, checkWarning},
		"depth in bounds": {checkQueueCmd{MaxDepth: &five}, nil, checkOK},
		"too deep":        {checkQueueCmd{MaxDepth: &four}, nil, checkCritical},
		"the worst":       {checkQueueCmd{MaxDepth: &four, WarnAge: &minute}, nil, checkCritical},
		"dead letters":    {checkQueueCmd{DLQ: &four}, &q, checkCritical},
		"few of them":     {checkQueueCmd{DLQ: &five}, &q, checkOK},
	} {
		if got, text := c.check.judge(q, c.dead); got != c.want || strings.Count(text, "|") != 1 {
			t.Errorf("%s: %d, want %d: %s", name, got, c.want, text)
		}
	}
}

func TestConfirmNeedsATerminal(t *testing.T) {
	t.Parallel()
	a := &app{streams: streams{strings.NewReader("q\n"), io.Discard, io.Discard}}
	if err := a.confirm(false, "delete q", "q"); exitCode(err) != exitUsage {
		t.Errorf("without a terminal: %v", err)
	}
	if err := a.confirm(true, "delete q", "q"); err != nil {
		t.Errorf("with --yes: %v", err)
	}
}
