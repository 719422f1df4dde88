package jsonstring

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func FuzzQuoted(f *testing.F) {
	for _, s := range []string{"", "a", "\"\\/\b\f\n\r\t\x00\x1f\x7f", "é€𝄞\u2028", "\xff\xc0\xafa", "<script>&"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		b := Append(nil, s)
		var got string
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%q: %v", b, err)
		}
		var want strings.Builder
		for _, r := range s { // what is not UTF-8 comes as U+FFFD
			want.WriteRune(r)
		}
		if got != want.String() || !utf8.Valid(b) {
			t.Errorf("%q became %q", s, got)
		}
		var std bytes.Buffer
		enc := json.NewEncoder(&std)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(s); err != nil {
			t.Fatal(err)
		}
		if b := AppendStd(nil, s); string(b)+"\n" != std.String() {
			t.Errorf("%s, encoding/json writes %s", b, &std)
		}
	})
}
