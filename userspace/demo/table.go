// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"fmt"
	"strings"
)

// The columns of the table; with two blanks between them and four for the last they fit 79.
const (
	promisedWidth = 37
	seenWidth     = 34
)

// table prints what was promised, what was seen, and whether it held.
func (s *screen) table(l ledger) {
	lines := []string{"", s.paint(bold, row("promised", "seen", "held"))}
	for _, p := range l {
		held, color := "yes", green
		switch {
		case p.left:
			held, color = "-", dim
		case p.seen == "":
			p.seen, held, color = "not reached", "no", red
		case !p.held:
			held, color = "NO", red
		}
		seen := fold(p.seen, seenWidth)
		lines = append(lines, row(p.text, seen[0], s.paint(color, held)))
		for _, more := range seen[1:] {
			lines = append(lines, row("", more, ""))
		}
	}
	s.print(lines...)
}

func row(promised, seen, held string) string {
	return strings.TrimRight(fmt.Sprintf("%-*s  %-*s  %s", promisedWidth, promised, seenWidth, seen, held), " ")
}
