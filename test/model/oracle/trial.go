// SPDX-License-Identifier: Apache-2.0

package oracle

import "slices"

// isDeferred says whether a block is one that nobody could count: nothing is vouched for here. A generation on trial
// makes none that the generation before would not make, unless what it rests on was declared.
func (w *World) isDeferred(f facts, j judgement) bool {
	g := j.generation
	if !w.Pair || g == nil || !j.cut && g.declaresAll(w.live(g.matches(f))) {
		return false
	}
	before := w.Previous
	if g == w.Candidate {
		before = w.Stable
	} else if g != w.Stable || !w.Budget {
		return false
	}
	return !w.wouldBlock(f, before) && !w.isDeclared(f, g)
}

// wouldBlock is a generation's own verdict, whatever stands above it.
func (w *World) wouldBlock(f facts, g *Generation) bool {
	var j judgement
	blocks := w.byOwn(f, g, &j) // which charges its limit, whoever is protected
	if !blocks && f.cut && !j.allowed && g != nil && j.reason != noPolicy {
		asked := *w
		asked.Stable, asked.Candidate, asked.Budget = g, nil, false
		blocks = asked.cuts(f.packet, w.named(f.service))
	}
	return blocks && !(w.isBehind(g) && w.wasProtected(f.packet))
}

// isDeclared says whether the intent of g's bundle names what its block rests on: the rule that weighed most, if
// without it there were no block, else every rule that spoke for the block.
func (w *World) isDeclared(f facts, g *Generation) bool {
	var j judgement
	if !w.byOwn(f, g, &j) { // for being a fragment: no rule
		return false
	}
	matches := w.live(g.matches(f))
	best := w.add(g, matches, f.proven).best
	score, strong := 0, false
	for _, m := range matches {
		if m.rule.ID != best.rule.ID {
			score += m.rule.Score
			strong = strong || m.rule.Score > 0 && w.isStrong(g, m.kind, f.proven)
		}
	}
	if strong && reaches(score, g.policy(w.named(f.service)).Blocks()) {
		return g.declaresAll(matches)
	}
	return g.declares(best.rule.Label)
}

func (g *Generation) declaresAll(matches []match) bool {
	return !slices.ContainsFunc(matches, func(m match) bool { return m.rule.Score > 0 && !g.declares(m.rule.Label) })
}

func (g *Generation) declares(label string) bool {
	return g.Bundle.Intent != nil && slices.Contains(g.Bundle.Intent.By, label)
}
