package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"

	"golang.org/x/term"

	"github.com/openmnq/mnq"
)

// table prints aligned columns, the same on a terminal and in a pipe.
type table struct {
	w   *tabwriter.Writer
	err error
}

func newTable(w io.Writer, columns ...string) *table {
	t := &table{w: tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)}
	t.row(columns...)
	return t
}

func (t *table) row(cells ...string) {
	for i, c := range cells {
		if c == "" {
			c = "-"
		}
		cells[i] = strings.Map(printable, c)
	}
	if t.err == nil {
		_, t.err = io.WriteString(t.w, strings.Join(cells, "\t")+"\n")
	}
}

func (t *table) flush() error {
	if t.err != nil {
		return t.err
	}
	return t.w.Flush()
}

// printable keeps names chosen by others from moving the cursor or a column.
func printable(r rune) rune {
	if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
		return '?'
	}
	return r
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

func printf(w io.Writer, format string, args ...any) error {
	_, err := fmt.Fprintf(w, format, args...)
	return err
}

// apiCall is one request to the control plane.
type apiCall struct {
	method, path string
	in           any
}

// showCall makes a call and prints its answer: as JSON just as it came, else as a
// table of fields.
func showCall[T any](a *app, asJSON bool, cl *client, call apiCall, show func(*table, T)) error {
	var raw json.RawMessage
	if err := cl.call(a.ctx, call.method, call.path, call.in, &raw); err != nil {
		return err
	}
	if asJSON {
		return printJSON(a.stdout, raw)
	}
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		return err
	}
	t := newTable(a.stdout, "FIELD", "VALUE")
	show(t, v)
	return t.flush()
}

// listJSON prints every item of a list just as the server gives it.
func listJSON(a *app, cl *client, path, field string, query url.Values) error {
	all, err := list[json.RawMessage](a.ctx, cl, path, field, query)
	if err != nil {
		return err
	}
	return printJSON(a.stdout, all)
}

// terminal reports whether a stream is one, so that a person can be asked.
func terminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// confirm lets the user type the name of what is about to go. Without a terminal
// there is nobody to ask.
func (a *app) confirm(yes bool, what, name string) error {
	if yes {
		return nil
	}
	if !terminal(a.stdin) {
		return usagef("--yes: is needed without a terminal, for this would %s", what)
	}
	if err := printf(a.stderr, "This would %s. Type %s to go on: ", what, name); err != nil {
		return err
	}
	line, err := bufio.NewReader(io.LimitReader(a.stdin, 1024)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if strings.TrimSpace(line) != name {
		return &mnq.Error{Kind: mnq.Conflict, Op: opClient, Msg: "not confirmed, so nothing was done"}
	}
	return nil
}

// maxInput bounds what is read from standard input or a file.
const maxInput = 1 << 20

// input returns text itself, or what standard input holds when it is "-".
func (a *app) input(text string) (string, error) {
	if text != "-" {
		return text, nil
	}
	return readBounded(a.stdin)
}

func readBounded(r io.Reader) (string, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxInput+1))
	if err == nil && len(b) > maxInput {
		err = usagef("the input is longer than %d bytes", maxInput)
	}
	return string(b), err
}
