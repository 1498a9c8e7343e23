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
	payload        bool       // it is the first payload of a connection
	alone          bool       // it is dropped by itself where its score reaches a limit: nobody is charged with it
	// charge charges a generation's limit with the connection, once, and says whether that is beyond; nil where nobody
	// vouches for it, who is then within every limit.
	charge func(*Generation) bool
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
	allowed    bool // by a rule
	tagged     bool // what passes is
	over       bool // the connection is beyond a limit
	resets     bool // and not dropped, where a socket proves the connection
	cut        bool // it is blocked for being a fragment
}

func (j judgement) drops() bool { return j.outcome == bpf.OutcomeDrop }

// slot is where the generation lives that decided; 0: none did.
func (j judgement) slot() uint8 {
	if j.generation == nil {
		return bpf.SlotEmpty
	}
	return j.generation.Slot
}

// judge decides: a ban first, then the generation, with its limit; then everything that turns a block into a pass, the
// protected last.
func (w *World) judge(f facts) judgement {
	var j judgement
	block := true
	if w.isBanned(f.packet) {
		j.reason = ban
	} else {
		block = w.byGeneration(f, &j)
	}
	if !block && f.cut && !j.allowed && j.reason != noGeneration && j.reason != noPolicy {
		block, j.cut, j.reason = true, true, fragment
	}
	if block && j.reason != ban && w.isBehind(j.generation) && w.wasProtected(f.packet) {
		block, j.reason = false, protected
	}
	if block {
		w.spare(f.packet, &j)
	}
	if j.drops() && j.reason != ban && w.isDeferred(f, j) {
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
		if j.resets {
			j.outcome = bpf.OutcomeWouldReset
		}
	default:
		j.outcome = bpf.OutcomeDrop
	}
}

// byGeneration asks the generation that decides; true is a block.
func (w *World) byGeneration(f facts, j *judgement) bool {
	j.generation = w.generationFor(f.packet)
	return w.byOwn(f, j.generation, j)
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
	t := w.add(g, matches, f.proven)
	v := w.choose(f, g, t)
	switch {
	case v == bpf.VerdictPass:
		w.pass(f, g, t, j)
	case v == bpf.VerdictTag:
		j.reason, j.tagged = t.best.kind, true
	case !t.strong: // reasons, alone or summed with each other, never reach block
		j.reason, j.tagged = weak, t.tagged != none || reaches(t.score, g.Bundle.PolicyFor(f.service).Tag)
	case v == bpf.VerdictLimit:
		return w.hold(f, g, t.best.kind, j)
	default:
		j.reason, j.resets = t.best.kind, v == bpf.VerdictReset
		return true
	}
	return false
}

// hold asks the limit of a generation; true is a block. The protected are not charged.
func (w *World) hold(f facts, g *Generation, kind bpf.Reason, j *judgement) bool {
	j.reason, j.tagged = kind, true
	switch {
	case w.isProtected(f.packet), w.isVouched(f.packet), w.isBehind(g) && w.wasProtected(f.packet):
		return false
	case f.alone:
		return true
	}
	j.over = f.charge != nil && f.charge(g)
	j.tagged = !j.over
	return j.over
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
