// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/metrics"
)

// namedRules is how many rules have a series of their own; the others are summed.
const namedRules = 200

// totals keeps counts growing while the kernel's begin again: a slot's counts of rules do so with each generation.
type totals struct {
	mu      sync.Mutex
	packets map[metrics.Packets]uint64 // keys have no count
	counted map[loader.Counter]uint64  // the kernel's last value; keys have no count
	rules   map[ruleKey]uint64
	hits    map[hitKey]uint64 // the kernel's last value
	other   uint64
}

type ruleKey struct{ id, label string }

type hitKey struct {
	number uint32 // of the generation
	index  uint16
}

func newTotals() *totals {
	return &totals{packets: map[metrics.Packets]uint64{}, counted: map[loader.Counter]uint64{}, rules: map[ruleKey]uint64{}, hits: map[hitKey]uint64{}}
}

// grown returns by how much a count of the kernel grew; one that is smaller than before began again.
func grown(now, before uint64) uint64 {
	if now < before {
		return now
	}
	return now - before
}

// addPackets takes what the kernel counted so far.
func (t *totals) addPackets(counters []loader.Counter, name func(loader.Counter) metrics.Packets) {
	for _, c := range counters {
		key := c
		key.Packets = 0
		t.packets[name(key)] += grown(c.Packets, t.counted[key])
		t.counted[key] = c.Packets
	}
}

// ruleHits are the counts of one generation, as the kernel has them.
type ruleHits struct {
	number uint32
	hits   map[uint16]uint64
	name   func(uint16) ruleKey
}

// addRules takes what the kernel counted for resident generations, and forgets generations that left.
func (t *totals) addRules(all []ruleHits) {
	type delta struct {
		key  ruleKey
		more uint64
	}
	var deltas []delta
	last := map[hitKey]uint64{}
	for _, g := range all {
		for index, n := range g.hits {
			key := hitKey{g.number, index}
			last[key] = n
			if more := grown(n, t.hits[key]); more > 0 {
				deltas = append(deltas, delta{g.name(index), more})
			}
		}
	}
	t.hits = last
	slices.SortFunc(deltas, func(a, b delta) int {
		return cmp.Or(cmp.Compare(b.more, a.more), cmp.Compare(a.key.id, b.key.id), cmp.Compare(a.key.label, b.key.label))
	})
	for _, d := range deltas {
		// Once a rule has a series it keeps it, and one that has none never takes over what "other" counted: both only grow.
		if _, named := t.rules[d.key]; named || len(t.rules) < namedRules {
			t.rules[d.key] += d.more
		} else {
			t.other += d.more
		}
	}
}

func (t *totals) snapshot() (packets []metrics.Packets, rules []metrics.Rule) {
	for key, n := range t.packets {
		key.Packets = n
		packets = append(packets, key)
	}
	for key, n := range t.rules {
		rules = append(rules, metrics.Rule{ID: key.id, Label: key.label, Matches: n})
	}
	if t.other > 0 {
		rules = append(rules, metrics.Rule{ID: "other", Matches: t.other})
	}
	return packets, rules
}

// nameless is a rule whose bundle is not on disk.
func nameless(index uint16) ruleKey { return ruleKey{id: fmt.Sprintf("index_%d", index)} }
