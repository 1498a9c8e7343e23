// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxWidth is how wide anything gets: half a modern screen, all of an old one.
	maxWidth = 80
	// plainEvery is how often a pipe gets a line about the visitors.
	plainEvery = 2 * time.Second
	// redrawEvery is how often a terminal's panel is drawn.
	redrawEvery = 250 * time.Millisecond
)

// The escape sequences that are used, all of them in ECMA-48.
const (
	eraseBelow = "\x1b[J"
	cursorUp   = "\x1b[%dA"
	bold       = "\x1b[1m"
	dim        = "\x1b[2m"
	green      = "\x1b[32m"
	red        = "\x1b[31m"
	plain      = "\x1b[0m"
)

// screen prints what happens. On a terminal a panel about the visitors stays below the text and is redrawn in place;
// a pipe gets lines only, and not one escape sequence.
type screen struct {
	tty, color bool
	width      func() int // of the terminal now
	failed     func(error)

	mu     sync.Mutex // guards all below, and orders what is written
	out    io.Writer
	err    error
	panel  []string // what stands below the text on a terminal, as it was drawn
	latest sample
	last   time.Duration // when the last plain sample was printed
}

// newScreen prints to o.Out. failed is called once when that cannot be written any more.
func newScreen(o Options, failed func(error)) *screen {
	s := &screen{tty: o.TTY, color: o.TTY && o.Color, out: o.Out, failed: failed, last: -plainEvery}
	s.width = func() int { return o.Width }
	if f, ok := o.Out.(*os.File); ok && o.TTY {
		s.width = func() int {
			if w := terminalWidth(f); w > 0 {
				return w
			}
			return o.Width
		}
	}
	return s
}

// terminalWidth returns the columns of a terminal, 0 when it does not say.
func terminalWidth(f *os.File) int {
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0
	}
	return int(size.Col)
}

// columns returns how many columns may be used. The last one stays free: some terminals wrap when it is written.
func (s *screen) columns() int {
	w := s.width()
	if w <= 0 {
		w = maxWidth
	}
	return max(20, min(w, maxWidth)-1)
}

// headline begins an act.
func (s *screen) headline(text string) { s.print("", s.paint(bold, text)) }

// command shows a command line as a person would type it. An argument with a blank gets quotes.
func (s *screen) command(args ...string) {
	quoted := make([]string, len(args))
	for i, a := range args {
		quoted[i] = a
		if strings.ContainsAny(a, " ;") {
			quoted[i] = `"` + a + `"`
		}
	}
	s.wrap("  $ ", "      ", "spillway "+strings.Join(quoted, " "))
}

// say prints a line of evidence.
func (s *screen) say(format string, args ...any) { s.wrap("  ", "    ", fmt.Sprintf(format, args...)) }

// quote prints a line that another program wrote.
func (s *screen) quote(line string) { s.wrap("  | ", "  |   ", line) }

// wrap prints text with a first and a hanging indent.
func (s *screen) wrap(first, next, text string) {
	var lines []string
	indent := first
	for _, l := range fold(text, s.columns()-len(next)) {
		lines = append(lines, indent+l)
		indent = next
	}
	s.print(lines...)
}

// print writes lines above the panel.
func (s *screen) print(lines ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	s.erase(&b)
	for _, l := range lines {
		b.WriteString(l)
		b.WriteByte('\n')
	}
	s.draw(&b)
	s.write(b.String())
}

// show brings the newest sample to the screen.
func (s *screen) show(x sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.tty {
		if x.at-s.last >= plainEvery {
			s.last = x.at
			s.write(x.line() + "\n")
		}
		return
	}
	s.latest = x
	var b strings.Builder
	s.erase(&b)
	s.draw(&b)
	s.write(b.String())
}

// clear removes the panel for good.
func (s *screen) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	var b strings.Builder
	s.erase(&b)
	s.latest = sample{}
	s.write(b.String())
}

// erase moves to where the panel begins and removes it; s.mu is held.
func (s *screen) erase(b *strings.Builder) {
	if len(s.panel) == 0 {
		return
	}
	fmt.Fprintf(b, cursorUp+"\r"+eraseBelow, len(s.panel))
	s.panel = nil
}

// draw puts the panel below the text; s.mu is held.
func (s *screen) draw(b *strings.Builder) {
	if !s.tty || s.latest.at == 0 {
		return
	}
	s.panel = s.latest.panel(s.columns())
	for i, l := range s.panel {
		if i == 0 {
			l = s.paint(dim, l)
		}
		b.WriteString(l)
		b.WriteByte('\n')
	}
}

// write is the only one who writes; s.mu is held. A reader who has left is told once.
func (s *screen) write(text string) {
	if s.err != nil || text == "" {
		return
	}
	if _, s.err = io.WriteString(s.out, text); s.err != nil {
		s.failed(s.err)
	}
}

func (s *screen) paint(color, text string) string {
	if !s.color {
		return text
	}
	return color + text + plain
}

// fold breaks text between words into lines of at most width columns; a longer word stays whole.
func fold(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case columnsOf(line)+1+columnsOf(word) <= width:
			line += " " + word
		default:
			lines = append(lines, line)
			line = word
		}
	}
	return append(lines, line)
}

// columnsOf counts characters; the demo prints nothing wide.
func columnsOf(text string) int { return strings.Count(text, "") - 1 }
