// SPDX-License-Identifier: Apache-2.0

package rollout

import "slices"

// bake makes a stable generation last-known-good when it has decided in one piece, with traffic, for as long as the
// host asks. An interface that is down, a bypass, a mode that observes and an empty night prove nothing.
func (t *turn) bake(r *Run) {
	if r.Change.Kind == KindRelax || r.Observed {
		r.Waits = waitKernel // relaxed, or observed, ends it
		return
	}
	r.Waits = judgeOf(t).holdsBack(r)
	switch {
	case r.Waits != "" && r.Waits != waitTime:
	case r.Times.Judged < t.s.Guards.Bake:
		r.Waits = judgeOf(t).waitsForTime(r)
	case r.Change.Confirm > 0 && !r.Confirmed:
		r.Waits = waitConfirm
	default:
		t.known(r, GateBake, "Generation %d decided for %s with traffic and is last-known-good.", r.Number, span(t.s.Guards.Bake))
	}
}

func (t *turn) known(r *Run, gate Gate, format string, args ...any) {
	d := t.decide(r, StageDone, gate, format, args...)
	t.s.Known = Known{Number: r.Number, Digest: r.Change.Digest}
	t.do(DoKnownGood, r, nil)
	t.end(r, d)
}

// relaxed ends a change that can only let more pass, once it is stable. It is as good as what it relaxed:
// last-known-good on last-known-good; where a rollout bakes, it goes on baking with it.
// It comes before harm: what takes the rollout back takes the generation back that holds both.
func (t *turn) relaxed(r *Run) {
	if r.Change.Kind != KindRelax || r.Stage != StageBake || !t.e.Kernel.Known || t.e.Kernel.Stable != r.Number {
		return
	}
	if leavesWithBase(t, r) {
		return
	}
	standsOn(t, r)
	if main := &t.s.Main; main.Stage == StageBake {
		main.Number, main.Seen = r.Number, true // what it goes back to stays
		main.Tally = main.Tally.next(r.Number)
		t.s.Joined = with(t.s.Joined, r.Change)
		t.end(r, t.decide(r, StageDone, GateBake, "Generation %d lets more pass, and bakes with what it relaxed.",
			r.Number))
		return
	}
	if t.s.Known.Number != 0 && t.s.Known.Number == r.On {
		t.known(r, GateBake, "Generation %d lets more pass than what was last-known-good.", r.Number)
		return
	}
	t.end(r, t.decide(r, StageDone, GateBake, "Generation %d lets more pass.", r.Number))
}

// leavesWithBase takes a relaxation back with the generation that it was built on, where that ended its bake before
// anybody saw the relaxation stable: else it would keep in force what it holds of it. It comes again on what decides
// then.
func leavesWithBase(t *turn, r *Run) bool {
	i := slices.IndexFunc(t.s.Undo, func(u Undo) bool { return u.Number == r.On })
	if i < 0 {
		return false
	}
	on, again, gone := t.s.Undo[i], r.Change, r.Number
	t.end(r, t.decide(r, StageNone, GateRebase, "Generation %d leaves, and with it %d, which was built on it. It comes again.",
		on.Number, gone))
	undo(t, Undo{gone, on.To})
	t.s.Queue = slices.Concat([]Change{again}, t.s.Queue)
	return true
}
