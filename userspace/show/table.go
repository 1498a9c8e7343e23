// SPDX-License-Identifier: Apache-2.0

package show

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// table aligns columns; the last one is free. Cells must not hold colours: tabwriter counts their bytes as width.
type table struct {
	w      *tabwriter.Writer
	indent string
}

func newTable(w io.Writer, indent string, heading ...string) *table {
	t := &table{tabwriter.NewWriter(w, 0, 8, 2, ' ', 0), indent}
	if len(heading) > 0 {
		t.row(heading...)
	}
	return t
}

func (t *table) row(cells ...string) {
	for i, c := range cells {
		if cells[i] = strings.ReplaceAll(c, "\t", " "); c == "" {
			cells[i] = "-"
		}
	}
	_, _ = io.WriteString(t.w, t.indent+strings.Join(cells, "\t")+"\n")
}

func (t *table) end() { _ = t.w.Flush() }

// wrap breaks a text at blanks so that no line is longer than 80 columns, where that is possible. The text begins in
// column start; following lines are indented to the same column.
func wrap(text string, start int) string { return broken(text, start, 80) }

// wrap is that for this terminal, where it is narrower.
func (s Style) wrap(text string, start int) string {
	if s.Width == 0 {
		return wrap(text, start)
	}
	return broken(text, min(start, s.Width/2), min(s.Width, 80))
}

// hang prints a table whose last column is a text. On a terminal its lines hang under their column, or, where that
// leaves little, under their row.
func (s Style) hang(w io.Writer, heading string, print func(io.Writer)) {
	if s.Width == 0 {
		print(w)
		return
	}
	var all strings.Builder
	print(&all)
	start := -1
	for l := range strings.Lines(all.String()) {
		l = strings.TrimSuffix(l, "\n")
		if at := strings.LastIndex(l, heading); start < 0 && at >= 0 {
			start = len([]rune(l[:at]))
		}
		row := []rune(l)
		switch {
		case start < 0 || len(row) <= s.Width || start >= len(row):
			fmt.Fprintln(w, l)
		case s.Width-start >= 40:
			fmt.Fprintln(w, string(row[:start])+broken(string(row[start:]), start, s.Width))
		default:
			fmt.Fprintln(w, strings.TrimRight(string(row[:start]), " "))
			fmt.Fprintln(w, "    "+broken(string(row[start:]), 4, s.Width))
		}
	}
}

func broken(text string, start, width int) string {
	var b strings.Builder
	column := start
	for i, word := range strings.Fields(text) {
		n := len([]rune(word))
		switch {
		case i == 0:
		case column+1+n > width:
			b.WriteString("\n" + strings.Repeat(" ", start))
			column = start
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += n
	}
	return b.String()
}
