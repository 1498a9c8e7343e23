// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/spillway/spillway/config/words"
)

// decoder walks a YAML tree into a struct and adds a fault for everything that does not fit; it never stops at the
// first. What it could not read keeps its default, so that the checks that follow make no second fault of it.
type decoder struct {
	src *source
	out *collector
	// at remembers where values stand, by path, and with a "#" before the path, where keys stand.
	at map[string]position
	// bad holds the paths with a fault below them.
	bad map[string]bool
}

func newDecoder(src *source, out *collector) *decoder {
	return &decoder{src: src, out: out, at: map[string]position{}, bad: map[string]bool{}}
}

func (d *decoder) fault(code string, at position, path, value, problem, valid string) {
	d.bad[path] = true
	d.out.addAt(d.src, code, at, path, value, problem, valid)
}

// faultAt adds a fault at the place of a value that was read, or of the nearest thing around it.
func (d *decoder) faultAt(code, path, value, problem, valid string) {
	d.fault(code, d.where(path), path, value, problem, valid)
}

func (d *decoder) where(path string) position {
	for p := path; ; {
		if at, ok := d.at[p]; ok {
			return at
		}
		i := strings.LastIndexAny(p, ".[")
		if i < 0 {
			return position{1, 1}
		}
		p = p[:i]
	}
}

func (d *decoder) isSet(path string) bool {
	_, ok := d.at[path]
	return ok
}

// value reads one node into one Go value.
func (d *decoder) value(n ast.Node, into reflect.Value, path string, lim *limits) {
	at := place(n)
	d.at[path] = at
	if _, ok := n.(*ast.NullNode); ok {
		d.fault(CodeNull, at, path, "", fmt.Sprintf("%s has no value", nameOf(path)),
			"a value, or leave the field out for its default")
		return
	}
	switch v := into.Addr().Interface().(type) {
	case *[]entryText:
		d.entries(n, v, path)
		return
	case *AllowEntry:
		if _, ok := n.(ast.MapNode); !ok {
			into = into.FieldByName("Prefix")
		}
	}
	switch {
	case isScalar(into.Type()):
		d.scalar(n, into, path, lim)
	case into.Kind() == reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		d.value(n, into.Elem(), path, lim)
	case into.Kind() == reflect.Struct:
		d.mapping(n, into, path)
	case into.Kind() == reflect.Map:
		d.table(n, into, path)
	case into.Kind() == reflect.Slice:
		d.sequence(n, into, path, lim)
	default:
		panic("config: no reader for " + into.Type().String()) // a fault of this package, met by its first test
	}
}

// mapping reads a YAML mapping into a struct.
func (d *decoder) mapping(n ast.Node, into reflect.Value, path string) {
	fs := fieldsOf(into.Type())
	seen, ok := d.keys(n, path, func(key string, at position, value ast.Node) {
		f := fs.named(key)
		if f == nil {
			d.unknown(fs, key, at, path)
			return
		}
		d.value(value, into.FieldByIndex(f.index), join(path, key), &f.limits)
	})
	if !ok {
		return
	}
	for _, f := range fs.list {
		if f.limits.required && !seen[f.name] {
			d.fault(CodeMissing, place(n), join(path, f.name), "", fmt.Sprintf("the field %s is missing", f.name),
				f.limits.describe(into.FieldByIndex(f.index).Type()))
		}
	}
}

// keys calls each for every key of a mapping that is met for the first time, and returns the keys.
func (d *decoder) keys(n ast.Node, path string, each func(string, position, ast.Node)) (map[string]bool, bool) {
	m, ok := n.(ast.MapNode)
	if !ok {
		d.fault(CodeType, place(n), path, written(n), fmt.Sprintf("%s needs fields, not %s", nameOf(path), typeOf(n)),
			"a mapping (name: value)")
		return nil, false
	}
	seen, lines := map[string]bool{}, map[string]int{}
	for it := m.MapRange(); it.Next(); {
		key, at := it.Key().GetToken().Value, place(it.Key())
		if lines[key] > 0 {
			d.fault(CodeDuplicate, at, join(path, key), "",
				fmt.Sprintf("the key %q is here a second time; the first is in line %d", words.Shorten(key),
					lines[key]), "each key once")
			continue
		}
		seen[key], lines[key] = true, at.line
		d.at["#"+join(path, key)] = at
		each(key, at, it.Value())
	}
	return seen, true
}

func (d *decoder) unknown(fs *fields, key string, at position, path string) {
	for _, later := range fs.later {
		if key == later {
			d.fault(CodeUnsupported, at, join(path, key), "", key+" arrives with a later release",
				"only "+words.List(fs.names(), "and"))
			return
		}
	}
	problem := fmt.Sprintf("unknown field %q", words.Shorten(key))
	if near := words.Nearest(key, fs.names()); near != "" {
		problem += fmt.Sprintf("; did you mean %s?", near)
	}
	d.fault(CodeUnknownField, at, join(path, key), "", problem, words.List(fs.names(), "or"))
}

// table reads a YAML mapping with free keys.
func (d *decoder) table(n ast.Node, into reflect.Value, path string) {
	into.Set(reflect.MakeMap(into.Type()))
	d.keys(n, path, func(key string, at position, value ast.Node) {
		elem := reflect.New(into.Type().Elem()).Elem()
		d.value(value, elem, join(path, key), &limits{})
		into.SetMapIndex(reflect.ValueOf(key), elem)
	})
}

// sequence reads a YAML sequence into a slice.
func (d *decoder) sequence(n ast.Node, into reflect.Value, path string, lim *limits) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.fault(CodeType, place(n), path, written(n), fmt.Sprintf("%s needs a list, not %s", nameOf(path), typeOf(n)),
			"a list (one - a row, or [a, b])")
		return
	}
	count := len(seq.Values)
	if count < lim.minItems || (lim.maxItems > 0 && count > lim.maxItems) {
		d.fault(CodeRange, place(n), path, fmt.Sprintf("%d rows", count), fmt.Sprintf("%s has %d rows", nameOf(path), count),
			lim.describe(into.Type()))
		return
	}
	out := reflect.MakeSlice(into.Type(), count, count)
	elemLimits := *lim
	elemLimits.minItems, elemLimits.maxItems = 0, 0
	for i, item := range seq.Values {
		elem := out.Index(i)
		if s, ok := elem.Addr().Interface().(interface{ setDefaults() }); ok {
			s.setDefaults()
		}
		d.value(item, elem, fmt.Sprintf("%s[%d]", path, i), &elemLimits)
	}
	into.Set(out)
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// nameOf returns a path for a sentence.
func nameOf(path string) string {
	if path == "" {
		return "the file"
	}
	return words.Shorten(path)
}
