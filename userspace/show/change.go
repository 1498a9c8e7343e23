// SPDX-License-Identifier: Apache-2.0

package show

import (
	"fmt"
	"io"
	"strings"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/userspace/api"
)

// Change prints what a command did, and what comes next.
func Change(w io.Writer, c *api.Change, s Style) {
	fmt.Fprintln(w, c.Message)
	if len(c.Set) > 0 {
		fmt.Fprintf(w, "  %s of the set: %s\n", c.Name, setText(c.Set))
	}
	if c.Number != 0 {
		fmt.Fprintf(w, "  generation %s\n", numbered(c.Number, c.Name, c.Digest))
	}
	if !c.Deadline.IsZero() && c.Outcome == api.OutcomeCandidate {
		fmt.Fprintln(w, s.care(fmt.Sprintf("  %s left to keep it: spillway confirm", s.until(c.Deadline))))
	}
	if !c.BakeUntil.IsZero() && !strings.Contains(c.Message, "last-known-good") {
		fmt.Fprintf(w, "  last-known-good in %s, if nothing happens until then\n", s.until(c.BakeUntil))
	}
	for _, d := range c.Details {
		fmt.Fprintf(w, "  %s\n", d)
	}
	for _, i := range c.Incomplete {
		fmt.Fprintf(w, "%s %s\n", s.bad("! incomplete:"), wrap(i, 2))
	}
}

// numbered names a generation by its number and, where one bundle made it, by that. A removal has none.
func numbered(number uint32, name string, digest config.Digest) string {
	text := fmt.Sprintf("#%d", number)
	if digest.IsZero() {
		return text
	}
	if name != "" {
		text += " " + name
	}
	return text + " " + digest.Short()
}

// setText names the bundles of a set with their digests.
func setText(set []config.Member) string {
	var parts []string
	for _, m := range set {
		parts = append(parts, m.Name+" "+m.Digest.Short())
	}
	return strings.Join(parts, ", ")
}

// History prints the newest changes first.
func History(w io.Writer, h *api.History, s Style) {
	if len(h.Entries) == 0 {
		fmt.Fprintln(w, "Nothing has happened yet.")
	} else {
		s.hang(w, "WHY", func(w io.Writer) { entries(w, h.Entries) })
	}
	if h.Skipped > 0 {
		fmt.Fprintf(w, "%s could not be read (torn by a crash, or changed)\n", Plural(h.Skipped, "line"))
	}
}

func entries(w io.Writer, all []api.HistoryEntry) {
	t := newTable(w, "", "WHEN", "WHO", "WHAT", "OUTCOME", "GENERATION", "WHY")
	for _, e := range all {
		generation := ""
		switch {
		case e.Number != 0:
			generation = numbered(e.Number, "", e.Digest)
		case !e.Digest.IsZero():
			generation = e.Digest.Short()
		}
		t.row(e.At.Local().Format("2006-01-02 15:04"), e.User, e.Verb, e.Outcome, generation, why(e))
	}
	t.end()
}

// why is a gate's sentence with what it decided by, the reason that a person gave, or the first detail.
func why(e api.HistoryEntry) string {
	if d := e.Decision; d != nil {
		text := d.Gate + ": " + d.Sentence
		if by := Evidence(d.Evidence); by != "" {
			text += " (" + by + ")"
		}
		return text
	}
	if e.Reason != "" || len(e.Detail) == 0 {
		return e.Reason
	}
	return e.Detail[0]
}

// Bans prints the bans in force.
func Bans(w io.Writer, b *api.BanList, s Style) {
	if len(b.Bans) == 0 {
		fmt.Fprintf(w, "No bans (room for %s).\n", Count(b.Capacity))
		return
	}
	if b.Idle != "" {
		fmt.Fprintln(w, s.care("They block nothing now:")+" "+wrap(b.Idle+".", 24))
	}
	t := newTable(w, "", "PREFIX", "ENDS IN", "BY", "REASON")
	for _, one := range b.Bans {
		t.row(one.Prefix, s.until(one.Expires), one.By, one.Reason)
	}
	t.end()
}

// Verification prints where the kernel differs from what it should hold.
func Verification(w io.Writer, v *api.Verification, s Style) {
	switch {
	case len(v.Entries) > 0:
		fmt.Fprintln(w, s.bad(Plural(len(v.Entries), "difference"))+": the kernel does not hold what it should.")
		t := newTable(w, "  ", "WHERE", "SHOULD BE", "IS")
		for _, e := range v.Entries {
			t.row(e.Where, e.Want, e.Got)
		}
		t.end()
		fmt.Fprintln(w, "fix: spillway apply the bundle again; or restart the agent, which refills what is empty")
	case v.OK:
		fmt.Fprintln(w, s.good("The kernel holds what it should."))
	default:
		fmt.Fprintln(w, "What could be checked is as it should be.")
	}
	for _, l := range v.Left {
		fmt.Fprintf(w, "not checked: %s\n", wrap(l, 13))
	}
}
