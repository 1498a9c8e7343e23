// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"fmt"
	"slices"
	"strings"
)

const head = `# The verdict matrix

What becomes of every kind of packet, under every kind of rule. This page is written by program runs of the dataplane
(%s packets, each under %d sets of rules: %s runs) and checked by a test:

` + "```" + `
go test ./test/dataplane/matrix            # regenerated = committed, and every invariant below
go test ./test/dataplane/matrix -update    # write it again
` + "```" + `

All packets are for a service of this host. Each row stands for IPv4 and IPv6, wherever both have the thing, and for 0 to 6
VLAN tags (802.1Q, 802.1ad and both in turn): what stands in one cell is the same for all of them. A cell names verdict and
reason (the same words as in metrics and events); where packets of a row fare differently, with how many do.

| column | rules |
| --- | --- |
%s
## What holds for every packet here

1. **No layer is a way around.** From a denied or banned source, every packet to a service whose addresses can be read is
   dropped, whatever tags, options, extension headers or fragments are around it, and whatever its lengths say. The
   exceptions are named below.
2. **Nothing is dropped for being odd.** With an empty bundle nothing is dropped, nor in observe mode, nor from a protected
   source; and with every reason scored 100 and a policy that drops from 1 on, still nothing is. Where a policy says
   "fragments: drop", fragments that begin a TCP segment are, and nothing else.
3. **Only XDP_PASS and XDP_DROP leave the program**; never XDP_ABORTED, XDP_TX or XDP_REDIRECT.
4. **Exactly one counter moves per packet**, and it is the one that the model in test/model/oracle says.

Another test sends the SYNs of this page (behind tags of VLAN 0, up to 1,514 bytes) through the network stack of the running
kernel, and asserts that each one that Linux answers is dropped when its source is denied or banned, or its fingerprint is
denied. None of the exceptions below is answered, but for fragments: those it puts together.

### Exceptions, and why they are safe

From a denied or banned source these pass:

%s
A denied fingerprint does not show in these:

%s
Headers are read wherever they lie in a frame: in its first buffer, in a later one of a jumbo frame, or behind a linear part that
is shorter than they are. Tests of their own show that the verdict is the same.

Where services with different policies share an address, a packet whose ports cannot be read (a later fragment, the exceptions
above, lengths that lie) is judged by one of them: the first in the host file that names the address, then the first on any
address, TCP before UDP. That is no way around the others: Linux delivers none of these by itself but what needs a jumbo link,
and the first fragment of each packet shows its ports.
`

const tail = `## Beside xdp-filter 1.3.1

The same packets through xdp-filter of Debian 12's xdp-tools 1.3.1 (its allow policy, by program runs): the rows where it is
known to fail. A test runs it again wherever it is installed.

| packet | rule | right | xdp-filter 1.3.1 | Spillway |
| --- | --- | --- | --- | --- |
`

func (r result) render() string {
	var b strings.Builder
	b.WriteString(fmt.Sprintf(head, thousands(r.packets), len(r.columns), thousands(r.runs), r.legend(),
		exceptions(r.sections, exemptOf),
		exceptions(r.sections, hiddenOf)))
	for i, s := range r.sections {
		fmt.Fprintf(&b, "## %s\n\n%s\n\n", s.title, s.intro)
		r.table(&b, i)
		b.WriteString("\n")
	}
	b.WriteString(tail)
	for _, row := range rivals {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", row.packet, row.rule, row.right, row.rival, row.right)
	}
	return b.String()
}

func (r result) legend() string {
	var b strings.Builder
	for _, c := range r.columns {
		if !c.unseen {
			fmt.Fprintf(&b, "| %s | %s |\n", c.name, c.meaning)
		}
	}
	return b.String()
}

func (r result) table(b *strings.Builder, section int) {
	b.WriteString("| packet | packets |")
	rule := "\n| --- | ---: |"
	for _, c := range r.columns {
		if !c.unseen {
			b.WriteString(" " + c.name + " |")
			rule += " --- |"
		}
	}
	b.WriteString(rule + "\n")
	for i, c := range r.sections[section].classes {
		fmt.Fprintf(b, "| %s | %s |", c.name, thousands(len(c.packets)))
		for at, col := range r.columns {
			if !col.unseen {
				b.WriteString(" " + r.cells[section][i][at].String() + " |")
			}
		}
		b.WriteString("\n")
	}
}

// String lists what packets came to, the most frequent first.
func (c cell) String() string {
	var all []string
	for what := range c {
		all = append(all, what)
	}
	slices.SortFunc(all, func(a, b string) int {
		if c[a] != c[b] {
			return c[b] - c[a]
		}
		return strings.Compare(a, b)
	})
	for i, what := range all {
		verdict, reason, _ := strings.Cut(what, " ")
		if verdict == "drop" {
			verdict = "**drop**"
		}
		all[i] = verdict + " " + reason
		if len(all) > 1 {
			all[i] += " (" + thousands(c[what]) + ")"
		}
	}
	return strings.Join(all, "<br>")
}

func exemptOf(c class) string { return c.exempt }

// hiddenOf leaves out what is excepted altogether, and what is no SYN and so has no fingerprint.
func hiddenOf(c class) string {
	if c.exempt != "" || !strings.HasPrefix(c.name, "SYN") && !strings.HasPrefix(c.name, "cut") {
		return ""
	}
	return c.hidden
}

// exceptions lists the classes by why they are excepted; of a section that has many, only how many.
func exceptions(sections []section, why func(class) string) string {
	var order []string
	names := map[string][]string{}
	for _, s := range sections {
		mine := map[string][]string{}
		for _, c := range s.classes {
			if w := why(c); w != "" {
				mine[w] = append(mine[w], c.name)
				if len(names[w])+len(mine[w]) == 1 {
					order = append(order, w)
				}
			}
		}
		for w, rows := range mine {
			if len(rows) > 3 {
				rows = []string{fmt.Sprintf("%d rows of *%s*, each with its reason in the cell", len(rows), s.title)}
			}
			names[w] = append(names[w], rows...)
		}
	}
	var b strings.Builder
	for _, w := range order {
		fmt.Fprintf(&b, "- %s: %s.\n", strings.Join(names[w], "; "), w)
	}
	return b.String()
}

// thousands writes 12345 as 12,345.
func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
