package aws

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// integer is a whole number on the wire. In JSON it may also come as a string,
// as some clients send it.
type integer int64

// UnmarshalJSON accepts 5 and "5".
func (i *integer) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	if text == "null" {
		return nil
	}
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return &json.UnmarshalTypeError{Value: "value", Type: reflect.TypeFor[integer]()}
	}
	*i = integer(n)
	return nil
}

// long is a whole number that may be greater than 32 bits; it is only answered.
type long int64

// none is the output of operations that have none. In Query their answers have no
// Result element.
type none struct{}

// empty is the output of operations that answer a result without members.
type empty struct{}

// shape is what the codecs know about a struct type.
//
// A field's name is its name in JSON; a json tag overrides it. Its name in Query
// is the same, or the first part of its query tag: a dotted path, of which every
// part but the last wraps all elements of a list or map. For a map the second and
// third part name key and value. So `query:"Attribute,Name,Value"` is SQS's
// Attribute.1.Name, and `query:"Attributes.entry,key,value"` is SNS's
// Attributes.entry.1.key. A fourth part is another name that is read as well.
//
// The tag wire says what a request must hold. A member that is "required" and
// missing or empty is a MissingParameter, as SQS has it. One that is "notnull" and
// missing is a ValidationError, as SNS has it, also inside lists and maps; it may
// be empty, and an answer in Query has it then too.
type shape struct {
	members []member
	notNull bool // some member is notnull, here or further down
}

type member struct {
	index      int
	name       string   // in JSON and in error texts
	path       []string // in Query
	key, value string   // of map entries, in Query
	alias      string   // another name in Query, for reading
	required   bool
	notNull    bool
	kind       reflect.Kind // of the field
	holds      *shape       // of the struct that it is or has elements of; nil for none
}

var shapes sync.Map // reflect.Type → *shape

func shapeOf(t reflect.Type) *shape {
	if s, ok := shapes.Load(t); ok {
		return s.(*shape) //nolint:forcetypeassert // only shapes are stored
	}
	s := &shape{}
	for i := range t.NumField() {
		f := t.Field(i)
		must := f.Tag.Get("wire")
		m := member{index: i, name: f.Name, required: must == "required", notNull: must == "notnull", kind: f.Type.Kind()}
		if e := elementOf(f.Type); e.Kind() == reflect.Struct {
			m.holds = shapeOf(e)
		}
		s.notNull = s.notNull || m.notNull || m.holds != nil && m.holds.notNull
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			m.name = name
		}
		tag := strings.Split(f.Tag.Get("query"), ",")
		if tag[0] == "" {
			tag[0] = m.name
		}
		m.path = strings.Split(tag[0], ".")
		if len(tag) >= 3 {
			m.key, m.value = tag[1], tag[2]
		}
		if len(tag) == 4 {
			m.alias = tag[3]
		}
		s.members = append(s.members, m)
	}
	actual, _ := shapes.LoadOrStore(t, s)
	return actual.(*shape) //nolint:forcetypeassert // only shapes are stored
}

// elementOf is the type of what a member holds one or more of.
func elementOf(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Map || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	return t
}

// names returns the members' names in order.
func (s *shape) names() []string {
	names := make([]string, 0, len(s.members))
	for _, m := range s.members {
		names = append(names, m.name)
	}
	return names
}

// checkRequired returns MissingParameter for the first required member of the
// struct v that is empty.
func checkRequired(v reflect.Value) error {
	for _, m := range shapeOf(v.Type()).members {
		f := v.Field(m.index)
		if m.required && (f.IsZero() || slices.Contains([]reflect.Kind{reflect.Map, reflect.Slice}, f.Kind()) && f.Len() == 0) {
			return missing(m.name)
		}
	}
	return nil
}
