package topic

import (
	"fmt"
	"strings"
	"testing"
)

func compiled(t testing.TB, policy string, scope Scope) *Filter {
	t.Helper()
	f, err := CompileFilter(policy, scope)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// order is a message of the size that such messages have.
func order() (attrs map[string]Attribute, body string) {
	attrs = map[string]Attribute{
		"event":    {Type: "String", Value: "order_placed"},
		"store":    {Type: "String", Value: "example_corp"},
		"price":    {Type: "Number", Value: "210.75"},
		"interest": {Type: "String.Array", Value: `["soccer","rugby","hockey"]`},
		"source":   {Type: "String", Value: "10.1.2.3"},
	}
	return attrs, `{"event":"order_placed","store":"example_corp","price":210.75,"interest":["soccer","rugby","hockey"],"source":{"ip":"10.1.2.3"},` +
		`"lines":[{"sku":"a-1","count":2,"price":{"value":100,"currency":"EUR"}},{"sku":"b-2","count":1,"price":{"value":10.75,"currency":"EUR"}}]}`
}

// hardPolicies match nothing of the order, and only the last thing they look at says so.
func hardPolicies() map[string]*Filter {
	wide := `"` + strings.Join(strings.Fields(strings.Repeat("order_lost ", 150)), `","`) + `"`
	compile := func(policy string, scope Scope) *Filter {
		f, err := CompileFilter(policy, scope)
		if err != nil {
			panic(err)
		}
		return f
	}
	return map[string]*Filter{
		"attributes/one key": compile(`{"event":["order_lost"]}`, ScopeAttributes),
		"attributes/all operators": compile(`{"event":[{"prefix":"order_"}],"store":[{"wildcard":"ex*_*rp"}],"price":[{"numeric":[">",100,"<=",210.75]}],`+
			`"source":[{"cidr":"10.0.0.0/8"}],"interest":[{"equals-ignore-case":"golf"},{"suffix":"golf"}]}`, ScopeAttributes),
		"attributes/150 values": compile(`{"event":[`+wide+`]}`, ScopeAttributes),
		"attributes/or":         compile(`{"store":["example_corp"],"$or":[{"event":["a"]},{"price":[1,2,3]},{"$or":[{"source":["b"]},{"interest":["c"]}],"event":["order_placed"]}]}`, ScopeAttributes),
		"body/one key":          compile(`{"event":["order_lost"]}`, ScopeBody),
		"body/nested":           compile(`{"store":[{"prefix":"ex"}],"lines":{"sku":["a-1"],"price":{"value":[{"numeric":["<",20]}]}}}`, ScopeBody),
	}
}

//nolint:paralleltest // counts the allocations of the whole process
func TestFilterCostsNoMemory(t *testing.T) {
	attrs, text := order()
	body := ParseBody(text)
	for name, f := range hardPolicies() {
		match := func() bool { return f.MatchAttributes(attrs) }
		if f.Scope() == ScopeBody {
			match = func() bool { return f.MatchBody(body) }
		}
		if match() {
			t.Errorf("%s matches", name)
		}
		if n := testing.AllocsPerRun(100, func() { match() }); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkFilterNoMatch(b *testing.B) {
	attrs, text := order()
	body := ParseBody(text)
	for name, f := range hardPolicies() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if f.Scope() == ScopeBody && f.MatchBody(body) || f.Scope() == ScopeAttributes && f.MatchAttributes(attrs) {
					b.Fatal("matches")
				}
			}
		})
	}
}

// A topic with 1,000 subscriptions, each with a policy of its own that takes one kind
// of message; the time is that of one message, with parsing its body.
func BenchmarkFilter1000(b *testing.B) {
	attrs, text := order()
	for _, scope := range []Scope{ScopeAttributes, ScopeBody} {
		filters := make([]*Filter, 1000)
		for i := range filters {
			filters[i] = compiled(b, fmt.Sprintf(`{"store":["example_corp"],"price":[{"numeric":[">=",%d]}],"event":["event-%d",{"prefix":"order-%d"}]}`, i%200, i, i), scope)
		}
		b.Run(scope.String(), func(b *testing.B) {
			for b.Loop() {
				body, matched := ParseBody(text), 0
				for _, f := range filters {
					if scope == ScopeBody && f.MatchBody(body) || scope == ScopeAttributes && f.MatchAttributes(attrs) {
						matched++
					}
				}
				if matched > 0 {
					b.Fatal(matched)
				}
			}
		})
	}
}

func BenchmarkParseBody(b *testing.B) {
	_, text := order()
	b.ReportAllocs()
	for b.Loop() {
		ParseBody(text)
	}
}
