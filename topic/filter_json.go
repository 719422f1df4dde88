package topic

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"
)

// jsonToken is what a jsonScanner stands on.
type jsonToken uint8

const (
	jsonBad jsonToken = iota // the text is not JSON; the scanner does not go on
	jsonEnd                  // the text is over
	jsonObject
	jsonObjectEnd
	jsonArray
	jsonArrayEnd
	jsonKey
	jsonString
	jsonNumber
	jsonTrue
	jsonFalse
	jsonNull
)

type jsonState uint8

const (
	jsonBegin jsonState = iota
	jsonOpened
	jsonAfterKey
	jsonAfterValue
)

// maxJSONDepth is how deep a jsonScanner follows objects and arrays.
const maxJSONDepth = 256

// jsonScanner reads a JSON text (RFC 8259) token by token. It knows where it
// stands, which encoding/json tells only roughly, and says what is wrong in the words
// that clients of SNS know. It allocates nothing, and a copy goes on by itself. The
// zero value with a text stands before the first token.
type jsonScanner struct {
	text       string
	start, pos int // the token is text[start:pos]
	token      jsonToken
	state      jsonState
	escaped    bool // the string or key has escapes
	read       bool // the string has been asked for
	depth      int
	objects    [maxJSONDepth / 64]uint64 // one bit for each open container: it is an object

	fault   string // of jsonBad: what is wrong, and where
	faultAt int
}

// next goes to the next token. At the end it stays at jsonEnd, and after a fault at
// jsonBad.
func (s *jsonScanner) next() jsonToken {
	if s.fault != "" {
		return jsonBad
	}
	s.read = false
	s.space()
	switch s.state {
	case jsonBegin:
		return s.value()
	case jsonAfterKey:
		if s.peek() != ':' {
			return s.unexpected("was expecting a colon to separate field name and value")
		}
		s.pos++
		s.space()
		return s.value()
	case jsonOpened:
		return s.member(true)
	case jsonAfterValue:
	}
	if s.depth > 0 {
		return s.member(false)
	}
	if s.pos < len(s.text) {
		return s.unexpected("was expecting the end of the text")
	}
	s.start = s.pos
	return s.is(jsonEnd, jsonAfterValue)
}

// member goes on inside an object or array.
func (s *jsonScanner) member(first bool) jsonToken {
	object := s.inObject()
	end, token, kind := byte(']'), jsonArrayEnd, "Array"
	if object {
		end, token, kind = '}', jsonObjectEnd, "Object"
	}
	switch c := s.peek(); {
	case c == end:
		s.start = s.pos
		s.pos++
		s.depth--
		return s.is(token, jsonAfterValue)
	case first:
	case c == ',':
		s.pos++
		s.space()
	default:
		return s.unexpected("was expecting comma to separate " + kind + " entries")
	}
	if !object {
		return s.value()
	}
	if s.peek() != '"' {
		return s.unexpected("was expecting double-quote to start field name")
	}
	return s.quoted(jsonKey, jsonAfterKey)
}

func (s *jsonScanner) value() jsonToken {
	s.start = s.pos
	switch c := s.peek(); {
	case c == '{':
		return s.open(jsonObject)
	case c == '[':
		return s.open(jsonArray)
	case c == '"':
		return s.quoted(jsonString, jsonAfterValue)
	case c == '-' || isDigit(c):
		return s.number()
	case isWord(c):
		return s.word()
	}
	return s.unexpected("expected a valid value (JSON String, Number, Array, Object or token 'null', 'true' or 'false')")
}

func (s *jsonScanner) open(token jsonToken) jsonToken {
	if s.depth == maxJSONDepth {
		return s.fail(fmt.Sprintf("Document nesting depth (%d) exceeds the maximum allowed (%d)", s.depth+1, maxJSONDepth), s.pos)
	}
	s.pos++
	if bit := uint64(1) << (s.depth % 64); token == jsonObject {
		s.objects[s.depth/64] |= bit
	} else {
		s.objects[s.depth/64] &^= bit
	}
	s.depth++
	return s.is(token, jsonOpened)
}

func (s *jsonScanner) inObject() bool {
	d := s.depth - 1
	return s.objects[d/64]&(1<<(d%64)) != 0
}

func (s *jsonScanner) quoted(token jsonToken, then jsonState) jsonToken {
	s.start, s.escaped = s.pos, false
	for i := s.pos + 1; i < len(s.text); i++ {
		switch c := s.text[i]; {
		case c == '"':
			s.pos = i + 1
			return s.is(token, then)
		case c < ' ':
			return s.fail(fmt.Sprintf("Illegal unquoted character ((CTRL-CHAR, code %d)): "+
				"has to be escaped using backslash to be included in string value", c), i)
		case c == '\\':
			s.escaped = true
			n := escapeLength(s.text[i:])
			if n == 0 {
				return s.fail("Unrecognized character escape", i)
			}
			i += n - 1
		}
	}
	s.pos = len(s.text)
	return s.fail("Unexpected end-of-input in VALUE_STRING", s.pos)
}

// escapeLength is how long the escape at the beginning of text is, 0 when it is none.
func escapeLength(text string) int {
	switch {
	case len(text) < 2:
		return 0
	case strings.IndexByte(`"\/bfnrt`, text[1]) >= 0:
		return 2
	case text[1] != 'u' || len(text) < 6:
		return 0
	}
	for _, c := range []byte(text[2:6]) {
		if !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'f') {
			return 0
		}
	}
	return 6
}

func (s *jsonScanner) number() jsonToken {
	s.take("-")
	ok := s.take("0") || s.digits()
	if ok && s.take(".") {
		ok = s.digits()
	}
	if ok && s.take("eE") {
		s.take("+-")
		ok = s.digits()
	}
	if !ok {
		return s.unexpected("expected digits to follow in a number")
	}
	return s.is(jsonNumber, jsonAfterValue)
}

// take goes over the next byte when it is one of set.
func (s *jsonScanner) take(set string) bool {
	if s.pos == len(s.text) || strings.IndexByte(set, s.text[s.pos]) < 0 {
		return false
	}
	s.pos++
	return true
}

// digits goes over the digits that follow and reports whether there are any.
func (s *jsonScanner) digits() bool {
	from := s.pos
	for s.pos < len(s.text) && isDigit(s.text[s.pos]) {
		s.pos++
	}
	return s.pos > from
}

func (s *jsonScanner) word() jsonToken {
	i := s.pos
	for i < len(s.text) && (isWord(s.text[i]) || isDigit(s.text[i])) {
		i++
	}
	word := s.text[s.pos:i]
	s.pos = i
	switch word {
	case "true":
		return s.is(jsonTrue, jsonAfterValue)
	case "false":
		return s.is(jsonFalse, jsonAfterValue)
	case "null":
		return s.is(jsonNull, jsonAfterValue)
	}
	return s.fail("Unrecognized token '"+clip(word)+"': was expecting (JSON String, Number, Array, Object or token 'null', 'true' or 'false')", i)
}

// skip goes to the end of the object or array that it stands on, and stays on any
// other token.
func (s *jsonScanner) skip() {
	if s.token != jsonObject && s.token != jsonArray {
		return
	}
	for outside := s.depth - 1; s.depth > outside && s.next() != jsonBad; {
		continue
	}
}

// raw is the token as it is written.
func (s *jsonScanner) raw() string { return s.text[s.start:s.pos] }

// str is the text of the string or key that it stands on.
func (s *jsonScanner) str() string {
	s.read = true
	if !s.escaped {
		return s.text[s.start+1 : s.pos-1]
	}
	var text string
	if err := json.Unmarshal([]byte(s.raw()), &text); err != nil {
		return "" // the scanner has checked it
	}
	return text
}

// where is the offset that an error about the token names. It is where the parser of
// the original stands at that moment: it takes a string when asked for it, and looks
// at a key together with what begins the key's value.
func (s *jsonScanner) where() int {
	switch {
	case s.token == jsonString && !s.read:
		return s.start + 1
	case s.token == jsonKey:
		ahead := *s
		if ahead.next() != jsonBad {
			return ahead.where()
		}
	}
	return s.pos
}

// position names a place in the text: line and column, both from 1, in characters.
func (s *jsonScanner) position(at int) string {
	before := s.text[:at]
	line := strings.Count(before, "\n") + 1
	column := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
	return fmt.Sprintf("line: %d, column: %d", line, column)
}

func (s *jsonScanner) is(token jsonToken, then jsonState) jsonToken {
	s.token, s.state = token, then
	return token
}

func (s *jsonScanner) fail(fault string, at int) jsonToken {
	s.fault, s.faultAt, s.token = fault, at, jsonBad
	return jsonBad
}

// unexpected fails at the next character.
func (s *jsonScanner) unexpected(wanted string) jsonToken {
	if s.pos >= len(s.text) {
		return s.fail("Unexpected end-of-input: "+wanted, s.pos)
	}
	r, _ := utf8.DecodeRuneInString(s.text[s.pos:])
	return s.fail(fmt.Sprintf("Unexpected character ('%c' (code %d)): %s", r, r, wanted), s.pos)
}

func (s *jsonScanner) space() {
	for s.pos < len(s.text) && strings.IndexByte(" \t\r\n", s.text[s.pos]) >= 0 {
		s.pos++
	}
}

// peek is the next byte, and 0, which begins nothing, at the end.
func (s *jsonScanner) peek() byte {
	if s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func isWord(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_' || c == '$' }

// checkJSON returns what is wrong with a document that is not JSON, in the words
// of the original, and "" when it is.
func checkJSON(text string) string {
	s := jsonScanner{text: text}
	for {
		switch s.next() {
		case jsonEnd:
			return ""
		case jsonBad:
			return "failed to parse JSON. " + s.fault +
				"\n at [Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled); " + s.position(s.faultAt) + "]"
		default:
		}
	}
}
