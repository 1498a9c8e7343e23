// SPDX-License-Identifier: Apache-2.0

package config

import (
	"cmp"
	"fmt"
)

// mostMatched bounds the text of one feature.
const mostMatched = 120

// Matched says in a few words what each rule matches, in the order of the rules: "ja4 t13d…", "prefix list own and 2
// more", "" for nothing. A list counts as one, however many rows it has.
func (b *Bundle) Matched() []string {
	first, more := map[string]string{}, map[string]int{}
	tell := func(rule, text string) {
		if first[rule] != "" {
			more[rule]++
			return
		}
		if r := []rune(text); len(r) > mostMatched {
			text = string(r[:mostMatched-1]) + "…"
		}
		first[rule] = text
	}
	for _, l := range b.Prefixes {
		tell(l.Rule, "prefix list "+cmp.Or(l.List, "own"))
	}
	for _, k := range kinds {
		k.matched(b, tell)
	}
	out := make([]string, len(b.Rules))
	for i, r := range b.Rules {
		if out[i] = first[r.ID]; more[r.ID] > 0 {
			out[i] += fmt.Sprintf(" and %d more", more[r.ID])
		}
	}
	return out
}
