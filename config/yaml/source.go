// SPDX-License-Identifier: Apache-2.0

package yaml

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spillway/spillway/config/words"
)

const (
	// MaxBytes and MaxMarks bound what the YAML parser is asked to do: 600,000 marks of any shape took it less
	// than 2 s and 560 MiB, the 65,535 rules of a full bundle 1.3 s. Longer lists go into files of their own.
	MaxBytes = 8 << 20
	MaxMarks = 600_000
	// MaxListBytes bounds a list file; it is read line by line.
	MaxListBytes = 256 << 20

	excerptWidth = 100
)

// Position is a place in a file, both from 1; the column counts characters.
type Position struct{ Line, Column int }

// Source is one YAML file, and how its lines are found again.
type Source struct {
	Name   string
	size   int
	text   string
	starts []int
}

// NewSource takes the bytes of a file; name is for the faults.
func NewSource(name string, data []byte) *Source {
	if len(data) > MaxBytes { // nothing is made of it: the starts of its lines alone may be many times its size
		return &Source{Name: name, size: len(data), starts: []int{0}}
	}
	s := &Source{size: len(data), Name: name, text: strings.TrimPrefix(string(data), "\ufeff"), starts: []int{0}}
	for i := range len(s.text) {
		if s.text[i] == '\n' {
			s.starts = append(s.starts, i+1)
		}
	}
	return s
}

// Line returns line n without its end; "" when there is none.
func (s *Source) Line(n int) string {
	if n < 1 || n > len(s.starts) {
		return ""
	}
	text := s.text[s.starts[n-1]:]
	if i := strings.IndexByte(text, '\n'); i >= 0 {
		text = text[:i]
	}
	return strings.TrimSuffix(text, "\r")
}

// Fault makes a fault of this file with its excerpt.
func (s *Source) Fault(code string, at Position, path, value, problem, valid string) Fault {
	line := s.Line(at.Line)
	at.Column = min(at.Column, utf8.RuneCountInString(line)+1) // the parser puts a missing value behind the end
	f := Fault{Code: code, File: s.Name, Line: at.Line, Column: at.Column, Path: path, Value: words.Shorten(value),
		Problem: problem, Valid: valid}
	f.Excerpt = Excerpt(line, at)
	return f
}

// checkText refuses what no YAML reader should see: it is not text.
func (s *Source) checkText(out *Collector) bool {
	if s.size > MaxBytes {
		out.Add(Fault{Code: CodeFile, File: s.Name, Value: strconv.Itoa(s.size) + " bytes", Problem: "the file is too long",
			Valid: fmt.Sprintf("up to %d MiB; long lists go into a file of their own (file: lists/name.netset)",
				MaxBytes>>20)})
		return false
	}
	if n := marks(s.text); n > MaxMarks {
		out.Add(Fault{Code: CodeFile, File: s.Name, Value: fmt.Sprintf("%d marks", n), Problem: "the file has too many rows",
			Valid: fmt.Sprintf(
				"up to %d YAML marks (- : , [ ] and so on); long lists go into a file of their own (file: lists/name.netset)",
				MaxMarks)})
		return false
	}
	for n := 1; n <= len(s.starts); n++ {
		if at, problem := BadText(s.Line(n)); problem != "" {
			out.AddAt(s, CodeSyntax, Position{n, at}, "", "", problem, "UTF-8 text")
			return false
		}
	}
	return true
}

// marks counts the characters that can make the YAML parser begin something new.
func marks(text string) int {
	n := 0
	for i := range len(text) {
		switch text[i] {
		case ',', '[', ']', '{', '}', '&', '*', '!', '%', '|', '>', '?', '#', '"', '\'', '@', '`':
			n++
		case '-', ':': // only before a blank, a mark or the end; addresses and texts are full of them
			if i+1 == len(text) || strings.IndexByte(" \t\r\n,[]{}\"'", text[i+1]) >= 0 {
				n++
			}
		}
	}
	return n
}

// BadText finds a byte that is not UTF-8, a NUL, or a carriage return within the line, and returns its column.
func BadText(line string) (column int, problem string) {
	if i := strings.IndexByte(line, '\r'); i >= 0 { // the YAML parser would count another line
		return utf8.RuneCountInString(line[:i]) + 1, "a carriage return without a line feed"
	}
	if i := strings.IndexByte(line, 0); i >= 0 {
		return utf8.RuneCountInString(line[:i]) + 1, "a NUL byte in the text"
	}
	if utf8.ValidString(line) {
		return 0, ""
	}
	column = 1
	for len(line) > 0 {
		r, size := utf8.DecodeRuneInString(line)
		if r == utf8.RuneError && size == 1 {
			break
		}
		line, column = line[size:], column+1
	}
	return column, "a byte that is not UTF-8"
}

// Excerpt returns the line and a caret under the column. Characters that could act on a terminal are replaced.
func Excerpt(line string, at Position) string {
	if at.Line == 0 || line == "" {
		return ""
	}
	runes := []rune(line)
	column := min(max(at.Column, 1), len(runes)+1)
	start := 0
	if column > excerptWidth-20 {
		start = column - excerptWidth/2
	}
	end := min(len(runes), start+excerptWidth)
	shown := make([]rune, 0, end-start)
	for _, r := range runes[start:end] {
		shown = append(shown, words.Visible(r))
	}
	return fmt.Sprintf("%5d | %s\n      | %s^", at.Line, string(shown), strings.Repeat(" ", column-1-start))
}
