// Package jsonstring writes JSON strings without reflection.
package jsonstring

import "unicode/utf8"

// Append adds s as a JSON string to b. Only what JSON asks for is escaped; what is not
// UTF-8 becomes U+FFFD.
func Append(b []byte, s string) []byte { return quote(b, s, false) }

// AppendStd adds s to b as encoding/json writes it when it leaves HTML alone: as [Append]
// does, and the line separators U+2028 and U+2029 are escaped too.
func AppendStd(b []byte, s string) []byte { return quote(b, s, true) }

func quote(b []byte, s string, lines bool) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	done := 0 // what of s has been written
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c < utf8.RuneSelf && c != '"' && c != '\\' {
			i++
			continue
		}
		r, n := rune(c), 1
		if c >= utf8.RuneSelf {
			if r, n = utf8.DecodeRuneInString(s[i:]); (r != utf8.RuneError || n > 1) && (!lines || r != '\u2028' && r != '\u2029') {
				i += n
				continue
			}
		}
		b = append(b, s[done:i]...)
		switch r {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\b':
			b = append(b, '\\', 'b')
		case '\f':
			b = append(b, '\\', 'f')
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', hex[r>>12&15], hex[r>>8&15], hex[r>>4&15], hex[r&15])
		}
		i += n
		done = i
	}
	return append(append(b, s[done:]...), '"')
}
