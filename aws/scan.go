package aws

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// scanner reads JSON of a form that is known, in one pass and without reflection. Its
// methods report whether they found that form; anything else, right or wrong JSON, is
// for encoding/json to judge. So what is accepted, and how it is refused, is decided
// in one place only.
type scanner struct {
	text string
	at   int
}

// maxScanned is how many members an object may have here; each is compared with
// those before it, because of two with one name the general decoder has its own view.
const maxScanned = 16

func (s *scanner) blanks() {
	for s.at < len(s.text) && (s.text[s.at] == ' ' || s.text[s.at] == '\n' || s.text[s.at] == '\t' || s.text[s.at] == '\r') {
		s.at++
	}
}

// take skips blanks and then c.
func (s *scanner) take(c byte) bool {
	s.blanks()
	found := s.at < len(s.text) && s.text[s.at] == c
	if found {
		s.at++
	}
	return found
}

// end reports whether nothing but blanks is left.
func (s *scanner) end() bool {
	s.blanks()
	return s.at == len(s.text)
}

// object calls member for each name, with the value next.
func (s *scanner) object(member func(name string) bool) bool {
	if !s.take('{') {
		return false
	}
	if s.take('}') {
		return true
	}
	var seen [maxScanned]string
	for n := range maxScanned {
		name, ok := s.str()
		if !ok || !s.take(':') {
			return false
		}
		again := slices.Contains(seen[:n], name)
		seen[n] = name
		switch {
		case again, !member(name):
			return false
		case s.take(','):
		default:
			return s.take('}')
		}
	}
	return false
}

// array calls element with each element next.
func (s *scanner) array(element func() bool) bool {
	if !s.take('[') {
		return false
	}
	if s.take(']') {
		return true
	}
	for {
		switch {
		case !element():
			return false
		case s.take(','):
		default:
			return s.take(']')
		}
	}
}

// into reads a string.
func (s *scanner) into(v *string) (ok bool) {
	*v, ok = s.str()
	return ok
}

// optional reads a string of its own memory, for what may be kept longer than the request.
func (s *scanner) optional(v **string) bool {
	text, ok := s.str()
	if ok {
		*v = new(strings.Clone(text))
	}
	return ok
}

// list reads an array of strings.
func (s *scanner) list(v *[]string) bool {
	*v = []string{}
	return s.array(func() bool {
		text, ok := s.str()
		*v = append(*v, text)
		return ok
	})
}

// number reads a whole number of at most nine digits.
func (s *scanner) number(v **integer) bool {
	negative := s.take('-')
	n, begin := integer(0), s.at
	for s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9' {
		n = 10*n + integer(s.text[s.at]-'0')
		s.at++
		if s.at-begin > 9 {
			return false
		}
	}
	if s.at == begin || s.text[begin] == '0' && s.at-begin > 1 {
		return false
	}
	if negative {
		n = -n
	}
	*v = &n
	return true
}

// str reads one string, which shares the memory of the text when it has no escapes.
func (s *scanner) str() (string, bool) {
	if !s.take('"') {
		return "", false
	}
	rest := s.text[s.at:]
	n := strings.IndexByte(rest, '"')
	if n < 0 {
		return "", false
	}
	if strings.IndexByte(rest[:n], '\\') >= 0 {
		return s.unescape(n)
	}
	s.at += n + 1
	return rest[:n], wellFormed(rest[:n])
}

// unescape reads the rest of a string with escapes. The next quotation mark is n bytes
// further.
func (s *scanner) unescape(n int) (string, bool) {
	rest := s.text[s.at:]
	b := make([]byte, 0, n+n/8+16)
	for {
		i := strings.IndexByte(rest[:n], '\\')
		if i < 0 {
			b = append(b, rest[:n]...)
			s.at = len(s.text) - len(rest) + n + 1
			return string(b), wellFormed(rest[:n])
		}
		if !wellFormed(rest[:i]) {
			return "", false
		}
		b = append(b, rest[:i]...)
		r, size := unescaped(rest[i:])
		if size == 0 {
			return "", false
		}
		b = utf8.AppendRune(b, r)
		rest = rest[i+size:]
		if n -= i + size; n >= 0 {
			continue
		}
		if n = strings.IndexByte(rest, '"'); n < 0 { // the mark was part of an escape
			return "", false
		}
	}
}

// unescaped reads the escape at the start of s, which is size bytes long. Size 0: it is
// none, or half of a surrogate pair.
func unescaped(s string) (r rune, size int) {
	if len(s) < 2 {
		return 0, 0
	}
	switch s[1] {
	case '"', '\\', '/':
		return rune(s[1]), 2
	case 'b':
		return '\b', 2
	case 'f':
		return '\f', 2
	case 'n':
		return '\n', 2
	case 'r':
		return '\r', 2
	case 't':
		return '\t', 2
	case 'u':
	default:
		return 0, 0
	}
	if len(s) < 6 {
		return 0, 0
	}
	for i := range 4 {
		c := rune(s[2+i])
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		case c >= 'A' && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, 0
		}
		r = r<<4 | c
	}
	if r >= 0xD800 && r <= 0xDFFF {
		return 0, 0
	}
	return r, 6
}

// wellFormed reports whether s may stand in a JSON string: UTF-8 without control
// characters.
func wellFormed(s string) bool {
	const ones = 0x0101010101010101
	i := 0
	for ; i+8 <= len(s); i += 8 {
		x := uint64(s[i]) | uint64(s[i+1])<<8 | uint64(s[i+2])<<16 | uint64(s[i+3])<<24 |
			uint64(s[i+4])<<32 | uint64(s[i+5])<<40 | uint64(s[i+6])<<48 | uint64(s[i+7])<<56
		if (x|(x-0x20*ones))&(0x80*ones) != 0 { // one of eight is below 0x20 or above 0x7F
			break
		}
	}
	for j := i; j < len(s); j++ {
		if s[j] < 0x20 {
			return false
		}
	}
	return utf8.ValidString(s[i:])
}
