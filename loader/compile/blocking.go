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
	// Limits holds the lowest score from which connections are limited; 0 is never.
	Limits map[uint32]uint8
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
	return BlockingOf(&img.generation, OneEach(img.nodes), now, nil)
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
	for _, m := range Counted() {
		if *m.count(g) > 0 {
			return true
		}
	}
	if g.PairCount > 0 {
		return true
	}
	for r, head := range g.Reasons {
		if head != 0 && (accepted>>r&1 != 0 || config.StrongReason(bpf.ReasonName(bpf.Reason(r)))) {
			return true
		}
	}
	return false
}

// MostOf returns the strongest verdict that a host file leaves a generation at a service, by its id; nil caps nothing.
func MostOf(h *bpf.Host, g *bpf.Generation, id int) uint8 {
	switch {
	case h == nil:
		return uint8(bpf.MostReset)
	case g.Host != h.Number:
		return h.Services[id].MostBefore
	}
	return h.Services[id].Most
}

// lowestOf returns the lowest of scores, of which 0 is never.
func lowestOf(scores ...uint8) (lowest uint8) {
	for _, s := range scores {
		if s != 0 && (lowest == 0 || s < lowest) {
			lowest = s
		}
	}
	return lowest
}

// BlockingOf judges with one node a rule. h is the host file in force; nil: none caps or accepts anything.
func BlockingOf(g *bpf.Generation, rules []bpf.RuleNode, now uint64, h *bpf.Host) Blocking {
	accepted := uint64(0)
	if h != nil {
		accepted = h.AcceptedReasons
	}
	b := Blocking{From: map[uint32]uint8{}, Strong: hasStrong(g, accepted), Limits: map[uint32]uint8{},
		Resets: map[uint32]bool{}, Fragments: map[uint32]bool{}}
	for id, p := range g.Policies {
		if p.Tag == 0 {
			continue
		}
		most := MostOf(h, g, id)
		blocks, limits := lowestOf(p.Drop, p.Reset), p.Limits
		if most < uint8(bpf.MostDrop) {
			limits, blocks = lowestOf(limits, blocks), 0
		}
		if most < uint8(bpf.MostLimit) || p.Interval == 0 {
			limits = 0
		}
		b.Limits[p.Tag] = limits
		b.From[p.Tag] = lowestOf(blocks, limits)
		if p.Reset != 0 && most == uint8(bpf.MostReset) {
			b.Resets[p.Tag] = true
		}
		if p.Flags&uint8(bpf.PolicyDropFragments) != 0 && most >= uint8(bpf.MostDrop) {
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
