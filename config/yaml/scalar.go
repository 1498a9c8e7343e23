// SPDX-License-Identifier: Apache-2.0

package yaml

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/spillway/spillway/config/words"
)

// Refusal is why a text is not the value that a field needs.
type Refusal struct{ Code, Problem, Valid string }

// The kinds of YAML scalars, for people.
const (
	KindText    = "a text"
	KindInteger = "a whole number"
	KindNumber  = "a number"
	kindBoolean = "true or false"
)

var scalarType = reflect.TypeFor[Scalar]()

// isScalar reports whether values of the type are written as one YAML scalar.
func isScalar(t reflect.Type) bool {
	switch reflect.Zero(t).Interface().(type) {
	case netip.Prefix, time.Time, words.Former:
		return true
	}
	if reflect.PointerTo(t).Implements(scalarType) {
		return true
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int64, reflect.Uint8, reflect.Uint16, reflect.Uint32,
		reflect.Float64:
		return true
	}
	return false
}

func (d *Decoder) scalar(n ast.Node, into reflect.Value, path string, lim *Limits) {
	text, kind, ok := scalarText(n)
	if !ok {
		valid := lim.describe(into.Type())
		if _, mapping := n.(ast.MapNode); mapping {
			valid += "; in quotes when it holds colons"
		}
		d.Fault(CodeType, Place(n), path, "", fmt.Sprintf("%s needs one value, not %s", NameOf(path), TypeOf(n)), valid)
		return
	}
	if r := setScalar(into, text, kind, lim); r != nil {
		if r.Valid == "" {
			r.Valid = lim.describe(into.Type())
		}
		d.Fault(r.Code, Place(n), path, Written(n), fmt.Sprintf("%s %s", NameOf(path), r.Problem), r.Valid)
	}
}

// setScalar reads text, which YAML took for a value of the kind, and checks it against the limits.
func setScalar(into reflect.Value, text, kind string, lim *Limits) *Refusal {
	if kind == KindText && strings.TrimSpace(text) == "" && !(lim.blankOK && text == "") {
		return &Refusal{Code: CodeBlank, Problem: "is blank"}
	}
	switch v := into.Addr().Interface().(type) {
	case Scalar:
		return v.ReadScalar(text, kind, lim)
	case *time.Duration:
		return ReadDuration(v, text, lim)
	case *time.Time:
		return setTime(v, text)
	case *netip.Prefix:
		p, _, err := ParsePrefix(text)
		if err != nil {
			return &Refusal{CodeSyntax, err.Error(), "192.0.2.7, 192.0.2.0/24 or 2001:db8::/32"}
		}
		*v = p
		return nil
	case words.Text:
		return setForm(into, text, v.Form())
	case *bool:
		if kind != kindBoolean || (text != "true" && text != "false") {
			return &Refusal{Code: CodeType, Problem: "is neither true nor false"}
		}
		*v = text == "true"
		return nil
	}
	if into.Kind() == reflect.String {
		return setText(into, text, kind, lim)
	}
	return ReadInteger(into, text, kind, lim)
}

// setForm reads a text with a form of its own. What cannot be read leaves the value as it was.
func setForm(into reflect.Value, text string, form words.Form) *Refusal {
	v := reflect.New(into.Type())
	if err := v.Interface().(words.Text).UnmarshalText([]byte(text)); err != nil {
		code := CodeSyntax
		if errors.Is(err, words.ErrLater) {
			code = CodeUnsupported
		}
		return &Refusal{code, "is no " + form.Name + ": " + err.Error(), form.Example}
	}
	into.Set(v.Elem())
	return nil
}

func setText(into reflect.Value, text, kind string, lim *Limits) *Refusal {
	switch {
	case len(lim.Enum) > 0 && !slices.Contains(lim.Enum, text):
		problem := "is none of its values"
		if near := words.Nearest(text, lim.Enum); near != "" {
			problem += "; did you mean " + near + "?"
		}
		return &Refusal{Code: CodeRange, Problem: problem}
	case kind != KindText:
		return &Refusal{CodeType, "is " + kind + ", and a text is needed", fmt.Sprintf("%q (in quotes)", text)}
	case lim.maxLength > 0 && utf8.RuneCountInString(text) > lim.maxLength:
		return &Refusal{Code: CodeRange, Problem: fmt.Sprintf("has %d characters", utf8.RuneCountInString(text))}
	case strings.ContainsFunc(text, unicode.IsControl):
		return &Refusal{CodeSyntax, "holds a line break or a control character", "one line of text"}
	case lim.pattern != nil && !lim.pattern.MatchString(text):
		return &Refusal{Code: CodeSyntax, Problem: "holds characters that are not allowed"}
	}
	into.SetString(text)
	return nil
}

// ReadInteger reads a whole number in decimal digits.
func ReadInteger(into reflect.Value, text, kind string, lim *Limits) *Refusal {
	if kind != KindInteger && kind != KindNumber {
		return &Refusal{Code: CodeType, Problem: "is no whole number"}
	}
	if !isDecimal(text) {
		return &Refusal{Code: CodeType, Problem: "is no whole number in decimal digits"}
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil || (lim.Minimum != nil && v < *lim.Minimum) || (lim.Maximum != nil && v > *lim.Maximum) {
		return &Refusal{Code: CodeRange, Problem: "is out of range"}
	}
	if len(lim.Enum) > 0 && !slices.Contains(lim.Enum, text) {
		return &Refusal{Code: CodeVersion, Problem: "is not what this release reads"}
	}
	if into.CanUint() {
		into.SetUint(uint64(v))
	} else {
		into.SetInt(v)
	}
	return nil
}

// isDecimal reports whether a text is a number in decimal digits. A leading zero means octal to some readers of YAML.
func isDecimal(text string) bool {
	digits := strings.TrimPrefix(text, "-")
	return digits != "" && strings.Trim(digits, "0123456789") == "" && (digits == "0" || digits[0] != '0')
}

// scalarText returns a scalar's text and what YAML took it for.
func scalarText(n ast.Node) (text, kind string, ok bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		if n.Token.Type == token.StringType && isDecimal(n.Value) {
			return n.Value, KindInteger, true // so many digits that the parser took them for a text
		}
		return n.Value, KindText, true
	case *ast.LiteralNode:
		return strings.TrimRight(n.Value.Value, "\n"), KindText, true
	case *ast.IntegerNode:
		return n.Token.Value, KindInteger, true
	case *ast.FloatNode:
		return n.Token.Value, KindNumber, true
	case *ast.NanNode:
		return n.Token.Value, KindNumber, true
	case *ast.InfinityNode:
		return n.Token.Value, KindNumber, true
	case *ast.BoolNode:
		return n.Token.Value, kindBoolean, true
	}
	return "", "", false
}

// Written returns a scalar as it stands in the file; "" for anything else.
func Written(n ast.Node) string {
	text, kind, ok := scalarText(n)
	if !ok {
		return ""
	}
	if kind == KindText {
		return strconv.Quote(words.Shorten(text))
	}
	return text
}

// TypeOf says what stands there, for a sentence.
func TypeOf(n ast.Node) string {
	switch n.(type) {
	case ast.MapNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	}
	if _, kind, ok := scalarText(n); ok {
		return kind
	}
	return "this"
}
