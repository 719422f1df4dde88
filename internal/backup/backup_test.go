package backup

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/openmnq/mnq"
)

func write(t *testing.T, f func(*Writer)) []byte {
	t.Helper()
	var file bytes.Buffer
	w, err := NewWriter(&file, Manifest{Version: "v1", OrganizationID: "o"})
	if err != nil {
		t.Fatal(err)
	}
	f(w)
	return file.Bytes()
}

func stream(t *testing.T, w *Writer, name, body string) {
	t.Helper()
	err := w.Stream(Stream{Account: "A", Name: name, Messages: 1, Config: []byte(`{"name":"` + name + `"}`), State: []byte(`{}`)},
		func(out io.Writer) error { _, err := io.WriteString(out, body); return err })
	if err != nil {
		t.Fatal(err)
	}
}

// read returns the streams that count, by name.
func read(file []byte) (map[string]string, error) {
	r, err := NewReader(bytes.NewReader(file))
	if err != nil {
		return nil, err
	}
	all := map[int]string{}
	for {
		_, body, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		text, err := io.ReadAll(body)
		if err != nil {
			return nil, err
		}
		all[r.N()] = string(text)
	}
	found := map[string]string{}
	for n, s := range r.Counts() {
		found[s.Name] = all[n]
	}
	return found, nil
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	t.Parallel()
	large := strings.Repeat("0123456789abcdef", 200_000) // several parts
	file := write(t, func(w *Writer) {
		stream(t, w, "one", "first")
		stream(t, w, "two", large)
		stream(t, w, "empty", "")
		stream(t, w, "gone", "x")
		stream(t, w, "one", "again")
		w.Drop("A", "gone")
		if err := w.Close([]string{"careful"}); err != nil {
			t.Fatal(err)
		}
	})
	got, err := read(file)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got["one"] != "again" || got["two"] != large || got["empty"] != "" {
		t.Errorf("%d streams", len(got))
	}
}

func TestEveryChangedByteIsNoticed(t *testing.T) {
	t.Parallel()
	file := write(t, func(w *Writer) {
		stream(t, w, "one", "first")
		stream(t, w, "two", "second")
		if err := w.Close(nil); err != nil {
			t.Fatal(err)
		}
	})
	if _, err := read(file); err != nil {
		t.Fatal(err)
	}
	for i := range file {
		bad := bytes.Clone(file)
		bad[i] ^= 0x10
		if _, err := read(bad); mnq.KindOf(err) != mnq.Invalid {
			t.Fatalf("byte %d of %d: %v", i, len(file), err)
		}
	}
	for n := range len(file) {
		if _, err := read(file[:n]); mnq.KindOf(err) != mnq.Invalid {
			t.Fatalf("the first %d bytes of %d: %v", n, len(file), err)
		}
	}
	if _, err := read(append(bytes.Clone(file), 0)); mnq.KindOf(err) != mnq.Invalid {
		t.Errorf("a byte more: %v", err)
	}
}

func TestTheDamagedStreamIsNamed(t *testing.T) {
	t.Parallel()
	file := write(t, func(w *Writer) {
		stream(t, w, "one", "first")
		stream(t, w, "two", "second")
		if err := w.Close(nil); err != nil {
			t.Fatal(err)
		}
	})
	bad := bytes.Replace(file, []byte("second"), []byte("sEcond"), 1)
	if _, err := read(bad); err == nil || !strings.Contains(err.Error(), "the backup is damaged in 1 of 2 streams: A > two") {
		t.Errorf("%v", err)
	}
	before, _, _ := bytes.Cut(file, []byte("second"))
	if _, err := read(before); err == nil || !strings.Contains(err.Error(), "the backup is cut short in stream A > two") {
		t.Errorf("%v", err)
	}
}

func TestWhatIsNoBackup(t *testing.T) {
	t.Parallel()
	failed := write(t, func(w *Writer) {
		stream(t, w, "one", "first")
		if err := w.Fail("no leader"); err != nil {
			t.Fatal(err)
		}
	})
	newer := bytes.Replace(write(t, func(*Writer) {}), []byte(fmt.Sprintf(`"format":%d`, Format)), []byte(fmt.Sprintf(`"format":%d`, Format+1)), 1)
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"nothing":       {nil, "no backup that mnq has written"},
		"a text":        {[]byte(strings.Repeat("hello ", 1000)), "no backup that mnq has written"},
		"not completed": {failed, "was not completed: no leader"},
		"newer":         {newer, "use the mnq that wrote it, or a newer one"},
	} {
		if _, err := read(c.file); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
