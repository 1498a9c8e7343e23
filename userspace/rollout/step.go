// SPDX-License-Identifier: Apache-2.0

package rollout

import (
	"fmt"
	"slices"
	"time"
)

// Step looks once. It takes what is remembered, what was seen since, and the monotonic clock, and returns what is to
// be remembered and done. It reads nothing else, changes none of its arguments, and returns the same for the same
// arguments.
//
// Harm comes first: a candidate that hits a protected source ends in the look that sees it, whatever a person asks
// for in the same look.
func Step(s State, e Evidence, now time.Duration) (State, []Action) {
	t := &turn{s: s, e: &e}
	t.pass(now)
	resident(t)
	for _, lane := range []*Run{&t.s.Fast, &t.s.Main} {
		forgotten(t, lane)
		t.see(lane)
		observed(t, lane)
	}
	t.relaxed(&t.s.Fast)
	for _, c := range e.Commands {
		hear(t, c, wentBack) // before harm: a candidate that a person ended did not lapse
	}
	t.harm(&t.s.Fast)
	t.harm(&t.s.Main)
	spent(t)
	for _, c := range e.Commands {
		hear(t, c, (*turn).command)
	}
	for _, lane := range []*Run{&t.s.Fast, &t.s.Main} {
		t.tasted(lane)
		t.progress(lane)
	}
	t.start()
	t.carry()
	t.s.measure()
	t.s.Decided = e.Kernel.Known && e.Kernel.Deciding
	return t.s, t.out
}

// turn is one step on its way.
type turn struct {
	s    State
	e    *Evidence
	dt   time.Duration // that counts
	real time.Duration // that passed
	out  []Action
}

// pass moves the clock. A clock that went back is one that began anew: nothing passed. Time in which nobody looked
// for longer than a lease counts as one lease: nobody saw what the candidate did.
func (t *turn) pass(now time.Duration) {
	t.real = max(now-t.s.Now, 0)
	t.dt = min(t.real, t.s.Guards.Lease)
	t.s.Now, t.s.Clock = now, t.s.Clock+t.real
	t.s.Backs = without(t.s.Backs, func(at time.Duration) bool { return t.s.Clock-at > backsWithin })
}

// measure keeps what the site's traffic is, for who asks before the next rollout.
func (s *State) measure() {
	r := &s.Main
	seen, known := r.Traffic()
	if !known || seen.VotesADay == 0 || r.Change.Kind != KindBundle || r.Stage < StageShadow {
		return
	}
	if r.Split.Last.Control.Sources == 0 && s.Traffic.Failing > 0 {
		seen.Failing = s.Traffic.Failing // a canary before this one measured it
	}
	s.Traffic = seen
}

func (t *turn) isFast(r *Run) bool { return r == &t.s.Fast }

func (t *turn) votes(r *Run) *Votes {
	if t.isFast(r) {
		return &t.e.Fast
	}
	return &t.e.Main
}

// see takes the counts of a lane and its time.
func (t *turn) see(r *Run) {
	if !r.Stage.runs() {
		return
	}
	t.back(r)
	before := r.Tally.total().Connections
	r.Tally = r.Tally.take(*t.votes(r), r.Change.intent(t.s.Guards))
	if a := t.e.Arms; a.ID == r.Change.ID && a.Attempt == r.Change.Attempt {
		r.Split.Last = a
	}
	if r.Stage == StageCanary && t.e.Kernel.Share != r.share(t.s.Guards) {
		r.Split.Base = r.Split.Last // these were drawn with another share
	}
	r.Times.Quiet += t.dt
	if r.Tally.total().Connections > before {
		r.Times.Quiet = 0
	}
	r.Times.Stage, r.Times.Total = r.Times.Stage+t.dt, r.Times.Total+t.dt
	if r.Stage == StageBake && !t.e.Kernel.Deciding && t.e.Kernel.Known {
		r.Times.Judged = 0 // a bake is one piece
	} else if t.judges(r) {
		r.Times.Judged += t.dt
	}
	if r.Stage == StageBake || r.Stage == StageCanary {
		r.Times.Sure += t.real
	}
	if h := t.e.Health; h.Known && h.Bad {
		r.Times.Unwell += t.dt
	} else if h.Known {
		r.Times.Unwell = 0
	}
}

// back lets a generation that should become stable go back a stage when another one became stable before it.
func (t *turn) back(r *Run) {
	k := t.e.Kernel
	if r.Stage != StageBake || r.Seen || r.Observed || r.Change.Kind == KindRelax {
		return
	}
	if !k.Known || k.Stable == r.Number || k.Stable == r.On {
		return
	}
	if t.isFast(r) {
		*r = r.enter(StageShadow, 0)
		return
	}
	step := len(t.s.Guards.Steps) - 1
	if r.Change.Kind == KindEmergency {
		step = 0
	}
	*r = r.enter(StageCanary, step)
}

// judges reports whether this look's time proves something: there was traffic, and the candidate stood where it
// should.
func (t *turn) judges(r *Run) bool {
	k := t.e.Kernel
	if r.Paused != "" || !k.Known || !r.Seen || r.Times.Quiet >= idleAfter {
		return false
	}
	decided := k.Deciding && t.s.Decided // at both ends of this time
	switch r.Stage {
	case StageShadow:
		return r.Number == k.Candidate || r.Number == k.Beside
	case StageCanary:
		return decided && r.Number == k.Candidate && r.share(t.s.Guards) == k.Share
	case StageBake:
		return decided && r.Number == k.Stable
	}
	return false
}

// decide makes a decision about a lane.
func (t *turn) decide(r *Run, to Stage, gate Gate, format string, args ...any) *Decision {
	c := r.Change
	d := &Decision{
		At: t.s.Clock, ID: c.ID, Name: c.Name, Digest: c.Digest, From: r.Stage, To: to, Step: r.Step, Gate: gate,
		Grounds: Grounds{Counts: r.counts()}, Sentence: fmt.Sprintf(format, args...),
	}
	if share := r.share(t.s.Guards); r.Stage == StageCanary && share < 1000 {
		d.Sides = &Sides{}
		d.Sides.Canary, d.Sides.Control = r.arms()
	}
	return d
}

func (t *turn) do(do Do, r *Run, d *Decision) {
	t.out = append(t.out,
		Action{Do: do, ID: r.Change.ID, Number: r.Number, On: r.On, Share: r.share(t.s.Guards), Observes: r.Observed,
			Decision: d})
}

// note tells the history about something that is no rollout's stage.
func (t *turn) note(c Change, to Stage, gate Gate, format string, args ...any) {
	r := Run{Change: c}
	t.do(DoNote, &r, t.decide(&r, to, gate, format, args...))
}

// end ends a lane. What it had in the kernel must leave it, unless it is done.
func (t *turn) end(r *Run, d *Decision) {
	s := &t.s
	if over := r.Change; d.To != StageDone {
		goes(t, r, d.To)
		if d.To != StageNone {
			r.Change.Stood = nil
			defer unstand(t, over)
		}
	}
	if d.Condemns {
		q := Quarantined{Name: d.Name, Digest: d.Digest, Gate: d.Gate, Since: s.Clock, Why: d.Sentence}
		same := func(o Quarantined) bool { return o.Name == q.Name && o.Digest == q.Digest }
		s.Quarantine = bounded(without(s.Quarantine, same), q, mostCondemned)
	}
	if d.To == StageHeld {
		h := Held{Change: r.Change, Gate: d.Gate, Since: s.Clock, Why: d.Sentence}
		s.Held = with(without(s.Held, func(o Held) bool { return o.Change.Name == h.Change.Name }), h)
	}
	t.do(DoNote, r, d)
	if d.To == StageDone {
		overtaken(t, r.Change)
	}
	back := d.To == StageTakenBack
	if r.Stage == StageBake && !t.isFast(r) {
		if d.To != StageDone { // what went back with it relaxes again
			s.Queue = slices.Concat(s.Joined, s.Queue)
		}
		s.Joined = nil
	}
	*r = Run{}
	if back {
		t.freezes(d)
	}
}

// freezes stops automation when two rollouts were taken back within an hour: an input that alternates between good
// and bad must not alternate the site.
func (t *turn) freezes(d *Decision) {
	t.s.Backs = with(t.s.Backs, t.s.Clock)
	if len(t.s.Backs) < 2 || t.s.Frozen != "" {
		return
	}
	t.s.Frozen = "two rollouts were taken back within an hour"
	t.note(Change{ID: d.ID, Name: d.Name, Digest: d.Digest}, StageNone, GateFreeze,
		"Nothing is rolled out by itself any more: %s. `spillway thaw` with a reason goes on.", t.s.Frozen)
}
