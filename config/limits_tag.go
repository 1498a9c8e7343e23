// SPDX-License-Identifier: Apache-2.0

package config

import (
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
)

// limits are the bounds of one field, read from its tags. The JSON Schema is made from the same tags:
//
//	jsonschema:"required,minimum=1,maximum=65535,minItems=1,maxLength=63,pattern=…,enum=a,enum=b,default=…"
//	limit:"1s..168h"   bounds of a duration or a share
//	blank:"ok"         an empty text is a value
//	valid:"…"          the pattern, for people
type limits struct {
	required           bool
	minimum, maximum   *int64
	minItems, maxItems int
	maxLength          int
	enum               []string
	pattern            *regexp.Regexp
	low, high          string
	blankOK            bool
	valid              string
}

// field is one field of a struct that a file can name.
type field struct {
	index  []int // of embedded structs, as reflect.Value.FieldByIndex takes it
	name   string
	limits limits
}

// fields of a struct type: those with a yaml tag, and the names that a later release will know.
type fields struct {
	list  []field
	later []string
}

var fieldCache sync.Map // reflect.Type → *fields

func fieldsOf(t reflect.Type) *fields {
	if v, ok := fieldCache.Load(t); ok {
		return v.(*fields)
	}
	fs := &fields{}
	for _, f := range reflect.VisibleFields(t) {
		if later := f.Tag.Get("later"); later != "" {
			fs.later = append(fs.later, strings.Split(later, ",")...)
		}
		if name := f.Tag.Get("yaml"); name != "" {
			fs.list = append(fs.list, field{index: f.Index, name: name, limits: limitsOf(f.Tag)})
		}
	}
	v, _ := fieldCache.LoadOrStore(t, fs)
	return v.(*fields)
}

func (fs *fields) named(name string) *field {
	for i := range fs.list {
		if fs.list[i].name == name {
			return &fs.list[i]
		}
	}
	return nil
}

func (fs *fields) names() []string {
	var names []string
	for _, f := range fs.list {
		names = append(names, f.name)
	}
	return names
}

func limitsOf(tag reflect.StructTag) limits {
	l := limits{blankOK: tag.Get("blank") == "ok", valid: tag.Get("valid")}
	l.low, l.high, _ = strings.Cut(tag.Get("limit"), "..")
	for part := range strings.SplitSeq(tag.Get("jsonschema"), ",") {
		key, value, _ := strings.Cut(part, "=")
		switch key {
		case "required":
			l.required = true
		case "minimum":
			l.minimum = tagNumber(value)
		case "maximum":
			l.maximum = tagNumber(value)
		case "minItems":
			l.minItems = int(*tagNumber(value))
		case "maxItems":
			l.maxItems = int(*tagNumber(value))
		case "maxLength":
			l.maxLength = int(*tagNumber(value))
		case "enum":
			l.enum = append(l.enum, value)
		case "pattern":
			l.pattern = regexp.MustCompile(value)
		}
	}
	return l
}

func tagNumber(s string) *int64 {
	v, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic("config: tag with a bad number: " + s) // a fault of this package, met by its first test
	}
	return &v
}
