// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"unicode/utf8"

	"github.com/spillway/spillway/config/yaml"
)

// row is one prefix of a list, and where it stands. Lists have up to millions of them.
type row struct {
	prefix netip.Prefix
	line   int32
	column int32
	block  int32 // index of the block in the bundle
	inFile bool  // in the block's list file
}

// compareRows orders by prefix, and equal ones as they were read.
func compareRows(a, b row) int {
	if c := comparePrefix(a.prefix, b.prefix); c != 0 {
		return c
	}
	return a.compareOrder(b)
}

func (r row) compareOrder(b row) int {
	if r.inFile != b.inFile && r.block == b.block {
		if b.inFile {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(r.block, b.block), cmp.Compare(r.line, b.line), cmp.Compare(r.column, b.column))
}

func (r row) at() yaml.Position { return yaml.Position{Line: int(r.line), Column: int(r.column)} }

// maxListLine bounds one line of a list file, with its comment.
const maxListLine = 64 << 10

// scanLines calls each for every line of a list file that is not blank or a comment, with its first field. It stops at
// the first fault of the file itself and returns it as an error. It takes the lines that it reads from left, blank ones
// included: they cost work too.
func scanLines(fsys fs.FS, name string, left *int, each func(line []byte, field []byte, at yaml.Position) error) error {
	f, err := yaml.OpenFile(fsys, name, yaml.MaxListBytes)
	if err != nil {
		return err
	}
	defer f.Close()
	scanner := bufio.NewScanner(f)
	scanner.Buffer(make([]byte, maxListLine), maxListLine)
	n := 0
	for scanner.Scan() {
		n++
		if *left--; *left < 0 {
			return errTooManyLines
		}
		line := scanner.Bytes()
		if n == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		start := 0
		for start < len(line) && blank(line[start]) {
			start++
		}
		end := start
		for end < len(line) && !blank(line[end]) && !ends(line[end]) {
			end++
		}
		if end == start && clean(line) && (start == len(line) || line[start] != ',') {
			continue
		}
		if err := each(line, line[start:end], yaml.Position{Line: n, Column: start + 1}); err != nil {
			return err
		}
	}
	if err := scanner.Err(); errors.Is(err, bufio.ErrTooLong) {
		return fmt.Errorf("line %d is longer than %d bytes", n+1, maxListLine)
	} else if err != nil {
		return err
	}
	return nil
}

func blank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }
func ends(c byte) bool  { return c == '#' || c == ';' || c == ',' }
func clean(b []byte) bool {
	return bytes.IndexByte(b, 0) < 0 && utf8.Valid(b)
}
