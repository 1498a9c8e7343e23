// SPDX-License-Identifier: Apache-2.0

package fingerprint

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spillway/spillway/userspace/show"
)

// namesMax is how many names people are shown; programs get all.
const namesMax = 4

// Text returns a connection as a block of lines for people, one for each thing that is known.
func Text(c Connection) string {
	var b strings.Builder
	row := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "  %-7s %s\n", name, text)
		}
	}
	by := ""
	if c.By != "" {
		by = ", by " + c.By
	}
	fmt.Fprintf(&b, "%s > %s  (frame %d%s)\n", c.Client, c.Server, c.Frame, by)
	row("client", wrap(Names(c.Clients)))
	row("system", wrap(Names(c.Stacks)))
	if c.JA4 == "" {
		row("JA4", "none: "+c.Why)
	} else {
		row("JA4", c.JA4)
		if c.StableJA4 != c.JA4 {
			row("stable", c.StableJA4)
		}
		row("JA3", c.JA3)
	}
	row("MuonFP", c.MuonFP)
	row("p0f", c.P0F)
	row("JA4_r", c.JA4Raw) // long
	for _, n := range c.Notes {
		row("note", wrap(n))
	}
	return b.String()
}

// wrap breaks a text behind the name of a row at blanks, so that no line is longer than 80 columns where that is
// possible.
func wrap(text string) string {
	const start, width = 10, 80
	var b strings.Builder
	column := start
	for i, word := range strings.Fields(text) {
		switch n := len([]rune(word)); {
		case i > 0 && column+1+n > width:
			b.WriteString("\n" + strings.Repeat(" ", start))
			column = start + n
		case i > 0:
			b.WriteByte(' ')
			column += 1 + n
		default:
			column += n
		}
		b.WriteString(word)
	}
	return b.String()
}

// Names lists who is known to look like this: programs first, those that imitate one behind them. "" for nobody.
func Names(known []Known) string {
	var real, imitations []string
	for _, k := range known {
		into := &real
		if k.Kind == "imitation" {
			into = &imitations
		}
		if name := fmt.Sprintf("%s (%s)", k.Name, k.Versions); !slices.Contains(*into, name) {
			*into = append(*into, name)
		}
	}
	text := some(real)
	switch {
	case len(imitations) == 0:
	case text == "":
		text = "an imitation: " + some(imitations)
	default:
		text += "; or an imitation: " + some(imitations)
	}
	if text != "" && known[0].Match == MatchStable {
		text += " (by stable JA4)"
	}
	return text
}

// briefly lists the names without their versions.
func briefly(known []Known) string {
	var real []string
	imitated := false
	for _, k := range known {
		switch {
		case k.Kind == "imitation":
			imitated = true
		case !slices.Contains(real, k.Name):
			real = append(real, k.Name)
		}
	}
	text := some(real)
	switch {
	case !imitated:
	case text == "":
		text = "an imitation"
	default:
		text += " or an imitation"
	}
	return text
}

func some(names []string) string {
	if len(names) <= namesMax {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:namesMax-1], ", "), len(names)-namesMax+1)
}

// Text tells people what was read, and what was not looked at.
func (s Summary) Text() string {
	text := fmt.Sprintf("%s in %s", show.Plural(s.Connections, "TCP connection"), show.Plural(s.Frames, "frame"))
	var left []string
	add := func(n int, noun, why string) {
		if n > 0 {
			left = append(left, show.Plural(n, noun)+why)
		}
	}
	add(s.UDP, "UDP packet", " (QUIC and DTLS are not read yet)")
	add(s.Fragments, "fragment", "")
	add(s.Damaged, "packet", " with headers that cannot be read")
	for _, link := range slices.Sorted(maps.Keys(s.Unread)) {
		add(s.Unread[link], "packet", fmt.Sprintf(" of link type %d (%s)", link, link))
	}
	if len(left) > 0 {
		text += "; not looked at: " + strings.Join(left, ", ")
	}
	return text + "."
}
