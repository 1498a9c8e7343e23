// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/spillway/spillway/bpf"
	"github.com/spillway/spillway/config"
	"github.com/spillway/spillway/test/support/clienthello"
)

// limitTitle is that of the table of limitRows.
const limitTitle = "What a tag and a limit add to a decision"

// limitGoal is what each of them may add, in nanoseconds.
const limitGoal = 60

// knownClient are the lists of a client that the catalogue knows: curl 7.88 of Debian 12.
const knownClient = "t13d3112h2_002f,0033,0035,0039,003c,003d,0067,006b,009c,009d,009e,009f,00ff,1301,1302,1303,c009,c00a," +
	"c013,c014,c023,c024,c027,c028,c02b,c02c,c02f,c030,cca8,cca9,ccaa_000a,000b,000d,0015,0016,0017,002b,002d,0031,0033_" +
	"0403,0503,0603,0807,0808,0809,080a,080b,0804,0805,0806,0401,0501,0601,0303,0301,0302,0402,0502,0602"

const (
	scoredRow = "a score that passes"
	taggedRow = "the same, tagged"
	limitRow  = "the same, within a limit"
	sharedRow = "the same, and its client is noted for a shared address"
)

// scored is a bundle in which the connections of the bench have a score, and a policy that may do something with it.
func scored(lists func(*config.Bundle), policy config.Policy) func(*config.Bundle) {
	return func(b *config.Bundle) {
		denying(lists)(b)
		b.Rules = append(b.Rules, config.Rule{ID: "score", Label: "score", Score: 30})
		b.Prefixes = append(b.Prefixes, config.PrefixList{List: "bench", Rule: "score",
			Entries: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
		policy.Drop = 80
		b.Policy[config.DefaultPolicy] = policy
	}
}

// limitPlanes are dataplanes whose policies differ in nothing else.
func limitPlanes(lists func(*config.Bundle), flows int) map[string]planeOptions {
	rate := config.Rate{Connections: config.Frequency{Count: 1000, Per: time.Second}, Burst: 86_400_000 / 1000,
		By: config.LimitBySource, Over: config.OverDrop, Shared: 1}
	shared := rate
	shared.Shared = 8
	all := map[string]planeOptions{}
	for name, policy := range map[string]config.Policy{
		"scored":  {},
		"tagged":  {Tag: 30},
		"limited": {Limit: 30, Rate: rate},
		"shared":  {Limit: 30, Rate: shared},
	} {
		all[name] = planeOptions{flows: flows, bundle: scored(lists, policy)}
	}
	return all
}

// limitRows are one decision on a proven ClientHello, under policies that do more and more.
func (r *rig) limitRows() []*scenario {
	known := clienthello.OfLists(knownClient)
	var rows []*scenario
	for _, row := range []struct {
		plane, name string
		reason      bpf.Reason
		outcome     bpf.Outcome
	}{
		{"scored", scoredRow, bpf.ReasonBelowThreshold, passed},
		{"tagged", taggedRow, bpf.ReasonPrefix, bpf.OutcomeTag},
		{"limited", limitRow, bpf.ReasonPrefix, bpf.OutcomeTag},
		{"shared", sharedRow, bpf.ReasonPrefix, bpf.OutcomeTag},
	} {
		s := r.proven(row.plane, row.name, known, passed, part{0, len(known)})
		s.goal = 0
		s.path = &path{r.planes[row.plane], row.reason, row.outcome}
		rows = append(rows, s)
	}
	for _, s := range rows[1:] {
		s.versus = rows[0].key
	}
	return rows
}

// writeLimits says what a tag adds to a score that passes, what a limit adds to a tag, and a shared address to a limit.
func (r *results) writeLimits(add func(what, target, measured string, held bool)) {
	rows := r.sectionOf(limitTitle)
	for i := 1; i < len(rows); i++ {
		more := rows[i].net.median - rows[i-1].net.median
		add("decision on a proven ClientHello: "+rows[i].name, fmt.Sprintf("≤ %d ns more", limitGoal),
			fmt.Sprintf("%.0f ns more", more), more <= limitGoal)
	}
}
