// SPDX-License-Identifier: Apache-2.0

package show

import (
	"fmt"
	"strings"
	"time"
)

// Style says how to print. The zero value prints plain text and takes the zero time for now.
type Style struct {
	Colour bool
	Now    time.Time
	// Width is that of the terminal, in columns; 0: there is none, texts break at 80 and tables not at all.
	Width int
}

// The colours are those of every terminal's own palette.
func (s Style) paint(code, text string) string {
	if !s.Colour {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s Style) bold(text string) string { return s.paint("1", text) }
func (s Style) good(text string) string { return s.paint("32", text) }
func (s Style) care(text string) string { return s.paint("33", text) }
func (s Style) bad(text string) string  { return s.paint("1;31", text) }

// Duration prints a length of time with at most two units: 0.4s, 12s, 4m 20s, 3h 5m, 2d 4h.
func Duration(d time.Duration) string {
	if d < 0 {
		return "-" + Duration(-d)
	}
	two := func(big, small time.Duration, a, b string) string {
		if rest := d % big / small; rest > 0 {
			return fmt.Sprintf("%d%s %d%s", d/big, a, rest, b)
		}
		return fmt.Sprintf("%d%s", d/big, a)
	}
	const day = 24 * time.Hour
	switch {
	case d < 10*time.Second:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", d.Truncate(100*time.Millisecond).Seconds()), ".0") + "s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < time.Hour:
		return two(time.Minute, time.Second, "m", "s")
	case d < day:
		return two(time.Hour, time.Minute, "h", "m")
	}
	return two(day, time.Hour, "d", "h")
}

// secondsText prints a number of seconds.
func secondsText(s float64) string { return Duration(time.Duration(s * float64(time.Second))) }

// ago prints how long a moment is past.
func (s Style) ago(t time.Time) string {
	d := s.Now.Sub(t)
	if d < time.Second {
		return "just now"
	}
	return Duration(d) + " ago"
}

// until prints how long a moment is ahead.
func (s Style) until(t time.Time) string {
	d := max(t.Sub(s.Now), 0).Round(time.Second)
	if d == 0 {
		return "moments"
	}
	return Duration(d)
}

// Count prints a number with commas between thousands.
func Count[N int | uint64](n N) string {
	digits := fmt.Sprint(n)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// Plural prints a number and its noun.
func Plural[N int | uint64](n N, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return Count(n) + " " + noun + "s"
}

// share prints a part of a whole in percent; what is not zero never prints as zero.
func share(part, whole uint64) string {
	if whole == 0 {
		return ""
	}
	p := 100 * float64(part) / float64(whole)
	if part > 0 && p < 0.1 {
		return "<0.1%"
	}
	if part < whole && p > 99.9 {
		return ">99.9%"
	}
	return fmt.Sprintf("%.1f%%", p)
}
