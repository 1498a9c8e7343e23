// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"strings"
	"time"

	"github.com/spillway/spillway/userspace/rollout/sequential"
)

// Traffic is what a host sees, as measured before a rollout or during it.
type Traffic struct {
	VotesADay float64 `json:"votes_a_day"` // source prefixes in 24 hours: what shadow counts
	// NewADay are those of them that were not seen in the days before: what later steps of a canary count.
	NewADay float64 `json:"new_a_day"`
	Failing float64 `json:"failing"` // share of the source prefixes with a failed connection, 0 to 1
}

// Part is the time of one stage.
type Part struct {
	Stage Stage         `json:"stage"`
	Share uint16        `json:"share"` // of the canary, in thousandths
	Votes int64         `json:"votes"` // that it needs; 0: only time
	Takes time.Duration `json:"takes"`
	Never bool          `json:"never"` // at this traffic its longest time ends first: it will be held
}

// Estimate is what a rollout will take at this traffic.
type Estimate struct {
	Parts    []Part        `json:"parts"`
	Total    time.Duration `json:"total"`
	Never    bool          `json:"never"`
	Sentence string        `json:"sentence"`
}

// Estimate computes how long a bundle takes that does what it declares. It is asked before the start, and during it.
func (g Guards) Estimate(tr Traffic) Estimate {
	e := g.parts(tr)
	e.Sentence = fmt.Sprintf("At your traffic (%.0f source prefixes a day) %s.%s", tr.VotesADay, e.takes("a rollout"),
		g.advice(e, tr))
	return e
}

// takes says how long what takes.
func (e Estimate) takes(what string) string {
	if e.Never {
		return "evidence will not suffice, and it will be held"
	}
	return what + " takes " + about(e.Total)
}

// advice is what a person can choose where that is long; "" where it is not.
func (g Guards) advice(e Estimate, tr Traffic) string {
	if !e.Never && e.Total <= 24*time.Hour {
		return ""
	}
	return " Your choices: " + strings.Join(g.choices(tr), "; ") + "."
}

// choices are what a small site can do, with what it takes then.
func (g Guards) choices(tr Traffic) (out []string) {
	small, byTime := g, g
	small.Evidence, byTime.TimeOnlyBelow = LevelSmall, tr.VotesADay+1
	if e := small.parts(tr); g.Evidence != LevelSmall && !e.Never {
		out = append(out, "guards.evidence: small ("+about(e.Total)+")")
	}
	if e := byTime.parts(tr); tr.VotesADay >= g.TimeOnlyBelow && !e.Never {
		out = append(out, fmt.Sprintf("guards.time_only_below: %.0f (%s)", byTime.TimeOnlyBelow, about(e.Total)))
	}
	return append(out, "promote a stage yourself, with a reason")
}

func (g Guards) parts(tr Traffic) (e Estimate) {
	shadow := sequential.Test{Side: sequential.Below, Bound: g.size().delta, Alpha: betaAccept}
	votes := max(shadow.Needed(0), g.size().votes)
	e.add(g, Part{Stage: StageShadow, Votes: votes, Takes: takes(votes, tr.VotesADay, g.Shadow)}, tr)
	for _, s := range g.Steps {
		p := Part{Stage: StageCanary, Share: s.Share, Takes: s.For}
		if s.Share < 1000 {
			p.Votes = g.sources(s.Share, tr.Failing)
			p.Takes = takes(p.Votes, tr.NewADay, s.For)
		}
		e.add(g, p, tr)
	}
	e.add(g, Part{Stage: StageBake, Takes: g.Bake}, tr)
	return e
}

func (e *Estimate) add(g Guards, p Part, tr Traffic) {
	rare := tr.VotesADay < g.TimeOnlyBelow
	most := g.most(p.Stage, rare)
	if rare && p.Votes > 0 {
		p.Takes = min(p.Takes, g.TimeOnly)
	}
	p.Never = p.Takes >= most
	e.Parts, e.Total, e.Never = append(e.Parts, p), e.Total+min(p.Takes, most), e.Never || p.Never
}

// sources is how many source prefixes a step needs: the cheaper of the two tests of compares, or the least.
func (g Guards) sources(share uint16, failing float64) int64 {
	rho := float64(share) / 1000
	least := int64(float64(g.size().votes) / 10 / rho)
	margin := g.margin(share)
	if margin == 0 {
		return least
	}
	hardly := sequential.Test{Side: sequential.Below, Bound: g.size().delta, Alpha: betaAccept}.NeededAt(failing)
	tilted := sequential.Tilted(rho, margin)
	split := sequential.Test{Side: sequential.Below, Bound: tilted, Alpha: betaAccept}.NeededAt(rho)
	byRate, bySplit := float64(hardly)/rho, float64(split)/max(failing, 1e-9)
	return max(least, int64(min(byRate, bySplit)))
}

// takes is how long votes take at so many a day, and at least.
func takes(votes int64, aDay float64, least time.Duration) time.Duration {
	const forever = 1 << 62
	d := float64(votes) / max(aDay, 1e-9) * float64(24*time.Hour)
	if d > forever {
		return forever
	}
	return max(time.Duration(d), least)
}

func about(d time.Duration) string {
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("about %.0f days", d.Hours()/24)
	case d >= 2*time.Hour:
		return fmt.Sprintf("about %.0f hours", d.Hours())
	}
	if d < time.Minute {
		return "less than a minute"
	}
	return fmt.Sprintf("about %.0f minutes", d.Minutes())
}

// Status says where a rollout stands, for status and for who waits.
func (r Run) Status(g Guards) string {
	if !r.Stage.runs() {
		return "no rollout"
	}
	var b strings.Builder
	b.WriteString(r.Stage.String())
	if r.Stage == StageCanary {
		b.WriteString(" at " + percent(float64(r.share(g))/1000))
	}
	c := r.counts()
	low, high := sequential.Interval(c.Declared+c.Undeclared, c.Pairs, betaAccept)
	fmt.Fprintf(&b, ", %s: newly blocks %s to %s of %s", r.Times.Stage.Round(time.Second), percent(low), percent(high),
		many(c.Pairs, "vote"))
	if r.Waits != "" {
		b.WriteString("; waits for " + r.Waits)
	}
	if left, known := r.left(g); known {
		b.WriteString(", " + about(left) + " left in this stage")
	}
	return b.String()
}

// left is how long the stage still takes at the traffic of this rollout, where votes or time are what it waits for.
func (r Run) left(g Guards) (time.Duration, bool) {
	c := r.counts()
	switch {
	case r.Waits == waitVotes && c.Pairs > 0 && r.Times.Stage > 0:
		test := sequential.Test{Side: sequential.Below, Bound: g.size().delta, Alpha: betaAccept}
		need := max(test.NeededAt(float64(c.Undeclared)/float64(c.Pairs)), g.size().votes)
		left := float64(need-c.Pairs) / float64(c.Pairs) * float64(r.Times.Stage)
		return time.Duration(max(left, 0)), left < float64(1<<62)
	case (r.Waits == waitSources || r.Waits == waitFailures) && r.Times.Stage > 0:
		canary, control := r.arms()
		have, failing := canary.Sources+control.Sources, 0.0
		if have <= 0 {
			return 0, false
		}
		failing = float64(canary.Bad+control.Bad) / float64(have)
		left := float64(g.sources(r.share(g), failing)-have) / float64(have) * float64(r.Times.Stage)
		return time.Duration(max(left, 0)), left < float64(1<<62)
	case r.Waits == waitTime:
		past := r.Times.Judged
		if r.Change.Kind != KindBundle && r.Stage != StageBake {
			past = r.Times.Stage
		}
		return max(r.least(g)-past, 0), true
	}
	return 0, false
}
