// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"strings"

	"github.com/spillway/spillway/userspace/rollout/sequential"
)

// sitesAhead are the source prefixes a day of the sites that a person is told of before a rollout begins, when nothing
// of his own was counted yet.
var sitesAhead = [...]float64{1_000_000, 100_000, 5000}

// usual is the traffic of a site of so many source prefixes a day: 30 % of them are new, and 2 % fail by themselves.
func usual(aDay float64) Traffic { return Traffic{VotesADay: aDay, NewADay: 0.3 * aDay, Failing: 0.02} }

// Ahead says how a change comes into force, before it begins: what it goes through, how long that takes, and what a
// person can choose. observes: the host can block nobody. seen is what the last rollout counted here; zero: none did.
func (g Guards) Ahead(c Change, observes bool, seen Traffic) []string {
	switch {
	case observes:
		return []string{"this host observes: it is tried, and then in force; it blocks nobody"}
	case c.Kind == KindRelax:
		return []string{"it can only let more pass: it is tried, and then in force"}
	case c.Kind == KindEmergency:
		return []string{"an emergency: it is tried, compared for ten seconds, and then decides for everybody, for an hour at most"}
	case c.fast(g):
		return []string{"an update of lists: it is tried, compared for ten seconds, and bakes then"}
	}
	said := g.stagesAhead(c, seen)
	if c.intent(g).NewBlocks == 0 {
		said = append(said, fmt.Sprintf("it has no intent: if it newly blocks more than %s of the sources it is held; "+
			"docs/BUNDLE.md says how to declare what it is meant to block", percent(g.size().delta)))
	}
	return said
}

// stagesAhead says what a bundle goes through, and how long that takes.
func (g Guards) stagesAhead(c Change, seen Traffic) []string {
	if c.Stop {
		return []string{"it is compared with what is in force, and decides for nobody until a person promotes it"}
	}
	shadow := sequential.Test{Side: sequential.Below, Bound: g.size().delta, Alpha: betaAccept}
	votes := max(shadow.Needed(0), g.size().votes)
	var shares []string
	for _, s := range g.Steps {
		shares = append(shares, strings.TrimSuffix(percent(float64(s.Share)/1000), " %"))
	}
	return []string{
		fmt.Sprintf("it goes in stages: it is compared with what is in force for %d source prefixes (%s at least), then "+
			"decides for %s %% of them, then bakes", votes, strings.TrimPrefix(about(g.Shadow), "about "),
			strings.Join(shares, ", ")),
		g.howLong(seen)}
}

// howLong says how long the stages take: here, where that was measured, else at sites of several sizes.
func (g Guards) howLong(seen Traffic) string {
	if seen.VotesADay > 0 {
		e := g.parts(seen)
		return fmt.Sprintf("at this host's traffic (%.0f source prefixes a day, as the last rollout counted them) %s.%s",
			seen.VotesADay, e.takes("it"), g.advice(e, seen))
	}
	var sites []string
	for _, n := range sitesAhead {
		takes := "evidence does not suffice, and it is held"
		if e := g.parts(usual(n)); !e.Never {
			takes = about(e.Total)
		}
		sites = append(sites, fmt.Sprintf("at %.0f a day %s", n, takes))
	}
	return fmt.Sprintf("how long that takes, by source prefixes a day: %s. To wait less: guards.evidence, "+
		"guards.time_only_below, or promote a stage yourself (docs/ROLLOUT.md, Small sites)", strings.Join(sites, ", "))
}
