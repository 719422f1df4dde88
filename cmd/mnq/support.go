package main

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"time"

	"github.com/openmnq/mnq/rest"
)

type supportCmd struct {
	connection

	Output string `short:"o" placeholder:"FILE" help:"The archive to write. Default: mnq-support-TIME.tar.gz."`
	DryRun bool   `help:"Say what would be in it, and write nothing."`
}

// Run lists what a support bundle has and writes it. An existing file is left alone.
func (c *supportCmd) Run(a *app) error {
	cl, err := c.client(a)
	if err != nil {
		return err
	}
	var b struct {
		CreatedAt time.Time          `json:"created_at"`
		Files     []rest.SupportFile `json:"files"`
	}
	if err := cl.call(a.ctx, http.MethodGet, rest.SupportPath, nil, &b); err != nil {
		return err
	}
	type listed struct {
		Name  string `json:"name"`
		Bytes int    `json:"bytes"`
		About string `json:"about"`
	}
	list := struct {
		Files  []listed `json:"files"`
		Output string   `json:"output"`
	}{Output: c.Output}
	if list.Output == "" {
		list.Output = "mnq-support-" + b.CreatedAt.UTC().Format("20060102T150405Z") + ".tar.gz"
	}
	if c.DryRun {
		list.Output = ""
	}
	t := newTable(a.stdout, "FILE", "SIZE", "WHAT")
	for _, f := range b.Files {
		list.Files = append(list.Files, listed{f.Name, len(f.Text), f.About})
		t.row(f.Name, bytesOf(uint64(len(f.Text))), f.About)
	}
	if !c.JSON {
		if err := t.flush(); err != nil {
			return err
		}
	}
	if !c.DryRun {
		if err := writeSupport(list.Output, b.CreatedAt, b.Files); err != nil {
			return err
		}
	}
	switch {
	case c.JSON:
		return printJSON(a.stdout, list)
	case c.DryRun:
		return nil
	}
	return printf(a.stdout, "\nwritten to %s; it has no keys and no messages, but names of projects and addresses: look at it before you pass it on\n", list.Output)
}

func writeSupport(path string, at time.Time, files []rest.SupportFile) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return usagef("--output: %s is there already", path)
	}
	if err != nil {
		return usagef("--output: %w", err)
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			_ = os.Remove(path) // half of it is worth nothing
		}
	}()
	z := gzip.NewWriter(f)
	w := tar.NewWriter(z)
	for _, file := range files {
		if err := w.WriteHeader(&tar.Header{Name: "mnq-support/" + file.Name, Mode: 0o600, Size: int64(len(file.Text)), ModTime: at}); err != nil {
			return err
		}
		if _, err := w.Write([]byte(file.Text)); err != nil {
			return err
		}
	}
	return errors.Join(w.Close(), z.Close(), f.Sync())
}
