package topic

import (
	"net/netip"
	"strconv"
	"strings"
)

// policyParser reads a filter policy. The texts of its errors are those of the
// original; each ends with where in the policy it was found.
type policyParser struct {
	s      jsonScanner
	nested bool // some key has an object
}

// policy reads the whole text. The object is nil for {}.
func (p *policyParser) policy() (*policyObject, error) {
	if p.s.next() != jsonObject {
		return nil, p.fail("Filter is not an object")
	}
	var o policyObject
	empty, err := p.object(&o, "", 1)
	if err != nil {
		return nil, err
	}
	if p.s.next() != jsonEnd {
		return nil, p.fail("")
	}
	if empty {
		return nil, nil
	}
	return &o, nil
}

// object reads the members of the object that it stands on into o. Their paths begin
// with prefix.
func (p *policyParser) object(o *policyObject, prefix string, depth int) (empty bool, err error) {
	empty = true
	for {
		switch p.s.next() {
		case jsonObjectEnd:
			return empty, nil
		case jsonKey:
		default:
			return false, p.fail("")
		}
		empty = false
		key := p.s.str()
		switch {
		case key == "$or" && p.alternativesFollow():
			err = p.group(o, prefix, depth)
		default:
			err = p.key(o, key, prefix+key, depth)
		}
		if err != nil {
			return false, err
		}
	}
}

// key reads the value of a key: its conditions, or an object with more keys.
func (p *policyParser) key(o *policyObject, key, path string, depth int) error {
	switch p.s.next() {
	case jsonArray:
		return p.leaf(o, path, depth)
	case jsonObject:
		p.nested = true
		empty, err := p.object(o, path+".", depth+1)
		if err == nil && empty {
			err = p.fail("Empty objects are not allowed")
		}
		return err
	default:
		return p.fail(`"` + clip(key) + `" must be an object or an array`)
	}
}

// alternativesFollow reports whether the key $or, on which it stands, means what it
// says: at least two objects, and none with the name of an operator as a key.
func (p *policyParser) alternativesFollow() bool {
	s := p.s
	if s.next() != jsonArray {
		return false
	}
	objects := 0
	for {
		switch s.next() {
		case jsonArrayEnd:
			return objects > 1
		case jsonObject:
			objects++
		default:
			return false
		}
		for s.next() == jsonKey {
			if isOperator(s.str()) {
				return false
			}
			s.next()
			s.skip()
		}
	}
}

func isOperator(name string) bool {
	switch name {
	case "prefix", "suffix", "equals-ignore-case", "wildcard", "numeric", "anything-but", "exists", "cidr":
		return true
	}
	return false
}

// group reads the objects of an $or.
func (p *policyParser) group(o *policyObject, prefix string, depth int) error {
	p.s.next() // the array that alternativesFollow has seen
	var group []*policyObject
	for p.s.next() == jsonObject {
		branch := &policyObject{}
		empty, err := p.object(branch, prefix, depth)
		if err != nil {
			return err
		}
		if empty {
			return p.fail("Empty objects are not allowed")
		}
		group = append(group, branch)
	}
	if p.s.token == jsonBad {
		return p.fail("")
	}
	o.groups = append(o.groups, group)
	return nil
}

// leaf reads the conditions of a key.
func (p *policyParser) leaf(o *policyObject, path string, depth int) error {
	l := leaf{path: path, depth: depth}
	for p.s.next() != jsonArrayEnd {
		c, err := p.condition()
		if err != nil {
			return err
		}
		l.absent = l.absent || c.op == opAbsent
		l.conditions = append(l.conditions, c)
	}
	if len(l.conditions) == 0 {
		return p.fail("Empty arrays are not allowed")
	}
	o.leaves = append(o.leaves, l)
	return nil
}

func (p *policyParser) condition() (condition, error) {
	if p.s.token == jsonObject {
		return p.expression()
	}
	c, ok := p.exact()
	if !ok {
		return c, p.fail("Match value must be String, number, true, false, or null")
	}
	return c, nil
}

// exact is the value that it stands on, as a condition.
func (p *policyParser) exact() (condition, bool) {
	switch p.s.token {
	case jsonString:
		return condition{op: opString, text: p.s.str()}, true
	case jsonNumber:
		return condition{op: opNumber, low: p.number()}, true
	case jsonTrue:
		return condition{op: opTrue}, true
	case jsonFalse:
		return condition{op: opFalse}, true
	case jsonNull:
		return condition{op: opNull}, true
	default:
		return condition{}, false
	}
}

// expression reads an object with an operator.
func (p *policyParser) expression() (c condition, err error) {
	if p.s.next() != jsonKey {
		return c, p.fail("Match expression name not found")
	}
	more := "Only one key allowed in match expression"
	switch operator := p.s.str(); operator {
	case "prefix", "suffix", "equals-ignore-case", "wildcard":
		p.s.next()
		c, err = p.textual(operator)
	case "cidr":
		if p.s.next() != jsonString {
			return c, p.fail("prefix match pattern must be a string") // the original's words
		}
		c, err = p.cidr()
	case "exists":
		switch p.s.next() {
		case jsonTrue:
			c.op = opPresent
		case jsonFalse:
			c.op = opAbsent
		default:
			return c, p.fail("exists match pattern must be either true or false.")
		}
	case "numeric":
		more = "Too many elements in numeric expression"
		if p.s.next() != jsonArray {
			return c, p.fail("Value of numeric must be an array.")
		}
		c, err = p.numeric()
	case "anything-but":
		c, err = p.anythingBut()
	default:
		return c, p.fail("Unrecognized match type " + clip(operator))
	}
	if err == nil && p.s.next() != jsonObjectEnd {
		err = p.fail(more)
	}
	return c, err
}

// textual is one of the operators that compare with a text, on which it stands.
func (p *policyParser) textual(operator string) (c condition, err error) {
	if p.s.token != jsonString {
		return c, p.fail(operator + " match pattern must be a string")
	}
	c.text = p.s.str()
	switch operator {
	case "prefix":
		c.op = opPrefix
	case "suffix":
		c.op = opSuffix
	case "equals-ignore-case":
		c.op = opFold
	case "wildcard":
		var fault string
		c.op = opWildcard
		if c.parts, fault = wildcardParts(c.text); fault != "" {
			return c, p.fail(fault)
		}
	}
	return c, nil
}

// wildcardParts are the texts between the asterisks of a pattern. \* and \\ stand for the
// characters themselves.
func wildcardParts(pattern string) (parts []string, fault string) {
	var part strings.Builder
	at := func(i int) string { return " at pos " + strconv.Itoa(i+1) } // the original counts the opening quote
	for i := 0; i < len(pattern); i++ {
		switch next := pattern[i+1:]; pattern[i] {
		case '*':
			if strings.HasPrefix(next, "*") {
				return nil, "Consecutive wildcard characters" + at(i)
			}
			parts = append(parts, part.String())
			part.Reset()
		case '\\':
			if next == "" || next[0] != '*' && next[0] != '\\' {
				return nil, "Invalid escape character" + at(i)
			}
			i++
			part.WriteByte(pattern[i])
		default:
			part.WriteByte(pattern[i])
		}
	}
	return append(parts, part.String()), ""
}

func (p *policyParser) cidr() (condition, error) {
	text := p.s.str()
	address, mask, ok := strings.Cut(text, "/")
	if !ok || mask == "" || strings.Contains(mask, "/") {
		return condition{}, invalidFilter("FilterPolicy", "Malformed CIDR, one '/' required")
	}
	bits, err := strconv.ParseInt(mask, 10, 32)
	if err != nil {
		return condition{}, invalidFilter("FilterPolicy", "Malformed CIDR, mask bits must be an integer")
	}
	ip, err := netip.ParseAddr(address)
	ip = ip.Unmap()
	switch {
	case bits < 0:
		return condition{}, invalidFilter("FilterPolicy", "Malformed CIDR, mask bits must not be negative")
	case err != nil || ip.Zone() != "":
		return condition{}, invalidFilter("FilterPolicy", "Nonstandard IP address: "+clip(address))
	case ip.Is4() && bits > 31:
		return condition{}, invalidFilter("FilterPolicy", "IPv4 mask bits must be < 32")
	case bits > 127:
		return condition{}, invalidFilter("FilterPolicy", "IPv6 mask bits must be < 128")
	}
	return condition{op: opCIDR, net: netip.PrefixFrom(ip, int(bits))}, nil
}

// numeric reads the array of a range: "=" and a number, or a lower or upper bound, or
// both in this order.
func (p *policyParser) numeric() (c condition, err error) {
	if p.s.next() != jsonString {
		return c, p.fail("Invalid member in numeric match: " + clip(p.s.raw()))
	}
	operator := p.s.str()
	p.s.next()
	name := operator
	switch operator {
	case "=":
		name = "equals"
	case "<", "<=", ">", ">=":
	default:
		return c, p.fail("Unrecognized numeric range operator: " + clip(operator))
	}
	if p.s.token != jsonNumber {
		return c, p.fail("Value of " + name + " must be numeric")
	}
	if operator == "=" {
		c = condition{op: opNumber, low: p.number()}
	} else {
		c = condition{op: opRange}
		c.bound(operator, p.number())
	}
	switch {
	case p.s.next() == jsonArrayEnd:
		return c, nil
	case !c.hasLow:
		return c, p.fail("Too many elements in numeric expression")
	case p.s.token != jsonString:
		return c, p.fail("Bad value in numeric range: " + clip(p.s.raw()))
	}
	operator = p.s.str()
	if operator != "<" && operator != "<=" {
		return c, p.fail("Bad numeric range operator: " + clip(operator))
	}
	if p.s.next() != jsonNumber {
		return c, p.fail("Value of " + operator + " must be numeric")
	}
	c.bound(operator, p.number())
	if p.s.next() != jsonArrayEnd {
		return c, p.fail("Too many terms in numeric range expression")
	}
	if c.low.compare(&c.top) >= 0 {
		return c, p.fail("Bottom must be less than top")
	}
	return c, nil
}

// number is the number that it stands on.
func (p *policyParser) number() decimal {
	d, _ := parseDecimal(p.s.raw()) // a JSON number always is one
	return d
}

// anythingBut reads what follows the operator: a string or number, a list of
// either, or an object with one of the textual operators and a string or a list.
func (p *policyParser) anythingBut() (condition, error) {
	c := condition{op: opNot}
	var err error
	switch p.s.next() {
	case jsonString, jsonNumber:
		one, _ := p.exact()
		c.not = []condition{one}
	case jsonArray:
		c.not, err = p.anythingButList()
	case jsonObject:
		c.not, err = p.anythingButTextual()
	default:
		err = p.fail("Value of anything-but must be an array or single string/number value.")
	}
	return c, err
}

func (p *policyParser) anythingButList() (list []condition, err error) {
	for p.s.next() != jsonArrayEnd {
		if p.s.token != jsonString && p.s.token != jsonNumber {
			return nil, p.fail("Inside anything but list, start|null|boolean is not supported.")
		}
		one, _ := p.exact()
		if list = append(list, one); list[0].op != one.op {
			break
		}
	}
	if p.s.token != jsonArrayEnd || len(list) == 0 {
		return nil, p.fail("Inside anything but list, either all values are number or string, mixed type is not supported")
	}
	return list, nil
}

func (p *policyParser) anythingButTextual() (list []condition, err error) {
	if p.s.next() != jsonKey {
		return nil, p.fail("Anything-But expression name not found")
	}
	operator := p.s.str()
	switch operator {
	case "prefix", "suffix", "equals-ignore-case", "wildcard":
	default:
		return nil, p.fail("Unsupported anything-but pattern: " + clip(operator))
	}
	several := p.s.next() == jsonArray
	for !several || p.s.next() != jsonArrayEnd {
		one, err := p.textual(operator)
		if err != nil {
			return nil, err
		}
		if one.text == "" && (operator == "prefix" || operator == "suffix") {
			return nil, p.fail("Null prefix/suffix not allowed")
		}
		list = append(list, one)
		if !several {
			break
		}
	}
	if len(list) == 0 {
		return nil, p.fail("Empty arrays are not allowed")
	}
	if p.s.next() != jsonObjectEnd {
		return nil, p.fail("Only one key allowed in match expression")
	}
	return list, nil
}

// fail is the error for where the parser stands, or, when the text is not JSON, the
// error that says so.
func (p *policyParser) fail(msg string) error {
	at := p.s.where()
	if p.s.token == jsonBad {
		msg, at = "failed to parse JSON. "+p.s.fault, p.s.faultAt
	}
	return invalidFilter("FilterPolicy", msg+"\n at [Source: (String)"+quoteSource(p.s.text)+"; "+p.s.position(at)+"]")
}

// quoteSource repeats a policy in an error, a long one only in part.
func quoteSource(text string) string {
	const most = 500 // characters, as in the original
	n := 0
	for i := range text {
		if n == most {
			return `"` + text[:i] + `"[truncated ` + strconv.Itoa(len([]rune(text[i:]))) + ` chars]`
		}
		n++
	}
	return `"` + text + `"`
}
