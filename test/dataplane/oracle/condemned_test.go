// SPDX-License-Identifier: Apache-2.0

package oracle_test

import (
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/config/signature"
	"github.com/spillway/spillway/test/model/oracle"
	"github.com/spillway/spillway/test/support/packet"
)

// condemn makes a world one in which prefixes decide on most SYNs, mostly alone: what the front ends. What its other
// features say is near to what that turns on.
func condemn(r *rand.Rand, w *oracle.World) {
	allowBlocks(r, w)
	if !one(r, 4) {
		w.Before, w.Allowlist, w.Services = nil, nil, servicePool()
	}
	for _, g := range []*oracle.Generation{w.Stable, w.Candidate, w.Previous} {
		if g != nil {
			condemnIn(r, g.Bundle)
			g.Services = nil
			for _, s := range w.Services {
				g.Services = append(g.Services, s.Name)
			}
		}
	}
}

// allowBlocks takes most of what stands above all generations away.
func allowBlocks(r *rand.Rand, w *oracle.World) {
	w.Mode, w.Heartbeat, w.Bypass, w.BypassServices = config.ModeEnforce, always, false, nil
	if !one(r, 4) {
		w.Bans, w.Vouched, w.Spent = nil, nil, false
	}
}

func condemnIn(r *rand.Rand, b *config.Bundle) {
	rule := func(scores ...int) string {
		made := config.Rule{ID: fmt.Sprintf("c%d", len(b.Rules)), Label: "l", Score: pick(r, scores)}
		if one(r, 6) {
			made.Expires = past
		}
		b.Rules = append(b.Rules, made)
		return made.ID
	}
	for l := range 1 + r.IntN(2) {
		list := config.PrefixList{List: fmt.Sprintf("condemned%d", l), Rule: rule(40, 50, 60, 80, 100)}
		for _, a := range slices.Concat(sources4, sources6) {
			p, err := a.Prefix(pick(r, []int{24, 32}))
			if err == nil && !one(r, 6) && !slices.Contains(list.Entries, p) {
				list.Entries = append(list.Entries, p)
			}
		}
		b.Prefixes = append(b.Prefixes, list)
	}
	b.TCP, b.Reasons = nil, nil
	b.Policy = map[string]config.Policy{config.DefaultPolicy: {Drop: pick(r, []config.Threshold{30, 50, 80, 100})}}
	if one(r, 3) {
		return
	}
	of := rule(-40, -10, 0, 10, 50, 90, 100)
	if last := &b.Rules[len(b.Rules)-1]; one(r, 4) {
		last.Score, last.Verdict = 0, pick(r, []config.RuleVerdict{config.RuleAllow, config.RuleTag})
	}
	for _, s := range fingerprints {
		if fp, err := signature.ParseMuonFP(s); err == nil && !one(r, 3) {
			b.TCP = append(b.TCP, config.TCPFeature{Rule: of, Fingerprint: fp})
		}
	}
	if one(r, 2) {
		b.Reasons = append(b.Reasons, config.ReasonFeature{Rule: rule(-30, 20, 100), Reason: "syn_options"})
	}
}

// randomSYN returns a SYN without data that needs no mending, to a service that most worlds have.
func randomSYN(r *rand.Rand) packet.Frame {
	f := packet.Frame{Source: pick(r, sources4), Dest: pick(r, dests4)}
	if one(r, 2) {
		f.Source, f.Dest = pick(r, sources6), pick(r, dests6)
	}
	f.Body = packet.TCP{SourcePort: pick(r, sourcePorts), DestPort: pick(r, []uint16{443, 443, 8443}), Seq: r.Uint32(),
		Flags: packet.SYN, Window: 64240, Options: pick(r, optionLists)}
	return f
}
