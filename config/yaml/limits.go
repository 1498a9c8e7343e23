// SPDX-License-Identifier: Apache-2.0

package yaml

import (
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// Limits are the bounds of one field, read from its tags. The JSON Schema is made from the same tags:
//
//	jsonschema:"required,minimum=1,maximum=65535,minItems=1,maxLength=63,pattern=…,enum=a,enum=b,default=…"
//	limit:"1s..168h"   bounds of a duration or a share
//	blank:"ok"         an empty text is a value
//	valid:"…"          the pattern, for people
type Limits struct {
	required           bool
	Minimum, Maximum   *int64
	minItems, maxItems int
	maxLength          int
	Enum               []string
	pattern            *regexp.Regexp
	Low, High          string
	blankOK            bool
	valid              string
}

// Field is one field of a struct that a file can name.
type Field struct {
	Index  []int // of embedded structs, as reflect.Value.FieldByIndex takes it
	name   string
	Limits Limits
}

// Fields of a struct type: those with a yaml tag, and the names that a later release will know.
type Fields struct {
	list  []Field
	later []string
}

var fieldCache sync.Map // reflect.Type → *fields

// FieldsOf returns what the tags of a struct type say, read once.
func FieldsOf(t reflect.Type) *Fields {
	if v, ok := fieldCache.Load(t); ok {
		return v.(*Fields)
	}
	fs := &Fields{}
	for _, f := range reflect.VisibleFields(t) {
		if later := f.Tag.Get("later"); later != "" {
			fs.later = append(fs.later, strings.Split(later, ",")...)
		}
		if name := f.Tag.Get("yaml"); name != "" {
			fs.list = append(fs.list, Field{Index: f.Index, name: name, Limits: LimitsOf(f.Tag)})
		}
	}
	v, _ := fieldCache.LoadOrStore(t, fs)
	return v.(*Fields)
}

// Named returns the field that files call so; nil when there is none.
func (fs *Fields) Named(name string) *Field {
	for i := range fs.list {
		if fs.list[i].name == name {
			return &fs.list[i]
		}
	}
	return nil
}

func (fs *Fields) names() []string {
	var names []string
	for _, f := range fs.list {
		names = append(names, f.name)
	}
	return names
}

// LimitsOf reads the tags of one field.
func LimitsOf(tag reflect.StructTag) Limits {
	l := Limits{blankOK: tag.Get("blank") == "ok", valid: tag.Get("valid")}
	l.Low, l.High, _ = strings.Cut(tag.Get("limit"), "..")
	for part := range strings.SplitSeq(tag.Get("jsonschema"), ",") {
		key, value, _ := strings.Cut(part, "=")
		switch key {
		case "required":
			l.required = true
		case "minimum":
			l.Minimum = tagNumber(value)
		case "maximum":
			l.Maximum = tagNumber(value)
		case "minItems":
			l.minItems = int(*tagNumber(value))
		case "maxItems":
			l.maxItems = int(*tagNumber(value))
		case "maxLength":
			l.maxLength = int(*tagNumber(value))
		case "enum":
			l.Enum = append(l.Enum, value)
		case "pattern":
			l.pattern = regexp.MustCompile(value)
		}
	}
	return l
}

func tagNumber(s string) *int64 {
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic("yaml: tag with a bad number: " + s) // a fault of this package, met by its first test
	}
	return &v
}
