// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"net/netip"
	"slices"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
)

// facts are what features can match.
type facts struct {
	packet         *packet
	service        string
	fingerprint    string
	hasFingerprint bool
	reason         bpf.Reason // that a rule may score, or none
	cut            bool       // the policy drops it for being a fragment
	proven         bool       // a socket vouches for the connection: never here, where there are none
}

// isStrong says whether a match may block alone. What a network makes, or this host, never may. What only a client
// makes may on a connection that is proven, and so may what the host file accepts: without proof anybody could have
// sent it.
func (w *World) isStrong(g *Generation, kind bpf.Reason, proven bool) bool {
	if kind == prefix || kind == tcpFingerprint {
		return true
	}
	name := bpf.ReasonName(kind)
	return proven && (config.StrongReason(name) || w.accepts(g, name))
}

// judgement is the answer to facts.
type judgement struct {
	reason     bpf.Reason
	outcome    bpf.Outcome
	generation *Generation
}

func (j judgement) drops() bool { return j.outcome == bpf.OutcomeDrop }

// slot is where the generation lives that decided; 0: none did.
func (j judgement) slot() uint8 {
	if j.generation == nil {
		return bpf.SlotEmpty
	}
	return j.generation.Slot
}

// judge decides: a ban first, then the generation; then everything that turns a block into a pass, the protected last.
func (w *World) judge(f facts) judgement {
	var j judgement
	block := true
	if w.isBanned(f.packet) {
		j.reason = ban
	} else {
		block = w.byGeneration(f, &j)
	}
	if !block && f.cut && j.reason != noGeneration && j.reason != noPolicy {
		block, j.reason = true, fragment
	}
	if block && j.reason != ban && w.isBehind(j.generation) && w.wasProtected(f.packet) {
		block, j.reason = false, protected
	}
	if block {
		w.spare(f.packet, &j)
	}
	if j.drops() && j.reason != ban && w.isDeferred(f, j.generation) {
		j.reason, j.outcome = onTrial, pass
	}
	return j
}

func (w *World) spare(p *packet, j *judgement) {
	switch {
	case w.isAgentLost():
		j.reason = agentLost
	case w.isProtected(p), j.reason != ban && w.isVouched(p),
		j.reason == ban && (w.Stable == nil || w.isBehind(w.Stable)) && w.wasProtected(p):
		j.reason = protected
	case w.Mode != config.ModeEnforce:
		j.outcome = bpf.OutcomeWouldDrop
	default:
		j.outcome = bpf.OutcomeDrop
	}
}

// match is a rule that a feature points to.
type match struct {
	kind bpf.Reason
	rule config.Rule
}

// byGeneration sums the rules that match and compares with the policy; true is a block.
func (w *World) byGeneration(f facts, j *judgement) bool {
	j.generation = w.generationFor(f.packet)
	return w.byOwn(f, j.generation, j)
}

// live leaves out what has expired.
func (w *World) live(matches []match) []match {
	return slices.DeleteFunc(matches, func(m match) bool {
		return !m.rule.Expires.IsZero() && !w.Now.Before(m.rule.Expires)
	})
}

// byOwn is what a generation says by itself.
func (w *World) byOwn(f facts, g *Generation, j *judgement) bool {
	if g == nil {
		j.reason = noGeneration
		return false
	}
	if !slices.Contains(g.Services, f.service) || w.isBehind(g) && w.isFresh(f.packet, f.service) {
		j.reason = noPolicy
		return false
	}
	matches := w.live(g.matches(f))
	if len(matches) == 0 {
		j.reason = noMatch
		return false
	}
	score, best, strong := 0, match{}, false
	for _, m := range matches {
		score += m.rule.Score
		if m.rule.Score > best.rule.Score {
			best = m
		}
		strong = strong || m.rule.Score > 0 && w.isStrong(g, m.kind, f.proven)
	}
	drop := int(g.Bundle.PolicyFor(f.service).Drop)
	switch {
	case drop == 0 || min(score, 100) < drop:
		j.reason = belowThreshold
	case !strong:
		j.reason = weak // reasons, alone or summed with each other, never reach block
	default:
		j.reason = best.kind
		return true
	}
	return false
}

// matches returns the rules of the source's prefixes, of the fingerprint and of the reason, in this order.
func (g *Generation) matches(f facts) []match {
	rules := map[string]config.Rule{}
	for _, r := range g.Bundle.Rules {
		rules[r.ID] = r
	}
	var matches []match
	for _, rule := range g.prefixRules(f.packet) {
		matches = append(matches, match{prefix, rules[rule]})
	}
	for _, t := range g.Bundle.TCP {
		if f.hasFingerprint && t.Fingerprint.String() == f.fingerprint {
			matches = append(matches, match{tcpFingerprint, rules[t.Rule]})
		}
	}
	for _, r := range g.Bundle.Reasons {
		if f.reason != none && r.Reason == bpf.ReasonName(f.reason) {
			matches = append(matches, match{f.reason, rules[r.Rule]})
		}
	}
	return matches
}

// prefixRules returns the rule of the longest match of each list.
func (g *Generation) prefixRules(p *packet) []string {
	type longest struct {
		bits int
		rule string
	}
	byList := map[string]longest{}
	for _, l := range g.Bundle.Prefixes {
		for _, e := range l.Entries {
			old, ok := byList[l.List]
			if e.Contains(p.source) && (!ok || e.Bits() > old.bits) {
				byList[l.List] = longest{e.Bits(), l.Rule}
			}
		}
	}
	var rules []string
	for _, l := range byList {
		rules = append(rules, l.rule)
	}
	slices.Sort(rules) // those of one score: the first of the bundle counts as what weighed most
	return rules
}

// Drops says whether first data from a source to a service is dropped for a reason, on a connection that is proven or
// is not. It is for tests with sockets, which know the reason and ask what follows.
func (w *World) Drops(source netip.Addr, service, reason string, proven bool) bool {
	f := facts{packet: &packet{source: source}, service: service, proven: proven}
	for _, r := range bpf.Reasons() {
		if bpf.ReasonName(r) == reason {
			f.reason = r
		}
	}
	return w.judge(f).drops()
}
