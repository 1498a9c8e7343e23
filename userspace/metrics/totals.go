// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"cmp"
	"fmt"
	"slices"
	"sync"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/loader/compile"
)

// namedRules is how many rules have a series of their own; the others are summed.
const namedRules = 200

// Totals keeps the counts of rules growing while the kernel's begin again with each generation. Packets and connections
// need none: the kernel's own sum only grows, whoever starts again.
type Totals struct {
	// Rule returns a rule's names, by the digest of its bundle and its index there.
	Rule func(config.Digest, uint16) (config.Rule, bool)

	mu     sync.Mutex
	counts []Count // as of the last look that the kernel answered
	rules  map[ruleKey]uint64
	hits   map[hitKey]uint64 // the kernel's last value
	other  uint64
}

type ruleKey struct{ id, label string }

type hitKey struct {
	number uint32 // of the generation
	index  uint16
}

// NewTotals has counted nothing yet.
func NewTotals(rule func(config.Digest, uint16) (config.Rule, bool)) *Totals {
	return &Totals{Rule: rule, rules: map[ruleKey]uint64{}, hits: map[hitKey]uint64{}}
}

// Kernel is where matches and packets are counted.
type Kernel interface {
	Host() (*compile.HostInfo, error)
	Generations() ([]loader.GenerationInfo, error)
	Counters() ([]loader.Counter, error)
	RuleHits(slot uint8) (map[uint16]uint64, error)
}

// grown returns by how much a count of the kernel grew; one that is smaller than before began again.
func grown(now, before uint64) uint64 {
	if now < before {
		return now
	}
	return now - before
}

// see takes what the kernel counted so far, since its maps were made.
func (t *Totals) see(counters []loader.Counter, service func(id uint8) string) {
	sums := map[Count]*Count{}
	t.counts = nil
	for _, c := range counters {
		key := Count{Service: service(c.Service), Reason: bpf.ReasonName(c.Reason), Verdict: bpf.OutcomeName(c.Outcome)}
		sum, ok := sums[key]
		if !ok {
			sum = &Count{Service: key.Service, Reason: key.Reason, Verdict: key.Verdict}
			sums[key] = sum
		}
		sum.Packets, sum.Connections, sum.Alone = sum.Packets+c.Packets, sum.Connections+c.Connections, sum.Alone+c.Alone
	}
	for _, sum := range sums {
		t.counts = append(t.counts, *sum)
	}
}

// ruleHits are the counts of one generation, as the kernel has them.
type ruleHits struct {
	number uint32
	hits   map[uint16]uint64
	name   func(uint16) ruleKey
}

// adopt begins where another agent ended: what was counted before is in that one's totals, and whoever asks for an
// increase takes a count that begins again with it for new matches. Rules with matches begin at 0.
func (t *Totals) adopt(all []ruleHits) {
	for _, g := range all {
		for index, n := range g.hits {
			t.hits[hitKey{g.number, index}] = n
			if key := g.name(index); key != nameless(index) && len(t.rules) < namedRules {
				t.rules[key] += 0
			}
		}
	}
}

// addRules takes what the kernel counted for resident generations, and forgets generations that left.
func (t *Totals) addRules(all []ruleHits) {
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

// Snapshot is what was counted so far.
func (t *Totals) Snapshot() (counts []Count, rules []Rule) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.snapshot()
}

func (t *Totals) snapshot() (counts []Count, rules []Rule) {
	for key, n := range t.rules {
		rules = append(rules, Rule{ID: key.id, Label: key.label, Matches: n})
	}
	if t.other > 0 {
		rules = append(rules, Rule{ID: "other", Matches: t.other})
	}
	return slices.Clone(t.counts), rules
}

// nameless is a rule whose bundle is not on disk.
func nameless(index uint16) ruleKey { return ruleKey{id: fmt.Sprintf("index_%d", index)} }
