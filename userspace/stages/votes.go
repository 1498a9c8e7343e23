// SPDX-License-Identifier: Apache-2.0

package stages

import (
	"fmt"
	"math"
	"net/netip"
	"slices"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/loader"
	"github.com/spillway/spillway/userspace/release"
	"github.com/spillway/spillway/userspace/rollout"
)

// comparing is what the kernel shall compare now: a generation with the one that it was built on, also while it is
// built again because another one became stable: a canary decides meanwhile, and nothing decides unguarded.
func (st *Stages) comparing() (want release.Comparing) {
	m := &st.memory
	for lane, r := range [loader.Lanes]rollout.Run{loader.LaneMain: m.State.Main, loader.LaneFast: m.State.Fast} {
		if r.Number == 0 || r.Change.Kind == rollout.KindRelax || r.Observed {
			continue
		}
		to := loader.Comparison{Run: m.runOf(attempt{r.Change.ID, r.Change.Attempt}), Old: r.On, New: r.Number,
			Allowed: m.allowed(r.Change)}
		switch r.Stage {
		case rollout.StageShadow:
		case rollout.StageCanary, rollout.StageBake:
			want.Budget = true
		default:
			continue
		}
		if to.Old != to.New {
			want.Lanes[lane] = to
		}
	}
	if to, stands := m.stands(); stands && want.Lanes[loader.LaneFast].Run == 0 {
		want.Lanes[loader.LaneFast], want.Budget = to, true
	}
	if main, fast := m.State.Main, m.State.Fast; main.Stage == rollout.StageBake && fast.Stage == rollout.StageBake &&
		fast.Change.Kind == rollout.KindRelax && fast.On == main.Number {
		want.Joins = fast.Number // no moment of the bake is without a lane that can charge
	}
	return want
}

// stands is what decides for everybody of a change that baked when an emergency came, compared with what was stable
// before it: it has its budget while it waits. Its votes are nobody's evidence.
func (m *memory) stands() (to loader.Comparison, is bool) {
	for _, c := range append(slices.Clone(m.State.Queue), m.State.Main.Change) {
		if s := c.Stood; s != nil && s.Under != m.Stable.Number && slices.Contains(s.Numbers, m.Stable.Number) {
			return loader.Comparison{Run: m.runOf(attempt{c.ID, -1}), Old: s.Under, New: m.Stable.Number,
				Allowed: m.allowed(c)}, true
		}
	}
	return to, false
}

// allowed are the extra blocks of a thousand connections that the budget of a change has beside its own.
func (m *memory) allowed(c rollout.Change) uint16 {
	return uint16(math.Round(1000 * c.Allowed(m.State.Guards)))
}

// votes adds what the kernel counted to the evidence. While no generation is on trial there is nothing to read.
func (st *Stages) votes(e *rollout.Evidence) {
	s := &st.memory.State
	if s.Main.Number == 0 && s.Fast.Number == 0 {
		return
	}
	counts, known := st.Hand().Counts()
	if !known {
		return
	}
	e.Main, e.Fast = st.votesOf(counts[loader.LaneMain], s.Main), st.votesOf(counts[loader.LaneFast], s.Fast)
	a := counts[loader.LaneMain].Arms
	e.Arms = rollout.Arms{ID: s.Main.Change.ID, Attempt: s.Main.Change.Attempt,
		Canary:  rollout.Arm{Sources: a.Canary.Sources, Bad: a.Canary.Bad},
		Control: rollout.Arm{Sources: a.Control.Sources, Bad: a.Control.Bad}}
}

// votesOf are the votes about the generation of a run. What the kernel counted of another says nothing.
func (st *Stages) votesOf(c loader.LaneCounts, r rollout.Run) rollout.Votes {
	if c.New != r.Number || r.Number == 0 {
		return rollout.Votes{}
	}
	v := rollout.Votes{Generation: c.New, Connections: int64(c.Connections), Unconfirmed: int64(c.Unconfirmed),
		Lost: int64(c.Lost)}
	by := ruleNames{st, st.setOf(c.New), r.Change.Expects}
	for _, p := range c.Pairs {
		v.Pairs += p.Votes
		switch {
		case p.OldBlocks && p.NewBlocks:
			v.BothBlock += p.Votes
		case p.OldBlocks:
			v.NewPasses += p.Votes
		case p.NewBlocks:
			v.NewBlocks = addBlame(v.NewBlocks, by.blame(p.Rule, p.Declared, p.Votes))
			if p.Class != loader.ClassNone && p.Votes > 0 {
				v.Protected = append(v.Protected, by.hit(loader.Hit{Class: p.Class, Rule: p.Rule, Declared: p.Declared}))
			}
		}
	}
	for _, h := range c.Hits {
		v.Protected = append([]rollout.Hit{by.hit(h)}, v.Protected...) // with its address, so it is the first
	}
	return v
}

func addBlame(all []rollout.Blame, b rollout.Blame) []rollout.Blame {
	for i := range all {
		if all[i].Rule == b.Rule && all[i].Label == b.Label {
			all[i].Votes += b.Votes
			return all
		}
	}
	return append(all, b)
}

// setOf is the set of a generation on trial or in force.
func (st *Stages) setOf(number uint32) config.Digest {
	g, _ := st.Ledger.Record().Numbered(number)
	return g.Digest
}

// ruleNames say which rule an index is.
type ruleNames struct {
	st      *Stages
	set     config.Digest
	expects rollout.Intent
}

func (n ruleNames) blame(rule int, declared bool, votes int64) rollout.Blame {
	b := rollout.Blame{Rule: rule, Votes: votes, What: "several rules together"}
	if rule == loader.RuleNone {
		b.What = "what is no rule (fragments: drop)"
	}
	if rule >= 0 {
		b.What = fmt.Sprintf("(number %d in the order of ids)", rule+1)
		if r, known := n.st.Ledger.RuleOf(n.set, uint16(rule)); known {
			b.Label, b.What = r.Label, r.ID
			if matches := n.st.Ledger.MatchedBy(n.set, uint16(rule)); matches != "" {
				b.What += ": " + matches
			}
		}
	}
	if declared && len(n.expects.By) > 0 && !slices.Contains(n.expects.By, b.Label) {
		b.Label = n.expects.By[0] // several rules, all of them declared
	}
	return b
}

// classes are the engine's words for the kernel's classes.
var classes = map[loader.Class]rollout.Class{
	loader.ClassAllowlist: rollout.ClassAllowlist, loader.ClassGolden: rollout.ClassGolden,
	loader.ClassHealth: rollout.ClassHealth, loader.ClassCrawler: rollout.ClassCrawler,
	loader.ClassVouched: rollout.ClassVouched,
}

// hit names a protected source by its prefix. The kernel reports only what somebody vouched for.
func (n ruleNames) hit(h loader.Hit) rollout.Hit {
	who := "a source"
	if h.Source.IsValid() {
		bits := 24
		if h.Source.Is6() {
			bits = 48
		}
		who = netip.PrefixFrom(h.Source, bits).Masked().String()
	}
	return rollout.Hit{Class: classes[h.Class], Who: who, Confirmed: true, Blame: n.blame(h.Rule, h.Declared, 1)}
}
