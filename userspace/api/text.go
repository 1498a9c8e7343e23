// SPDX-License-Identifier: Apache-2.0

package api

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// MaxText is the longest text of a request in bytes: a reason is a sentence.
	MaxText = 500
	// maxPath is the longest name of a bundle's file: PATH_MAX.
	maxPath = 4096
)

// Unsafe reports whether a character may do something to a terminal or a log instead of being seen: controls (C0, DEL,
// C1), what turns the direction of text, and what ends a line.
func Unsafe(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// Visible returns text with what is unsafe, or no UTF-8, written as an escape that can be read.
func Visible(text string) string {
	safe := true
	for _, r := range text {
		safe = safe && !Unsafe(r) && r != utf8.RuneError
	}
	if safe {
		return text
	}
	var b strings.Builder
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, text[i])
		case Unsafe(r):
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			b.WriteRune(r)
		}
		i += n
	}
	return b.String()
}

// CheckText refuses a text that is too long, is no UTF-8, or has something unsafe in it. what names it in the error.
func CheckText(what, text string) error { return checkText(what, text, MaxText) }

func checkText(what, text string, most int) error {
	refuse := func(problem string, v ...any) error {
		return &Error{Code: CodeInvalid, Message: what + " " + fmt.Sprintf(problem, v...),
			Fix: fmt.Sprintf("write plain text of at most %d bytes on one line", most)}
	}
	if len(text) > most {
		return refuse("has %d bytes; at most %d", len(text), most)
	}
	for i, r := range text {
		if _, n := utf8.DecodeRuneInString(text[i:]); r == utf8.RuneError && n == 1 {
			return refuse("is no UTF-8 at byte %d", i+1)
		}
		if Unsafe(r) {
			return refuse("has a control character (U+%04X) at byte %d", r, i+1)
		}
	}
	return nil
}

// checkTexts checks every text of a request, so that no field is forgotten. A tag text:"path" allows the length of a
// path.
func checkTexts(request any) error {
	v := reflect.Indirect(reflect.ValueOf(request))
	for i := range v.NumField() {
		f, field := v.Type().Field(i), v.Field(i)
		if field.Kind() != reflect.String {
			continue
		}
		most := MaxText
		if f.Tag.Get("text") == "path" {
			most = maxPath
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if err := checkText(strconv.Quote(name), field.String(), most); err != nil {
			return err
		}
	}
	return nil
}
