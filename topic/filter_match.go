package topic

import (
	"net/netip"
	"strings"
)

// Attribute is a message attribute as published.
type Attribute struct {
	Type   string // String, String.Array, Number or Binary; all but String.Array with an optional .label
	Value  string // of all types but Binary
	Binary []byte
}

type valueKind uint8

const (
	valueOther valueKind = iota // there is a value, but none to compare with
	valueString
	valueNumber
	valueTrue
	valueFalse
	valueNull
)

// value is one value of a message.
type value struct {
	kind valueKind
	text string
	num  decimal
}

type conditionOp uint8

const (
	opString conditionOp = iota
	opNumber
	opTrue
	opFalse
	opNull
	opPrefix
	opSuffix
	opFold
	opWildcard
	opRange
	opCIDR
	opPresent
	opAbsent
	opNot
)

// condition is one element of a key's array in a policy.
type condition struct {
	op               conditionOp
	text             string   // opString, opPrefix, opSuffix, opFold
	parts            []string // opWildcard
	low, top         decimal  // opNumber (low), opRange
	hasLow, hasTop   bool
	openLow, openTop bool // the bound itself is outside
	net              netip.Prefix
	not              []condition // opNot: none of them holds
}

// bound sets one end of a range.
func (c *condition) bound(operator string, to decimal) {
	switch operator {
	case ">", ">=":
		c.low, c.hasLow, c.openLow = to, true, operator == ">"
	default:
		c.top, c.hasTop, c.openTop = to, true, operator == "<"
	}
}

// holds reports whether the condition holds for a value that is there.
func (c *condition) holds(v *value) bool {
	if v.kind == valueOther {
		return c.op == opPresent
	}
	switch c.op {
	case opString:
		return v.kind == valueString && v.text == c.text
	case opNumber:
		return v.kind == valueNumber && v.num.compare(&c.low) == 0
	case opTrue:
		return v.kind == valueTrue
	case opFalse:
		return v.kind == valueFalse
	case opNull:
		return v.kind == valueNull
	case opPrefix:
		return v.kind == valueString && strings.HasPrefix(v.text, c.text)
	case opSuffix:
		return v.kind == valueString && strings.HasSuffix(v.text, c.text)
	case opFold:
		return v.kind == valueString && strings.EqualFold(v.text, c.text)
	case opWildcard:
		return v.kind == valueString && matchWildcard(c.parts, v.text)
	case opRange:
		return v.kind == valueNumber && c.inRange(&v.num)
	case opCIDR:
		return v.kind == valueString && inNet(c.net, v.text)
	case opPresent:
		return v.kind != valueNull && (v.kind != valueString || v.text != "")
	case opAbsent:
		return false
	case opNot:
		for i := range c.not {
			if c.not[i].holds(v) {
				return false
			}
		}
		return true
	}
	return false
}

func (c *condition) inRange(d *decimal) bool {
	if c.hasLow {
		if order := d.compare(&c.low); order < 0 || order == 0 && c.openLow {
			return false
		}
	}
	if c.hasTop {
		if order := d.compare(&c.top); order > 0 || order == 0 && c.openTop {
			return false
		}
	}
	return true
}

// matchWildcard reports whether text is the parts in this order, with anything
// between them. Taking each where it comes first is enough, so it never goes back.
func matchWildcard(parts []string, text string) bool {
	first, last := parts[0], parts[len(parts)-1]
	if len(parts) == 1 {
		return text == first
	}
	if len(text) < len(first)+len(last) || !strings.HasPrefix(text, first) || !strings.HasSuffix(text, last) {
		return false
	}
	text = text[len(first) : len(text)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		i := strings.Index(text, part)
		if i < 0 {
			return false
		}
		text = text[i+len(part):]
	}
	return true
}

// longestIP is an address of 8 groups of 4 digits, the last two in decimals.
const longestIP = len("ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255")

func inNet(net netip.Prefix, text string) bool {
	if len(text) > longestIP || strings.IndexByte(text, '%') >= 0 {
		return false // would cost the allocation of an error
	}
	ip, err := netip.ParseAddr(text)
	return err == nil && net.Contains(ip.Unmap())
}

// MatchAttributes reports whether a message with these attributes is for a
// subscription with f, whose scope is ScopeAttributes.
func (f *Filter) MatchAttributes(attrs map[string]Attribute) bool {
	if f == nil {
		return true
	}
	if len(attrs) == 0 {
		return false
	}
	for _, a := range f.alternatives {
		if a.matchAttributes(attrs) {
			return true
		}
	}
	return false
}

func (a alternative) matchAttributes(attrs map[string]Attribute) bool {
	for i := range a {
		if attr, ok := attrs[a[i].path]; !a[i].matchAttribute(attr, ok) {
			return false
		}
	}
	return true
}

func (l *leaf) matchAttribute(attr Attribute, ok bool) bool {
	if !ok {
		return l.absent
	}
	v := value{kind: valueString, text: attr.Value}
	switch kind, _, _ := strings.Cut(attr.Type, "."); {
	case attr.Type == "String.Array":
		return l.matchElements(attr.Value)
	case kind == "Binary":
		v.kind = valueOther
	case kind == "Number":
		if d, ok := parseDecimal(attr.Value); ok {
			v.kind, v.num = valueNumber, d
		}
	}
	return l.matchValue(&v)
}

func (l *leaf) matchValue(v *value) bool {
	for i := range l.conditions {
		if l.conditions[i].holds(v) {
			return true
		}
	}
	return false
}

// matchElements matches each value in a JSON array, however deep in further arrays.
// Without any it is as if the attribute were absent. What is not an array is there, but
// cannot be compared.
func (l *leaf) matchElements(text string) bool {
	s := jsonScanner{text: text}
	matched, empty := false, true
	if s.next() == jsonArray {
		for s.next() != jsonEnd && s.token != jsonBad {
			v := value{}
			switch s.token {
			case jsonString:
				v = value{kind: valueString, text: s.str()}
			case jsonNumber:
				v.kind = valueNumber
				v.num, _ = parseDecimal(s.raw())
			case jsonTrue:
				v.kind = valueTrue
			case jsonFalse:
				v.kind = valueFalse
			case jsonNull:
				v.kind = valueNull
			case jsonObject:
				s.skip()
				continue
			default:
				continue
			}
			empty = false
			matched = matched || l.matchValue(&v)
		}
	}
	switch {
	case s.token != jsonEnd:
		return l.matchValue(&value{kind: valueOther})
	case empty:
		return l.absent
	}
	return matched
}
