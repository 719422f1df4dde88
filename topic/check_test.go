package topic

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/openmnq/mnq/queue"
)

// Like the scenarios of filters.
//
//	subject            one a line, as JSON text
//	attributes         one a line: [name, type, value], each a JSON text
//	message PROTOCOL [structure]
//	protection [to=N]  a data protection policy, filled up to N characters
func TestCheckScenarios(t *testing.T) {
	t.Parallel()
	datadriven.Walk(t, "testdata/check", func(t *testing.T, path string) {
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			t.Helper()
			var b strings.Builder
			switch d.Cmd {
			case "subject":
				for line := range strings.Lines(d.Input) {
					var subject string
					mustDecode(t, line, &subject)
					b.WriteString(checkOutcome(CheckSubject(subject)) + "\n")
				}
			case "attributes":
				for line := range strings.Lines(d.Input) {
					var a [3]string
					mustDecode(t, line, &a)
					for i := range a {
						a[i] = strings.ReplaceAll(a[i], "LONG", strings.Repeat("a", 256))
					}
					b.WriteString(checkOutcome(CheckAttributes([]queue.Attribute{{Name: a[0], DataType: a[1], Value: []byte(a[2])}})) + "\n")
				}
			case "message":
				structure := ""
				if len(d.CmdArgs) > 1 {
					structure = d.CmdArgs[1].Key
				}
				text, err := MessageFor(d.CmdArgs[0].Key, d.Input, structure)
				if err != nil {
					return checkOutcome(err)
				}
				return text
			case "protection":
				n := 0
				d.MaybeScanArgs(t, "to", &n)
				return checkOutcome(CheckDataProtectionPolicy(d.Input + strings.Repeat(" ", max(n-len(d.Input), 0))))
			default:
				d.Fatalf(t, "unknown command %s", d.Cmd)
			}
			return b.String()
		})
	})
}

func checkOutcome(err error) string {
	if err == nil {
		return "ok"
	}
	return filterOutcome(nil, err)
}

func mustDecode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}
