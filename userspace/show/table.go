// SPDX-License-Identifier: Apache-2.0

package show

import (
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
func wrap(text string, start int) string {
	const width = 80
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
