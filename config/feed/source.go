// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"unicode/utf8"

	"github.com/spillway/spillway/config/yaml"
)

// maxLine bounds one line, with its comment, and one text of JSON.
const maxLine = 64 << 10

// source is a file that is being read.
type source struct {
	r    *bufio.Reader
	sum  Summary
	good int // rows with prefixes
}

// longLine is an error: the line of that number is longer than any row.
type longLine int

func (n longLine) Error() string {
	return fmt.Sprintf("line %d is longer than %d bytes", int(n), maxLine)
}

// Lines calls each for every line of r with its number, until it returns an error.
func Lines(r io.Reader, each func(line []byte, n int) error) error {
	scanner := bufio.NewScanner(r)
	scanner.Buffer(make([]byte, maxLine), maxLine)
	n := 0
	for scanner.Scan() {
		n++
		line := scanner.Bytes()
		if n == 1 {
			line = bytes.TrimPrefix(line, byteOrderMark)
		}
		if err := each(line, n); err != nil {
			return err
		}
	}
	if errors.Is(scanner.Err(), bufio.ErrTooLong) {
		return longLine(n + 1)
	}
	return scanner.Err()
}

// lineImporter makes a row of one line that is not blank.
type lineImporter interface {
	// read fills the row, or returns false where the line has none (a comment, a header).
	read(line []byte, row *Row, sum *Summary) (bool, *Misfit)
}

// readLines reads a file of lines.
func (s *source) readLines(o Options, in lineImporter, each func(*Row) error) error {
	row, buf := Row{}, make([]netip.Prefix, 0, 1)
	return Lines(s.r, func(line []byte, n int) error {
		if s.sum.Lines = n; o.MaxLines > 0 && n > o.MaxLines {
			return ErrTooManyLines
		}
		start := 0
		for start < len(line) && blank(line[start]) {
			start++
		}
		row = Row{At: yaml.Position{Line: n, Column: start + 1}, Prefixes: buf[:0]}
		if !clean(line) {
			row.At.Column, row.Problem = yaml.BadText(string(line))
			row.Hard = bytes.IndexByte(line, 0) >= 0
			return each(&row)
		}
		if o.CountFrom != "" {
			s.sum.countFrom(line, o.CountFrom)
		}
		if start == len(line) {
			return nil
		}
		is, misfit := in.read(line[start:], &row, &s.sum)
		if misfit != nil {
			misfit.At.Line, misfit.At.Column = n, misfit.At.Column+start+1
			return misfit
		}
		buf = row.Prefixes
		if !is {
			return nil
		}
		return each(&row)
	})
}

func blank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }

func clean(b []byte) bool {
	for _, c := range b {
		if c == 0 || c >= utf8.RuneSelf {
			return bytes.IndexByte(b, 0) < 0 && utf8.Valid(b)
		}
	}
	return true
}

// commented reports whether a line that begins with no blank is a comment.
func commented(line []byte) bool { return line[0] == '#' || line[0] == ';' }

// countFrom takes the first number behind the text.
func (s *Summary) countFrom(line []byte, text string) {
	_, behind, ok := bytes.Cut(line, []byte(text))
	if !ok {
		return
	}
	start := bytes.IndexAny(behind, "0123456789")
	if start < 0 {
		return
	}
	n := 0
	for _, c := range behind[start:] {
		if c < '0' || c > '9' || n > 1<<40 {
			break
		}
		n = n*10 + int(c-'0')
	}
	s.Count = n
}

// tail keeps the end of what is read through it.
type tail struct {
	r    io.Reader
	kept []byte
}

// maxTail is how much of the last line is kept.
const maxTail = 4 << 10

// Read implements io.Reader.
func (t *tail) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	t.kept = append(t.kept, p[max(0, n-maxTail):n]...)
	if len(t.kept) > 2*maxTail {
		t.kept = append(t.kept[:0], t.kept[len(t.kept)-maxTail:]...)
	}
	return n, err
}

// lastLine returns the last line that is not blank.
func (t *tail) lastLine() []byte {
	text := bytes.TrimRight(t.kept, " \t\r\n")
	return bytes.Clone(text[bytes.LastIndexByte(text, '\n')+1:])
}
