// SPDX-License-Identifier: Apache-2.0

package yaml

import (
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/spillway/spillway/config/words"
)

// How a YAML node becomes a value with a place:
//
//	bytes ──NewSource──► text, starts of lines      too long, too many marks, no UTF-8: one fault, the end
//	      ──Document───► the tree of the parser      too deep, an alias, no YAML, two documents: one fault, the end
//	      ──Into───────► value(node, path), from the root down:
//
//	  value ─┬─ null                     a fault; the default stays
//	         ├─ NodeReader               the type reads its node itself
//	         ├─ a scalar ──► scalar      text and kind ──► Scalar, words.Text, text, number: the value, or a Refusal
//	         ├─ a struct ──► mapping ─┐  its defaults first
//	         ├─ a map    ──► table   ─┴► keys: each once ──► value(…, path.key)
//	         ├─ a slice  ──► sequence ─────────────────────► value(…, path[i])
//	         └─ a pointer                made, then value
//
//	  Refusal ──► Fault(code, place, path, value, problem, valid) ──► Collector
//	  then the caller's checks of what was read ──► FaultAt(code, path, …): the place is found by the path
//	  Collector.Err ──► all faults by file, line and column, or nil: only then is the value used
//
// What holds:
//
//  1. Every node that is visited has its place in at before it is read, and every key in at["#"+path]. So each fault
//     has file:line:column: its own, or that of the nearest thing around it (Where).
//  2. Nothing is lost: every key of a mapping is read into a field, or is a fault (unknown, of a later release, twice);
//     every field that is required is set, or is a fault.
//  3. No fault ends the walk. A path with a fault keeps its default and stands in bad, so that a later check of it
//     does not make a second fault of the first.
//  4. What is counted is more than what is kept: 100 faults of a code have excerpts, a million cost a number.
//  5. The parser is asked only for what Document bounded: no file takes its stack or minutes of a processor.

// Decoder walks a YAML tree into a struct and adds a fault for everything that does not fit; it never stops at the
// first. What it could not read keeps its default, so that the checks that follow make no second fault of it.
type Decoder struct {
	Src *Source
	Out *Collector
	// at remembers where values stand, by path, and with a "#" before the path, where keys stand.
	at map[string]Position
	// bad holds the paths with a fault below them.
	Bad map[string]bool
}

// NewDecoder returns a decoder of one file, whose faults go to out.
func NewDecoder(src *Source, out *Collector) *Decoder {
	return &Decoder{Src: src, Out: out, at: map[string]Position{}, Bad: map[string]bool{}}
}

// Fault adds a fault at a place, and marks the path: nothing below it is believed.
func (d *Decoder) Fault(code string, at Position, path, value, problem, valid string) {
	d.Bad[path] = true
	d.Out.AddAt(d.Src, code, at, path, value, problem, valid)
}

// FaultAt adds a fault at the place of a value that was read, or of the nearest thing around it.
func (d *Decoder) FaultAt(code, path, value, problem, valid string) {
	d.Fault(code, d.Where(path), path, value, problem, valid)
}

// Where returns the place of a value, or of the nearest thing around it.
func (d *Decoder) Where(path string) Position {
	for p := path; ; {
		if at, ok := d.at[p]; ok {
			return at
		}
		i := strings.LastIndexAny(p, ".[")
		if i < 0 {
			return Position{1, 1}
		}
		p = p[:i]
	}
}

// IsSet reports whether the file has a value of the path.
func (d *Decoder) IsSet(path string) bool {
	_, ok := d.at[path]
	return ok
}

// Into reads a whole file into a struct.
func (d *Decoder) Into(n ast.Node, target any) {
	d.value(n, reflect.ValueOf(target).Elem(), "", &Limits{})
}

// value reads one node into one Go value.
func (d *Decoder) value(n ast.Node, into reflect.Value, path string, lim *Limits) {
	at := Place(n)
	d.at[path] = at
	if _, ok := n.(*ast.NullNode); ok {
		d.Fault(CodeNull, at, path, "", fmt.Sprintf("%s has no value", NameOf(path)),
			"a value, or leave the field out for its default")
		return
	}
	if s, ok := into.Addr().Interface().(Defaulter); ok && into.IsZero() {
		s.SetDefaults()
	}
	switch v := into.Addr().Interface().(type) {
	case NodeReader:
		v.ReadNode(d, n, path)
		return
	case Shorthand:
		if _, ok := n.(ast.MapNode); !ok {
			into = reflect.ValueOf(v.Short()).Elem()
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
		panic("yaml: no reader for " + into.Type().String()) // a fault of this package, met by its first test
	}
}

// mapping reads a YAML mapping into a struct.
func (d *Decoder) mapping(n ast.Node, into reflect.Value, path string) {
	fs := FieldsOf(into.Type())
	seen, ok := d.keys(n, path, func(key string, at Position, value ast.Node) {
		f := fs.Named(key)
		if f == nil {
			d.unknown(fs, key, at, path)
			return
		}
		d.value(value, into.FieldByIndex(f.Index), join(path, key), &f.Limits)
	})
	if !ok {
		return
	}
	for _, f := range fs.list {
		if f.Limits.required && !seen[f.name] {
			d.Fault(CodeMissing, Place(n), join(path, f.name), "", fmt.Sprintf("the field %s is missing", f.name),
				f.Limits.describe(into.FieldByIndex(f.Index).Type()))
		}
	}
}

// keys calls each for every key of a mapping that is met for the first time, and returns the keys.
func (d *Decoder) keys(n ast.Node, path string, each func(string, Position, ast.Node)) (map[string]bool, bool) {
	m, ok := n.(ast.MapNode)
	if !ok {
		d.Fault(CodeType, Place(n), path, Written(n), fmt.Sprintf("%s needs fields, not %s", NameOf(path), TypeOf(n)),
			"a mapping (name: value)")
		return nil, false
	}
	seen, lines := map[string]bool{}, map[string]int{}
	for it := m.MapRange(); it.Next(); {
		key, at := it.Key().GetToken().Value, Place(it.Key())
		if lines[key] > 0 {
			d.Fault(CodeDuplicate, at, join(path, key), "",
				fmt.Sprintf("the key %q is here a second time; the first is in line %d", words.Shorten(key),
					lines[key]), "each key once")
			continue
		}
		seen[key], lines[key] = true, at.Line
		d.at["#"+join(path, key)] = at
		each(key, at, it.Value())
	}
	return seen, true
}

func (d *Decoder) unknown(fs *Fields, key string, at Position, path string) {
	for _, later := range fs.later {
		if key == later {
			d.Fault(CodeUnsupported, at, join(path, key), "", key+" arrives with a later release",
				"only "+words.List(fs.names(), "and"))
			return
		}
	}
	problem := fmt.Sprintf("unknown field %q", words.Shorten(key))
	if near := words.Nearest(key, fs.names()); near != "" {
		problem += fmt.Sprintf("; did you mean %s?", near)
	}
	d.Fault(CodeUnknownField, at, join(path, key), "", problem, words.List(fs.names(), "or"))
}

// table reads a YAML mapping with free keys.
func (d *Decoder) table(n ast.Node, into reflect.Value, path string) {
	into.Set(reflect.MakeMap(into.Type()))
	d.keys(n, path, func(key string, at Position, value ast.Node) {
		elem := reflect.New(into.Type().Elem()).Elem()
		d.value(value, elem, join(path, key), &Limits{})
		into.SetMapIndex(reflect.ValueOf(key), elem)
	})
}

// sequence reads a YAML sequence into a slice.
func (d *Decoder) sequence(n ast.Node, into reflect.Value, path string, lim *Limits) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.Fault(CodeType, Place(n), path, Written(n), fmt.Sprintf("%s needs a list, not %s", NameOf(path), TypeOf(n)),
			"a list (one - a row, or [a, b])")
		return
	}
	count := len(seq.Values)
	if count < lim.minItems || (lim.maxItems > 0 && count > lim.maxItems) {
		d.Fault(CodeRange, Place(n), path, fmt.Sprintf("%d rows", count), fmt.Sprintf("%s has %d rows", NameOf(path), count),
			lim.describe(into.Type()))
		return
	}
	out := reflect.MakeSlice(into.Type(), count, count)
	elemLimits := *lim
	elemLimits.minItems, elemLimits.maxItems = 0, 0
	for i, item := range seq.Values {
		d.value(item, out.Index(i), fmt.Sprintf("%s[%d]", path, i), &elemLimits)
	}
	into.Set(out)
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// NameOf returns a path for a sentence.
func NameOf(path string) string {
	if path == "" {
		return "the file"
	}
	return words.Shorten(path)
}
