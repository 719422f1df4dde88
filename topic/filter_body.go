package topic

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"
)

// Body is a message parsed for filters with ScopeBody, once for all the
// subscriptions of a topic. It does not change, so any number of goroutines may use it at
// once. The zero Body, like any text that is not a JSON object with some value in it,
// matches no policy.
type Body struct {
	root []member
}

// member is a name in an object. A node is a []member, sorted by name, an []any of
// nodes, or a *value.
type member struct {
	name string
	node any
}

// ParseBody parses a message.
func ParseBody(text string) *Body {
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber() // float64 would round
	var root map[string]any
	if err := dec.Decode(&root); err != nil {
		return &Body{}
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return &Body{}
	}
	made, some := bodyObject(root)
	if !some {
		return &Body{}
	}
	return &Body{root: made}
}

func bodyObject(decoded map[string]any) (object []member, some bool) {
	object = make([]member, 0, len(decoded))
	for name, v := range decoded {
		node, ok := bodyNode(v)
		object, some = append(object, member{name, node}), some || ok
	}
	slices.SortFunc(object, func(a, b member) int { return cmp.Compare(a.name, b.name) })
	return object, some
}

// bodyNode makes a node, and reports whether there is any value in it.
func bodyNode(decoded any) (node any, some bool) {
	switch d := decoded.(type) {
	case map[string]any:
		return bodyObject(d)
	case []any:
		for i, element := range d {
			node, ok := bodyNode(element)
			d[i], some = node, some || ok
		}
		return d, some
	case string:
		return &value{kind: valueString, text: d}, true
	case json.Number:
		num, _ := parseDecimal(d.String()) // the decoder has checked it
		return &value{kind: valueNumber, num: num}, true
	case bool:
		if d {
			return &value{kind: valueTrue}, true
		}
		return &value{kind: valueFalse}, true
	default:
		return &value{kind: valueNull}, true
	}
}

// MatchBody reports whether a message with this body is for a subscription with f,
// whose scope is ScopeBody. The time is proportional to the part of the body that f's
// paths lead to.
func (f *Filter) MatchBody(body *Body) bool {
	if f == nil {
		return true
	}
	if body == nil || body.root == nil {
		return false
	}
	for _, a := range f.alternatives {
		if a.matchBody(body) {
			return true
		}
	}
	return false
}

func (a alternative) matchBody(body *Body) bool {
	all, done := leafSet(1)<<len(a)-1, leafSet(0)
	for i := range a {
		if a[i].absent && !hasValue(body.root, a[i].path, 0) {
			done |= 1 << i
		}
	}
	return a.reach(body.root, all&^done, 0).has(all &^ done)
}

// hasValue reports whether there is a value at path[at:] below node.
func hasValue(node any, path string, at int) bool {
	switch n := node.(type) {
	case []any:
		for _, element := range n {
			if hasValue(element, path, at) {
				return true
			}
		}
	case []member:
		for member, end := range leading(n, path, at) {
			if hasValue(member, path, end+1) {
				return true
			}
		}
	case *value:
		return at > len(path)
	}
	return false
}

// leading yields the members of object whose names path[at:] can begin with, and where
// in path each of the names ends: at a dot, or with the path. Mostly it is one.
func leading(object []member, path string, at int) iter.Seq2[any, int] {
	return func(yield func(any, int) bool) {
		if at > len(path) {
			return // the path has ended above
		}
		rest := path[at:]
		first, _, _ := strings.Cut(rest, ".")
		i, _ := slices.BinarySearchFunc(object, first, func(m member, name string) int { return cmp.Compare(m.name, name) })
		for ; i < len(object) && strings.HasPrefix(object[i].name, first); i++ {
			name := object[i].name
			if strings.HasPrefix(rest, name) && (len(rest) == len(name) || rest[len(name)] == '.') &&
				!yield(object[i].node, at+len(name)) {
				return
			}
		}
	}
}

// leafSet is a set of the leaves of an alternative, one bit for each.
type leafSet uint8

// leafSets is a set of such sets, one bit for each: maxFilterKeys leaves have 32.
// It always holds the empty set.
type leafSets uint32

func (s leafSets) has(set leafSet) bool { return s&(1<<set) != 0 }

// join is the set of the unions of one of s and one of t.
func (s leafSets) join(t leafSets) leafSets {
	if s == 1 || t == 1 {
		return s | t
	}
	var joined leafSets
	for i := range leafSet(1 << maxFilterKeys) {
		if !s.has(i) {
			continue
		}
		for j := range leafSet(1 << maxFilterKeys) {
			if t.has(j) {
				joined |= 1 << (i | j)
			}
		}
	}
	return joined
}

// reach returns which of the leaves can match together below node, when of every
// array one element counts. All of them have the same path[:at], which led here.
//
// A node is visited once for each path that leads to it, of which there is only one, so
// the time does not depend on how many ways there are to choose elements.
func (a alternative) reach(node any, leaves leafSet, at int) leafSets {
	reached := leafSets(1)
	switch n := node.(type) {
	case []any:
		for _, element := range n {
			if reached |= a.reach(element, leaves, at); reached.has(leaves) {
				break
			}
		}
	case []member:
		for i := range a {
			if leaves&(1<<i) == 0 {
				continue
			}
			for member, end := range leading(n, a[i].path, at) {
				if with := a.sharing(leaves, i, at, end); with&(1<<i-1) == 0 { // else an earlier leaf has been there
					reached = reached.join(a.reach(member, with, end+1))
				}
			}
		}
	case *value:
		for i := range a {
			if leaves&(1<<i) != 0 && at > len(a[i].path) && a[i].matchValue(n) {
				reached |= 1 << (1 << i)
			}
		}
	}
	return reached
}

// sharing returns which of the leaves go on with the same name as leaf i, path[at:end].
func (a alternative) sharing(leaves leafSet, i, at, end int) leafSet {
	name, set := a[i].path[at:end], leafSet(0)
	for j := range a {
		path := a[j].path
		if leaves&(1<<j) != 0 && len(path) >= end && path[at:end] == name && (len(path) == end || path[end] == '.') {
			set |= 1 << j
		}
	}
	return set
}
