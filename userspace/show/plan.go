// SPDX-License-Identifier: Apache-2.0

package show

import (
	"fmt"
	"io"

	"github.com/spillway/spillway/userspace/api"
)

// planRows is how many rows a plan prints for people; JSON has more.
const planRows = 40

var signs = map[string]string{"added": "+", "removed": "-", "changed": "~"}

// Plan prints what an apply would change.
func Plan(w io.Writer, p *api.Plan, s Style) {
	against := "nothing is in force yet"
	if p.Against != nil {
		against = fmt.Sprintf("compared with #%d %s %s", p.Against.Number, p.Against.Name, p.Against.Digest.Short())
	}
	what := p.Digest.Short()
	if p.Digest.IsZero() {
		what = "is taken out"
	}
	fmt.Fprintf(w, "%s %s, %s\n", s.bold(p.Name), what, against)
	if len(p.Set) > 0 {
		fmt.Fprintf(w, "the set would be: %s\n", setText(p.Set))
	}
	if !p.Changes {
		fmt.Fprintln(w, "No changes.")
	} else {
		rows(w, p, s)
	}
	for _, n := range p.Notes {
		fmt.Fprintf(w, "%s %s\n", s.care("note:"), wrap(n, 6))
	}
	for _, h := range p.Holds {
		fmt.Fprintf(w, "%s %s\n", s.care("held:"), wrap(h.Text, 6))
	}
	if len(p.Holds) > 0 {
		fmt.Fprintln(w, "      apply needs a reason: --accept \"why this is right\"")
	}
	if n := p.OmittedProtected + p.OmittedReserved; n > 0 {
		fmt.Fprintf(w, "left out of third-party lists: %s protected or own, %s reserved\n", Count(p.OmittedProtected),
			Count(p.OmittedReserved))
	}
	for _, l := range Lists(p.Lists) {
		fmt.Fprintln(w, wrap(l, 2))
	}
}

func rows(w io.Writer, p *api.Plan, s Style) {
	fmt.Fprintln(w)
	t := newTable(w, "")
	for i, r := range p.Rows {
		if i == planRows {
			break
		}
		t.row(signs[r.Op]+" "+r.What, listed(r), change(r))
	}
	t.end()
	if more := p.Added + p.Removed + p.Changed - min(len(p.Rows), planRows); more > 0 {
		fmt.Fprintf(w, "… and %s more (-o json shows the first 1,000)\n", Count(more))
	}
	fmt.Fprintf(w, "\n%s to add, %s to remove, %s to change.\n", s.good(Count(p.Added)), s.bad(Count(p.Removed)),
		s.care(Count(p.Changed)))
}

// listed is the row's name with its list.
func listed(r api.PlanRow) string {
	if r.List == "" {
		return r.Name
	}
	return r.List + ": " + r.Name
}

func change(r api.PlanRow) string {
	switch {
	case r.From != "" && r.To != "":
		return r.From + " → " + r.To
	case r.To != "":
		return r.To
	}
	return r.From
}
