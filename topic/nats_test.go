package topic

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/openmnq/mnq/internal/wire"
	"github.com/openmnq/mnq/queue"
)

func TestSubjectsThatMayBeUsed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		subject         string
		plain, wildcard bool
	}{
		{"a", true, true},
		{"a.b-c_d.E", true, true},
		{"a.*", false, true},
		{"a.>", false, true},
		{"a.>.b", false, false},
		{">", false, false},
		{"*", false, false},
		{"*.a", false, false},
		{"", false, false},
		{"a..b", false, false},
		{".a", false, false},
		{"a.", false, false},
		{"a b", false, false},
		{"a\tb", false, false},
		{"a\r\nPUB x 0", false, false},
		{"a.b*", false, false},
		{"$SYS.REQ", false, false},
		{"$JS.API.>", false, false},
		{"_INBOX.x", false, false},
		{strings.Repeat("a", maxNATSSubject), true, true},
		{strings.Repeat("a", maxNATSSubject+1), false, false},
	} {
		if got := validSubject(test.subject, false); got != test.plain {
			t.Errorf("%q: %t", test.subject, got)
		}
		if got := validSubject(test.subject, true); got != test.wildcard {
			t.Errorf("%q with wildcards: %t", test.subject, got)
		}
	}
}

func TestCovers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"a", "a", true},
		{"a", "b", false},
		{"a.*", "a.b", true},
		{"a.*", "a.*", true},
		{"a.*", "a.>", false},
		{"a.>", "a.>", true},
		{"a.>", "a.b.c", true},
		{"a.>", "a", false},
		{"a.b", "a.*", false},
		{"a.*.c", "a.b.c", true},
		{"a.*.c", "a.b", false},
		{"a.b", "a.b.c", false},
	} {
		if got := covers(test.a, test.b); got != test.want {
			t.Errorf("%s covers %s: %t", test.a, test.b, got)
		}
	}
}

// Attributes that become headers and attributes again are the same, but for names that
// mean something to servers.
func TestAttributesAndHeadersCorrespond(t *testing.T) {
	t.Parallel()
	attrs := []queue.Attribute{
		{Name: "amount", DataType: "Number", Value: []byte("3.5")},
		{Name: "blob", DataType: "Binary", Value: []byte{0, 255}},
		{Name: "lines", DataType: "String", Value: []byte("a\r\nNats-Rollup: all")},
		{Name: "Nats-Rollup", DataType: "String", Value: []byte("all")},
		{Name: "mnq-group-id", DataType: "String", Value: []byte("x")},
	}
	h := attributeHeaders(attrs)
	if len(h) != 3 || h["amount"][0] != "3.5" || h["Mnq-Binary-blob"][0] != base64.StdEncoding.EncodeToString([]byte{0, 255}) || h["Mnq-Binary-lines"] == nil {
		t.Fatalf("%v", h)
	}
	back := headerAttributes(h, 10)
	if len(back) != 3 || back[2].Name != "amount" || string(back[0].Value) != "\x00\xff" || string(back[1].Value) != "a\r\nNats-Rollup: all" {
		t.Errorf("%v", back)
	}
	if n := len(headerAttributes(h, 2)); n != 2 {
		t.Errorf("%d attributes where there is room for 2", n)
	}
}

func TestCrossing(t *testing.T) {
	t.Parallel()
	of := func(data string, header nats.Header) (crossing, string) {
		return crossingOf("id", &wire.Pulled{Subject: "s.1", Data: []byte(data), Header: header, Sequence: 7})
	}
	m, refused := of("hello", nats.Header{"Mnq-Group-Id": {"g"}, "Mnq-Deduplication-Id": {"d"}, "Mnq-Subject": {"Hi"}})
	if refused != "" || m.group != "g" || m.dedup != "d" || m.subject != "Hi" || m.body != "hello" || len(m.attributes) != 2 {
		t.Errorf("%+v %s", m, refused)
	}
	m, refused = of("hello", nats.Header{"Mnq-Group-Id": {"a b"}, "Mnq-Deduplication-Id": {strings.Repeat("d", 129)}, "Mnq-Subject": {"\x01"}})
	if refused != "" || m.group != "" || m.groupOr() != "s.1" || m.dedup != "id.7" || m.subject != "" {
		t.Errorf("%+v %s", m, refused)
	}
	if m, refused = of("\x00", nil); refused != "" || m.body != "AA==" || len(m.attributes) != 3 {
		t.Errorf("%+v %s", m, refused)
	}
	if _, refused = of("", nil); refused == "" {
		t.Error("an empty message crossed")
	}
	if _, refused = of("x", nats.Header{"Mnq-Hops": {"5"}}); refused == "" {
		t.Error("a message crossed a sixth bridge")
	}
	many := nats.Header{}
	for n := range strings.SplitSeq("abcdefghijklmnop", "") {
		many[n] = []string{n}
	}
	if m, _ = of("x", many); len(m.attributes) != 10 {
		t.Errorf("%d attributes", len(m.attributes))
	}
}
