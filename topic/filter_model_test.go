package topic

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/openmnq/mnq"
)

// The model evaluates a policy in the obvious way, slowly: it takes the JSON apart
// with encoding/json, lists all values of the message with their paths and the array
// elements they lie in, and tries every choice of one value for each key.

type modelValue struct {
	path    string
	v       any // as encoding/json decodes with UseNumber, or opaque
	element map[int]int
}

type opaque struct{}

type modelLeaf struct {
	path       string
	conditions []any
}

func modelMatches(policy string, values []modelValue) bool {
	object, _ := modelDecode(policy).(map[string]any)
	return slices.ContainsFunc(modelAlternatives(object, nil), func(leaves []modelLeaf) bool {
		return modelChoose(leaves, values, map[int]int{})
	})
}

func modelDecode(text string) any {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil || dec.More() {
		return nil
	}
	return v
}

func modelAlternatives(object map[string]any, names []string) [][]modelLeaf {
	all := [][]modelLeaf{nil}
	for name, v := range object {
		path := append(slices.Clone(names), name)
		var here [][]modelLeaf
		switch list, _ := v.([]any); {
		case name == "$or" && modelIsOr(list):
			for _, branch := range list {
				here = append(here, modelAlternatives(branch.(map[string]any), names)...)
			}
		case list != nil:
			here = [][]modelLeaf{{{strings.Join(path, "."), list}}}
		default:
			here = modelAlternatives(v.(map[string]any), path)
		}
		var next [][]modelLeaf
		for _, a := range all {
			for _, b := range here {
				next = append(next, slices.Concat(a, b))
			}
		}
		all = next
	}
	return all
}

func modelIsOr(list []any) bool {
	for _, v := range list {
		object, ok := v.(map[string]any)
		if !ok {
			return false
		}
		for _, operator := range []string{"prefix", "suffix", "equals-ignore-case", "wildcard", "numeric", "anything-but", "exists", "cidr"} {
			if _, ok := object[operator]; ok {
				return false
			}
		}
	}
	return len(list) >= 2
}

func modelChoose(leaves []modelLeaf, values []modelValue, chosen map[int]int) bool {
	if len(leaves) == 0 {
		return true
	}
	leaf, there := leaves[0], false
	for _, v := range values {
		if v.path != leaf.path {
			continue
		}
		there = true
		if !slices.ContainsFunc(leaf.conditions, func(c any) bool { return modelHolds(c, v.v) }) {
			continue
		}
		together, fits := maps.Clone(chosen), true
		for array, element := range v.element {
			other, ok := together[array]
			fits = fits && (!ok || other == element)
			together[array] = element
		}
		if fits && modelChoose(leaves[1:], values, together) {
			return true
		}
	}
	return !there && slices.ContainsFunc(leaf.conditions, func(c any) bool {
		operator, ok := c.(map[string]any)
		return ok && operator["exists"] == false
	}) && modelChoose(leaves[1:], values, chosen)
}

func modelHolds(c, v any) bool {
	text, isText := v.(string)
	number, isNumber := v.(json.Number)
	if _, ok := v.(opaque); ok {
		operator, ok := c.(map[string]any)
		return ok && operator["exists"] == true
	}
	switch c := c.(type) {
	case json.Number:
		return isNumber && modelRat(c).Cmp(modelRat(number)) == 0
	case map[string]any:
		for operator, operand := range c {
			switch operator {
			case "prefix":
				return isText && strings.HasPrefix(text, operand.(string))
			case "suffix":
				return isText && strings.HasSuffix(text, operand.(string))
			case "equals-ignore-case":
				return isText && regexp.MustCompile("(?i)^"+regexp.QuoteMeta(operand.(string))+`\z`).MatchString(text)
			case "wildcard":
				return isText && modelWildcard(operand.(string), text)
			case "cidr":
				_, network, _ := net.ParseCIDR(operand.(string))
				ip := net.ParseIP(text)
				return isText && ip != nil && network.Contains(ip)
			case "numeric":
				return isNumber && modelNumeric(operand.([]any), modelRat(number))
			case "exists":
				return operand == true && v != nil && text+fmt.Sprint(v) != ""
			case "anything-but":
				return !modelAny(operand, v)
			}
		}
		return false
	default:
		return c == v
	}
}

// modelAny reports whether one of what anything-but names holds.
func modelAny(operand, v any) bool {
	switch operand := operand.(type) {
	case []any:
		return slices.ContainsFunc(operand, func(c any) bool { return modelHolds(c, v) })
	case map[string]any:
		for operator, o := range operand {
			if list, ok := o.([]any); ok {
				return slices.ContainsFunc(list, func(c any) bool { return modelHolds(map[string]any{operator: c}, v) })
			}
		}
	}
	return modelHolds(operand, v)
}

func modelWildcard(pattern, text string) bool {
	var b strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; c {
		case '*':
			b.WriteString(`(?s:.*)`)
		case '\\':
			i++
			b.WriteString(regexp.QuoteMeta(pattern[i : i+1]))
		default:
			b.WriteString(regexp.QuoteMeta(string(c)))
		}
	}
	return regexp.MustCompile("^" + b.String() + `\z`).MatchString(text)
}

func modelNumeric(terms []any, n *big.Rat) bool {
	for i := 0; i < len(terms); i += 2 {
		order := n.Cmp(modelRat(terms[i+1].(json.Number)))
		if !map[string]bool{"=": order == 0, "<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[terms[i].(string)] {
			return false
		}
	}
	return true
}

func modelRat(n json.Number) *big.Rat {
	r, ok := new(big.Rat).SetString(string(n))
	if !ok {
		panic("not a number: " + n)
	}
	return r
}

// modelBody lists the values of a body, none when it is not an object.
func modelBody(text string) []modelValue {
	object, ok := modelDecode(text).(map[string]any)
	if !ok {
		return nil
	}
	l := modelLister{}
	l.list(object, nil, map[int]int{})
	return l.values
}

type modelLister struct {
	values []modelValue
	arrays int
}

func (l *modelLister) list(node any, names []string, element map[int]int) {
	switch n := node.(type) {
	case map[string]any:
		for name, member := range n {
			l.list(member, append(slices.Clone(names), name), element)
		}
	case []any:
		l.arrays++
		array := l.arrays
		for i, e := range n {
			in := maps.Clone(element)
			in[array] = i
			l.list(e, names, in)
		}
	default:
		l.values = append(l.values, modelValue{strings.Join(names, "."), node, element})
	}
}

var modelNumber = regexp.MustCompile(`^[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?$`)

func modelAttributes(attrs map[string]Attribute) []modelValue {
	var values []modelValue
	for name, a := range attrs {
		v := any(a.Value)
		switch {
		case a.Type == "String.Array":
			list, ok := modelDecode(a.Value).([]any)
			if !ok {
				v = opaque{}
				break
			}
			values = append(values, modelElements(name, list)...)
			continue
		case strings.HasPrefix(a.Type, "Binary"):
			v = opaque{}
		case strings.HasPrefix(a.Type, "Number") && modelNumber.MatchString(a.Value):
			v = json.Number(a.Value)
		}
		values = append(values, modelValue{path: name, v: v})
	}
	return values
}

func modelElements(name string, list []any) (values []modelValue) {
	for _, e := range list {
		switch e := e.(type) {
		case []any:
			values = append(values, modelElements(name, e)...)
		case map[string]any:
		default:
			values = append(values, modelValue{path: name, v: e})
		}
	}
	return values
}

// agree compiles a policy for both scopes and holds what comes of it against the
// model. It reports whether there was anything to compare.
func agree(t rapid.TB, policy string, attrs map[string]Attribute, body string) (matched, compared bool) {
	t.Helper()
	for _, scope := range []Scope{ScopeAttributes, ScopeBody} {
		f, err := CompileFilter(policy, scope)
		if err != nil {
			e, ok := errors.AsType[*mnq.Error](err)
			if !ok || e.Kind != mnq.Invalid || e.Code != "InvalidParameter" || e.Msg == "" || utf8.ValidString(policy) && !utf8.ValidString(e.Msg) {
				t.Fatalf("%s: %#v", policy, err)
			}
			continue
		}
		if f == nil {
			if o, _ := modelDecode(policy).(map[string]any); policy != "" && (o == nil || len(o) > 0) {
				t.Fatalf("%s compiles to nothing", policy)
			}
			continue
		}
		got, want := f.MatchAttributes(attrs), len(attrs) > 0 && modelMatches(policy, modelAttributes(attrs))
		if scope == ScopeBody {
			values := modelBody(body)
			got, want = f.MatchBody(ParseBody(body)), len(values) > 0 && modelMatches(policy, values)
		}
		if got != want {
			t.Fatalf("%s with %v %+v %s: %v, the model says %v", policy, scope, attrs, body, got, want)
		}
		matched, compared = matched || got, true
	}
	return matched, compared
}

// TestFilterAgreesWithModel draws policies and messages of so few words that they
// meet.
func TestFilterAgreesWithModel(t *testing.T) {
	t.Parallel()
	matched, compared := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		policy := modelText(drawPolicy(t, 0))
		for range 5 {
			m, c := agree(t, policy, drawAttributes(t), modelText(drawObject(t, 3)))
			if m {
				matched++
			}
			if c {
				compared++
			}
		}
	})
	t.Logf("%d compared, %d matched", compared, matched)
	if matched == 0 || matched == compared {
		t.Errorf("%d of %d matched: the draw says nothing", matched, compared)
	}
}

// TestDecimalsCompareLikeFractions holds for numbers of few different digits, so that many
// are equal or nearly so.
func TestDecimalsCompareLikeFractions(t *testing.T) {
	t.Parallel()
	draw := rapid.StringMatching(`[-+]?([01]{1,3}(\.[01]{0,4})?|\.0{0,3}[12]{1,2})([eE][-+]?[0-3])?`)
	orders := map[int]int{}
	rapid.Check(t, func(t *rapid.T) {
		x, y := draw.Draw(t, "x"), draw.Draw(t, "y")
		dx, okX := parseDecimal(x)
		dy, okY := parseDecimal(y)
		want := modelRat(json.Number(x)).Cmp(modelRat(json.Number(y)))
		if got := dx.compare(&dy); !okX || !okY || got != want || dy.compare(&dx) != -want {
			t.Fatalf("%s and %s: %d, want %d", x, y, got, want)
		}
		orders[want]++
	})
	if len(orders) < 3 {
		t.Errorf("drew only %v", orders)
	}
}

func drawAttributes(t *rapid.T) map[string]Attribute {
	attrs := map[string]Attribute{}
	for name, v := range drawObject(t, 1) {
		a := Attribute{Type: rapid.SampledFrom([]string{"String", "String.Array", "Number", "Number.int", "Binary"}).Draw(t, "type"), Value: modelText(v)}
		if s, ok := v.(string); ok && a.Type != "String.Array" {
			a.Value = s
		}
		attrs[name] = a
	}
	return attrs
}

func modelText(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(text)
}

var (
	drawName   = rapid.SampledFrom([]string{"a", "b", "a", "b", "a.b", "b.a", "", "$or"})
	drawString = rapid.SampledFrom([]string{"", "a", "aa", "aba", "ab", "AB", "a*b", `a\`, "10.0.0.1", "10.0.1.1", "::1", "5", "ſ"})
	drawNumber = rapid.SampledFrom([]json.Number{"0", "-0", "1", "1.0", "10e-1", "0.3", "0.30000000000000004", "-1", "-1.5", "100000000000000000001", "1e20", "5"})
)

func drawScalar(t *rapid.T) any {
	switch rapid.IntRange(0, 7).Draw(t, "scalar") {
	case 0, 1, 2:
		return drawString.Draw(t, "string")
	case 3, 4:
		return drawNumber.Draw(t, "number")
	case 5:
		return true
	case 6:
		return false
	}
	return nil
}

func drawPolicy(t *rapid.T, depth int) map[string]any {
	object := map[string]any{}
	for range rapid.IntRange(1, 3).Draw(t, "keys") {
		name := drawName.Draw(t, "key")
		switch kind := rapid.IntRange(0, 5).Draw(t, "kind"); {
		case name == "$or" && kind > 0:
			object[name] = []any{drawPolicy(t, depth+1), drawPolicy(t, depth+1)}
		case kind == 0 && depth < 2:
			object[name] = drawPolicy(t, depth+1)
		default:
			list := make([]any, rapid.IntRange(1, 3).Draw(t, "conditions"))
			for i := range list {
				list[i] = drawCondition(t)
			}
			object[name] = list
		}
	}
	return object
}

func drawCondition(t *rapid.T) any {
	textual := rapid.SampledFrom([]string{"prefix", "suffix", "equals-ignore-case", "wildcard"})
	patterns := rapid.SampledFrom([]string{"a*", "*b", "*a*", `a\*b`, "a*a", "*", "a*b*a", `*\\`})
	text := func(operator string) any {
		if operator == "wildcard" {
			return patterns.Draw(t, "pattern")
		}
		return drawString.Filter(func(s string) bool { return s != "" }).Draw(t, "text")
	}
	operator := textual.Draw(t, "operator")
	switch rapid.IntRange(0, 11).Draw(t, "condition") {
	case 0, 1, 2:
		return drawScalar(t)
	case 3, 4:
		return map[string]any{operator: text(operator)}
	case 5:
		return map[string]any{"exists": rapid.Bool().Draw(t, "exists")}
	case 6:
		return map[string]any{"cidr": rapid.SampledFrom([]string{"10.0.0.0/24", "10.0.0.9/8", "::/64"}).Draw(t, "cidr")}
	case 7:
		return map[string]any{"anything-but": map[string]any{operator: text(operator)}}
	case 8:
		return map[string]any{"anything-but": map[string]any{operator: []any{text(operator), text(operator)}}}
	case 9:
		return map[string]any{"anything-but": []any{drawNumber.Draw(t, "not"), drawNumber.Draw(t, "not")}}
	case 10:
		return map[string]any{"anything-but": drawString.Draw(t, "not")}
	}
	low := rapid.SampledFrom([]string{">", ">="}).Draw(t, "low")
	top := rapid.SampledFrom([]string{"<", "<="}).Draw(t, "top")
	return map[string]any{"numeric": rapid.SampledFrom([][]any{
		{"=", drawNumber.Draw(t, "bound")},
		{low, drawNumber.Draw(t, "bound")},
		{top, drawNumber.Draw(t, "bound")},
		{low, json.Number("-1"), top, json.Number("1.00")},
		{low, json.Number("0.3"), top, json.Number("1e20")},
	}).Draw(t, "numeric")}
}

func drawObject(t *rapid.T, depth int) map[string]any {
	object := map[string]any{}
	for range rapid.IntRange(0, 4).Draw(t, "members") {
		object[drawName.Draw(t, "name")] = drawNode(t, depth)
	}
	return object
}

func drawNode(t *rapid.T, depth int) any {
	switch kind := rapid.IntRange(0, 5).Draw(t, "node"); {
	case depth > 0 && kind == 0, depth > 1 && kind == 1:
		return drawObject(t, depth-1)
	case depth > 0 && kind == 2:
		list := make([]any, rapid.IntRange(0, 3).Draw(t, "elements"))
		for i := range list {
			list[i] = drawNode(t, depth-1)
		}
		return list
	}
	return drawScalar(t)
}

// FuzzFilter compiles anything, and holds what compiles against the model.
func FuzzFilter(f *testing.F) {
	for _, policy := range []string{
		`{"a":["x",1.5,null,true]}`, `{"a":[{"prefix":"x"}],"b":[{"suffix":"y"}]}`, `{"a":{"b":[{"exists":false}]}}`,
		`{"$or":[{"a":[{"anything-but":["x"]}]},{"b":[{"numeric":[">",1,"<=",2e1]}]}]}`, `{"a":[{"cidr":"10.0.0.0/8"}]}`,
		`{"a":[{"wildcard":"x*\\*"}]}`, `{"a":[{"equals-ignore-case":"X"}]}`, `{"a":[{"anything-but":{"wildcard":["*x"]}}]}`, `{"a":["\u00e9"]`, `{}`,
	} {
		f.Add(policy, "String", "x", `{"a":[{"b":"x"},1,[null]],"a.b":[{}]}`)
		f.Add(policy, "String.Array", `["x",[2],{"a":1}]`, `{"a":{"b":15e-1},"b":true}`)
		f.Add(policy, "Number", "+1.50", `{"a":"10.1.2.3"}`)
	}
	huge := regexp.MustCompile(`[eE][-+]?[0-9]{4}`) // big.Rat would write it out
	f.Fuzz(func(t *testing.T, policy, kind, text, body string) {
		for _, text := range []string{policy, text, body} {
			if depth := strings.Count(text, "[") + strings.Count(text, "{"); (checkJSON(text) == "") != json.Valid([]byte(text)) && depth <= maxJSONDepth {
				t.Fatalf("%q: %s", text, checkJSON(text))
			}
			if huge.MatchString(text) || len(text) > 500 || !utf8.ValidString(text) {
				return
			}
		}
		agree(t, policy, map[string]Attribute{"a": {Type: kind, Value: text}, "b": {Type: "String", Value: "y"}}, body)
	})
}
