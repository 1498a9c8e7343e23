// SPDX-License-Identifier: Apache-2.0

package demo

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func sampleAt(at time.Duration) sample {
	return sample{at: at, act: 2, rate: 27.4, p99: 11_400 * time.Microsecond, served: 640,
		syns: 100, answers: 0, asked: 20, pages: 0, browser: clientSample{"Chromium 156", tally{asked: 2, served: 2}},
		bots: []clientSample{{goName, tally{asked: 4}}, {pythonName, tally{asked: 5, resets: 5}},
			{mimicName, tally{asked: 4}}}}
}

// scene is what every golden frame shows.
func scene(s *screen) {
	s.headline("2  Enforce: the bots stop, the visitors do not notice")
	s.command("bypass", "on", "--for", "10m", "--reason", "show the kill switch")
	s.show(sampleAt(6 * time.Second))
	s.say("In 2.0 s: scanner 0 answers to 101 SYNs, crawler 0 of 20 pages. And one word more to fold.")
	s.show(sampleAt(7 * time.Second)) // a pipe leaves it out: too early
	s.quote("lists/every-row-twice.netset:2:1: 198.19.0.0/32 stands twice")
	s.show(sampleAt(8 * time.Second))
}

func newTestScreen(out *strings.Builder, o Options) *screen {
	o.Out = out
	return newScreen(o, func(error) {})
}

func TestPipe(t *testing.T) {
	var out strings.Builder
	s := newTestScreen(&out, Options{Color: true})
	scene(s)
	s.clear()
	want := `
2  Enforce: the bots stop, the visitors do not notice
  $ spillway bypass on --for 10m --reason "show the kill switch"
    6 s  visitors 27/s, p99 11 ms, errors 0 | SYN 0/100, net 0/20, JA4 0/13
  In 2.0 s: scanner 0 answers to 101 SYNs, crawler 0 of 20 pages. And one
    word more to fold.
  | lists/every-row-twice.netset:2:1: 198.19.0.0/32 stands twice
    8 s  visitors 27/s, p99 11 ms, errors 0 | SYN 0/100, net 0/20, JA4 0/13
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func TestTerminalFrame(t *testing.T) {
	var out strings.Builder
	s := newTestScreen(&out, Options{TTY: true, Width: 80})
	scene(s)
	want := []string{
		"",
		"2  Enforce: the bots stop, the visitors do not notice",
		`  $ spillway bypass on --for 10m --reason "show the kill switch"`,
		"  In 2.0 s: scanner 0 answers to 101 SYNs, crawler 0 of 20 pages. And one",
		"    word more to fold.",
		"  | lists/every-row-twice.netset:2:1: 198.19.0.0/32 stands twice",
		"-- 8 s ------------------------------------------------------- act 2 of 9 --",
		"  visitors  27/s, p99 11 ms, errors 0, served 640; Chromium 156 2/2",
		"  bots      scanner 0 of 100 SYNs answered, crawler 0 of 20 pages",
		"  by JA4    Go net/http 0/4, Python http.client 0/5, uTLS as Chrome 133 0/4",
	}
	want[6] = "-- 8 s " + strings.Repeat("-", 79-len("-- 8 s ")-len(" act 2 of 9 --")) + " act 2 of 9 --"
	if diff := cmp.Diff(want, terminal(t, out.String(), 80)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	s.clear()
	if diff := cmp.Diff(want[:6], terminal(t, out.String(), 80)); diff != "" {
		t.Errorf("after clear (-want +got)\n%s", diff)
	}
	if strings.Contains(out.String(), "\x1b[1m") {
		t.Error("colour without Color")
	}
}

func TestTerminalColourAddsNothingButColour(t *testing.T) {
	var dull, bright strings.Builder
	for out, color := range map[*strings.Builder]bool{&dull: false, &bright: true} {
		s := newTestScreen(out, Options{TTY: true, Color: color, Width: 80})
		scene(s)
		s.table(exampleLedger())
	}
	if bright.String() == dull.String() {
		t.Error("no colour with Color")
	}
	without := regexp.MustCompile(`\x1b\[\d+m`).ReplaceAllString(bright.String(), "")
	if diff := cmp.Diff(dull.String(), without); diff != "" {
		t.Errorf("(-dull +bright without colours)\n%s", diff)
	}
}

// No panel may wrap, at any width: a wrapped line would not be erased.
func TestPanelFitsAnyWidth(t *testing.T) {
	for width := range 130 {
		var out strings.Builder
		s := newTestScreen(&out, Options{TTY: true, Width: width})
		x := sampleAt(123 * time.Second)
		x.errors, x.lastErr = 3, "dial: timeout: "+strings.Repeat("long ", 30)
		s.show(x)
		for _, l := range s.panel {
			if limit := max(20, width-1); width > 0 && columnsOf(l) > limit {
				t.Errorf("width %d: %d columns: %s", width, columnsOf(l), l)
			}
			if columnsOf(l) > maxWidth {
				t.Errorf("width %d: wider than %d: %s", width, maxWidth, l)
			}
		}
	}
}

func exampleLedger() ledger {
	l := newLedger()
	l.see(observeBlocksNothing, true, "226 would be blocked, 0 were")
	l.see(enforceStopsBots, false, "3 answers to 100 SYNs, 0 of 20 pages")
	l.see(enforceStopsBots, true, "too late")
	return l
}

func TestTable(t *testing.T) {
	var out strings.Builder
	l := exampleLedger()
	l.leave(ja4SparesBrowser, "left out: Chromium")
	newTestScreen(&out, Options{}).table(l[:4])
	if l.tried() != len(l)-1 || l.broken() != len(l)-2 {
		t.Errorf("%d were tried and %d broken, of %d", l.tried(), l.broken(), len(l))
	}
	want := `
promised                               seen                                held
observe: counts, blocks nothing        226 would be blocked, 0 were        yes
enforce: the bots get nothing          3 answers to 100 SYNs, 0 of 20      NO
                                       pages
JA4: bots among visitors get nothing   not reached                         no
JA4: a browser, same SYN, is served    left out: Chromium                  -
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, p := range newLedger() {
		if columnsOf(p.text) > promisedWidth {
			t.Errorf("wider than its column: %s", p.text)
		}
	}
}

type goneReader struct{}

func (goneReader) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestReaderWhoLeftIsToldOnce(t *testing.T) {
	told := 0
	s := newScreen(Options{Out: goneReader{}}, func(error) { told++ })
	scene(s)
	if told != 1 {
		t.Errorf("told %d times, want once", told)
	}
}

// terminal shows what the used escape sequences make of text on a terminal of this width, without trailing empty lines.
func terminal(t *testing.T, text string, width int) []string {
	t.Helper()
	lines, row := []string{""}, 0
	sequence := regexp.MustCompile(`^\x1b\[(\d*)([AJm])`)
	for text != "" {
		if m := sequence.FindStringSubmatch(text); m != nil {
			switch m[2] {
			case "A":
				var up int
				if _, err := fmt.Sscan(m[1], &up); err != nil || up > row {
					t.Fatalf("cursor up %s from row %d", m[1], row)
				}
				row -= up
			case "J":
				lines = append(lines[:row], "")
			}
			text = text[len(m[0]):]
			continue
		}
		switch c := text[0]; c {
		case '\n':
			if row++; row == len(lines) {
				lines = append(lines, "")
			}
		case '\r':
		case '\x1b':
			t.Fatalf("unknown sequence %q", text[:min(8, len(text))])
		default:
			lines[row] += string(c)
			if len(lines[row]) >= width {
				t.Fatalf("line reaches column %d: %s", width, lines[row])
			}
		}
		text = text[1:]
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}
