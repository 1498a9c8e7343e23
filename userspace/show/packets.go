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
const topWidth = 36

// decisions prints how many connections to services were decided with each verdict, and why, with the packets that left
// so: a connection that passes has many, and one that is blocked has few, so only connections make a share. What
// belongs to no connection, and other traffic, are a line each.
func decisions(w io.Writer, st *api.Status) {
	type sums struct {
		connections, packets uint64
		by                   map[string]uint64 // connections, by reason
	}
	byVerdict, aloneBy := map[string]*sums{}, map[string]uint64{}
	var elsewhere, total, alone uint64
	for _, p := range st.Packets {
		if p.Service == "" {
			elsewhere += p.Packets
			continue
		}
		v := byVerdict[p.Verdict]
		if v == nil {
			v = &sums{by: map[string]uint64{}}
			byVerdict[p.Verdict] = v
		}
		v.connections, v.packets, total = v.connections+p.Connections, v.packets+p.Packets, total+p.Connections
		if p.Connections > 0 {
			v.by[p.Reason] += p.Connections
		}
		if p.Alone > 0 {
			alone += p.Alone
			aloneBy[p.Reason] += p.Alone
		}
	}
	t := newTable(w, "", "VERDICT", "CONNECTIONS", "SHARE", "PACKETS", "TOP REASONS")
	for _, verdict := range verdicts {
		v := byVerdict[verdict]
		if v == nil || v.connections+v.packets == 0 {
			continue
		}
		t.row(verdict, Count(v.connections), share(v.connections, total), short(v.packets), top(v.by))
	}
	if alone > 0 {
		t.row("alone", "", "", short(alone), "of no connection: "+top(aloneBy))
	}
	if elsewhere > 0 {
		t.row("elsewhere", "", "", short(elsewhere), "to no service: never touched")
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

// services prints one row a service: its connections, or its packets where it has none.
func services(w io.Writer, st *api.Status) {
	type sums struct{ pass, blocked, would uint64 }
	connections, packets := map[string]*sums{}, map[string]*sums{}
	add := func(to map[string]*sums, p api.Packets, n uint64) {
		if to[p.Service] == nil {
			to[p.Service] = &sums{}
		}
		switch s := to[p.Service]; p.Verdict {
		case "drop", "reset", "limit":
			s.blocked += n
		case "would_drop", "would_reset", "would_limit":
			s.would += n
		default:
			s.pass += n
		}
	}
	for _, p := range st.Packets {
		add(connections, p, p.Connections)
		add(packets, p, p.Packets)
	}
	t := newTable(w, "", "SERVICE", "KIND", "COUNTED", "PASSED", "BLOCKED", "WOULD BLOCK", "BYPASS")
	for _, v := range st.Services {
		counted, n := "connections", connections[v.Name]
		if isDatagram(v.Kind) {
			counted, n = "packets", packets[v.Name]
		}
		if n == nil {
			n = &sums{}
		}
		bypass := "off"
		if v.Bypass.Active {
			bypass = "ON" + bypassEnd(v.Bypass)
		}
		t.row(v.Name, v.Kind, counted, Count(n.pass), Count(n.blocked), Count(n.would), bypass)
	}
	t.end()
}

// isDatagram reports whether a service of that kind has no connections: each packet is judged by itself.
func isDatagram(kind string) bool { return kind == "udp" || kind == "quic" }
