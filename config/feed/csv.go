// SPDX-License-Identifier: Apache-2.0

package feed

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/spillway/spillway/config/words"
)

// csvLines reads one column of lines with several (RFC 4180), in which no cell has a line break. The names of the
// columns are in the first line that is no comment, or in a comment: some publishers hide them there from simple
// readers.
type csvLines struct {
	column    int // from 0; -1 until the header names it
	name      string
	separator byte
	begun     bool // a line came that is no comment
	cells     []cell
}

// cell is one column of a line, without its quotes.
type cell struct {
	text []byte
	at   int // offset in the line
}

func newCSV(o Options) *csvLines {
	c := &csvLines{column: o.Column.Number - 1, name: o.Column.Name, separator: o.Separator}
	if c.separator == 0 {
		c.separator = ','
	}
	return c
}

func (c *csvLines) read(line []byte, row *Row, sum *Summary) (bool, *Misfit) {
	if commented(line) {
		if c.column < 0 && !c.begun {
			c.header(bytes.TrimLeft(line, "#; \t"), row, sum)
		}
		return false, nil
	}
	first := !c.begun
	c.begun = true
	cells, ok := cellsOf(bytes.TrimRight(line, "\r"), c.separator, c.cells)
	c.cells = cells
	if !ok {
		row.Text, row.Problem = line, "has a quoted cell that does not end where its column does"
		return true, nil
	}
	if first && c.column < 0 && c.header(line, row, sum) {
		return false, nil
	}
	if c.column < 0 {
		return false, &Misfit{Problem: fmt.Sprintf("no header names a column %s; this line has %s", words.Shorten(c.name),
			named(cells)),
			Valid: "column: and a name of the header, or the column's number from 1"}
	}
	if c.column >= len(cells) {
		row.Text = line
		row.Problem = fmt.Sprintf("has %s, and the address would be in column %d", counted(len(cells)), c.column+1)
		return true, nil
	}
	found := cells[c.column]
	if first && sum.Header == 0 && isTitle(found.text) {
		sum.Header = row.At.Line
		return false, nil
	}
	row.At.Column += found.at
	row.readPrefix(bytes.TrimSpace(found.text))
	return true, nil
}

// header looks for the column in a line of names.
func (c *csvLines) header(line []byte, row *Row, sum *Summary) bool {
	cells, ok := cellsOf(bytes.TrimRight(line, "\r"), c.separator, nil)
	for i, cell := range cells {
		if ok && strings.EqualFold(strings.TrimSpace(string(cell.text)), c.name) {
			c.column, sum.Header = i, row.At.Line
			return true
		}
	}
	return false
}

// isTitle reports whether a cell is the name of a column: a word, and no address with a slip.
func isTitle(text []byte) bool {
	text = bytes.TrimSpace(text)
	return len(text) > 0 && bytes.IndexAny(text, ".:/") < 0 && bytes.IndexAny(text[:1], "0123456789") < 0
}

// cellsOf splits a line; ok is false where a quoted cell does not end with its column. A blank separates however
// often it comes.
func cellsOf(line []byte, separator byte, cells []cell) (out []cell, ok bool) {
	out = cells[:0]
	for i := 0; i <= len(line); {
		if separator == ' ' {
			for i < len(line) && blank(line[i]) {
				i++
			}
			if i == len(line) {
				break
			}
		}
		start := i
		for i < len(line) && separator != ' ' && separator != '\t' && blank(line[i]) {
			i++
		}
		if i < len(line) && line[i] == '"' {
			text, end, closed := quoted(line, i+1)
			if !closed {
				return out, false
			}
			out = append(out, cell{text, i + 1})
			for i = end; i < len(line) && !separates(line[i], separator); i++ {
				if !blank(line[i]) {
					return out, false
				}
			}
			i++
			continue
		}
		i = start
		for i < len(line) && !separates(line[i], separator) {
			i++
		}
		out = append(out, cell{line[start:i], start})
		i++
	}
	return out, true
}

func separates(c, separator byte) bool { return c == separator || separator == ' ' && blank(c) }

// quoted reads a cell from behind its opening quote on.
func quoted(line []byte, start int) (text []byte, end int, closed bool) {
	for i := start; i < len(line); i++ {
		switch {
		case line[i] != '"':
		case i+1 < len(line) && line[i+1] == '"':
			i++
		default:
			text = line[start:i]
			if bytes.IndexByte(text, '"') >= 0 {
				text = bytes.ReplaceAll(text, []byte(`""`), []byte(`"`))
			}
			return text, i + 1, true
		}
	}
	return nil, len(line), false
}

// named are the cells of a line for a sentence, or how many there are.
func named(cells []cell) string {
	var names []string
	for _, c := range cells[:min(len(cells), 8)] {
		names = append(names, words.Shorten(string(bytes.TrimSpace(c.text))))
	}
	return strings.Join(names, ", ")
}

func counted(columns int) string {
	if columns == 1 {
		return "one column"
	}
	return fmt.Sprintf("%d columns", columns)
}
