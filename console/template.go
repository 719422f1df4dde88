package console

import (
	"bytes"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"math"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

//go:embed templates/*.html
var templates embed.FS

// pages are the templates, each with the layout around it.
type pages map[string]*template.Template

func parsePages() (pages, error) {
	base, err := template.New("layout.html").Funcs(functions).ParseFS(templates, "templates/layout.html", "templates/parts.html")
	if err != nil {
		return nil, err
	}
	files, err := fs.Glob(templates, "templates/*.html")
	if err != nil {
		return nil, err
	}
	out := pages{}
	for _, f := range files {
		name := strings.TrimSuffix(path.Base(f), ".html")
		if name == "layout" || name == "parts" {
			continue
		}
		t, err := base.Clone()
		if err != nil {
			return nil, err
		}
		if out[name], err = t.ParseFS(templates, f); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (ps pages) render(w io.Writer, name string, v view) error {
	t := ps[name]
	if t == nil {
		return errors.New("there is no page " + name)
	}
	return t.ExecuteTemplate(w, "layout.html", v)
}

var functions = template.FuncMap{
	"num": number, "bytes": size, "age": age, "when": when, "stamp": stamp, "path": func(parts ...string) string { return at(Prefix, parts...) },
	"dict": dict, "pretty": pretty, "short": short, "plural": plural, "asset": assetPath, "list": func(v ...any) []any { return v },
	"seconds": func(s string) string {
		n, err := strconv.ParseFloat(s, 64)
		if err != nil {
			return s
		}
		return age(n)
	},
	"percent": func(used, of int64) int64 {
		if of <= 0 {
			return 0
		}
		return min(100, used*100/of)
	},
	"join":  strings.Join,
	"lower": strings.ToLower,
	"shell": shell,
}

// number writes thousands apart.
func number(v any) string {
	var n int64
	switch v := v.(type) {
	case int:
		n = int64(v)
	case int64:
		n = v
	case uint64:
		return group(strconv.FormatUint(v, 10))
	case float64:
		if v != math.Trunc(v) && math.Abs(v) < 100 {
			return strconv.FormatFloat(v, 'f', 1, 64)
		}
		n = int64(math.Round(v))
	default:
		return fmt.Sprint(v)
	}
	if n < 0 {
		return "-" + group(strconv.FormatInt(-n, 10))
	}
	return group(strconv.FormatInt(n, 10))
}

func group(digits string) string {
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "\u202f" + digits[i:]
	}
	return digits
}

// size is a number of bytes for people.
func size(v any) string {
	var n float64
	switch v := v.(type) {
	case int:
		n = float64(v)
	case int64:
		n = float64(v)
	case uint64:
		n = float64(v)
	}
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for n >= 1024 && i < len(units)-1 {
		n, i = n/1024, i+1
	}
	if i == 0 || n == math.Trunc(n) {
		return fmt.Sprintf("%.0f %s", n, units[i])
	}
	return fmt.Sprintf("%.1f %s", n, units[i])
}

// age is a number of seconds for people, in one or two units.
func age(seconds float64) string {
	s := int64(seconds)
	two := func(a int64, unit string, b int64, small string) string {
		if b == 0 {
			return fmt.Sprintf("%d %s", a, unit)
		}
		return fmt.Sprintf("%d %s %d %s", a, unit, b, small)
	}
	switch {
	case s < 60:
		return fmt.Sprintf("%d s", s)
	case s < 3600:
		return two(s/60, "min", s%60, "s")
	case s < 48*3600:
		return two(s/3600, "h", s%3600/60, "min")
	default:
		return two(s/86400, "d", s%86400/3600, "h")
	}
}

// when is a time as how long ago it was, with the exact one behind it.
func when(t any) template.HTML {
	var at time.Time
	switch t := t.(type) {
	case time.Time:
		at = t
	case *time.Time:
		if t != nil {
			at = *t
		}
	}
	if at.IsZero() {
		return `<span class="none">–</span>`
	}
	at = at.UTC()
	return template.HTML(fmt.Sprintf(`<time datetime="%s" title="%s">%s</time>`, //nolint:gosec // made of numbers only
		at.Format(time.RFC3339), at.Format("2006-01-02 15:04:05.000 MST"), ago(time.Since(at))))
}

func ago(d time.Duration) string {
	ahead := d < 0
	s := int64(d.Abs().Seconds())
	var text string
	switch {
	case s < 2:
		return "just now"
	case s < 60:
		text = fmt.Sprintf("%d s", s)
	case s < 3600:
		text = fmt.Sprintf("%d min", s/60)
	case s < 48*3600:
		text = fmt.Sprintf("%d h", s/3600)
	default:
		text = fmt.Sprintf("%d days", s/86400)
	}
	if ahead {
		return "in " + text
	}
	return text + " ago"
}

func stamp(t any) string {
	switch t := t.(type) {
	case time.Time:
		return t.UTC().Format("2006-01-02 15:04:05 MST")
	case *time.Time:
		if t != nil {
			return t.UTC().Format("2006-01-02 15:04:05 MST")
		}
	}
	return ""
}

func dict(pairs ...any) (map[string]any, error) {
	out := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		key, ok := pairs[i].(string)
		if !ok {
			return nil, errors.New("dict: keys are texts")
		}
		out[key] = pairs[i+1]
	}
	return out, nil
}

// pretty indents JSON without touching its numbers, and leaves other texts alone.
func pretty(text string) string {
	var out bytes.Buffer
	trimmed := strings.TrimSpace(text)
	if trimmed == "" || trimmed[0] != '{' && trimmed[0] != '[' || json.Indent(&out, []byte(trimmed), "", "  ") != nil {
		return text
	}
	return out.String()
}

// short is a text of at most n characters in one line.
func short(n int, text string) string {
	text = strings.Join(strings.Fields(text[:min(len(text), 4*n)]), " ")
	if utf8.RuneCountInString(text) <= n {
		return text
	}
	return string([]rune(text)[:n-1]) + "…"
}

// plural is "1 message" or "3 messages".
func plural(v any, one string) string {
	text := number(v)
	if text == "1" {
		return "1 " + one
	}
	if cut, found := strings.CutSuffix(one, "y"); found {
		return text + " " + cut + "ies"
	}
	return text + " " + one + "s"
}

// shell quotes a word for a command line.
func shell(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:=@%+,", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// command is a command line of mnq.
func command(words ...string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = shell(w)
	}
	return "mnq " + strings.Join(quoted, " ")
}
