// SPDX-License-Identifier: Apache-2.0

package rollout

import "slices"

// observed ends a change that became stable while the host observes: nothing can block, so there was nothing to judge,
// and nothing was proved. A host that began to enforce before it was stable lets it take all stages.
func observed(t *turn, r *Run) {
	k := t.e.Kernel
	if !r.Observed || r.Stage != StageBake || !k.Known {
		return
	}
	switch {
	case k.Stable == r.Number:
		t.end(r, t.decide(r, StageDone, GateBake, "Generation %d is in force while this host observes: it blocks nobody, "+
			"and is not last-known-good.", r.Number))
	case !k.Observes:
		r.Observed = false
		if r.Change.Kind != KindRelax {
			d := t.decide(r, StageShadow, GateTaste, "This host enforces now: it takes all stages.")
			*r = r.enter(StageShadow, 0)
			t.do(DoNote, r, d)
		}
	}
}

// forgotten begins a rollout again whose generation the kernel no longer has: after a reboot, or when its slot was
// filled with something else. It is another attempt, from taste.
func forgotten(t *turn, r *Run) {
	k := t.e.Kernel
	if !r.Stage.runs() || r.Number == 0 || !k.Known || k.Resident == nil || slices.Contains(k.Resident, r.Number) {
		return
	}
	again := r.Change
	again.Attempt++
	d := t.decide(r, StageNone, GateRebase, "The kernel no longer has generation %d: it begins again from taste.", r.Number)
	r.Number = 0 // nothing of it must leave
	t.end(r, d)
	t.s.Queue = append([]Change{again}, t.s.Queue...)
}

// Renumbered follows a generation that was built again from the same bundles, for another host file or another clock,
// and has the place of the one before.
func (s State) Renumbered(was, now uint32) State {
	for _, r := range []*Run{&s.Main, &s.Fast} {
		if r.Stage == StageBake && r.Number == was {
			r.Number, r.Tally = now, r.Tally.next(now)
		}
	}
	s.eachStood(func(c Change) *Stood {
		next := *c.Stood
		next.Numbers = slices.Clone(next.Numbers)
		for i, n := range next.Numbers {
			if n == was {
				next.Numbers[i] = now
			}
		}
		if next.Under == was {
			next.Under = now
		}
		return &next
	})
	s.Undo = slices.Clone(s.Undo)
	for i := range s.Undo {
		for _, n := range []*uint32{&s.Undo[i].Number, &s.Undo[i].To} {
			if *n == was {
				*n = now
			}
		}
	}
	if s.Known.Number == was {
		s.Known.Number = now
	}
	return s
}
