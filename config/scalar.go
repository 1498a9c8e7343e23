// SPDX-License-Identifier: Apache-2.0

package config

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

	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/config/words"
)

// refusal is why a text is not the value that a field needs.
type refusal struct{ code, problem, valid string }

// The kinds of YAML scalars, for people.
const (
	kindText    = "a text"
	kindInteger = "a whole number"
	kindNumber  = "a number"
	kindBoolean = "true or false"
)

// isScalar reports whether values of the type are written as one YAML scalar.
func isScalar(t reflect.Type) bool {
	switch reflect.Zero(t).Interface().(type) {
	case netip.Prefix, Address, time.Time, signature.Former:
		return true
	}
	switch t.Kind() {
	case reflect.String, reflect.Bool, reflect.Int, reflect.Int64, reflect.Uint8, reflect.Uint16, reflect.Float64:
		return true
	}
	return false
}

func (d *decoder) scalar(n ast.Node, into reflect.Value, path string, lim *limits) {
	text, kind, ok := scalarText(n)
	if !ok {
		valid := lim.describe(into.Type())
		if _, mapping := n.(ast.MapNode); mapping {
			valid += "; in quotes when it holds colons"
		}
		d.fault(CodeType, place(n), path, "", fmt.Sprintf("%s needs one value, not %s", nameOf(path), typeOf(n)), valid)
		return
	}
	if r := setScalar(into, text, kind, lim); r != nil {
		if r.valid == "" {
			r.valid = lim.describe(into.Type())
		}
		d.fault(r.code, place(n), path, written(n), fmt.Sprintf("%s %s", nameOf(path), r.problem), r.valid)
	}
}

// setScalar reads text, which YAML took for a value of the kind, and checks it against the limits.
func setScalar(into reflect.Value, text, kind string, lim *limits) *refusal {
	if kind == kindText && strings.TrimSpace(text) == "" && !(lim.blankOK && text == "") {
		return &refusal{code: CodeBlank, problem: "is blank"}
	}
	switch v := into.Addr().Interface().(type) {
	case *time.Duration:
		return setDuration(v, text, lim)
	case *Timeout:
		if text == "never" {
			*v = 0
			return nil
		}
		return setDuration((*time.Duration)(v), text, lim)
	case *time.Time:
		return setTime(v, text)
	case *Percent:
		return setPercent(v, text, lim)
	case *Threshold:
		return setThreshold(v, text, kind)
	case *netip.Prefix:
		p, _, err := parsePrefix(text)
		if err != nil {
			return &refusal{CodeSyntax, err.Error(), "192.0.2.7, 192.0.2.0/24 or 2001:db8::/32"}
		}
		*v = p
		return nil
	case *Address:
		return setAddress(v, text)
	case signature.Text:
		return setSignature(into, text, v.Form())
	case *bool:
		if kind != kindBoolean || (text != "true" && text != "false") {
			return &refusal{code: CodeType, problem: "is neither true nor false"}
		}
		*v = text == "true"
		return nil
	}
	if into.Kind() == reflect.String {
		return setText(into, text, kind, lim)
	}
	return setInteger(into, text, kind, lim)
}

// setSignature reads a text with a form of its own. What cannot be read leaves the value as it was.
func setSignature(into reflect.Value, text string, form signature.Form) *refusal {
	v := reflect.New(into.Type())
	if err := v.Interface().(signature.Text).UnmarshalText([]byte(text)); err != nil {
		code := CodeSyntax
		if errors.Is(err, signature.ErrLater) {
			code = CodeUnsupported
		}
		return &refusal{code, "is no " + form.Name + ": " + err.Error(), form.Example}
	}
	into.Set(v.Elem())
	return nil
}

func setText(into reflect.Value, text, kind string, lim *limits) *refusal {
	switch {
	case len(lim.enum) > 0 && !slices.Contains(lim.enum, text):
		problem := "is none of its values"
		if near := words.Nearest(text, lim.enum); near != "" {
			problem += "; did you mean " + near + "?"
		}
		return &refusal{code: CodeRange, problem: problem}
	case kind != kindText:
		return &refusal{CodeType, "is " + kind + ", and a text is needed", fmt.Sprintf("%q (in quotes)", text)}
	case lim.maxLength > 0 && utf8.RuneCountInString(text) > lim.maxLength:
		return &refusal{code: CodeRange, problem: fmt.Sprintf("has %d characters", utf8.RuneCountInString(text))}
	case strings.ContainsFunc(text, unicode.IsControl):
		return &refusal{CodeSyntax, "holds a line break or a control character", "one line of text"}
	case lim.pattern != nil && !lim.pattern.MatchString(text):
		return &refusal{code: CodeSyntax, problem: "holds characters that are not allowed"}
	}
	into.SetString(text)
	return nil
}

func setInteger(into reflect.Value, text, kind string, lim *limits) *refusal {
	if kind != kindInteger && kind != kindNumber {
		return &refusal{code: CodeType, problem: "is no whole number"}
	}
	if !isDecimal(text) {
		return &refusal{code: CodeType, problem: "is no whole number in decimal digits"}
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil || (lim.minimum != nil && v < *lim.minimum) || (lim.maximum != nil && v > *lim.maximum) {
		return &refusal{code: CodeRange, problem: "is out of range"}
	}
	if len(lim.enum) > 0 && !slices.Contains(lim.enum, text) {
		return &refusal{code: CodeVersion, problem: "is not what this release reads"}
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

func setThreshold(into *Threshold, text, kind string) *refusal {
	if text == "never" {
		*into = Never
		return nil
	}
	lo, hi := int64(1), int64(100)
	var v uint8
	r := setInteger(reflect.ValueOf(&v).Elem(), text, kind, &limits{minimum: &lo, maximum: &hi})
	if r == nil {
		*into = Threshold(v)
	}
	return r
}

func setPercent(into *Percent, text string, lim *limits) *refusal {
	digits, ok := strings.CutSuffix(text, "%")
	digits = strings.TrimRight(digits, " ")
	whole, part, point := strings.Cut(digits, ".")
	if !ok || whole == "" || strings.Trim(whole+part, "0123456789") != "" || (point && part == "") || len(digits) > 12 {
		return &refusal{code: CodeType, problem: "is no share"}
	}
	v, err := strconv.ParseFloat(digits, 64)
	lo, _ := strconv.ParseFloat(strings.TrimSuffix(lim.low, "%"), 64)
	hi, _ := strconv.ParseFloat(strings.TrimSuffix(lim.high, "%"), 64)
	if err != nil || v < lo || v > hi {
		return &refusal{code: CodeRange, problem: "is out of range"}
	}
	*into = Percent(v)
	return nil
}

func setAddress(into *Address, text string) *refusal {
	if text == "any" {
		*into = Address{}
		return nil
	}
	ip, err := netip.ParseAddr(text)
	if err != nil || ip.Zone() != "" {
		return &refusal{code: CodeSyntax, problem: "is no IP address"}
	}
	if ip = ip.Unmap(); ip.IsUnspecified() || ip.IsMulticast() {
		return &refusal{code: CodeReserved, problem: "is no address of a host"}
	}
	into.IP = ip
	return nil
}

// scalarText returns a scalar's text and what YAML took it for.
func scalarText(n ast.Node) (text, kind string, ok bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		if n.Token.Type == token.StringType && isDecimal(n.Value) {
			return n.Value, kindInteger, true // so many digits that the parser took them for a text
		}
		return n.Value, kindText, true
	case *ast.LiteralNode:
		return strings.TrimRight(n.Value.Value, "\n"), kindText, true
	case *ast.IntegerNode:
		return n.Token.Value, kindInteger, true
	case *ast.FloatNode:
		return n.Token.Value, kindNumber, true
	case *ast.NanNode:
		return n.Token.Value, kindNumber, true
	case *ast.InfinityNode:
		return n.Token.Value, kindNumber, true
	case *ast.BoolNode:
		return n.Token.Value, kindBoolean, true
	}
	return "", "", false
}

// written returns a scalar as it stands in the file; "" for anything else.
func written(n ast.Node) string {
	text, kind, ok := scalarText(n)
	if !ok {
		return ""
	}
	if kind == kindText {
		return strconv.Quote(words.Shorten(text))
	}
	return text
}

func typeOf(n ast.Node) string {
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
