// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"slices"

	"github.com/spillway/spillway/userspace/rollout/sequential"
)

// judge says what the evidence of a turn means for a run: what must end it, and what keeps it from going on. It ends
// nothing.
type judge struct{ turn *turn }

func judgeOf(t *turn) judge { return judge{t} }

// harm ends a lane whose candidate does what it must not. What is certain comes before what is counted.
func (t *turn) harm(r *Run) {
	if !r.Stage.runs() {
		return
	}
	j := judgeOf(t)
	if d := j.condemned(r); d != nil {
		t.end(r, d)
		return
	}
	if r.Stage == StageTaste {
		return
	}
	for _, gate := range [...]func(*Run) *Decision{
		j.hit, j.trip, j.gone, j.unconfirmed, j.emergency, j.undeclared, j.declared, j.split, j.ratio, j.unwell,
	} {
		if d := gate(r); d != nil {
			t.end(r, d)
			return
		}
	}
}

// bad is where a lane ends whose candidate is bad: refused while it decided for nobody, else taken back.
func bad(r *Run) Stage {
	if r.Stage <= StageShadow {
		return StageRefused
	}
	return StageTakenBack
}

// condemned is the gate of what was condemned since it began: a person rolled it back. Who passed a quarantine with a
// reason lifted it, so a bundle that is in it now got there later.
func (j judge) condemned(r *Run) *Decision {
	q, found := j.turn.s.condemned(r.Change)
	if !found {
		return nil
	}
	says := "It was condemned while it ran: %s"
	if q.Gate == GatePerson {
		says = "A person rolled it back: %s"
	}
	d := j.turn.decide(r, bad(r), q.Gate, says, q.Why)
	d.Condemns = true
	return d
}

// hit is the gate of the protected: one confirmed source is enough, in every stage. There is no statistic in it, and
// nobody can accept it. What no socket confirmed can be forged, and does nothing.
func (j judge) hit(r *Run) *Decision {
	v := j.turn.votes(r)
	if v.Generation != r.Number {
		return nil
	}
	for _, h := range v.Protected {
		if !h.Confirmed {
			continue
		}
		d := j.turn.decide(r, bad(r), GateProtected, "%s would block %s, a protected source (%s). No bundle may.",
			h.Blame.subject(), h.Who, h.Class)
		d.Hit, d.Condemns = &h, true
		return d
	}
	return nil
}

// trip is the kernel's budget: its new blocks pass already.
func (j judge) trip(r *Run) *Decision {
	tripped := j.turn.e.Kernel.Tripped
	if tripped == 0 || tripped != r.Number && !r.Change.Stood.has(tripped) {
		return nil
	}
	d := j.turn.decide(r, bad(r), GateBudget,
		"Generation %d used up its budget of blocks outside of its intent; the kernel lets them pass.", tripped)
	d.Blame, d.Condemns = worst(j.turn.votes(r).NewBlocks, r.Change.intent(j.turn.s.Guards)), true
	return d
}

// gone holds a candidate that the kernel stopped to honour: the agent was stopped, starved or away. That says nothing
// against the bundle. In shadow it decided for nobody, and is published again.
func (j judge) gone(r *Run) *Decision {
	k := j.turn.e.Kernel
	if !k.Known {
		return nil
	}
	gone := false
	switch {
	case r.Stage == StageCanary:
		gone = k.Candidate == 0 || k.Lapsed == r.Number || r.Seen && k.Candidate != r.Number
	case r.Stage == StageBake && r.Seen:
		// A change of the fast track may have taken its place a moment ago, or be on its way out: it holds this one.
		gone = k.Stable != r.Number && (j.turn.isFast(r) || k.Stable != j.turn.s.Fast.Number) && !j.turn.leaves(k.Stable)
	case r.Stage == StageBake && !j.turn.isFast(r) && !r.Observed:
		gone = k.Stable != r.Number && (k.Candidate != r.Number || k.Lapsed == r.Number)
	}
	if !gone {
		return nil
	}
	return j.turn.decide(r, StageHeld, GateLease,
		"Generation %d decides no more: its lease ended while the agent was away, "+
			"or somebody took it out. That says nothing against the bundle; `spillway rollout resume` tries it again.", r.Number)
}

// leaves reports whether a generation is to leave the kernel.
func (t *turn) leaves(number uint32) bool {
	return slices.ContainsFunc(t.s.Undo, func(u Undo) bool { return u.Number == number })
}

// unconfirmed takes back what somebody wanted to confirm and did not.
func (j judge) unconfirmed(r *Run) *Decision {
	if r.Stage != StageBake || r.Change.Confirm == 0 || r.Confirmed || r.Times.Sure < r.Change.Confirm {
		return nil
	}
	d := j.turn.decide(r, StageTakenBack, GateConfirm, "Nobody confirmed generation %d within %s.",
		r.Number, span(r.Change.Confirm))
	d.Condemns = true
	return d
}

// emergency ends after an hour.
func (j judge) emergency(r *Run) *Decision {
	if r.Stage != StageCanary || r.Change.Kind != KindEmergency || r.Times.Sure < emergencyMost {
		return nil
	}
	return j.turn.decide(r, StageHeld, GateEmergency,
		"An emergency ends after %s. Its evidence did not suffice to keep it; it waited for %s.", span(emergencyMost), r.Waits)
}

// undeclared is the gate of what the bundle did not declare.
//
//	n = votes since the stage began; u = those newly blocked by a rule whose label is not in the intent
//	sequential.Test{Above, delta, alpha}.Look(u, n)        delta: guards.evidence
//
// In shadow nobody was blocked: a person may accept it, with the rules to blame. Later it is taken back and
// condemned.
func (j judge) undeclared(r *Run) *Decision {
	c, g := r.counts(), j.turn.s.Guards
	if c.Undeclared == 0 {
		return nil
	}
	alpha, bound := alphaShadow, g.size().delta
	switch {
	case r.Stage == StageCanary:
		alpha = g.each(alphaSteps)
	case r.Stage == StageBake:
		alpha = alphaBake
	}
	if j.turn.isFast(r) {
		bound = max(bound, g.MaxDelta.Connections)
	}
	look := sequential.Test{Side: sequential.Above, Bound: bound, Alpha: alpha}.Look(c.Undeclared, c.Pairs)
	if !look.Rejects() {
		return nil
	}
	if r.Stage != StageShadow {
		d := j.blame(r, StageTakenBack, look, 0)
		d.Condemns = true
		return d
	}
	return j.blame(r, StageHeld, look, 0)
}

// declared is the gate of more than was declared, by what was declared. Half as much again is allowed.
//
//	sequential.Test{Above, 1.5 × the intent's share, alpha}.Look(d, n)      d: newly blocked by a label of the intent
//
// It ends a shadow only. Later, the bundle is the one that shadow measured and only the traffic has changed: an
// attack that grows must not end its own defence. Such a rollout waits where it is.
func (j judge) declared(r *Run) *Decision {
	c, share := r.counts(), r.Change.intent(j.turn.s.Guards).NewBlocks
	if r.Stage != StageShadow || c.Declared == 0 || slack*share >= 1 || j.turn.isFast(r) ||
		r.Change.Kind == KindEmergency {
		return nil
	}
	look := sequential.Test{Side: sequential.Above, Bound: slack * share, Alpha: alphaDeclared}.Look(c.Declared, c.Pairs)
	if !look.Rejects() {
		return nil
	}
	return j.blame(r, StageHeld, look, share)
}

// blame names the rule that newly blocks most outside of the intent.
func (j judge) blame(r *Run, to Stage, look sequential.Look, declared float64) *Decision {
	intent := r.Change.intent(j.turn.s.Guards)
	meant := without(j.turn.votes(r).NewBlocks, func(b Blame) bool { return intent.names(b.Label) != (declared > 0) })
	rules := worst(j.turn.votes(r).NewBlocks, intent)
	if declared > 0 {
		rules = worst(meant, Intent{})
	}
	subject, does := "The bundle", " newly blocks"
	if len(rules) > 0 {
		subject = rules[0].subject()
	}
	if n := len(worst(meant, Intent{})); n > 1 {
		subject, does = subject+" and "+many(int64(n-1), "more rule"), " newly block"
	}
	if r.Stage < StageBake { // in a canary it would block everybody's, and blocks those of a share
		does = " would newly block"
	}
	tail := "it was not declared."
	if declared > 0 {
		tail = "it was declared for " + percent(declared) + "."
	}
	d := j.turn.decide(r, to, GateIntent, "%s%s %s of the sources; %s", subject, does, percent(look.Rate()), tail)
	d.Blame, d.Looks = rules, []sequential.Look{look}
	return d
}

// split is the gate of the arms: failures that pairs of verdicts do not see.
//
//	m = sources that failed since the step began, k = those of the canary, rho = the canary's share
//	sequential.Test{Above, Tilted(rho, 1.25), alpha}.Look(k, m)
//
// The salt is drawn apart from the traffic, and a source counts once an attempt. So under "no harm" each failing
// source is in the canary with probability rho, whatever its neighbours do: sources that fail together cannot fool
// it.
func (j judge) split(r *Run) *Decision {
	share := r.share(j.turn.s.Guards)
	canary, control := r.arms()
	if r.Stage != StageCanary || share >= 1000 || canary.Bad <= 0 {
		return nil
	}
	rho := float64(share) / 1000
	look := sequential.Test{
		Side: sequential.Above, Bound: sequential.Tilted(rho, tolerated), Alpha: j.turn.s.Guards.each(alphaArms),
	}.Look(canary.Bad, canary.Bad+control.Bad)
	if !look.Rejects() {
		return nil
	}
	d := j.turn.decide(r, StageTakenBack, GateArms, "%s of the canary's %d sources failed, and %d of the %d others.",
		itoa(int(canary.Bad)), canary.Sources, control.Bad, control.Sources)
	d.Looks, d.Condemns = []sequential.Look{look}, true
	d.Blame = worst(j.turn.votes(r).NewBlocks, r.Change.intent(j.turn.s.Guards))
	return d
}

// ratio is the gate of the split itself: a canary that has another share of the sources than it should is no
// experiment.
//
//	sequential.Test{Either, rho, alpha}.Look(sources of the canary, all sources)
func (j judge) ratio(r *Run) *Decision {
	share := r.share(j.turn.s.Guards)
	canary, control := r.arms()
	if r.Stage != StageCanary || share >= 1000 || r.Change.Kind == KindEmergency {
		return nil
	}
	look := sequential.Test{
		Side: sequential.Either, Bound: float64(share) / 1000, Alpha: j.turn.s.Guards.each(alphaRatio),
	}.Look(canary.Sources, canary.Sources+control.Sources)
	if !look.Rejects() {
		return nil
	}
	d := j.turn.decide(r, StageHeld, GateRatio,
		"The canary should have %s of the sources and has %s: the split is broken, "+
			"and nothing can be learnt from it.", percent(look.Bound), percent(look.Rate()))
	d.Looks = []sequential.Look{look}
	return d
}

// unwell is the gate of the origin, where the host asks for it. It condemns nothing: whoever floods the origin must
// not decide what becomes of a bundle.
func (j judge) unwell(r *Run) *Decision {
	if j.turn.s.Guards.Health != HealthBack || r.Stage < StageCanary || r.Times.Unwell < unwellMost {
		return nil
	}
	h := j.turn.e.Health
	return j.turn.decide(r, StageHeld, GateHealth, "The origin has been unwell for %s: %s is %.4g, its limit is %.4g.",
		span(unwellMost), h.What, h.Value, h.Limit)
}
