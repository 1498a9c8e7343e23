// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"github.com/spillway/spillway/userspace/rollout/sequential"
)

// For what a rollout waits, for status.
const (
	waitPaused   = "a person paused it"
	waitTime     = "time with traffic"
	waitTraffic  = "traffic: it was shown no confirmed connection in the last minute"
	waitDecides  = "an end of what lets everything pass: mode observe, a bypass, or no interface"
	waitVotes    = "votes"
	waitDeclared = "it newly blocks more than it declared"
	waitUnclear  = "undeclared blocks that may be too many"
	waitFailures = "new source prefixes, to compare its failures by"
	waitSources  = "new source prefixes in the canary"
	waitHealth   = "an origin that is well"
	waitPerson   = "a person: it was to stop after shadow"
	waitConfirm  = "its confirmation"
	waitFast     = "the change of the fast track that bakes"
	waitBake     = "the rollout that bakes"
	waitRebuilt  = "a generation on what is stable now"
	waitKernel   = "the kernel"
)

// progress lets a lane go on when all its gates allow it.
func (t *turn) progress(r *Run) {
	if !r.Stage.runs() || r.Stage == StageTaste {
		return
	}
	if r.Paused != "" {
		r.Waits = waitPaused
		return
	}
	switch r.Stage {
	case StageShadow:
		t.shadow(r)
	case StageCanary:
		t.canary(r)
	case StageBake:
		t.bake(r)
	}
}

// late holds a rollout that learnt nothing for too long.
func (t *turn) late(r *Run) bool {
	most := t.s.Guards.most(r.Stage, judgeOf(t).rare(r))
	if r.Times.Stage < most || r.Change.Kind == KindEmergency {
		return false
	}
	t.end(r, t.decide(r, StageHeld, GateTime,
		"%s in %s did not suffice; it waited for %s. `spillway rollout resume` tries it again.", span(most), r.Stage, r.Waits))
	return true
}

// accepts is the gate that lets shadow end.
//
//	sequential.Test{Below, delta, beta}.Look(u, n)
//
// It shows, wrongly in at most beta of all cases, that undeclared blocks are rarer than delta.
func (j judge) accepts(r *Run) (sequential.Look, bool) {
	c := r.counts()
	test := sequential.Test{Side: sequential.Below, Bound: j.turn.s.Guards.size().delta, Alpha: betaAccept}
	look := test.Look(c.Undeclared, c.Pairs)
	return look, look.Rejects() && c.Pairs >= j.turn.s.Guards.size().votes
}

// timeOnly reports whether time alone promotes: the host allows it below a stated traffic, and nothing undeclared was
// blocked. The kernel's budget still bounds what follows.
func (j judge) timeOnly(r *Run) bool {
	return r.Times.Stage >= j.turn.s.Guards.TimeOnly && r.Tally.total().Undeclared == 0 && j.rare(r)
}

// rare reports whether the traffic is below what the host stated for promotion by time.
func (j judge) rare(r *Run) bool {
	days := r.Times.Total.Hours() / 24
	return j.turn.s.Guards.TimeOnlyBelow > 0 && float64(r.Tally.total().Pairs) < days*j.turn.s.Guards.TimeOnlyBelow
}

// holdsBack says what keeps every stage from ending; "" nothing.
func (j judge) holdsBack(r *Run) string {
	c, g := r.counts(), j.turn.s.Guards
	switch {
	case r.stale(j.turn.e.Kernel) || !r.Seen:
		return waitRebuilt
	case j.turn.isFast(r) && r.Stage == StageShadow && j.turn.s.Main.Stage == StageBake:
		return waitBake
	case r.Times.Judged < r.least(g) && r.Change.Kind == KindBundle:
		return j.waitsForTime(r)
	case r.Times.Stage < r.least(g):
		return waitTime
	case float64(c.Declared) > slack*r.Change.intent(g).NewBlocks*float64(c.Pairs) && r.Change.Kind == KindBundle:
		return waitDeclared
	case float64(c.Undeclared) > g.size().delta*float64(c.Pairs) && r.Change.Kind == KindBundle:
		return waitUnclear
	case g.Health != HealthOff && (!j.turn.e.Health.Known || j.turn.e.Health.Bad) && r.Change.Kind == KindBundle:
		return waitHealth
	}
	return ""
}

// waitsForTime says why time that counts goes on, or does not.
func (j judge) waitsForTime(r *Run) string {
	k := j.turn.e.Kernel
	switch {
	case r.Stage >= StageCanary && k.Known && !k.Deciding:
		return waitDecides
	case r.Times.Quiet >= idleAfter:
		return waitTraffic
	}
	return waitTime
}

func (t *turn) shadow(r *Run) {
	if r.Waits = judgeOf(t).holdsBack(r); r.Waits == "" && r.Change.Kind == KindBundle {
		_, shown := judgeOf(t).accepts(r)
		switch {
		case r.Change.Stop:
			r.Waits = waitPerson
		case !shown && !judgeOf(t).timeOnly(r):
			r.Waits = waitVotes
		}
	}
	if r.Waits == "" {
		t.goOn(r, GateIntent, "")
		return
	}
	t.late(r)
}

func (t *turn) canary(r *Run) {
	if r.Change.Kind == KindEmergency {
		r.Waits = waitVotes
		if r.stale(t.e.Kernel) || !r.Seen {
			r.Waits = waitRebuilt
			return
		}
		if _, shown := judgeOf(t).accepts(r); shown && t.s.Fast.Stage != StageBake && r.Times.Judged >= t.s.Guards.Shadow {
			t.goOn(r, GateIntent, "")
		}
		return
	}
	if r.Waits = judgeOf(t).holdsBack(r); r.Waits == "" {
		r.Waits = judgeOf(t).compares(r)
	}
	if last := r.Step == len(t.s.Guards.Steps)-1; r.Waits == "" && last && t.s.Fast.Stage == StageBake {
		r.Waits = waitFast
	}
	if r.Waits == "" {
		t.goOn(r, GateArms, "")
		return
	}
	t.late(r)
}

// compares is the gate that lets a step end, by one of two tests:
//
//	sequential.Test{Below, Tilted(rho, margin), beta}.Look(k, m)      its sources fail less than margin × as often
//	sequential.Test{Below, delta, beta}.Look(k, n)                    they hardly fail at all; n: the canary's sources
//
// A share of at most 1 % is too small to show either: such a step only takes its time. At 100 % there is nobody to
// compare.
func (j judge) compares(r *Run) string {
	g, share := j.turn.s.Guards, r.share(j.turn.s.Guards)
	canary, control := r.arms()
	if share >= 1000 || j.timeOnly(r) {
		return ""
	}
	if canary.Sources*10 < g.size().votes {
		return waitSources
	}
	margin := g.margin(share)
	if margin == 0 {
		return ""
	}
	for _, look := range r.compared(g, margin, canary, control) {
		if look.Rejects() {
			return ""
		}
	}
	return waitFailures
}

func (r Run) compared(g Guards, margin float64, canary, control Arm) [2]sequential.Look {
	bound := sequential.Tilted(float64(r.share(g))/1000, margin)
	return [2]sequential.Look{
		sequential.Test{Side: sequential.Below, Bound: bound, Alpha: betaAccept}.Look(canary.Bad, canary.Bad+control.Bad),
		sequential.Test{Side: sequential.Below, Bound: g.size().delta, Alpha: betaAccept}.Look(canary.Bad, canary.Sources),
	}
}

// goOn enters the next stage or step.
func (t *turn) goOn(r *Run, gate Gate, why string) {
	stage, step := next(*r, t.s.Guards)
	d := t.decide(r, stage, gate, "")
	look, _ := judgeOf(t).accepts(r)
	d.Looks = []sequential.Look{look}
	if share := r.share(t.s.Guards); r.Stage == StageCanary && share < 1000 {
		canary, control := r.arms()
		looks := r.compared(t.s.Guards, max(t.s.Guards.margin(share), tolerated), canary, control)
		d.Looks = append(d.Looks, looks[:]...)
	}
	*r = r.enter(stage, step)
	d.Sentence = t.went(r, d, why)
	t.do(DoNote, r, d)
}

// next is the stage and step that follow.
func next(r Run, g Guards) (Stage, int) {
	switch {
	case r.Stage == StageShadow && r.Change.fast(g):
		return StageBake, 0
	case r.Stage == StageShadow:
		return StageCanary, 0
	case r.Stage == StageCanary && r.Change.Kind != KindEmergency && r.Step+1 < len(g.Steps):
		return StageCanary, r.Step + 1
	}
	return StageBake, 0
}

func (t *turn) went(r *Run, d *Decision, why string) string {
	where := r.Stage.String()
	if r.Stage == StageCanary {
		where = percent(float64(r.share(t.s.Guards))/1000) + " of the sources"
	}
	if why != "" {
		return "Goes on to " + where + " although the evidence is inconclusive: " + why + "."
	}
	c := d.Counts
	if c.Pairs == 0 && d.From == StageCanary { // all its sources voted before: one vote a prefix and day
		return "Goes on to " + where + ": no harm shows among its sources, and none of them voted anew."
	}
	return "Goes on to " + where + ": of " + many(c.Pairs, "vote") + " it newly blocked " + itoa(int(c.Declared)) +
		" as declared and " + itoa(int(c.Undeclared)) + " otherwise."
}
