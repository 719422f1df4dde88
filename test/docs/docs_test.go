// Package docs checks the links in the documentation.
package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile("(?m)^#{1,6} +(.+)$")
	code    = regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
	dropped = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
)

// anchors are the names of a page's headings, as forges make them.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for _, h := range heading.FindAllStringSubmatch(regexp.MustCompile("(?s)```.*?```").ReplaceAllString(text, ""), -1) {
		name := dropped.ReplaceAllString(strings.ToLower(strings.TrimSpace(h[1])), "")
		all[strings.ReplaceAll(name, " ", "-")] = true
	}
	return all
}

func pages(t *testing.T) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir("../..", func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == "node_modules" || d.Name() == "dist" || strings.HasPrefix(d.Name(), ".") && d.Name() != ".." && path != "../..") {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".md") {
			all = append(all, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	all := pages(t)
	if len(all) < 15 {
		t.Fatalf("only %d pages", len(all))
	}
	for _, page := range all {
		raw, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(string(raw), ""), -1) {
			target, anchor, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
				continue // the world is not here
			}
			file := page
			if target != "" {
				file = filepath.Join(filepath.Dir(page), target)
			}
			text, err := os.ReadFile(file)
			if st, statErr := os.Stat(file); statErr == nil && st.IsDir() {
				continue
			}
			if err != nil {
				t.Errorf("%s: %s leads nowhere", page, m[1])
				continue
			}
			if anchor != "" && !anchors(string(text))[anchor] {
				t.Errorf("%s: %s: there is no such heading", page, m[1])
			}
		}
	}
}

// TestPagesCanBeFound has every page in docs linked from another one.
func TestPagesCanBeFound(t *testing.T) {
	t.Parallel()
	linked := map[string]bool{}
	all := pages(t)
	for _, page := range all {
		raw, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(raw), -1) {
			target, _, _ := strings.Cut(m[1], "#")
			if file := filepath.Join(filepath.Dir(page), target); file != page {
				linked[file] = true
			}
		}
	}
	for _, page := range all {
		if strings.HasPrefix(page, "../../docs/") && !linked[page] {
			t.Errorf("nothing leads to %s", page)
		}
	}
}
