// SPDX-License-Identifier: Apache-2.0

package progrun

import (
	"testing"
	"time"

	"github.com/spillway/spillway/config"
)

// Of the four thresholds the highest counts that a score reaches; a SYN is neither tagged nor limited.
func TestThresholds(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		policy := config.Policy{Tag: 20, Limit: 40, Drop: 60, Reset: 80, Rate: rate(time.Hour, 1, config.LimitBySource)}
		l := r.listen()
		for _, c := range []struct {
			score      int
			syn, first result
		}{
			{19, passes("below_threshold"), passes("below_threshold")},
			{20, passes("prefix"), tags("prefix")},
			{39, passes("prefix"), tags("prefix")},
			{40, passes("prefix"), tags("prefix")},
			{60, drops("prefix"), drops("prefix")},
			{79, drops("prefix"), drops("prefix")},
		} {
			p.swap(rules().rule("bad", c.score).list("own", "bad", host(f.bot)).policy(policy).bundle())
			k := r.connect(l, f.bot, true)
			p.wantBytes("the SYN", k.syn, c.syn)
			p.wantBytes("the first payload", k.write(request), c.first)
			k.pending = nil
			k.reset()
			p.renew(f, false)
		}
	})
}

// What a rule allows passes, whatever the other rules say of it, fragments and reasons that block included; an
// operator's ban is above it.
func TestAllowEndsTheQuestion(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		p := borrow(t).site(f, nothing())
		wide, _, one := f.nested()
		for name, c := range map[string]struct {
			draft *draft
			want  result
		}{
			"above a list": {rules().rule("a", 100).ruleSays("good", config.RuleAllow).list("x", "a", wide).
				list("y", "good", one), passes("allowed")},
			"above a fingerprint": {rules().rule("a", 100).ruleSays("good", config.RuleAllow).tcp("a", browserFP).
				list("y", "good", wide), passes("allowed")},
			"by a fingerprint": {rules().rule("a", 100).ruleSays("good", config.RuleAllow).list("x", "a", one).
				tcp("good", browserFP), passes("allowed")},
			"within a list the longest counts": {rules().rule("a", 100).ruleSays("good", config.RuleAllow).
				list("x", "good", wide).list("x", "a", one), drops("prefix")},
			"alone":               {rules().ruleSays("good", config.RuleAllow).list("x", "good", one), passes("allowed")},
			"a tag blocks nobody": {rules().ruleSays("odd", config.RuleTag).list("x", "odd", one), passes("prefix")},
			"a tag adds nothing": {rules().rule("a", 80).ruleSays("odd", config.RuleTag).list("x", "a", one).
				list("y", "odd", one), drops("prefix")},
		} {
			p.swap(c.draft.bundle())
			p.want(name, f.syn(f.visitor), c.want)
		}
		p.swap(rules().ruleSays("good", config.RuleAllow).list("x", "good", host(f.visitor)).bundle())
		p.must(p.Ban(host(f.visitor), time.Hour))
		p.want("a ban is above it", f.syn(f.visitor), banned("web"))
	})
}

// An allowed connection passes as a whole, and a rule with `tag` tags it without a threshold.
func TestRulesWithAVerdictOnConnections(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		l := r.listen()
		p.swap(rules().rule("bad", 100).ruleSays("good", config.RuleAllow).list("own", "bad", f.denied).
			list("friends", "good", host(f.bot)).bundle())
		p.wantDecided("allowed", r.connect(l, f.bot, true).at(0, request), passes("allowed"), "web allowed pass")
		p.renew(f, false)
		p.swap(rules().ruleSays("odd", config.RuleTag).list("own", "odd", host(f.visitor)).bundle())
		k := r.connect(l, f.visitor, true)
		p.wantDecided("tagged", k.at(0, request), tags("prefix"), "web prefix tag")
		p.want("once", k.at(uint32(len(request)), request), known())
	})
}

// Weak reasons alone neither block nor limit, and may tag.
func TestWeakReasonsMayTag(t *testing.T) {
	eachRoom(t, func(t *testing.T, f family, r *room, p *plane) {
		policy := config.Policy{Tag: 20, Limit: 40, Drop: 90, Rate: rate(time.Hour, 1, config.LimitBySource)}
		p.swap(rules().rule("odd", 50).reason("odd", "not_hello").policy(policy).bundle())
		p.wantBytes("a request without TLS", r.visit(f.visitor).write(request), tags("weak"))
	})
}
