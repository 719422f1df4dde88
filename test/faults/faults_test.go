// Package faults breaks a running installation in every way that the machine allows and
// holds what its clients saw to the promises. Each row prints one line with figures.
// The short form is part of make test; make faults runs the full one.
package faults

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/openmnq/mnq/test/history"
)

var (
	full   = flag.Bool("full", false, "make as many faults as make faults promises")
	most   = flag.Int("most", 0, "with -full: faults of each kind on three nodes; 0: as many as promised")
	strict = flag.Bool("strict", false, "a row that cannot run here is a failure")
)

// many is how many faults a row makes.
func many(short, long int) int {
	if *full {
		return long
	}
	return short
}

// row is one line of the table.
type row struct {
	name       string
	operations int
	faults     int
	lost       int
	duplicated int
	reordered  int
	overlapped int
	gap        time.Duration // longest time without a successful call
	more       []string      // what else there is to say
}

// add takes the figures of a checked history.
func (r *row) add(h history.Report) {
	r.operations += h.Sent + h.Unknown + h.Received + h.Deleted
	r.lost += len(h.Lost)
	r.duplicated += h.Duplicated
	r.reordered += len(h.Reordered)
	r.overlapped += len(h.Overlapped)
	r.gap = max(r.gap, h.Gap)
}

func (r *row) say(format string, args ...any) { r.more = append(r.more, fmt.Sprintf(format, args...)) }

// print writes the line, whatever came of the test.
func (r *row) print(t *testing.T) {
	t.Helper()
	verdict := "ok  "
	if t.Failed() {
		verdict = "FAIL"
	}
	line := fmt.Sprintf("%s %-28s operations %6d, faults %4d, lost %d, duplicated %d, reordered %d, overlapped %d, longest unavailability %.1f s",
		verdict, r.name, r.operations, r.faults, r.lost, r.duplicated, r.reordered, r.overlapped, r.gap.Seconds())
	if len(r.more) > 0 {
		line += "; " + strings.Join(r.more, ", ")
	}
	fmt.Fprintln(os.Stdout, line)
}

// begin names a row. Its line is printed when the test ends.
func begin(t *testing.T, name string) *row {
	t.Helper()
	r := &row{name: name}
	t.Cleanup(func() {
		if !t.Skipped() {
			r.print(t)
		}
	})
	return r
}

// cannot ends a row for which the machine lacks something: with a failure when all rows
// were asked for, since a row that did not run has shown nothing.
func cannot(t *testing.T, name, why string) {
	t.Helper()
	line := "---- " + name + ": not run: " + why
	fmt.Fprintln(os.Stdout, line)
	if *strict {
		t.Fatal(line)
	}
	t.Skip(line)
}

// needRoot ends a row that mounts or makes network namespaces when that is not allowed.
func needRoot(t *testing.T, name string) {
	t.Helper()
	if os.Geteuid() != 0 {
		cannot(t, name, "it needs root")
	}
}
