package topic

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/openmnq/mnq"
)

// The scenarios say what is asked; what comes of it is written by -rewrite and
// read by whoever changes it.
//
//	policy [scope=body]   compiles the text and keeps it for the messages that follow
//	attributes            one message a line: its attributes, as in an envelope
//	body                  one message a line
//	keys n=6 [depth=1] [values=1] [scope=body]   a policy with so many keys, each so deep, with so many values
func TestFilterScenarios(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata/filter", func(t *testing.T, path string) {
		var f *Filter
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			t.Helper()
			switch d.Cmd {
			case "policy":
				var err error
				f, err = CompileFilter(d.Input, scenarioScope(d))
				return filterOutcome(f, err)
			case "attributes":
				return eachLine(d.Input, func(line string) bool {
					attrs := map[string]Attribute{}
					if err := json.Unmarshal([]byte(line), &attrs); err != nil {
						d.Fatalf(t, "%s: %v", line, err)
					}
					return f.MatchAttributes(attrs)
				})
			case "body":
				return eachLine(d.Input, func(line string) bool { return f.MatchBody(ParseBody(line)) })
			case "keys":
				return filterOutcome(CompileFilter(policyOfSize(t, d), scenarioScope(d)))
			}
			d.Fatalf(t, "unknown command %s", d.Cmd)
			return ""
		})
	})
}

func scenarioScope(d *datadriven.TestData) Scope {
	if d.HasArg("scope") {
		return ScopeBody
	}
	return ScopeAttributes
}

func policyOfSize(t *testing.T, d *datadriven.TestData) string {
	t.Helper()
	n, depth, values := 1, 1, 1
	d.MaybeScanArgs(t, "n", &n)
	d.MaybeScanArgs(t, "depth", &depth)
	d.MaybeScanArgs(t, "values", &values)
	conditions := `["v"` + strings.Repeat(`,"w"`, values-1) + "]"
	keys := make([]string, n)
	for i := range keys {
		keys[i] = fmt.Sprintf(`"k%d":`, i) + strings.Repeat(`{"a":`, depth-1) + conditions + strings.Repeat("}", depth-1)
	}
	return "{" + strings.Join(keys, ",") + "}"
}

func filterOutcome(f *Filter, err error) string {
	if e, ok := errors.AsType[*mnq.Error](err); ok {
		return e.Code + " " + e.Field + ": " + e.Msg
	}
	if err != nil {
		return err.Error()
	}
	if f == nil {
		return "ok: no filter"
	}
	return "ok"
}

func eachLine(input string, match func(line string) bool) string {
	var b strings.Builder
	for lines := bufio.NewScanner(strings.NewReader(input)); lines.Scan(); {
		if match(lines.Text()) {
			b.WriteString("match\n")
		} else {
			b.WriteString("-\n")
		}
	}
	return b.String()
}
