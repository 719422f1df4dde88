package server

import (
	"bytes"
	"context"
	"encoding/json"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/internal/service"
	"github.com/openmnq/mnq/rest"
)

// supportBytes is the most of one file of a support bundle.
const supportBytes = 1 << 20

// support collects what helps to find out what is wrong, without secrets and without
// messages. What cannot be had is an error in its place.
func (s *Server) support(ctx context.Context) []rest.SupportFile {
	known := s.secrets()
	var files []rest.SupportFile
	add := func(name, about, text string) {
		text = service.Scrub(text, known...)
		if len(text) > supportBytes {
			text = strings.ToValidUTF8(text[:supportBytes], "") + "\n… cut off\n"
		}
		files = append(files, rest.SupportFile{Name: name, About: about, Text: text})
	}
	asJSON := func(name, about string, v any, err error) {
		if err != nil {
			v = map[string]string{"error": err.Error()}
		}
		b, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			b = []byte(err.Error())
		}
		add(name, about, string(b)+"\n")
	}
	asJSON("build.json", "version, machine and uptime", s.build(), nil)
	asJSON("settings.json", "settings in force", s.cfg.Settings, nil)
	asJSON("status.json", "nodes, streams and what is wrong with them", s.status(ctx), nil)
	asJSON("namespaces.json", "ids, quotas and numbers of queues and topics of namespaces", s.outline(), nil)
	for _, what := range []string{"varz", "jsz"} {
		v, err := s.node.Monitoring(what)
		asJSON("nats_"+what+".json", "what the embedded NATS server says about itself", v, err)
	}
	w := httptest.NewRecorder()
	s.metrics.ServePrivate(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/metrics", nil))
	add("metrics.txt", "metrics now", w.Body.String())
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		b.WriteString(err.Error())
	}
	add("goroutines.txt", "what the process is doing", b.String())
	add("log.txt", "the last warnings and errors", s.recent.Text())
	add("files.txt", "names and sizes of files in the data directory", s.files())
	return files
}

// build tells what runs where.
func (s *Server) build() any {
	b := service.ReadBuild()
	return map[string]any{
		"version": b.Version, "commit": b.Commit, "go": b.Go, "os": runtime.GOOS, "arch": runtime.GOARCH, "cpus": runtime.NumCPU(),
		"started": s.begun.UTC(), "uptime_seconds": int64(time.Since(s.begun).Seconds()), "goroutines": runtime.NumGoroutine(),
	}
}

// outline tells how much there is, without what tenants named it.
func (s *Server) outline() any {
	type outlined struct {
		ID       string       `json:"id"`
		Project  string       `json:"project_id"`
		Protocol mnq.Protocol `json:"protocol"`
		Quota    mnq.Quota    `json:"quota"`
		Queues   int          `json:"queues"`
		Topics   int          `json:"topics"`
		Bytes    uint64       `json:"storage_bytes"`
	}
	out, extents := []outlined{}, s.topics.Extents()
	for _, ns := range s.directory.Namespaces() {
		names, _ := s.queues.List(ns, "", "", 1<<30)
		u, _ := s.node.Usage(ns.ID)
		out = append(out, outlined{ns.ID, ns.ProjectID, ns.Protocol, ns.Quota, len(names), extents[ns.ID].Topics, u.StorageBytes})
	}
	return out
}

// secrets are those of this process that could stand in a text.
func (s *Server) secrets() []string {
	known := []string{s.cfg.MasterKey}
	root, err := os.OpenRoot(s.cfg.DataDir)
	if err != nil {
		return known
	}
	defer root.Close()
	names, _ := fs.Glob(root.FS(), "keys/*")
	for _, name := range append(names, "admin.env", "cluster.token") {
		text, _ := root.ReadFile(name) // what is not there has no secrets
		for line := range strings.Lines(string(text)) {
			name, value, assigned := strings.Cut(strings.TrimSpace(line), "=")
			switch {
			case name == "SCW_SECRET_KEY":
				known = append(known, strings.Trim(value, "'"))
			case !assigned || !strings.HasPrefix(name, "SCW_"):
				known = append(known, strings.TrimSpace(line))
			}
		}
	}
	return known
}

// files lists the data directory, but for what lies in the streams' own directories.
func (s *Server) files() string {
	var b strings.Builder
	_ = filepath.WalkDir(s.cfg.DataDir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // it went meanwhile
		}
		rel, err := filepath.Rel(s.cfg.DataDir, path)
		if err != nil {
			return err
		}
		if d.IsDir() && strings.Count(rel, string(filepath.Separator)) >= 4 {
			return filepath.SkipDir
		}
		if info, err := d.Info(); err == nil && b.Len() < supportBytes {
			_ = line(&b, "%s %10d %s %s\n", info.Mode(), info.Size(), info.ModTime().UTC().Format(time.RFC3339), rel) // to memory
		}
		return nil
	})
	return b.String()
}
