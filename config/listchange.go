// SPDX-License-Identifier: Apache-2.0

package config

import (
	"maps"
	"net/netip"
	"slices"
)

// ListsChanged measures a change that is an update of lists and nothing else: the largest share of a list's rows that
// came, went or point to another rule now, from 0. only is false when anything else differs: a rule, another feature, a
// policy, an intent, a list that is new or gone or becomes somebody else's, a bundle that is added or taken out.
func ListsChanged(old, new *Set) (share float64, only bool) {
	if len(old.bundles()) != len(new.bundles()) {
		return 0, false
	}
	for _, is := range new.bundles() {
		was := old.Named(is.Name)
		if was == nil {
			return 0, false
		}
		if was.Digest == is.Digest {
			continue
		}
		if !maps.Equal(listOrigins(was), listOrigins(is)) || Change(withoutLists(was), withoutLists(is)).Len() > 0 {
			return 0, false
		}
		for name := range listOrigins(is) {
			changed, rows := countChanged(partsOf(was, name), partsOf(is, name))
			share = max(share, float64(changed)/float64(max(rows, 1)))
		}
	}
	return share, true
}

func withoutLists(b *Bundle) *Bundle {
	out := *b
	out.Prefixes = nil
	return &out
}

// listPart is the rows of a list that point to one rule.
type listPart struct {
	rule    string
	entries []netip.Prefix
}

// partsOf returns a list as it is stored: a million rows are not copied to be counted.
func partsOf(b *Bundle, name string) []listPart {
	var out []listPart
	for _, l := range b.Prefixes {
		if l.List == name {
			out = append(out, listPart{l.Rule, l.Entries})
		}
	}
	return out
}

// next takes the least prefix of parts that are sorted each, with its rule.
func next(parts []listPart) (p netip.Prefix, rule string, ok bool) {
	least := -1
	for i, part := range parts {
		if len(part.entries) > 0 && (least < 0 || comparePrefix(part.entries[0], parts[least].entries[0]) < 0) {
			least = i
		}
	}
	if least < 0 {
		return p, "", false
	}
	part := &parts[least]
	p, part.entries = part.entries[0], part.entries[1:]
	return p, part.rule, true
}

// countChanged walks two versions of a list side by side; rows are those of the old one.
func countChanged(old, new []listPart) (changed, rows int) {
	old, new = slices.Clone(old), slices.Clone(new)
	a, ruleA, okA := next(old)
	b, ruleB, okB := next(new)
	for okA || okB {
		c := 0
		switch {
		case !okA:
			c = 1
		case !okB:
			c = -1
		default:
			c = comparePrefix(a, b)
		}
		if c != 0 || ruleA != ruleB {
			changed++
		}
		if c <= 0 {
			rows++
			a, ruleA, okA = next(old)
		}
		if c >= 0 {
			b, ruleB, okB = next(new)
		}
	}
	return changed, rows
}
