// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"slices"
)

// Protected returns what no bundle may block on a host: the sources of its host file and its own addresses.
func Protected(host *Host, own []netip.Addr) []netip.Prefix {
	var out []netip.Prefix
	for _, g := range newProtectedSet(host, own).outer {
		out = append(out, g.prefix)
	}
	return out
}

// LeaveOut returns the bundle as a host compiles it: without the third-party rows that are equal to or inside a
// protected prefix. Somebody else wrote them, so they refuse nothing. The digest stays the author's; Compiled is that
// of what is left. because has the protected prefixes that rows were left out for: with them the same is left out again
// later, whatever the host file says by then.
func (b *Bundle) LeaveOut(protected []netip.Prefix) (left *Bundle, because []netip.Prefix) {
	guards := outermost(protected)
	out := *b
	out.OmittedProtected, out.Prefixes = 0, make([]PrefixList, 0, len(b.Prefixes))
	met := map[netip.Prefix]bool{}
	for _, l := range b.Prefixes {
		if l.ThirdParty {
			l.Entries = leaveOut(l.Entries, guards, met)
		}
		if len(l.Entries) > 0 {
			out.Prefixes = append(out.Prefixes, l)
		}
	}
	before4, before6 := b.PrefixCount()
	after4, after6 := out.PrefixCount()
	out.OmittedProtected = before4 + before6 - after4 - after6
	out.Compiled = b.Digest
	if out.OmittedProtected > 0 {
		out.Compiled = digestOf(&out)
	}
	for p := range met {
		because = append(because, p)
	}
	slices.SortFunc(because, comparePrefix)
	return &out, because
}

// InProtected returns the first row of the bundle's own lists that is equal to or inside a protected prefix. Such a
// bundle is refused when it is read; what a host protects may have grown since.
func (b *Bundle) InProtected(protected []netip.Prefix) (row, in netip.Prefix, found bool) {
	guards := outermost(protected)
	for _, l := range b.Prefixes {
		walk := guardWalk{outer: guards}
		for _, p := range l.Entries {
			if l.ThirdParty {
				break
			}
			if g, inside := walk.find(p); inside {
				return p, g.prefix, true
			}
		}
	}
	return row, in, false
}

// leaveOut returns the entries outside of the guards, and notes the guards that others were in.
func leaveOut(entries []netip.Prefix, guards []guarded, met map[netip.Prefix]bool) []netip.Prefix {
	walk := guardWalk{outer: guards}
	first := slices.IndexFunc(entries, func(p netip.Prefix) bool { _, in := walk.find(p); return in })
	if first < 0 {
		return entries // a million rows are not copied for nothing
	}
	kept := slices.Clone(entries[:first])
	for _, p := range entries[first:] {
		if g, in := walk.find(p); in {
			met[g.prefix] = true
			continue
		}
		kept = append(kept, p)
	}
	return kept
}

// outermost sorts prefixes and leaves out those inside another.
func outermost(prefixes []netip.Prefix) []guarded {
	sorted := slices.SortedFunc(slices.Values(prefixes), comparePrefix)
	var out []guarded
	for _, p := range sorted {
		if n := len(out); n == 0 || !within(p, out[n-1].prefix) {
			out = append(out, guarded{prefix: p})
		}
	}
	return out
}
