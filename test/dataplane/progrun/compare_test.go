// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
)

// denyDeclared is deny, and its intent names the rule.
func denyDeclared(sources ...netip.Addr) *config.Bundle {
	b := deny(sources...)
	b.Rules[0].Declared = true
	return b
}

// compare puts b beside stable as the candidate of a share, and has the main lane compare them as another run.
func (p *plane) compare(b *config.Bundle, share uint16) loader.Comparison {
	p.t.Helper()
	p.try(b, share)
	on := true
	p.change(loader.Change{Pair: &on})
	c := loader.Comparison{Run: p.NextRun(), Old: p.number("stable"), New: p.number("candidate")}
	p.must(p.Compare(loader.LaneMain, c))
	return c
}

// holdToBudget makes b stable under a budget, and has the main lane compare it with what was stable before.
func (p *plane) holdToBudget(b *config.Bundle) loader.Comparison {
	p.t.Helper()
	on, old := true, p.number("stable")
	slot := p.build(b)
	p.change(loader.Change{Stable: &slot, Pair: &on, Budget: &on})
	c := loader.Comparison{Run: p.NextRun(), Old: old, New: p.number("stable")}
	p.must(p.Compare(loader.LaneMain, c))
	return c
}

func (p *plane) counted(lane loader.Lane) loader.LaneCounts {
	p.t.Helper()
	n, err := p.Counts(lane)
	p.must(err)
	return n
}

// pairsOf returns the votes that are not zero, by what they say.
func pairsOf(n loader.LaneCounts) map[string]int64 {
	all := map[string]int64{}
	for _, pair := range n.Pairs {
		what := map[bool]string{false: "pass", true: "block"}
		name := what[pair.OldBlocks] + "-" + what[pair.NewBlocks]
		if pair.Declared && pair.NewBlocks && !pair.OldBlocks {
			name += " declared"
		}
		if pair.Rule == loader.RuleSeveral {
			name += " several"
		}
		if pair.Class != loader.ClassNone {
			name += " protected"
		}
		if pair.Votes != 0 {
			all[name] += pair.Votes
		}
	}
	return all
}

func (p *plane) wantPairs(what string, want map[string]int64) {
	p.t.Helper()
	if diff := cmp.Diff(want, pairsOf(p.counted(loader.LaneMain))); diff != "" {
		p.t.Errorf("%s: votes (-want +got):\n%s", what, diff)
	}
}

// Both generations are asked for their own verdict on each proven first payload, and the prefix votes with what they
// said. In shadow the candidate decides nothing.
func TestPairsOfVerdicts(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		r.settle()
		all := r.crowd(r.listen(), f.sources(0, 4)...)
		p.swap(deny(all[1].src, all[2].src))
		c := p.compare(deny(all[2].src, all[3].src), 0)
		for i, want := range []result{passes("not_hello"), drops("prefix"), drops("prefix"), passes("not_hello")} {
			p.wantBytes("a first payload", all[i].first(), want)
		}
		p.wantPairs("one of each", map[string]int64{"pass-pass": 1, "block-pass": 1, "block-block": 1, "pass-block": 1})
		n := p.counted(loader.LaneMain)
		if n.New != c.New || n.Connections != 4 || n.Unconfirmed != 0 || n.Lost != 0 {
			t.Errorf("counts %+v", n)
		}
		if diff := cmp.Diff([]loader.RuleVotes{{Rule: 0, Votes: 1}}, n.Blame); diff != "" {
			t.Errorf("blame (-want +got):\n%s", diff)
		}
	})
}

// Who comes again votes once; the stronger pair moves the vote, and a weaker one moves nothing.
func TestAPrefixVotesOnce(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		r.settle()
		first := f.group(0).Addr().Next()
		all := r.crowd(r.listen(), first, first.Next(), first.Next().Next())
		p.compare(deny(all[1].src), 0)
		p.run(all[0].first())
		p.run(all[2].first())
		p.wantPairs("two of one prefix", map[string]int64{"pass-pass": 1})
		p.run(all[1].first())
		p.wantPairs("its stronger pair", map[string]int64{"pass-block": 1})
		p.forgetFlows()
		p.run(all[0].first())
		p.wantPairs("its weaker pair", map[string]int64{"pass-block": 1})
		p.run(all[1].first())
		p.wantPairs("again", map[string]int64{"pass-block": 1})
		if n := p.counted(loader.LaneMain); n.Connections != 5 {
			t.Errorf("%d connections", n.Connections)
		}
	})
}
