package main

import (
	"archive/tar"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/openmnq/mnq/internal/mnqtest"
)

// TestSupport looks for every secret of an installation in its support bundle.
func TestSupport(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s, _, err := startServer(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { s.stop(); <-s.done }()
	e := keysOf(t, dir)
	secrets := map[string]string{"first API key": e["SCW_SECRET_KEY"]}
	mnq := func(want int, args ...string) string {
		t.Helper()
		var out, errs mnqtest.Buffer
		if code := run(t.Context(), args, e, streams{strings.NewReader("hunter2-hunter2\n"), &out, &errs}); code != want {
			t.Fatalf("%v: exit code %d, %s", args, code, &errs)
		}
		return out.String()
	}
	note := func(name, text string) {
		t.Helper()
		found := 0
		for _, m := range regexp.MustCompile(`"(?:secret_key|secret|content|credentials_file|creds)": "([^"]{12,})"`).FindAllStringSubmatch(text, -1) {
			var value string
			if err := json.Unmarshal([]byte(`"`+m[1]+`"`), &value); err != nil {
				t.Fatal(err)
			}
			for line := range strings.Lines(value) {
				if line = strings.TrimSpace(line); len(line) >= 12 && !strings.HasPrefix(line, "-") && !strings.Contains(line, " ") {
					secrets[name+" "+line[:3]] = line
					found++
				}
			}
		}
		if found == 0 {
			t.Errorf("%s: no secret in %s", name, text)
		}
	}
	id := func(text string) string {
		var ns struct{ ID string }
		if err := json.Unmarshal([]byte(text), &ns); err != nil || ns.ID == "" {
			t.Fatal(text, err)
		}
		return ns.ID
	}
	queues := id(mnq(exitOK, "namespace", "create", "n", "--protocol", "sqs_sns", "--json"))
	nats := id(mnq(exitOK, "namespace", "create", "m", "--protocol", "nats", "--json"))
	note("SQS credential", mnq(exitOK, "credential", "create", queues, "--json"))
	note("NATS credential", mnq(exitOK, "credential", "create", nats, "--json"))
	note("API key", mnq(exitOK, "key", "create", "k", "--json"))
	mnq(exitOK, "queue", "create", "q")
	mnq(exitOK, "queue", "send", "q", "a-very-private-message")
	secrets["message"] = "a-very-private-message"
	if err := filepath.WalkDir(filepath.Join(dir, "keys"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		secrets[filepath.Base(path)] = strings.TrimSpace(string(text))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if len(secrets) < 7 {
		t.Fatalf("only %d secrets to look for", len(secrets))
	}

	list := mnq(exitOK, "support", "--dry-run")
	for _, want := range []string{"build.json", "settings.json", "status.json", "metrics.txt", "goroutines.txt", "log.txt", "nats_varz.json"} {
		if !strings.Contains(list, want) {
			t.Errorf("%s is not listed: %s", want, list)
		}
	}
	path := filepath.Join(t.TempDir(), "bundle.tar.gz")
	mnq(exitOK, "support", "--output", path)
	mnq(exitUsage, "support", "--output", path) // it is there
	files := unpack(t, path)
	for name, text := range files {
		for what, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("%s has the %s", name, what)
			}
		}
	}
	for name, want := range map[string]string{
		"mnq-support/settings.json": dir, "mnq-support/metrics.txt": "mnq_queue_messages_sent_total", "mnq-support/goroutines.txt": "goroutine profile",
		"mnq-support/namespaces.json": `"queues": 1`, "mnq-support/nats_jsz.json": `"streams"`, "mnq-support/files.txt": "keys/", "mnq-support/build.json": `"uptime_seconds"`,
	} {
		if !strings.Contains(files[name], want) {
			t.Errorf("%s has no %s: %.300s", name, want, files[name])
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if text := mnq(exitOK, "audit", "--action", "support"); !strings.Contains(text, "GetSupportBundle") {
		t.Errorf("not in the audit log: %s", text)
	}
}

func unpack(t *testing.T, path string) map[string]string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out[h.Name] = string(text)
	}
}
