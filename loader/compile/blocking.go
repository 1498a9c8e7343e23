// SPDX-License-Identifier: Apache-2.0

package compile

import (
	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

// Blocking says whom a generation could block, as packets read it: a bundle may be in force and never block anybody.
type Blocking struct {
	// From holds the lowest score that blocks, by the tag of a service; 0 is never. A service without an entry passes.
	From map[uint32]uint8
	// Resets and Fragments hold the tags of services whose policy resets from some score on, and of those of which it
	// drops fragments, whoever sends them.
	Resets, Fragments map[uint32]bool
	// Reach is the highest score that a source could have now: what all rules that have not expired add up to, at most
	// 100.
	Reach int
	// Strong reports whether there are features that may block: of reasons alone only those that a client makes, and
	// those that the host file accepts, ever do.
	Strong bool
	// Expired counts the rules that were, and whose time is over.
	Expired int
}

// Can reports whether rules of the generation may block at the service with this tag.
func (b Blocking) Can(tag uint32) bool {
	from := int(b.From[tag])
	return from > 0 && b.Strong && b.Reach >= from
}

// Blocking says whom the generation could block, were it in force on a host that accepts no weak reason.
func (img *Image) Blocking(now uint64) Blocking {
	return BlockingOf(&img.generation, OneEach(img.nodes), now, 0)
}

// maskOf returns the bits of reasons that the host file names.
func maskOf(reasons []string) (mask uint64, err error) {
	for _, name := range reasons {
		r, err := bpf.ParseReason(name)
		if err != nil {
			return 0, err
		}
		mask |= 1 << r
	}
	return mask, nil
}

// hasStrong reports whether the generation has a feature that may block by itself.
func hasStrong(g *bpf.Generation, accepted uint64) bool {
	for _, m := range Maps() {
		if *m.count(g) > 0 {
			return true
		}
	}
	for r, head := range g.Reasons {
		if head != 0 && (accepted>>r&1 != 0 || config.StrongReason(bpf.ReasonName(bpf.Reason(r)))) {
			return true
		}
	}
	return false
}

// BlockingOf judges with one node a rule.
func BlockingOf(g *bpf.Generation, rules []bpf.RuleNode, now, accepted uint64) Blocking {
	b := Blocking{From: map[uint32]uint8{}, Strong: hasStrong(g, accepted),
		Resets: map[uint32]bool{}, Fragments: map[uint32]bool{}}
	for _, p := range g.Policies {
		if p.Tag == 0 {
			continue
		}
		from := p.Drop
		if p.Reset != 0 && (from == 0 || p.Reset < from) {
			from = p.Reset
		}
		b.From[p.Tag] = from
		if p.Reset != 0 {
			b.Resets[p.Tag] = true
		}
		if p.Flags&uint8(bpf.PolicyDropFragments) != 0 {
			b.Fragments[p.Tag] = true
		}
	}
	for _, r := range rules {
		if r.ExpiresNs <= now {
			b.Expired++
		} else if r.Score > 0 {
			b.Reach = min(b.Reach+int(r.Score), 100)
		}
	}
	return b
}

// OneEach returns one node a rule; node 0 is none.
func OneEach(nodes []bpf.RuleNode) []bpf.RuleNode {
	seen := map[uint16]bool{}
	rules := []bpf.RuleNode{}
	for i, n := range nodes {
		if i > 0 && !seen[n.Rule] {
			seen[n.Rule] = true
			rules = append(rules, n)
		}
	}
	return rules
}
