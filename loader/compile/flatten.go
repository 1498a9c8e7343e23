// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"net/netip"
	"slices"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

// entry is one row of one list.
type entry struct {
	prefix netip.Prefix
	list   uint16
	rule   uint16
}

// flatten resolves the lists at compile time: longest match within a list, sum over lists. Every prefix that any list
// names becomes one row, whose chain has, from each list, the rule of that list's longest match.
//
// The rows are walked in address order, a wider prefix before those inside it, with the open prefixes on a stack.
func flatten(lists []config.PrefixList, ruleIndex map[string]uint16, c *chains, emit func(netip.Prefix, uint32)) error {
	entries := collect(lists, ruleIndex)
	var open []entry
	var found []uint16
	for i := 0; i < len(entries); {
		prefix := entries[i].prefix
		for len(open) > 0 && !covers(open[len(open)-1].prefix, prefix) {
			open = open[:len(open)-1]
		}
		for ; i < len(entries) && entries[i].prefix == prefix; i++ {
			open = append(open, entries[i])
		}
		found = longestOfEachList(open, found[:0])
		head, err := c.head(found...)
		if err != nil {
			return err
		}
		emit(prefix, head)
	}
	return nil
}

func collect(lists []config.PrefixList, ruleIndex map[string]uint16) []entry {
	listIndex := map[string]uint16{}
	var entries []entry
	for _, l := range lists {
		list, ok := listIndex[l.List]
		if !ok {
			list = uint16(len(listIndex))
			listIndex[l.List] = list
		}
		entries = slices.Grow(entries, len(l.Entries))
		for _, p := range l.Entries {
			entries = append(entries, entry{prefix: p, list: list, rule: ruleIndex[l.Rule]})
		}
	}
	slices.SortFunc(entries, func(a, b entry) int {
		if c := a.prefix.Addr().Compare(b.prefix.Addr()); c != 0 {
			return c
		}
		return a.prefix.Bits() - b.prefix.Bits()
	})
	return entries
}

func covers(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}

// longestOfEachList appends the rules that count for the prefix on top of the stack.
func longestOfEachList(open []entry, rules []uint16) []uint16 {
	if len(open) == 1 {
		return append(rules, open[0].rule)
	}
	seen := make([]uint16, 0, bpf.RuleChainMax)
	for _, e := range slices.Backward(open) {
		if !slices.Contains(seen, e.list) {
			seen = append(seen, e.list)
			rules = append(rules, e.rule)
		}
	}
	return rules
}
