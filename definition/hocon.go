package definition

import (
	"fmt"
	"strings"
)

// hocon reads as much of HOCON as the configuration files of ElasticMQ use: objects, lists,
// quoted and bare values, paths as keys, comments, objects that are written twice and go
// together. Substitutions and includes are kept as they stand.
//
// Values are *hoconObject, []any and string.
type hocon struct {
	text string
	at   int
	line int
}

type hoconObject struct {
	keys   []string // in the order of the file
	values map[string]any
	lines  map[string]int
}

func newHoconObject() *hoconObject {
	return &hoconObject{values: map[string]any{}, lines: map[string]int{}}
}

// maxHoconDepth bounds objects within objects.
const maxHoconDepth = 64

func parseHocon(text string) (*hoconObject, error) {
	h := &hocon{text: text, line: 1}
	h.space()
	braced := h.take('{')
	o, err := h.object(braced, 0)
	if err == nil && h.at < len(h.text) {
		err = h.fail("unexpected %q", h.text[h.at])
	}
	return o, err
}

func (h *hocon) fail(format string, args ...any) error {
	return &lineError{h.line, fmt.Sprintf(format, args...)}
}

func (h *hocon) peek() byte {
	if h.at < len(h.text) {
		return h.text[h.at]
	}
	return 0
}

func (h *hocon) take(c byte) bool {
	if h.peek() != c || h.at >= len(h.text) {
		return false
	}
	h.at++
	return true
}

// comment skips a comment and reports whether there was one.
func (h *hocon) comment() bool {
	rest := h.text[h.at:]
	if !strings.HasPrefix(rest, "#") && !strings.HasPrefix(rest, "//") {
		return false
	}
	if end := strings.IndexByte(rest, '\n'); end >= 0 {
		h.at += end
	} else {
		h.at = len(h.text)
	}
	return true
}

// space skips blanks, line ends, commas and comments.
func (h *hocon) space() {
	for h.at < len(h.text) {
		switch h.text[h.at] {
		case '\n':
			h.line++
			h.at++
		case ' ', '\t', '\r', ',':
			h.at++
		default:
			if !h.comment() {
				return
			}
		}
	}
}

func (h *hocon) blanks() {
	for h.peek() == ' ' || h.peek() == '\t' || h.peek() == '\r' {
		h.at++
	}
}

// object reads fields up to the closing brace, or to the end of the file.
func (h *hocon) object(braced bool, depth int) (*hoconObject, error) {
	o := newHoconObject()
	if depth > maxHoconDepth {
		return o, h.fail("too many objects within objects")
	}
	for {
		h.space()
		if braced && h.take('}') {
			h.space()
			return o, nil
		}
		if h.at >= len(h.text) {
			if braced {
				return o, h.fail("a closing brace is missing")
			}
			return o, nil
		}
		if strings.HasPrefix(h.text[h.at:], "include ") {
			o.put([]string{"include"}, h.bare(), h.line)
			continue
		}
		if err := h.field(o, depth); err != nil {
			return o, err
		}
	}
}

func (h *hocon) field(o *hoconObject, depth int) error {
	line := h.line
	path, err := h.key()
	if err != nil {
		return err
	}
	h.space()
	if h.peek() != '{' {
		if strings.HasPrefix(h.text[h.at:], "+=") {
			h.at++
		}
		if !h.take('=') && !h.take(':') {
			return h.fail("after the key %s there must be =, : or {", strings.Join(path, "."))
		}
	}
	v, err := h.value(depth)
	if err == nil {
		o.put(path, v, line)
	}
	return err
}

// key is a path: parts between dots, which may be quoted.
func (h *hocon) key() (path []string, err error) {
	for {
		var part string
		if h.peek() == '"' {
			if part, err = h.quoted(); err != nil {
				return nil, err
			}
		} else {
			from := h.at
			for h.at < len(h.text) && !strings.ContainsRune(" \t\r\n.{}[]=:,\"#", rune(h.text[h.at])) {
				h.at++
			}
			part = h.text[from:h.at]
		}
		if part == "" {
			return nil, h.fail("a key is missing before %q", h.peek())
		}
		path = append(path, part)
		if !h.take('.') {
			return path, nil
		}
	}
}

func (h *hocon) quoted() (string, error) {
	var b strings.Builder
	if strings.HasPrefix(h.text[h.at:], `"""`) {
		end := strings.Index(h.text[h.at+3:], `"""`)
		if end < 0 {
			return "", h.fail("the text has no end")
		}
		text := h.text[h.at+3 : h.at+3+end]
		h.line += strings.Count(text, "\n")
		h.at += end + 6
		return text, nil
	}
	for h.at++; h.at < len(h.text); h.at++ {
		switch c := h.text[h.at]; {
		case c == '"':
			h.at++
			return b.String(), nil
		case c == '\n':
			return "", h.fail("the text has no end in its line")
		case c == '\\' && h.at+1 < len(h.text):
			h.at++
			b.WriteString(strings.NewReplacer("n", "\n", "t", "\t", "r", "\r").Replace(h.text[h.at : h.at+1]))
		default:
			b.WriteByte(c)
		}
	}
	return "", h.fail("the text has no end")
}

func (h *hocon) value(depth int) (any, error) {
	h.space()
	switch h.peek() {
	case '{':
		h.at++
		return h.object(true, depth+1)
	case '[':
		h.at++
		return h.list(depth + 1)
	case '"':
		text, err := h.quoted()
		if err != nil {
			return nil, err
		}
		return text + h.bare(), nil // values side by side go together
	}
	if text := h.bare(); text != "" {
		return text, nil
	}
	return nil, h.fail("a value is missing")
}

func (h *hocon) list(depth int) ([]any, error) {
	var all []any
	for {
		h.space()
		if h.take(']') {
			return all, nil
		}
		if h.at >= len(h.text) || depth > maxHoconDepth {
			return nil, h.fail("a closing bracket is missing")
		}
		v, err := h.value(depth)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
}

// bare reads a value without quotes: up to the end of the line, a comma, a bracket that
// was not opened in it, or a comment.
func (h *hocon) bare() string {
	var b strings.Builder
	h.blanks()
	open := 0
	for h.at < len(h.text) {
		c := h.text[h.at]
		switch {
		case c == '"':
			text, err := h.quoted()
			if err != nil {
				return strings.TrimSpace(b.String())
			}
			b.WriteString(text)
			continue
		case c == '{' || c == '(':
			open++
		case (c == '}' || c == ')') && open > 0:
			open--
		case c == '\n' || c == ',' || c == ']' || c == '}' || c == '#' || strings.HasPrefix(h.text[h.at:], "//"):
			return strings.TrimSpace(b.String())
		}
		b.WriteByte(c)
		h.at++
	}
	return strings.TrimSpace(b.String())
}

// put sets a value; an object goes together with one that is there. The path has a part.
func (o *hoconObject) put(path []string, v any, line int) {
	key := path[0] //nolint:gosec // never empty
	if _, known := o.values[key]; !known {
		o.keys = append(o.keys, key)
		o.lines[key] = line
	}
	have, _ := o.values[key].(*hoconObject)
	if len(path) > 1 {
		if have == nil {
			have = newHoconObject()
			o.values[key] = have
		}
		have.put(path[1:], v, line)
		return
	}
	if add, ok := v.(*hoconObject); ok && have != nil {
		for _, k := range add.keys {
			have.put([]string{k}, add.values[k], add.lines[k])
		}
		return
	}
	o.values[key] = v
}

func (o *hoconObject) object(key string) *hoconObject {
	if o == nil {
		return nil
	}
	child, _ := o.values[key].(*hoconObject)
	return child
}
