// Command gendocs writes docs/compatibility.md from the operation tables of the
// front doors, so that the page cannot claim what the code does not do.
//
//go:generate go run . ../../docs/compatibility.md
package main

import (
	"bytes"
	_ "embed"
	"fmt"
	"os"
	"strings"

	"github.com/openmnq/mnq"
	"github.com/openmnq/mnq/aws"
	"github.com/openmnq/mnq/internal/atomicfile"
	"github.com/openmnq/mnq/queue"
	"github.com/openmnq/mnq/rest"
	"github.com/openmnq/mnq/topic"
)

//go:embed choices_sqs.md
var choicesSQS string

//go:embed choices_sns.md
var choicesSNS string

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: gendocs FILE")
		os.Exit(2)
	}
	if err := atomicfile.Write(os.Args[1], compatibility()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if err := os.Chmod(os.Args[1], 0o644); err != nil { //nolint:gosec // a page of the documentation
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// compatibility renders the page.
func compatibility() []byte {
	var b bytes.Buffer
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	p("# Compatibility")
	p("")
	p("Generated from the operation tables by `make generate`; do not edit.")
	p("")
	dataPlane(p, mnq.ServiceSQS, "Both wire protocols, AWS JSON 1.0 and Query/XML, are served from one table. Version 2012-11-05.")
	p("Queue attributes that can be set: %s. Attributes that can only be read: %s.", list(queue.SupportedAttributes()), list(queue.ComputedAttributes()))
	p("")
	p("### Errors of SQS")
	p("")
	p("JSON answers `__type` and `message`, with the Query code in the header `x-amzn-query-error`; Query answers the code in XML.")
	p("Errors about KMS keys do not occur, since keys are kept as names only; every other shape of the model is here.")
	p("")
	p("| shape | Query code | HTTP |")
	p("|---|---|---|")
	for _, f := range aws.Faults(mnq.ServiceSQS) {
		p("| %s | `%s` | %d |", f.Shape, f.Code, f.Status)
	}
	p("")
	p("%s", strings.TrimSpace(choicesSQS))
	p("")
	dataPlane(p, mnq.ServiceSNS, "The Query protocol with XML answers. Version 2010-03-31. Actions of SMS and of mobile push have nothing behind them here.")
	p("Topic attributes that can be set: %s.", list(topic.SupportedAttributes()))
	p("Subscription attributes that can be set: %s.", list(topic.SupportedSubscriptionAttributes()))
	p("")
	p("### Errors of SNS")
	p("")
	p("Errors about KMS keys, phones and mobile applications do not occur; every other code of the model is here.")
	p("")
	p("| code | HTTP |")
	p("|---|---|")
	for _, f := range aws.Faults(mnq.ServiceSNS) {
		p("| `%s` | %d |", f.Code, f.Status)
	}
	p("")
	p("%s", strings.TrimSpace(choicesSNS))
	p("")
	for _, g := range []struct{ group, title string }{
		{"v1alpha1", "Control plane v1alpha1"}, {"v1beta1", "Control plane v1beta1"}, {"openmnq", "Our own additions, /openmnq/v1"}, {"iam", "For client tools"},
	} {
		p("## %s", g.title)
		p("")
		p("| operation | method and path | success | keys that may call it |")
		p("|---|---|---|---|")
		for _, o := range rest.Operations() {
			if o.Group == g.group {
				p("| %s | `%s %s` | %d | %s |", o.ID[strings.IndexByte(o.ID, '.')+1:], o.Method, o.Path, o.Status, who(o))
			}
		}
		p("")
	}
	p("## Choices of the control plane")
	p("")
	p("Where no public source says what the original does, this is what OpenMNQ does.")
	p("")
	p("| topic | choice | why |")
	p("|---|---|---|")
	for _, c := range rest.Choices() {
		p("| %s | %s | %s |", cell(c.Topic), cell(c.Choice), cell(c.Why))
	}
	return b.Bytes()
}

// dataPlane renders the table of one service's actions.
func dataPlane(p func(string, ...any), s mnq.Service, intro string) {
	p("## %s", strings.ToUpper(string(s)))
	p("")
	p("%s", intro)
	p("")
	p("| action | status | permission | members read | members answered |")
	p("|---|---|---|---|---|")
	for _, o := range aws.Operations() {
		switch {
		case o.Service != s:
		case o.Supported:
			p("| %s | supported | %s | %s | %s |", o.Name, o.Permission, list(o.Input), list(o.Output))
		default:
			p("| %s | not supported: answers `%s` | %s | | |", o.Name, o.Refusal, o.Permission)
		}
	}
	p("")
}

func who(o rest.Operation) string {
	switch {
	case o.Admin && o.Writes:
		return "full access, all projects"
	case o.Admin:
		return "all projects"
	case o.Writes:
		return "full access"
	default:
		return "any"
	}
}

func list(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return "`" + strings.Join(names, "` `") + "`"
}

func cell(s string) string {
	return strings.NewReplacer("\n", " ", "|", `\|`).Replace(s)
}
