// SPDX-License-Identifier: Apache-2.0

package show

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/spillway/spillway/userspace/api"
)

// verdicts in the order in which they are printed: what happened first, then what would have.
var verdicts = []string{"drop", "reset", "limit", "tag", "would_drop", "would_reset", "would_limit", "pass"}

// topWidth is how many columns the reasons of a verdict may take, so that the screen stays within 80.
const topWidth = 40

// packets prints how many packets to services left with each verdict, and why. Other traffic is one line.
func packets(w io.Writer, st *api.Status) {
	byVerdict, elsewhere, total := map[string]map[string]uint64{}, uint64(0), uint64(0)
	for _, p := range st.Packets {
		if p.Service == "" {
			elsewhere += p.Packets
			continue
		}
		if byVerdict[p.Verdict] == nil {
			byVerdict[p.Verdict] = map[string]uint64{}
		}
		byVerdict[p.Verdict][p.Reason] += p.Packets
		total += p.Packets
	}
	t := newTable(w, "", "VERDICT", "PACKETS", "SHARE", "TOP REASONS")
	for _, v := range verdicts {
		reasons := byVerdict[v]
		if len(reasons) == 0 {
			continue
		}
		var sum uint64
		for _, n := range reasons {
			sum += n
		}
		t.row(v, Count(sum), share(sum, total), top(reasons))
	}
	if elsewhere > 0 {
		t.row("elsewhere", Count(elsewhere), "", "to no service: never touched")
	}
	t.end()
}

func top(reasons map[string]uint64) string {
	names := slices.SortedFunc(maps.Keys(reasons), func(a, b string) int {
		return cmp.Or(cmp.Compare(reasons[b], reasons[a]), cmp.Compare(a, b))
	})
	text := ""
	for i, n := range names {
		next := fmt.Sprintf("%s %s", n, short(reasons[n]))
		if i > 0 {
			next = ", " + next
		}
		if i > 0 && len(text)+len(next) > topWidth {
			return text + ", …"
		}
		text += next
	}
	return text
}

// short prints a count in at most five characters, for where the exact number stands beside it.
func short(n uint64) string {
	switch {
	case n < 10_000:
		return Count(n)
	case n < 1_000_000:
		return fmt.Sprintf("%dk", n/1000)
	case n < 1_000_000_000:
		return fmt.Sprintf("%.1fM", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1fG", float64(n)/1e9)
}

// services prints one row a service.
func services(w io.Writer, st *api.Status) {
	type sums struct{ pass, blocked, would uint64 }
	by := map[string]*sums{}
	for _, p := range st.Packets {
		if by[p.Service] == nil {
			by[p.Service] = &sums{}
		}
		switch p.Verdict {
		case "drop", "reset", "limit":
			by[p.Service].blocked += p.Packets
		case "would_drop", "would_reset", "would_limit":
			by[p.Service].would += p.Packets
		default:
			by[p.Service].pass += p.Packets
		}
	}
	t := newTable(w, "", "SERVICE", "KIND", "PASSED", "BLOCKED", "WOULD BLOCK", "BYPASS")
	for _, v := range st.Services {
		n := by[v.Name]
		if n == nil {
			n = &sums{}
		}
		bypass := "off"
		if v.Bypass.Active {
			bypass = "ON" + bypassEnd(v.Bypass)
		}
		t.row(v.Name, v.Kind, Count(n.pass), Count(n.blocked), Count(n.would), bypass)
	}
	t.end()
}
