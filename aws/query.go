package aws

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/xml"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/openmnq/mnq"
)

const (
	xmlContentType = "text/xml"
	xmlHeader      = `<?xml version="1.0"?>`

	maxFormFields = 1000 // parameters of a request; a full batch with ten attributes each has 350
	maxFormDepth  = 8    // dots in a parameter's name
)

var xmlNamespaces = map[mnq.Service]string{
	mnq.ServiceSQS: "http://queue.amazonaws.com/doc/2012-11-05/",
	mnq.ServiceSNS: "http://sns.amazonaws.com/doc/2010-03-31/",
}

// queryProtocol is the Query protocol: form parameters in, XML out.
type queryProtocol struct{}

// pair is one parameter, decoded.
type pair struct{ name, value string }

// parsePairs appends the parameters of s, which is in the form of a query string.
func parsePairs(pairs []pair, s string) ([]pair, error) {
	for part := range strings.SplitSeq(s, "&") {
		if part == "" {
			continue
		}
		if len(pairs) >= maxFormFields {
			return nil, invalid("MalformedQueryString", "The request has more than 1000 parameters.")
		}
		name, value, _ := strings.Cut(part, "=")
		name, nameErr := url.QueryUnescape(name)
		value, valueErr := url.QueryUnescape(value)
		if nameErr != nil || valueErr != nil || !utf8.ValidString(name) || !utf8.ValidString(value) {
			return nil, invalid("MalformedQueryString", "The request's parameters are not percent-encoded UTF-8.")
		}
		pairs = append(pairs, pair{name, value})
	}
	return pairs, nil
}

// tree is a parameter, or what parameters with a common beginning share.
type tree struct {
	value    string
	children map[string]*tree
}

func newTree(pairs []pair) *tree {
	root := &tree{}
	for _, p := range pairs {
		if strings.Count(p.name, ".") > maxFormDepth {
			continue // no operation has such a member
		}
		n := root
		for part := range strings.SplitSeq(p.name, ".") {
			next := n.children[part]
			if next == nil {
				if n.children == nil {
					n.children = make(map[string]*tree)
				}
				next = &tree{}
				n.children[part] = next
			}
			n = next
		}
		n.value = p.value
	}
	return root
}

// at follows path from n; nil when there is nothing.
func (n *tree) at(path ...string) *tree {
	for _, part := range path {
		if n == nil {
			return nil
		}
		n = n.children[part]
	}
	return n
}

// elements returns the elements of a list by ascending index, whatever the gaps.
// A list without any index is a list of one, and a name with nothing at all is how
// clients write an empty list.
func (n *tree) elements() []*tree {
	type indexed struct {
		i int
		n *tree
	}
	var found []indexed
	for key, child := range n.children {
		if i, err := strconv.Atoi(key); err == nil && i >= 0 && strconv.Itoa(i) == key {
			found = append(found, indexed{i, child})
		}
	}
	switch {
	case len(found) > 0:
	case n.value == "" && len(n.children) == 0:
		return nil
	default:
		return []*tree{n}
	}
	slices.SortFunc(found, func(a, b indexed) int { return cmp.Compare(a.i, b.i) })
	list := make([]*tree, 0, len(found))
	for _, f := range found {
		list = append(list, f.n)
	}
	return list
}

func (queryProtocol) action(r *request) (string, error) {
	pairs := r.query
	if r.http.Method == http.MethodPost {
		var err error
		if pairs, err = parsePairs(slices.Clip(pairs), string(r.body)); err != nil {
			return "", err
		}
	}
	r.form = newTree(pairs)
	action := r.form.at("Action")
	if action == nil || action.value == "" {
		return "", invalid("MissingAction", "The request must contain the parameter Action.")
	}
	return action.value, nil
}

// decode also takes the queue from the path when no parameter names it. On a
// queue's path only what is done to a queue is an action.
func (queryProtocol) decode(r *request, in any) error {
	v := reflect.ValueOf(in).Elem()
	if found := nulls(nil, r.form, shapeOf(v.Type()), ""); len(found) > 0 {
		return isNull(found...)
	}
	if err := decodeStruct(r.form, v); err != nil {
		return err
	}
	queueURL := v.FieldByName("QueueUrl")
	onQueue := strings.Trim(r.path, "/") != ""
	switch {
	case queueURL.IsValid() && onQueue && queueURL.Kind() == reflect.String && queueURL.Len() == 0:
		queueURL.SetString(r.path)
	case !queueURL.IsValid() && onQueue && r.service == mnq.ServiceSQS:
		return unknownAction(r.name)
	}
	return nil
}

func decodeStruct(n *tree, v reflect.Value) error {
	for _, m := range shapeOf(v.Type()).members {
		child := n.at(m.path...)
		if child == nil && m.alias != "" {
			child = n.at(m.alias)
		}
		if child == nil {
			continue
		}
		if err := decodeMember(child, m, v.Field(m.index)); err != nil {
			return err
		}
	}
	return nil
}

// nulls appends where the notnull members of a shape are that n lacks, in the words
// of SNS's error: messageAttributes.color.member.dataType.
func nulls(found []string, n *tree, s *shape, at string) []string {
	if !s.notNull {
		return found
	}
	for _, m := range s.members {
		here := func() string { return at + strings.ToLower(m.name[:1]) + m.name[1:] }
		child := n.at(m.path...)
		switch {
		case child == nil:
			if m.notNull && n.at(m.path[0]) == nil { // Tags= is an empty list of Tags.member
				found = append(found, here())
			}
		case m.holds == nil:
		case m.kind == reflect.Map:
			for _, entry := range child.elements() {
				if key := entry.at(m.key); key != nil {
					found = nulls(found, entry.at(m.value), m.holds, here()+"."+clip(key.value)+".member.")
				}
			}
		case m.kind == reflect.Slice:
			for i, element := range child.elements() {
				found = nulls(found, element, m.holds, here()+"."+strconv.Itoa(i+1)+".member.")
			}
		default:
			found = nulls(found, child, m.holds, here()+".")
		}
	}
	return found
}

func decodeMember(n *tree, m member, v reflect.Value) error {
	switch {
	case v.Kind() == reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for _, entry := range n.elements() {
			key := entry.at(m.key)
			if key == nil {
				continue
			}
			value := reflect.New(v.Type().Elem()).Elem()
			if child := entry.at(m.value); child != nil {
				if err := decodeValue(child, m.name, value); err != nil {
					return err
				}
			}
			v.SetMapIndex(reflect.ValueOf(key.value), value)
		}
		return nil
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() != reflect.Uint8:
		elements := n.elements()
		v.Set(reflect.MakeSlice(v.Type(), len(elements), len(elements)))
		for i, element := range elements {
			if err := decodeValue(element, m.name, v.Index(i)); err != nil {
				return err
			}
		}
		return nil
	default:
		return decodeValue(n, m.name, v)
	}
}

func decodeValue(n *tree, name string, v reflect.Value) error {
	wrong := func(err error) error { return malformed("The parameter "+name+" has the wrong type.", err) }
	switch v.Kind() {
	case reflect.Struct:
		return decodeStruct(n, v)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return decodeValue(n, name, v.Elem())
	case reflect.String:
		v.SetString(n.value)
	case reflect.Bool:
		b, err := strconv.ParseBool(n.value)
		if err != nil {
			return wrong(err)
		}
		v.SetBool(b)
	case reflect.Int64:
		bits := 32
		if v.Type() == reflect.TypeFor[long]() {
			bits = 64
		}
		i, err := strconv.ParseInt(n.value, 10, bits)
		if err != nil {
			return wrong(err)
		}
		v.SetInt(i)
	default: // []byte
		b, err := base64.StdEncoding.DecodeString(n.value)
		if err != nil {
			return wrong(err)
		}
		v.SetBytes(b)
	}
	return nil
}

func (queryProtocol) encode(r *request, out any) ([]byte, string, error) {
	w := &xmlWriter{}
	w.WriteString(xmlHeader + "<" + r.name + `Response xmlns="` + xmlNamespaces[r.service] + `">`)
	if _, ok := out.(*none); !ok {
		w.start(r.name + "Result")
		w.structure(reflect.ValueOf(out).Elem())
		w.end(r.name + "Result")
	}
	w.start("ResponseMetadata")
	w.text("RequestId", r.id)
	w.end("ResponseMetadata")
	w.end(r.name + "Response")
	return w.Bytes(), xmlContentType, nil
}

func (queryProtocol) encodeFailure(r *request, f failure, _ http.Header) ([]byte, string) {
	if f.name == "QueueDoesNotExist" {
		f.msg = "The specified queue does not exist for this wsdl version."
	}
	w := &xmlWriter{}
	w.WriteString(xmlHeader + `<ErrorResponse xmlns="` + xmlNamespaces[r.service] + `">`)
	w.start("Error")
	w.text("Type", f.kind())
	w.text("Code", f.code)
	w.text("Message", f.msg)
	if r.service == mnq.ServiceSQS {
		w.WriteString("<Detail/>")
	}
	w.end("Error")
	w.text("RequestId", r.id)
	w.end("ErrorResponse")
	return w.Bytes(), xmlContentType
}

// xmlWriter writes structs by their shapes. Empty members are left out, but for
// those that are notnull; a wrapped list or map keeps its wrapper.
type xmlWriter struct{ bytes.Buffer }

func (w *xmlWriter) start(name string) { w.WriteString("<" + name + ">") }
func (w *xmlWriter) end(name string)   { w.WriteString("</" + name + ">") }

// text writes a line feed and a tab as they are, as AWS does: the parser of AWS's
// JavaScript SDKs leaves references to them in the text. A carriage return has to
// be one, since a parser makes line feeds of those that it reads.
func (w *xmlWriter) text(name, value string) {
	w.start(name)
	begun := w.Len()
	_ = xml.EscapeText(&w.Buffer, []byte(value)) // a Buffer does not fail
	if strings.ContainsAny(value, "\n\t") {
		plain := blanks.Replace(string(w.Bytes()[begun:]))
		w.Truncate(begun)
		w.WriteString(plain)
	}
	w.end(name)
}

// blanks undoes what EscapeText does to them; an ampersand of the text's own reads
// &amp; by then.
var blanks = strings.NewReplacer("&#xA;", "\n", "&#x9;", "\t")

func (w *xmlWriter) structure(v reflect.Value) {
	for _, m := range shapeOf(v.Type()).members {
		last := len(m.path) - 1
		name, f := m.path[last], v.Field(m.index)
		list := f.Kind() == reflect.Map || f.Kind() == reflect.Slice && f.Type().Elem().Kind() != reflect.Uint8
		if f.IsZero() && !m.notNull && f.Kind() != reflect.Bool && (!list || last == 0) {
			continue
		}
		for _, wrapper := range m.path[:last] {
			w.start(wrapper)
		}
		switch {
		case f.Kind() == reflect.Map:
			w.entries(name, m, f)
		case list:
			for i := range f.Len() {
				w.value(name, f.Index(i))
			}
		default:
			w.value(name, f)
		}
		for _, wrapper := range slices.Backward(m.path[:last]) {
			w.end(wrapper)
		}
	}
}

func (w *xmlWriter) entries(name string, m member, f reflect.Value) {
	keys := f.MapKeys()
	slices.SortFunc(keys, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
	for _, key := range keys {
		w.start(name)
		w.text(m.key, key.String())
		w.value(m.value, f.MapIndex(key))
		w.end(name)
	}
}

func (w *xmlWriter) value(name string, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		w.start(name)
		w.structure(v)
		w.end(name)
	case reflect.Pointer:
		w.value(name, v.Elem())
	case reflect.Bool:
		w.text(name, strconv.FormatBool(v.Bool()))
	case reflect.Int64:
		w.text(name, strconv.FormatInt(v.Int(), 10))
	case reflect.Slice:
		w.text(name, base64.StdEncoding.EncodeToString(v.Bytes()))
	default:
		w.text(name, v.String())
	}
}
