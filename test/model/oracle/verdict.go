// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"slices"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

// match is a rule that a feature points to.
type match struct {
	kind bpf.Reason
	rule config.Rule
}

// live leaves out what has expired.
func (w *World) live(matches []match) []match {
	return slices.DeleteFunc(matches, func(m match) bool {
		return !m.rule.Expires.IsZero() && !w.Now.Before(m.rule.Expires)
	})
}

// tally is what matches come to together.
type tally struct {
	score   int
	best    match // that weighed most
	strong  bool  // one of them may block alone
	allowed bool
	tagged  bpf.Reason // the first that a rule tags, or none
}

func (w *World) add(g *Generation, matches []match, proven bool) tally {
	var t tally
	for _, m := range matches {
		t.score += m.rule.Score
		if m.rule.Score > t.best.rule.Score {
			t.best = m
		}
		t.strong = t.strong || m.rule.Score > 0 && w.isStrong(g, m.kind, proven)
		t.allowed = t.allowed || m.rule.Verdict == config.RuleAllow
		if m.rule.Verdict == config.RuleTag && t.tagged == none {
			t.tagged = m.kind
		}
	}
	t.score = min(max(t.score, 0), 100)
	return t
}

// choose returns what the highest threshold asks for that the score reaches, as far as the host file lets it. A reset
// is for a first payload, and of the stable generation.
func (w *World) choose(f facts, g *Generation, t tally) bpf.Verdict {
	s := w.named(f.service)
	p, most := g.policy(s), w.most(g, s)
	drops, resets := reaches(t.score, p.Drop), reaches(t.score, p.Reset)
	blocks := drops || resets
	limits := blocks || reaches(t.score, p.Limit)
	switch {
	case t.allowed:
		return bpf.VerdictPass
	case blocks && most >= config.MaxDrop.Rank():
		if resets && most >= config.MaxReset.Rank() && !(drops && p.Drop > p.Reset) && f.payload && g == w.Stable {
			return bpf.VerdictReset
		}
		return bpf.VerdictDrop
	case limits && !p.Rate.IsZero() && most >= config.MaxLimit.Rank():
		return bpf.VerdictLimit
	case (limits || reaches(t.score, p.Tag)) && most >= config.MaxTag.Rank():
		return bpf.VerdictTag
	}
	return bpf.VerdictPass
}

// pass says why something passes whose score reaches nothing.
func (w *World) pass(f facts, g *Generation, t tally, j *judgement) {
	switch {
	case t.allowed:
		j.reason, j.allowed = allowed, true
	case t.tagged != none && w.most(g, w.named(f.service)) >= config.MaxTag.Rank():
		j.reason, j.tagged = t.tagged, true
	default:
		j.reason = belowThreshold
	}
}

func reaches(score int, from config.Threshold) bool {
	return from != config.Never && score >= int(from)
}

// policy returns what of a policy a service can have: a reset where a socket of this host proves connections, a limit
// where there are connections.
func (g *Generation) policy(s *config.Service) config.Policy {
	p := g.Bundle.PolicyFor(s.Name)
	if !s.Resettable() {
		p.Reset = config.Never
	}
	if p.Limit == config.Never || p.Rate.IsZero() || s.Protocol() == protocolUDP {
		p.Limit, p.Rate = config.Never, config.Rate{}
	}
	return p
}

// most ranks the strongest verdict of a service that a generation has.
func (w *World) most(g *Generation, s *config.Service) int {
	most := s.MaxVerdict.Rank()
	if !w.isBehind(g) {
		return most
	}
	for _, before := range w.Before.Services {
		if before.Name == s.Name {
			most = min(most, before.MaxVerdict.Rank())
		}
	}
	return most
}

func (w *World) named(name string) *config.Service {
	for i := range w.Services {
		if w.Services[i].Name == name {
			return &w.Services[i]
		}
	}
	return nil
}
