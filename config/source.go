// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spillway/spillway/config/words"
)

const (
	// maxYAMLBytes and maxYAMLMarks bound what the YAML parser is asked to do: 600,000 marks of any shape took it less
	// than 2 s and 560 MiB, the 65,535 rules of a full bundle 1.3 s. Longer lists go into files of their own.
	maxYAMLBytes = 8 << 20
	maxYAMLMarks = 600_000
	// maxListBytes bounds a list file; it is read line by line.
	maxListBytes = 256 << 20

	excerptWidth = 100
)

// position is a place in a file, both from 1; the column counts characters.
type position struct{ line, column int }

// source is one YAML file, and how its lines are found again.
type source struct {
	name   string
	size   int
	text   string
	starts []int
}

// MaxYAMLBytes is the longest YAML file that is read.
const MaxYAMLBytes = maxYAMLBytes

func newSource(name string, data []byte) *source {
	if len(data) > maxYAMLBytes { // nothing is made of it: the starts of its lines alone may be many times its size
		return &source{name: name, size: len(data), starts: []int{0}}
	}
	s := &source{size: len(data), name: name, text: strings.TrimPrefix(string(data), "\ufeff"), starts: []int{0}}
	for i := range len(s.text) {
		if s.text[i] == '\n' {
			s.starts = append(s.starts, i+1)
		}
	}
	return s
}

// line returns line n without its end; "" when there is none.
func (s *source) line(n int) string {
	if n < 1 || n > len(s.starts) {
		return ""
	}
	text := s.text[s.starts[n-1]:]
	if i := strings.IndexByte(text, '\n'); i >= 0 {
		text = text[:i]
	}
	return strings.TrimSuffix(text, "\r")
}

// fault makes a fault of this file with its excerpt.
func (s *source) fault(code string, at position, path, value, problem, valid string) Fault {
	line := s.line(at.line)
	at.column = min(at.column, utf8.RuneCountInString(line)+1) // the parser puts a missing value behind the end
	f := Fault{Code: code, File: s.name, Line: at.line, Column: at.column, Path: path, Value: words.Shorten(value),
		Problem: problem, Valid: valid}
	f.Excerpt = excerpt(line, at)
	return f
}

// checkText refuses what no YAML reader should see: it is not text.
func (s *source) checkText(out *collector) bool {
	if s.size > maxYAMLBytes {
		out.add(Fault{Code: CodeFile, File: s.name, Value: strconv.Itoa(s.size) + " bytes", Problem: "the file is too long",
			Valid: fmt.Sprintf("up to %d MiB; long lists go into a file of their own (file: lists/name.netset)",
				maxYAMLBytes>>20)})
		return false
	}
	if n := marks(s.text); n > maxYAMLMarks {
		out.add(Fault{Code: CodeFile, File: s.name, Value: fmt.Sprintf("%d marks", n), Problem: "the file has too many rows",
			Valid: fmt.Sprintf(
				"up to %d YAML marks (- : , [ ] and so on); long lists go into a file of their own (file: lists/name.netset)",
				maxYAMLMarks)})
		return false
	}
	for n := 1; n <= len(s.starts); n++ {
		if at, problem := badText(s.line(n)); problem != "" {
			out.addAt(s, CodeSyntax, position{n, at}, "", "", problem, "UTF-8 text")
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

// badText finds a byte that is not UTF-8, a NUL, or a carriage return within the line, and returns its column.
func badText(line string) (column int, problem string) {
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

// excerpt returns the line and a caret under the column. Characters that could act on a terminal are replaced.
func excerpt(line string, at position) string {
	if at.line == 0 || line == "" {
		return ""
	}
	runes := []rune(line)
	column := min(max(at.column, 1), len(runes)+1)
	start := 0
	if column > excerptWidth-20 {
		start = column - excerptWidth/2
	}
	end := min(len(runes), start+excerptWidth)
	shown := make([]rune, 0, end-start)
	for _, r := range runes[start:end] {
		shown = append(shown, words.Visible(r))
	}
	return fmt.Sprintf("%5d | %s\n      | %s^", at.line, string(shown), strings.Repeat(" ", column-1-start))
}
